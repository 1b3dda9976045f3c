package functions

import (
	"context"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"
)

// ContainersActionRequest is one action on several containers.
type ContainersActionRequest struct {
	Action string   `json:"action" enum:"start,stop,restart,delete" doc:"start, stop and restart as for one; delete stops those that run, and drops their records"`
	IDs    []string `json:"ids" maxItems:"200" example:"k3xqh5zt2mwfa" doc:"Containers"`
}

// ContainersActionArgs is the job of one action on several containers.
type ContainersActionArgs struct {
	Request
	Body ContainersActionRequest `json:"body"`
	By   Caller                  `json:"by"`
}

func (a *ContainersActionArgs) fingerprint() any { return a.Body }

// ContainersAction does one thing to several containers: it asks for the job of
// each, and ends when all of them have ended. What has become of each stands in
// the job's items, in the order that was asked for; one that failed holds up no
// other, and when all have ended the job has failed.
var ContainersAction = define(Function[ContainersActionArgs]{
	Name: "containers-action", Doc: "Start, stop, restart or delete several containers", Route: "POST /api/dashboard/containers/action",
	Queue: queue.Default, Attempts: 12, Timeout: 2 * time.Hour, Cancelable: true,
	Admit: func(_ context.Context, _ *Deps, p ide.Principal, a *ContainersActionArgs) (store.Admission, error) {
		seen := map[string]bool{}
		a.Body.IDs = slices.DeleteFunc(a.Body.IDs, func(id string) bool {
			was := seen[id]
			seen[id] = true
			return was
		})
		a.By = callerOf(p)
		return store.Admission{Target: ide.NewID(), Once: true}, nil
	},
	Run: func(ctx context.Context, d *Deps, a ContainersActionArgs) error {
		if items := jobItems(ctx); items != nil { // as an earlier look has seen them
			return d.allEnded(ctx, items)
		}
		items := make([]ide.Item, len(a.Body.IDs))
		err := Step(ctx, "ask", func(ctx context.Context) error {
			for i, id := range a.Body.IDs {
				items[i] = ide.Item{ID: id, Status: ide.JobQueued}
				job, err := act(ctx, d, a.By.principal(), a.Body.Action, id)
				switch {
				case err != nil && !ide.IsPermanent(err) && ide.HasCode(err, ide.QueueUnavailable):
					return err
				case err != nil:
					items[i].Status, items[i].Error = ide.JobFailed, public(ide.AsError(err))
				case job == "": // a stop of what is down
					items[i].Status = ide.JobSucceeded
				}
				items[i].Job = job
			}
			setItems(ctx, items)
			return nil
		})
		if err != nil {
			return err
		}
		return d.allEnded(ctx, items)
	},
	Again: func(ctx context.Context, d *Deps, p ide.Principal, j ide.Job, a ContainersActionArgs) (store.Admitted, error) {
		a.Body.IDs = slices.DeleteFunc(a.Body.IDs, func(id string) bool { // those that are done stay so
			return slices.ContainsFunc(j.Items, func(it ide.Item) bool { return it.ID == id && it.Status == ide.JobSucceeded })
		})
		return bulk.Enqueue(ctx, d, p, &a)
	},
})

// bulk is ContainersAction, for what it itself refers to.
var bulk *Function[ContainersActionArgs]

func init() { bulk = ContainersAction }

// itemsFailed is the error of a job of whose items some have not succeeded.
func itemsFailed(items []ide.Item) error {
	failed, first := 0, ""
	for _, it := range items {
		if it.Status == ide.JobSucceeded {
			continue
		}
		if failed++; first == "" {
			first = it.ID + " was canceled."
			if it.Error != nil {
				first = it.ID + ": " + it.Error.Message
			}
		}
	}
	if failed == 0 {
		return nil
	}
	return ide.Errorf(ide.ItemsFailed, "%d of %d failed. The first is %s", failed, len(items), first)
}

// setItems shows how far the items are.
func setItems(ctx context.Context, items []ide.Item) {
	ctx.Value(runningKey{}).(*running).held.Job.Items = slices.Clone(items)
}

// jobItems are the items that an earlier attempt, or this one, has shown.
func jobItems(ctx context.Context) []ide.Item {
	return slices.Clone(ctx.Value(runningKey{}).(*running).held.Job.Items)
}

// allEnded brings the items up to date, and waits while any of their jobs is open.
// When all have ended it fails as some of them did.
func (d *Deps) allEnded(ctx context.Context, items []ide.Item) error {
	err := Step(ctx, "wait", func(ctx context.Context) error { return d.lookAtItems(ctx, items) })
	if err != nil {
		return err
	}
	return itemsFailed(items)
}

func (d *Deps) lookAtItems(ctx context.Context, items []ide.Item) error {
	var open []string
	for _, it := range items {
		if it.Job != "" && !it.Status.Ended() {
			open = append(open, it.Job)
		}
	}
	jobs, err := d.Store.JobsOf(ctx, open)
	if err != nil {
		return err
	}
	left := len(open)
	for i := range items {
		at := slices.IndexFunc(jobs, func(j ide.Job) bool { return j.ID == items[i].Job })
		if at < 0 {
			continue
		}
		if items[i].Status, items[i].Error = jobs[at].Status, jobs[at].Error; jobs[at].Status.Ended() {
			left--
		}
	}
	setItems(ctx, items)
	if left == 0 {
		return nil
	}
	Progress(ctx, fmt.Sprintf("%d of %d are done.", len(items)-left, len(items)))
	return waitForJobs()
}
