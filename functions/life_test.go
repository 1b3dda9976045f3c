package functions

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"

	"github.com/google/go-cmp/cmp"
)

func stepNames(j ide.Job) []string {
	var names []string
	for _, s := range j.Steps {
		names = append(names, s.Name)
	}
	return names
}

// untilStep waits until a job is at a step.
func (b *bench) untilStep(job, step string) {
	b.Helper()
	until(b.TB, "it is at step "+step, func() bool {
		steps := b.job(job).Steps
		return len(steps) > 0 && steps[len(steps)-1].Name == step
	})
}

// restart starts a stopped or failed container again.
func (b *bench) restart(id string) (job string) {
	b.Helper()
	out, err := StartContainer.Enqueue(b.Context(), b.Deps, alice, &StartContainerArgs{ID: id})
	b.must(err)
	return out.Job.ID
}

func TestOneLifeOfAContainer(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inside.say("agent", answer{status: 503}, answer{status: 200, body: `{"ready":false,"message":"restoring 3 of 7 files"}`}, answer{status: 200, body: "no JSON"},
		answer{status: 200, body: `{"ready":true}`})
	b.inside.say("code", answer{status: 502}, answer{status: 404}, answer{status: 302})
	b.inside.say("web", answer{noServer: true})
	out := b.create(CreateContainerRequest{Labels: map[string]string{"team": "harbour"}})
	id := out.Container.ID
	b.execute(out.Job.ID, ide.JobSucceeded)

	told, err := b.Store.History(t.Context(), id)
	b.must(err)
	if !slices.ContainsFunc(told, func(e ide.Event) bool {
		return e.Type == "container.running" && strings.Contains(e.Message, "on the web port nothing listens")
	}) {
		t.Errorf("the web port answers 502, and the history is %+v", told)
	}
	j, c := b.job(out.Job.ID), b.container(id)
	if diff := cmp.Diff([]string{"queue", "config", "secret", "service", "task", "agent", "workspace", "programs", "urls", "record"}, stepNames(j)); diff != "" {
		t.Errorf("steps of a create (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"urls": map[string]any{"vnc": c.URLs.VNC, "codeServer": c.URLs.Code, "webServer": c.URLs.WebServer}}, j.Result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	task, found := b.task(id)
	if c.Status != ide.Running || !found || c.Address != task.Address || c.StartedAt == nil || c.Error != nil || c.Health.Status != "healthy" || c.ShutdownReason != "" {
		t.Errorf("got record %+v, want it running at %s", c, task.Address)
	}
	if diff := cmp.Diff(map[string]bool{c.Probe: true}, b.inside.probes); diff != "" {
		t.Errorf("values of the probe header (-want +got):\n%s", diff)
	}
	spec := b.engine.ServiceSpec(c.ServiceName())
	if got := spec.TaskTemplate.Placement.Constraints; len(got) != 1 || got[0] != "node.id=="+b.engine.NodeID() {
		t.Errorf("pinned to %v, want the reserved node", got)
	}
	records, err := b.Swarm.Configs(t.Context())
	if err != nil || len(records) != 1 || records[0].Container.Status != ide.Running || string(records[0].Data) != c.Sealed {
		t.Errorf("got records %+v, %v, want the running container with its sealed secrets", records, err)
	}

	out = b.stop(StopContainerArgs{ID: id, Reason: ide.Inactivity})
	if got := b.container(id).Status; got != ide.Stopping {
		t.Errorf("after a stop was asked for it is %s", got)
	}
	b.execute(out.Job.ID, ide.JobSucceeded)
	c = b.container(id)
	if c.Status != ide.Stopped || c.Address != "" || c.Health != nil || c.StoppedAt == nil || c.ShutdownReason != ide.Inactivity {
		t.Errorf("got record %+v, want it stopped for inactivity", c)
	}
	if diff := cmp.Diff([]string{"queue", "save", "service", "tasks", "volume", "record"}, stepNames(b.job(out.Job.ID))); diff != "" {
		t.Errorf("steps of a stop (-want +got):\n%s", diff)
	}
	if got, want := b.left(), "0 services, 0 secrets, 1 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	if got := b.reserved(); got != "0 0" {
		t.Errorf("reserved: got %s, want nothing", got)
	}

	before, _ := Secrets(b.Deps, c)
	probe := c.Probe
	b.execute(b.restart(id), ide.JobSucceeded)
	c = b.container(id)
	after, err := Secrets(b.Deps, c)
	if c.Status != ide.Running || c.Run != 2 || c.StoppedAt != nil || c.ShutdownReason != "" || c.Probe == probe || err != nil || before != after {
		t.Errorf("got record %+v, want a second run with the same passwords", c)
	}
	if got, want := b.reserved(), "250000000 268435456"; got != want {
		t.Errorf("reserved: got %s, want %s", got, want)
	}

	b.execute(b.stop(StopContainerArgs{ID: id, Purge: true}).Job.ID, ide.JobSucceeded)
	_, err = b.Store.Container(t.Context(), id)
	wantError(t, "a purged container", err, ide.ContainerNotFound, true)
	if got, want := b.left(), "0 services, 0 secrets, 0 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	var types []string
	events, _, err := b.Store.Changes(t.Context(), "0-0")
	b.must(err)
	for _, e := range events {
		if strings.HasPrefix(e.Type, "container.") && e.Type != "container.route" {
			types = append(types, strings.TrimPrefix(e.Type, "container."))
		}
	}
	if diff := cmp.Diff(strings.Fields("starting running stopping stopped starting running stopping stopped purged"), types); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// task returns the running task of a container.
func (b *bench) task(id string) (ide.Task, bool) {
	b.Helper()
	tasks, err := b.Swarm.Tasks(b.Context())
	b.must(err)
	for _, t := range tasks {
		if t.Container == id && t.State == "running" {
			return t, true
		}
	}
	return ide.Task{}, false
}

func TestEveryStepMayRunTwice(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Swarm = b.client(time.Millisecond)
	out := b.create(CreateContainerRequest{})
	job, id := out.Job.ID, out.Container.ID
	begins := time.Second
	for i, path := range []string{"/configs", "/secrets", "/services/create", "/tasks"} {
		b.engine.Fail("", path, http.StatusInternalServerError, -1)
		retry(t, Execute(t.Context(), b.Deps, newest(job)), begins<<i)
		b.engine.Heal()
		if c := b.container(id); c.Status != ide.Starting || b.job(job).Error == nil || b.job(job).Error.Code != ide.Docker {
			t.Fatalf("after a failure of %s it is %s: %v", path, c.Status, b.job(job).Error)
		}
	}
	b.execute(job, ide.JobSucceeded)
	if got, want := b.left(), "1 services, 1 secrets, 1 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	// a worker that was killed after the move: the next one only writes the record
	b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+job, "status", "running").Err())
	b.execute(job, ide.JobSucceeded)
	if got := stepNames(b.job(job)); got[len(got)-1] != "record" || got[len(got)-2] != "record" {
		t.Errorf("got steps %v, want another record and nothing else", got)
	}
}

func TestStartThatCannotSucceed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil   func(b *bench)
		message string
	}{
		"image is missing":           {func(b *bench) { b.engine.Reject(defaultImage, "No such image: "+defaultImage) }, "cannot be pulled"},
		"program ends at once":       {func(b *bench) { b.engine.Exit(defaultImage, 3) }, "code 3"},
		"agent refuses the token":    {func(b *bench) { b.inside.say("agent", answer{status: http.StatusUnauthorized}) }, "refuses the control plane"},
		"engine refuses the service": {func(b *bench) { b.engine.Fail("POST", "/services/create", http.StatusBadRequest, -1) }, "could not be started"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			out := b.create(CreateContainerRequest{})
			tc.spoil(b)
			b.execute(out.Job.ID, ide.JobFailed)
			c := b.container(out.Container.ID)
			if c.Status != ide.Failed || c.Error == nil || c.Error.Code != ide.ContainerStartFailed || !strings.Contains(c.Error.Message, tc.message) ||
				c.ShutdownReason != ide.ByError || c.StoppedAt == nil || c.Address != "" {
				t.Errorf("got record %+v with %v, want failed: %q", c, c.Error, tc.message)
			}
			if got := b.left(); !strings.HasPrefix(got, "0 services, 0 secrets") {
				t.Errorf("the engine still has %s", got)
			}
			if got := b.reserved(); got != "0 0" {
				t.Errorf("reserved: got %s, want nothing", got)
			}
			for _, r := range records(b) {
				if r.Container.Status != ide.Failed {
					t.Errorf("the record in Swarm says %s", r.Container.Status)
				}
			}
			history, err := b.Store.History(t.Context(), c.ID)
			if err != nil || len(history) == 0 {
				t.Fatalf("got %d events, %v", len(history), err)
			}
			if last := history[len(history)-1]; last.Type != "container.failed" || last.Message == "" {
				t.Errorf("got last event %+v, %v, want container.failed with a reason", last, err)
			}
		})
	}
}

func records(b *bench) []swarm.Record {
	b.Helper()
	list, err := b.Swarm.Configs(b.Context())
	b.must(err)
	return list
}

func TestFailedContainerStartsAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inside.say("agent", answer{status: http.StatusUnauthorized})
	out := b.create(CreateContainerRequest{})
	b.execute(out.Job.ID, ide.JobFailed)
	b.inside.say("agent")
	b.execute(b.restart(out.Container.ID), ide.JobSucceeded)
	if c := b.container(out.Container.ID); c.Status != ide.Running || c.Run != 2 || c.Error != nil {
		t.Errorf("got %+v, want it running without the old error", c)
	}
}

func TestStartIsCanceled(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.inside.say("agent", answer{status: 503})
	out := b.create(CreateContainerRequest{})
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(out.Job.ID)) }()
	b.untilStep(out.Job.ID, "agent")
	if _, err := Cancel(t.Context(), b.Deps, alice, out.Job.ID); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	c := b.container(out.Container.ID)
	if j := b.job(out.Job.ID); j.Status != ide.JobCanceled || c.Status != ide.Failed || c.Error.Code != ide.Canceled {
		t.Errorf("got job %s, container %s (%v), want canceled and failed", j.Status, c.Status, c.Error)
	}
	if got := b.left(); got != "0 services, 0 secrets, 1 configs" {
		t.Errorf("the engine still has %s", got)
	}
}

func TestLimitsAreLoweredToTheNode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Settings.MaxResources = ide.Resources{}
	out := b.create(CreateContainerRequest{Resources: &ResourceRequest{CPULimit: 64, MemoryLimit: "64g"}})
	b.execute(out.Job.ID, ide.JobSucceeded)
	limits := b.engine.ServiceSpec(out.Container.ServiceName()).TaskTemplate.Resources.Limits
	if limits.NanoCPUs != 4e9 || limits.MemoryBytes != 8<<30 {
		t.Errorf("got %d nano-CPUs and %d bytes, want what the node has", limits.NanoCPUs, limits.MemoryBytes)
	}
}

func TestPollEndsWithItsContext(t *testing.T) {
	t.Parallel()
	d := &Deps{}
	ctx, cancel := context.WithCancelCause(t.Context())
	asked := 0
	err := d.poll(ctx, "Nobody answers.", func(context.Context) (bool, error) {
		if asked++; asked == 3 {
			cancel(errCanceled)
		}
		return false, nil
	})
	if err != errCanceled || asked != 3 {
		t.Errorf("got %v after %d questions, want the cause after 3", err, asked)
	}
}
