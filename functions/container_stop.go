package functions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/docker/go-units"
)

// StopContainerArgs is the job of a stop.
type StopContainerArgs struct {
	Request
	ID     string             `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Force  bool               `json:"force,omitempty" query:"force" doc:"Give up the last save, and do not wait for a node that does not answer; also for a stop already under way"`
	Purge  bool               `json:"purge,omitempty" query:"purge" doc:"Drop the record as well, once it is stopped, and a volume that was kept because its files could not be saved"`
	Run    int                `json:"run"`
	Reason ide.ShutdownReason `json:"reason,omitempty"` // manual if missing
	Aged   bool               `json:"aged,omitempty"`   // of the sweep: a purge of what is down for long, which never gives up files
	Parked bool               `json:"parked,omitempty"` // one try to save: of the sweep, for what a failed stop has kept, and where a node is lost
	Cause  *ide.Error         `json:"cause,omitempty"`  // why it does not run any more: it ends as failed
	Of     int                `json:"of,omitempty"`     // only this run is meant; 0 is whichever there is
}

// wish is nil: force and purge are added to the open stop, unless the purge is the
// sweep's, which has looked at a container that was down.
func (a *StopContainerArgs) wish() any { return nil }

const stopName = "container-stop"

// stopAttempts is more than SAVE_DEADLINE, an hour at most, has room for: a
// stop ends by its deadline.
const stopAttempts = 300

// StopContainer saves a container's workspace, has the save verified, and
// removes service, secret and volume, in this order; the record stays, and the
// container can be started again, unless it is purged. What each failure leads
// to stands in ide.StopTable.
var StopContainer = define(Function[StopContainerArgs]{
	Name: stopName, Doc: "Stop a container", Route: "DELETE /api/containers/{id}",
	Queue: queue.Critical, Attempts: stopAttempts, Timeout: 2 * time.Hour, Moves: true,
	Expect: []ide.Status{ide.Stopping, ide.Stopped, ide.Failed},
	Admit:  admitStop,
	Run:    stop,
	Fail:   failStop,
})

// failStop parks the files of a container that could not be saved; one that could
// not be stopped for another reason is failed, and keeps its place.
func failStop(ctx context.Context, d *Deps, a StopContainerArgs, cause *ide.Error) error {
	if cause.Code == ide.WorkspaceUnsaved {
		return park(ctx, d, a, cause)
	}
	_, err := d.Store.Move(ctx, a.ID, a.Run, ide.Failed, "container-stop", cause.Message, func(c *ide.Container) {
		c.Error = &ide.Error{Code: ide.ContainerStopFailed, Message: "The container could not be stopped. " + cause.Message}
	})
	return unlessGone(err)
}

// unlessGone is for what a later run or a purge has made pointless.
func unlessGone(err error) error {
	if ide.HasCode(err, ide.Conflict) || ide.HasCode(err, ide.ContainerNotFound) {
		return nil
	}
	return err
}

func admitStop(ctx context.Context, d *Deps, p ide.Principal, a *StopContainerArgs) (store.Admission, error) {
	c, err := own(ctx, d, p, a.ID)
	if err != nil {
		return store.Admission{}, err
	}
	if a.Reason == "" {
		a.Reason = ide.Manual
	}
	if a.Force && c.Status == ide.Stopping && slices.Contains(rerunFunctions, queue.FunctionOf(c.Job)) { // whose save is waited for first
		if err := d.Store.Force(ctx, c.Job); err != nil {
			return store.Admission{}, err
		}
	}
	return store.Admission{
		Container: a.ID, Purge: a.Purge && !a.Aged, SameRun: true, Force: a.Force || a.Purge && !a.Aged && c.Status == ide.Failed && c.Unsaved, Message: "A stop was asked for.",
		Edit: func(c *ide.Container) error {
			if a.Of != 0 && a.Of != c.Run {
				return state(*c, "It was started again since.")
			}
			a.Run = c.Run
			if a.Aged && (c.Unsaved || c.Status.Live()) {
				return state(*c, "It is in use, or has files that are not saved.")
			}
			switch {
			case c.Status == ide.Stopped && a.Purge:
				return nil
			case c.Status == ide.Stopped:
				return errDone
			}
			c.Status = ide.Stopping
			return nil
		},
	}, nil
}

func stop(ctx context.Context, d *Deps, a StopContainerArgs) error {
	c, err := d.Store.Container(ctx, a.ID)
	if ide.HasCode(err, ide.ContainerNotFound) {
		return nil // an earlier attempt dropped it
	}
	if err != nil {
		return err
	}
	a.Purge = a.Purge || purgeWanted(ctx) // by a later request for the same stop
	kept := c.Kept
	if a.Purge && len(kept) > 0 {
		if c, err = d.Store.Update(ctx, c.ID, func(c *ide.Container) error { c.Kept = nil; return nil }); err != nil {
			return err
		}
	}
	if c.Status == ide.Failed && (a.Cause == nil || c.Unsaved) {
		return nil // an earlier attempt has parked it
	}
	if c, err = d.bringDown(ctx, a, c, kept, stopName); err != nil {
		return err
	}
	if !a.Purge {
		Settle(ctx)
		return record(ctx, d, c)
	}
	return Step(ctx, "purge", func(ctx context.Context) error {
		if err := d.Swarm.RemoveConfig(ctx, a.ID); err != nil {
			return err
		}
		return d.Store.Drop(ctx, a.ID, pairs(a.ID))
	})
}

// bringDown saves a container, removes all of its run and the volumes on the
// nodes that have kept some of it, and calls it stopped, or failed if it had a
// cause.
func (d *Deps) bringDown(ctx context.Context, a StopContainerArgs, c ide.Container, kept []string, by string) (_ ide.Container, err error) {
	said := "Its service and secret are gone."
	if c.Status == ide.Stopping {
		if said, c, err = d.saveForStop(ctx, a, c); err != nil {
			return c, err
		}
	}
	if err := remove(ctx, d, c, a.Parked); err != nil {
		return c, err
	}
	if len(c.Kept) > 0 {
		kept = nil
	}
	if err := d.removeVolume(ctx, c, kept...); err != nil {
		return c, err
	}
	now, end := d.Store.Time(ctx), ide.Stopped
	if a.Cause != nil {
		end, said = ide.Failed, a.Cause.Message+" "+said
	}
	return d.Store.Move(ctx, a.ID, a.Run, end, by, said, func(c *ide.Container) {
		c.Address, c.Health, c.Error = "", nil, a.Cause
		if c.StoppedAt == nil || c.ShutdownReason == "" {
			c.StoppedAt, c.ShutdownReason = &now, a.Reason
		}
	})
}

// saveForStop is the step "save" of a stop: when it has succeeded nothing of
// the workspace is needed on the node any more. The sentence says what became
// of it.
func (d *Deps) saveForStop(ctx context.Context, a StopContainerArgs, c ide.Container) (said string, _ ide.Container, _ error) {
	var outcome ide.SaveOutcome
	var saved *ide.LastSave
	err := Step(ctx, "save", func(ctx context.Context) error {
		var err error
		outcome, saved, err = d.keep(ctx, c)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// keep has run a saver, and had everything sent anew, where the table says so
		switch row := ide.AfterSave(outcome); {
		case row.Next == ide.RemoveNext:
			return nil
		case row.Next == ide.ParkNext, row.Next == ide.AgainNext, a.Parked, ide.IsPermanent(err), d.late(ctx):
			return unsaved(outcome, err, true)
		default:
			return unsaved(outcome, err, false)
		}
	})
	if err != nil {
		return "", c, errors.Join(err, unlessGone(d.noteVerified(ctx, c, saved)))
	}
	if said, _ = resultOf(ctx, "save").(string); said == "" || saved != nil { // else an earlier attempt has saved
		said = tellSave(c, outcome, saved)
		SetResult(ctx, "save", said)
	}
	c, err = d.Store.Update(ctx, c.ID, func(rec *ide.Container) error {
		if rec.Run != c.Run {
			return ide.Errorf(ide.Conflict, "The container was started again since.")
		}
		if saved != nil {
			rec.LastSave = saved
		}
		// whatever is on the volume is in the bucket, or was given up
		rec.Restored, rec.Unsaved, rec.Tries, rec.NextTry = 0, false, 0, nil
		if outcome == ide.GivenUp {
			rec.Kept = nil
		}
		return nil
	})
	return said, c, err
}

// noteVerified writes the save of a stop that keeps the volume into the record.
func (d *Deps) noteVerified(ctx context.Context, c ide.Container, saved *ide.LastSave) error {
	if saved == nil {
		return nil
	}
	_, err := d.Store.Update(ctx, c.ID, func(rec *ide.Container) error {
		if rec.Run == c.Run {
			rec.LastSave = saved
		}
		return nil
	})
	return err
}

// late says whether a stop has tried for as long as it may.
func (d *Deps) late(ctx context.Context) bool {
	job := ctx.Value(runningKey{}).(*running).held.Job
	return d.Store.Time(ctx).Sub(job.QueuedAt) > d.SaveDeadline
}

// unsaved is the error of a stop whose save did not succeed. It parks the
// files if it is permanent.
func unsaved(o ide.SaveOutcome, cause error, permanent bool) *ide.Error {
	e := &ide.Error{Code: ide.WorkspaceUnsaved, Permanent: permanent, Err: cause, Details: map[string]any{"outcome": o}}
	switch {
	case o == ide.AgentGone:
		e.Message = "The workspace could not be saved: nothing on its node answers for it."
	case cause != nil:
		e.Message = "The workspace could not be saved. " + ide.AsError(cause).Message
	default:
		e.Message = "The workspace could not be saved."
	}
	return e
}

// tellSave says for the container's history what became of its files.
func tellSave(c ide.Container, o ide.SaveOutcome, saved *ide.LastSave) string {
	switch o {
	case ide.SaveVerified:
		said := fmt.Sprintf("Saved as generation %d (%d files, %s) and verified; its service and secret are gone.",
			saved.Generation, saved.Files, units.HumanSize(float64(saved.Bytes)))
		if saved.Recovered > 0 {
			said += fmt.Sprintf(" %d files that gave way to newer ones are among them, in berth-recovered.", saved.Recovered)
		}
		if saved.Ignored > 0 {
			said += fmt.Sprintf(" Not saved, because .berthignore names them: %d paths, %s.", saved.Ignored, units.HumanSize(float64(saved.IgnoredBytes)))
		}
		return said
	case ide.NothingToSave:
		return "Its workspace was not restored in this run, so there was nothing to save; its service and secret are gone."
	case ide.GivenUp:
		if c.Restored != c.Run && !c.Unsaved {
			return "Its service and secret are gone; there was nothing to save."
		}
		if c.LastSave != nil && c.LastSave.Generation > 0 {
			return fmt.Sprintf("The last save was given up: what was changed since generation %d (%s) is lost.",
				c.LastSave.Generation, c.LastSave.At.Format(time.RFC3339))
		}
		return "The last save was given up: what was changed since the last save in the bucket is lost."
	default:
		return "Its workspace is kept nowhere: nothing was saved. Its service and secret are gone."
	}
}

// removeVolume has the volume removed, by the worker of the node that has it,
// and those on nodes where it ran earlier and that are given up now.
// It waits for that a little, so that a stop that has succeeded has left
// nothing; a node that is away does it when it is back.
func (d *Deps) removeVolume(ctx context.Context, c ide.Container, kept ...string) error {
	if c.Node == "" {
		return nil
	}
	return Step(ctx, "volume", func(ctx context.Context) error {
		for _, node := range append(kept, c.Node) {
			if err := d.Store.DropVolume(ctx, node, c.ID); err != nil {
				return err
			}
		}
		end := time.Now().Add(volumePatience)
		for wait := 20 * time.Millisecond; time.Now().Before(end); wait = min(wait*3/2, 500*time.Millisecond) {
			waits, err := d.Store.VolumeWaits(ctx, c.Node, c.ID)
			if err != nil || !waits {
				return err
			}
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
		Progress(ctx, "Its node does not answer; it is removed when it does.")
		return nil
	})
}

const volumePatience = 10 * time.Second
