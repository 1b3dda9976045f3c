package functions

import (
	"context"
	"errors"
	"fmt"
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
// the states, or may hold what no bucket has.
func volumeNeeded(ctx context.Context, d *Deps, node, id string, states ...ide.Status) (bool, error) {
	_, needed, err := volumeOf(ctx, d, node, id, states...)
	return needed, err
}

// volumeOf is volumeNeeded for who wants the container, too, which is empty when
// there is none. A node that the Swarm does not list may have joined again under
// another ID: any node may be that machine. While a container has files that are
// in no bucket, no node drops its volume.
func volumeOf(ctx context.Context, d *Deps, node, id string, states ...ide.Status) (ide.Container, bool, error) {
	c, err := d.Store.Container(ctx, id)
	if ide.HasCode(err, ide.ContainerNotFound) {
		return ide.Container{}, false, nil
	}
	if err != nil || c.Unsaved {
		return c, true, err
	}
	nodes, err := d.Store.Nodes(ctx)
	if err != nil {
		return c, true, err
	}
	here := func(of string) bool { return of == node || left(nodes, of) }
	unsaved := c.Status == ide.Stopping && c.Restored == c.Run
	return c, slices.ContainsFunc(c.Kept, here) || here(c.Node) && (unsaved || slices.Contains(states, c.Status)), nil
}

// left says whether the Swarm does not list a node.
func left(nodes []ide.Node, id string) bool {
	return id != "" && !slices.ContainsFunc(nodes, func(n ide.Node) bool { return n.ID == id })
}

// adopt makes a node that of a container whose unsaved files its volume holds,
// and whose own node has left the Swarm: it is the same machine, which has joined
// again, or one that has got its disk. The sweep then saves the files.
func adopt(ctx context.Context, d *Deps, node, id string) error {
	c, err := d.Store.Container(ctx, id)
	if err != nil || !c.Unsaved || c.Status != ide.Failed {
		return unlessGone(err)
	}
	nodes, err := d.Store.Nodes(ctx)
	if err != nil || !left(nodes, c.Node) || left(nodes, node) {
		return err
	}
	was, now := c.Node, time.Now().UTC()
	message := fmt.Sprintf("Its node has left the Swarm. Its volume is on the node %s, which is its node from now on: the files that are not saved yet are saved from there.", node)
	err = d.Store.Note(ctx, id, "container.adopted", message, func(rec *ide.Container) bool {
		if rec.Node != was || rec.Run != c.Run || !rec.Unsaved {
			return false
		}
		rec.Node, rec.NextTry = node, &now
		return true
	})
	return unlessGone(err)
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
		if err := adopt(ctx, d, node, id); err != nil {
			return err
		}
		c, needed, err := volumeOf(ctx, d, node, id, ide.Starting, ide.Running, ide.Stopping)
		if err != nil {
			return err
		}
		if c.ID == "" { // without a record only a purge says that nothing of it is needed
			purged, err := d.Store.Purged(ctx, id)
			if err != nil {
				return err
			}
			needed = !purged
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
