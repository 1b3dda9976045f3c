package functions

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

// watched is a running container with a time limit, whose last use, as its
// agent says, was so long ago.
func (b *bench) watched(body CreateContainerRequest, ago time.Duration) ide.Container {
	b.Helper()
	if body.IdleTimeout == nil {
		timeout := 60
		body.IdleTimeout = &timeout
	}
	out := b.create(body)
	b.execute(out.Job.ID, ide.JobSucceeded)
	b.used("editor", ago)
	b.aged(out.Container.ID, ago)
	return b.container(out.Container.ID)
}

// used sets what every agent says of its last use. Its clock is wrong by an hour.
func (b *bench) used(source string, ago time.Duration) {
	now := time.Now().Add(time.Hour)
	text, err := json.Marshal(map[string]any{"ready": true, "now": now, "cpuSeconds": 1,
		"lastActivity": map[string]any{"at": now.Add(-ago), "source": source}})
	b.must(err)
	b.inside.say("agent", answer{status: 200, body: string(text)})
}

// aged has a container's start, and what else is known of its use, lie so long
// ago, and the time of a warning be over.
func (b *bench) aged(id string, ago time.Duration) {
	b.Helper()
	b.update(id, func(c *ide.Container) {
		then := time.Now().UTC().Add(-ago)
		c.StartedAt = &then
		if c.Watch.Used != nil {
			c.Watch.Used.At = then
		}
		if c.Watch.StopsAt != nil {
			now := time.Now().UTC()
			c.Watch.StopsAt = &now
		}
	})
}

func (b *bench) update(id string, edit func(*ide.Container)) {
	b.Helper()
	_, err := b.Store.Update(b.Context(), id, func(c *ide.Container) error { edit(c); return nil })
	b.must(err)
}

// sweep runs a scheduled function once.
func (b *bench) sweep(schedule string) ide.Job {
	b.Helper()
	j, err := RunSchedule(b.Context(), b.Deps, admin, schedule)
	b.must(err)
	b.execute(j.ID, ide.JobSucceeded)
	return b.job(j.ID)
}

// told returns the types of a container's events since it runs.
func (b *bench) told(id string) (types []string, last ide.Event) {
	b.Helper()
	events, err := b.Store.History(b.Context(), id)
	b.must(err)
	for _, e := range events {
		if e.Type != "container.starting" && e.Type != "container.running" {
			types, last = append(types, strings.TrimPrefix(e.Type, "container.")), e
		}
	}
	return types, last
}

func (b *bench) wantTold(what, id string, want ...string) ide.Event {
	b.Helper()
	got, last := b.told(id)
	if diff := cmp.Diff(want, got); diff != "" {
		b.Errorf("%s: events (-want +got):\n%s", what, diff)
	}
	return last
}

func TestIdleContainerIsWarnedAndThenStopped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.IdleWarning = 20 * time.Second
	c := b.watched(CreateContainerRequest{}, 30*time.Second)
	b.sweep("idle-sweep")
	b.wantTold("used lately", c.ID)

	b.used("editor", 45*time.Second)
	b.aged(c.ID, 45*time.Second)
	b.sweep("idle-sweep")
	warning := b.wantTold("15 seconds before", c.ID, "idle_warning")
	r := warning.Receipt
	if r == nil || r.Reason != ide.Inactivity || r.Source != "editor" || r.Signal != ide.SignalAgent || warning.By != "sweep-idle" || r.StopsAt == nil ||
		time.Until(*r.StopsAt) < 10*time.Second || time.Since(r.LastActivity) < 40*time.Second || time.Since(r.LastActivity) > 5*time.Minute {
		t.Errorf("got warning %+v with receipt %+v", warning, r)
	}
	b.sweep("idle-sweep")
	b.wantTold("warned once", c.ID, "idle_warning")

	b.used("editor", 90*time.Second)
	b.aged(c.ID, 90*time.Second)
	b.sweep("idle-sweep")
	last := b.wantTold("its time is up", c.ID, "idle_warning", "idle_stop", "stopping")
	if last.By != "sweep-idle" {
		t.Errorf("stopped by %q", last.By)
	}
	b.execute("container-stop:"+c.ID+":1", ide.JobSucceeded)
	if c = b.container(c.ID); c.Status != ide.Stopped || c.ShutdownReason != ide.Inactivity {
		t.Errorf("got %s for %s", c.Status, c.ShutdownReason)
	}
	records, err := b.Swarm.Configs(t.Context())
	if err != nil || len(records) != 1 || records[0].Container.ShutdownReason != ide.Inactivity || records[0].Container.Watch != (ide.Watch{}) {
		t.Errorf("got %+v, %v, want the record without what was watched", records, err)
	}
}

func TestUseAfterTheWarningPostponesTheStop(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(b *bench, id string){
		"the agent says so": func(b *bench, _ string) { b.used("desktop", time.Second) },
		"a request on the web port": func(b *bench, id string) {
			b.must(b.Store.ReportActivity(b.Context(), []ide.Activity{{ID: id, Requests: 1, LastActivity: time.Now(), Web: time.Now()}}))
		},
		"keepalive": func(b *bench, id string) {
			_, err := Keepalive(b.Context(), b.Deps, alice, id, time.Time{})
			b.must(err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.IdleWarning, b.MaxKeepalive = 20*time.Second, time.Hour
			c := b.watched(CreateContainerRequest{}, 90*time.Second)
			b.sweep("idle-sweep")
			use(b, c.ID)
			b.sweep("idle-sweep")
			got, last := b.told(c.ID)
			if got[0] != "idle_warning" || last.Type != "container.idle_postponed" || b.container(c.ID).Watch.StopsAt != nil {
				t.Errorf("got %v", got)
			}
			b.sweep("idle-sweep")
			if again, _ := b.told(c.ID); len(again) != len(got) || b.container(c.ID).Status != ide.Running {
				t.Errorf("it is %s after %v", b.container(c.ID).Status, again)
			}
		})
	}
}

// What nobody can know is no reason to stop: the last that was heard is old
// because nobody listened.
func TestASilentAgentIsNotStoppedForIdleness(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.watched(CreateContainerRequest{}, time.Hour)
	b.inside.say("agent", answer{status: 503})
	for range 3 {
		b.sweep("idle-sweep")
	}
	b.wantTold("while its agent is silent", c.ID, "idle_unknown")
	b.used("editor", time.Second)
	b.sweep("idle-sweep")
	b.wantTold("it was in use all the time", c.ID, "idle_unknown")
	if got := b.container(c.ID); got.Status != ide.Running || got.Watch.Unknown {
		t.Errorf("got %+v", got)
	}
}

func TestEndOfLifetime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.MaxLifetime, b.IdleWarning, b.MaxKeepalive = time.Hour, time.Minute, 10*time.Hour
	never := 0
	c := b.watched(CreateContainerRequest{IdleTimeout: &never}, 2*time.Hour)
	_, err := Keepalive(t.Context(), b.Deps, alice, c.ID, time.Now().Add(5*time.Hour))
	b.must(err)
	b.inside.say("agent", answer{status: 503}) // its silence changes nothing
	b.sweep("idle-sweep")
	b.wantTold("an old one", c.ID, "keepalive", "lifetime_warning")
	b.aged(c.ID, 2*time.Hour)
	b.sweep("idle-sweep")
	b.wantTold("after the warning", c.ID, "keepalive", "lifetime_warning", "idle_stop", "stopping")
	b.execute("container-stop:"+c.ID+":1", ide.JobSucceeded)
	if got := b.container(c.ID).ShutdownReason; got != ide.ResourceLimit {
		t.Errorf("stopped for %s", got)
	}
}

func TestAStopThatIsDecidedFollowsAlsoLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.watched(CreateContainerRequest{}, time.Hour)
	past := time.Now().UTC().Add(-time.Minute)
	b.update(c.ID, func(c *ide.Container) { c.Watch.StopsAt, c.Watch.Decided = &past, true }) // and then the worker was killed
	_, err := Keepalive(t.Context(), b.Deps, alice, c.ID, time.Time{})
	wantError(t, "keepalive after the decision", err, ide.Conflict, true)
	b.sweep("idle-sweep")
	b.wantTold("the next sweep", c.ID, "stopping")
}

func TestWithoutAnythingKnownItCountsFromNow(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.watched(CreateContainerRequest{}, time.Hour)
	b.inside.say("agent", answer{status: 200, body: `{"ready":true}`})
	b.update(c.ID, func(c *ide.Container) { c.Watch = ide.Watch{} })
	b.sweep("idle-sweep")
	b.wantTold("a record that was rebuilt", c.ID)
	if u := b.container(c.ID).Watch.Used; u == nil || time.Since(u.At) > time.Minute {
		t.Errorf("counted from %+v", u)
	}
}

func TestKeepaliveIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.MaxKeepalive = time.Hour
	c := b.watched(CreateContainerRequest{}, time.Second)
	keep := func(p ide.Principal, until time.Time) error {
		_, err := Keepalive(t.Context(), b.Deps, p, c.ID, until)
		return err
	}
	wantError(t, "too far", keep(alice, time.Now().Add(2*time.Hour)), ide.ValidationFailed, true)
	wantError(t, "past", keep(alice, time.Now().Add(-time.Minute)), ide.ValidationFailed, true)
	wantError(t, "another's", keep(bob, time.Time{}), ide.ContainerNotFound, true)
	late := time.Now().Add(50 * time.Minute)
	b.must(keep(alice, late))
	b.must(keep(alice, time.Now().Add(time.Minute)))
	for range 5 {
		b.must(keep(alice, time.Time{}))
	}
	if k := b.container(c.ID).Watch.KeepUntil; k == nil || late.Sub(*k).Abs() > time.Second {
		t.Errorf("kept until %v, want %v: an earlier time changes nothing", k, late)
	}
	b.wantTold("one history line for it all", c.ID, "keepalive")
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	wantError(t, "of a stopped one", keep(alice, time.Time{}), ide.Conflict, true)
}

func TestIdleTimeoutOfARequest(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.IdleTimeout = 10 * time.Minute
	b.Templates = append(b.Templates, ide.Template{Name: "bare", Image: "berth/bare", NoAgent: true})
	ask := func(timeout int, more func(*CreateContainerRequest)) (ide.Container, error) {
		r := CreateContainerRequest{S3Bucket: "workspace"}
		if timeout >= 0 {
			r.IdleTimeout = &timeout
		}
		if more != nil {
			more(&r)
		}
		return r.check(b.Deps, alice)
	}
	bare := func(r *CreateContainerRequest) { r.Template = "bare" }
	for timeout, want := range map[int]int{-1: 600, 0: 0, 90: 90} {
		if c, err := ask(timeout, nil); err != nil || c.IdleTimeout != want {
			t.Errorf("%d: got %d, %v, want %d", timeout, c.IdleTimeout, err, want)
		}
	}
	if c, err := ask(90, bare); err != nil || c.IdleTimeout != 90 {
		t.Errorf("no agent behind the gateway: got %d, %v", c.IdleTimeout, err)
	}
	b.EdgeUnseen = true
	_, err := ask(-1, bare)
	wantError(t, "nobody sees its use", err, ide.ValidationFailed, true)
	if _, err := ask(0, bare); err != nil {
		t.Errorf("nobody sees its use, and it never stops: %v", err)
	}
	b.MaxIdleTimeout = 15 * time.Minute
	for _, timeout := range []int{0, 901} {
		_, err := ask(timeout, nil)
		wantError(t, fmt.Sprint(timeout), err, ide.ValidationFailed, true)
	}
	_, err = ask(60, func(r *CreateContainerRequest) { r.Template, r.Activity = "bare", &ActivityRequest{CPU: 1} })
	wantError(t, "CPU of what has no agent", err, ide.ValidationFailed, true)
	if c, err := ask(60, func(r *CreateContainerRequest) { r.Activity = &ActivityRequest{CPU: 0.2} }); err != nil || c.ActivityCPU != 0.2 {
		t.Errorf("got %v, %v", c.ActivityCPU, err)
	}
}

// Once nobody sees any more whether it is used, a container does not stop for
// want of use.
func TestAgentlessContainerAfterRoutingHasChanged(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Templates = append(b.Templates, ide.Template{Name: "bare", Image: "berth/bare", NoAgent: true})
	timeout := 90
	admitted := b.create(CreateContainerRequest{Template: "bare", IdleTimeout: &timeout})
	id := admitted.Container.ID
	b.execute(admitted.Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: id}).Job.ID, ide.JobSucceeded)
	if c := b.container(id); c.IdleTimeout != 90 {
		t.Errorf("behind the gateway: got %d", c.IdleTimeout)
	}
	b.EdgeUnseen = true
	b.execute(b.restart(id), ide.JobSucceeded)
	if c := b.container(id); c.IdleTimeout != 0 {
		t.Errorf("behind labels: got %d", c.IdleTimeout)
	}
}

func TestPurgeSweep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.RecordRetention, b.EventRetention = time.Hour, time.Hour
	old := time.Now().UTC().Add(-2 * time.Hour)
	down := func(change func(*ide.Container)) string {
		c := b.running()
		b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
		b.update(c.ID, change)
		return c.ID
	}
	stopped := down(func(c *ide.Container) { c.StoppedAt = &old })
	fresh := down(func(*ide.Container) {})
	unsaved := down(func(c *ide.Container) { c.StoppedAt, c.Status, c.Unsaved = &old, ide.Failed, true })
	failed := down(func(c *ide.Container) { c.StoppedAt, c.Status = &old, ide.Failed })
	runs := b.running()
	b.update(runs.ID, func(c *ide.Container) { c.CreatedAt = old })
	j := b.sweep("purge-sweep")
	if j.Result["containers"] != 2.0 {
		t.Errorf("got %v, want two", j.Result)
	}
	for _, id := range []string{stopped, failed} {
		b.execute("container-stop:"+id+":2", ide.JobSucceeded)
		_, err := b.Store.Container(t.Context(), id)
		wantError(t, "one that is past its retention", err, ide.ContainerNotFound, true)
	}
	for _, id := range []string{fresh, unsaved, runs.ID} {
		if s := b.container(id).Status; s == ide.Stopping {
			t.Errorf("%s is being purged", id)
		}
	}
	records, err := b.Swarm.Configs(t.Context())
	if err != nil || len(records) != 3 {
		t.Errorf("got %d configs, %v, want 3", len(records), err)
	}
	// it was found old, and could not be saved since
	_, err = StopContainer.Enqueue(t.Context(), b.Deps, admin, &StopContainerArgs{ID: unsaved, Purge: true, Aged: true})
	wantError(t, "purge of what is not saved", err, ide.Conflict, true)
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Schedules = map[string]string{"sweep-probe": "@every 5s"}
	at := time.Now().UTC().Truncate(15 * time.Second)
	b.must(OpenInstant(t.Context(), b.Deps, "sweep-idle", at))
	b.must(OpenInstant(t.Context(), b.Deps, "sweep-idle", at))
	b.execute("sweep-idle::1", ide.JobSucceeded)
	b.must(OpenInstant(t.Context(), b.Deps, "sweep-idle", at))
	if _, err := b.Store.Job(t.Context(), "sweep-idle::2"); err == nil {
		t.Error("one instant had two jobs")
	}
	idle, err := ScheduleNamed(t.Context(), b.Deps, "idle-sweep")
	if err != nil || idle.Function != "sweep-idle" || idle.Cron != "@every 15s" || idle.Paused != nil || idle.Next == nil || time.Until(*idle.Next) > 16*time.Second ||
		idle.Last == nil || !idle.Last.Equal(at) || idle.LastJob == nil || idle.LastJob.Status != ide.JobSucceeded {
		t.Errorf("got %+v, %v", idle, err)
	}
	b.must(PauseSchedule(t.Context(), b.Deps, admin, "idle-sweep"))
	if idle, err = ScheduleNamed(t.Context(), b.Deps, "idle-sweep"); err != nil || idle.Paused == nil || idle.Paused.By != "admin" || idle.Next != nil {
		t.Errorf("paused: got %+v, %v", idle, err)
	}
	b.must(ResumeSchedule(t.Context(), b.Deps, admin, "idle-sweep"))
	list, err := Schedules(t.Context(), b.Deps)
	b.must(err)
	crons := map[string]string{}
	for _, s := range list {
		crons[s.Name] = s.Cron
	}
	if crons["probe-sweep"] != "@every 5s" || crons["jobs-sweep"] == "" || crons["purge-sweep"] == "" {
		t.Errorf("got %v", crons)
	}
	for name, do := range map[string]func(context.Context, *Deps, ide.Principal, string) error{"pause": PauseSchedule, "resume": ResumeSchedule,
		"run": func(ctx context.Context, d *Deps, p ide.Principal, name string) error {
			_, err := RunSchedule(ctx, d, p, name)
			return err
		}} {
		wantError(t, name, do(t.Context(), b.Deps, admin, "container-create"), ide.NotFound, true)
	}
}
