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

// ItemResult is what has become of one of several containers.
type ItemResult struct {
	ID     string        `json:"id"`
	Job    string        `json:"job,omitempty"`
	Status ide.JobStatus `json:"status"`
	Error  *ide.Error    `json:"error,omitempty"`
}

// ContainersAction does one thing to several containers: it asks for the job of
// each, and ends when all of them have ended. What has become of each stands in
// the result's items, in the order that was asked for; one that failed fails
// only itself.
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
		var items []ItemResult // as an earlier look has seen them; nil is that their jobs were not asked for
		err := resultInto(ctx, "items", &items)
		if err != nil {
			return err
		}
		if items != nil {
			return Step(ctx, "wait", func(ctx context.Context) error { return d.allEnded(ctx, items) })
		}
		items = make([]ItemResult, len(a.Body.IDs))
		err = Step(ctx, "ask", func(ctx context.Context) error {
			for i, id := range a.Body.IDs {
				items[i] = ItemResult{ID: id, Status: ide.JobQueued}
				job, err := act(ctx, d, a.By.principal(), a.Body.Action, id)
				switch {
				case err != nil && !ide.IsPermanent(err) && ide.HasCode(err, ide.QueueUnavailable):
					return err
				case err != nil:
					items[i].Status, items[i].Error = ide.JobFailed, ide.AsError(err)
				}
				items[i].Job = job
			}
			SetResult(ctx, "items", items)
			return nil
		})
		if err != nil {
			return err
		}
		return Step(ctx, "wait", func(ctx context.Context) error { return d.allEnded(ctx, items) })
	},
})

// allEnded brings the items up to date, and waits while any of their jobs is open.
func (d *Deps) allEnded(ctx context.Context, items []ItemResult) error {
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
	SetResult(ctx, "items", items)
	if left == 0 {
		return nil
	}
	Progress(ctx, fmt.Sprintf("%d of %d are done.", len(items)-left, len(items)))
	return waitForJobs()
}
