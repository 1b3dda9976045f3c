package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
)

// shakes are the faults that TestManyUnderFaults draws from. Each is over when
// it returns.
var shakes = map[string]func(x *chaos){
	"worker SIGKILL": func(x *chaos) {
		x.end(x.victim, syscall.SIGKILL)
		x.victim = x.someWorker()
	},
	"worker SIGSTOP": func(x *chaos) {
		syscall.Kill(x.victim.cmd.Process.Pid, syscall.SIGSTOP)
		x.pass(12 * time.Second) // longer than a lease
		syscall.Kill(x.victim.cmd.Process.Pid, syscall.SIGCONT)
	},
	"API SIGKILL": func(x *chaos) {
		x.end(x.apis, syscall.SIGKILL)
		x.apis = x.start("api", fmt.Sprintf("LISTEN=:%d", x.apiPort))
	},
	"Redis SIGKILL": func(x *chaos) {
		x.end(x.redis, syscall.SIGKILL)
		x.startRedis()
	},
	"Redis away": func(x *chaos) {
		syscall.Kill(x.redis.cmd.Process.Pid, syscall.SIGSTOP)
		x.pass(2 * time.Second)
		syscall.Kill(x.redis.cmd.Process.Pid, syscall.SIGCONT)
	},
	"engine away": func(x *chaos) {
		x.proxy.setDown(true)
		x.pass(2 * time.Second)
		x.proxy.setDown(false)
	},
	"S3 away": func(x *chaos) {
		x.s3.refuse(http.StatusServiceUnavailable)
		x.pass(2 * time.Second)
		x.s3.refuse(0)
	},
}

// TestManyUnderFaults creates and stops containers, at most 8 at a time, while
// something fails every 2 s. MANY is how many (100 in make chaos), E2E_SEED
// chooses other faults.
func TestManyUnderFaults(t *testing.T) {
	crowd(t)
	many := 10
	if os.Getenv("CHAOS") == "all" {
		many = 100
	}
	if n, err := strconv.Atoi(os.Getenv("MANY")); err == nil {
		many = n
	}
	random := rand.New(rand.NewPCG(seed(t), 0))
	s3 := newStore(t, lab.Open(t))
	x := &chaos{s3: s3, cluster: newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)}
	x.apis = x.processes["api"]
	x.proxy = newEngineProxy(t, x.lab.Nodes[0].Sock)
	x.worker("n1")
	x.victim = x.someWorker()

	work := make(chan int)
	var outcomes [2]int // succeeded, failed with a reason
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range work {
				for _, j := range x.oneLife(t, i) {
					mu.Lock()
					if j.Status == ide.JobSucceeded {
						outcomes[0]++
					} else {
						outcomes[1]++
						t.Logf("%s %s: %v", j.ID, j.Status, j.Error)
					}
					mu.Unlock()
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		for i := range many {
			work <- i
		}
		close(work)
		wg.Wait()
		close(done)
	}()
	names := []string{"worker SIGKILL", "worker SIGSTOP", "API SIGKILL", "Redis SIGKILL", "Redis away", "engine away", "S3 away"}
	count := map[string]int{}
	for tick := time.NewTicker(2 * time.Second); ; {
		select {
		case <-done:
			tick.Stop()
			t.Logf("%d containers: %d jobs succeeded, %d failed with a reason; faults %v", many, outcomes[0], outcomes[1], count)
			x.ready()
			x.whole()
			return
		case <-tick.C:
			name := names[random.IntN(len(names))]
			count[name]++
			shakes[name](x)
		}
	}
}

// someWorker starts a worker whose engine is reached through the proxy. It may
// have to wait for Redis.
func (x *chaos) someWorker() *process {
	n := x.lab.Node("n1")
	p := x.run("worker", "n1", []string{"DOCKER_HOST=" + x.proxy.Host, "ENGINE_EXEC_ROOT=" + n.ExecRoot, "HOST_NETNS=" + n.NetNS}, os.Getenv("BERTH_BIN"), "worker")
	x.workers = append(x.workers, p)
	return p
}

// oneLife creates and stops one container, and returns both jobs as they ended.
// What does not answer is asked again, under the same Idempotency-Key.
func (x *chaos) oneLife(t *testing.T, i int) (ended []ide.Job) {
	var s functions.StartAnswer
	body := fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":"m%d","awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, i, s3Key, s3Secret)
	if !x.insist(t, "POST", "/api/containers/start", body, fmt.Sprint("create-", i), http.StatusAccepted, &s, nil) {
		return nil
	}
	for _, job := range []string{s.Job.ID, ""} {
		if job == "" {
			var j ide.Job
			if !x.insist(t, "DELETE", "/api/containers/"+s.ID, "", fmt.Sprint("stop-", i), http.StatusAccepted, &j, nil) {
				return ended
			}
			job = j.ID
		}
		var j ide.Job
		if !x.insist(t, "GET", "/api/jobs/"+job+"?wait=5", "", "", http.StatusOK, &j, func() bool { return j.Status.Ended() }) {
			return ended
		}
		if j.Status != ide.JobSucceeded && (j.Error == nil || j.Error.Message == "") {
			t.Errorf("%s ended %s without a reason", j.ID, j.Status)
		}
		ended = append(ended, j)
	}
	return ended
}

// insist asks until it is answered as wanted.
func (x *chaos) insist(t *testing.T, method, path, body, key string, want int, out any, ok func() bool) bool {
	var last error
	answered := poll(5*time.Minute, func() (err error) {
		var headers []string
		if key != "" {
			headers = []string{"Idempotency-Key", key}
		}
		var a answer
		a, err = x.call(method, path, body, headers...)
		if err == nil && a.status == want {
			if err = json.Unmarshal(a.body, out); err == nil && (ok == nil || ok()) {
				return nil
			}
		}
		last = errors.Join(err, errors.New(a.String()))
		return last
	})
	if !answered {
		t.Errorf("%s %s: not within 5 minutes: %v", method, path, last)
	}
	return answered
}
