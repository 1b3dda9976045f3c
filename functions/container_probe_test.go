package functions

import (
	"net/http"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func TestProbe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	probe := func() ide.Health {
		t.Helper()
		out, err := ProbeContainer.Enqueue(t.Context(), b.Deps, alice, &ProbeContainerArgs{ID: c.ID})
		b.must(err)
		b.execute(out.Job.ID, ide.JobSucceeded)
		h := b.container(c.ID).Health
		if got, ok := b.job(out.Job.ID).Result["health"].(map[string]any); !ok || got["status"] != h.Status {
			t.Errorf("the job's result is %v, the record says %s", got, h.Status)
		}
		return *h
	}
	if h := probe(); h.Status != "healthy" || h.Checks != (ide.Checks{CodeServer: true, VNC: true, WebServer: true}) {
		t.Errorf("got %+v, want healthy", h)
	}
	b.inside.say("web", answer{noServer: true})
	b.inside.say("vnc", answer{status: 503})
	for n, want := range map[int]string{1: "healthy"} {
		if h := probe(); h.Status != want || h.Failures != n || h.Checks != (ide.Checks{CodeServer: true}) {
			t.Errorf("got %+v, want %s after %d failures", h, want, n)
		}
	}
	probe()
	if h := probe(); h.Status != "unhealthy" {
		t.Errorf("got %+v, want unhealthy after three failures", h)
	}
	b.inside.server.CloseClientConnections()
	b.HTTP = &http.Client{Transport: &http.Transport{Proxy: nil}, Timeout: time.Millisecond} // nobody is reached
	if h := probe(); h.Failures != 4 || h.Checks != (ide.Checks{}) {
		t.Errorf("got %+v, want another failure", h)
	}
	b.HTTP = b.inside.client()
	b.inside.say("vnc")
	if h := probe(); h.Status != "healthy" || h.Failures != 0 {
		t.Errorf("got %+v, want healthy again", h)
	}
}

func TestProbeOfAnotherRunChangesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	out, err := ProbeContainer.Enqueue(t.Context(), b.Deps, alice, &ProbeContainerArgs{ID: c.ID})
	b.must(err)
	if _, err := b.Store.Update(t.Context(), c.ID, func(c *ide.Container) error { c.Run++; return nil }); err != nil {
		t.Fatal(err)
	}
	b.execute(out.Job.ID, ide.JobCanceled)
	if diff := cmp.Diff(c.Health, b.container(c.ID).Health); diff != "" {
		t.Errorf("health (-before +after):\n%s", diff)
	}
}
