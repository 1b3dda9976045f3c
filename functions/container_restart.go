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
	ID  string `json:"id" path:"id" maxLength:"64" doc:"Container"`
	By  Caller `json:"by"`
	Run int    `json:"run,omitempty"` // the one that is stopped; the next is started. 0 is a job of an earlier release, see restartInHalves
}

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
// verified, and starts it again: same bucket, same URLs, same passwords, the next
// run. It is one job, like a move. A stop that does not save ends it, and nothing
// is started; so does a stop that somebody asks for meanwhile.
var RestartContainer = define(Function[RestartContainerArgs]{
	Name: restartName, Doc: "Restart a running container: save, stop, start", Route: "POST /api/containers/{id}/restart",
	Queue: queue.Default, Attempts: stopAttempts, Timeout: 2 * time.Hour, Moves: true,
	Expect: []ide.Status{ide.Stopping, ide.Stopped, ide.Starting, ide.Running},
	Admit: func(ctx context.Context, d *Deps, p ide.Principal, a *RestartContainerArgs) (store.Admission, error) {
		if _, err := own(ctx, d, p, a.ID); err != nil {
			return store.Admission{}, err
		}
		a.By = callerOf(p)
		return store.Admission{
			Container: a.ID, Message: "A restart was asked for.",
			Edit: func(c *ide.Container) error {
				if c.Status != ide.Running {
					return state(*c, "Only a running container can be restarted.")
				}
				a.Run, c.Status = c.Run, ide.Stopping
				return nil
			},
		}, nil
	},
	Run: func(ctx context.Context, d *Deps, a RestartContainerArgs) error {
		if a.Run == 0 {
			return restartInHalves(ctx, d, a)
		}
		return d.anew(ctx, a.rerun())
	},
	Fail: func(ctx context.Context, d *Deps, a RestartContainerArgs, cause *ide.Error) error {
		if a.Run == 0 {
			return nil // the halves clean up after themselves
		}
		return d.failAnew(ctx, a.rerun(), cause)
	},
})

func (a RestartContainerArgs) rerun() rerun {
	return rerun{stop: StopContainerArgs{ID: a.ID, Run: a.Run, Reason: ide.Manual}, by: restartName, said: "It is started again."}
}

// restartInHalves does the job of an earlier release, whose halves are jobs of
// their own: it has a lease of its own, so that they may have the container's.
func restartInHalves(ctx context.Context, d *Deps, a RestartContainerArgs) error {
	Aim(ctx, func(int, ide.Status) bool { return true })
	for _, half := range []string{"stop", "start"} {
		id, _ := resultOf(ctx, half).(string)
		if half == "stop" && resultOf(ctx, "start") != nil {
			continue
		}
		err := Step(ctx, half, func(ctx context.Context) (err error) {
			if id == "" {
				if id, err = act(ctx, d, a.By.principal(), half, a.ID); err != nil {
					return err
				}
				SetResult(ctx, half, id)
			}
			if id == "" { // it is down already
				return nil
			}
			return ended(ctx, d, id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

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

// ended waits for the end of a job, and fails as it did.
func ended(ctx context.Context, d *Deps, id string) error {
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
	return waitForJobs()
}
