package functions

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	engine "github.com/docker/docker/api/types/swarm"
)

// byHand makes something in the engine as an operator does.
func (b *bench) byHand(path string, spec any) {
	b.Helper()
	body, err := json.Marshal(spec)
	b.must(err)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http"+strings.TrimPrefix(b.engine.Host(), "tcp")+path, bytes.NewReader(body))
	b.must(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := visitor.Do(req)
	b.must(err)
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		b.Fatalf("POST %s: %s", path, res.Status)
	}
}

func annotated(name string, labels map[string]string) engine.Annotations {
	return engine.Annotations{Name: name, Labels: labels}
}

// A service with our labels under another name is somebody's copy: it stays, its
// tasks are no container's, and it is told of once.
func TestForeignServiceWithOurLabels(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	for name, id := range map[string]string{"copy": ide.NewID(), "twin": c.ID} {
		labels := map[string]string{"berth.instance": "test", "berth.id": id, "berth.run": "1"}
		b.byHand("/services/create", engine.ServiceSpec{Annotations: annotated(name, labels),
			TaskTemplate: engine.TaskSpec{ContainerSpec: &engine.ContainerSpec{Image: "web:1", Labels: labels}}})
	}
	b.byHand("/secrets/create", engine.SecretSpec{Annotations: annotated("copy", map[string]string{"berth.instance": "test", "berth.id": ide.NewID(), "berth.run": "1"}), Data: []byte("x")})
	view, err := b.Swarm.View(t.Context())
	b.must(err)
	if out := compare(view, nil, func(string) ide.Fate { return ide.NodeUp }, time.Now().Add(time.Hour)); len(out) != 1 || out[0].do != rebuildIt {
		t.Errorf("without records, an hour later: %v, want a rebuild of the one container only", out)
	}
	for range 2 {
		b.reconcile()
	}
	if got, want := b.left(), "3 services, 2 secrets, 1 configs"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	if n := strings.Count(b.log.String(), "left alone"); n != 2 {
		t.Errorf("it is told %d times of two services, want once each", n)
	}
	if job := b.openJob("container-stop", c.ID); job != "" {
		t.Errorf("the container whose labels were copied has the job %s", job)
	}
}

// What has a name that we would give, and not our labels, is not ours.
func TestNameAloneDecidesNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	id := ide.NewID()
	other := map[string]string{"berth.instance": "another", "berth.id": id, "berth.run": "1"}
	for _, labels := range []map[string]string{nil, other} {
		b.engine.AddVolume("berth-test-"+id, labels)
		b.must(b.Swarm.RemoveVolume(t.Context(), id))
		if !slices.Contains(b.engine.Volumes(), "berth-test-"+id) {
			t.Errorf("a volume with the labels %v was removed", labels)
		}
	}
	b.byHand("/configs/create", engine.ConfigSpec{Annotations: annotated("berth-test-"+id, nil), Data: []byte("x")})
	b.byHand("/secrets/create", engine.SecretSpec{Annotations: annotated(id+"-1", map[string]string{"berth.instance": "test"}), Data: []byte("x")})
	b.byHand("/services/create", engine.ServiceSpec{Annotations: annotated("berth-"+id, map[string]string{"berth.instance": "test"}),
		TaskTemplate: engine.TaskSpec{ContainerSpec: &engine.ContainerSpec{Image: "web:1"}}})
	b.must(b.Swarm.RemoveConfig(t.Context(), id))
	b.must(b.Swarm.RemoveSecret(t.Context(), id, 1))
	b.must(b.Swarm.RemoveService(t.Context(), id, 1))
	if got, want := b.left(), "1 services, 1 secrets, 1 configs"; got != want {
		t.Errorf("there are %s, want %s", got, want)
	}
	c := ide.Container{ID: id, Run: 1, Owner: "alice", Status: ide.Starting}
	wantError(t, "config", b.Swarm.PutConfig(t.Context(), c, []byte("y")), ide.Conflict, true)
	_, err := b.Swarm.PutSecret(t.Context(), id, 1, []byte("y"))
	wantError(t, "secret", err, ide.Conflict, true)
}
