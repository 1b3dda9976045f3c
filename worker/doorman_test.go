package worker

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"berth/internal/ide"
)

// opening has the bench's agents tell when they are opened.
func (b *bench) opening() <-chan string {
	opened := make(chan string, 10)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && r.URL.Path == ide.AgentOpenPath {
			opened <- r.Host
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_, _ = w.Write([]byte(`{"ready":true}`))
	}))
	b.Cleanup(srv.Close)
	b.deps.HTTP = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}}
	return opened
}

// TestContainersAreOpenedOnceEach: by the worker of their node, at the address
// that the engine has given them, and again by a worker that comes later.
func TestContainersAreOpenedOnceEach(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	opened := b.opening()
	w, stop := b.run(Config{})
	first := b.create()
	b.ends(first.Job.ID, ide.JobSucceeded)
	if got, want := <-opened, b.container(first.Container.ID).Address+":9000"; got != want {
		t.Errorf("opened %s, want %s", got, want)
	}
	second := b.create()
	b.ends(second.Job.ID, ide.JobSucceeded)
	if got, want := <-opened, b.container(second.Container.ID).Address+":9000"; got != want {
		t.Errorf("opened %s, want %s: the first is open", got, want)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	later := newDoorman(w)
	for range 2 {
		b.must(later.look(t.Context()))
	}
	if len(opened) != 2 {
		t.Errorf("another worker has opened %d, want both, once each", len(opened))
	}
}

// TestNoContainerIsOpenedWithoutAFilter: where a filter is wanted and stands
// not, agents go on waiting.
func TestNoContainerIsOpenedWithoutAFilter(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	opened := b.opening()
	_, stop := b.run(Config{})
	b.ends(b.create().Job.ID, ide.JobSucceeded)
	<-opened
	if err := stop(); err != nil {
		t.Error(err)
	}
	w := b.worker(Config{Guard: b.guard(GuardConfig{Isolation: true, ExecRoot: t.TempDir()})})
	b.must(w.report(t.Context()))
	if err := newDoorman(w).look(t.Context()); err == nil || !strings.Contains(err.Error(), "filter") && !strings.Contains(err.Error(), "namespace") {
		t.Errorf("got %v, want that the filter does not stand", err)
	}
	if len(opened) > 0 {
		t.Error("a container was opened")
	}
}
