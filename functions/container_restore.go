package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// RestoreContainerArgs is the job of a start with an earlier generation.
type RestoreContainerArgs struct {
	Request
	ID   string         `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Body RestoreRequest `json:"body"`
	Run  int            `json:"run"`
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
		}
		return anotherRun(d, p, c, false, &a.Run, func(c *ide.Container) error {
			if err := down(c); err != nil {
				return err
			}
			if c.Unsaved {
				return state(*c, "Its node holds files that could not be saved. Start it to keep them, or give them up with a forced stop.")
			}
			return nil
		}), nil
	},
	Run: func(ctx context.Context, d *Deps, a RestoreContainerArgs) error {
		if err := d.goBack(ctx, a); err != nil {
			return err
		}
		return start(ctx, d, a.ID, "container-restore")
	},
	Fail: func(ctx context.Context, d *Deps, a RestoreContainerArgs, cause *ide.Error) error {
		return failStart(ctx, d, a.ID, runOf(ctx), "container-restore", cause)
	},
})

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
}

// Generations lists the kept saves of a container's workspace, newest first.
func Generations(ctx context.Context, d *Deps, c ide.Container) ([]Generation, error) {
	list := []Generation{}
	if d.S3.Place(c) == nil {
		return list, nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	secrets, _, err := d.secrets(c)
	if err != nil {
		return nil, err
	}
	b, err := d.S3.Open(ctx, c, secrets)
	if err != nil {
		return nil, err
	}
	kept, err := b.Generations(ctx)
	if err != nil {
		return nil, err
	}
	for i := len(kept) - 1; i >= 0; i-- {
		list = append(list, Generation{kept[i].Number, kept[i].At})
	}
	return list, nil
}
