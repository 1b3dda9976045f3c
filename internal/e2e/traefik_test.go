package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"

	"github.com/chromedp/chromedp"
	"github.com/docker/docker/api/types/swarm"
)

// TestStackBehindTraefik deploys the stack, with the real Traefik in front,
// and sees of both kinds of routing what its users see. Between the two it is
// updated: nobody notices, and its containers stay apart.
func TestStackBehindTraefik(t *testing.T) {
	s := newStack(t)
	s.up("labels", "PROBE_INTERVAL=2s", "S3_ENDPOINT=none", "CPU_RESERVATION=0.05", "MEMORY_RESERVATION=64m", "RATE_LIMIT=0", "STOP_GRACE=10s")
	byLabels := s.oneLife(t, true)
	s.security(t)

	neighbour := s.create()
	s.succeed(neighbour.Job.ID)
	_, address := inside(t.Context(), s.engine, neighbour.ID, "")
	flood := s.flood(byLabels.ID, net.JoinHostPort(address, "9000"))
	watch := s.watch(byLabels)
	s.deploy("gateway", "PROBE_INTERVAL=2s", "S3_ENDPOINT=none", "CPU_RESERVATION=0.05", "MEMORY_RESERVATION=64m", "RATE_LIMIT=3000", "STOP_GRACE=10s")
	for _, name := range []string{"api", "gateway", "worker"} {
		s.eventually(name+" is updated", 5*time.Minute, func() error {
			u := s.service(name).UpdateStatus
			if u == nil || u.State != swarm.UpdateStateCompleted {
				return fmt.Errorf("%+v", u)
			}
			return nil
		})
	}
	if asked, failed := watch(); len(failed) > 0 {
		t.Errorf("during the update %d of %d requests failed: %q", len(failed), asked, failed[:min(len(failed), 10)])
	}
	if through, tries := flood(); through > 0 {
		t.Errorf("during the update %d of %d connections from a container to its neighbour got through", through, tries)
	}
	s.oneLife(t, false)
	s.realAddress(t)
}

// oneLife sees a container's URLs from start to stop and start again. It
// returns one that runs.
func (s *stack) oneLife(t *testing.T, byLabels bool) functions.StartAnswer {
	t.Helper()
	c := s.create()
	s.succeed(c.Job.ID)
	if !strings.HasPrefix(c.URLs.Code, "https://") {
		t.Errorf("got URL %s", c.URLs.Code)
	}
	s.shows(t, c)

	spec, _, err := s.engine.ServiceInspectWithRaw(context.Background(), c.ServiceName, swarm.ServiceInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	labels := 0
	for name := range spec.Spec.Labels {
		if strings.HasPrefix(name, "traefik.") {
			labels++
		}
	}
	if labels > 0 != byLabels {
		t.Errorf("the service has %d labels of Traefik's", labels)
	}
	s.eventually("Traefik knows the routes", patience, func() error {
		var routers []struct{ Name, Status string }
		if err := json.Unmarshal(s.dashboard("/api/http/routers?per_page=1000", "admin", "dashboard-password").body, &routers); err != nil {
			return err
		}
		own := 0
		for _, r := range routers {
			if r.Status != "enabled" {
				return fmt.Errorf("%+v", r)
			}
			if strings.Contains(r.Name, c.ID) {
				own++
			}
		}
		if want := map[bool]int{true: len(ide.Ports)}[byLabels]; own != want {
			return fmt.Errorf("%d of %d routers are this container's, want %d", own, len(routers), want)
		}
		return nil
	})
	s.shows(t, c)
	s.visits(t, c)
	s.sockets(t, c)

	s.succeed(s.stop(c.ID).ID)
	s.eventually("the stopped container's page", patience, func() error {
		a := s.open(c.URLs.Code)
		if a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "The container is stopped") {
			return fmt.Errorf("got %d %v %.200s", a.status, a.header, a.body)
		}
		return nil
	})
	s.succeed(ask[ide.Job](s.cluster, http.StatusAccepted, "POST", "/api/containers/"+c.ID+"/start", "").ID)
	s.shows(t, c)
	return c
}

// shows expects that the three URLs show this container's own pages.
func (s *stack) shows(t *testing.T, c functions.StartAnswer) {
	t.Helper()
	desktop := "/login"
	if s.ideImage() == fullImage {
		desktop = "/vnc.html"
	}
	for _, url := range []string{c.URLs.Code + "/login", c.URLs.VNC + desktop, c.URLs.WebServer} {
		a := s.open(url)
		if a.status >= http.StatusInternalServerError && a.header.Get(ide.NoServerHeader) == "" || !strings.Contains(string(a.body), c.ID) {
			t.Errorf("%s: got %d %.300s", url, a.status, a.body)
		}
	}
}

// visits sees that a visit counts as one, whatever it calls itself, and that
// probes do not: the container's last use stays while it is probed.
func (s *stack) visits(t *testing.T, c functions.StartAnswer) {
	t.Helper()
	began := time.Now()
	req, err := http.NewRequest(http.MethodGet, c.URLs.WebServer, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(ide.ProbeHeader, "1")
	res, err := s.edge.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s.eventually("a visit that calls itself a probe is known", patience, func() error {
		i := s.get(c.ID).Idle
		if i == nil || i.Source != ide.UseWeb || i.LastActivity.Before(began.Add(-time.Second)) {
			return fmt.Errorf("%+v", i)
		}
		return nil
	})
	// Once every report of the visit has come, probes alone follow. What is known of the last use is its age, which is
	// measured again each time: it moves a little, and to the probe itself if that counted.
	probed := func() (used, at time.Time) {
		asked := time.Now()
		s.eventually("it is probed again", patience, func() error {
			h := s.get(c.ID).Health
			if h == nil || h.LastCheck.Before(asked.Add(5*time.Second)) {
				return fmt.Errorf("%+v", h)
			}
			at = h.LastCheck
			return nil
		})
		return *s.get(c.ID).Idle.LastActivity, at
	}
	used, _ := probed()
	if got, at := probed(); got.Sub(used) > at.Sub(used)/2 {
		t.Errorf("the last use moved from %s to %s by the probe at %s, while nobody came", used, got, at)
	}
}

// sockets uses editor and desktop, which are WebSockets, with a browser.
func (s *stack) sockets(t *testing.T, c functions.StartAnswer) {
	t.Helper()
	if s.ideImage() != fullImage {
		t.Logf("no WebSockets are tried: the lab has no full IDE image (FULL=1)")
		return
	}
	passwords := ask[credentials](s.cluster, http.StatusOK, "GET", "/api/containers/"+c.ID+"/credentials", "")
	b := newBrowser(t, s.https, chromedp.Flag("ignore-certificate-errors-spki-list", s.spki))
	b.login(c.URLs.Code, passwords.Code)
	b.shot("traefik-editor")
	b = b.tab()
	b.desktop(c.URLs.VNC, passwords.VNC)
	b.shot("traefik-desktop")
}

// watch asks for the API and for a container's page again and again, until it
// is told to stop. It returns how often, and what went wrong.
func (s *stack) watch(c functions.StartAnswer) (stop func() (int, []string)) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var failed []string
	asked := 0
	var all sync.WaitGroup
	for _, url := range []string{"https://api." + stackDomain + "/livez", c.URLs.Code + "/login", "https://nothing." + containerDomain} {
		all.Go(func() {
			for tick := time.Tick(100 * time.Millisecond); ; {
				select {
				case <-ctx.Done():
					return
				case <-tick:
				}
				res, err := s.edge.Get(url)
				if err == nil {
					io.Copy(io.Discard, res.Body)
					res.Body.Close()
					if res.StatusCode >= http.StatusInternalServerError {
						err = errors.New(res.Status)
					}
				}
				mu.Lock()
				asked++
				if err != nil {
					failed = append(failed, fmt.Sprintf("%s: %v", url, err))
				}
				mu.Unlock()
			}
		})
	}
	return func() (int, []string) {
		cancel()
		all.Wait()
		return asked, failed
	}
}
