// Package worker is asynq's server side: it runs functions from the queue,
// finds jobs whose delivery was lost, asks for scheduled functions at their
// instants, and says what its node is like.
package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"berth/functions"
	"berth/internal/ide"
	"berth/queue"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"
)

// Config of a worker.
type Config struct {
	Version     string
	Concurrency int           // functions at once; they mostly wait for Swarm
	Grace       time.Duration // how long running functions may go on when the worker is to end
	Isolation   bool          // keep the filter between containers on this node
	ExecRoot    string        // the engine's, where network namespaces are found
}

// Worker runs functions. Any number of workers may share a Redis.
type Worker struct {
	cfg  Config
	deps *functions.Deps
	rdb  redis.UniversalClient
	log  *slog.Logger
	id   string

	inFlight sync.WaitGroup
	node     nodeState
}

// New returns a Worker.
func New(rdb redis.UniversalClient, deps *functions.Deps, cfg Config) *Worker {
	id := ide.NewID()
	return &Worker{cfg: cfg, deps: deps, rdb: rdb, log: deps.Log.With("worker", id), id: id}
}

// Run works until ctx ends. Then it takes no more jobs, lets the running ones
// go on for the grace period, and hands back what is not done by then.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.deps.Store.Ping(ctx); err != nil {
		return fmt.Errorf("reach redis: %w", err) // asynq's Start would not say
	}
	group, loops := errgroup.WithContext(ctx)
	group.Go(func() error { w.every(loops, 5*time.Second, "deliver due jobs", w.deliverDue); return nil })
	group.Go(func() error { w.cron(loops); return nil })
	group.Go(func() error { w.every(loops, 5*time.Second, "report node", w.report); return nil })
	group.Go(func() error { w.every(loops, time.Second, "keep isolation", w.isolate); return nil })
	group.Go(func() error { return w.serve(loops) })
	err := group.Wait()
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.deps.Store.Leave(bye, w.id); err != nil {
		w.log.Warn("worker could not sign off", "err", err)
	}
	return err
}

// managerPoll is how soon a change of the node's role is seen here, after the
// report that told of it.
const managerPoll = 50 * time.Millisecond

// serve takes jobs from the queue while the engine of this node is a manager:
// no other can write to the Swarm.
func (w *Worker) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		if !w.node.manager.Load() {
			select {
			case <-ctx.Done():
			case <-time.After(managerPoll):
			}
			continue
		}
		if err := w.take(ctx); err != nil {
			return err
		}
	}
	return nil
}

// take runs jobs until ctx ends, or until this node is no manager any more.
func (w *Worker) take(ctx context.Context) error {
	base, interrupt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer interrupt(nil)
	srv := asynq.NewServerFromRedisClient(w.rdb, asynq.Config{
		Concurrency: w.cfg.Concurrency, Queues: queue.Weights(),
		TaskCheckInterval: 50 * time.Millisecond, DelayedTaskCheckInterval: 500 * time.Millisecond,
		ShutdownTimeout: 5 * time.Second, RetryDelayFunc: retryDelay, IsFailure: func(error) bool { return false },
		Logger: asynqLog{w.log}, LogLevel: asynq.WarnLevel,
	})
	mux := asynq.NewServeMux()
	mux.HandleFunc(queue.JobTask, func(_ context.Context, t *asynq.Task) error { return w.job(base, t) })
	mux.HandleFunc(queue.CronTask, func(_ context.Context, t *asynq.Task) error { return w.tick(base, t) })
	if err := srv.Start(mux); err != nil {
		return fmt.Errorf("start queue server: %w", err)
	}
	w.log.Info("worker runs", "concurrency", w.cfg.Concurrency)

	look := time.NewTicker(time.Second)
	defer look.Stop()
	for w.node.manager.Load() && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
		}
	}
	srv.Stop()
	w.log.Info("worker drains", "grace", w.cfg.Grace)
	w.drain(interrupt)
	srv.Shutdown()
	return nil
}

// drain waits for running functions, and interrupts them when the grace
// period is over.
func (w *Worker) drain(interrupt context.CancelCauseFunc) {
	done := make(chan struct{})
	go func() { w.inFlight.Wait(); close(done) }()
	select {
	case <-done:
		return
	case <-time.After(w.cfg.Grace):
	}
	interrupt(functions.ErrShutdown)
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		w.log.Error("functions did not end in time")
	}
}

// job runs a job. Its context is ours and not asynq's, whose end does not
// wait for a handler.
func (w *Worker) job(ctx context.Context, t *asynq.Task) error {
	w.inFlight.Add(1)
	defer w.inFlight.Done()
	var d queue.Delivery
	if err := json.Unmarshal(t.Payload(), &d); err != nil {
		return fmt.Errorf("decode delivery: %w: %w", err, asynq.SkipRetry)
	}
	return functions.Execute(ctx, w.deps, d)
}

// tick opens the job of a scheduled function.
func (w *Worker) tick(ctx context.Context, t *asynq.Task) error {
	var tick queue.Tick
	if err := json.Unmarshal(t.Payload(), &tick); err != nil {
		return fmt.Errorf("decode tick: %w: %w", err, asynq.SkipRetry)
	}
	_, err := functions.OpenScheduled(ctx, w.deps, tick.Function)
	if ide.HasCode(err, ide.NotFound) {
		return fmt.Errorf("%w: %w", err, asynq.SkipRetry) // of another release; asynq counts no failures here and would never give up
	}
	return err
}

// deliverDue is the ticker of rule 4.
func (w *Worker) deliverDue(ctx context.Context) error { return functions.DeliverDue(ctx, w.deps) }

// every calls do now and then at each interval, until ctx ends. An error is
// logged when it begins, and again when it is over.
func (w *Worker) every(ctx context.Context, interval time.Duration, name string, do func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			w.log.Warn("loop fails", "loop", name, "err", err)
		case err == nil && failing:
			w.log.Info("loop works again", "loop", name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// cron asks for one delivery of every scheduled function at each of its
// instants. All workers do; the queue makes one of it.
func (w *Worker) cron(ctx context.Context) {
	for {
		now := time.Now()
		var next time.Time
		var names []string
		for _, f := range functions.All() {
			if f.Cron == "" {
				continue
			}
			schedule, err := queue.ParseSchedule(f.Cron)
			if err != nil {
				w.log.Error("schedule cannot be read", "function", f.Name, "err", err)
				continue
			}
			switch at := queue.Next(schedule, now); {
			case next.IsZero() || at.Before(next):
				next, names = at, []string{f.Name}
			case at.Equal(next):
				names = append(names, f.Name)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(next)):
		}
		for _, name := range names {
			if err := w.deps.Queue.DeliverTick(ctx, queue.Tick{Function: name, At: next}); err != nil {
				w.log.Warn("scheduled function was not asked for", "function", name, "err", err)
			}
		}
	}
}

// retryDelay is how long asynq waits before it brings a delivery again.
func retryDelay(n int, err error, _ *asynq.Task) time.Duration {
	var again *functions.RetryError
	if errors.As(err, &again) {
		return again.After
	}
	return min(time.Second<<min(n, 5), 30*time.Second)
}

// asynqLog hands asynq's own lines on.
type asynqLog struct{ log *slog.Logger }

func (l asynqLog) Debug(args ...any) { l.log.Debug("asynq", "line", fmt.Sprint(args...)) }
func (l asynqLog) Info(args ...any)  { l.log.Info("asynq", "line", fmt.Sprint(args...)) }
func (l asynqLog) Warn(args ...any)  { l.log.Warn("asynq", "line", fmt.Sprint(args...)) }
func (l asynqLog) Error(args ...any) { l.log.Error("asynq", "line", fmt.Sprint(args...)) }
func (l asynqLog) Fatal(args ...any) { l.log.Error("asynq", "line", fmt.Sprint(args...)) }
