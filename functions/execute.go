package functions

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// RetryError asks the queue to bring a delivery again after a while.
type RetryError struct {
	After time.Duration
	Err   error
}

// Error is kept in Redis by the queue, so it holds no stranger's text.
func (e *RetryError) Error() string {
	return fmt.Sprintf("again in %s: %s", e.After.Round(time.Millisecond), ide.AsError(e.Err).Message)
}
func (e *RetryError) Unwrap() error { return e.Err }

// Why a run was ended before its time, as causes of its context.
var (
	errCanceled   = ide.Errorf(ide.Canceled, "The job was canceled.")
	errSuperseded = ide.Errorf(ide.Canceled, "The container was moved on by another request.")
	// ErrShutdown is the cause with which a worker that must end cancels what
	// it runs: the job is handed back at once, its attempt not counted.
	ErrShutdown = errors.New("the worker shuts down")
)

// Execute works on one delivery of a job. A nil error acknowledges it; a
// *RetryError brings it again.
func Execute(ctx context.Context, d *Deps, delivery queue.Delivery) error {
	job := delivery.Job
	next, err := d.Store.Turn(ctx, job)
	if err != nil {
		return &RetryError{After: time.Second, Err: err}
	}
	wake(ctx, d, next)
	h, err := d.Store.Take(ctx, job, delivery.Number)
	switch {
	case errors.Is(err, store.ErrEnded), errors.Is(err, store.ErrHeld), errors.Is(err, store.ErrWaits):
		return nil // whoever ends the attempt delivers those that wait
	case err != nil:
		return &RetryError{After: time.Second, Err: err}
	}
	log := d.Log.With("job", job, "function", h.Job.Function, "container", h.Job.Container, "attempt", h.Job.Attempt)
	f, ok := registry[h.Job.Function]
	if !ok {
		log.Error("unknown function")
		return again(ctx, d, h, time.Minute, true, errors.New("unknown function "+h.Job.Function))
	}
	h.Keep = f.Keep
	log.Debug("job begins")
	ctx, end := d.traced(ctx, h.Job)
	start := time.Now()
	r := &running{held: h, info: f}
	ctx, lost := context.WithCancelCause(ctx) // ends everything
	defer lost(nil)
	run, interrupt := context.WithCancelCause(ctx) // ends the function, not the cleaning up after it
	defer interrupt(nil)
	go r.renew(ctx, lost, interrupt)
	err = r.attempt(run, d)
	defer end(err)
	log = log.With("took", time.Since(start).Round(time.Millisecond))
	if cause := context.Cause(ctx); errors.Is(cause, store.ErrLost) || errors.Is(err, store.ErrLost) {
		log.Warn("lease lost, somebody else goes on")
		return nil
	} else if errors.Is(cause, ErrShutdown) {
		log.Info("job handed back")
		return r.handBack(context.WithoutCancel(ctx), d)
	}
	return r.finish(ctx, d, log, err)
}

// attempt runs the function once, unless an earlier attempt gave up.
func (r *running) attempt(ctx context.Context, d *Deps) error {
	h := r.held
	if h.Failing {
		return h.Job.Error
	}
	if h.Job.Attempt > r.info.Attempts {
		return r.spent()
	}
	if h.Flags.Cancel && r.info.Cancelable {
		return errCanceled
	}
	if r.info.Queue == queue.OnNode && (d.Node == nil || d.Node() != h.Job.Node) {
		return ide.Errorf(ide.NotFound, "The node has left the Swarm.")
	}
	ctx, cancel := context.WithTimeoutCause(ctx, r.info.Timeout, ide.Transient(ide.Timeout, nil, "It took longer than %s.", r.info.Timeout))
	defer cancel()
	err := r.info.run(context.WithValue(ctx, runningKey{}, r), d, h.Args)
	if err == nil {
		r.endStep(nil)
		return nil
	}
	var code *ide.Error
	if cause := context.Cause(ctx); errors.Is(cause, ErrShutdown) {
		return err // handBack says why the step ended
	} else if errors.As(err, new(*waits)) && cause == nil {
		return err // the step goes on with the next delivery
	} else if errors.As(cause, &code) {
		err = code // the reason, not "context canceled"
	}
	r.endStep(err)
	return err
}

// spent is the error of a job whose workers ended in the middle of each of
// its attempts.
func (r *running) spent() error {
	if e := r.held.Job.Error; e != nil {
		return &ide.Error{Code: e.Code, Message: e.Message, Details: e.Details, Permanent: true}
	}
	return ide.Errorf(ide.Internal, "It was begun %d times and never ended.", r.info.Attempts)
}

// finish writes what became of an attempt.
func (r *running) finish(ctx context.Context, d *Deps, log logger, err error) error {
	h := r.held
	if err == nil {
		h.Job.Error = nil
		log.Info("job succeeded")
		return r.end(ctx, d, ide.JobSucceeded)
	}
	if w := (*waits)(nil); errors.As(err, &w) {
		return r.wait(ctx, d, w.look)
	}
	e := ide.AsError(err)
	h.Job.Error = public(e)
	if e == errSuperseded {
		log.Info("job superseded")
		return r.end(ctx, d, ide.JobCanceled)
	}
	if !h.Failing && errors.Is(err, swarm.ErrUnreachable) && d.Store.Time(ctx).Sub(h.Job.QueuedAt) < uncountedFor {
		wait := backoff(r.failures())
		log.Warn("no engine answers, the job is handed back", "err", err, "wait", wait)
		return again(ctx, d, h, wait, true, err)
	}
	if !h.Failing && e.Code != ide.Canceled && !e.Permanent && h.Job.Attempt < r.info.Attempts {
		wait := backoff(h.Job.Attempt)
		log.Warn("job is tried again", "err", err, "wait", wait)
		return again(ctx, d, h, wait, false, err)
	}
	if !h.Failing {
		log.Error("job failed", "err", err)
		h.Failing = true
		if err := h.Save(ctx); err != nil {
			return r.lostOr(err)
		}
	}
	clean, cancel := context.WithTimeout(ctx, r.info.Timeout)
	defer cancel()
	if err := r.info.fail(context.WithValue(clean, runningKey{}, r), d, h.Args, e); err != nil {
		r.endStep(err)
		wait := backoff(h.Job.Attempt)
		log.Warn("cleaning up is tried again", "err", err, "wait", wait)
		return again(ctx, d, h, wait, false, err)
	}
	r.endStep(nil)
	if e.Code == ide.Canceled {
		return r.end(ctx, d, ide.JobCanceled)
	}
	return r.end(ctx, d, ide.JobFailed)
}

// public is an error as a job shows it: no cause, nothing of a stranger's.
func public(e *ide.Error) *ide.Error {
	return &ide.Error{Code: e.Code, Message: e.Message, Details: e.Details}
}

func (r *running) end(ctx context.Context, d *Deps, s ide.JobStatus) error {
	waiting, err := r.held.End(ctx, s)
	if errors.Is(err, store.ErrMore) {
		return r.handBack(ctx, d)
	}
	if err != nil {
		return r.lostOr(err)
	}
	wake(ctx, d, waiting)
	return nil
}

// lostOr acknowledges when the lease is lost, and asks for another delivery
// when Redis could not be told the outcome: the lease runs out by then, and
// the function, which may run twice, finds its work done.
func (r *running) lostOr(err error) error {
	if errors.Is(err, store.ErrLost) {
		return nil
	}
	return &RetryError{After: 2 * time.Second, Err: err}
}

// again ends an attempt that is to be followed by another.
func again(ctx context.Context, d *Deps, h *store.Held, wait time.Duration, uncount bool, cause error) error {
	waiting, err := h.Retry(context.WithoutCancel(ctx), d.Store.Time(ctx).Add(wait), uncount)
	if errors.Is(err, store.ErrLost) {
		return nil
	}
	wake(ctx, d, waiting)
	return &RetryError{After: wait, Err: cause}
}

// handBack gives an interrupted job to the next worker at once.
func (r *running) handBack(ctx context.Context, d *Deps) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r.endStep(ide.Errorf(ide.Internal, "The worker shut down; another goes on."))
	waiting, err := r.held.Retry(ctx, d.Store.Time(ctx), true)
	if err != nil {
		return r.lostOr(err)
	}
	if next, ok, err := d.Store.Redeliver(ctx, r.held.Job.ID, r.held.Delivery); err == nil && ok {
		deliver(ctx, d, r.held.Job.ID, next)
	}
	wake(ctx, d, waiting)
	return nil
}

// backoff is the wait after the nth attempt: 1 s, doubling to 30 s, ± 20 %.
func backoff(n int) time.Duration {
	wait := min(time.Second<<min(n-1, 5), 30*time.Second)
	return time.Duration(float64(wait) * (0.8 + 0.4*rand.Float64()))
}

// wanted returns why a run should not go on, or nil.
func (r *running) wanted(f store.Flags) error {
	switch {
	case f.Cancel && r.info.Cancelable && !r.settled.Load():
		return errCanceled
	case len(r.info.Expect) == 0 || r.settled.Load() || f.Status == "": // a record that is gone is the function's to judge
		return nil
	}
	if a := r.aim.Load(); a != nil && !(*a)(f.Run, f.Status) || a == nil && (f.Run != r.held.Run || !slices.Contains(r.info.Expect, f.Status)) {
		return errSuperseded
	}
	return nil
}

// renew keeps the lease while ctx lives, ends everything when it is lost, and
// interrupts the function when something else is wanted of the container.
func (r *running) renew(ctx context.Context, lost, interrupt context.CancelCauseFunc) {
	ttl := r.held.TTL()
	every := time.NewTicker(ttl / 10)
	defer every.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
		flags, err := r.held.Renew(ctx)
		switch {
		case err == nil:
			last = time.Now()
		case errors.Is(err, store.ErrLost), time.Since(last) > ttl:
			lost(store.ErrLost)
			return
		default:
			continue
		}
		r.force.Store(flags.Force)
		if why := r.wanted(flags); why != nil {
			interrupt(why)
		}
	}
}
