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
		c, err := d.Store.Container(ctx, a.ID)
		switch {
		case err != nil:
			return unlessGone(err)
		case c.Run == a.Run && c.Status == ide.Stopping:
			return failStop(ctx, d, a.stop(), cause)
		case c.Run == a.Run && !c.Status.Live():
			return record(ctx, d, c) // it is down, with all saved
		}
		return failStart(ctx, d, a.ID, runOf(ctx), moveName, cause)
	},
})

// stop is the first half of a move.
func (a MoveContainerArgs) stop() StopContainerArgs {
	return StopContainerArgs{ID: a.ID, Run: a.Run, Reason: ide.Manual}
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
	if err := d.Store.FitsElsewhere(ctx, p, c, a.From, a.To); err != nil {
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

// move is exact over any number of attempts: the record says how far it has come,
// and the job which run it has begun, for both are written together.
func move(ctx context.Context, d *Deps, a MoveContainerArgs) error {
	c, err := d.Store.Container(ctx, a.ID)
	if err != nil {
		return err
	}
	begun := runOf(ctx) != a.Run
	// from here until the next run is its own, the state may be that of either half
	Aim(ctx, func(run int, s ide.Status) bool {
		return run == a.Run && !begun && slices.Contains([]ide.Status{ide.Stopping, ide.Stopped}, s) ||
			run == a.Run+1 && slices.Contains([]ide.Status{ide.Starting, ide.Running}, s)
	})
	if !begun {
		if c.Run != a.Run || c.Status != ide.Stopping && c.Status != ide.Stopped {
			return errSuperseded
		}
		if c.Status == ide.Stopping {
			if _, err := d.bringDown(ctx, a.stop(), c, nil, moveName); err != nil {
				return err
			}
		}
		if err := Step(ctx, "place", func(ctx context.Context) error { return d.placeElsewhere(ctx, a) }); err != nil {
			return err
		}
	}
	return start(ctx, d, a.ID, a.Run+1, moveName, false)
}

// placeElsewhere begins the next run on another node.
func (d *Deps) placeElsewhere(ctx context.Context, a MoveContainerArgs) error {
	r := ctx.Value(runningKey{}).(*running)
	c, err := d.Store.Container(ctx, a.ID)
	switch {
	case err != nil:
		return err
	case c.Run != a.Run:
		return errSuperseded // somebody else has started it
	}
	run := 0
	adm := anotherRun(d, ide.Principal{Name: r.held.Job.Owner, Role: ide.Admin}, c, false, &run, func(*ide.Container) error { return nil })
	adm.Function, adm.By = moveName, ide.Principal{Name: r.held.Job.Owner, Role: ide.Admin}
	adm.MaxPerKey, adm.Only, adm.Not, adm.Message = 0, a.To, a.From, "It is started on another node."
	c, err = d.Store.GoOn(ctx, r.held.Job.ID, adm)
	var e *ide.Error
	if errors.As(err, &e) && (e.Code == ide.ResourceLimitExceeded || e.Code == ide.PlacementImpossible) {
		if r.placing() >= placeAttempts {
			return err // permanent: it stays down, with all saved
		}
		return ide.Transient(e.Code, err, "%s", e.Message)
	}
	if err != nil {
		return err
	}
	r.next.Store(int64(c.Run))
	SetResult(ctx, "node", c.Node)
	return nil
}

// placeAttempts is how often a move looks for room that was there when it was
// asked for.
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
