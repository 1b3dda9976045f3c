package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
)

func at(name, call string) barrier { return barrier{name: name, call: regexp.MustCompile(call)} }

// around returns the barriers before and after an engine call.
func around(name, call string) []barrier {
	before, after := at("before "+name, call), at("after "+name, call)
	after.after = true
	return []barrier{before, after}
}

func join(lists ...[]barrier) (all []barrier) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// Every engine call of a start and of a stop that changes something, and
// those between which they wait.
var (
	createBarriers = join(around("config", `^POST /configs/create$`), around("secret", `^POST /secrets/create$`),
		around("service", `^POST /services/create$`), around("looking for the task", `^GET /tasks$`), around("record", `^POST /configs/[^/]+/update$`))
	stopBarriers = join(around("remove service", `^DELETE /services/`), around("remove secret", `^DELETE /secrets/`),
		around("looking for tasks", `^GET /tasks$`), around("record", `^POST /configs/[^/]+/update$`))
)

// takeover is how soon another worker must go on with a killed worker's job: a lease
// of 10 s, a sweep every 5 s, and what a busy machine needs.
const takeover = time.Minute

// firstStep is when an attempt began its first step. An attempt that found
// nothing left to do has none: then it is when the job ended.
func firstStep(j ide.Job, attempt int) time.Time {
	for _, s := range j.Steps {
		if s.Attempt >= attempt && s.Name != "queue" {
			return s.StartedAt
		}
	}
	return *j.FinishedAt
}

// TestPausedWorkerResumes stops a worker in the middle of a create for longer
// than its lease, while another finishes it and then stops the container: the
// worker that wakes up must not bring it back.
func TestPausedWorkerResumes(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	proxy := newEngineProxy(t, c.lab.Nodes[0].Sock)
	paused := c.worker("n1", "DOCKER_HOST="+proxy.Host)
	gate := at("service", `^POST /services/create$`)
	proxy.arm(gate)
	s := c.create()
	proxy.await(t)
	syscall.Kill(paused.cmd.Process.Pid, syscall.SIGSTOP)
	stopped := time.Now()
	c.worker("n1")
	c.succeed(s.Job.ID)
	c.succeed(c.stop(s.ID).ID)
	time.Sleep(time.Until(stopped.Add(15 * time.Second))) // longer than a lease: the pause is what is tested
	syscall.Kill(paused.cmd.Process.Pid, syscall.SIGCONT)
	c.eventually("the resumed worker notices", patience, func() error {
		if !strings.Contains(paused.log.String(), "somebody else goes on") {
			return fmt.Errorf("log: %s", tail(paused.log.String()))
		}
		return nil
	})
	if got := c.get(s.ID).Status; got != ide.Stopped {
		t.Errorf("the container is %s, want stopped", got)
	}
	if m := c.made(); len(m.services)+len(m.secrets) > 0 {
		t.Errorf("the resumed worker brought back %+v", m)
	}
}

// TestAPIKilledAroundTheEnqueue kills the API before and after the script
// that admits a start. Before: nothing has happened. After: the container
// comes, although nobody delivered its job.
func TestAPIKilledAroundTheEnqueue(t *testing.T) {
	crowd(t)
	for _, tc := range []struct {
		name, cut string
		want      int
	}{
		{"before the script", "evalsha", 0}, // the admission is the first script of a request
		{"between script and enqueue", "asynq:", 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			crowd(t)
			c := newCluster(t)
			c.worker("n1")
			proxy := newRedisProxy(t, c.net, fmt.Sprintf("127.0.0.1:%d", c.redisPort))
			port := c.edgePort + 1
			api := c.start("api", fmt.Sprintf("LISTEN=:%d", port), "REDIS_URL=redis://"+proxy.addr)
			second := clientIn(c.net, fmt.Sprintf("127.0.0.1:%d", port))
			c.eventually("the second API answers", patience, func() error {
				res, err := second.Get("http://localhost/readyz")
				if err == nil {
					res.Body.Close()
				}
				return err
			})
			proxy.cutAt(tc.cut)
			go func() {
				<-proxy.hit
				syscall.Kill(api.cmd.Process.Pid, syscall.SIGKILL)
			}()
			req, _ := http.NewRequest("POST", "http://localhost/api/containers/start", strings.NewReader(`{"s3Bucket":"workspace"}`))
			req.Header.Set("Authorization", "Bearer "+adminKey)
			req.Header.Set("Content-Type", "application/json")
			if res, err := second.Do(req); err == nil {
				t.Fatalf("the API answered %d although it was killed", res.StatusCode)
			}
			<-api.done
			if tc.want == 0 {
				_, total, err := c.store.Containers(t.Context(), allContainers)
				if err != nil || total != 0 {
					t.Errorf("got %d containers, %v, want none", total, err)
				}
				return
			}
			list, total, err := c.store.Containers(t.Context(), allContainers)
			if err != nil || total != 1 {
				t.Fatalf("got %d containers, %v, want one", total, err)
			}
			j := c.succeed(list[0].Job)
			if late := j.StartedAt.Sub(j.QueuedAt); late > takeover {
				t.Errorf("it began after %s, want at most %s", late, takeover)
			}
			if m := c.made(); len(m.services) != 1 {
				t.Errorf("the engine has %v, want one service", m.services)
			}
		})
	}
}
