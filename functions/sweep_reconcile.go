package functions

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SweepReconcileArgs is empty: the sweep is about all containers.
type SweepReconcileArgs struct{}

// lastLines is how much of a program's output its history gets when it ended.
const lastLines = 50

// SweepReconcile compares what Swarm holds with the records, and has what they
// do not agree on put right: a container that does not run any more is stopped
// with its files saved and called failed, one that was lost is begun again, and
// what nothing owns is removed. Workers also ask for it when their engine tells
// of something.
var SweepReconcile = define(Function[SweepReconcileArgs]{
	Name: "sweep-reconcile", Doc: "Compare Swarm with the records, and put right what differs", Cron: "@every 30s",
	Queue: queue.Low, Attempts: 3, Timeout: 2 * time.Minute, Keep: time.Hour,
	Admit: func(context.Context, *Deps, ide.Principal, *SweepReconcileArgs) (store.Admission, error) {
		return store.Admission{}, nil
	},
	Run: func(ctx context.Context, d *Deps, _ SweepReconcileArgs) error {
		return Step(ctx, "compare", func(ctx context.Context) error { return reconcile(ctx, d) })
	},
})

// AskReconcile asks for a comparison now, unless its schedule is paused.
func AskReconcile(ctx context.Context, d *Deps) error {
	pauses, err := d.Store.Pauses(ctx)
	if _, paused := pauses[SweepReconcile.Name]; err != nil || paused {
		return err
	}
	_, err = SweepReconcile.Enqueue(ctx, d, ide.Principal{Name: "schedule", Role: ide.Admin}, &SweepReconcileArgs{})
	return err
}

func reconcile(ctx context.Context, d *Deps) error {
	rebuilt, err := d.Store.Rebuilt(ctx)
	if err != nil {
		return err
	}
	if !rebuilt { // before that the records are no measure
		if _, err := Rebuild(ctx, d, false); err != nil {
			return err
		}
	}
	clock, err := d.Store.Clock(ctx)
	if err != nil {
		return err
	}
	// records first and once more: what has not changed in between was so while
	// Swarm was read
	were, err := d.Store.Census(ctx)
	if err != nil {
		return err
	}
	reported, err := d.Store.Nodes(ctx)
	if err != nil {
		return err
	}
	view, err := d.Swarm.View(ctx)
	if err != nil {
		return err
	}
	now := slices.Collect(maps.Values(view.Nodes))
	fate := func(node string) ide.Fate { // not up only if it was seen so twice, some seconds apart
		if ide.FateOf(reported, node) == ide.NodeUp {
			return ide.NodeUp
		}
		return ide.FateOf(now, node)
	}
	var failed error
	for _, f := range view.Foreign {
		if first, err := d.Store.First(ctx, "foreign:"+f.EngineID); err != nil {
			failed = errors.Join(failed, err)
		} else if first {
			d.Log.Warn("service has berth's labels and is not berth's: it is left alone", "service", f.Name, "id", f.EngineID)
		}
	}
	done := 0
	for _, v := range compare(view, were, fate, clock) {
		ok, err := d.carryOut(ctx, v, were)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("%s: %w", v, err))
			d.Log.Warn("container is not put right", "container", v.id, "deed", string(v.do), "err", err)
		} else if ok {
			done++
			d.Log.Info("container is put right", "container", v.id, "deed", string(v.do), "run", v.run, "why", v.why)
		}
	}
	freed, added, err := d.Store.Recount(ctx)
	SetResult(ctx, "done", done)
	if freed+added > 0 {
		d.Log.Info("reservations are put right", "freed", freed, "added", added)
		SetResult(ctx, "reservations", map[string]int{"freed": freed, "added": added})
	}
	return errors.Join(failed, err)
}

// carryOut does what a verdict says, unless its record has changed since.
func (d *Deps) carryOut(ctx context.Context, v verdict, were []store.Standing) (bool, error) {
	var was *store.Standing
	for i := range were {
		if were[i].Container.ID == v.id {
			was = &were[i]
		}
	}
	if was != nil {
		same, err := d.Store.Same(ctx, []store.Standing{*was})
		if err != nil || len(same) == 0 {
			return false, err
		}
	} else if known, err := d.Store.Known(ctx, []string{v.id}); err != nil || known[v.id] {
		return false, err
	}
	switch v.do {
	case stopIt, stopAgain:
		return true, d.stopFor(ctx, v)
	case resumeIt:
		return true, d.resume(ctx, was.Container)
	case rebuildIt:
		_, err := Rebuild(ctx, d, false)
		return true, err
	case advanceIt:
		return d.advance(ctx, was.Container)
	case clearIt:
		if err := d.Swarm.RemoveService(ctx, v.id, v.run); err != nil {
			return false, err
		}
		return true, unlessInUse(d.Swarm.RemoveSecret(ctx, v.id, v.run))
	default:
		return true, unlessInUse(d.Swarm.RemoveSecret(ctx, v.id, v.run))
	}
}

// unlessInUse is for a secret whose service goes first, or was made again: the
// next sweep sees.
func unlessInUse(err error) error {
	if ide.HasCode(err, ide.Conflict) {
		return nil
	}
	return err
}

// stopFor opens the stop of a container that does not run any more, with the
// last words of its program in its history.
func (d *Deps) stopFor(ctx context.Context, v verdict) error {
	if v.task != "" {
		lines, err := d.Swarm.LastLines(ctx, v.task, lastLines)
		if err != nil {
			d.Log.Warn("last lines cannot be read", "container", v.id, "err", err)
		}
		_, err = d.Store.Tell(ctx, v.id, func(*ide.Container) (*ide.Event, error) {
			return &ide.Event{Type: "container.ended", By: "sweep-reconcile", Message: v.why.Message, Log: lines}, nil
		})
		if err != nil {
			return unlessGone(err)
		}
	}
	a := &StopContainerArgs{ID: v.id, Reason: v.cause, Parked: v.once, Of: v.run}
	if v.why != nil {
		a.Cause = public(v.why)
	}
	_, err := StopContainer.Enqueue(ctx, d, ide.Principal{Name: "sweep-reconcile", Role: ide.Admin}, a)
	return unlessGone(err)
}

// resume opens the lost job of a container that is starting again.
func (d *Deps) resume(ctx context.Context, c ide.Container) error {
	adm := store.Admission{
		Container: c.ID, By: ide.Principal{Name: c.Owner, Role: ide.Client},
		Edit: func(now *ide.Container) error {
			if now.Run != c.Run || now.Status != ide.Starting {
				return state(*now, "It was moved on since.")
			}
			return nil
		},
	}
	if c.Run == 1 {
		adm.Function, adm.Queue, adm.MaxAttempts = CreateContainer.Name, CreateContainer.Queue, CreateContainer.Attempts
		adm.Args = CreateContainerArgs{ID: c.ID, Run: c.Run}
	} else {
		adm.Function, adm.Queue, adm.MaxAttempts = StartContainer.Name, StartContainer.Queue, StartContainer.Attempts
		adm.Args = StartContainerArgs{ID: c.ID, Run: c.Run}
	}
	out, err := d.Store.Admit(ctx, adm)
	if err != nil {
		return unlessGone(err)
	}
	if !out.Open && !out.Waits {
		deliver(ctx, d, out.Job.ID, 1)
	}
	return nil
}
