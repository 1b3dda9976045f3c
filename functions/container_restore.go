package functions

import (
	"context"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/internal/workspace"
	"berth/queue"
)

// RestoreContainerArgs is the job of a start with an earlier generation.
type RestoreContainerArgs struct {
	Request
	ID   string         `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Body RestoreRequest `json:"body"`
	Run  int            `json:"run"`
	Was  *Before        `json:"was,omitempty"`
}

// Before is what a container was when a job was admitted that may leave it so.
type Before struct {
	Status ide.Status `json:"status"`
	Node   string     `json:"node,omitempty"`
	Error  *ide.Error `json:"error,omitempty"`
}

// RestoreRequest names a generation.
type RestoreRequest struct {
	Generation int64 `json:"generation" minimum:"1" example:"12" doc:"One of the kept generations of its workspace"`
}

// RestoreContainer starts a stopped or failed container with an earlier
// generation of its workspace, which becomes the newest one: what was saved
// later stays in the bucket, so that going back can be undone in the same way.
// It is a start, so that nothing else can be at work on the workspace meanwhile.
var RestoreContainer = define(Function[RestoreContainerArgs]{
	Name: "container-restore", Doc: "Go back to an earlier save, and start the container with it", Route: "POST /api/containers/{id}/restore",
	Queue: queue.Default, Attempts: 12, Timeout: 5 * time.Minute, Cancelable: true, Moves: true,
	Expect: []ide.Status{ide.Starting, ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *RestoreContainerArgs) (store.Admission, error) {
		c, err := own(ctx, d, p, a.ID)
		switch {
		case err != nil:
			return store.Admission{}, err
		case d.S3.Place(c) == nil:
			return store.Admission{}, state(c, "Its workspace is kept nowhere.")
		case !c.Status.Live():
			if err := d.isKept(ctx, c, a.Body.Generation); err != nil {
				return store.Admission{}, err
			}
		}
		return anotherRun(d, p, c, false, &a.Run, func(c *ide.Container) error {
			if err := down(c); err != nil {
				return err
			}
			if c.Unsaved {
				return state(*c, "Its node holds files that could not be saved. Start it to keep them, or give them up with a forced stop.")
			}
			a.Was = &Before{Status: c.Status, Node: c.Node, Error: c.Error}
			return nil
		}), nil
	},
	Run: func(ctx context.Context, d *Deps, a RestoreContainerArgs) error {
		if err := d.goBack(ctx, a); err != nil {
			return err
		}
		return start(ctx, d, a.ID, "container-restore", true)
	},
	Fail: func(ctx context.Context, d *Deps, a RestoreContainerArgs, cause *ide.Error) error {
		if a.Was != nil && resultOf(ctx, "generation") == nil {
			return d.asBefore(ctx, a, cause)
		}
		return failStart(ctx, d, a.ID, runOf(ctx), "container-restore", cause)
	},
})

// isKept says whether a generation can be gone back to: NOT_FOUND where it cannot.
func (d *Deps) isKept(ctx context.Context, c ide.Container, generation int64) error {
	var list []workspace.Generation
	err := d.inBucket(ctx, c, func(ctx context.Context, b *workspace.Bucket) (err error) {
		list, err = b.Generations(ctx)
		return err
	})
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(list, func(g workspace.Generation) bool { return g.Number == generation }):
		return nil
	case len(list) == 0:
		return ide.Errorf(ide.NotFound, "There is no generation %d: the workspace has none.", generation)
	}
	return ide.Errorf(ide.NotFound, "There is no generation %d, or it is not kept any more. The oldest that is kept is %d, the newest %d.",
		generation, list[0].Number, list[len(list)-1].Number)
}

// asBefore gives a container back the state it was in before it was to go back to
// a generation: no such generation could be made the newest, and nothing has
// been made in Swarm.
func (d *Deps) asBefore(ctx context.Context, a RestoreContainerArgs, cause *ide.Error) error {
	_, err := d.Store.MoveFrom(ctx, a.ID, a.Run, []ide.Status{ide.Starting}, a.Was.Status, "container-restore", "It is as it was before. "+cause.Message,
		func(c *ide.Container) { c.Node, c.Error = a.Was.Node, a.Was.Error })
	if ide.HasCode(err, ide.Conflict) || ide.HasCode(err, ide.ContainerNotFound) {
		return nil // a stop or a later run owns it now
	}
	if err != nil {
		return err
	}
	return d.Store.Release(ctx, a.ID, a.Run)
}

// goBack makes an earlier generation the newest, once: when the run has begun
// to save, doing so again would take its next generation away.
func (d *Deps) goBack(ctx context.Context, a RestoreContainerArgs) error {
	if resultOf(ctx, "generation") != nil {
		return nil
	}
	c, err := d.Store.Container(ctx, a.ID)
	if err != nil {
		return err
	}
	secrets, _, err := d.secrets(c)
	if err != nil {
		return err
	}
	return Step(ctx, "generation", func(ctx context.Context) error {
		b, err := d.S3.Open(ctx, c, secrets)
		if err != nil {
			return err
		}
		n, err := b.GoBack(ctx, a.Body.Generation)
		if err != nil {
			return err
		}
		SetResult(ctx, "generation", n) // written with the next step, before there is a service
		return nil
	})
}

// Generation is a save that can be gone back to.
type Generation struct {
	Generation int64     `json:"generation" example:"12" doc:"Its number in the bucket"`
	At         time.Time `json:"at" doc:"When it was saved, by the store's clock"`
	Files      int       `json:"files" example:"2003" doc:"Files in it"`
	Bytes      int64     `json:"bytes" example:"104857600" doc:"Their bytes"`
}

// mostGenerations bounds the list of a workspace that saves all the time.
const mostGenerations = 200

// Generations lists the kept saves of a container's workspace, newest first, at
// most mostGenerations.
func Generations(ctx context.Context, d *Deps, c ide.Container) ([]Generation, error) {
	list := []Generation{}
	err := d.inBucket(ctx, c, func(ctx context.Context, b *workspace.Bucket) error {
		kept, err := b.DescribedGenerations(ctx, mostGenerations)
		for i := len(kept) - 1; i >= 0; i-- {
			list = append(list, Generation{kept[i].Number, kept[i].At, kept[i].Files, kept[i].Bytes})
		}
		return err
	})
	return list, err
}

// inBucket does something with the bucket of a container's workspace for somebody
// who waits; nothing where it is kept nowhere.
func (d *Deps) inBucket(ctx context.Context, c ide.Container, do func(context.Context, *workspace.Bucket) error) error {
	if d.S3.Place(c) == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	secrets, _, err := d.secrets(c)
	if err != nil {
		return err
	}
	b, err := d.S3.Open(ctx, c, secrets)
	if err != nil {
		return err
	}
	return do(ctx, b)
}
