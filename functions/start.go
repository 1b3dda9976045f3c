package functions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
)

// startRun brings a run of a container up on its node. Every step may run twice,
// and late: what is there already is adopted, and once a stop has removed the run's
// secret no step can make a service again. force goes on with what the bucket has,
// also where the last save is missing.
func startRun(ctx context.Context, d *Deps, id string, run int, by string, force bool) error {
	c, err := d.Store.Container(ctx, id)
	if err != nil {
		return err
	}
	if c.Status == ide.Running {
		Settle(ctx)
		return record(ctx, d, c) // an earlier attempt came this far
	}
	secrets, data, err := d.secrets(c)
	if err != nil {
		return err
	}
	var secretID, address string
	var task ide.Task
	web := true
	type step struct {
		name string
		do   func(context.Context) error
	}
	kept := d.S3.Place(c) != nil
	var steps []step
	if kept {
		steps = append(steps, step{"bucket", func(ctx context.Context) error { return d.takePlace(ctx, c, secrets, force) }})
	}
	steps = append(steps, []step{
		{"config", func(ctx context.Context) error { return d.Swarm.PutConfig(ctx, c, []byte(c.Sealed)) }},
		{"secret", func(ctx context.Context) (err error) {
			secretID, err = d.Swarm.PutSecret(ctx, id, run, data)
			return err
		}},
		{"service", func(ctx context.Context) error {
			clamped, err := d.clamp(ctx, c)
			if err != nil {
				return err
			}
			if err := d.removeEarlier(ctx, c); err != nil {
				return err
			}
			return d.Swarm.CreateService(ctx, clamped, secretID)
		}},
		{"task", func(ctx context.Context) (err error) {
			task, err = d.Swarm.WaitRunning(ctx, c, func(message string) { Progress(ctx, message) })
			if errors.Is(err, swarm.ErrTaskEnded) && !ide.IsPermanent(err) { // the next attempt needs a service with attempts of its own
				return errors.Join(err, d.Swarm.RemoveService(ctx, id, run))
			}
			return err
		}},
		{"agent", func(ctx context.Context) (err error) {
			if c.NoAgent {
				address = task.Address
				return nil
			}
			if address, err = d.waitAgent(ctx, c, task.Address, secrets.AgentToken); err != nil {
				return err
			}
			return d.giveCredentials(ctx, c, d.agentAt(address, secrets.AgentToken))
		}},
		{"workspace", func(ctx context.Context) error {
			if !kept {
				Progress(ctx, "It is kept nowhere: nothing is restored or saved.")
				return nil
			}
			return d.restored(ctx, c, d.agentAt(address, secrets.AgentToken))
		}},
		{"programs", func(ctx context.Context) (err error) {
			if !c.NoAgent {
				if err := d.waitServices(ctx, d.agentAt(address, secrets.AgentToken)); err != nil {
					return err
				}
			}
			c, err = d.Store.Update(ctx, id, func(c *ide.Container) error {
				if c.Run == run {
					c.Address = address
				}
				return nil
			})
			return err
		}},
		{"urls", func(ctx context.Context) (err error) {
			web, err = d.waitURLs(ctx, c)
			return err
		}},
	}...)
	for _, s := range steps {
		if err := Step(ctx, s.name, s.do); err != nil {
			return err
		}
	}
	now := d.Store.Time(ctx)
	c, err = d.Store.Move(ctx, id, run, ide.Running, by, answering(web), func(c *ide.Container) {
		if c.StartedAt == nil {
			c.StartedAt = &now
		}
		c.Error, c.StoppedAt, c.ShutdownReason = nil, nil, ""
		c.Health = &ide.Health{Status: "healthy", LastCheck: now, Checks: ide.Checks{CodeServer: true, VNC: true}}
		c.Watch = ide.Watch{Used: &ide.Use{At: now, Source: ide.UseStart, Signal: ide.SignalRecord}}
	})
	if err != nil {
		return err
	}
	Settle(ctx)
	SetResult(ctx, "urls", c.URLs)
	return record(ctx, d, c)
}

// answering says which URLs of a container answer.
func answering(web bool) string {
	if web {
		return "All three URLs answer."
	}
	return "Editor and desktop answer; on the web port nothing listens yet."
}

// secrets opens a container's secrets, and returns them with the text that
// the container gets.
func (d *Deps) secrets(c ide.Container) (s ide.Secrets, data []byte, err error) {
	if err := d.Box.Open(sealContext(c.ID), c.Sealed, &s); err != nil {
		// while the key is changed another process may have it, or this one when it is started anew
		return s, nil, ide.Transient(ide.ContainerStartFailed, err, "The container's secrets cannot be opened with any SECRET_KEY of this process.")
	}
	told := ide.AgentConfig{Secrets: s, Place: d.S3.Place(c), Probe: c.Probe}
	if told.Place != nil {
		told.Place.Claim = len(c.Kept) > 0
		told.Place.Writer = fmt.Sprintf("%s/%d", c.ID, c.Run)
		told.Place.Unsaved = c.Unsaved || slices.Contains(c.Kept, c.Node)
	}
	data, err = json.Marshal(told)
	return s, data, err
}

// Secrets opens a container's secrets, for its owner.
func Secrets(d *Deps, c ide.Container) (ide.Secrets, error) {
	s, _, err := d.secrets(c)
	return s, err
}

// clamp lowers a container's limits to what its node has: Swarm would start
// it all the same, and the limit would be a lie.
func (d *Deps) clamp(ctx context.Context, c ide.Container) (ide.Container, error) {
	nodes, err := d.Store.Nodes(ctx)
	if err != nil {
		return c, err
	}
	for _, n := range nodes {
		if n.ID == c.Node {
			c.Resources.CPULimit = min(c.Resources.CPULimit, n.CPU)
			c.Resources.MemoryLimit = min(c.Resources.MemoryLimit, n.Memory)
		}
	}
	return c, nil
}

// removeEarlier takes away what a stop that failed left of the run before: a
// service of the same name would refuse this one, and its container, which may
// be saving until its grace is over, has the same volume. What runs on a node
// that is down is ended by its engine when it is back.
func (d *Deps) removeEarlier(ctx context.Context, c ide.Container) error {
	if c.Run == 1 {
		return nil
	}
	if err := d.Swarm.RemoveService(ctx, c.ID, c.Run-1); err != nil {
		return err
	}
	if err := d.Swarm.RemoveSecret(ctx, c.ID, c.Run-1); err != nil {
		return err
	}
	if err := d.Swarm.WaitGone(ctx, c.ID, c.Run-1); !errors.Is(err, swarm.ErrNodeDown) {
		return err
	}
	return nil
}

// failStart marks a run as failed and removes what was made of it. The config
// stays: it is the record, and the container can be started again.
func failStart(ctx context.Context, d *Deps, id string, run int, by string, cause *ide.Error) error {
	now := d.Store.Time(ctx)
	c, err := d.Store.MoveFrom(ctx, id, run, []ide.Status{ide.Starting}, ide.Failed, by, cause.Message, func(c *ide.Container) {
		c.Error, c.StoppedAt, c.ShutdownReason, c.Address = public(startError(cause)), &now, ide.ByError, ""
		if c.Restored == run { // programs may have begun to write
			c.Unsaved, c.NextTry = true, &now
		}
	})
	if ide.HasCode(err, ide.Conflict) || ide.HasCode(err, ide.ContainerNotFound) {
		return nil // it runs, or a stop or a later run owns it now, and cleans up
	}
	if err != nil {
		return err
	}
	if err := remove(ctx, d, c, false); err != nil {
		return err
	}
	if !c.Unsaved { // what an earlier run has left stays
		if err := d.removeVolume(ctx, c); err != nil {
			return err
		}
	}
	return record(ctx, d, c)
}

// record writes a container's record to its Swarm config, from which it comes
// back when Redis is lost. A start that failed before it made one has none.
func record(ctx context.Context, d *Deps, c ide.Container) error {
	return Step(ctx, "record", func(ctx context.Context) error {
		err := d.Swarm.UpdateConfig(ctx, c)
		if ide.HasCode(err, ide.ContainerNotFound) {
			return nil
		}
		return err
	})
}

// startError gives a cause that says nothing of starting the code of a failed
// start.
func startError(cause *ide.Error) *ide.Error {
	switch cause.Code {
	case ide.Docker, ide.Internal, ide.Conflict, ide.QueueUnavailable:
		return &ide.Error{Code: ide.ContainerStartFailed, Message: fmt.Sprintf("The container could not be started. %s", cause.Message), Details: cause.Details}
	}
	return cause
}

// remove takes a run's service and secret away, in the order that makes them
// stay away: the service first, since a secret in use cannot go, and then the
// secret, without which nobody can make the service again. When the tasks are
// gone it gives the reservation back. Where the node is known to be lost it does
// not wait for it: its engine ends them when it is back.
func remove(ctx context.Context, d *Deps, c ide.Container, lost bool) error {
	err := Step(ctx, "service", func(ctx context.Context) error {
		for {
			if err := d.Swarm.RemoveService(ctx, c.ID, c.Run); err != nil {
				return err
			}
			err := d.Swarm.RemoveSecret(ctx, c.ID, c.Run)
			if !ide.HasCode(err, ide.Conflict) {
				return err
			}
			// a start that woke up late has made the service again, or Swarm
			// has not yet let go of the secret
			if err := pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	return Step(ctx, "tasks", func(ctx context.Context) error {
		if err := d.waitGone(ctx, c); err != nil && !(lost && errors.Is(err, swarm.ErrNodeDown)) {
			return err
		}
		return d.Store.Release(ctx, c.ID, c.Run)
	})
}

// waitGone returns when no task of the run is left, or at once when force was
// asked for and a node does not answer.
func (d *Deps) waitGone(ctx context.Context, c ide.Container) error {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		for pause(wait, 200*time.Millisecond) == nil {
			if Forced(wait) {
				cancel()
			}
		}
	}()
	err := d.Swarm.WaitGone(wait, c.ID, c.Run)
	if err != nil && ctx.Err() == nil && Forced(ctx) {
		return nil // also when it is known at once that a node is down
	}
	return err
}

// pause waits, or returns why ctx ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-t.C:
		return nil
	}
}
