package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"berth/internal/ide"
)

// Held is a job whose lease this worker holds. Its methods fail with ErrLost
// once it no longer does. It is not safe for concurrent use, but Renew may
// run beside the others.
type Held struct {
	Job      ide.Job
	Args     []byte
	Run      int // the container's run when the job was admitted
	Delivery int
	Failing  bool // an earlier attempt gave up; what is left is to clean up
	Purge    bool // when the attempt began, a purge was wanted
	Flags    Flags
	Keep     time.Duration // how long the job can be looked up once it has ended; 0 is Config.JobRetention

	store *Store
	token string
}

// Flags are what others want of a running job, read before every step.
type Flags struct {
	Cancel bool
	Force  bool
	Status ide.Status // of the container
	Run    int        // of the container, now
}

// Take begins an attempt of a job for one of its deliveries. Errors: ErrHeld,
// ErrEnded, also for a delivery that a later one has replaced, ErrWaits,
// QUEUE_UNAVAILABLE.
func (s *Store) Take(ctx context.Context, id string, delivery int) (*Held, error) {
	h := &Held{store: s, token: ide.NewID()}
	got, err := s.run(ctx, takeScript, []string{jobKey(id), leaseKey(Target(id))}, id, h.token, s.cfg.LeaseTTL.Milliseconds(), delivery, s.cfg.Running)
	if err != nil {
		return nil, err
	}
	switch got[0] {
	case "held":
		return nil, ErrHeld
	case "waits":
		return nil, ErrWaits
	case "ended", "gone":
		return nil, ErrEnded
	}
	if err := json.Unmarshal([]byte(got[1]), &h.Job); err != nil {
		return nil, fmt.Errorf("decode job %s: %w", id, err)
	}
	now := s.Time(ctx)
	h.Args, h.Job.Status, h.Job.Attempt, h.Job.NextAttemptAt = []byte(got[2]), ide.JobRunning, atoi(got[3]), nil
	h.Flags = Flags{Cancel: got[4] == "1", Force: got[5] == "1"}
	h.Failing, h.Run, h.Delivery = got[6] == "1", atoi(got[7]), atoi(got[8])
	h.Purge = got[9] == "1"
	if h.Job.StartedAt == nil {
		h.Job.StartedAt = &now
		h.Job.Steps = append(h.Job.Steps, ide.Step{Name: "queue", Status: ide.StepDone, Attempt: 1, StartedAt: h.Job.QueuedAt,
			Seconds: now.Sub(h.Job.QueuedAt).Seconds()})
	}
	return h, nil
}

// Save writes the job as it stands while it runs, and refreshes the flags.
func (h *Held) Save(ctx context.Context) error {
	_, err := h.save(ctx, time.Time{}, counted)
	return err
}

// Retry ends the attempt: the job is due again at t. It returns the other
// open jobs of the container, for which the lease is free now. uncount takes
// the attempt back, for one that was interrupted and not failed.
func (h *Held) Retry(ctx context.Context, t time.Time, uncount bool) (waiting []string, err error) {
	h.Job.Status, h.Job.FinishedAt, h.Job.NextAttemptAt = ide.JobRetrying, nil, &t
	if uncount {
		h.Job.Status, h.Job.NextAttemptAt = ide.JobQueued, nil
	}
	return h.save(ctx, t, flag(uncount))
}

// Wait ends the attempt of a job that waits for others, takes it back, and
// makes the job due at t: it goes on running, and has no lease and no slot
// meanwhile. It returns the other open jobs of the container.
func (h *Held) Wait(ctx context.Context, t time.Time) (waiting []string, err error) {
	h.Job.Status, h.Job.NextAttemptAt = ide.JobRunning, nil
	return h.save(ctx, t, "2")
}

// End ends the job. It returns the other open jobs of the container. ErrMore says
// that a purge was asked for since the attempt began: the job goes on.
func (h *Held) End(ctx context.Context, status ide.JobStatus) (waiting []string, err error) {
	now := h.store.Time(ctx)
	h.Job.Status, h.Job.FinishedAt, h.Job.NextAttemptAt = status, &now, nil
	return h.save(ctx, now, counted)
}

// counted says of an attempt that it is one of those that a job has.
const counted = "0"

func (h *Held) save(ctx context.Context, at time.Time, uncount string) ([]string, error) {
	j, failing, event := h.Job, "", ""
	var added []any
	if h.Failing {
		failing = "1"
	}
	counts := at // for pruning, which knows one retention only
	if h.Keep > 0 && h.Keep < h.store.cfg.JobRetention {
		counts = at.Add(h.Keep - h.store.cfg.JobRetention)
	}
	if routine := j.Instant != nil && j.Status == ide.JobSucceeded; j.Status.Ended() && !routine {
		e := ide.Event{Type: "job." + string(j.Status), At: at, Container: j.Container, Owner: j.Owner, Job: j.ID, By: j.Function}
		if j.Error != nil {
			e.Message = j.Error.Message
		}
		if event = encode(e); j.Container != "" || j.Status != ide.JobSucceeded { // a sweep that went well is no news
			event = told(e, ide.PayloadOfJob(e, j))
		}
		added = tally(j)
	}
	args := []any{j.ID, h.token, h.store.cfg.LeaseTTL.Milliseconds(), encode(j), string(j.Status), ms(at), event, h.store.cfg.EventsKept, failing, uncount, ms(counts),
		ms(h.store.Time(ctx)), window, h.store.cfg.Running, flag(h.Purge)}
	got, err := h.store.run(ctx, saveScript, []string{jobKey(j.ID), leaseKey(Target(j.ID))}, append(args, added...)...)
	if err != nil {
		return nil, err
	}
	switch got[0] {
	case "ok":
	case "more":
		return nil, ErrMore
	default:
		return nil, ErrLost
	}
	h.Flags = flags(got[1:])
	return got[5:], nil
}

// TTL is how long the lease lives without being renewed.
func (h *Held) TTL() time.Duration { return h.store.cfg.LeaseTTL }

// Renew keeps the lease and returns what others want of the job.
func (h *Held) Renew(ctx context.Context) (Flags, error) {
	got, err := h.store.run(ctx, renewScript, []string{jobKey(h.Job.ID), leaseKey(Target(h.Job.ID)), containerKey(h.Job.Container)},
		h.token, h.store.cfg.LeaseTTL.Milliseconds())
	if err != nil {
		return Flags{}, err
	}
	if got[0] != "ok" {
		return Flags{}, ErrLost
	}
	return flags(got[1:]), nil
}

func flags(got []string) Flags {
	return Flags{Cancel: got[0] == "1", Force: got[1] == "1", Status: ide.Status(got[2]), Run: atoi(got[3])}
}
