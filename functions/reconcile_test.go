package functions

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/s3"

	engine "github.com/docker/docker/api/types/swarm"
	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

// reconcile runs the sweep once.
func (b *bench) reconcile() {
	b.Helper()
	j, err := RunSchedule(b.Context(), b.Deps, admin, "reconcile-sweep")
	b.must(err)
	b.execute(j.ID, ide.JobSucceeded)
}

// openJob returns the job of a container that is open, or "".
func (b *bench) openJob(function, id string) string {
	b.Helper()
	return b.rdb.HGet(b.Context(), "{berth}:j:open", function+":"+id).Val()
}

func TestServiceRemovedByHand(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.reconcile()
	if job := b.openJob("container-stop", c.ID); job != "" {
		t.Fatalf("a container that runs has the job %s", job)
	}
	b.must(b.Swarm.RemoveService(t.Context(), c.ID, c.Run))
	b.reconcile()
	b.execute(b.openJob("container-stop", c.ID), ide.JobSucceeded)
	got := b.container(c.ID)
	if got.Status != ide.Failed || got.ShutdownReason != ide.ByError || got.Error == nil || !strings.Contains(got.Error.Message, "removed from the Swarm") {
		t.Errorf("got %s, %q, %+v", got.Status, got.ShutdownReason, got.Error)
	}
	if got, want := b.left()+", reserved "+b.reserved(), "0 services, 0 secrets, 1 configs, reserved 0 0"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	b.reconcile() // finds nothing more
	b.execute(b.restart(c.ID), ide.JobSucceeded)
	if got := b.container(c.ID); got.Status != ide.Running || got.Error != nil {
		t.Errorf("after another start: %s, %+v", got.Status, got.Error)
	}
}

// A verdict on a container that was stopped and started since is not carried
// out.
func TestVerdictOnAnEarlierRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	b.execute(b.restart(c.ID), ide.JobSucceeded)
	b.must(b.stopFor(t.Context(), verdict{do: stopIt, id: c.ID, run: 1, why: ide.Errorf(ide.Docker, "Late."), cause: ide.ByError}))
	if got := b.container(c.ID); got.Status != ide.Running {
		t.Errorf("it is %s, want running", got.Status)
	}
}

// TestRedisLosesEverything: containers in every state come back with all that
// the Swarm knows of them, and what was under way ends.
func TestRedisLosesEverything(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	running, stopped, purged := b.running(), b.running(), b.running()
	b.execute(b.stop(StopContainerArgs{ID: stopped.ID, Reason: ide.Inactivity}).Job.ID, ide.JobSucceeded)
	b.execute(b.stop(StopContainerArgs{ID: purged.ID, Purge: true}).Job.ID, ide.JobSucceeded)
	// one is in the middle of its start, its worker gone
	starting := b.create(CreateContainerRequest{Labels: map[string]string{"team": "harbour"}})
	b.inside.say("agent", answer{status: 503})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = Execute(ctx, b.Deps, newest(starting.Job.ID)) }()
	b.untilStep(starting.Job.ID, "agent")
	cancel()
	<-done
	before := map[string]ide.Container{running.ID: b.container(running.ID), stopped.ID: b.container(stopped.ID)}
	reserved := b.reserved()

	b.must(b.rdb.FlushAll(t.Context()).Err())
	plan, err := Rebuild(t.Context(), b.Deps, true)
	if err != nil || len(plan) != 3 {
		t.Fatalf("got plan %+v, %v, want three containers", plan, err)
	}
	if ok, _ := b.Store.Rebuilt(t.Context()); ok {
		t.Error("a dry run counts as a rebuild")
	}
	b.inside.say("agent")
	b.reconcile()
	for id, want := range before {
		got := b.container(id)
		got.Job, want.Job = "", ""
		got.Watch, want.Watch = ide.Watch{}, ide.Watch{} // of use is known what agents say of it
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Status, diff)
		}
		a, err := Secrets(b.Deps, got)
		if w, werr := Secrets(b.Deps, want); err != nil || werr != nil || a != w {
			t.Errorf("its secrets cannot be opened: %v", err)
		}
	}
	b.publish()
	b.execute(starting.Job.ID, ide.JobSucceeded) // under the same name
	if c := b.container(starting.Container.ID); c.Status != ide.Running || c.Labels["team"] != "harbour" || c.Owner != alice.Name {
		t.Errorf("got %+v, want the one that was starting to run", c)
	}
	if got := b.reserved(); got != reserved {
		t.Errorf("reserved %s, want %s as before", got, reserved)
	}
	if got, want := b.left(), "2 services, 2 secrets, 3 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
	b.execute(b.restart(stopped.ID), ide.JobSucceeded)
	b.reconcile()
	if got, err := Rebuild(t.Context(), b.Deps, true); err != nil || len(got) > 0 {
		t.Errorf("afterwards they still differ: %+v, %v", got, err)
	}
}

// A config that a worker made too late does not bring a purged container back.
func TestPurgedContainerStaysAway(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Purge: true}).Job.ID, ide.JobSucceeded)
	b.must(b.Swarm.PutConfig(t.Context(), c, []byte(c.Sealed)))
	b.reconcile()
	_, err := b.Store.Container(t.Context(), c.ID)
	wantError(t, "the purged container", err, ide.ContainerNotFound, true)
	if got, want := b.left(), "0 services, 0 secrets, 0 configs"; got != want {
		t.Errorf("the engine has %s, want %s", got, want)
	}
}

// Sums that were left wrong by whatever follow from the records again.
func TestReservationsAreRecounted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	want := b.reserved()
	ctx := t.Context()
	b.must(b.rdb.HSet(ctx, "{berth}:res:cpu", b.engine.NodeID(), 7).Err())
	b.must(b.rdb.HSet(ctx, "{berth}:res", "aaaaaaaaaaaaa", b.engine.NodeID()+" 5 5 1").Err())
	b.must(b.rdb.HDel(ctx, "{berth}:res", c.ID).Err())
	b.reconcile()
	if got := b.reserved(); got != want {
		t.Errorf("reserved %s, want %s", got, want)
	}
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	if got := b.reserved(); got != "0 0" {
		t.Errorf("after the stop %s are reserved", got)
	}
}

// A start whose job is gone, though its record is not, goes on.
func TestLostStartIsResumed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.create(CreateContainerRequest{})
	b.must(b.rdb.Del(t.Context(), "{berth}:j:open", "{berth}:c:"+out.Container.ID+":jobs", "{berth}:j:due").Err())
	b.reconcile()
	b.execute(b.openJob("container-create", out.Container.ID), ide.JobSucceeded)
	if c := b.container(out.Container.ID); c.Status != ide.Running {
		t.Errorf("it is %s, want running", c.Status)
	}
}

func TestLastLinesOfAProgram(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	task, _ := b.task(c.ID)
	b.engine.Say(task.ID, "first\nsecond\n")
	b.must(b.stopFor(t.Context(), verdict{do: stopIt, id: c.ID, run: 1, why: ide.Errorf(ide.ContainerStartFailed, "It has ended 4 times."), cause: ide.ByError, task: task.ID}))
	events, err := b.Store.History(t.Context(), c.ID)
	b.must(err)
	for _, e := range events {
		if e.Type == "container.ended" {
			if diff := cmp.Diff([]string{"first", "second"}, e.Log); diff != "" || e.Message != "It has ended 4 times." {
				t.Errorf("%q (-want +got):\n%s", e.Message, diff)
			}
			return
		}
	}
	t.Errorf("no event tells of it: %+v", events)
}

// TestNodeIsLost: its containers are failed without waiting for it, their
// volumes stay, and they start elsewhere; what comes back on the node is
// removed only when it is given up.
func TestNodeIsLost(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	other := b.engine.AddNode("node-2", 4e9, 8<<30)
	b.publish()
	c := b.running()
	for c.Node != other {
		c = b.running()
	}
	b.update(c.ID, func(c *ide.Container) { c.Restored = c.Run })
	b.engine.SetNode(other, func(n *engine.Node) { n.Status.State = engine.NodeStateDown })
	b.reconcile() // no node is lost at first sight
	if job := b.openJob("container-stop", c.ID); job != "" {
		t.Fatalf("at first sight it has the job %s", job)
	}
	b.publish()
	b.reconcile()
	kept, err := s3.New(s3.Config{Endpoint: "http://127.0.0.1:1", Interval: time.Minute})
	b.must(err)
	b.S3 = kept
	b.execute(b.openJob("container-stop", c.ID), ide.JobFailed)
	b.S3 = nil
	got := b.container(c.ID)
	if got.Status != ide.Failed || !got.Unsaved || got.ShutdownReason != ide.ByError || got.Error.Code != ide.WorkspaceUnsaved {
		t.Fatalf("got %s, unsaved %t, %q, %+v", got.Status, got.Unsaved, got.ShutdownReason, got.Error)
	}
	var said []string
	events, _, err := b.Store.Changes(t.Context(), "0-0")
	b.must(err)
	for _, e := range events {
		if e.Node != "" {
			said = append(said, e.Type+" "+e.Node)
		}
	}
	if diff := cmp.Diff([]string{"node.down " + other}, said); diff != "" {
		t.Errorf("events of nodes (-want +got):\n%s", diff)
	}

	b.execute(b.restart(c.ID), ide.JobSucceeded)
	got = b.container(c.ID)
	if diff := cmp.Diff([]string{other}, got.Kept); diff != "" || got.Status != ide.Running || got.Node == other || got.Unsaved {
		t.Fatalf("it is %s on %s, unsaved %t; kept (-want +got):\n%s", got.Status, got.Node, got.Unsaved, diff)
	}
	if needed, err := volumeNeeded(t.Context(), b.Deps, other, c.ID); !needed || err != nil {
		t.Errorf("its volume on the lost node is given up: %v", err)
	}
	b.execute(b.stop(StopContainerArgs{ID: c.ID, Purge: true}).Job.ID, ide.JobSucceeded)
	waits, err := b.Store.VolumeWaits(t.Context(), other, c.ID)
	if needed, nerr := volumeNeeded(t.Context(), b.Deps, other, c.ID); needed || nerr != nil || !waits || err != nil {
		t.Errorf("after a purge its volume there is not given up: %v, %v, waits %t", err, nerr, waits)
	}
}

// A volume that nothing needs goes after a while, and not one that holds what
// no bucket has.
func TestStrayVolumes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.must(b.Store.MarkRebuilt(t.Context()))
	node, strays := b.engine.NodeID(), Strays{}
	c, gone, parked := b.running(), b.running(), b.running()
	for _, id := range []string{gone.ID, parked.ID} { // as after a crash in the middle of a stop
		b.must(b.Swarm.RemoveService(t.Context(), id, 1))
		b.must(b.Swarm.WaitGone(t.Context(), id, 1))
	}
	b.update(gone.ID, func(c *ide.Container) { c.Status = ide.Stopped })
	b.update(parked.ID, func(c *ide.Container) { c.Status, c.Unsaved = ide.Failed, true })
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	if _, ok := strays[gone.ID]; !ok || len(strays) != 1 {
		t.Fatalf("got strays %v, want %s", strays, gone.ID)
	}
	strays[gone.ID] = strays[gone.ID].Add(-2 * strayGrace)
	b.must(SweepVolumes(t.Context(), b.Deps, node, strays))
	until(t, "the stray volume is gone", func() bool {
		ids, err := b.Swarm.Volumes(t.Context())
		b.must(err)
		want := []string{c.ID, parked.ID}
		slices.Sort(want)
		return slices.Equal(ids, want)
	})
}

// Redis goes back by a moment, to before the start of a stopped container: its
// record knows nothing of the run that Swarm has. The record is brought up to it.
func TestRedisGoesBackOverAStart(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	was := b.container(c.ID)
	b.execute(b.restart(c.ID), ide.JobSucceeded)
	b.goBack(was)
	b.reconcile()
	got := b.container(c.ID)
	if got.Run != 2 || got.Status != ide.Running && got.Status != ide.Starting {
		t.Fatalf("it is %s in run %d, want the second run", got.Status, got.Run)
	}
	b.reconcile()
	if got.Status == ide.Starting {
		b.execute(b.container(c.ID).Job, ide.JobSucceeded)
	}
	if got := b.reserved(); got == "0 0" {
		t.Error("nothing is reserved for it")
	}
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	if got, want := b.left(), "0 services, 0 secrets, 1 configs"; got != want {
		t.Errorf("left behind: the engine has %s, want %s", got, want)
	}
}

// goBack has the record of a container be what it was, with nothing reserved and
// nothing under way.
func (b *bench) goBack(was ide.Container) {
	b.Helper()
	text, err := json.Marshal(was)
	b.must(err)
	b.must(b.rdb.HSet(b.Context(), "{berth}:c:"+was.ID, "doc", text, "status", string(was.Status), "rev", 1000).Err())
	for _, s := range ide.Statuses() {
		b.must(b.rdb.ZRem(b.Context(), "{berth}:cs:s:"+string(s), was.ID).Err())
		b.must(b.rdb.ZRem(b.Context(), "{berth}:cs:o:"+was.Owner+":s:"+string(s), was.ID).Err())
	}
	b.must(b.rdb.ZAdd(b.Context(), "{berth}:cs:s:"+string(was.Status), redis.Z{Score: 1, Member: was.ID}).Err())
	b.must(b.rdb.ZAdd(b.Context(), "{berth}:cs:o:"+was.Owner+":s:"+string(was.Status), redis.Z{Score: 1, Member: was.ID}).Err())
	b.must(b.rdb.Del(b.Context(), "{berth}:res", "{berth}:res:cpu", "{berth}:res:mem", "{berth}:res:n").Err())
}

// Redis loses a create, and another container is given the same bucket and prefix.
// When the first one is brought back, it is stopped, with its files kept: two would
// save over each other.
func TestLostContainerComesBackToATakenPlace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.withStore()
	b.inside.say("agent", restoredAgent(""))
	first := b.createKept()
	b.must(b.rdb.FlushAll(t.Context()).Err())
	b.must(b.Store.MarkRebuilt(t.Context())) // as if it had gone back by a second
	b.publish()
	second := b.createKept()
	b.reconcile()
	got := b.container(first.ID)
	if got.Status != ide.Stopping {
		t.Fatalf("double: the first is %s beside %s", got.Status, b.container(second.ID).Status)
	}
	events, err := b.Store.History(t.Context(), first.ID)
	b.must(err)
	if len(events) == 0 || !strings.Contains(events[len(events)-1].Message+events[0].Message, second.ID) {
		t.Errorf("no event names the container that has its place: %+v", events)
	}
	b.reconcile() // begins its stop
	if b.container(first.ID).Job == "" {
		t.Error("nobody stops it")
	}
}
