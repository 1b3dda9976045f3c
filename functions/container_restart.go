package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// RestartContainerArgs is the job of a restart.
type RestartContainerArgs struct {
	Request
	ID string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	By Caller `json:"by"`
}

// restartTarget is whose lease a restart takes.
func restartTarget(container string) string { return "restart-" + container }

// Caller is who asked for a job that asks for others on its behalf.
type Caller struct {
	Name   string     `json:"name"`
	Role   ide.Role   `json:"role"`
	Limits ide.Limits `json:"limits"`
}

func callerOf(p ide.Principal) Caller { return Caller{p.Name, p.Role, p.Limits} }

func (c Caller) principal() ide.Principal {
	return ide.Principal{Name: c.Name, Role: c.Role, Limits: c.Limits}
}

const restartName = "container-restart"

// RestartContainer stops a running container with its workspace saved and
// verified, and starts it again: same bucket, same URLs, same passwords. Both
// halves are jobs of their own, which its result names. A stop that does not
// save ends it, and nothing is started; so does a cancel between the halves.
var RestartContainer = define(Function[RestartContainerArgs]{
	Name: restartName, Doc: "Restart a running container: save, stop, start", Route: "POST /api/containers/{id}/restart",
	Queue: queue.Default, Attempts: 12, Timeout: 2 * time.Hour, Cancelable: true,
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *RestartContainerArgs) (store.Admission, error) {
		c, err := own(ctx, d, p, a.ID)
		if err != nil {
			return store.Admission{}, err
		}
		if c.Status != ide.Running {
			return store.Admission{}, state(c, "Only a running container can be restarted.")
		}
		a.By = callerOf(p)
		return store.Admission{Container: a.ID, Target: restartTarget(a.ID)}, nil // both halves need the container's lease
	},
	Run: func(ctx context.Context, d *Deps, a RestartContainerArgs) error {
		for _, half := range []string{"stop", "start"} {
			err := Step(ctx, half, func(ctx context.Context) error {
				j, err := act(ctx, d, a.By.principal(), half, a.ID)
				if err != nil {
					return err
				}
				if j == "" { // it is down already
					return nil
				}
				SetResult(ctx, half, j)
				return await(ctx, d, j)
			})
			if err != nil {
				return err
			}
		}
		return nil
	},
})

// restart is RestartContainer, for what it itself refers to.
var restart *Function[RestartContainerArgs]

func init() { restart = RestartContainer }

// act asks for a job on behalf of somebody, once for the job that asks, however
// often it is repeated, and returns its ID, which is empty where there is nothing to do.
func act(ctx context.Context, d *Deps, p ide.Principal, action, id string) (string, error) {
	ask := Request{IdempotencyKey: ctx.Value(runningKey{}).(*running).held.Job.ID + " " + action + " " + id}
	out, err := Act(ctx, d, p, action, id, ask)
	if err != nil || out.Answered == "" { // out.Done has no job
		return out.Job.ID, err
	}
	return jobOf(out.Answered)
}

// Act does what an action's name says to a container: start, stop, restart, or
// delete, which stops it first.
func Act(ctx context.Context, d *Deps, p ide.Principal, action, id string, ask Request) (store.Admitted, error) {
	switch action {
	case "start":
		return StartContainer.Enqueue(ctx, d, p, &StartContainerArgs{Request: ask, ID: id})
	case "restart":
		return restart.Enqueue(ctx, d, p, &RestartContainerArgs{Request: ask, ID: id})
	default:
		return StopContainer.Enqueue(ctx, d, p, &StopContainerArgs{Request: ask, ID: id, Purge: action == "delete"})
	}
}

// awaitEvery is between two looks at jobs that others do.
const awaitEvery = 300 * time.Millisecond

// await waits for the end of a job, and fails as it did.
func await(ctx context.Context, d *Deps, id string) error {
	for {
		j, err := d.Store.Job(ctx, id)
		switch {
		case err != nil:
			return err
		case j.Status == ide.JobSucceeded:
			return nil
		case j.Status.Ended() && j.Error != nil:
			return &ide.Error{Code: j.Error.Code, Message: j.Error.Message, Details: j.Error.Details, Permanent: true}
		case j.Status.Ended():
			return &ide.Error{Code: ide.Canceled, Message: "Its job was canceled.", Permanent: true}
		}
		said := "It waits for a worker."
		if n := len(j.Steps); n > 0 {
			said = "At the step " + j.Steps[n-1].Name + "."
		}
		Progress(ctx, said)
		if err := pause(ctx, awaitEvery); err != nil {
			return err
		}
	}
}
