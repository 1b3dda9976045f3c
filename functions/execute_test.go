package functions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"
)

var errStranger = errors.New("dial tcp 192.0.2.7:2377: connection refused")

func TestJobThatSucceeds(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.admit(testUsual, scriptedArgs{})
	runs := 0
	s := script{run: func(ctx context.Context) error {
		runs++
		if err := Step(ctx, "first", func(ctx context.Context) error {
			Progress(ctx, "half")
			now := b.job(out.Job.ID)
			last := now.Steps[len(now.Steps)-1]
			if now.Status != ide.JobRunning || now.Attempt != 1 || last.Name != "first" || last.Status != ide.StepRunning || last.Message != "half" {
				t.Errorf("while it runs: got %+v", now)
			}
			return nil
		}); err != nil {
			return err
		}
		SetResult(ctx, "answer", 42)
		return Step(ctx, "second", func(context.Context) error { return nil })
	}}
	begun := time.Now()
	b.must(b.play(out.Job.ID, s))
	j := b.job(out.Job.ID)
	if j.Status != ide.JobSucceeded || j.Attempt != 1 || j.Error != nil || j.NextAttemptAt != nil ||
		j.StartedAt == nil || j.FinishedAt == nil || j.FinishedAt.Before(*j.StartedAt) || j.StartedAt.Before(j.QueuedAt) {
		t.Errorf("got job %+v", j)
	}
	if diff := cmp.Diff(map[string]any{"answer": 42.0}, j.Result); diff != "" {
		t.Errorf("result (-want +got):\n%s", diff)
	}
	var names []string
	for _, s := range j.Steps {
		names = append(names, s.Name)
		if s.Status != ide.StepDone || s.Attempt != 1 || s.Seconds <= 0 || s.Seconds > time.Since(begun).Seconds()+1 {
			t.Errorf("got step %+v, want it done and timed", s)
		}
	}
	if diff := cmp.Diff([]string{"queue", "first", "second"}, names); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	b.must(b.play(out.Job.ID, s)) // a second delivery of it
	if runs != 1 {
		t.Errorf("it ran %d times, want once", runs)
	}
	if due, err := b.Store.Due(t.Context(), time.Now().Add(time.Hour), 10); err != nil || len(due) != 0 {
		t.Errorf("still due: %v, %v", due, err)
	}
	if n := b.rdb.Exists(t.Context(), "{berth}:lease:"+out.Container.ID).Val(); n != 0 {
		t.Error("the lease is still held")
	}
}

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

func TestPermanentErrorFailsAtOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.admit(testUsual, scriptedArgs{})
	var cause *ide.Error
	b.must(b.play(out.Job.ID, script{
		run: func(ctx context.Context) error {
			return Step(ctx, "image", func(context.Context) error { return ide.Errorf(ide.ContainerStartFailed, "No such image.") })
		},
		fail: func(ctx context.Context, e *ide.Error) error {
			cause = e
			return Step(ctx, "clean", func(context.Context) error { return nil })
		},
	}))
	j := b.job(out.Job.ID)
	if j.Status != ide.JobFailed || j.Attempt != 1 || j.Error == nil || j.Error.Message != "No such image." || j.FinishedAt == nil {
		t.Errorf("got job %+v, want failed", j)
	}
	if cause == nil || cause.Code != ide.ContainerStartFailed {
		t.Errorf("Fail was given %v", cause)
	}
	want := []ide.StepStatus{ide.StepDone, ide.StepFailed, ide.StepDone}
	var got []ide.StepStatus
	for _, s := range j.Steps {
		got = append(got, s.Status)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("queue, image, clean (-want +got):\n%s", diff)
	}
	events, _, err := b.Store.Changes(t.Context(), "0-0")
	if last := events[len(events)-1]; err != nil || last.Type != "job.failed" || last.Job != j.ID || last.Message != "No such image." {
		t.Errorf("got last event %+v, %v, want job.failed", last, err)
	}
}

func TestStrangersErrorIsHidden(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	err := b.play(job, script{run: func(context.Context) error { return errStranger }})
	retry(t, err, time.Second)
	if !errors.Is(err, errStranger) {
		t.Error("the cause is lost")
	}
	if j := b.job(job); j.Error == nil || j.Error.Code != ide.Internal || strings.Contains(j.Error.Message+err.Error(), "192.0.2.7") {
		t.Errorf("got job error %v and %q", j.Error, err)
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

func TestCancelOfAQueuedJob(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	if _, err := Cancel(t.Context(), b.Deps, alice, job); err != nil {
		t.Fatal(err)
	}
	b.delivery(job, 2, queue.Waiting) // now, and not when its next attempt is due
	runs, fails := 0, 0
	b.must(b.play(job, failed(nil, nil, &runs, &fails)))
	j := b.job(job)
	if j.Status != ide.JobCanceled || j.Error == nil || j.Error.Code != ide.Canceled || runs != 0 || fails != 1 {
		t.Errorf("got %s (%v) after %d runs and %d cleanings, want canceled, 0 and 1", j.Status, j.Error, runs, fails)
	}
	_, err := Cancel(t.Context(), b.Deps, alice, job)
	wantError(t, "cancel of an ended job", err, ide.Conflict, true)
}

func TestCancelRefuses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := Cancel(t.Context(), b.Deps, alice, "test-usual:none:1")
	wantError(t, "unknown job", err, ide.JobNotFound, true)
	bare := b.admit(testBare, scriptedArgs{})
	_, err = Cancel(t.Context(), b.Deps, alice, bare.Job.ID)
	wantError(t, "function that cannot be canceled", err, ide.Conflict, true)
}

func TestCancelOfARunningJob(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(ctx context.Context) error{
		"in the middle of a step": func(ctx context.Context) error {
			return Step(ctx, "long", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		},
		"before its next step": func(ctx context.Context) error {
			return Step(ctx, "next", func(context.Context) error { return errors.New("a step began after the cancel") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			job := b.admit(testUsual, scriptedArgs{}).Job.ID
			fails := 0
			b.must(b.play(job, script{
				run: func(ctx context.Context) error {
					if _, err := Cancel(t.Context(), b.Deps, alice, job); err != nil {
						return err
					}
					return wait(ctx)
				},
				fail: func(ctx context.Context, e *ide.Error) error {
					fails++
					if e.Code != ide.Canceled || ctx.Err() != nil {
						t.Errorf("Fail was given %v in a context that ended with %v", e, ctx.Err())
					}
					return Step(ctx, "clean", func(context.Context) error { return nil })
				},
			}))
			if j := b.job(job); j.Status != ide.JobCanceled || j.Error.Message != "The job was canceled." || fails != 1 {
				t.Errorf("got %s (%v), cleaned up %d times, want canceled", j.Status, j.Error, fails)
			}
		})
	}
}

func TestSupersededJobEndsWithoutCleaningUp(t *testing.T) {
	t.Parallel()
	for name, supersede := range map[string]func(c *ide.Container){
		"by a stop":        func(c *ide.Container) { c.Status = ide.Stopping },
		"by another start": func(c *ide.Container) { c.Run++ },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			out := b.admit(testUsual, scriptedArgs{})
			runs, fails := 0, 0
			s := failed(nil, nil, &runs, &fails)
			s.run = func(ctx context.Context) error {
				if _, err := b.Store.Update(ctx, out.Container.ID, func(c *ide.Container) error { supersede(c); return nil }); err != nil {
					return err
				}
				<-ctx.Done()
				return ctx.Err()
			}
			b.must(b.play(out.Job.ID, s))
			if j := b.job(out.Job.ID); j.Status != ide.JobCanceled || j.Error == nil || j.Error.Message != errSuperseded.Message || fails != 0 {
				t.Errorf("got %s (%v), cleaned up %d times, want canceled and not once", j.Status, j.Error, fails)
			}
		})
	}
}

func TestFunctionWithoutExpectationsIsNotSuperseded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.admit(testBare, scriptedArgs{})
	b.must(b.play(out.Job.ID, script{run: func(ctx context.Context) error {
		return Step(ctx, "one", func(context.Context) error { return nil })
	}}))
	if j := b.job(out.Job.ID); j.Status != ide.JobSucceeded || j.Container != "" {
		t.Errorf("got %+v, want succeeded", j)
	}
}

func TestLostLeaseWritesNothing(t *testing.T) {
	t.Parallel()
	for name, wait := range map[string]func(context.Context) error{
		"noticed while it waits": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"noticed at a step": func(ctx context.Context) error {
			return Step(ctx, "next", func(context.Context) error { return errors.New("a step began without the lease") })
		},
		"noticed at the end": func(context.Context) error { return nil },
		"noticed at failure": func(context.Context) error { return ide.Errorf(ide.Internal, "no") },
		"noticed at a retry": func(context.Context) error { return errStranger },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			out := b.admit(testUsual, scriptedArgs{})
			var before map[string]string
			runs, fails := 0, 0
			s := failed(nil, nil, &runs, &fails)
			s.run = func(ctx context.Context) error {
				b.must(b.rdb.Set(t.Context(), "{berth}:lease:"+out.Container.ID, "another", time.Minute).Err())
				before = b.rdb.HGetAll(t.Context(), "{berth}:j:"+out.Job.ID).Val()
				return wait(ctx)
			}
			if err := b.play(out.Job.ID, s); err != nil {
				t.Errorf("got %v, want the delivery acknowledged", err)
			}
			if diff := cmp.Diff(before, b.rdb.HGetAll(t.Context(), "{berth}:j:"+out.Job.ID).Val()); diff != "" {
				t.Errorf("it wrote without the lease (-before +after):\n%s", diff)
			}
			if fails != 0 {
				t.Error("it cleaned up what is somebody else's")
			}
			if got := b.rdb.Get(t.Context(), "{berth}:lease:"+out.Container.ID).Val(); got != "another" {
				t.Errorf("the other holder's lease is %q", got)
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
	job := b.admit(testBrief, scriptedArgs{}).Job.ID
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

func TestUnknownFunctionIsLeftToNewerWorkers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out, err := b.Store.Admit(t.Context(), store.Admission{Function: "test-of-tomorrow", MaxAttempts: 1, By: alice, Args: struct{}{}})
	b.must(err)
	retry(t, Execute(t.Context(), b.Deps, newest(out.Job.ID)), time.Minute)
	if j := b.job(out.Job.ID); j.Status != ide.JobQueued || j.Attempt != 0 {
		t.Errorf("got job %+v, want it queued and no attempt counted", j)
	}
	deliver(t.Context(), b.Deps, out.Job.ID, 1) // whose queue nobody here knows
	b.must(DeliverDue(t.Context(), b.Deps))
	if n := len(b.rdb.Keys(t.Context(), "asynq:*").Val()); n != 0 {
		t.Errorf("%d keys of the queue, want none", n)
	}
}

func TestArgumentsThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	bare := b.admit(testBare, scriptedArgs{}).Job.ID
	for _, id := range []string{job, bare} {
		b.must(b.rdb.HSet(t.Context(), "{berth}:j:"+id, "args", `{"id":7}`).Err())
	}
	retry(t, b.play(job, script{}), time.Second) // who can read them may clean up
	if j := b.job(job); j.Status != ide.JobRetrying || j.Error.Message != "The job's arguments cannot be read." {
		t.Errorf("got %s (%v), want it open", j.Status, j.Error)
	}
	b.must(b.play(bare, script{}))
	if j := b.job(bare); j.Status != ide.JobFailed {
		t.Errorf("got %s, want failed: there is nothing to clean up", j.Status)
	}
}

func TestJobsOfOneContainerTakeTurns(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.admit(testUsual, scriptedArgs{})
	second := b.admit(testOther, scriptedArgs{ID: first.Container.ID})
	runs, fails := 0, 0
	b.must(b.play(first.Job.ID, script{run: func(context.Context) error {
		b.must(b.play(second.Job.ID, failed(nil, nil, &runs, &fails)))
		if j := b.job(second.Job.ID); j.Status != ide.JobQueued || j.Attempt != 0 || runs != 0 {
			t.Errorf("the second job is %s after %d runs while the first works", j.Status, runs)
		}
		b.lose(second.Job.ID, 1) // acknowledged
		return nil
	}}))
	b.delivery(second.Job.ID, 1, queue.Waiting) // who ends the attempt delivers those that wait
	b.must(b.play(second.Job.ID, failed(nil, nil, &runs, &fails)))
	if j := b.job(second.Job.ID); j.Status != ide.JobSucceeded || runs != 1 {
		t.Errorf("got %s after %d runs, want succeeded", j.Status, runs)
	}
}

func TestRetryWakesThoseThatWait(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.admit(testUsual, scriptedArgs{})
	second := b.admit(testOther, scriptedArgs{ID: first.Container.ID})
	b.lose(second.Job.ID, 1)
	retry(t, b.play(first.Job.ID, script{run: func(context.Context) error { return errStranger }}), time.Second)
	b.delivery(second.Job.ID, 1, queue.Waiting)
}

func TestRedisGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	away := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1, DialerRetries: 1})
	defer away.Close()
	d := *b.Deps
	d.Store, d.Queue = store.New(away, store.Config{}), queue.New(away)
	retry(t, Execute(t.Context(), &d, newest(job)), time.Second)
	wantError(t, "DeliverDue", DeliverDue(t.Context(), &d), ide.QueueUnavailable, false)
	_, err := Cancel(t.Context(), &d, alice, job)
	wantError(t, "Cancel", err, ide.QueueUnavailable, false)
	wake(t.Context(), &d, []string{job})
	nudge(t.Context(), &d, job)
	deliver(t.Context(), &d, job, 1)
	for _, msg := range []string{"deliveries are left to the ticker", "delivery is left to the ticker"} {
		if !strings.Contains(b.log.String(), msg) {
			t.Errorf("the log does not say %q", msg)
		}
	}
}

func TestRedisGoneAtTheEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	out := b.admit(testUsual, scriptedArgs{})
	for name, err := range map[string]error{"success": nil, "failure": ide.Errorf(ide.Internal, "no")} {
		ctx, cancel := context.WithCancel(t.Context())
		h, terr := b.Store.Take(ctx, out.Job.ID, 1)
		b.must(terr)
		cancel() // no call to Redis gets through
		r := &running{held: h, info: registry["test-usual"]}
		t.Log(name)
		retry(t, r.finish(ctx, b.Deps, b.Log, err), 2*time.Second)
		b.must(b.rdb.Del(t.Context(), "{berth}:lease:"+out.Container.ID).Err())
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
