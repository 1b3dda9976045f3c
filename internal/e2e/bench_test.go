package e2e

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
	"berth/internal/swarm"

	"github.com/docker/docker/api/types/filters"
	api "github.com/docker/docker/api/types/swarm"
)

// took is how long a container took from the call until its task ran, and
// until its URL answered.
type took struct{ running, url time.Duration }

// BenchmarkCreate compares a create through Berth with a bare Engine API
// client that makes the same calls and looks for the same answers, in turn,
// one at a time and ten at once. The ratio is what Berth costs: the goal is
// at most 1.15.
func BenchmarkCreate(b *testing.B) {
	for _, n := range []int{1, 10} {
		b.Run(fmt.Sprintf("%d-at-once", n), func(b *testing.B) {
			c := newCluster(b, "MAX_CONTAINERS_PER_KEY=0")
			c.worker("n1")
			node := c.nodeID()
			var bare, ours []took
			for b.Loop() {
				bare = append(bare, c.atOnce(n, func() took { return c.bareCreate(node) })...)
				ours = append(ours, c.atOnce(n, c.berthCreate)...)
			}
			report := func(name string, f func(took) time.Duration) {
				x, y := median(bare, f), median(ours, f)
				b.ReportMetric(x.Seconds(), "bare-"+name+"-s")
				b.ReportMetric(y.Seconds(), "berth-"+name+"-s")
				b.ReportMetric(float64(y)/float64(x), name+"-ratio")
			}
			report("running", func(t took) time.Duration { return t.running })
			report("url", func(t took) time.Duration { return t.url })
			b.ReportMetric(0, "ns/op") // says nothing: it is both together
		})
	}
}

// BenchmarkFullImage is how long a person waits: from the call until editor and
// desktop of the full image, with a bucket, answer through the gateway. The goal
// is a median of at most 5 s on a quiet machine.
func BenchmarkFullImage(b *testing.B) {
	s3 := newStore(b, lab.Open(b))
	c := newCluster(b, s3.settings("IMAGE="+fullImage, "CPU_LIMIT=2", "MEMORY_LIMIT=3g")...)
	c.needFull()
	c.worker("n1")
	url := func(t took) time.Duration { return t.url }
	var all []took
	for b.Loop() {
		for range 5 {
			begin := time.Now()
			s := c.saved(ide.NewID())
			for _, u := range []string{s.URLs.Code, s.URLs.VNC} {
				if a := c.open(u); a.status >= http.StatusBadRequest {
					b.Errorf("%s: got %s", u, a)
				}
			}
			all = append(all, took{url: time.Since(begin)})
			c.succeed(c.stop(s.ID).ID)
		}
	}
	b.ReportMetric(median(all, url).Seconds(), "full-url-s")
	b.ReportMetric(slices.MaxFunc(all, func(x, y took) int { return cmp.Compare(x.url, y.url) }).url.Seconds(), "full-url-max-s")
	b.ReportMetric(0, "ns/op") // says nothing: it has the stops in it
}

func median(all []took, f func(took) time.Duration) time.Duration {
	d := make([]time.Duration, len(all))
	for i, t := range all {
		d[i] = f(t)
	}
	slices.Sort(d)
	return d[len(d)/2]
}

// atOnce runs n creates in parallel and waits until what they made is gone.
func (c *cluster) atOnce(n int, create func() took) []took {
	c.t.Helper()
	all := make([]took, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { all[i] = create() })
	}
	wg.Wait()
	list, _, err := c.store.Containers(context.Background(), allContainers)
	if err != nil {
		c.t.Fatal(err)
	}
	for _, one := range list {
		if one.Status == ide.Running {
			c.stop(one.ID)
		}
	}
	for _, one := range list {
		if one.Status == ide.Running {
			c.succeed("container-stop:" + one.ID + ":1")
		}
	}
	c.removeBare()
	return all
}

// berthCreate starts a container through the API and reads from its job when
// the task ran.
func (c *cluster) berthCreate() took {
	begin := time.Now()
	s := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start", `{"s3Bucket":"workspace"}`)
	j := c.succeed(s.Job.ID)
	t := took{url: time.Since(begin)}
	for _, step := range j.Steps {
		if step.Name == "task" {
			t.running = step.StartedAt.Add(time.Duration(step.Seconds * float64(time.Second))).Sub(begin)
		}
	}
	return t
}

func (c *cluster) nodeID() string {
	c.t.Helper()
	info, err := c.engine.Info(context.Background())
	if err != nil {
		c.t.Fatal(err)
	}
	return info.Swarm.NodeID
}

// bareCreate does what Berth has to do, and nothing else: config, secret,
// service, and looking until the task runs and its port answers.
func (c *cluster) bareCreate(node string) took {
	ctx := context.Background()
	begin := time.Now()
	rec := ide.Container{ID: ide.NewID(), Run: 1, Owner: "bare", Status: ide.Starting, Image: image, Node: node,
		Resources: ide.Resources{CPULimit: 5e8, MemoryLimit: 256 << 20, CPUReservation: 5e7, MemoryReservation: 64 << 20, PIDs: 2048}}
	labels := map[string]string{"berth.bare": c.instance}
	must := func(err error) {
		if err != nil {
			c.t.Error(err)
		}
	}
	_, err := c.engine.ConfigCreate(ctx, api.ConfigSpec{Annotations: api.Annotations{Name: "bare-" + rec.ID, Labels: labels}, Data: []byte("x")})
	must(err)
	secret, err := c.engine.SecretCreate(ctx, api.SecretSpec{Annotations: api.Annotations{Name: rec.ID + "-1", Labels: labels},
		Data: []byte(`{"agentToken":"token-token-token","vncPassword":"password","codePassword":"password-password"}`)})
	must(err)
	spec := swarm.Spec(swarm.Config{Instance: "bare", Network: "ide-network", Routing: "gateway", StopGrace: 10 * time.Second}, rec, secret.ID)
	spec.Labels = labels
	service, err := c.engine.ServiceCreate(ctx, spec, api.ServiceCreateOptions{})
	must(err)
	var t took
	var addr string
	for t.running == 0 {
		tasks, err := c.engine.TaskList(ctx, api.TaskListOptions{Filters: filters.NewArgs(filters.Arg("service", service.ID))})
		must(err)
		for _, task := range tasks {
			if task.Status.State == api.TaskStateRunning {
				t.running = time.Since(begin)
				addr, _, _ = cutPrefix(task.NetworksAttachments[0].Addresses[0])
			}
		}
		if time.Since(begin) > time.Minute {
			c.t.Error("a bare service did not run within a minute")
			return t
		}
		time.Sleep(20 * time.Millisecond) // a poll with a deadline
	}
	url := clientIn(c.net, addr+":8080")
	for t.url == 0 {
		if res, err := url.Get("http://" + addr + ":8080/healthz"); err == nil {
			res.Body.Close()
			t.url = time.Since(begin)
		} else if time.Since(begin) > time.Minute {
			c.t.Error("a bare service did not answer within a minute")
			return t
		}
	}
	return t
}

// removeBare removes what bareCreate made and waits until it is gone.
func (c *cluster) removeBare() {
	ctx, f := context.Background(), filters.NewArgs(filters.Arg("label", "berth.bare="+c.instance))
	services, err := c.engine.ServiceList(ctx, api.ServiceListOptions{Filters: f})
	if err != nil {
		c.t.Fatal(err)
	}
	for _, s := range services {
		c.engine.ServiceRemove(ctx, s.ID)
	}
	secrets, _ := c.engine.SecretList(ctx, api.SecretListOptions{Filters: f})
	for _, s := range secrets {
		c.engine.SecretRemove(ctx, s.ID)
	}
	configs, _ := c.engine.ConfigList(ctx, api.ConfigListOptions{Filters: f})
	for _, s := range configs {
		c.engine.ConfigRemove(ctx, s.ID)
	}
	c.eventually("bare tasks are gone", patience, func() error {
		tasks, err := c.engine.TaskList(ctx, api.TaskListOptions{Filters: filters.NewArgs(filters.Arg("label", "berth.bare="+c.instance))})
		if err == nil && len(tasks) > 0 {
			err = fmt.Errorf("%d tasks are left", len(tasks))
		}
		return err
	})
}
