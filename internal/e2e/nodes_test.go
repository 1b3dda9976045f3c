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

	"github.com/docker/docker/client"
)

// nodeNamed is a node as the API shows it.
func (c *cluster) nodeNamed(name string) (openapi.NodeRow, bool) {
	c.t.Helper()
	list := ask[openapi.NodeList](c, http.StatusOK, "GET", "/api/dashboard/nodes", "")
	i := slices.IndexFunc(list.Nodes, func(n openapi.NodeRow) bool { return n.Hostname == name })
	if i < 0 {
		return openapi.NodeRow{}, false
	}
	return list.Nodes[i], true
}

// nodeIs waits until the API shows a node as it should be.
func (c *cluster) nodeIs(name, what string, within time.Duration, ok func(openapi.NodeRow) bool) openapi.NodeRow {
	c.t.Helper()
	var n openapi.NodeRow
	c.eventually(fmt.Sprintf("the node %s is %s", name, what), within, func() error {
		var found bool
		if n, found = c.nodeNamed(name); !found || !ok(n) {
			return fmt.Errorf("it is %+v", n)
		}
		return nil
	})
	return n
}

// job asks for a job, and expects that it succeeds.
func (c *cluster) job(method, path, body string) ide.Job {
	c.t.Helper()
	return c.succeed(ask[ide.Job](c, http.StatusAccepted, method, path, body).ID)
}

// TestNodesComeAndGo: a machine joins the Swarm and gets its image from another
// node before the first container; containers are spread over all, placed by label
// and moved; the node is cut off and comes back, is drained, with its container's
// files going along, and removed.
func TestNodesComeAndGo(t *testing.T) {
	l := lab.Open(t)
	l.Need(2)
	s3 := newStore(t, l)
	c := newCluster(t, s3.settings("SAVE_INTERVAL=600s")...)
	l = c.lab // which learns of the node that joins
	c.worker("n1")
	c.worker("n2")
	began := time.Now()
	said := func(what string) { t.Logf("%6.1f s  %s", time.Since(began).Seconds(), what) }

	c.eventually("the join command is known", patience, func() error {
		a, err := c.call("GET", "/api/nodes/join-token?role=worker", "")
		if err == nil && (a.status != http.StatusOK || !strings.Contains(string(a.body), "docker swarm join --token SWMTKN-") || a.header.Get("Cache-Control") != "no-store") {
			err = fmt.Errorf("it answers %d", a.status)
		}
		return err
	})
	n3 := l.Join(3)
	said("n3 has joined")
	engine, err := client.NewClientWithOpts(client.WithHost(n3.Sock), client.WithAPIVersionNegotiation())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	if _, err := engine.ImageInspect(context.Background(), image); err == nil {
		t.Fatal("the new node has the image already")
	}
	c.nodeIs("n3", "known, and takes nothing yet", patience, func(n openapi.NodeRow) bool { return !n.Placeable && slices.Contains(n.MissingImages, image) })
	w3 := c.worker("n3")
	if _, err := engine.ImageInspect(context.Background(), image); err != nil {
		t.Fatalf("it takes containers without their image: %v", err)
	}
	row := c.nodeIs("n3", "placeable", patience, func(n openapi.NodeRow) bool { return n.Placeable && len(n.MissingImages) == 0 })
	said("n3 has its image, and takes containers")

	on := map[string]string{}
	for i := range 3 {
		s := c.saved(fmt.Sprint("spread-", i))
		on[c.get(s.ID).Node] = s.ID
	}
	if len(on) != 3 || on[row.ID] == "" {
		t.Fatalf("three containers are on %v, want one on each node", on)
	}
	said("spread")

	if a, err := c.call("POST", "/api/containers/start", `{"s3Bucket":"work","s3Prefix":"never","awsAccessKeyId":"a","awsSecretAccessKey":"b","placement":{"constraints":["node.labels.zone==moon"]}}`); err != nil ||
		a.status != http.StatusUnprocessableEntity || a.code() != ide.PlacementImpossible {
		t.Errorf("a place that there never is: got %s, %v", a, err)
	}
	c.job("PUT", "/api/nodes/n3/labels", `{"labels":{"zone":"attic"}}`)
	placed := ask[functions.StartAnswer](c, http.StatusAccepted, "POST", "/api/containers/start",
		fmt.Sprintf(`{"s3Bucket":"work","s3Prefix":"placed","awsAccessKeyId":%q,"awsSecretAccessKey":%q,"placement":{"constraints":["node.labels.zone==attic"]}}`, s3Key, s3Secret))
	c.succeed(placed.Job.ID)
	if got := c.get(placed.ID).Node; got != row.ID {
		t.Errorf("placed on %s, want the node with the label", got)
	}
	c.job("DELETE", "/api/containers/"+placed.ID+"?purge=true", "")
	said("placed by label")

	moved := on[row.ID]
	c.write("n3", moved, "f", "goes along")
	n1, _ := c.nodeNamed("n1")
	c.job("POST", "/api/containers/"+moved+"/move", `{"node":"n1"}`)
	if got := c.get(moved); got.Node != n1.ID || got.Status != ide.Running || got.LastSave == nil || !got.LastSave.Verified {
		t.Errorf("moved: it is %s on %s, want it running on n1", got.Status, got.Node)
	}
	if text := c.read("n1", moved, "f"); text != "goes along" {
		t.Errorf("after the move the file has %q", text)
	}
	said("moved")

	c.job("POST", "/api/containers/"+moved+"/move", `{"node":"n3"}`)
	c.write("n3", moved, "g", "drained")
	drained := c.job("POST", "/api/nodes/n3/drain", "")
	if !slices.ContainsFunc(drained.Steps, func(s ide.Step) bool { return s.Name == "move "+moved }) {
		t.Errorf("the drain has no step for its container: %+v", drained.Steps)
	}
	got := c.get(moved)
	if got.Node == row.ID || got.Status != ide.Running {
		t.Fatalf("after the drain it is %s on %s", got.Status, got.Node)
	}
	name := "n1"
	if got.Node != n1.ID {
		name = "n2"
	}
	for file, want := range map[string]string{"f": "goes along", "g": "drained"} {
		if text := c.read(name, moved, file); text != want {
			t.Errorf("after the drain %s has %q", file, text)
		}
	}
	c.nodeIs("n3", "drained and empty", patience, func(n openapi.NodeRow) bool { return n.Availability == "drain" && n.Containers == 0 })
	c.end(w3, syscall.SIGTERM) // which Swarm does to a task
	said("drained")

	c.job("POST", "/api/nodes/n3/activate", "")
	reaches := func() error { return c.reaches("n3") }
	c.eventually("an edge there reaches the control plane", patience, reaches) // a new one: the old one is let in no more
	w3 = c.worker("n3")
	said("activated")

	l.Cut("n3")
	c.nodeIs("n3", "down", patience, func(n openapi.NodeRow) bool { return n.State == "down" && !n.Placeable })
	c.end(w3, syscall.SIGKILL)
	l.Heal("n3")
	c.nodeIs("n3", "ready", patience, func(n openapi.NodeRow) bool { return n.State == "ready" })
	c.eventually("an edge there reaches the control plane again", patience, reaches)
	w3 = c.worker("n3")
	events, _, err := c.store.Changes(context.Background(), "0-0")
	var told []string
	for _, e := range events {
		if e.Node == row.ID && strings.HasPrefix(e.Type, "node.") && e.Type != "node.pressure" {
			told = append(told, e.Type)
		}
	}
	for i, kind := range told { // a machine that stood still may have been down once more
		if want := []string{"node.down", "node.up"}[i%2]; kind != want {
			t.Errorf("events of the node: %v, want down and up in turn", told)
		}
	}
	if err != nil || len(told) == 0 || len(told)%2 > 0 {
		t.Errorf("events of the node: %v, %v, want that it is up in the end", told, err)
	}
	said("cut off, and back")

	c.job("POST", "/api/nodes/n3/drain", "")
	c.end(w3, syscall.SIGTERM)
	if a, err := c.call("DELETE", "/api/nodes/n1", ""); err != nil || a.code() != ide.Conflict {
		t.Errorf("removal of the last manager: got %s, %v", a, err)
	}
	c.job("DELETE", "/api/nodes/n3", "")
	c.eventually("nothing is left of it", patience, func() error {
		if a, err := c.call("GET", "/api/nodes/"+row.ID, ""); err != nil || a.status != http.StatusNotFound {
			return errors.Join(err, fmt.Errorf("it answers %s", a))
		}
		queues, err := c.rdb.SMembers(context.Background(), "asynq:queues").Result()
		if err == nil && slices.Contains(queues, "node-"+row.ID) {
			err = errors.New("its queue is there")
		}
		return err
	})
	l.Part(3)
	said("removed")
}
