package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"berth/internal/ide"

	"github.com/google/go-cmp/cmp"
)

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
	lease := leaseKey(Target(out.Job.ID))
	if left := s.rdb.PTTL(t.Context(), lease).Val(); left <= 0 || left > s.cfg.LeaseTTL {
		t.Errorf("the lease ends in %v, want at most %v", left, s.cfg.LeaseTTL)
	}
	if err := s.rdb.PExpire(t.Context(), lease, time.Millisecond).Err(); err != nil { // that time passes
		t.Fatal(err)
	}
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
	for range 6000 {
		h, err := s.Take(t.Context(), job, 1)
		if err == nil {
			return h
		}
		if !errors.Is(err, ErrHeld) {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatal("the lease never ran out")
	return nil
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
	case <-time.After(time.Minute):
		t.Fatal("it was not told")
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
