package store

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

func create() Admission {
	id := ide.NewID()
	return Admission{
		Function: "container-create", MaxAttempts: 3, By: alice, Args: map[string]string{"id": id},
		New: &ide.Container{ID: id, Run: 1, Owner: alice.Name, Status: ide.Starting, CreatedAt: time.Now().UTC(),
			Resources: ide.Resources{CPUReservation: 1e9, MemoryReservation: 1 << 30}},
		Reserve: true, Answer: func(_ ide.Container, j ide.Job) string { return j.ID },
	}
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

// What is free is told of a node on which it would help: the memory of one
// without CPU would not.
func TestNoNodeHasBoth(t *testing.T) {
	t.Parallel()
	s := open(t, 8e9, 512<<20)
	node(t, s, ide.Node{ID: "n1", CPU: 8e9, Memory: 4 << 30, ForeignMemory: 3584 << 20}, ide.Node{ID: "n2", CPU: 4e9, ForeignCPU: 3500e6, Memory: 64 << 30})
	_, err := s.Admit(t.Context(), create()) // wants 1 CPU and 1 GiB
	if e := ide.AsError(err); e.Code != ide.ResourceLimitExceeded || !strings.Contains(e.Message, "1024 MiB of memory is needed, the best node has 512 MiB") || e.RetryAfter == 0 {
		t.Errorf("got %v", err)
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
			a.IdempotencyKey, a.Digests = "k", []string{"d"}
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
	a.IdempotencyKey, a.Digests = "k", []string{"another"}
	if _, err := s.Admit(t.Context(), a); code(err) != ide.IdempotencyKeyReused {
		t.Errorf("got %v", err)
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
	if _, err := s.Admit(t.Context(), again); code(err) != ide.PlacementImpossible {
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
