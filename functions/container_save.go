package functions

import (
	"context"
	"errors"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// SaveContainerArgs is the job of a save.
type SaveContainerArgs struct {
	Request
	ID  string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	Run int    `json:"run"`
}

// SaveContainer has a running container save its workspace now. It has
// succeeded when all that was written before it began is in the bucket.
var SaveContainer = define(Function[SaveContainerArgs]{
	Name: "container-save", Doc: "Save a running container's workspace now", Route: "POST /api/containers/{id}/save",
	Queue: queue.Default, Attempts: 5, Timeout: time.Hour, Cancelable: true,
	Expect: []ide.Status{ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *SaveContainerArgs) (store.Admission, error) {
		c, err := own(ctx, d, p, a.ID)
		if err != nil {
			return store.Admission{}, err
		}
		if c.Status != ide.Running {
			return store.Admission{}, state(c, "Only a running container can be saved.")
		}
		if d.S3.Place(c) == nil {
			return store.Admission{}, state(c, "Its workspace is kept nowhere.")
		}
		a.Run = c.Run
		return store.Admission{Container: a.ID}, nil
	},
	Run: func(ctx context.Context, d *Deps, a SaveContainerArgs) error {
		c, err := d.Store.Container(ctx, a.ID)
		if err != nil {
			return err
		}
		secrets, _, err := d.secrets(c)
		if err != nil {
			return err
		}
		var saved *ide.LastSave
		err = Step(ctx, "save", func(ctx context.Context) error {
			saved, err = d.askSave(ctx, c, d.agentAt(c.Address, secrets.AgentToken))
			return err
		})
		if err != nil {
			return err
		}
		SetResult(ctx, "lastSave", saved)
		_, err = d.Store.Update(ctx, a.ID, func(rec *ide.Container) error {
			if rec.Run == a.Run {
				rec.LastSave = saved
			}
			return nil
		})
		return err
	},
})

// askSave asks for a save and waits for it.
func (d *Deps) askSave(ctx context.Context, c ide.Container, a agent) (*ide.LastSave, error) {
	gone := func(err error) error {
		return ide.Transient(ide.WorkspaceUnsaved, err, "The agent in the container does not answer.")
	}
	if err := d.giveCredentials(ctx, c, a); err != nil {
		return nil, err
	}
	number, err := a.save(ctx)
	if err != nil {
		return nil, gone(err)
	}
	heard := time.Now()
	for wait := 20 * time.Millisecond; ; wait = min(wait*3/2, time.Second) {
		s, err := a.status(ctx)
		last := s.Workspace.LastSave
		switch {
		case errors.Is(err, errNoAgent) && time.Since(heard) > agentPatience:
			return nil, gone(err)
		case err != nil && !errors.Is(err, errNoAgent):
			return nil, err
		case err != nil:
		case s.Workspace.Done < number:
			heard = time.Now()
			if s.Workspace.Saving {
				Progress(ctx, "The workspace is being saved.")
			}
		case last != nil && last.Error == nil:
			return last, unlessGone(d.noteSave(ctx, c, s.Workspace))
		case last != nil:
			return nil, &ide.Error{Code: ide.WorkspaceUnsaved, Message: "The workspace could not be saved. " + last.Error.Message, Permanent: last.Error.Permanent}
		}
		if err := pause(ctx, wait); err != nil {
			return nil, err
		}
	}
}
