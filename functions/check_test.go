package functions

import (
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
)

func (b *bench) check(p ide.Principal, r CheckRequest) CheckAnswer {
	b.Helper()
	if r.S3Bucket == "" {
		r.S3Bucket = "workspace"
	}
	out, err := Check(b.Context(), b.Deps, p, r)
	b.must(err)
	return out
}

// What no node can ever take is no matter of waiting.
func TestPlacementThatCanNeverBeMet(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	gpu := CreateContainerRequest{S3Bucket: "workspace", Placement: &ide.Placement{Constraints: []string{"node.labels.gpu==true"}}}
	_, create := CreateContainer.Enqueue(t.Context(), b.Deps, alice, &CreateContainerArgs{Body: gpu})
	_, err := b.Store.Update(t.Context(), c.ID, func(c *ide.Container) error { c.Placement = gpu.Placement.Constraints; return nil })
	b.must(err)
	_, start := StartContainer.Enqueue(t.Context(), b.Deps, alice, &StartContainerArgs{ID: c.ID})
	for name, err := range map[string]error{"create": create, "start": start} {
		wantError(t, name, err, ide.PlacementImpossible, true)
		e := ide.AsError(err)
		if e.RetryAfter != 0 || !strings.Contains(e.Message, "gpu==true does not hold") || strings.Contains(e.Message, "node-1") {
			t.Errorf("%s: got %q, again after %v, want why, no host and no time", name, e.Message, e.RetryAfter)
		}
	}
	if got := b.check(alice, CheckRequest{CreateContainerRequest: gpu}); got.Fits || !got.Never || got.Code != ide.PlacementImpossible || !strings.Contains(got.Why, "gpu==true") {
		t.Errorf("check: got %+v", got)
	}
	_, err = CreateContainer.Enqueue(t.Context(), b.Deps, admin, &CreateContainerArgs{Body: gpu})
	if e := ide.AsError(err); !strings.Contains(e.Message, "node-1") {
		t.Errorf("an admin is told %q, want the node", e.Message)
	}
}

// A client is told whether and why; the machines are the operator's.
func TestCheckShowsClientsNoNodes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	if got := b.check(alice, CheckRequest{}); !got.Fits || len(got.Nodes) != 0 {
		t.Errorf("a client: got %+v", got)
	}
	for _, p := range []ide.Principal{admin, {Name: "eve", Role: ide.Viewer}} {
		if got := b.check(p, CheckRequest{}); !got.Fits || len(got.Nodes) != 1 || got.Nodes[0].FreeCPU == 0 {
			t.Errorf("%s: got %+v", p.Role, got)
		}
	}
}

func TestCheckLooksForTheImage(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	here := "localhost/berth-ide:1"
	b.Templates = []ide.Template{{Name: ide.DefaultTemplate, Image: here}, {Name: "pulled", Image: "registry.test/ide:1"}}
	report := func(missing ...string) {
		t.Helper()
		b.must(b.Store.Report(t.Context(), ide.Worker{ID: "w", Node: b.engine.NodeID(), Engine: true, Missing: missing, At: time.Now()}))
	}
	if got := b.check(admin, CheckRequest{}); !got.Fits || got.ImageFound != imageUnknown {
		t.Errorf("before a worker has reported: got %+v", got)
	}
	report()
	if got := b.check(admin, CheckRequest{}); !got.Fits || got.ImageFound != imagePresent || got.Nodes[0].ImageFound != imagePresent {
		t.Errorf("with the image: got %+v", got)
	}
	report(here, "registry.test/ide:1")
	if got, err := ImagesFound(t.Context(), b.Deps); err != nil || got[here] != imageAbsent {
		t.Errorf("the templates' images: got %v, %v", got, err)
	}
	if got := b.check(admin, CheckRequest{}); got.Fits || got.ImageFound != imageAbsent || got.Code != ide.ContainerStartFailed || !strings.Contains(got.Why, here) {
		t.Errorf("without the image: got %+v", got)
	}
	if got := b.check(admin, CheckRequest{CreateContainerRequest: CreateContainerRequest{Template: "pulled"}}); !got.Fits || got.ImageFound != imageAbsent {
		t.Errorf("an image of a registry: got %+v", got)
	}
}

func TestCheckTriesTheBucket(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	ask := CheckRequest{CreateContainerRequest: CreateContainerRequest{AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"}, Bucket: true}
	if got := b.check(alice, ask); !got.Fits || !got.Tried {
		t.Errorf("got %+v", got)
	}
	_, err := Check(t.Context(), b.Deps, ide.Principal{Name: "eve", Role: ide.Viewer}, CheckRequest{
		CreateContainerRequest: CreateContainerRequest{S3Bucket: "workspace", AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"}, Bucket: true})
	wantError(t, "a viewer writes", err, ide.Forbidden, true)
	b.refuseStore()
	if got := b.check(alice, ask); got.Fits || !got.Tried || got.Code == "" || got.Why == "" {
		t.Errorf("a bucket that refuses: got %+v", got)
	}
}

// A place in use names its container to whoever may know of it.
func TestPlaceInUseNamesItsContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	c := b.createKept()
	// The same place is in use while the container runs; one above or below is
	// its own also when it is stopped.
	for _, step := range []string{"/", "below"} {
		b.placeInUse(c, step)
	}
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Force: true}).Job.ID, ide.JobSucceeded)
	b.placeInUse(c, "below")
	out, err := CreateContainer.Enqueue(t.Context(), b.Deps, alice, &CreateContainerArgs{Body: CreateContainerRequest{S3Bucket: "workspace", AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"}})
	b.must(err)
	_, err = StartContainer.Enqueue(t.Context(), b.Deps, alice, &StartContainerArgs{ID: c.ID})
	if !ide.HasCode(err, ide.Conflict) || !strings.Contains(err.Error(), out.Container.ID) {
		t.Errorf("started while another has the place: %v", err)
	}
	b.execute(b.stop(StopContainerArgs{ID: out.Container.ID, Force: true}).Job.ID, ide.JobSucceeded)
	for _, id := range []string{c.ID, out.Container.ID} {
		b.execute(b.stop(StopContainerArgs{ID: id, Purge: true}).Job.ID, ide.JobSucceeded)
	}
	if _, err := CreateContainer.Enqueue(t.Context(), b.Deps, bob, &CreateContainerArgs{Body: CreateContainerRequest{S3Bucket: "workspace", S3Prefix: "below", AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"}}); err != nil {
		t.Errorf("when both are purged: %v", err)
	}
}

func (b *bench) placeInUse(c ide.Container, prefix string) {
	t := b.TB.(*testing.T)
	t.Helper()
	for _, p := range []ide.Principal{alice, admin, bob} {
		body := CreateContainerRequest{S3Bucket: "workspace", S3Prefix: strings.Trim(prefix, "/"), AWSAccessKeyID: "key", AWSSecretAccessKey: "secret"}
		_, err := CreateContainer.Enqueue(t.Context(), b.Deps, p, &CreateContainerArgs{Body: body})
		wantError(t, "a place in use", err, ide.Conflict, true)
		details, _ := ide.AsError(err).Details.(map[string]any)
		check := b.check(p, CheckRequest{CreateContainerRequest: body})
		for what, text := range map[string]string{"start": ide.AsError(err).Message, "check": check.Why} {
			if named := strings.Contains(text, c.ID); named != (p.Name != bob.Name) {
				t.Errorf("%s for %s: %q", what, p.Name, text)
			}
		}
		if named := details["containerId"] == c.ID; named != (p.Name != bob.Name) || check.Code != ide.Conflict {
			t.Errorf("%s: details %v, check %+v", p.Name, details, check)
		}
	}
}
