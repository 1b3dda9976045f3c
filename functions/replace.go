package functions

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/swarm"
)

// errNodeLost ends the steps of a start whose node is not up any more.
var errNodeLost = ide.Transient(ide.ContainerStartFailed, nil, "Its node does not answer any more.")

// nodeLookEvery is between two looks at the node of a start. Not up twice in a row
// is lost.
const nodeLookEvery = 2500 * time.Millisecond

// start brings a run of a container up: the work of container-create and
// container-start, and the second half of a move or restart. Where the node is lost,
// or fails to run it and another can take it, it goes on there as the next run, in
// the same job. What a node alone says is no verdict on an image: that is final when
// a second node has said it. force goes on with what the bucket has, also where the
// last save is missing.
func start(ctx context.Context, d *Deps, id, by string, force bool) error {
	c, err := d.Store.Container(ctx, id)
	if err != nil {
		return err
	}
	run := runOf(ctx)
	err = d.watched(ctx, c, func(ctx context.Context) error { return startRun(ctx, d, id, run, by, force) })
	lost := errors.Is(err, errNodeLost)
	if err == nil {
		d.noteStart(ctx, c.Node)
	}
	if err == nil || ctx.Err() != nil || !lost && !errors.Is(err, swarm.ErrNodeFault) {
		return err
	}
	if err := d.elsewhere(ctx, id, by, lost, err); err != nil {
		return err
	}
	return start(ctx, d, id, by, force)
}

// watched does the steps of a start while its node is up.
func (d *Deps) watched(ctx context.Context, c ide.Container, do func(context.Context) error) error {
	watched, end := context.WithCancelCause(ctx)
	defer end(nil)
	go func() {
		for seen := 0; seen < 2; {
			nodes, err := d.Store.Nodes(watched)
			switch {
			case err != nil:
			case ide.FateOf(nodes, c.Node) == ide.NodeUp:
				seen = 0
			default:
				if seen++; seen == 2 {
					end(errNodeLost)
				}
			}
			if pause(watched, nodeLookEvery) != nil {
				return
			}
		}
	}()
	err := do(watched)
	if err != nil && ctx.Err() == nil && errors.Is(context.Cause(watched), errNodeLost) {
		return errNodeLost
	}
	return err
}

// elsewhere begins the next run of a start on a node that has not failed it yet. It
// returns why it does not: cause itself, if another attempt there may help or two
// nodes say the same.
func (d *Deps) elsewhere(ctx context.Context, id, by string, lost bool, cause error) error {
	r := ctx.Value(runningKey{}).(*running)
	c, err := d.Store.Container(ctx, id)
	if err != nil {
		return err
	}
	var failed []failedOn
	if err := resultInto(ctx, failedOnKey, &failed); err != nil {
		return err
	}
	agreed := ide.IsPermanent(cause) && slices.ContainsFunc(failed, func(f failedOn) bool { return f.Final && f.Node != c.Node })
	failed = append(failed, failedOn{Node: c.Node, Why: ide.AsError(cause).Message, Final: ide.IsPermanent(cause)})
	var not []string
	for _, f := range failed {
		not = append(not, f.Node)
	}
	switch {
	case agreed, c.Unsaved, c.Restored == c.Run, r.bound.Load() != nil && *r.bound.Load() != "":
		return cause // the same from two nodes, or only this node will do
	}
	if err := d.Store.FitsElsewhere(ctx, ide.Principal{Role: ide.Admin}, c, not, ""); err != nil {
		details, _ := ide.AsError(err).Details.(map[string]any)
		if details["never"] == nil && ide.HasCode(err, ide.ResourceLimitExceeded) && ide.IsPermanent(cause) {
			return ide.Transient(ide.AsError(cause).Code, cause, "%s", ide.AsError(cause).Message) // another node has no room yet
		}
		return cause
	}
	r.endStep(cause)
	SetResult(ctx, failedOnKey, failed)
	if r.aim.Load() == nil {
		Aim(ctx, func(run int, s ide.Status) bool {
			at := runOf(ctx) // and the next, for a moment
			return (run == at || run == at+1) && slices.Contains(r.info.Expect, s)
		})
	}
	if err := remove(ctx, d, c, lost); err != nil {
		return err
	}
	message := "Its node failed to start it: it is started on another."
	if lost {
		message = "Its node was lost: it is started on another."
	}
	d.Log.Warn("start goes on on another node", "container", id, "node", c.Node, "err", cause)
	return Step(ctx, "place", func(ctx context.Context) error {
		return d.placeNext(ctx, c, rerun{by: by, not: not, said: message}, func(now *ide.Container) error {
			if now.Run != c.Run || now.Status != ide.Starting {
				return errSuperseded
			}
			return nil
		})
	})
}

// noteStart notes that a node has started a container, and which others have failed
// to: only then is the fault theirs.
func (d *Deps) noteStart(ctx context.Context, node string) {
	var failed []failedOn
	err := errors.Join(resultInto(ctx, failedOnKey, &failed), d.Store.NodeStarted(ctx, node))
	for _, f := range failed {
		err = errors.Join(err, d.Store.NodeFailed(ctx, f.Node))
	}
	if err != nil {
		d.Log.Warn("failures of nodes are not counted", "err", err)
	}
}

// failedOn is a node that has failed to start a job's container, as the job's result
// names it. Final says that another try there would not have helped.
type failedOn struct {
	Node  string `json:"node"`
	Why   string `json:"why"`
	Final bool   `json:"final,omitempty"`
}

const failedOnKey = "failedOn"
