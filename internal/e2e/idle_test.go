package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"
)

// history returns the types of a container's events, oldest first, and the last
// of one type.
func (c *cluster) history(id, kind string) (types []string, last openapi.EventAnswer) {
	c.t.Helper()
	for _, e := range ask[openapi.EventList](c, http.StatusOK, "GET", "/api/containers/"+id+"/events", "").Events {
		types = append(types, strings.TrimPrefix(e.Type, "container."))
		if e.Type == kind {
			last = e
		}
	}
	return types, last
}

// TestInactivity is a container's way when its user goes away: it is used, is
// idle although it is probed all the time, is warned, is saved and stops by
// itself, and its files are in the bucket.
func TestInactivity(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("PROBE_INTERVAL=2s", "IDLE_WARNING=10s")...)
	c.worker("n1")
	s := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start",
		fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":"idle","awsAccessKeyId":%q,"awsSecretAccessKey":%q,"idleTimeout":30}`, s3Key, s3Secret))
	c.succeed(s.Job.ID)
	c.write("n1", s.ID, "notes.txt", "before I went")

	begun := c.get(s.ID).StartedAt
	time.Sleep(time.Until(begun.Add(5 * time.Second))) // so that the visit is another time than the start
	visited := time.Now()
	if a := c.open(s.URLs.WebServer); a.status >= 500 && a.header.Get(ide.NoServerHeader) == "" {
		t.Fatalf("the web port: got %d", a.status)
	}
	c.eventually("the visit is known", patience, func() error {
		i := c.get(s.ID).Idle
		if i == nil || i.LastActivity == nil || i.Source != ide.UseWeb || i.LastActivity.Before(visited.Add(-time.Second)) || i.StopsAt == nil {
			return fmt.Errorf("got %+v", i)
		}
		if d := i.StopsAt.Sub(*i.LastActivity); d.Round(time.Second) != 30*time.Second || i.Timeout != 30 {
			return fmt.Errorf("it stops %s after its last use, of %d s", d, i.Timeout)
		}
		return nil
	})
	used := c.get(s.ID).Idle.LastActivity

	c.eventually("its users are warned", patience, func() error {
		types, e := c.history(s.ID, "container.idle_warning")
		if e.Receipt == nil {
			return fmt.Errorf("events %v", types)
		}
		if r := e.Receipt; r.Source != ide.UseWeb || r.LastActivity.Before(*used) || e.At.Sub(r.LastActivity) < 15*time.Second || r.StopsAt == nil || !r.StopsAt.After(e.At) {
			t.Errorf("got receipt %+v of %s, want the visit at %s, long ago, and a later stop", r, e.At, used)
		}
		return nil
	})
	if h := c.get(s.ID).Health; h == nil || h.Status != "healthy" || !h.LastCheck.After(*used) {
		t.Errorf("got health %+v, want it probed since the visit at %s", h, used)
	}
	c.eventually("it stops by itself", patience, func() error {
		if got := c.get(s.ID); got.Status != ide.Stopped {
			return fmt.Errorf("it is %s", got.Status)
		}
		return nil
	})
	got := c.get(s.ID)
	if got.ShutdownReason != ide.Inactivity || got.LastSave == nil || !got.LastSave.Verified || got.Idle != nil {
		t.Errorf("got %s, save %+v, idle %+v", got.ShutdownReason, got.LastSave, got.Idle)
	}
	if text, err := s3.plain("idle/notes.txt"); text != "before I went" {
		t.Errorf("the bucket has %q, %v", text, err)
	}
	types, stop := c.history(s.ID, "container.idle_stop")
	told := strings.Join(types, " ") // a machine that stood still before the visit may have warned before it, too
	if !strings.HasPrefix(told, "starting running ") || !strings.HasSuffix(told, " idle_warning idle_stop stopping stopped") || stop.By != "sweep-idle" {
		t.Errorf("got events %q by %q, want that it ran, was warned and then stopped", told, stop.By)
	}
	if _, warning := c.history(s.ID, "container.idle_warning"); stop.At.Before(warning.At.Add(9 * time.Second)) {
		t.Errorf("it was warned at %s and stopped at %s, want ten seconds between", warning.At, stop.At)
	}
	if m, v := c.made(), c.volumes("n1"); len(m.services)+len(m.secrets)+len(v) > 0 {
		t.Errorf("the engine still has %+v, volumes %v", m, v)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	if text := c.read("n1", s.ID, "notes.txt"); text != "before I went" {
		t.Errorf("after another start the file has %q", text)
	}
}

// TestKeepaliveAndRunNow: what is kept alive stays, and a sweep that is paused
// everywhere runs when it is asked for.
func TestKeepaliveAndRunNow(t *testing.T) {
	crowd(t)
	c := newCluster(t, "IDLE_WARNING=1s", "IDLE_TIMEOUT=4s")
	c.worker("n1")
	paused := ask[functions.Schedule](c, http.StatusOK, "POST", "/api/schedules/idle-sweep/pause", "")
	if paused.Paused == nil || paused.Next != nil {
		t.Errorf("got %+v", paused)
	}
	s := c.create()
	c.succeed(s.Job.ID)
	sweep := func() {
		c.t.Helper()
		c.succeed(ask[ide.Job](c, http.StatusOK, "POST", "/api/schedules/idle-sweep/run", "").ID)
	}
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	kept := ask[openapi.IdleAnswer](c, http.StatusOK, "POST", "/api/containers/"+s.ID+"/keepalive", fmt.Sprintf(`{"until":%q}`, until))
	if kept.StopsAt == nil || time.Until(*kept.StopsAt) < 50*time.Minute {
		t.Errorf("got %+v", kept)
	}
	c.eventually("its timeout is over", patience, func() error {
		if i := c.get(s.ID).Idle; time.Since(*i.LastActivity) < 5*time.Second {
			return errors.New("not yet")
		}
		return nil
	})
	sweep()
	if types, e := c.history(s.ID, "container.idle_warning"); e.ID != "" {
		t.Errorf("what is kept alive was warned: %v", types)
	}
}
