package functions

import (
	"context"
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
	begun := time.Now()
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
	if err != nil || len(events) == 0 {
		t.Fatalf("got %d events, %v", len(events), err)
	}
	if last := events[len(events)-1]; last.Type != "job.failed" || last.Job != j.ID || last.Message != "No such image." {
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
