package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"

	"github.com/google/go-cmp/cmp"
)

// status waits until a container is in a state.
func (c *cluster) status(id string, want ide.Status, within time.Duration) openapi.ContainerAnswer {
	c.t.Helper()
	var got openapi.ContainerAnswer
	c.eventually(fmt.Sprintf("%s is %s", id, want), within, func() error {
		got = c.get(id)
		if got.Status != want {
			return fmt.Errorf("it is %s, %+v", got.Status, got.Error)
		}
		return nil
	})
	return got
}

// TestCrashLoop: a program that keeps dying is stopped with its files saved,
// and its history has its last lines.
func TestCrashLoop(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)
	c.worker("n1")
	s := c.saved("loop")
	c.write("n1", s.ID, "f", "kept")
	last := ""
	c.eventually("it is given up", patience, func() error {
		got := c.get(s.ID)
		if got.Status == ide.Failed {
			return nil
		}
		if e, id, err := c.taskContainer("n1", s.ID); err == nil && id != last && got.Status == ide.Running {
			last = id
			if err := e.ContainerKill(context.Background(), id, "QUIT"); err != nil {
				return err
			}
		}
		return fmt.Errorf("it is %s", got.Status)
	})
	got := c.get(s.ID)
	if got.ShutdownReason != ide.ByError || got.Error == nil || got.LastSave == nil || !got.LastSave.Verified {
		t.Errorf("got %q, %+v, saved %+v", got.ShutdownReason, got.Error, got.LastSave)
	}
	if text, _ := s3.plain("loop/f"); text != "kept" {
		t.Errorf("the bucket has %q", text)
	}
	events := ask[openapi.EventList](c, http.StatusOK, "GET", "/api/containers/"+s.ID+"/events", "")
	i := slices.IndexFunc(events.Events, func(e openapi.EventAnswer) bool { return e.Type == "container.ended" })
	if i < 0 || len(events.Events[i].Log) == 0 || len(events.Events[i].Log) > 50 {
		t.Errorf("its history has no last lines: %+v", events.Events)
	}
	if m := c.made(); len(m.services)+len(m.secrets) > 0 || len(c.volumes("n1")) > 0 {
		t.Errorf("left behind: %+v, volumes %v", m, c.volumes("n1"))
	}
}

// TestNodeIsCutOff: what ran there is failed and starts elsewhere from its last
// save. The writer that was cut off comes back, and can neither save over it nor
// stay.
func TestNodeIsCutOff(t *testing.T) {
	l := lab.Open(t)
	l.Need(2)
	s3 := newStore(t, l)
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)
	c.worker("n1")
	w := c.worker("n2")
	s := c.savedOn("n2", "cut")
	prefix := c.get(s.ID).S3Prefix
	c.write("n2", s.ID, "f", "first")
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/save", "").ID)
	l.Cut("n2")
	began := time.Now()
	c.write("n2", s.ID, "f", "cut off")
	got := c.status(s.ID, ide.Failed, patience)
	t.Logf("reported %.1f s after the cut", time.Since(began).Seconds())
	if got.Error == nil || got.Error.Code != ide.WorkspaceUnsaved || !got.Unsaved || got.ShutdownReason != ide.ByError {
		t.Errorf("got %+v, unsaved %t, %q", got.Error, got.Unsaved, got.ShutdownReason)
	}
	down := false
	events, _, err := c.store.Changes(context.Background(), "0-0")
	for _, e := range events {
		down = down || e.Type == "node.down"
	}
	if err != nil || !down {
		t.Errorf("no event tells of the node: %v", err)
	}

	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	if text := c.read("n1", s.ID, "f"); text != "first" {
		t.Errorf("on the other node the file has %q, want that of the last save", text)
	}
	c.end(w, syscall.SIGKILL) // Swarm ends its container, on the overlay that it makes anew
	l.Heal("n2")
	c.eventually("an edge there reaches the control plane again", patience, func() error { return c.reaches("n2") })
	c.worker("n2")
	c.eventually("what ran on the lost node has ended", patience, func() error {
		if _, id, err := c.taskContainer("n2", s.ID); err == nil {
			return fmt.Errorf("container %s is there", id)
		}
		return nil
	})
	c.write("n1", s.ID, "g", "second")
	c.succeed(c.stop(s.ID).ID)
	for name, want := range map[string]string{"f": "first", "g": "second"} {
		if text, err := s3.plain(prefix + "/" + name); text != want {
			t.Errorf("in the bucket %s has %q, %v, want %q", name, text, err, want)
		}
	}
	if v := c.volumes("n2"); len(v) != 1 {
		t.Errorf("volumes of the node that was lost: %v, want the one with what was not saved", v)
	}
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+s.ID+"?purge=true", "").ID)
	c.eventually("after a purge it is gone", patience, func() error {
		if v := c.volumes("n2"); len(v) > 0 {
			return fmt.Errorf("there is %v", v)
		}
		return nil
	})
}

// TestRedisIsEmptied in the middle of everything: what Swarm knows comes back,
// and nothing is doubled or left behind.
func TestRedisIsEmptied(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	c := newCluster(t, s3.settings("SAVE_DEADLINE=2s")...)
	c.worker("n1")
	want := map[string]openapi.ContainerAnswer{}
	var stopped []string
	var all []functions.StartAnswer
	for i := range 14 {
		all = append(all, c.ask(fmt.Sprint("p", i)))
	}
	for _, s := range all {
		c.succeed(s.Job.ID)
	}
	var stops []string
	for _, s := range all[:3] {
		stopped, stops = append(stopped, s.ID), append(stops, c.stop(s.ID).ID)
	}
	c.write("n1", all[3].ID, "f", "kept")
	s3.refuse(http.StatusForbidden, "p3")
	c.wait(c.stop(all[3].ID).ID, 2*patience)
	s3.refuse(0, "p3")
	for _, job := range stops {
		c.succeed(job)
	}
	for _, s := range all {
		want[s.ID] = c.get(s.ID)
	}
	var flying []string
	for i := range 5 {
		flying = append(flying, c.ask(fmt.Sprint("f", i)).ID)
	}
	if err := c.rdb.FlushAll(context.Background()).Err(); err != nil {
		t.Fatal(err)
	}
	for id, was := range want {
		c.eventually(id+" is back", patience, func() error {
			a, err := c.call("GET", "/api/containers/"+id, "")
			if err == nil && a.status != http.StatusOK {
				err = errors.New(a.String())
			}
			return err
		})
		got := c.get(id)
		if was.Unsaved {
			got = c.status(id, ide.Stopped, 2*patience) // the sweep has saved it by now
			was.Status = ide.Stopped
		}
		type known struct {
			Status        ide.Status
			Owner, Bucket string
			URLs          ide.URLs
			Created       time.Time
		}
		of := func(a openapi.ContainerAnswer) known {
			return known{a.Status, a.Owner, a.S3Bucket + "/" + a.S3Prefix, a.URLs, a.CreatedAt}
		}
		if diff := cmp.Diff(of(was), of(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", id, diff)
		}
		if was.Status == ide.Stopped && got.LastSave == nil {
			t.Errorf("%s has forgotten its last save", id)
		}
	}
	services := 0
	for _, id := range flying {
		c.eventually(id+" has ended as something", patience, func() error {
			a, err := c.call("GET", "/api/containers/"+id, "")
			if err == nil && strings.Contains(string(a.body), `"status":"starting"`) {
				err = errors.New("it is still starting")
			}
			return err
		})
		if a, _ := c.call("GET", "/api/containers/"+id, ""); a.status == http.StatusOK {
			if got := c.get(id); got.Status != ide.Running {
				t.Errorf("%s is %s", id, got.Status)
			}
			services++
		}
	}
	c.eventually("the Swarm has what the records say", patience, func() error {
		if m := c.made(); len(m.services) != 10+services || len(m.secrets) != len(m.services) || len(m.configs) != 14+services {
			return fmt.Errorf("%d services, %d secrets, %d configs; %d of the five came", len(m.services), len(m.secrets), len(m.configs), services)
		}
		return nil
	})
	var starts []string
	for _, id := range stopped { // with the credentials that were sealed
		starts = append(starts, ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+id+"/start", "").ID)
	}
	for _, job := range starts {
		c.succeed(job)
	}
}

// savedOn is saved, on a node.
func (c *cluster) savedOn(node, prefix string) functions.StartAnswer {
	c.t.Helper()
	for i := range 6 {
		s := c.saved(fmt.Sprintf("%s-%d", prefix, i))
		if _, _, err := c.taskContainer(node, s.ID); err == nil {
			return s
		}
	}
	c.t.Fatalf("no container was placed on %s", node)
	return functions.StartAnswer{}
}
