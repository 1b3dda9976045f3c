package functions

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/ide"
)

// DropVolumes removes the workspace volumes of this node that stops have
// released. What runs again by now, or holds what could not be saved, stays.
func DropVolumes(ctx context.Context, d *Deps, node string) error {
	ids, err := d.Store.VolumesToDrop(ctx, node)
	if err != nil {
		return err
	}
	var failed error
	for _, id := range ids {
		if err := dropVolume(ctx, d, node, id); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	return failed
}

func dropVolume(ctx context.Context, d *Deps, node, id string) error {
	c, needed, err := volumeOf(ctx, d, node, id, ide.Starting, ide.Running)
	if err != nil {
		return err
	}
	if !needed {
		err := d.Swarm.RemoveVolume(ctx, id)
		if ide.HasCode(err, ide.Conflict) {
			if err = removeEnded(ctx, d, id, c); err == nil {
				err = d.Swarm.RemoveVolume(ctx, id)
			}
		}
		if ide.HasCode(err, ide.Conflict) {
			return nil // its container is not gone yet: the next time
		}
		if err != nil {
			return err
		}
	}
	return d.Store.VolumeDropped(ctx, node, id)
}

// removeEnded removes the engine's containers that have the volume of a container
// whose tasks are gone: Swarm does so 2 to 3 s later. What runs stays, and so does
// what a run has that has begun since the record was read, and what has a log that
// is not shipped to its end. The record is empty when the container was purged.
func removeEnded(ctx context.Context, d *Deps, id string, c ide.Container) error {
	list, err := d.Swarm.LocalContainers(ctx)
	if err != nil {
		return err
	}
	for _, l := range list {
		if l.Container != id || !l.Ended || c.ID != "" && l.Run > c.Run || d.LogRead != nil && !d.LogRead(l.EngineID) {
			continue
		}
		if err := d.Swarm.RemoveEnded(ctx, l.EngineID); err != nil {
			return err
		}
	}
	return nil
}

// volumeNeeded says whether a node's volume is that of a container in one of
// the states, or holds what no bucket has.
func volumeNeeded(ctx context.Context, d *Deps, node, id string, states ...ide.Status) (bool, error) {
	_, needed, err := volumeOf(ctx, d, node, id, states...)
	return needed, err
}

// volumeOf is volumeNeeded for who wants the container, too, which is empty when
// there is none.
func volumeOf(ctx context.Context, d *Deps, node, id string, states ...ide.Status) (ide.Container, bool, error) {
	c, err := d.Store.Container(ctx, id)
	if ide.HasCode(err, ide.ContainerNotFound) {
		return ide.Container{}, false, nil
	}
	unsaved := c.Unsaved || c.Status == ide.Stopping && c.Restored == c.Run
	return c, slices.Contains(c.Kept, node) || c.Node == node && (unsaved || slices.Contains(states, c.Status)), err
}

// Strays remembers which volumes of a node nothing has needed, and since when.
type Strays map[string]time.Time

// SweepVolumes asks for the removal of the volumes of this node that nothing has
// needed for a while: what a node held that was away when its container was
// purged, for one. Nothing is swept before the records are known to be whole.
func SweepVolumes(ctx context.Context, d *Deps, node string, strays Strays) error {
	rebuilt, err := d.Store.Rebuilt(ctx)
	if err != nil || !rebuilt {
		clear(strays)
		return err
	}
	ids, err := d.Swarm.Volumes(ctx)
	if err != nil {
		return err
	}
	for id := range strays {
		if !slices.Contains(ids, id) {
			delete(strays, id)
		}
	}
	for _, id := range ids {
		needed, err := volumeNeeded(ctx, d, node, id, ide.Starting, ide.Running, ide.Stopping)
		if err != nil {
			return err
		}
		since, stray := strays[id]
		switch {
		case needed:
			delete(strays, id)
		case !stray:
			strays[id] = time.Now()
		case time.Since(since) > strayGrace:
			d.Log.Info("volume is removed that nothing needs", "container", id, "node", node)
			if err := d.Store.DropVolume(ctx, node, id); err != nil {
				return err
			}
			delete(strays, id)
		}
	}
	return nil
}
