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
	"sync/atomic"
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
	Guard       *Guard        // keeps this node's protections; nil is none
	HighWater   ide.HighWater // above which this node takes nothing more
	PinnedAfter time.Duration // at its CPU limit without a break, a container is told of; 0 is never
	HostProc    string        // the /proc of the machine; empty is /proc
	LogRate     int           // lines a second that a container may print, and five times as many at once; 0 is any number
}

// Worker runs functions. Any number of workers may share a Redis.
type Worker struct {
	cfg  Config
	deps *functions.Deps
	rdb  redis.UniversalClient
	log  *slog.Logger
	id   string

	inFlight atomic.Int64 // functions that run
	node     nodeState
	ship     *logShip
}

// New returns a Worker.
func New(rdb redis.UniversalClient, deps *functions.Deps, cfg Config) *Worker {
	id := ide.NewID()
	if cfg.HostProc == "" {
		cfg.HostProc = "/proc"
	}
	if cfg.Guard == nil {
		cfg.Guard = NewGuard(deps.Swarm, GuardConfig{}, deps.Log)
	}
	own := *deps
	w := &Worker{cfg: cfg, deps: &own, rdb: rdb, log: deps.Log.With("worker", id), id: id, node: nodeState{lost: map[string]bool{}}}
	w.node.refused.Store(cfg.Guard.Refuses())
	w.ship = newLogShip(w)
	own.Node, own.LogRead = w.Node, w.ship.Read
	return w
}

// Run works until ctx ends. Then it takes no more jobs, lets the running ones
// go on for the grace period, and hands back what is not done by then.
func (w *Worker) Run(ctx context.Context) error {
	if err := w.deps.Store.Ping(ctx); err != nil {
		return fmt.Errorf("reach redis: %w", err) // asynq's Start would not say
	}
	// Before the first report: protections that a worker before has left stand,
	// and its node goes on taking containers.
	if err := w.isolate(ctx); err != nil {
		w.log.Info("filter does not stand yet", "err", err)
	}
	group, loops := errgroup.WithContext(ctx)
	group.Go(func() error { w.every(loops, 5*time.Second, "deliver due jobs", w.deliverDue); return nil })
	group.Go(func() error { return w.cron(loops) })
	group.Go(func() error { w.every(loops, 5*time.Second, "report node", w.report); return nil })
	group.Go(func() error { w.every(loops, time.Second, "keep isolation", w.isolate); return nil })
	group.Go(func() error { w.every(loops, 500*time.Millisecond, "remove volumes", w.dropVolumes); return nil })
	group.Go(func() error { w.webhooks(loops); return nil })
	group.Go(func() error { w.every(loops, 20*time.Second, "look for stray volumes", w.sweepVolumes()); return nil })
	group.Go(func() error { w.every(loops, time.Second, "listen to engine", w.listen); return nil })
	group.Go(func() error { newDoorman(w).Run(loops); return nil })
	group.Go(func() error { w.ship.Run(loops); return nil })
	group.Go(func() error { w.every(loops, measureEvery, "measure", newMeter(w).Measure); return nil })
	group.Go(func() error { w.every(loops, 30*time.Second, "count addresses", w.countAddresses); return nil })
	group.Go(func() error { w.every(loops, 5*time.Second, "give images", w.giveImages); return nil })
	group.Go(func() error { return w.serve(loops) })
	err := group.Wait()
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	if err := w.deps.Store.Leave(bye, w.id); err != nil {
		w.log.Warn("worker could not sign off", "err", err)
	}
	return err
}

// webhooks delivers what endpoints are to be told, on every node: it needs no
// engine. What has begun when ctx ends is finished.
func (w *Worker) webhooks(ctx context.Context) {
	courier := functions.NewCourier(w.deps)
	w.every(ctx, 200*time.Millisecond, "deliver webhooks", courier.Deliver)
	courier.Wait()
}

// place is what decides which queues a worker serves: its node's while it is
// known, and the shared ones while the engine there is a manager that answers, for
// no other can write to the Swarm.
type place struct {
	node    string
	manager bool
}

// silentReports is how many times in a row an engine may not answer before its
// worker leaves the shared queues to others.
const silentReports = 2

func (w *Worker) place() place {
	return place{w.Node(), w.node.manager.Load() && w.node.silent.Load() < silentReports}
}

// pool is some slots and the queues that they are for.
type pool struct {
	slots  int
	queues map[string]int
}

// lowSlots is more than there are sweeps, each of which runs once at a time.
const lowSlots = 12

// pools returns what a worker serves. Starts and stops share its slots; a few more
// are for stops only, and others for sweeps: whatever starts wait for, there is
// room to stop something and to put something right.
func (p place) pools(slots int) []pool {
	shared := map[string]int{}
	if p.manager {
		shared = queue.Weights()
		delete(shared, queue.Low)
	}
	if p.node != "" {
		shared[queue.OfNode(p.node)] = 3
	}
	switch {
	case len(shared) == 0:
		return nil
	case !p.manager:
		return []pool{{slots, shared}}
	}
	return []pool{{slots, shared}, {max(1, slots/4), map[string]int{queue.Critical: 1}}, {lowSlots, map[string]int{queue.Low: 1}}}
}

// placePoll is how soon a change of the node's role is seen here, after the
// report that told of it.
const placePoll = 50 * time.Millisecond

// serve takes jobs from the queues of its place.
func (w *Worker) serve(ctx context.Context) error {
	for ctx.Err() == nil {
		at := w.place()
		if len(at.pools(w.cfg.Concurrency)) == 0 {
			select {
			case <-ctx.Done():
			case <-time.After(placePoll):
			}
			continue
		}
		if err := w.take(ctx, at); err != nil {
			return err
		}
	}
	return nil
}

// take runs jobs until ctx ends, or until the worker's place is another.
func (w *Worker) take(ctx context.Context, at place) error {
	base, interrupt := context.WithCancelCause(context.WithoutCancel(ctx))
	defer interrupt(nil)
	mux := asynq.NewServeMux()
	mux.HandleFunc(queue.JobTask, func(_ context.Context, t *asynq.Task) error { return w.job(base, t) })
	var servers []*asynq.Server
	for _, p := range at.pools(w.cfg.Concurrency) {
		srv := asynq.NewServerFromRedisClient(w.rdb, asynq.Config{
			Concurrency: p.slots, Queues: p.queues,
			TaskCheckInterval: 50 * time.Millisecond, DelayedTaskCheckInterval: 500 * time.Millisecond,
			ShutdownTimeout: 5 * time.Second, RetryDelayFunc: retryDelay, IsFailure: func(error) bool { return false },
			Logger: asynqLog{w.log}, LogLevel: asynq.WarnLevel,
		})
		if err := srv.Start(mux); err != nil {
			return fmt.Errorf("start queue server: %w", err)
		}
		defer srv.Shutdown()
		servers = append(servers, srv)
	}
	w.log.Info("worker runs", "concurrency", w.cfg.Concurrency, "node", at.node, "manager", at.manager)

	look := time.NewTicker(time.Second)
	defer look.Stop()
	for w.place() == at && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-look.C:
		}
	}
	for _, srv := range servers {
		srv.Stop()
	}
	w.log.Info("worker drains", "grace", w.cfg.Grace)
	w.drain(interrupt)
	return nil
}

// drain waits for running functions, and interrupts them when the grace
// period is over. It polls: the queue server may hand out one more while it is
// told to stop, which a sync.WaitGroup does not bear.
func (w *Worker) drain(interrupt context.CancelCauseFunc) {
	if w.quiet(w.cfg.Grace) {
		return
	}
	interrupt(functions.ErrShutdown)
	if !w.quiet(5 * time.Second) {
		w.log.Error("functions did not end in time")
	}
}

// quiet says whether no function runs any more, at the latest after a time.
func (w *Worker) quiet(within time.Duration) bool {
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for end := time.Now().Add(within); w.inFlight.Load() > 0; <-look.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// job runs a job. Its context is ours and not asynq's, whose end does not
// wait for a handler.
func (w *Worker) job(ctx context.Context, t *asynq.Task) error {
	w.inFlight.Add(1)
	defer w.inFlight.Add(-1)
	var d queue.Delivery
	if err := json.Unmarshal(t.Payload(), &d); err != nil {
		return fmt.Errorf("decode delivery: %w: %w", err, asynq.SkipRetry)
	}
	return functions.Execute(ctx, w.deps, d)
}

// deliverDue is the ticker of rule 4.
func (w *Worker) deliverDue(ctx context.Context) error { return functions.DeliverDue(ctx, w.deps) }

// every calls do now and then at each interval, until ctx ends.
func (w *Worker) every(ctx context.Context, interval time.Duration, name string, do func(context.Context) error) {
	every(ctx, w.log, interval, name, do)
}

// every calls do now and then at each interval, until ctx ends. An error is
// logged when it begins, and again when it is over.
func every(ctx context.Context, log *slog.Logger, interval time.Duration, name string, do func(context.Context) error) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	failing := false
	for {
		err := do(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			log.Warn("loop fails", "loop", name, "err", err)
		case err == nil && failing:
			log.Info("loop works again", "loop", name)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
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
