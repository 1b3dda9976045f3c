package store

import (
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"
)

// A machine whose clock is wrong by an hour believes what others have just said, and
// what it says itself is believed.
func TestAdmissionGoesByTheSharedClock(t *testing.T) {
	t.Parallel()
	for _, ahead := range []time.Duration{time.Hour, -time.Hour} {
		t.Run(ahead.String(), func(t *testing.T) {
			t.Parallel()
			rdb := redistest.New(t)
			redistest.Skew(rdb)(ahead)
			s := New(rdb, Config{})
			shared := func() time.Time { return time.Now().Add(-ahead) }
			node(t, s, ide.Node{ID: "n1", CPU: 4e9, Memory: 8 << 30, At: shared()})
			if err := s.Report(t.Context(), ide.Worker{ID: "w", Node: "n1", At: shared()}); err != nil {
				t.Fatal(err)
			}
			if list, err := s.Workers(t.Context(), 30*time.Second); err != nil || len(list) != 1 {
				t.Errorf("workers that have just reported: %v, %v", list, err)
			}
			rooms, err := s.Room(t.Context())
			if err != nil || len(rooms) != 1 || !rooms[0].Fresh {
				t.Fatalf("rooms: %+v, %v, want one that is fresh", rooms, err)
			}
			out := admit(t, s, create())
			if due := due(t, s); len(due) == 0 && ahead > 0 {
				t.Errorf("%s is not due", out.Job.ID)
			}
			if off := out.Job.QueuedAt.Sub(shared()).Abs(); off > time.Minute {
				t.Errorf("its job was queued %s from now", off)
			}
			old := ide.Node{ID: "n1", CPU: 4e9, Memory: 8 << 30, At: shared().Add(-time.Minute)}
			node(t, s, old)
			if _, err := s.Admit(t.Context(), create()); !ide.HasCode(err, ide.ResourceLimitExceeded) {
				t.Errorf("a report of a minute ago: got %v, want it not believed", err)
			}
		})
	}
}

// Between two looks at Redis the clock goes on by itself, and an error of Redis's
// changes nothing.
func TestSharedClockGoesOn(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t)
	set := redistest.Skew(rdb)
	set(time.Hour)
	s := New(rdb, Config{})
	first := s.Time(t.Context())
	if off := time.Since(first) - time.Hour; off.Abs() > time.Minute {
		t.Fatalf("the clock is %s behind, want an hour", time.Since(first))
	}
	set(0)
	if d := s.Time(t.Context()).Sub(first); d < 0 || d > time.Minute {
		t.Errorf("it jumps by %s before it looks again", d)
	}
	rdb.Close()
	if d := s.Time(t.Context()).Sub(first); d < 0 || d > time.Minute {
		t.Errorf("without Redis it jumps by %s", d)
	}
}
