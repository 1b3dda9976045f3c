package functions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"golang.org/x/sync/errgroup"
)

// SweepIdleArgs is empty: the sweep is about all containers.
type SweepIdleArgs struct{}

// SweepIdle warns and stops running containers that nobody has used for their
// idle timeout, or that have reached the end of their lifetime. Each decision is
// an event that says what was last used, when, and who has seen it. None is made
// on old news: before each the agent is asked again, and one that does not
// answer is not stopped for idleness.
var SweepIdle = define(Function[SweepIdleArgs]{
	Name: "sweep-idle", Doc: "Warn and stop containers that nobody uses", Cron: "@every 15s",
	Queue: queue.Low, Attempts: 1, Timeout: 5 * time.Minute, Keep: time.Hour,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepIdleArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepIdleArgs) error {
		return Step(ctx, "decide", func(ctx context.Context) error {
			now, err := d.Store.Clock(ctx)
			if err != nil {
				return err
			}
			all, err := d.Store.ByStatus(ctx, ide.Running)
			if err != nil {
				return err
			}
			ids := make([]string, len(all))
			for i, c := range all {
				ids[i] = c.ID
			}
			seen, err := d.Store.Activity(ctx, ids...)
			if err != nil {
				return err
			}
			var group errgroup.Group
			group.SetLimit(lookers)
			did := make([]ide.IdleStep, len(all))
			for i, c := range all {
				group.Go(func() (err error) {
					did[i], err = d.idle(ctx, c, seen[c.ID], now)
					return err
				})
			}
			err = group.Wait()
			for key, step := range map[string]ide.IdleStep{"warned": ide.IdleWarn, "postponed": ide.IdlePostpone, "stopped": ide.IdleStop} {
				n := 0
				for _, s := range did {
					if s == step {
						n++
					}
				}
				SetResult(ctx, key, n)
			}
			return err
		})
	},
})

// next is what is to be done now with a container for want of use.
func (d *Deps) next(c ide.Container, seen ide.Activity, now time.Time) (ide.Deadline, ide.IdleStep) {
	deadline, ok := c.Deadline(seen, d.MaxLifetime)
	warning := d.IdleWarning
	if deadline.Reason == ide.Inactivity {
		warning = min(warning, time.Duration(c.IdleTimeout)*time.Second/2)
	}
	step := c.Watch.Next(deadline, ok, warning, now)
	if end := now.Add(warning); step == ide.IdleWarn && deadline.At.Before(end) {
		deadline.At = end
	}
	return deadline, step
}

// idle does what is to be done at an instant with a container, and says what it was.
func (d *Deps) idle(ctx context.Context, c ide.Container, seen ide.Activity, now time.Time) (ide.IdleStep, error) {
	known := c.Watch.Used != nil || c.IdleTimeout == 0
	if _, step := d.next(c, seen, now); step == ide.IdleNothing && known && c.Watch.StopsAt == nil {
		return step, nil
	}
	status := d.lookInside(ctx, c)
	if ctx.Err() != nil {
		return ide.IdleNothing, ctx.Err()
	}
	var step ide.IdleStep
	var deadline ide.Deadline
	_, err := d.Store.Tell(ctx, c.ID, func(rec *ide.Container) (*ide.Event, error) {
		if rec.Run != c.Run || rec.Status != ide.Running {
			return nil, errMoved
		}
		observe(rec, status, now)
		if rec.Watch.Used == nil { // Redis was lost: nothing older is known
			rec.Watch.See(ide.Use{At: now, Source: ide.UseStart, Signal: ide.SignalRecord})
		}
		deadline, step = d.next(*rec, seen, now)
		blind := status == nil && !rec.NoAgent && deadline.Reason == ide.Inactivity
		if blind && (step == ide.IdleWarn || step == ide.IdleStop && !rec.Watch.Decided) {
			step = ide.IdleNothing
			known := rec.Watch.Unknown
			rec.Watch.Unknown = true
			return unlessKnown(known, receipt("container.idle_unknown", *rec, deadline)), nil
		}
		return decide(rec, step, deadline), nil
	})
	if errors.Is(err, errMoved) || ide.HasCode(err, ide.ContainerNotFound) {
		return ide.IdleNothing, nil
	}
	if err != nil || step != ide.IdleStop {
		return step, err
	}
	_, err = StopContainer.Enqueue(ctx, d, ide.Principal{Name: "sweep-idle", Role: ide.Admin},
		&StopContainerArgs{ID: c.ID, Reason: deadline.Reason})
	if unlessGone(err) != nil {
		return step, fmt.Errorf("stop %s: %w", c.ID, err)
	}
	return step, nil
}

func unlessKnown(known bool, e *ide.Event) *ide.Event {
	if known {
		return nil
	}
	return e
}

// decide changes a record by a step, and returns what is told of it. A stop is
// told of once, also when it has to be asked for again.
func decide(c *ide.Container, step ide.IdleStep, deadline ide.Deadline) *ide.Event {
	w := &c.Watch
	switch step {
	case ide.IdleWarn:
		w.StopsAt = &deadline.At
		if deadline.Reason == ide.ResourceLimit {
			return receipt("container.lifetime_warning", *c, deadline)
		}
		return receipt("container.idle_warning", *c, deadline)
	case ide.IdlePostpone:
		w.StopsAt = nil
		return receipt("container.idle_postponed", *c, deadline)
	case ide.IdleStop:
		known := w.Decided
		w.Decided = true
		return unlessKnown(known, receipt("container.idle_stop", *c, deadline))
	}
	return nil
}

// receipt is the event of a decision.
func receipt(kind string, c ide.Container, deadline ide.Deadline) *ide.Event {
	r := &ide.Receipt{Reason: deadline.Reason, LastActivity: deadline.Use.At, Source: deadline.Use.Source, Signal: deadline.Use.Signal}
	if !deadline.At.IsZero() {
		r.StopsAt = &deadline.At
	}
	last := fmt.Sprintf("Its last use was at %s (%s, seen by the %s).", r.LastActivity.Format(time.RFC3339), r.Source, r.Signal)
	at := deadline.At.Format(time.RFC3339)
	message := map[string]string{
		"container.idle_warning":     last + " It stops at " + at + " unless it is used or kept alive.",
		"container.lifetime_warning": "It reaches the end of its lifetime and stops at " + at + ".",
		"container.idle_postponed":   last + " It does not stop as announced.",
		"container.idle_stop":        last + fmt.Sprintf(" Its idle timeout is %d seconds, so it is stopped.", c.IdleTimeout),
		"container.idle_unknown":     last + " Its agent does not answer now, so it is not stopped.",
	}[kind]
	if kind == "container.idle_stop" && deadline.Reason == ide.ResourceLimit {
		message = "It has reached the end of its lifetime, so it is stopped."
	}
	return &ide.Event{Type: kind, By: "sweep-idle", Job: c.Job, Message: message, Receipt: r}
}
