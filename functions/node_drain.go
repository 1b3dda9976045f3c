package functions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/swarm"
	"berth/queue"
)

// DrainNodeArgs is the job of emptying a node.
type DrainNodeArgs struct{ NodeInput }

// DrainNode empties a node: nothing new is placed there, its containers are moved
// one after the other, each with its workspace saved, and when none is left Swarm
// takes its own tasks away, too. What could not be moved goes on running there, the
// node stays closed, and the job has failed with the reasons.
var DrainNode = define(Function[DrainNodeArgs]{
	Name: "node-drain", Doc: "Move all containers of a node elsewhere, and place nothing there any more", Route: "POST /api/nodes/{id}/drain",
	Queue: queue.Default, Attempts: 12, Timeout: 12 * time.Hour, Cancelable: true,
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *DrainNodeArgs) (store.Admission, error) {
		return admitNode(ctx, d, p, &a.ID, anyNode)
	},
	Run: drain,
})

// errActivated ends a drain whose node takes containers again.
var errActivated = ide.Errorf(ide.Canceled, "The node was activated again.")

func drain(ctx context.Context, d *Deps, a DrainNodeArgs) error {
	begun := resultOf(ctx, "closed") != nil
	if resultOf(ctx, "moving") != nil { // it has waited, or was cut off, after that
		return d.emptied(ctx, a.ID)
	}
	err := Step(ctx, "close", func(ctx context.Context) error {
		n, err := d.swarmNode(ctx, a.ID)
		switch {
		case err != nil:
			return err
		case n.Availability != swarm.Active: // by an earlier attempt, or by hand
		case begun:
			return errActivated
		default:
			stranded, err := d.Swarm.Stranded(ctx, a.ID)
			if err != nil {
				return err
			}
			if len(stranded) > 0 {
				return ide.Errorf(ide.Conflict, "%s can run on no other node, so draining this one would end it.", strings.Join(stranded, ", "))
			}
			// not drain yet: that would end the containers without saving them
			if err := d.Swarm.SetAvailability(ctx, a.ID, swarm.Pause); err != nil {
				return err
			}
		}
		SetResult(ctx, "closed", true)
		return d.nodeShows(ctx, a.ID, func(n ide.Node) bool { return n.Availability != swarm.Active })
	})
	if err != nil {
		return err
	}
	return d.emptied(ctx, a.ID)
}

// emptied moves what is on a closed node elsewhere, and drains it.
func (d *Deps) emptied(ctx context.Context, node string) error {
	stayed, err := d.moveAll(ctx, node)
	if err != nil {
		return err
	}
	if len(stayed) > 0 {
		return ide.Errorf(ide.ResourceLimitExceeded, "The node takes nothing new, but %d of its containers could not be moved. %s", len(stayed), strings.Join(stayed, " "))
	}
	return Step(ctx, "drain", func(ctx context.Context) error {
		if n, err := d.swarmNode(ctx, node); err != nil || n.Availability == swarm.Active {
			return errors.Join(err, errActivated)
		}
		if err := d.Swarm.SetAvailability(ctx, node, swarm.Drain); err != nil {
			return err
		}
		return d.nodeShows(ctx, node, func(n ide.Node) bool { return n.Availability == swarm.Drain })
	})
}

// swarmNode reads a node from Swarm.
func (d *Deps) swarmNode(ctx context.Context, id string) (ide.Node, error) {
	nodes, err := d.Swarm.Nodes(ctx)
	if err != nil {
		return ide.Node{}, err
	}
	i := slices.IndexFunc(nodes, func(n ide.Node) bool { return n.ID == id })
	if i < 0 {
		return ide.Node{}, ide.Errorf(ide.NotFound, "The node has left the Swarm.")
	}
	return nodes[i], nil
}

// stays is a container that a drain could not move, and why.
type stays struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// moveAll moves the containers of a node, one step each, and says of those that
// stay why they do. It waits for each move outside of its slot, so what it knows
// stands in the job's result.
func (d *Deps) moveAll(ctx context.Context, node string) (stayed []string, err error) {
	var stay []stays
	if err := resultInto(ctx, "stayed", &stay); err != nil {
		return nil, err
	}
	moved, _ := resultOf(ctx, "moved").(float64)
	id, _ := resultOf(ctx, "moving").(string) // it may have left, and not have arrived
	tried := map[string]bool{}
	for _, s := range stay {
		tried[s.ID] = true
	}
	for {
		if id == "" {
			live, _, err := d.onNode(ctx, node)
			if err != nil {
				return nil, err
			}
			i := slices.IndexFunc(live, func(c ide.Container) bool { return !tried[c.ID] })
			if i < 0 {
				break
			}
			id = live[i].ID
		}
		tried[id] = true
		SetResult(ctx, "moving", id)
		err = Step(ctx, "move "+id, func(ctx context.Context) error {
			n, err := d.swarmNode(ctx, node)
			if err != nil {
				return err
			}
			if n.Availability == swarm.Active {
				return errActivated
			}
			why, err := d.moveOff(ctx, id, node)
			if err != nil {
				return err
			}
			SetResult(ctx, "moving", nil)
			SetResult(ctx, "move", nil)
			if why != "" {
				Progress(ctx, why)
				stay = append(stay, stays{id, why})
				SetResult(ctx, "stayed", stay)
				return nil
			}
			moved++
			SetResult(ctx, "moved", moved)
			return nil
		})
		if err != nil {
			return nil, err
		}
		id = ""
	}
	for _, s := range stay {
		stayed = append(stayed, fmt.Sprintf("%s: %s", s.ID, s.Why))
	}
	return stayed, nil
}

// moveOff asks for the move of a container off a node, and waits until that has
// ended, or until the container has gone by itself. It says why it is still there,
// if it is.
func (d *Deps) moveOff(ctx context.Context, id, node string) (why string, err error) {
	job, _ := resultOf(ctx, "move").(string)
	c, err := d.Store.Container(ctx, id)
	gone := ide.HasCode(err, ide.ContainerNotFound) || err == nil && (c.Node != node || !c.Status.Live())
	if err != nil && !gone {
		return "", err
	}
	switch {
	case job != "":
	case gone && queue.FunctionOf(c.Job) == moveName: // asked for by an earlier attempt, or by somebody else
		job = c.Job
	case gone:
		return "", nil
	case c.Status == ide.Running:
		out, err := MoveContainer.Enqueue(ctx, d, ide.Principal{Name: "node-drain", Role: ide.Admin}, &MoveContainerArgs{ID: id})
		switch e := ide.AsError(err); {
		case err == nil:
			job = out.Job.ID
		case e.Code == ide.ResourceLimitExceeded, e.Code == ide.PlacementImpossible:
			return e.Message, nil
		case e.Code != ide.Conflict && e.Code != ide.ContainerNotFound:
			return "", err
		}
	}
	if job != "" { // a move that failed early leaves the container as it is
		SetResult(ctx, "move", job)
		if j, err := d.Store.Job(ctx, job); err != nil || j.Status.Ended() {
			return whyNot(j), err
		}
	}
	if !gone {
		Progress(ctx, fmt.Sprintf("It is %s.", c.Status))
	}
	return "", waitForJobs()
}

// whyNot says why a job has failed; empty is that it has not. One that was
// canceled gave way to somebody's stop.
func whyNot(j ide.Job) string {
	switch {
	case j.Status != ide.JobFailed:
		return ""
	case j.Error == nil:
		return "Its move failed."
	}
	return j.Error.Message
}
