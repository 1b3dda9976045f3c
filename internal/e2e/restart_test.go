package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"berth/internal/ide"
)

// TestBulkRestartWithFewSlots restarts more containers than the worker has slots, on
// a real Swarm: each keeps its file, and a stop comes through
// meanwhile.
func TestBulkRestartWithFewSlots(t *testing.T) {
	x := newChaos(t)
	w := x.worker("n1", "WORKER_CONCURRENCY=40")
	x.worker("n2")
	var ids []string
	for i := range 6 {
		ids = append(ids, x.ask(fmt.Sprint("r", i)).ID)
	}
	other := x.ask("other").ID
	for i, id := range append(ids[:len(ids):len(ids)], other) {
		x.succeed("container-create:" + id + ":1")
		x.write(x.nodeOf(id), id, "f", fmt.Sprint("of ", i))
	}
	x.end(w, syscall.SIGTERM)
	x.worker("n1", "WORKER_CONCURRENCY=2")
	bulk := ask[ide.Job](x.cluster, http.StatusAccepted, "POST", "/api/dashboard/containers/action",
		`{"action": "restart", "ids": ["`+strings.Join(ids, `", "`)+`"]}`).ID
	stop := x.succeed(x.stop(other).ID)
	all := x.succeed(bulk)
	if !stop.FinishedAt.Before(*all.FinishedAt) {
		t.Errorf("a stop ended at %s, after the bulk restart at %s that was asked for before it", stop.FinishedAt, all.FinishedAt)
	}
	t.Logf("the stop took %.1f s, the restart of %d containers in 2 slots %.1f s", stop.FinishedAt.Sub(stop.QueuedAt).Seconds(), len(ids), all.FinishedAt.Sub(all.QueuedAt).Seconds())
	for i, id := range ids {
		if got := x.get(id); got.Status != ide.Running {
			t.Errorf("%s is %s, want running", id, got.Status)
		}
		if text, want := x.read(x.nodeOf(id), id, "f"), fmt.Sprint("of ", i); text != want {
			t.Errorf("lost: the file of %s has %q, want %q", id, text, want)
		}
	}
	x.whole()
}
