package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/internal/lab"
	"berth/openapi"
)

// TestStopTable injects every row of ide.StopTable that a store, an agent or a
// node can cause. Where a row is about what a limit leads to, its cluster has a short
// one; the others have limits that no test comes near.
func TestStopTable(t *testing.T) {
	crowd(t)
	s3 := newStore(t, lab.Open(t))
	patient := newCluster(t, s3.settings("SAVE_DEADLINE=1h")...)
	hasty := newCluster(t, s3.settings("SAVE_DEADLINE=20s")...)
	graceful := newCluster(t, s3.settings("SAVE_DEADLINE=1h", "STOP_GRACE=10m")...)
	for _, c := range []*cluster{patient, hasty, graceful} {
		c.worker("n1")
	}
	for _, row := range []struct {
		name    string
		cluster *cluster
		see     func(c *cluster, s3 *bucketStore)
	}{
		{"StoreFailsForAWhile", patient, storeFailsForAWhile},
		{"StoreRefuses", patient, storeRefuses},
		{"StoreFailsTooLong", hasty, storeFailsTooLong},
		{"AgentGone", patient, agentGone},
		{"ServiceRemovedByHand", graceful, serviceRemovedByHand},
		{"Overtaken", patient, overtaken},
		{"GenerationDamaged", patient, generationDamaged},
		{"Force", patient, force},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.see(row.cluster.in(t), s3)
		})
	}
}

// parkedAfter is a container whose files a stop could not save.
func (c *cluster) parkedAfter(id string, j ide.Job) openapi.ContainerAnswer {
	c.t.Helper()
	got := c.get(id)
	if j.Status != ide.JobFailed || j.Error.Code != ide.WorkspaceUnsaved || got.Status != ide.Failed || got.Error == nil || got.Error.Code != ide.WorkspaceUnsaved {
		c.t.Fatalf("got job %s %v, container %s %v, want both failed with WORKSPACE_UNSAVED", j.Status, j.Error, got.Status, got.Error)
	}
	if !c.keeps(id) {
		c.t.Errorf("%s: the volume with the files is gone", id)
	}
	return got
}

// keeps says whether the first node has the volume of a container.
func (c *cluster) keeps(id string) bool {
	c.t.Helper()
	return slices.Contains(c.volumes("n1"), "berth-"+c.instance+"-"+id)
}

func storeFailsForAWhile(c *cluster, s3 *bucketStore) {
	s := c.saved("a")
	c.write("n1", s.ID, "f", "kept")
	s3.refuse(503, "a")
	job := c.stop(s.ID)
	c.eventually("the save is tried again", patience, func() error {
		if j := ask[ide.Job](c, http.StatusOK, "GET", "/api/jobs/"+job.ID, ""); j.Status != ide.JobRetrying {
			return fmt.Errorf("it is %s", j.Status)
		}
		return nil
	})
	s3.refuse(0, "a")
	c.succeed(job.ID)
	if got, _ := s3.plain("a/f"); got != "kept" {
		c.t.Errorf("the bucket has %q", got)
	}
}

func storeRefuses(c *cluster, s3 *bucketStore) {
	s := c.saved("b")
	c.write("n1", s.ID, "f", "kept")
	s3.refuse(403, "b")
	job := c.stop(s.ID)
	got := c.parkedAfter(s.ID, c.wait(job.ID, patience))
	if !strings.Contains(got.Error.Message, "access is denied") {
		c.t.Errorf("the reason is not S3's: %s", got.Error.Message)
	}
	s3.refuse(0, "b")
	c.succeed(c.stop(s.ID).ID) // another try, by a saver: nothing runs any more
	if got, _ := s3.plain("b/f"); got != "kept" {
		c.t.Errorf("after another stop the bucket has %q", got)
	}
	if c.keeps(s.ID) {
		c.t.Error("the volume is left")
	}
}

func storeFailsTooLong(c *cluster, s3 *bucketStore) {
	s := c.saved("c")
	c.write("n1", s.ID, "f", "kept")
	s3.refuse(503, "c")
	job := c.stop(s.ID)
	c.parkedAfter(s.ID, c.wait(job.ID, 2*patience))
	s3.refuse(0, "c")
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/start", "").ID)
	if text := c.read("n1", s.ID, "f"); text != "kept" {
		c.t.Errorf("after another start the file has %q", text)
	}
	c.succeed(c.stop(s.ID).ID)
	if got, _ := s3.plain("c/f"); got != "kept" {
		c.t.Errorf("the bucket has %q", got)
	}
}

func agentGone(c *cluster, s3 *bucketStore) {
	s := c.saved("d")
	c.write("n1", s.ID, "f", "kept")
	e, engineID := c.engineOf("n1", s.ID)
	if err := e.ContainerPause(context.Background(), engineID); err != nil { // it hangs: Swarm does not see it
		c.t.Fatal(err)
	}
	c.succeed(c.stop(s.ID).ID)
	if got, _ := s3.plain("d/f"); got != "kept" {
		c.t.Errorf("the bucket has %q", got)
	}
}

func serviceRemovedByHand(c *cluster, s3 *bucketStore) {
	s := c.saved("e")
	c.write("n1", s.ID, "f", "kept")
	if err := c.engine.ServiceRemove(context.Background(), s.ServiceName); err != nil {
		c.t.Fatal(err)
	}
	c.eventually("the agent saves when it is told to end", patience, func() error {
		_, err := s3.plain("e/f")
		return err
	})
	c.succeed(c.stop(s.ID).ID)
}

func overtaken(c *cluster, s3 *bucketStore) {
	s := c.saved("f")
	c.write("n1", s.ID, "f", "mine")
	s3.overtake(c.t, "f")
	c.parkedAfter(s.ID, c.wait(c.stop(s.ID).ID, patience))
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+s.ID+"?force=true", "").ID)
	if c.keeps(s.ID) {
		c.t.Error("after force the volume is left")
	}
}

func generationDamaged(c *cluster, s3 *bucketStore) {
	s := c.saved("g")
	c.write("n1", s.ID, "f", "whole")
	c.succeed(ask[ide.Job](c, http.StatusAccepted, "POST", "/api/containers/"+s.ID+"/save", "").ID)
	s3.loseObjects(c.t, "g")
	c.succeed(c.stop(s.ID).ID)
	if n := s3.objects(c.t, "g"); n != 1 {
		c.t.Errorf("the bucket has %d objects, want the lost one again", n)
	}
}

func force(c *cluster, s3 *bucketStore) {
	s := c.saved("h")
	c.write("n1", s.ID, "f", "lost")
	s3.refuse(503, "h")
	job := c.stop(s.ID)
	ask[ide.Job](c, http.StatusAccepted, "DELETE", "/api/containers/"+s.ID+"?force=true", "")
	c.succeed(job.ID)
	s3.refuse(0, "h")
	events := ask[openapi.EventList](c, http.StatusOK, "GET", "/api/containers/"+s.ID+"/events", "")
	if last := events.Events[len(events.Events)-1]; !strings.Contains(last.Message, "lost") {
		c.t.Errorf("the event does not say what was lost: %+v", last)
	}
}
