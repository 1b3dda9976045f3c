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

	"github.com/redis/go-redis/v9"
)

func (b *bench) deliverDue() {
	b.Helper()
	b.must(DeliverDue(b.Context(), b.Deps))
}

func dueIn(job string, d time.Duration) redis.Z {
	return redis.Z{Score: float64(time.Now().Add(d).UnixMilli()), Member: job}
}

func TestEnqueueDelivers(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	job := b.admit(testUsual, scriptedArgs{}).Job.ID
	b.delivery(job, 1, queue.Waiting)
	info, err := b.tasks.GetTaskInfo(queue.Default, job+"#1")
	b.must(err)
	if want := 3 * time.Minute; info.Timeout != want {
		t.Errorf("the queue gives it %v, want %v: an attempt, and cleaning up after it", info.Timeout, want)
	}
}

func TestAskingForAnOpenJobGivesIt(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.admit(testUsual, scriptedArgs{})
	again := b.admit(testUsual, scriptedArgs{ID: first.Container.ID})
	if !again.Open || again.Job.ID != first.Job.ID {
		t.Errorf("got %+v, want the open job %s", again, first.Job.ID)
	}
	b.delivery(first.Job.ID, 2, queue.Absent)
}

func TestDeliverDue(t *testing.T) {
	t.Parallel()
	t.Run("absent: the same delivery comes", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.lose(job, 1)
		b.deliverDue()
		b.delivery(job, 1, queue.Waiting)
	})
	t.Run("stale: the next delivery comes", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.must(b.tasks.ArchiveTask(queue.Default, job+"#1"))
		b.delivery(job, 1, queue.Stale)
		b.deliverDue()
		b.delivery(job, 2, queue.Waiting)
		b.deliverDue()
		b.delivery(job, 3, queue.Absent)
	})
	t.Run("waiting: nothing is done", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.deliverDue()
		b.delivery(job, 2, queue.Absent)
		if list, err := b.tasks.ListPendingTasks(queue.Default); err != nil || len(list) != 1 {
			t.Errorf("got %d tasks, %v, want 1", len(list), err)
		}
	})
	t.Run("a lease is held: nothing is done", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.lose(job, 1)
		if _, err := b.Store.Take(t.Context(), job, 1); err != nil {
			t.Fatal(err)
		}
		b.deliverDue()
		b.delivery(job, 1, queue.Absent)
	})
	t.Run("not due yet: nothing is done", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.lose(job, 1)
		retry(t, b.play(job, script{run: func(context.Context) error { return errStranger }}), time.Second)
		b.must(b.rdb.ZAdd(t.Context(), "{berth}:j:due", dueIn(job, time.Minute)).Err())
		b.deliverDue()
		b.delivery(job, 1, queue.Absent)
		b.must(b.rdb.ZAdd(t.Context(), "{berth}:j:due", dueIn(job, 0)).Err())
		b.deliverDue()
		b.delivery(job, 1, queue.Waiting)
	})
	t.Run("ended: nothing is done", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		job := b.admit(testUsual, scriptedArgs{}).Job.ID
		b.must(b.play(job, script{run: func(context.Context) error { return nil }}))
		b.lose(job, 1)
		b.deliverDue()
		b.delivery(job, 1, queue.Absent)
	})
}

func TestForceWakesAStopThatWaits(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	b.engine.Fail("", "/services", 500, -1)
	retry(t, Execute(t.Context(), b.Deps, newest(job)), time.Second)
	b.stop(StopContainerArgs{ID: c.ID})
	b.delivery(job, 2, queue.Absent) // asking again alone changes nothing
	again := b.stop(StopContainerArgs{ID: c.ID, Force: true})
	if !again.Open || again.Job.ID != job {
		t.Errorf("got job %s, want the open %s", again.Job.ID, job)
	}
	b.delivery(job, 2, queue.Waiting)
	b.engine.Heal()
	b.execute(job, ide.JobSucceeded)
}

func TestIdempotencyKey(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ask := func(key, bucket string) (store.Admitted, error) {
		return CreateContainer.Enqueue(t.Context(), b.Deps, alice,
			&CreateContainerArgs{Request: Request{IdempotencyKey: key}, Body: CreateContainerRequest{S3Bucket: bucket, VNCPassword: "hunter22"}})
	}
	first, err := ask("k", "workspace")
	b.must(err)
	again, err := ask("k", "workspace")
	b.must(err)
	if !strings.Contains(again.Answered, first.Container.ID) || !strings.Contains(again.Answered, first.Job.ID) {
		t.Errorf("the second answer is %q, want the first container %s", again.Answered, first.Container.ID)
	}
	_, err = ask("k", "other-workspace")
	wantError(t, "the same key with another body", err, ide.IdempotencyKeyReused, true)
	for _, key := range []string{"", "k2"} {
		if other, err := ask(key, "workspace"); err != nil || other.Answered != "" || other.Container.ID == first.Container.ID {
			t.Errorf("key %q: got %+v, %v, want another container", key, other, err)
		}
	}
	if _, total, err := b.Store.Containers(t.Context(), store.Filter{Limit: 1}); err != nil || total != 3 {
		t.Errorf("got %d containers, %v, want 3", total, err)
	}
}

func TestDefinePanics(t *testing.T) {
	t.Parallel()
	good := func() Function[scriptedArgs] {
		return Function[scriptedArgs]{Name: "test-new", Queue: queue.Low, Attempts: 1, Timeout: time.Second,
			Admit: func(context.Context, *Deps, ide.Principal, *scriptedArgs) (store.Admission, error) {
				return store.Admission{}, nil
			},
			Run: func(context.Context, *Deps, scriptedArgs) error { return nil }}
	}
	for name, spoil := range map[string]func(*Function[scriptedArgs]){
		"is defined twice": func(f *Function[scriptedArgs]) { f.Name = "container-create" },
		"lacks a name":     func(f *Function[scriptedArgs]) { f.Name = "" },
		"queue":            func(f *Function[scriptedArgs]) { f.Queue = "" },
		"timeout":          func(f *Function[scriptedArgs]) { f.Timeout = 0 },
		"attempts":         func(f *Function[scriptedArgs]) { f.Attempts = 0 },
		"or Admit":         func(f *Function[scriptedArgs]) { f.Admit = nil },
		"Run":              func(f *Function[scriptedArgs]) { f.Run = nil },
		"parse schedule":   func(f *Function[scriptedArgs]) { f.Cron = "whenever" },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				text, _ := recover().(string)
				if !strings.Contains(text, name) {
					t.Errorf("got panic %q, want %q", text, name)
				}
				if registry["test-new"] != nil {
					t.Error("it was recorded all the same")
				}
			}()
			f := good()
			spoil(&f)
			define(f)
		})
	}
}

func TestRetryErrorTellsNoStrangersText(t *testing.T) {
	t.Parallel()
	err := error(&RetryError{After: 1500 * time.Millisecond, Err: errStranger})
	if want := "again in 1.5s: Something went wrong on our side."; err.Error() != want || !errors.Is(err, errStranger) {
		t.Errorf("got %q, want %q with its cause", err, want)
	}
}
