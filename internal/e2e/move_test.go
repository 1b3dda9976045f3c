package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"syscall"
	"testing"

	"berth/internal/ide"
	"berth/openapi"
)

// moveBarriers are a move's calls to the engine that change something, and those
// between which it waits.
var moveBarriers = join(around("remove service", `^DELETE /services/`), around("remove secret", `^DELETE /secrets/`),
	around("looking for tasks", `^GET /tasks$`), around("record", `^POST /configs/[^/]+/update$`),
	around("secret", `^POST /secrets/create$`), around("service", `^POST /services/create$`))

// TestMovesSurviveTheirWorker parks one move at every barrier, each with a file
// that no bucket has yet, and kills the worker: every container arrives on its
// other node, once, with its file.
func TestMovesSurviveTheirWorker(t *testing.T) {
	x := newChaos(t)
	x.lab.Need(2)
	w := x.worker("n1", "WORKER_CONCURRENCY=40")
	x.worker("n2")
	var all []string
	for i := range moveBarriers {
		all = append(all, x.ask(fmt.Sprint("m", i)).ID)
	}
	for i, id := range all {
		x.succeed("container-create:" + id + ":1")
		x.write(x.nodeOf(id), id, "f", fmt.Sprint("of ", i))
	}
	x.end(w, syscall.SIGTERM)
	x.victim = x.worker("n1", "DOCKER_HOST="+x.proxy.Host, "WORKER_CONCURRENCY=40")
	from, jobs := map[string]string{}, map[string]string{}
	for i, b := range moveBarriers {
		id := all[i]
		from[id] = x.nodeOf(id)
		x.proxy.arm(b)
		jobs[id] = ask[ide.Job](x.cluster, http.StatusAccepted, "POST", "/api/containers/"+id+"/move", "").ID
		x.proxy.await(t)
	}
	x.end(x.victim, syscall.SIGKILL)
	x.worker("n1", "WORKER_CONCURRENCY=40")
	for i, id := range all {
		j := x.succeed(jobs[id])
		if got := x.get(id); got.Status != ide.Running || x.nodeOf(id) == from[id] {
			t.Errorf("%s: it is %s on %s, want it running on the other node", moveBarriers[i].name, got.Status, x.nodeOf(id))
		}
		if text, want := x.read(x.nodeOf(id), id, "f"), fmt.Sprint("of ", i); text != want {
			t.Errorf("%s: the file has %q, want %q", moveBarriers[i].name, text, want)
		}
		t.Logf("%-24s %.1f s", moveBarriers[i].name, j.FinishedAt.Sub(*j.StartedAt).Seconds())
	}
	x.whole()
}

// drainBarriers are where a drain's worker is killed; the first two always.
var drainBarriers = append(around("remove service", `^DELETE /services/`), around("node", `^POST /nodes/[^/]+/update$`)...)

// TestDrainsSurviveTheirWorker kills the worker in the middle of a drain: another
// empties the node, and its container goes on elsewhere with its file. CHAOS=all
// kills at every barrier.
func TestDrainsSurviveTheirWorker(t *testing.T) {
	x := newChaos(t)
	x.lab.Need(2)
	list := drainBarriers[:2]
	if os.Getenv("CHAOS") == "all" {
		list = drainBarriers
	}
	w1, w2 := x.worker("n1"), x.worker("n2")
	s := x.ask("drained")
	x.succeed(s.Job.ID)
	for i, b := range list {
		if x.nodeOf(s.ID) == "n1" {
			x.job("POST", "/api/containers/"+s.ID+"/move", `{"node":"n2"}`)
		}
		want := fmt.Sprint("written before drain ", i)
		x.write("n2", s.ID, "f", want)
		x.end(w1, syscall.SIGTERM)
		w1 = x.worker("n1", "DOCKER_HOST="+x.proxy.Host)
		x.proxy.arm(b)
		drain := ask[ide.Job](x.cluster, http.StatusAccepted, "POST", "/api/nodes/n2/drain", "")
		x.proxy.await(t)
		x.end(w1, syscall.SIGKILL)
		w1 = x.worker("n1")
		x.succeed(drain.ID)
		x.nodeIs("n2", "drained and empty", patience, func(n openapi.NodeRow) bool { return n.Availability == "drain" && n.Containers == 0 })
		if got := x.get(s.ID); got.Status != ide.Running || x.nodeOf(s.ID) != "n1" {
			t.Fatalf("%s: it is %s on %s, want it running on n1", b.name, got.Status, x.nodeOf(s.ID))
		}
		if text := x.read("n1", s.ID, "f"); text != want {
			t.Errorf("%s: the file has %q, want %q", b.name, text, want)
		}
		x.end(w2, syscall.SIGTERM)
		edge := func() error { return x.lab.EdgeCommand(context.Background(), "n2", "true").Run() }
		x.eventually("the node's edge has gone with the drain", patience, func() error {
			if edge() == nil {
				return errors.New("it runs")
			}
			return nil
		})
		x.job("POST", "/api/nodes/n2/activate", "")
		x.eventually("the node's edge is back", patience, edge)
		w2 = x.worker("n2")
	}
	x.whole()
}

// nodeOf is the name of the node of a container.
func (c *cluster) nodeOf(id string) string {
	c.t.Helper()
	node := c.get(id).Node
	for name, n := range c.nodes() {
		if n.ID == node {
			return name
		}
	}
	c.t.Fatalf("%s is on no node that is known: %q", id, node)
	return ""
}
