package store

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
)

// asked asks for the job of an instant, and ends it at once. It says whether
// there was one.
func asked(t *testing.T, s *Store, function string, at time.Time) bool {
	t.Helper()
	out, err := s.Admit(context.Background(), Admission{Function: function, MaxAttempts: 1, By: alice, Args: struct{}{}, Instant: at})
	if err != nil {
		t.Error(err)
		return false
	}
	if out.Skipped || out.Open {
		return false
	}
	if h, err := s.Take(context.Background(), out.Job.ID, 1); err == nil {
		_, err = h.End(context.Background(), ide.JobSucceeded)
		if err != nil {
			t.Error(err)
		}
	}
	return true
}

// Four workers whose clocks are wrong and jump ask for the instants of an hour,
// early, late, again and in any order.
func TestAnInstantHasOneJobWhateverTheClocksSay(t *testing.T) {
	t.Parallel()
	s := open(t, 1, 1)
	now, err := s.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const n = 240
	first := now.Truncate(time.Second).Add(-n * 15 * time.Second)
	var mu sync.Mutex
	jobs := map[time.Time]int{}
	ask := func(at time.Time) {
		if asked(t, s, "sweep", at) {
			mu.Lock()
			jobs[at]++
			mu.Unlock()
		}
	}
	var workers sync.WaitGroup
	for w := range 4 {
		workers.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			for i := 0; i < n; i++ {
				ask(first.Add(time.Duration(i) * 15 * time.Second))
				switch random.IntN(20) {
				case 0: // its clock jumps back
					i = max(0, i-random.IntN(40))
				case 1: // or far ahead
					ask(now.Add(time.Duration(1+random.IntN(100)) * time.Hour))
				}
			}
		})
	}
	workers.Wait()
	for at, times := range jobs {
		if times != 1 {
			t.Errorf("%s had %d jobs", at, times)
		}
		if at.After(now.Add(time.Minute)) {
			t.Errorf("%s, which is ahead, had a job", at)
		}
	}
	if len(jobs) < n/4 {
		t.Errorf("only %d of %d instants had a job", len(jobs), n)
	}
}

func TestInstantsGoOnWhenTheClockOfRedisIsSet(t *testing.T) {
	t.Parallel()
	m := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: m.Addr()})
	t.Cleanup(func() { rdb.Close() })
	s := New(rdb, Config{})
	noon := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	for _, step := range []struct {
		name      string
		clock, at time.Time
		want      bool
	}{
		{"an instant", noon, noon, true},
		{"the same again", noon.Add(time.Second), noon, false},
		{"one before it", noon.Add(time.Second), noon.Add(-time.Minute), false},
		{"one ahead", noon.Add(time.Second), noon.Add(time.Minute), false},
		{"the clock is set ahead", noon.Add(24 * time.Hour), noon.Add(24 * time.Hour), true},
		{"and back", noon.Add(time.Minute), noon.Add(time.Minute), true},
		{"from there on once as well", noon.Add(2 * time.Minute), noon.Add(time.Minute), false},
	} {
		m.SetTime(step.clock)
		if got := asked(t, s, "sweep", step.at); got != step.want {
			t.Errorf("%s: got a job %t, want %t", step.name, got, step.want)
		}
	}
}

func TestPausesAndLastJobs(t *testing.T) {
	t.Parallel()
	s := open(t, 1, 1)
	now, err := s.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := now.Truncate(time.Second)
	if err := s.Pause(t.Context(), "sweep", Pause{At: at, By: "alice"}); err != nil {
		t.Fatal(err)
	}
	if err := s.Pause(t.Context(), "sweep", Pause{At: at.Add(time.Hour), By: "bob"}); err != nil {
		t.Fatal(err)
	}
	if p, err := s.Pauses(t.Context()); err != nil || len(p) != 1 || p["sweep"].By != "alice" {
		t.Errorf("got pauses %v, %v, want alice's", p, err)
	}
	if asked(t, s, "sweep", at.Add(-time.Minute)) {
		t.Error("a paused schedule had a job")
	}
	if err := s.Resume(t.Context(), "sweep"); err != nil {
		t.Fatal(err)
	}
	if _, ok, err := s.LastJob(t.Context(), "sweep"); ok || err != nil {
		t.Errorf("a last job before the first: %t, %v", ok, err)
	}
	if !asked(t, s, "sweep", at) {
		t.Error("it does not go on")
	}
	j, ok, err := s.LastJob(t.Context(), "sweep")
	if err != nil || !ok || j.Status != ide.JobSucceeded || j.Instant == nil || !j.Instant.Equal(at) {
		t.Errorf("got last job %+v, %t, %v", j, ok, err)
	}
	if last, err := s.LastInstants(t.Context()); err != nil || !last["sweep"].Equal(at) {
		t.Errorf("got last instants %v, %v, want %s", last, err, at)
	}
}

func TestAJobThatIsKeptForLessGoesFirst(t *testing.T) {
	t.Parallel()
	s := open(t, 1, 1)
	now, err := s.Clock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i, keep := range []time.Duration{time.Nanosecond, 0} {
		out, err := s.Admit(t.Context(), Admission{Function: "sweep", MaxAttempts: 1, By: alice, Args: struct{}{}, Instant: now.Add(time.Duration(i-10) * time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		h := take(t, s, out.Job.ID)
		h.Keep = keep
		if _, err := h.End(t.Context(), ide.JobSucceeded); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := s.Prune(t.Context()); n != 1 || err != nil {
		t.Errorf("pruned %d jobs, %v, want the one that is kept for a moment", n, err)
	}
	if _, err := s.Job(t.Context(), "sweep::2"); err != nil {
		t.Errorf("the other: %v", err)
	}
	events, _, err := s.Changes(t.Context(), "0-0")
	if err != nil || len(events) != 0 {
		t.Errorf("got events %+v, %v, want none of routine", events, err)
	}
}

func TestOldEventsAreTrimmed(t *testing.T) {
	t.Parallel()
	s := open(t, 4e9, 8<<30)
	id := admit(t, s, create()).Container.ID
	if n, err := s.TrimEvents(t.Context(), time.Now().Add(-time.Hour)); n != 0 || err != nil {
		t.Errorf("trimmed %d, %v, want none", n, err)
	}
	if n, err := s.TrimEvents(t.Context(), time.Now().Add(time.Hour)); n != 1 || err != nil {
		t.Errorf("trimmed %d, %v, want the one", n, err)
	}
	if h, err := s.History(t.Context(), id); len(h) != 1 || err != nil {
		t.Errorf("the container's history: %v, %v, want it whole", h, err)
	}
}
