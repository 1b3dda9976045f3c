package functions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

func TestProbeSweepSeesWhatIsIll(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	health := func(want string, failures int) {
		t.Helper()
		if h := b.container(c.ID).Health; h == nil || h.Status != want || h.Failures != failures {
			t.Errorf("got health %+v, want %s after %d failures", h, want, failures)
		}
	}
	b.inside.say("web", answer{noServer: true})
	b.sweep("probe-sweep")
	health("healthy", 0)
	b.wantTold("no web server is no illness", c.ID)

	b.inside.say("code", answer{status: 502})
	b.sweep("probe-sweep")
	b.sweep("probe-sweep")
	health("healthy", 2)
	j := b.sweep("probe-sweep")
	health("unhealthy", 3)
	e := b.wantTold("the third time", c.ID, "unhealthy")
	if !strings.Contains(e.Message, "editor") || strings.Contains(e.Message, "desktop") || j.Result["unhealthy"] != 1.0 || j.Result["probed"] != 1.0 {
		t.Errorf("got %q, result %v", e.Message, j.Result)
	}
	b.sweep("probe-sweep")
	b.wantTold("told once", c.ID, "unhealthy")

	b.inside.say("code", answer{status: 302})
	b.sweep("probe-sweep")
	health("healthy", 0)
	b.wantTold("the first success", c.ID, "unhealthy", "healthy")
}

func TestProbeSweepNotesUse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.watched(CreateContainerRequest{Activity: &ActivityRequest{CPU: 0.5}}, time.Hour)
	b.used("desktop", time.Minute)
	b.sweep("probe-sweep")
	u := b.container(c.ID).Watch.Used
	if u == nil || u.Source != "desktop" || u.Signal != ide.SignalAgent || time.Since(u.At) < 50*time.Second || time.Since(u.At) > 5*time.Minute {
		t.Fatalf("got %+v, want the desktop a minute ago, whatever the agent's clock says", u)
	}
	before := time.Now().UTC().Add(-10 * time.Second)
	b.update(c.ID, func(c *ide.Container) { c.Watch.CPUSeconds, c.Watch.CPUAt = 0.001, &before })
	b.inside.say("agent", answer{status: 200, body: `{"ready":true,"cpuSeconds":600}`})
	b.sweep("probe-sweep")
	if u := b.container(c.ID).Watch.Used; u == nil || u.Source != "cpu" || time.Since(u.At) > time.Minute {
		t.Errorf("got %+v, want its load", u)
	}
	b.inside.say("agent", answer{status: 200, body: fmt.Sprintf(`{"ready":true,"lastActivity":{"at":%q,"source":"start"}}`, time.Now().Add(time.Hour).Format(time.RFC3339))})
	b.sweep("probe-sweep")
	if u := b.container(c.ID).Watch.Used; u == nil || u.Source != "cpu" {
		t.Errorf("got %+v: that a program was started again is no use", u)
	}
}

// probed fills a store with running containers, and returns dependencies that
// reach all of them at a server.
func probed(t testing.TB, b *bench, n int, serve http.HandlerFunc) *Deps {
	t.Helper()
	srv := httptest.NewServer(serve)
	t.Cleanup(srv.Close)
	d := *b.Deps
	d.HTTP = &http.Client{Timeout: time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "tcp", srv.Listener.Addr().String())
	}}}
	for range n {
		id := ide.NewID()
		sealed, err := d.Box.Seal(sealContext(id), ide.Secrets{AgentToken: "token"})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		_, err = d.Store.Admit(t.Context(), store.Admission{Function: "container-create", MaxAttempts: 1, By: alice, Args: struct{}{}, New: &ide.Container{
			ID: id, Run: 1, Owner: "alice", Status: ide.Running, Address: "10.0.0.1", CreatedAt: now, StartedAt: &now, Sealed: sealed, Probe: ide.NewID(),
			URLs: ide.MakeURLs("http", id, "ide.test:8080")}})
		if err != nil {
			t.Fatal(err)
		}
	}
	return &d
}

func TestSlowContainersDelayNoOther(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	var slow atomic.Value
	slow.Store("")
	release := make(chan struct{})
	d := probed(t, b, 40, func(w http.ResponseWriter, r *http.Request) {
		if id, _, _ := strings.Cut(r.Host, "-"); strings.Contains(slow.Load().(string), id) && r.Host != "10.0.0.1:9000" {
			select {
			case <-r.Context().Done():
			case <-release:
			}
			panic(http.ErrAbortHandler) // it never answers
		}
		_, _ = w.Write([]byte(`{"ready":true}`))
	})
	all, err := d.Store.ByStatus(t.Context(), ide.Running)
	b.must(err)
	var dead []string
	for _, c := range all[:10] {
		dead = append(dead, c.ID)
	}
	slow.Store(strings.Join(dead, " "))
	j, err := RunSchedule(t.Context(), d, admin, "probe-sweep")
	b.must(err)
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), d, newest(j.ID)) }()
	checked := func() (n int) {
		now, err := d.Store.ByStatus(t.Context(), ide.Running)
		b.must(err)
		for _, c := range now {
			if c.Health != nil {
				n++
			}
		}
		return n
	}
	until(t, "the others are probed while the sweep waits for ten", func() bool { return checked() == 30 })
	select {
	case err := <-done:
		t.Errorf("the sweep has ended before: %v", err)
	default:
	}
	close(release)
	b.must(<-done)
	if n := checked(); n != 40 {
		t.Fatalf("%d of 40 have a health", n)
	}
	for _, id := range dead {
		if h := b.container(id).Health; h == nil || h.Checks.CodeServer || h.Failures != 1 {
			t.Errorf("a dead one: got %+v", h)
		}
	}
}

// never is a container that takes requests and does not answer them.
type never struct{}

func (never) RoundTrip(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestALookEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &Deps{HTTP: &http.Client{Transport: never{}}, Settings: Settings{EdgeURL: "http://edge.test"}}
		began := time.Now()
		s := d.look(t.Context(), ide.Container{ID: "k3xqh5zt2mwfa", Address: "10.0.0.1", NoAgent: true})
		if took := time.Since(began); took != requestTimeout || s.checks.CodeServer || s.checks.VNC || s.checks.WebServer {
			t.Errorf("got %+v after %v, want nothing after %v", s.checks, took, requestTimeout)
		}
		began = time.Now()
		_, err := d.agentAt("10.0.0.1", "token").status(t.Context())
		if took := time.Since(began); took != requestTimeout || !errors.Is(err, errNoAgent) {
			t.Errorf("the agent: got %v after %v, want %v after %v", err, took, errNoAgent, requestTimeout)
		}
	})
}

// BenchmarkProbeSweep probes 1,000 containers, three ports and the agent of each.
// It has to take less than PROBE_INTERVAL, 15 s.
func BenchmarkProbeSweep(b *testing.B) {
	bench := newBench(b)
	d := probed(b, bench, 1000, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ready":true}`)) })
	for b.Loop() {
		j, err := RunSchedule(b.Context(), d, admin, "probe-sweep")
		if err != nil {
			b.Fatal(err)
		}
		if err := Execute(b.Context(), d, newest(j.ID)); err != nil {
			b.Fatal(err)
		}
		if done, err := d.Store.Job(b.Context(), j.ID); err != nil || done.Result["probed"] != 1000.0 {
			b.Fatalf("got %+v, %v", done.Result, err)
		}
	}
}
