package functions

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// logger is the part of slog.Logger that an outcome is told to.
type logger interface {
	Info(msg string, args ...any)
	Warn(msg string, args ...any)
	Error(msg string, args ...any)
}

// running is a job's attempt in this process.
type running struct {
	held  *store.Held
	info  *Info
	force atomic.Bool

	settled atomic.Bool // the job's purpose is reached: nobody can supersede or cancel it

	aim   atomic.Pointer[aim]    // in the place of the function's Expect
	bound atomic.Pointer[string] // the only node that will do; nil or empty is any
	next  atomic.Int64           // the container's run that the job has begun itself
}

// aim says in which states of its container a job still has something to do.
type aim func(run int, s ide.Status) bool

type runningKey struct{}

// Step runs a named, timed part of a function. It shows in the job while it
// runs and stays in its timeline. Before it begins, the lease is checked and
// what others want of the job is read: a step of a job that was canceled,
// superseded or taken over does not begin.
func Step(ctx context.Context, name string, do func(context.Context) error) error {
	r := ctx.Value(runningKey{}).(*running)
	if err := ctx.Err(); err != nil {
		return err
	}
	job := &r.held.Job
	if !r.within(name) {
		r.endStep(nil)
		job.Steps = append(job.Steps, ide.Step{Name: name, Status: ide.StepRunning, Attempt: job.Attempt, StartedAt: time.Now().UTC()})
	}
	if err := r.held.Save(ctx); err != nil {
		return err
	}
	r.force.Store(r.held.Flags.Force)
	if err := r.wanted(r.held.Flags); err != nil && !r.held.Failing {
		return err
	}
	ctx, end := stepSpan(ctx, name)
	err := do(ctx)
	end(err)
	if err != nil {
		return err
	}
	r.endStep(nil)
	return nil
}

// within says whether the job is in this step already, in this attempt: it has
// waited there for other jobs.
func (r *running) within(name string) bool {
	steps := r.held.Job.Steps
	if len(steps) == 0 {
		return false
	}
	s := steps[len(steps)-1]
	return s.Status == ide.StepRunning && s.Name == name && s.Attempt == r.held.Job.Attempt
}

// endStep closes the open step, if there is one. It is written with the next
// step, or with the end of the attempt.
func (r *running) endStep(err error) {
	steps := r.held.Job.Steps
	if len(steps) == 0 || steps[len(steps)-1].Status != ide.StepRunning {
		return
	}
	s := &steps[len(steps)-1]
	s.Status, s.Seconds = ide.StepDone, time.Since(s.StartedAt).Seconds()
	if err != nil {
		s.Status, s.Message = ide.StepFailed, ide.AsError(err).Message
	}
}

// Forced says whether force was asked for, so far as is known.
func Forced(ctx context.Context) bool {
	return ctx.Value(runningKey{}).(*running).force.Load()
}

// purgeWanted says whether a purge was asked for before the attempt began. One
// that comes later has another attempt follow.
func purgeWanted(ctx context.Context) bool {
	return ctx.Value(runningKey{}).(*running).held.Purge
}

// Settle says that the job has reached its purpose. What follows is telling
// of it, and is done whatever becomes of the container.
func Settle(ctx context.Context) {
	ctx.Value(runningKey{}).(*running).settled.Store(true)
}

// Aim says in which states of its container the job goes on, from now on; in any
// other it is superseded.
func Aim(ctx context.Context, a aim) {
	ctx.Value(runningKey{}).(*running).aim.Store(&a)
}

// Bind says that only one node will do for what the job starts; empty is any.
func Bind(ctx context.Context, node string) {
	ctx.Value(runningKey{}).(*running).bound.Store(&node)
}

// Progress shows how far the present step is.
func Progress(ctx context.Context, message string) {
	r := ctx.Value(runningKey{}).(*running)
	steps := r.held.Job.Steps
	if s := &steps[len(steps)-1]; s.Message != message {
		s.Message = message
		_ = r.held.Save(ctx) // the next step tells when the lease is lost
	}
}

// SetResult adds to what the job's result says; nil takes it away again.
func SetResult(ctx context.Context, key string, value any) {
	job := &ctx.Value(runningKey{}).(*running).held.Job
	if job.Result == nil {
		job.Result = map[string]any{}
	}
	if value == nil {
		delete(job.Result, key)
		return
	}
	job.Result[key] = value
}

// resultInto reads what an attempt has added into the value at into, if there is
// anything.
func resultInto(ctx context.Context, key string, into any) error {
	text, err := json.Marshal(resultOf(ctx, key))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// resultOf returns what an attempt, this one or an earlier, has added.
func resultOf(ctx context.Context, key string) any {
	return ctx.Value(runningKey{}).(*running).held.Job.Result[key]
}
