package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"

	"github.com/google/go-cmp/cmp"
)

var alice = ide.Principal{Name: "alice", Role: ide.Client}

// open returns a store with one node of the given room.
func open(t testing.TB, cpu, memory int64) *Store {
	t.Helper()
	s := New(redistest.New(t), Config{})
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

// follow runs the feed while the test does, and returns when it has begun.
func follow(t *testing.T, s *Store) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	early := s.Subscribe(1, func(ide.Event) bool { return true })
	defer early.Close()
	go func() { defer close(done); s.Follow(ctx, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case _, ok := <-early.Items:
		if ok {
			t.Fatal("got an event, want to be told that the feed has begun only now")
		}
	case <-time.After(time.Minute):
		t.Fatal("the feed never began")
	}
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
	for range 3 {
		id := admit(t, s, create()).Container.ID
		if e := <-quick.Items; len(e) != 1 || e[0].Container != id {
			t.Errorf("got %+v, want an event of %q", e, id)
		}
	}
	<-sub.Items
	if _, ok := <-sub.Items; ok {
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
		if err := s.Drop(t.Context(), id, []string{"container-create:" + id}); err != nil {
			t.Fatal(err)
		}
	}
	s.cfg.JobRetention = -time.Minute
	if n, err := s.Prune(t.Context()); n != 1 || err != nil {
		t.Fatalf("pruned %d jobs, %v, want 1", n, err)
	}
	keys, err := s.rdb.Keys(t.Context(), "*"+id+"*").Result()
	if err != nil || len(keys) != 1 || keys[0] != purgedKey(id) {
		t.Errorf("left behind: %v, %v, want the note that it was purged", keys, err)
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
	for _, a := range []ide.Activity{{ID: "a", Requests: 2, Connections: 3, LastActivity: at},
		{ID: "a", Requests: 5, Connections: 1, LastActivity: at.Add(-time.Hour), Web: at.Add(-time.Hour)}} {
		if err := s.ReportActivity(t.Context(), []ide.Activity{a}); err != nil {
			t.Fatal(err)
		}
	}
	got, err := s.Activity(t.Context(), "a", "b")
	want := map[string]ide.Activity{"a": {ID: "a", Requests: 7, Connections: 1, LastActivity: at, Web: at.Add(-time.Hour)}, "b": {ID: "b"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
}
