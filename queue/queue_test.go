package queue

import (
	"context"
	"encoding/json"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/ide"
	"berth/internal/redistest"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

func init() { logging.Disable() } // go-redis tells stderr of every Redis that is meant to be away

const job = "container-create:k3xqh5zt2mwfa:1"

// gone returns a client of a Redis that nobody runs.
func gone(t *testing.T) *redis.Client {
	t.Helper()
	c := redis.NewClient(&redis.Options{Network: "unix", Addr: t.TempDir() + "/none", MaxRetries: -1})
	t.Cleanup(func() { c.Close() })
	return c
}

func deliver(t *testing.T, c *Client, number int) {
	t.Helper()
	if err := c.Deliver(t.Context(), job, number, Default, time.Minute); err != nil {
		t.Fatal(err)
	}
}

// stateIs checks what the queue knows of a delivery.
func stateIs(t *testing.T, c *Client, number int, want State) {
	t.Helper()
	got, err := c.State(job, number, Default)
	if err != nil || got != want {
		t.Errorf("delivery %d: got state %d, %v, want %d", number, got, err, want)
	}
}

func TestDeliveringTwiceMakesOneTask(t *testing.T) {
	t.Parallel()
	c := New(redistest.New(t))
	stateIs(t, c, 1, Absent) // there is no such queue yet
	deliver(t, c, 1)
	deliver(t, c, 1)
	tasks, err := c.inspector.ListPendingTasks(Default)
	if err != nil {
		t.Fatal(err)
	}
	if len(tasks) != 1 || tasks[0].ID != job+"#1" || tasks[0].Type != JobTask || tasks[0].Timeout != time.Minute {
		t.Fatalf("got tasks %+v, want one of delivery 1", tasks)
	}
	var d Delivery
	if err := json.Unmarshal(tasks[0].Payload, &d); err != nil || d.Job != job {
		t.Errorf("got payload %s, %v, want job %s", tasks[0].Payload, err, job)
	}
	stateIs(t, c, 1, Waiting)
	stateIs(t, c, 2, Absent)
	deliver(t, c, 2)
	if tasks, err := c.inspector.ListPendingTasks(Default); err != nil || len(tasks) != 2 {
		t.Errorf("got %d tasks, %v, want 2: the next delivery is another", len(tasks), err)
	}
}

func TestStateFollowsADelivery(t *testing.T) {
	t.Parallel()
	rdb := redistest.New(t)
	c := New(rdb).Within(time.Minute)
	deliver(t, c, 1)
	deliver(t, c, 2)
	if err := c.inspector.ArchiveTask(Default, taskID(job, 2)); err != nil {
		t.Fatal(err)
	}
	stateIs(t, c, 2, Stale)

	taken, outcome := make(chan struct{}), make(chan error)
	srv := asynq.NewServerFromRedisClient(rdb, asynq.Config{
		Concurrency: 1, Queues: Weights(), TaskCheckInterval: 5 * time.Millisecond, LogLevel: asynq.FatalLevel,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return time.Hour },
	})
	if err := srv.Start(asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		taken <- struct{}{}
		return <-outcome
	})); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(srv.Shutdown)
	<-taken
	stateIs(t, c, 1, Stale)
	outcome <- context.Canceled
	until(t, "the task waits for another try", func() bool {
		s, err := c.State(job, 1, Default)
		return err == nil && s == Waiting
	})
	if err := c.inspector.RunTask(Default, taskID(job, 1)); err != nil {
		t.Fatal(err)
	}
	<-taken
	outcome <- nil
	until(t, "the task is acknowledged", func() bool {
		s, err := c.State(job, 1, Default)
		return err == nil && s == Absent
	})
}

func TestRedisGoneIsTransient(t *testing.T) {
	t.Parallel()
	c := New(gone(t))
	_, stateErr := c.State(job, 1, Default)
	for call, err := range map[string]error{
		"Deliver": c.Deliver(t.Context(), job, 1, Default, time.Minute),
		"State":   stateErr,
	} {
		if !ide.HasCode(err, ide.QueueUnavailable) || ide.IsPermanent(err) {
			t.Errorf("%s: got %v, want a transient QUEUE_UNAVAILABLE", call, err)
		}
	}
}

// deaf is a Redis that takes calls and does not answer them.
type deaf struct{}

func (deaf) DialHook(next redis.DialHook) redis.DialHook { return next }
func (deaf) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (deaf) ProcessHook(redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, _ redis.Cmder) error {
		<-ctx.Done()
		return ctx.Err()
	}
}

func TestADeliveryEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		rdb := redis.NewClient(&redis.Options{Addr: "192.0.2.1:6379"})
		defer rdb.Close()
		rdb.AddHook(deaf{})
		for within, c := range map[time.Duration]*Client{enqueueTimeout: New(rdb), time.Minute: New(rdb).Within(time.Minute)} {
			began := time.Now()
			err := c.Deliver(t.Context(), job, 1, Default, time.Minute)
			if took := time.Since(began); took != within || !ide.HasCode(err, ide.QueueUnavailable) || ide.IsPermanent(err) {
				t.Errorf("got %v after %v, want a transient QUEUE_UNAVAILABLE after %v", err, took, within)
			}
		}
	})
}

func TestNextIsTheSameForEveryWorker(t *testing.T) {
	t.Parallel()
	day := func(clock string) time.Time {
		at, err := time.Parse(time.DateTime, "2026-03-29 "+clock)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	for _, tc := range []struct {
		name, schedule string
		from           time.Time
		want           time.Time
	}{
		{"@every counts from the same instant everywhere", "@every 15s", day("10:00:07"), day("10:00:15")},
		{"@every on its instant is the next one", "@every 15s", day("10:00:15"), day("10:00:30")},
		{"@every that does not divide an hour", "@every 7m", time.Time{}.Add(13 * time.Minute), time.Time{}.Add(14 * time.Minute)},
		{"@every of a worker in another zone", "@every 1h", day("10:20:00").In(time.FixedZone("", 19800)), day("11:00:00")},
		{"cron", "17 * * * *", day("10:17:01"), day("11:17:00")},
		{"cron on its instant is the next one", "17 * * * *", day("10:17:00"), day("11:17:00")},
		{"cron is UTC wherever the worker is", "0 3 * * *", day("01:00:00").In(time.FixedZone("", 7200)), day("03:00:00")},
		{"descriptor", "@daily", day("10:00:00"), day("00:00:00").AddDate(0, 0, 1)},
	} {
		s, err := ParseSchedule(tc.schedule)
		if err != nil {
			t.Fatal(err)
		}
		if got := Next(s, tc.from); !got.Equal(tc.want) {
			t.Errorf("%s: Next(%q, %v) = %v, want %v", tc.name, tc.schedule, tc.from, got, tc.want)
		}
	}
}

func TestParseScheduleRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"", "* * * *", "61 * * * *", "@every", "@every soon", "@never"} {
		if _, err := ParseSchedule(s); err == nil {
			t.Errorf("ParseSchedule(%q) succeeded", s)
		}
	}
}

func TestFunctionOf(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{job: "container-create", "sweep-jobs::4": "sweep-jobs", "odd": "odd", "": ""} {
		if got := FunctionOf(id); got != want {
			t.Errorf("FunctionOf(%q) = %q, want %q", id, got, want)
		}
	}
}

// until polls. Its limit counts looks, not time: a machine that stands still
// makes none.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 6000 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("did not happen in time: %s", what)
}
