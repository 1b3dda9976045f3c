package functions

import (
	"context"
	"time"

	"berth/internal/ide"
	"berth/queue"
)

// deliver puts a job on its function's queue. A failure is no error: the job
// is due in its record, so a worker's ticker delivers it.
func deliver(ctx context.Context, d *Deps, job string, number int) {
	if f, ok := registry[queue.FunctionOf(job)]; ok { // else of a newer release, whose workers deliver it
		deliverOn(ctx, d, f, job, number, queue.Of(f.Queue, job))
	}
}

func deliverOn(ctx context.Context, d *Deps, f *Info, job string, number int, on string) {
	timeout := 2*f.Timeout + time.Minute // an attempt, and cleaning up after it
	if err := d.Queue.Deliver(ctx, job, number, on, timeout); err != nil {
		d.Log.Warn("delivery is left to the ticker", "job", job, "err", err)
	}
}

// wake delivers jobs whose turn has come, or whose last delivery may have
// found the lease held and left.
func wake(ctx context.Context, d *Deps, jobs []string) {
	if len(jobs) == 0 {
		return
	}
	numbers, err := d.Store.Deliveries(ctx, jobs)
	if err != nil {
		d.Log.Warn("deliveries are left to the ticker", "jobs", jobs, "err", err)
		return
	}
	for i, job := range jobs {
		if numbers[i] > 0 {
			deliver(ctx, d, job, numbers[i])
		}
	}
}

// nudge delivers a job now that may be waiting for its next attempt.
func nudge(ctx context.Context, d *Deps, job string) {
	numbers, err := d.Store.Deliveries(ctx, []string{job})
	if err == nil {
		next, ok, rerr := d.Store.Redeliver(ctx, job, numbers[0])
		if err = rerr; err == nil && ok {
			deliver(ctx, d, job, next)
		}
	}
	if err != nil {
		d.Log.Warn("delivery is left to the ticker", "job", job, "err", err)
	}
}

// DeliverDue gives a new delivery to every open, due job that no worker works
// on and no delivery will bring: its worker was killed, or Redis lost it, or
// the process that admitted it died before it could deliver. Every worker
// calls it every few seconds.
func DeliverDue(ctx context.Context, d *Deps) error {
	due, err := d.Store.Due(ctx, d.Store.Time(ctx), 1000)
	if err != nil {
		return err
	}
	for _, j := range due {
		f, ok := registry[j.Function]
		if !ok {
			continue
		}
		on := queue.Of(f.Queue, j.ID)
		if f.Queue == queue.OnNode {
			gone, err := d.nodeGone(ctx, queue.TargetOf(j.ID))
			if err != nil {
				return err
			}
			if gone { // whoever takes it there says so
				on = queue.Low
			}
		}
		state, err := d.Queue.State(j.ID, j.Delivery, on)
		if err != nil {
			return err
		}
		switch {
		case state == queue.Absent:
			deliverOn(ctx, d, f, j.ID, j.Delivery, on)
		case state == queue.Stale:
			next, ok, err := d.Store.Redeliver(ctx, j.ID, j.Delivery)
			if err != nil {
				return err
			}
			if ok {
				d.Log.Info("job is delivered again", "job", j.ID, "delivery", next)
				deliverOn(ctx, d, f, j.ID, next, on)
			}
		}
	}
	return nil
}

// nodeGone says whether a node has left the Swarm. While nobody has published
// the nodes, none has.
func (d *Deps) nodeGone(ctx context.Context, node string) (bool, error) {
	nodes, err := d.Store.Nodes(ctx)
	return ide.FateOf(nodes, node) == ide.NodeGone, err
}

// Cancel ends a job that has not ended: a waiting one as soon as a worker
// sees it, a running one at its next step; it cleans up after itself. Errors:
// JOB_NOT_FOUND, CONFLICT for one that has ended or cannot be canceled.
func Cancel(ctx context.Context, d *Deps, p ide.Principal, id string) (ide.Job, error) {
	j, err := d.Store.Job(ctx, id)
	if err != nil {
		return j, err
	}
	if f, ok := registry[j.Function]; !ok || !f.Cancelable {
		return j, ide.Errorf(ide.Conflict, "A %s job cannot be canceled.", j.Function)
	}
	if err := d.Store.Cancel(ctx, id); err != nil {
		return j, err
	}
	d.Log.Info("job is to be canceled", "job", id, "by", p.Name)
	nudge(ctx, d, id)
	return j, nil
}

// Retry opens a new job in the place of a failed one. Errors: JOB_NOT_FOUND,
// CONFLICT for one that has not failed, and what the function's admission
// says.
func Retry(ctx context.Context, d *Deps, p ide.Principal, id string) (ide.Job, error) {
	j, args, err := d.Store.JobWithArgs(ctx, id)
	if err != nil {
		return j, err
	}
	f, ok := registry[j.Function]
	if !ok || j.Status != ide.JobFailed {
		return j, ide.Errorf(ide.Conflict, "The job is %s; only a failed one can be tried again.", j.Status)
	}
	out, err := f.again(ctx, d, p, j, args)
	return out.Job, err
}
