package e2e

import (
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	engine "github.com/docker/docker/api/types/swarm"
)

// TestClosedThroughRestarts dials from one container to another on its node
// without a pause, while the worker is killed and comes back, and while an edge
// is replaced by another: not one connection gets through, and the new edge is
// let in.
func TestClosedThroughRestarts(t *testing.T) {
	c := newCluster(t)
	w := c.worker("n1")
	one, two := c.create(), c.create()
	c.succeed("container-create:" + one.ID + ":1")
	c.succeed("container-create:" + two.ID + ":1")
	rec, err := c.store.Container(context.Background(), two.ID)
	if err != nil {
		t.Fatal(err)
	}
	if c.get(one.ID).Node != c.get(two.ID).Node {
		t.Fatal("the containers are on different nodes")
	}
	target := net.JoinHostPort(rec.Address, "9000")
	flood := c.flood(one.ID, target)
	c.end(w, syscall.SIGKILL)
	w = c.worker("n1")
	c.end(w, syscall.SIGTERM)
	c.worker("n1")
	for range 2 {
		t.Logf("a new edge reached a container %v after Swarm had it running", c.newEdge(target).Round(10*time.Millisecond))
	}
	if through, tries := flood(); through > 0 {
		t.Errorf("%d of %d connections got through", through, tries)
	} else {
		t.Logf("none of %d connections got through", tries)
	}
}

// flood dials from a container until the returned function is called, which
// tells how often it got through, of a hundred tries at least.
func (c *cluster) flood(id, target string) func() (through, tries int) {
	c.t.Helper()
	dial := dialIn(c.pid(id))
	ctx, stop := context.WithCancel(context.Background())
	c.t.Cleanup(stop)
	var through, tries atomic.Int64
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for ctx.Err() == nil {
				short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
				if conn, err := dial(short, "tcp", target); err == nil {
					conn.Close()
					through.Add(1)
				}
				tries.Add(1)
				cancel()
			}
		})
	}
	return func() (int, int) {
		c.eventually("a hundred connections were tried", patience, func() error {
			if n := tries.Load(); n < 100 {
				return fmt.Errorf("%d", n)
			}
			return nil
		})
		stop()
		all.Wait()
		return int(through.Load()), int(tries.Load())
	}
}

// newEdge starts another edge on n1, and says how long it took from when Swarm
// had it running until it reached a container.
func (c *cluster) newEdge(target string) time.Duration {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	defer cancel()
	made, err := c.engine.ServiceCreate(ctx, engine.ServiceSpec{
		Annotations: engine.Annotations{Name: "edge-" + ide.NewID(), Labels: map[string]string{swarm.LabelEdge: "true"}},
		TaskTemplate: engine.TaskSpec{
			ContainerSpec: &engine.ContainerSpec{Image: image, Args: []string{ide.LookCommand, ide.LookListen}},
			Placement:     &engine.Placement{Constraints: []string{"node.hostname==n1"}},
			Networks:      []engine.NetworkAttachmentConfig{{Target: "ide-network"}},
		},
		EndpointSpec: &engine.EndpointSpec{Mode: engine.ResolutionModeDNSRR},
	}, engine.ServiceCreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	defer c.engine.ServiceRemove(context.WithoutCancel(ctx), made.ID)
	for ctx.Err() == nil {
		list, err := c.engine.ContainerList(ctx, container.ListOptions{Filters: filters.NewArgs(filters.Arg("label", "com.docker.swarm.service.id="+made.ID))})
		if err == nil && len(list) == 1 {
			got, err := c.engine.ContainerInspect(ctx, list[0].ID)
			if err == nil && got.State.Running {
				began := time.Now()
				for dial := dialIn(got.State.Pid); ctx.Err() == nil; {
					short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
					conn, err := dial(short, "tcp", target)
					cancel()
					if err == nil {
						conn.Close()
						return time.Since(began)
					}
				}
			}
		}
		<-time.After(20 * time.Millisecond)
	}
	c.t.Fatal("the new edge reaches no container")
	return 0
}
