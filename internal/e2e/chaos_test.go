package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/client"
)

// settled is how soon after a fault has ended every request has.
const settled = patience

// fault is one thing that can happen to a control plane while jobs are parked
// at every barrier. It returns when it is over.
type fault struct {
	name   string
	inject func(x *chaos)
	kills  bool // the worker, and nothing else: another goes on with every job
}

// faults are the columns of the matrix; the first always runs.
var faults = []fault{
	{name: "worker SIGKILL", kills: true, inject: func(x *chaos) {
		x.end(x.victim, syscall.SIGKILL)
		x.worker("n1", "WORKER_CONCURRENCY=40")
	}},
	{name: "API SIGKILL", inject: func(x *chaos) {
		x.end(x.apis, syscall.SIGKILL)
		x.apis = x.api()
	}},
	{name: "worker SIGSTOP 40 s", inject: func(x *chaos) {
		x.worker("n1", "WORKER_CONCURRENCY=40")
		syscall.Kill(x.victim.cmd.Process.Pid, syscall.SIGSTOP)
		x.pass(40 * time.Second)
		syscall.Kill(x.victim.cmd.Process.Pid, syscall.SIGCONT)
	}},
	{name: "Redis restart", inject: func(x *chaos) {
		x.end(x.redis, syscall.SIGKILL)
		x.startRedis()
	}},
	{name: "Redis away 10 s", inject: func(x *chaos) {
		syscall.Kill(x.redis.cmd.Process.Pid, syscall.SIGSTOP)
		x.pass(10 * time.Second)
		syscall.Kill(x.redis.cmd.Process.Pid, syscall.SIGCONT)
	}},
	{name: "engine away 10 s", inject: func(x *chaos) {
		x.proxy.setDown(true)
		x.proxy.letGo()
		x.pass(10 * time.Second)
		x.proxy.setDown(false)
	}},
	{name: "S3 away 10 s", inject: func(x *chaos) {
		x.s3.refuse(http.StatusServiceUnavailable)
		x.proxy.letGo()
		x.pass(10 * time.Second)
		x.s3.refuse(0)
	}},
	{name: "engine restart", inject: func(x *chaos) { x.reboot() }},
}

// chaos is a cluster whose worker is held at barriers.
type chaos struct {
	*cluster
	s3     *bucketStore
	proxy  *engineProxy
	victim *process
	apis   *process
}

// pass lets time pass: the length of a fault is what is tested.
func (x *chaos) pass(d time.Duration) { time.Sleep(d) }

// ready waits until the API and Redis answer, one of which a fault may have
// started anew.
func (x *chaos) ready() {
	x.t.Helper()
	x.eventually("the API and Redis answer", patience, func() error {
		a, err := x.call("GET", "/readyz", "")
		if err == nil && a.status != http.StatusNoContent {
			err = errors.New(a.String())
		}
		return err
	})
}

// parkedJob is a request whose job stands at a barrier.
type parkedJob struct{ barrier, job, id string }

// TestChaos injects each fault once, with a container parked at every barrier of
// create and of stop, and prints what became of them. CHAOS=all runs every
// fault; without it the first.
func TestChaos(t *testing.T) {
	crowd(t)
	list := faults[:1]
	if os.Getenv("CHAOS") == "all" {
		list = faults
	}
	for _, f := range list {
		t.Run(f.name, func(t *testing.T) {
			crowd(t)
			x := newChaos(t)
			parked := x.park()
			began := time.Now()
			f.inject(x)
			x.proxy.letGo()
			over := time.Now()
			x.ready()
			var rows []string
			for _, p := range parked {
				j := x.wait(p.job, patience)
				took := j.FinishedAt.Sub(over)
				if j.Status != ide.JobSucceeded && (j.Status != ide.JobFailed || j.Error == nil || j.Error.Message == "") {
					t.Errorf("%s: the job ended %s, %+v", p.barrier, j.Status, j.Error)
				}
				if took > settled {
					t.Errorf("%s: it ended %s after the fault, want at most %s", p.barrier, took, settled)
				}
				rows = append(rows, fmt.Sprintf("| %-34s | %-20s | %-9s | %5.1f s |", p.barrier, f.name, j.Status, took.Seconds()))
			}
			t.Logf("the matrix:\n%s", strings.Join(rows, "\n"))
			if f.kills {
				x.takenOver(parked, began)
			}
			x.whole()
		})
	}
}

// takenOver expects that another worker went on with the job of every barrier within
// takeover, and brought it to its end: one service and one secret of each container
// that was to run.
func (x *chaos) takenOver(parked []parkedJob, killed time.Time) {
	x.t.Helper()
	alive := 0
	for _, p := range parked {
		j := x.wait(p.job, patience)
		if j.Status != ide.JobSucceeded {
			x.t.Errorf("%s: the job ended %s: %+v", p.barrier, j.Status, j.Error)
		}
		late := firstStep(j, 2).Sub(killed)
		if late > takeover {
			x.t.Errorf("%s: another worker went on after %s, want at most %s", p.barrier, late, takeover)
		}
		want := ide.Running
		if strings.HasPrefix(p.barrier, "stop") {
			want = ide.Stopped
		} else {
			alive++
		}
		if got := x.get(p.id).Status; got != want {
			x.t.Errorf("%s: the container is %s, want %s", p.barrier, got, want)
		}
		x.t.Logf("%-32s taken over after %5.1f s", p.barrier, late.Seconds())
	}
	if m := x.made(); len(m.services) != alive || len(m.secrets) != alive {
		x.t.Errorf("the engine has %d services and %d secrets, want %d of each: %+v", len(m.services), len(m.secrets), alive, m)
	}
}

func newChaos(t *testing.T) *chaos {
	s3 := newStore(t, lab.Open(t))
	x := &chaos{s3: s3, cluster: newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)}
	x.apis = x.processes["api"]
	x.proxy = newEngineProxy(t, x.lab.Nodes[0].Sock)
	return x
}

// park brings a job to every barrier.
func (x *chaos) park() (all []parkedJob) {
	keeper := x.worker("n1", "WORKER_CONCURRENCY=40")
	var running []string
	for i := range stopBarriers {
		running = append(running, x.ask(fmt.Sprint("s", i)).ID)
	}
	for i, id := range running {
		x.succeed("container-create:" + id + ":1")
		x.write("n1", id, "f", fmt.Sprint("of ", i))
	}
	x.end(keeper, syscall.SIGTERM)
	x.victim = x.worker("n1", "DOCKER_HOST="+x.proxy.Host, "WORKER_CONCURRENCY=40")
	for i, b := range createBarriers {
		x.proxy.arm(b)
		s := x.ask(fmt.Sprint("c", i))
		x.proxy.await(x.t)
		all = append(all, parkedJob{"create, " + b.name, s.Job.ID, s.ID})
	}
	for i, b := range stopBarriers {
		x.proxy.arm(b)
		j := x.stop(running[i])
		x.proxy.await(x.t)
		all = append(all, parkedJob{"stop, " + b.name, j.ID, running[i]})
	}
	return all
}

// ask asks for a container whose workspace is in the store. Right after a worker
// has begun its node takes none for a moment: its filter is not known to stand.
func (c *cluster) ask(prefix string) (s functions.StartAnswer) {
	c.t.Helper()
	c.eventually("a start is admitted", patience, func() error {
		a, err := c.call("POST", "/api/containers/start",
			fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":%q,"awsAccessKeyId":%q,"awsSecretAccessKey":%q}`, prefix, s3Key, s3Secret))
		if err == nil && a.status != http.StatusAccepted {
			err = errors.New(a.String())
		}
		if err == nil {
			err = json.Unmarshal(a.body, &s)
		}
		return err
	})
	return s
}

// whole checks that Swarm, nodes, Redis and the bucket tell the same: nothing
// lost, nothing double, nothing left behind.
func (c *cluster) whole() {
	c.t.Helper()
	list := ask[openapi.ContainerList](c, http.StatusOK, "GET", "/api/containers?limit=200", "").Containers
	var live, all []string
	for _, one := range list {
		all = append(all, one.ID)
		switch one.Status {
		case ide.Running:
			live = append(live, one.ID)
		case ide.Starting, ide.Stopping:
			c.t.Errorf("%s is still %s", one.ID, one.Status)
		}
		if one.Status == ide.Stopped && (one.LastSave == nil || !one.LastSave.Verified) {
			c.t.Errorf("%s was stopped without a verified save: %+v", one.ID, one.LastSave)
		}
	}
	slices.Sort(live)
	slices.Sort(all)
	c.eventually("Swarm, nodes and reservations follow from the records", patience, func() error {
		m := c.made()
		reserved, err := c.rdb.HKeys(context.Background(), "{berth}:res").Result()
		if err != nil {
			return err
		}
		for what, pair := range map[string][2][]string{
			"services": {ids(m.services, "berth-", ""), live}, "secrets": {ids(m.secrets, "", "-"), live},
			"configs": {ids(m.configs, "berth-"+c.instance+"-", ""), all}, "reservations": {sorted(reserved), live},
			"volumes": {c.held("volumes"), live}, "containers": {c.held("containers"), live},
		} {
			if !slices.Equal(pair[0], pair[1]) {
				return fmt.Errorf("%s: there are %v, want %v", what, pair[0], pair[1])
			}
		}
		return nil
	})
}

// held lists the containers of ours of which the nodes have a volume or a
// container, one entry for each.
func (c *cluster) held(kind string) (all []string) {
	c.t.Helper()
	for _, n := range c.lab.Nodes {
		if kind == "volumes" {
			all = append(all, ids(c.volumes(n.Name), "berth-"+c.instance+"-", "")...)
			continue
		}
		e, err := client.NewClientWithOpts(client.WithHost(n.Sock), client.WithAPIVersionNegotiation())
		if err != nil {
			c.t.Fatal(err)
		}
		defer e.Close()
		list, err := e.ContainerList(context.Background(), container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.instance="+c.instance))})
		if err != nil {
			c.t.Fatal(err)
		}
		for _, one := range list {
			all = append(all, one.Labels["berth.id"])
		}
	}
	return sorted(all)
}

func sorted(list []string) []string {
	slices.Sort(list)
	return list
}

// ids takes a prefix, and what follows a separator, off names.
func ids(names []string, prefix, separator string) (list []string) {
	for _, n := range names {
		n = strings.TrimPrefix(n, prefix)
		if separator != "" {
			n, _, _ = strings.Cut(n, separator)
		}
		list = append(list, n)
	}
	return sorted(list)
}

// reboot is a power cut of the first node, on which the whole control plane
// runs, and its coming back.
func (x *chaos) reboot() {
	x.t.Helper()
	for _, p := range x.processes {
		x.end(p, syscall.SIGKILL)
	}
	for _, w := range x.workers {
		x.end(w, syscall.SIGKILL)
	}
	x.lab.StopEngine("n1", lab.Power)
	x.lab.StartEngine("n1")
	x.eventually("Swarm has put an edge there again", patience, func() error {
		return x.lab.EdgeCommand(context.Background(), "n1", "true").Run()
	})
	x.boot()
	x.worker("n1", "WORKER_CONCURRENCY=40")
}
