package functions

import (
	"context"
	"errors"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// MoveRequest says where to.
type MoveRequest struct {
	Node string `json:"node,omitempty" maxLength:"64" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"Engine ID or name of the node to move to; another one with room if missing"`
}

// MoveContainerArgs is the job of a move.
type MoveContainerArgs struct {
	Request
	ID   string       `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Body *MoveRequest `json:"-"`
	Run  int          `json:"run"`  // the one that is stopped; the next is started
	From string       `json:"from"` // engine ID of the node it leaves
	To   string       `json:"to,omitempty"`
}

func (a *MoveContainerArgs) fingerprint() any { return []any{a.ID, a.Body} }

func (a *MoveContainerArgs) wish() any { return a.To }

const moveName = "container-move"

// MoveContainer stops a running container with its workspace saved and verified,
// and starts it on another node: same bucket, same URLs, same passwords, the next
// run. It is asked for only where there is room now. If the room is gone when it
// is needed the start is tried again, and in the end the container is stopped, with
// all saved.
var MoveContainer = define(Function[MoveContainerArgs]{
	Name: moveName, Doc: "Move a running container to another node: save, stop, start there", Route: "POST /api/containers/{id}/move",
	Queue: queue.Default, Attempts: stopAttempts, Timeout: 2 * time.Hour, Moves: true,
	Expect: []ide.Status{ide.Stopping, ide.Stopped, ide.Starting, ide.Running},
	Admit:  admitMove,
	Run:    move,
	Fail: func(ctx context.Context, d *Deps, a MoveContainerArgs, cause *ide.Error) error {
		return d.failAnew(ctx, a.rerun(), cause)
	},
})

func (a MoveContainerArgs) rerun() rerun {
	return rerun{stop: StopContainerArgs{ID: a.ID, Run: a.Run, Reason: ide.Manual}, by: moveName, only: a.To, not: []string{a.From}, said: "It is started on another node."}
}

func admitMove(ctx context.Context, d *Deps, p ide.Principal, a *MoveContainerArgs) (store.Admission, error) {
	c, err := own(ctx, d, p, a.ID)
	if err != nil {
		return store.Admission{}, err
	}
	a.From = c.Node
	if a.Body != nil && a.Body.Node != "" {
		n, err := d.node(ctx, a.Body.Node)
		switch {
		case ide.HasCode(err, ide.NotFound):
			return store.Admission{}, invalid("body.node", "node must be the engine ID of a node, or a name that only one has")
		case err != nil:
			return store.Admission{}, err
		case n.ID == c.Node && c.Status == ide.Running && queue.FunctionOf(c.Job) != moveName:
			return store.Admission{}, state(c, "It is on that node.")
		}
		a.To = n.ID
	}
	if err := d.Store.FitsElsewhere(ctx, p, c, []string{a.From}, a.To); err != nil {
		return store.Admission{}, err
	}
	return store.Admission{
		Container: a.ID, Message: "A move to another node was asked for.",
		Edit: func(c *ide.Container) error {
			if c.Status != ide.Running || c.Node != a.From {
				return state(*c, "It was changed in the meantime.")
			}
			a.Run, c.Status = c.Run, ide.Stopping
			return nil
		},
	}, nil
}

func move(ctx context.Context, d *Deps, a MoveContainerArgs) error { return d.anew(ctx, a.rerun()) }

// rerun is a stop of a run and the start of the next, in one job.
type rerun struct {
	stop StopContainerArgs // the first half
	by   string            // the function
	only string            // the node for the second half, by engine ID; empty is any
	not  []string          // those that will not do
	said string            // of the event with which the second half begins
}

// rerunFunctions are those whose jobs stop a run and start the next.
var rerunFunctions = []string{moveName, restartName}

// anew is exact over any number of attempts: the record says how far it has come,
// and the job which run it has begun, for both are written together.
func (d *Deps) anew(ctx context.Context, a rerun) error {
	c, err := d.Store.Container(ctx, a.stop.ID)
	if err != nil {
		return err
	}
	begun := runOf(ctx) != a.stop.Run
	// from here until the next run is its own, the state may be that of either half
	Aim(ctx, func(run int, s ide.Status) bool {
		at := runOf(ctx) // and the next, for a moment
		return run == a.stop.Run && !begun && slices.Contains([]ide.Status{ide.Stopping, ide.Stopped}, s) ||
			run > a.stop.Run && (run == at || run == at+1) && slices.Contains([]ide.Status{ide.Starting, ide.Running}, s)
	})
	Bind(ctx, a.only)
	if !begun {
		if c.Run != a.stop.Run || c.Status != ide.Stopping && c.Status != ide.Stopped {
			return errSuperseded
		}
		if c.Status == ide.Stopping {
			if _, err := d.bringDown(ctx, a.stop, c, nil, a.by); err != nil {
				return err
			}
		}
		if err := Step(ctx, "place", func(ctx context.Context) error { return d.placeAnew(ctx, a) }); err != nil {
			return err
		}
	}
	return start(ctx, d, c.ID, a.by, false)
}

// failAnew cleans up after the half that has failed.
func (d *Deps) failAnew(ctx context.Context, a rerun, cause *ide.Error) error {
	c, err := d.Store.Container(ctx, a.stop.ID)
	switch {
	case err != nil:
		return unlessGone(err)
	case c.Run == a.stop.Run && c.Status == ide.Stopping:
		return failStop(ctx, d, a.stop, cause)
	case c.Run == a.stop.Run && !c.Status.Live():
		return record(ctx, d, c) // it is down, with all saved
	}
	return failStart(ctx, d, c.ID, runOf(ctx), a.by, cause)
}

// placeAnew begins the next run.
func (d *Deps) placeAnew(ctx context.Context, a rerun) error {
	r := ctx.Value(runningKey{}).(*running)
	c, err := d.Store.Container(ctx, a.stop.ID)
	switch {
	case err != nil:
		return err
	case c.Run != a.stop.Run:
		return errSuperseded // somebody else has started it
	}
	err = d.placeNext(ctx, c, a, down)
	var e *ide.Error
	if errors.As(err, &e) && (e.Code == ide.ResourceLimitExceeded || e.Code == ide.PlacementImpossible) {
		if r.placing() >= placeAttempts {
			return err // permanent: it stays down, with all saved
		}
		return ide.Transient(e.Code, err, "%s", e.Message)
	}
	return err
}

// placeNext begins the next run of a container, as the job's own, if may, which sees
// the record last, agrees.
func (d *Deps) placeNext(ctx context.Context, c ide.Container, a rerun, may func(*ide.Container) error) error {
	r := ctx.Value(runningKey{}).(*running)
	run := 0
	adm := anotherRun(d, ide.Principal{Name: r.held.Job.Owner, Role: ide.Admin}, c, false, &run, may)
	adm.Function, adm.By = a.by, ide.Principal{Name: r.held.Job.Owner, Role: ide.Admin}
	adm.MaxPerKey, adm.Only, adm.Not, adm.Message = 0, a.only, a.not, a.said
	c, err := d.Store.GoOn(ctx, r.held.Job.ID, adm)
	if err != nil {
		return err
	}
	r.next.Store(int64(c.Run))
	SetResult(ctx, "node", c.Node)
	return nil
}

// placeAttempts is how often the second half looks for room that was there when it
// was asked for.
const placeAttempts = 8

// placing counts how often the step "place" was begun.
func (r *running) placing() (n int) {
	for _, s := range r.held.Job.Steps {
		if s.Name == "place" {
			n++
		}
	}
	return n
}

// runOf is the container's run that a job is about.
func runOf(ctx context.Context) int {
	r := ctx.Value(runningKey{}).(*running)
	if next := r.next.Load(); next != 0 {
		return int(next)
	}
	return r.held.Run
}
