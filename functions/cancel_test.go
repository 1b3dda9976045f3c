package functions

import (
	"context"
	"errors"
	"testing"
	"time"

	"berth/internal/ide"
	"berth/queue"

	"github.com/google/go-cmp/cmp"
)

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
