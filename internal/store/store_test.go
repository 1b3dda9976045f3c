package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

var alice = ide.Principal{Name: "alice", Role: ide.Client}

// open returns a store with one node of the given room.
func open(t testing.TB, cpu, memory int64) *Store {
	t.Helper()
	s := New(redistest.New(t), Config{LeaseTTL: 300 * time.Millisecond})
	node(t, s, ide.Node{ID: "n1", CPU: cpu, Memory: memory})
	return s
}

func node(t testing.TB, s *Store, nodes ...ide.Node) {
	t.Helper()
	for i := range nodes {
		n := &nodes[i]
		n.State, n.Availability, n.Filtered = "ready", "active", true
		if n.At.IsZero() {
			n.At = time.Now()
		}
	}
	if err := s.PublishNodes(t.Context(), nodes); err != nil {
		t.Fatal(err)
	}
}

func create() Admission {
	id := ide.NewID()
	return Admission{
		Function: "container-create", MaxAttempts: 3, By: alice, Args: map[string]string{"id": id},
		New: &ide.Container{ID: id, Run: 1, Owner: alice.Name, Status: ide.Starting, CreatedAt: time.Now().UTC(),
			Resources: ide.Resources{CPUReservation: 1e9, MemoryReservation: 1 << 30}},
		Reserve: true, Answer: func(_ ide.Container, j ide.Job) string { return j.ID },
	}
}

func admit(t testing.TB, s *Store, a Admission) Admitted {
	t.Helper()
	out, err := s.Admit(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func take(t testing.TB, s *Store, job string) *Held {
	t.Helper()
	h, err := s.Take(t.Context(), job, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func code(err error) ide.Code {
	var e *ide.Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

func TestAdmitWritesEverythingTogether(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	if want := "container-create:" + out.Container.ID + ":1"; out.Job.ID != want {
		t.Errorf("got job %q, want %q", out.Job.ID, want)
	}
	c, err := s.Container(t.Context(), out.Container.ID)
	if err != nil || c.Node != "n1" || c.Job != out.Job.ID || c.Status != ide.Starting {
		t.Errorf("got container %+v, %v", c, err)
	}
	due, err := s.Due(t.Context(), time.Now().Add(time.Second), 10)
	if err != nil || len(due) != 1 || due[0].Delivery != 1 {
		t.Errorf("got due %+v, %v", due, err)
	}
	events, err := s.History(t.Context(), c.ID)
	if err != nil || len(events) != 1 || events[0].Type != "container.starting" || events[0].By != "alice" {
		t.Errorf("got events %+v, %v", events, err)
	}
}

func TestParallelStartsGetExactlyTheRoomThereIs(t *testing.T) {
	t.Parallel()
	s := open(t, 10e9, 100<<30)
	var mu sync.Mutex
	got := map[ide.Code]int{}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			_, err := s.Admit(context.Background(), create())
			mu.Lock()
			defer mu.Unlock()
			got[code(err)]++
		})
	}
	wg.Wait()
	if want := map[ide.Code]int{"": 10, ide.ResourceLimitExceeded: 90}; !cmp.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestReleaseGivesRoomBackOnce(t *testing.T) {
	t.Parallel()
	s := open(t, 1e9, 8<<30)
	first := admit(t, s, create())
	if _, err := s.Admit(t.Context(), create()); code(err) != ide.ResourceLimitExceeded || !strings.Contains(err.Error(), "0.00 CPU") {
		t.Fatalf("got %v, want RESOURCE_LIMIT_EXCEEDED that names the free CPU", err)
	}
	if err := s.Release(t.Context(), first.Container.ID, 2); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Admit(t.Context(), create()); err == nil {
		t.Fatal("another run's release gave the room away")
	}
	for range 2 {
		if err := s.Release(t.Context(), first.Container.ID, 1); err != nil {
			t.Fatal(err)
		}
	}
	admit(t, s, create())
	if _, err := s.Admit(t.Context(), create()); err == nil {
		t.Error("releasing twice made room for two")
	}
}

func TestPlacement(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		pack bool
		want string
	}{{"spread takes the emptier node", false, "big"}, {"pack takes the fuller node", true, "small"}} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := open(t, 1, 1)
			node(t, s, ide.Node{ID: "small", CPU: 4e9, Memory: 8 << 30, ForeignCPU: 2e9}, ide.Node{ID: "big", CPU: 16e9, Memory: 32 << 30},
				ide.Node{ID: "stale", CPU: 64e9, Memory: 64 << 30, At: time.Now().Add(-time.Minute)})
			a := create()
			a.Pack = tc.pack
			if got := admit(t, s, a).Container.Node; got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestAdmitRefusals(t *testing.T) {
	t.Parallel()
	t.Run("no node has reported lately", func(t *testing.T) {
		t.Parallel()
		s := open(t, 4e9, 8<<30)
		node(t, s, ide.Node{ID: "n1", CPU: 4e9, Memory: 8 << 30, At: time.Now().Add(-time.Minute)})
		if _, err := s.Admit(t.Context(), create()); code(err) != ide.ResourceLimitExceeded {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no node's filter stands", func(t *testing.T) {
		t.Parallel()
		s := open(t, 4e9, 8<<30)
		if err := s.PublishNodes(t.Context(), []ide.Node{{ID: "n1", CPU: 4e9, Memory: 8 << 30, State: "ready", Availability: "active", At: time.Now()}}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Admit(t.Context(), create()); code(err) != ide.ResourceLimitExceeded {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the key has its fill", func(t *testing.T) {
		t.Parallel()
		s := open(t, 40e9, 80<<30)
		for range 2 {
			a := create()
			a.MaxPerKey = 2
			admit(t, s, a)
		}
		a := create()
		a.MaxPerKey = 2
		if _, err := s.Admit(t.Context(), a); code(err) != ide.ContainerLimitExceeded {
			t.Errorf("got %v", err)
		}
	})
	t.Run("no such container", func(t *testing.T) {
		t.Parallel()
		s := open(t, 4e9, 8<<30)
		if _, err := s.Admit(t.Context(), Admission{Function: "container-stop", By: alice, Container: "nobody"}); code(err) != ide.ContainerNotFound {
			t.Errorf("got %v", err)
		}
	})
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	s := open(t, 40e9, 80<<30)
	var mu sync.Mutex
	answers := map[string]int{}
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			a := create()
			a.IdempotencyKey, a.Digest = "k", "d"
			out, err := s.Admit(context.Background(), a)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if out.Answered == "" {
				out.Answered = out.Job.ID
			}
			answers[out.Answered]++
		})
	}
	wg.Wait()
	if len(answers) != 1 {
		t.Errorf("got %d different answers, want 1", len(answers))
	}
	if _, total, _ := s.Containers(t.Context(), Filter{Limit: 1}); total != 1 {
		t.Errorf("got %d containers, want 1", total)
	}
	a := create()
	a.IdempotencyKey, a.Digest = "k", "another"
	if _, err := s.Admit(t.Context(), a); code(err) != ide.IdempotencyKeyReused {
		t.Errorf("got %v", err)
	}
}

// stopping is an admission like container-stop's.
func stopping(id string) Admission {
	return Admission{Function: "container-stop", MaxAttempts: 3, By: alice, Container: id, Args: struct{}{},
		Edit: func(c *ide.Container) error {
			if !ide.CanMove(c.Status, ide.Stopping) {
				return ide.Errorf(ide.Conflict, "no")
			}
			c.Status = ide.Stopping
			return nil
		}}
}

func TestOneOpenJobPerPair(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	var mu sync.Mutex
	jobs, opened := map[string]bool{}, 0
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			out, err := s.Admit(context.Background(), stopping(id))
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			jobs[out.Job.ID] = true
			if !out.Open {
				opened++
			}
		})
	}
	wg.Wait()
	if len(jobs) != 1 || opened != 1 {
		t.Fatalf("got %d jobs, opened %d times, want one and once", len(jobs), opened)
	}
	job := "container-stop:" + id + ":1"
	h := take(t, s, job)
	if _, err := h.End(t.Context(), ide.JobSucceeded); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Move(t.Context(), id, 1, ide.Failed, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	if got := admit(t, s, stopping(id)).Job.ID; got != "container-stop:"+id+":2" {
		t.Errorf("got %q, want number 2", got)
	}
}

func TestForceReachesTheOpenJob(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	h := take(t, s, admit(t, s, stopping(id)).Job.ID)
	a := stopping(id)
	a.Force = true
	if out := admit(t, s, a); !out.Open {
		t.Fatal("a second job was opened")
	}
	if f, err := h.Renew(t.Context()); err != nil || !f.Force || f.Status != ide.Stopping || f.Run != 1 {
		t.Errorf("got %+v, %v", f, err)
	}
}

func TestLeaseIsHeldByOne(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	first := take(t, s, out.Job.ID)
	if _, err := s.Take(t.Context(), out.Job.ID, 1); !errors.Is(err, ErrHeld) {
		t.Fatalf("got %v, want ErrHeld", err)
	}
	stop := admit(t, s, stopping(out.Container.ID))
	if _, err := s.Take(t.Context(), stop.Job.ID, 1); !errors.Is(err, ErrHeld) {
		t.Fatalf("another job of the same container: got %v, want ErrHeld", err)
	}
	waiting, err := first.End(t.Context(), ide.JobCanceled)
	if err != nil || !cmp.Equal(waiting, []string{stop.Job.ID}) {
		t.Fatalf("got waiting %v, %v, want the stop", waiting, err)
	}
	if _, err := s.Take(t.Context(), out.Job.ID, 1); !errors.Is(err, ErrEnded) {
		t.Errorf("got %v, want ErrEnded", err)
	}
	take(t, s, stop.Job.ID)
}

func TestAnExpiredLeaseCannotWrite(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	slow := take(t, s, out.Job.ID)
	quick := takeWhenFree(t, s, out.Job.ID)
	if quick.Job.Attempt != 2 {
		t.Errorf("got attempt %d, want 2", quick.Job.Attempt)
	}
	slow.Job.Error = ide.Errorf(ide.Internal, "late")
	if err := slow.Save(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("Save: got %v, want ErrLost", err)
	}
	if _, err := slow.Renew(t.Context()); !errors.Is(err, ErrLost) {
		t.Errorf("Renew: got %v, want ErrLost", err)
	}
	if _, err := slow.End(t.Context(), ide.JobFailed); !errors.Is(err, ErrLost) {
		t.Errorf("End: got %v, want ErrLost", err)
	}
	if err := quick.Save(t.Context()); err != nil {
		t.Errorf("the new holder cannot write: %v", err)
	}
}

// takeWhenFree takes a job whose lease runs out soon.
func takeWhenFree(t *testing.T, s *Store, job string) *Held {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		h, err := s.Take(t.Context(), job, 1)
		if err == nil {
			return h
		}
		if !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
	}
	t.Fatal("the lease never ran out")
	return nil
}

func TestMove(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	for range 2 { // repeating it succeeds, without a second event
		if _, err := s.Move(t.Context(), id, 1, ide.Running, "test", "up", nil); err != nil {
			t.Fatal(err)
		}
	}
	events, _ := s.History(t.Context(), id)
	var types []string
	for _, e := range events {
		types = append(types, e.Type)
	}
	if want := []string{"container.starting", "container.running"}; !cmp.Equal(types, want) {
		t.Errorf("got events %v, want %v", types, want)
	}
	if _, err := s.Move(t.Context(), id, 1, ide.Stopped, "test", "", nil); code(err) != ide.Conflict {
		t.Errorf("running -> stopped: got %v, want CONFLICT", err)
	}
	if _, err := s.Move(t.Context(), id, 2, ide.Stopping, "test", "", nil); code(err) != ide.Conflict {
		t.Errorf("another run's move: got %v, want CONFLICT", err)
	}
	got, _, err := s.Containers(t.Context(), Filter{Status: "running", Owner: "alice", Limit: 5})
	if err != nil || len(got) != 1 {
		t.Errorf("got %d running of alice's, %v, want 1", len(got), err)
	}
	if _, total, _ := s.Containers(t.Context(), Filter{Status: "starting", Limit: 5}); total != 0 {
		t.Errorf("got %d starting, want 0", total)
	}
}

func TestUpdatesDoNotOverwriteEachOther(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			_, err := s.Update(context.Background(), id, func(c *ide.Container) error {
				if c.Labels == nil {
					c.Labels = map[string]string{}
				}
				c.Labels[fmt.Sprint(i)] = "x"
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if c, _ := s.Container(t.Context(), id); len(c.Labels) != 20 {
		t.Errorf("got %d labels, want 20", len(c.Labels))
	}
}

func TestRoutesFollowChanges(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	routes, cursor, err := s.Routes(t.Context())
	if err != nil || len(routes) != 1 || routes[0].Status != ide.Starting {
		t.Fatalf("got %+v, %v", routes, err)
	}
	if _, err := s.Update(t.Context(), id, func(c *ide.Container) error { c.Address = "10.1.2.3"; return nil }); err != nil {
		t.Fatal(err)
	}
	events, cursor, err := s.Changes(t.Context(), cursor)
	if err != nil || len(events) != 1 || events[0].Route == nil || events[0].Route.Address != "10.1.2.3" {
		t.Fatalf("got %+v, %v", events, err)
	}
	if history, _ := s.History(t.Context(), id); len(history) != 1 {
		t.Errorf("a change of address stands in the history: %+v", history)
	}
	if events, _, err := s.Changes(t.Context(), cursor); err != nil || len(events) != 0 {
		t.Errorf("got %+v, %v, want nothing new", events, err)
	}
}

func TestWaitJobWakesUp(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	h := take(t, s, out.Job.ID)
	follow(t, s)
	got := make(chan ide.Job, 1)
	go func() {
		j, err := s.WaitJob(context.Background(), out.Job.ID)
		if err != nil {
			t.Error(err)
		}
		got <- j
	}()
	if _, err := h.End(t.Context(), ide.JobSucceeded); err != nil {
		t.Fatal(err)
	}
	select {
	case j := <-got:
		if j.Status != ide.JobSucceeded {
			t.Errorf("got %s", j.Status)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it was not told")
	}
}

// follow runs the feed while the test does, and returns when it has begun.
func follow(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); s.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
	sub := s.Subscribe(100, func(ide.Event) bool { return true })
	defer sub.Close()
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); {
		if err := s.rdb.XAdd(ctx, &redis.XAddArgs{Stream: eventsKey, Values: []string{"e", `{"type":"test"}`}}).Err(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-sub.Events:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
	t.Fatal("the feed never began")
}

func TestASlowReaderIsTold(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	follow(t, s)
	cursor, err := s.Cursor(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sub := s.Subscribe(1, func(e ide.Event) bool { return e.Type == "container.starting" })
	defer sub.Close()
	quick := s.Subscribe(10, func(e ide.Event) bool { return e.Type == "container.starting" })
	defer quick.Close()
	var want []string
	for range 3 {
		want = append(want, admit(t, s, create()).Container.ID)
	}
	for _, id := range want {
		if e := <-quick.Events; e.Container != id {
			t.Errorf("got an event of %q, want %q", e.Container, id)
		}
	}
	<-sub.Events
	if _, ok := <-sub.Events; ok {
		t.Error("the slow reader was not told that it missed something")
	}
	events, _, ok, err := s.EventsAfter(t.Context(), cursor, 10)
	if err != nil || !ok || len(events) != 3 {
		t.Errorf("got %d events, %v, %v, want the three", len(events), ok, err)
	}
	if _, _, ok, _ := s.EventsAfter(t.Context(), "1-0", 10); ok {
		t.Error("a place before the stream's begin passes for known")
	}
}

func TestWaitJobGivesUpInTime(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	j, err := s.WaitJob(ctx, out.Job.ID)
	if err != nil || j.Status != ide.JobQueued {
		t.Errorf("got %s, %v, want the job as it stands", j.Status, err)
	}
}

func TestRedeliverCountsOnce(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	job := admit(t, s, create()).Job.ID
	for range 3 { // three tickers find the same delivery lost
		if n, ok, err := s.Redeliver(t.Context(), job, 1); n != 2 || !ok || err != nil {
			t.Errorf("got %d, %v, %v, want 2", n, ok, err)
		}
	}
	h := take(t, s, job)
	if _, err := h.End(t.Context(), ide.JobSucceeded); err != nil {
		t.Fatal(err)
	}
	if _, ok, _ := s.Redeliver(t.Context(), job, 2); ok {
		t.Error("an ended job is delivered again")
	}
	if err := s.Cancel(t.Context(), job); code(err) != ide.Conflict {
		t.Errorf("cancel of an ended job: got %v", err)
	}
}

func TestAReplacedDeliveryBeginsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	job := admit(t, s, create()).Job.ID
	if _, _, err := s.Redeliver(t.Context(), job, 1); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Take(t.Context(), job, 1); !errors.Is(err, ErrEnded) {
		t.Errorf("the first delivery: got %v, want ErrEnded", err)
	}
	if _, err := s.Take(t.Context(), job, 2); err != nil {
		t.Errorf("the second: got %v", err)
	}
}

func TestARefusedStartKeepsWhatAStopThatFailedHolds(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	if _, err := s.Move(t.Context(), id, 1, ide.Failed, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	node(t, s, ide.Node{ID: "n1", CPU: 5e8, Memory: 8 << 30})
	again := Admission{Function: "container-start", MaxAttempts: 1, By: alice, Container: id, Args: struct{}{}, Reserve: true,
		Edit: func(c *ide.Container) error { c.Run++; c.Status = ide.Starting; return nil }}
	if _, err := s.Admit(t.Context(), again); code(err) != ide.ResourceLimitExceeded {
		t.Fatalf("got %v", err)
	}
	rooms, err := s.Room(t.Context())
	if err != nil || rooms[0].Reservation != 1 || rooms[0].FreeCPU != -5e8 {
		t.Errorf("got %+v, %v, want the old reservation in its place", rooms, err)
	}
	if sum, err := s.rdb.HGet(t.Context(), resKey+":cpu", "n1").Int64(); err != nil || sum != 1e9 {
		t.Errorf("the node's sum is %d, %v, want 1e9", sum, err)
	}
}

func TestAReservationOfNothingIsReleased(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	a := create()
	a.New.Resources = ide.Resources{}
	if err := s.Release(t.Context(), admit(t, s, a).Container.ID, 1); err != nil {
		t.Error(err)
	}
}

func TestMoveFrom(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	admit(t, s, stopping(id))
	if _, err := s.MoveFrom(t.Context(), id, 1, []ide.Status{ide.Starting}, ide.Failed, "test", "", nil); code(err) != ide.Conflict {
		t.Errorf("a failing start beat the stop: %v", err)
	}
}

func TestDropForgetsEverything(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	out := admit(t, s, create())
	id := out.Container.ID
	if err := s.Drop(t.Context(), id, nil); code(err) != ide.Conflict {
		t.Fatalf("a live container was dropped: %v", err)
	}
	if _, err := s.Move(t.Context(), id, 1, ide.Failed, "test", "", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, s, out.Job.ID).End(t.Context(), ide.JobFailed); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Drop(t.Context(), id, []string{"container-create"}); err != nil {
			t.Fatal(err)
		}
	}
	s.cfg.JobRetention = -time.Minute
	if n, err := s.Prune(t.Context()); n != 1 || err != nil {
		t.Fatalf("pruned %d jobs, %v, want 1", n, err)
	}
	keys, err := s.rdb.Keys(t.Context(), "*"+id+"*").Result()
	if err != nil || len(keys) > 0 {
		t.Errorf("left behind: %v, %v", keys, err)
	}
	for _, h := range []string{openKey, seqKey, resKey} {
		if n, _ := s.rdb.HLen(t.Context(), h).Result(); n > 0 {
			t.Errorf("%s has %d fields left", h, n)
		}
	}
}

func TestRedisGoneIsQueueUnavailable(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	s.rdb.Close()
	if _, err := s.Admit(t.Context(), create()); code(err) != ide.QueueUnavailable || ide.AsError(err).RetryAfter == 0 {
		t.Errorf("got %v", err)
	}
}

func TestActivityAddsUp(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	at := time.UnixMilli(1_700_000_000_000).UTC()
	for _, a := range []ide.Activity{{ID: "a", Requests: 2, Connections: 3, LastActivity: at}, {ID: "a", Requests: 5, Connections: 1, LastActivity: at.Add(-time.Hour)}} {
		if err := s.ReportActivity(t.Context(), []ide.Activity{a}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Activity(t.Context(), "a", "b")
	want := map[string]ide.Activity{"a": {ID: "a", Requests: 7, Connections: 1, LastActivity: at}, "b": {ID: "b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
