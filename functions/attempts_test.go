package functions

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
)

func TestTransientErrorIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	runs, fails := 0, 0
	s := failed(nil, nil, &runs, &fails)
	s.run = func(ctx context.Context) error {
		runs++
		return Step(ctx, "engine", func(context.Context) error { return ide.Transient(ide.Docker, errStranger, "The engine is away.") })
	}
	for attempt, about := range []time.Duration{time.Second, 2 * time.Second} {
		before := time.Now()
		err := b.play(job, s)
		retry(t, err, about)
		if strings.Contains(err.Error(), "192.0.2.7") || !strings.Contains(err.Error(), "The engine is away.") {
			t.Errorf("the queue keeps %q", err)
		}
		j := b.job(job)
		if j.Status != ide.JobRetrying || j.Attempt != attempt+1 || j.FinishedAt != nil {
			t.Errorf("got job %+v, want attempt %d and retrying", j, attempt+1)
		}
		if j.NextAttemptAt == nil || j.NextAttemptAt.Before(before.Add(about*7/10)) || j.NextAttemptAt.After(time.Now().Add(about*12/10)) {
			t.Errorf("next attempt at %v, want in about %v", j.NextAttemptAt, about)
		}
		if diff := cmp.Diff(&ide.Error{Code: ide.Docker, Message: "The engine is away."}, j.Error); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
		last := j.Steps[len(j.Steps)-1]
		if last.Status != ide.StepFailed || last.Attempt != attempt+1 || last.Message != "The engine is away." {
			t.Errorf("got step %+v, want it failed", last)
		}
		if due, err := b.Store.Due(t.Context(), time.Now(), 10); err != nil || len(due) != 0 {
			t.Errorf("due before its time: %v, %v", due, err)
		}
	}
	b.must(b.play(job, s))
	if j := b.job(job); j.Status != ide.JobFailed || j.Attempt != 3 || j.NextAttemptAt != nil || j.Error.Code != ide.Docker {
		t.Errorf("after its last attempt: got job %+v, want failed", j)
	}
	if runs != 3 || fails != 1 {
		t.Errorf("it ran %d times and cleaned up %d times, want 3 and 1", runs, fails)
	}
	raw := b.rdb.HGet(t.Context(), "{berth}:j:"+job, "doc").Val()
	if strings.Contains(raw, "192.0.2.7") || !strings.Contains(b.log.String(), "192.0.2.7") {
		t.Errorf("a stranger's words belong in the log and nowhere else; record: %s", raw)
	}
}

func TestCleaningUpIsTriedUntilItSucceeds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	runs, fails := 0, 0
	cause := ide.Errorf(ide.ContainerStartFailed, "No such image.")
	for attempt := 1; attempt <= 4; attempt++ { // one more than it may begin
		retry(t, b.play(job, failed(cause, errStranger, &runs, &fails)), time.Second<<(attempt-1))
		if j := b.job(job); j.Status != ide.JobRetrying || j.Error == nil || j.Error.Code != cause.Code {
			t.Fatalf("got job %+v, want it open with its cause", j)
		}
	}
	b.must(b.play(job, failed(nil, nil, &runs, &fails)))
	if j := b.job(job); j.Status != ide.JobFailed || j.Error.Message != cause.Message {
		t.Errorf("got job %+v, want failed with its cause", j)
	}
	if runs != 1 || fails != 5 {
		t.Errorf("it ran %d times and cleaned up %d times, want 1 and 5", runs, fails)
	}
}

// kill ends an attempt the way a killed worker does: the lease runs out.
func (b *bench) kill(out store.Admitted) {
	b.Helper()
	if _, err := b.Store.Take(b.Context(), out.Job.ID, 1); err != nil {
		b.Fatal(err)
	}
	b.must(b.rdb.Del(b.Context(), "{berth}:lease:"+out.Container.ID).Err())
}

func TestWorkersKilledInEveryAttempt(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		first error
		want  ide.Error
	}{
		"nothing known":        {nil, ide.Error{Code: ide.Internal, Message: "It was begun 3 times and never ended."}},
		"an attempt said why":  {ide.Transient(ide.Docker, nil, "The engine is away."), ide.Error{Code: ide.Docker, Message: "The engine is away."}},
		"what it said is kept": {&ide.Error{Code: ide.Conflict, Message: "Busy.", Details: "x"}, ide.Error{Code: ide.Conflict, Message: "Busy.", Details: "x"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			out := b.admit(testUsual, scriptedArgs{})
			if tc.first != nil {
				retry(t, b.play(out.Job.ID, script{run: func(context.Context) error { return tc.first }}), time.Second)
			} else {
				b.kill(out)
			}
			b.kill(out)
			b.kill(out)
			runs, fails := 0, 0
			b.must(b.play(out.Job.ID, failed(nil, nil, &runs, &fails)))
			j := b.job(out.Job.ID)
			if j.Status != ide.JobFailed || runs != 0 || fails != 1 {
				t.Errorf("got %s after %d runs and %d cleanings, want failed, 0 and 1", j.Status, runs, fails)
			}
			if diff := cmp.Diff(&tc.want, j.Error); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
		})
	}
}

func TestShutdownHandsTheJobBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.admit(testUsual, scriptedArgs{})
	ctx, shutdown := context.WithCancelCause(t.Context())
	runs, fails := 0, 0
	s := failed(nil, nil, &runs, &fails)
	s.run = func(ctx context.Context) error {
		return Step(ctx, "long", func(ctx context.Context) error {
			shutdown(ErrShutdown)
			<-ctx.Done()
			return ctx.Err()
		})
	}
	if err := Execute(context.WithValue(ctx, scriptKey{}, s), b.Deps, newest(out.Job.ID)); err != nil {
		t.Fatal(err)
	}
	j := b.job(out.Job.ID)
	if j.Status != ide.JobQueued || j.Attempt != 0 || j.NextAttemptAt != nil || fails != 0 {
		t.Errorf("got job %+v, want it queued, its attempt not counted", j)
	}
	if last := j.Steps[len(j.Steps)-1]; last.Name != "long" || last.Status != ide.StepFailed || !strings.Contains(last.Message, "shut down") {
		t.Errorf("got step %+v, want it to say why it ended", last)
	}
	b.delivery(j.ID, 2, queue.Waiting)
	b.must(b.play(j.ID, script{run: func(context.Context) error { return nil }}))
	if j := b.job(j.ID); j.Status != ide.JobSucceeded || j.Attempt != 1 {
		t.Errorf("the next worker: got %+v, want succeeded in attempt 1", j)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testBrief, scriptedArgs{}).Job.ID
	runs, fails := 0, 0
	s := failed(nil, nil, &runs, &fails)
	s.run = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	retry(t, b.play(job, s), time.Second)
	if j := b.job(job); j.Status != ide.JobRetrying || j.Error.Code != ide.Timeout || j.Error.Message != "It took longer than 100ms." {
		t.Errorf("got %s (%v), want retrying with TIMEOUT", j.Status, j.Error)
	}
	b.must(b.play(job, s))
	if j := b.job(job); j.Status != ide.JobFailed || j.Error.Code != ide.Timeout || fails != 1 {
		t.Errorf("got %s (%v), cleaned up %d times, want failed with TIMEOUT", j.Status, j.Error, fails)
	}
}

func TestCleaningUpHasATimeoutOfItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testClean, scriptedArgs{}).Job.ID
	err := b.play(job, script{
		run:  func(ctx context.Context) error { <-ctx.Done(); return ide.Errorf(ide.Internal, "never mind") },
		fail: func(ctx context.Context, _ *ide.Error) error { return nil },
	})
	retry(t, err, time.Second) // a timeout is why, whatever the function says
	err = b.play(job, script{
		run:  func(context.Context) error { return ide.Errorf(ide.Internal, "Broken.") },
		fail: func(ctx context.Context, _ *ide.Error) error { <-ctx.Done(); return ctx.Err() },
	})
	retry(t, err, 2*time.Second)
	if j := b.job(job); j.Status != ide.JobRetrying || j.Error.Message != "Broken." {
		t.Errorf("got %s (%v), want it open with its cause", j.Status, j.Error)
	}
}

func TestBackoffGrowsToABound(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 6: 30 * time.Second, 60: 30 * time.Second} {
		for range 100 {
			if got := backoff(n); got < want*8/10 || got > want*12/10 {
				t.Errorf("backoff(%d) = %v, want %v ± 20 %%", n, got, want)
			}
		}
	}
}

func TestStepsOfAllAttemptsStay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	step := func(err error) script {
		return script{run: func(ctx context.Context) error {
			return Step(ctx, "engine", func(context.Context) error { return err })
		}}
	}
	retry(t, b.play(job, step(errStranger)), time.Second)
	b.must(b.play(job, step(nil)))
	var got []string
	for _, s := range b.job(job).Steps {
		text, err := json.Marshal([]any{s.Name, s.Status, s.Attempt})
		b.must(err)
		got = append(got, string(text))
	}
	want := []string{`["queue","done",1]`, `["engine","failed",1]`, `["engine","done",2]`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if j := b.job(job); j.Error != nil {
		t.Errorf("a job that succeeded still has the error of its first attempt: %v", j.Error)
	}
}
