package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/openapi"
)

// TestOneLife is the way of every container: start, look, open, stop, start
// again, purge.
func TestOneLife(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	started := c.create()
	if started.Status != ide.Starting || started.ServiceName != "berth-"+started.ID || started.Job.Status != ide.JobQueued {
		t.Errorf("got %+v", started)
	}
	j := c.succeed(started.Job.ID)
	var steps []string
	for _, s := range j.Steps {
		steps = append(steps, s.Name)
	}
	if got, want := strings.Join(steps, " "), "queue config secret service task agent workspace programs urls record"; got != want {
		t.Errorf("got steps %q, want %q", got, want)
	}
	got := c.get(started.ID)
	if got.Status != ide.Running || got.Uptime < 0 || got.Health == nil || got.Health.Status != "healthy" || got.Node == "" || got.URLs != started.URLs {
		t.Errorf("got %+v", got)
	}
	list := ask[openapi.ContainerList](c, http.StatusOK, "GET", "/api/containers?status=running", "")
	if list.Total != 1 || list.Containers[0].ID != started.ID {
		t.Errorf("got list %+v", list)
	}
	c.opens(started.ID, started.URLs)

	c.succeed(c.stop(started.ID).ID)
	if m := c.made(); len(m.services) > 0 || len(m.secrets) > 0 || len(m.configs) != 1 {
		t.Errorf("after the stop the engine has %+v, want the config only", m)
	}
	got = c.get(started.ID)
	if got.Status != ide.Stopped || got.ShutdownReason != ide.Manual || got.StoppedAt == nil {
		t.Errorf("got %+v", got)
	}
	c.eventually("the gateway knows that the container is stopped", patience, func() error {
		if a := c.open(got.URLs.Code); a.status != http.StatusServiceUnavailable || a.header.Get("Retry-After") == "" {
			return fmt.Errorf("a stopped container's URL: got %d, want 503 with Retry-After", a.status)
		}
		return nil
	})
	if a, _ := c.call("DELETE", "/api/containers/"+started.ID, ""); a.status != http.StatusOK {
		t.Errorf("stop of a stopped one: got %s", a)
	}

	again := ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+started.ID+"/start", "")
	c.succeed(again.ID)
	c.opens(started.ID, started.URLs)

	c.succeed(ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+started.ID+"?purge=true", "").ID)
	if a, _ := c.call("GET", "/api/containers/"+started.ID, ""); a.code() != ide.ContainerNotFound {
		t.Errorf("after the purge: got %s", a)
	}
	c.eventually("the gateway knows that the container was purged", patience, func() error {
		if a := c.open(got.URLs.Code); a.status != http.StatusNotFound {
			return fmt.Errorf("a purged container's URL: got %d, want 404", a.status)
		}
		return nil
	})
	if m := c.made(); len(m.configs) > 0 {
		t.Errorf("after the purge the engine has %+v", m)
	}
}

// opens expects that the three URLs show this container's own pages.
func (c *cluster) opens(id string, urls ide.URLs) {
	c.t.Helper()
	for _, p := range ide.Ports {
		url := urls.Of(p)
		if p != ide.PortWeb {
			url += "/login" // where a browser is sent
		}
		a := c.open(url)
		if a.status >= 500 && !(p == ide.PortWeb && a.header.Get(ide.NoServerHeader) != "") {
			c.t.Errorf("%s: got %d", url, a.status)
		}
		if !strings.Contains(string(a.body), id) {
			c.t.Errorf("%s does not show the container's ID:\n%.300s", url, a.body)
		}
	}
}

func TestProbeNow(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	s := c.create()
	c.succeed(s.Job.ID)
	before := c.get(s.ID).Health.LastCheck
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/probe", "").ID)
	h := c.get(s.ID).Health
	if h.Status != "healthy" || !h.LastCheck.After(before) || !h.Checks.CodeServer || !h.Checks.VNC || h.Checks.WebServer {
		t.Errorf("got %+v, want healthy without a web server, checked after %s", h, before)
	}
}

func TestStopWhileStarting(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	s := c.create()
	c.eventually("the service is being made", patience, func() error {
		if len(c.made().services) == 0 {
			return http.ErrNoLocation
		}
		return nil
	})
	c.succeed(c.stop(s.ID).ID)
	if j := c.wait(s.Job.ID, patience); j.Status != ide.JobCanceled {
		t.Errorf("the start: got %s, want canceled", j.Status)
	}
	if got := c.get(s.ID).Status; got != ide.Stopped {
		t.Errorf("got %s", got)
	}
	if m := c.made(); len(m.services)+len(m.secrets) > 0 {
		t.Errorf("the engine still has %+v", m)
	}
}

func TestCancelAStart(t *testing.T) {
	crowd(t)
	c := newCluster(t)
	c.worker("n1")
	s := c.create()
	ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/jobs/"+s.Job.ID, "")
	if j := c.wait(s.Job.ID, patience); j.Status != ide.JobCanceled && j.Status != ide.JobSucceeded {
		t.Errorf("got %s", j.Status)
	} else if j.Status == ide.JobCanceled {
		got := c.get(s.ID)
		if got.Status != ide.Failed || got.Error == nil || got.Error.Code != ide.Canceled {
			t.Errorf("got %+v", got)
		}
		if m := c.made(); len(m.services)+len(m.secrets) > 0 {
			t.Errorf("the engine still has %+v", m)
		}
	}
}
