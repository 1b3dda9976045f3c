package functions

import (
	"context"
	"time"

	"berth/internal/ide"
)

// uncountedFor is how long a job's attempts do not count that end because no engine
// answers here: a worker elsewhere may have one.
const uncountedFor = time.Hour

// failures counts the steps that have failed within the present attempt, which was
// taken back as often.
func (r *running) failures() int {
	n := 0
	for _, s := range r.held.Job.Steps {
		if s.Attempt == r.held.Job.Attempt && s.Status == ide.StepFailed {
			n++
		}
	}
	return max(n, 1)
}

// waits is the error of a function that can go on only when other jobs have
// ended. Nothing waits for a job inside a slot: it gives slot and lease back, and
// comes again with the same attempt and, if that has the same name, in the same
// step.
type waits struct{ look time.Duration }

func (w *waits) Error() string { return "it waits for other jobs" }

// lookEvery is between two looks of a job at those that it waits for.
const lookEvery = time.Second

// waitForJobs is what a function returns until the jobs that it has asked for
// have ended.
func waitForJobs() error { return &waits{lookEvery} }

// wait ends the attempt of a job that waits for others.
func (r *running) wait(ctx context.Context, d *Deps, look time.Duration) error {
	waiting, err := r.held.Wait(context.WithoutCancel(ctx), d.Store.Time(ctx).Add(look))
	if err != nil {
		return r.lostOr(err)
	}
	wake(ctx, d, waiting)
	return &RetryError{After: look, Err: ide.Errorf(ide.Conflict, "It waits for other jobs.")}
}
