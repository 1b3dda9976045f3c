package store

import (
	"errors"
	"slices"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// lined returns an admission that takes its turn among an owner's.
func lined(owner string) Admission {
	a := create()
	a.Queue, a.By, a.Reserve, a.New.Owner = "default", ide.Principal{Name: owner, Role: ide.Client}, false, owner
	return a
}

// due are the jobs that a ticker would see.
func due(t *testing.T, s *Store) []string {
	t.Helper()
	list, err := s.Due(t.Context(), time.Now().Add(time.Minute), 1000)
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, d := range list {
		ids = append(ids, d.ID)
	}
	slices.Sort(ids)
	return ids
}

func TestOwnersTakeTurns(t *testing.T) {
	t.Parallel()
	s := open(t, 64e9, 64<<30)
	var delivered, waiting []string
	for range 20 {
		out := admit(t, s, lined("alice"))
		if out.Waits {
			waiting = append(waiting, out.Job.ID)
		} else {
			delivered = append(delivered, out.Job.ID)
		}
	}
	if len(delivered) != window {
		t.Fatalf("%d of 20 jobs of one owner were delivered at once, want %d", len(delivered), window)
	}
	if out := admit(t, s, lined("bob")); out.Waits {
		t.Error("another owner's only job waits")
	}
	other := lined("alice")
	other.Queue = "critical"
	if out := admit(t, s, other); out.Waits {
		t.Error("a job of another queue waits")
	}
	if got := due(t, s); len(got) != window+2 {
		t.Errorf("%d jobs are due, want the %d that were delivered: a ticker must not jump the queue", len(got), window+2)
	}
	for len(delivered) > 0 { // each that begins lets in one, in the order in which they were asked for
		next, err := s.Turn(t.Context(), delivered[0])
		if err != nil {
			t.Fatal(err)
		}
		if h := take(t, s, delivered[0]); h.Job.Owner != "alice" {
			t.Fatalf("got %+v", h.Job)
		}
		if delivered = delivered[1:]; len(waiting) == 0 {
			if len(next) != 0 {
				t.Errorf("%v come in, want nobody: nobody waits", next)
			}
			continue
		}
		if diff := cmp.Diff(waiting[:1], next); diff != "" {
			t.Fatalf("who comes in (-want +got):\n%s", diff)
		}
		delivered, waiting = append(delivered, next...), waiting[1:]
	}
	if len(waiting) != 0 {
		t.Errorf("%d jobs wait for ever", len(waiting))
	}
}

// A waiting job that is canceled comes to a worker at once, and does not come
// again when its turn would have been.
func TestCancelOfAJobThatWaits(t *testing.T) {
	t.Parallel()
	s := open(t, 64e9, 64<<30)
	var first, last Admitted
	for i := range window + 1 {
		if last = admit(t, s, lined("alice")); i == 0 {
			first = last
		}
	}
	if err := s.Cancel(t.Context(), last.Job.ID); err != nil || !last.Waits {
		t.Fatalf("got %v, waits: %t", err, last.Waits)
	}
	if got := due(t, s); !slices.Contains(got, last.Job.ID) {
		t.Errorf("due are %v, want the canceled job among them", got)
	}
	if _, err := s.Turn(t.Context(), last.Job.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, s, last.Job.ID).End(t.Context(), ide.JobCanceled); err != nil {
		t.Fatal(err)
	}
	if next, err := s.Turn(t.Context(), first.Job.ID); err != nil || len(next) != 0 {
		t.Errorf("got %v, %v, want nobody", next, err)
	}
}

// An owner's jobs have a share of the slots only; what is more waits, without a
// slot, and is delivered when one of them ends.
func TestAnOwnersRunningJobsAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t, 64e9, 64<<30)
	s.cfg.Running = 3
	var ids []string
	for range 6 {
		ids = append(ids, admit(t, s, lined("alice")).Job.ID)
	}
	var running []*Held
	for _, id := range ids[:3] {
		if _, err := s.Turn(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		running = append(running, take(t, s, id))
	}
	for _, id := range ids[3:] { // they were let in before the others began
		if next, err := s.Turn(t.Context(), id); err != nil || len(next) != 0 {
			t.Fatalf("got %v, %v, want nobody", next, err)
		}
		if _, err := s.Take(t.Context(), id, 1); !errors.Is(err, ErrWaits) {
			t.Fatalf("a fourth job of one owner: got %v, want ErrWaits", err)
		}
	}
	if got := due(t, s); slices.Contains(got, ids[3]) {
		t.Errorf("due are %v: a ticker must not bring one that waits", got)
	}
	if _, err := take(t, s, admit(t, s, lined("bob")).Job.ID).End(t.Context(), ide.JobSucceeded); err != nil {
		t.Errorf("another owner's: %v", err)
	}
	if err := s.Cancel(t.Context(), ids[4]); err != nil {
		t.Fatal(err)
	}
	if _, err := take(t, s, ids[4]).End(t.Context(), ide.JobCanceled); err != nil {
		t.Errorf("one that is only to be ended: %v", err)
	}
	for i, end := range []func(*Held) ([]string, error){
		func(h *Held) ([]string, error) { return h.Retry(t.Context(), time.Now().Add(time.Hour), false) },
		func(h *Held) ([]string, error) { return h.Wait(t.Context(), time.Now().Add(time.Hour)) },
		func(h *Held) ([]string, error) { return h.End(t.Context(), ide.JobSucceeded) },
	} {
		next, err := end(running[i])
		if err != nil {
			t.Fatal(err)
		}
		want := [][]string{{ids[5]}, {ids[3]}, nil}[i]
		if diff := cmp.Diff(want, next, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("who comes in (-want +got):\n%s", diff)
		}
		if want == nil {
			continue
		}
		if _, err := s.Turn(t.Context(), next[0]); err != nil {
			t.Fatal(err)
		}
		running = append(running, take(t, s, next[0]))
	}
	for _, h := range running[3:] {
		if next, err := h.End(t.Context(), ide.JobSucceeded); err != nil || len(next) != 0 {
			t.Errorf("got %v, %v, want nobody", next, err)
		}
	}
	if left := s.rdb.SMembers(t.Context(), "{berth}:run:default:alice").Val(); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}
