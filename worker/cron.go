package worker

import (
	"context"
	"fmt"
	"time"

	"berth/functions"
)

// Bounds of the waits of cron.
const (
	longestWait = 10 * time.Second // the clock is looked at again at least so often
	cronRetry   = time.Second      // after Redis did not answer
)

// cron opens the job of every scheduled function at each of its instants. All
// workers do, by Redis's clock and not by their own, and the admission lets one
// of them have each instant.
func (w *Worker) cron(ctx context.Context) error {
	table, err := functions.NewTimetable(w.deps)
	if err != nil {
		return fmt.Errorf("read schedules: %w", err)
	}
	var done time.Time // up to when all instants were asked for
	failing := false
	for {
		wait, err := w.askDue(ctx, table, &done)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && !failing:
			w.log.Warn("schedules cannot be followed", "err", err)
		case err == nil && failing:
			w.log.Info("schedules are followed again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// askDue asks for what has become due since the last time, and returns how long
// to wait. An instant that nobody could ask for is asked for late, and only the
// last of several.
func (w *Worker) askDue(ctx context.Context, table functions.Timetable, done *time.Time) (time.Duration, error) {
	now, err := w.deps.Store.Clock(ctx)
	if err != nil {
		return cronRetry, err
	}
	if done.IsZero() || now.Before(*done) { // the clock was set back
		*done = now
	}
	for name, at := range table.Between(*done, now) {
		if err := functions.OpenInstant(ctx, w.deps, name, at); err != nil {
			return cronRetry, fmt.Errorf("%s: %w", name, err)
		}
	}
	*done = now
	return min(table.Next(now).Sub(now), longestWait), nil
}
