package functions

import (
	"context"
	"errors"
	"fmt"

	"berth/internal/ide"
	"berth/internal/store"
)

// Difference is one container of which Swarm and Redis do not tell the same.
type Difference struct {
	Container string     `json:"containerId"`
	Owner     string     `json:"owner"`
	Bucket    string     `json:"s3Bucket"`
	Status    ide.Status `json:"status"` // that it is brought back with
	What      string     `json:"what"`
}

// Rebuild brings back what Redis has lost from what Swarm holds: every container
// from its config, with its reservation and its place; a start that was under
// way is begun again. What has a record keeps it. dry only says what would be
// done. Until it has finished once, nothing is placed and nothing is swept.
func Rebuild(ctx context.Context, d *Deps, dry bool) ([]Difference, error) {
	view, err := d.Swarm.View(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(view.Records))
	for _, r := range view.Records {
		ids = append(ids, r.Container.ID)
	}
	known, err := d.Store.Known(ctx, ids)
	if err != nil {
		return nil, err
	}
	var all []Difference
	for _, r := range view.Records {
		c := r.Container
		if known[c.ID] {
			continue
		}
		if r.Err != nil {
			d.Log.Error("config cannot be read back", "container", c.ID, "err", r.Err)
			all = append(all, Difference{Container: c.ID, What: "its config cannot be read back: " + r.Err.Error()})
			continue
		}
		purged, err := d.Store.Purged(ctx, c.ID)
		if err != nil {
			return all, err
		}
		diff := Difference{Container: c.ID, Owner: c.Owner, Bucket: c.S3.Name, Status: c.Status, What: fmt.Sprintf("run %d has no record", c.Run)}
		if purged {
			diff.Status, diff.What = "", "it was purged: its config goes"
		}
		all = append(all, diff)
		if dry {
			continue
		}
		if purged {
			err = d.Swarm.RemoveConfig(ctx, c.ID)
		} else {
			c.Sealed = string(r.Data)
			err = d.bringBack(ctx, c, 0, "Brought back from Swarm: Redis had lost it.")
		}
		if err != nil {
			return all, fmt.Errorf("rebuild %s: %w", c.ID, err)
		}
	}
	if dry {
		return all, nil
	}
	if err := d.Queue.Register(ctx); err != nil {
		return all, err
	}
	return all, d.Store.MarkRebuilt(ctx)
}

// advance brings a record up to the later run that the Swarm has of its container:
// Redis has gone back in time, after a power cut or to a replica that lagged behind.
func (d *Deps) advance(ctx context.Context, was ide.Container) (bool, error) {
	view, err := d.Swarm.View(ctx)
	if err != nil {
		return false, err
	}
	for _, r := range view.Records {
		if c := r.Container; r.Err == nil && c.ID == was.ID && c.Run > was.Run {
			c.Sealed = string(r.Data)
			return true, d.bringBack(ctx, c, was.Run, fmt.Sprintf("Brought up to run %d from Swarm: Redis knew of run %d only.", c.Run, was.Run))
		}
	}
	return false, nil
}

// bringBackStopping brings back a container whose bucket and prefix another live
// one has by now: two would save over each other, so this one is stopped. Its stop
// finds the other's save and keeps the files on their node.
func (d *Deps) bringBackStopping(ctx context.Context, c ide.Container, other string, instead int) error {
	c.Status, c.ShutdownReason = ide.Stopping, ide.ByError
	message := fmt.Sprintf("Brought back from Swarm: Redis had lost it, and the container %s has its bucket and prefix by now. It is stopped.", other)
	_, err := d.Store.Restore(ctx, c, ide.Job{Function: StopContainer.Name}, d.S3.Place(c) != nil, instead, message)
	return err
}

// inUseBy is the container that an admission was refused for.
func inUseBy(err error) (string, bool) {
	var e *store.InUseError
	if errors.As(err, &e) {
		return e.Container, true
	}
	return "", false
}

// bringBack writes the record of a container as its config has it, where there is
// none, or one of the run instead. The job that made it what it is has gone with
// Redis; one that was under way begins again under the same name. A container that
// becomes live passes the check of its place as every other does.
func (d *Deps) bringBack(ctx context.Context, c ide.Container, instead int, message string) error {
	next := ide.Job{Function: StopContainer.Name}
	if c.Status == ide.Starting {
		next = ide.Job{ID: c.Job, Function: StartContainer.Name}
		if c.Run == 1 {
			next.Function = CreateContainer.Name
		}
	}
	c.Webhook = "" // it has gone with Redis
	if c.Unsaved {
		now := d.Store.Time(ctx)
		c.NextTry = &now
	}
	made, err := d.Store.Restore(ctx, c, next, d.S3.Place(c) != nil, instead, message)
	if other, inUse := inUseBy(err); inUse {
		return d.bringBackStopping(ctx, c, other, instead)
	}
	if err != nil || !made {
		return err
	}
	d.Log.Info("container is brought back", "container", c.ID, "run", c.Run, "status", string(c.Status))
	if c.Status == ide.Starting {
		return d.resume(ctx, c)
	}
	return nil
}
