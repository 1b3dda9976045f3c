package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Admission is what a function asks the one script of rule 3 to write: a job
// and, where the function changes a container's state, the container's new
// record with all that must come together with it or not at all.
type Admission struct {
	Function    string
	MaxAttempts int
	By          ide.Principal
	Args        any // JSON, encoded after Edit: what the function gets in a worker. No secret.

	New       *ide.Container             // a container to make, or
	Container string                     // the ID of the one the job is about; both empty is none
	Edit      func(*ide.Container) error // changes the present record; not called when a job of the pair is open; nil changes nothing
	Message   string                     // of the event that tells of a change of state

	Reserve   bool // take a place on a node, within the owner's quota
	MaxPerKey int  // live containers of the owner; 0 is any number
	Pack      bool // fill nodes one by one instead of spreading
	Force     bool // sets the job's force flag, also on an open one

	IdempotencyKey string
	Digest         string                              // of the request
	Answer         func(ide.Container, ide.Job) string // what the same request gets again
}

// Admitted is the outcome of an admission.
type Admitted struct {
	Job       ide.Job
	Container ide.Container
	Open      bool   // the job was open before
	Forced    bool   // it was, and force is new to it
	Answered  string // the first answer to the same Idempotency-Key; then the rest is empty
}

// Admit writes an admission, or returns the open job of the pair. Errors: what
// Edit returns, CONTAINER_NOT_FOUND, CONTAINER_LIMIT_EXCEEDED,
// RESOURCE_LIMIT_EXCEEDED, IDEMPOTENCY_KEY_REUSED, QUEUE_UNAVAILABLE.
func (s *Store) Admit(ctx context.Context, a Admission) (Admitted, error) {
	for {
		p, err := s.present(ctx, a)
		if err != nil {
			return Admitted{}, err
		}
		if p.open == "" && a.Edit != nil {
			if err := a.Edit(&p.container); err != nil {
				return Admitted{}, err
			}
		}
		out, again, err := s.tryAdmit(ctx, a, p)
		if err != nil || !again {
			return out, err
		}
	}
}

// Answered returns the first answer to an Idempotency-Key of an owner's, or
// nothing. With another request than the first it is
// IDEMPOTENCY_KEY_REUSED.
func (s *Store) Answered(ctx context.Context, owner, key, digest string) (string, error) {
	was, err := s.rdb.Get(ctx, idemKey(owner, key)).Result()
	if isNil(err) {
		return "", nil
	}
	if err != nil {
		return "", down(err)
	}
	first, answer, _ := strings.Cut(was, "\n")
	if first != digest {
		return "", refusal([]string{"reused"}, ide.Container{})
	}
	return answer, nil
}

// present is what an admission is decided on.
type present struct {
	container ide.Container
	rev       string
	from      ide.Status
	open      string // the pair's open job
	seq       int    // the number a new job gets
}

func (s *Store) present(ctx context.Context, a Admission) (present, error) {
	if a.New != nil {
		return present{container: *a.New, rev: "0", seq: 1}, nil
	}
	pair := a.Function + ":" + a.Container
	var record *redis.SliceCmd
	var open, seq *redis.StringCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		record = p.HMGet(ctx, containerKey(a.Container), "doc", "node", "rev")
		open = p.HGet(ctx, openKey, pair)
		seq = p.HGet(ctx, seqKey, pair)
		return nil
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return present{}, down(err)
	}
	p := present{open: open.Val(), rev: "0", seq: atoi(seq.Val()) + 1}
	if a.Container == "" {
		return p, nil
	}
	if record.Val()[0] == nil {
		return present{}, notFound(a.Container)
	}
	if p.container, err = decodeContainer(record.Val()); err != nil {
		return present{}, fmt.Errorf("decode container %s: %w", a.Container, err)
	}
	p.rev, _ = record.Val()[2].(string)
	p.from = p.container.Status
	return p, nil
}

// tryAdmit runs the script once; again says that somebody else was quicker.
func (s *Store) tryAdmit(ctx context.Context, a Admission, p present) (out Admitted, again bool, err error) {
	c, now := p.container, time.Now().UTC()
	job := ide.Job{
		ID: fmt.Sprintf("%s:%s:%d", a.Function, c.ID, p.seq), Function: a.Function, Container: c.ID, Owner: a.By.Name,
		Status: ide.JobQueued, MaxAttempts: a.MaxAttempts, QueuedAt: now, Steps: []ide.Step{},
	}
	doc, event := "", ""
	if a.New != nil || a.Edit != nil {
		c.Job = job.ID
		doc = encode(c)
		if c.Status != p.from {
			event = eventOf(c, &ide.Event{Type: "container." + string(c.Status), By: a.By.Name, Job: job.ID, Message: a.Message})
		}
	}
	idem, answer := "", ""
	if a.IdempotencyKey != "" {
		idem, answer = idemKey(a.By.Name, a.IdempotencyKey), a.Answer(c, job)
	}
	cpu, mem := "", ""
	if a.Reserve {
		cpu, mem = fmt.Sprint(c.Resources.CPUReservation), fmt.Sprint(c.Resources.MemoryReservation)
	}
	strategy := "spread"
	if a.Pack {
		strategy = "pack"
	}
	got, err := s.run(ctx, admitScript, []string{containerKey(c.ID), jobKey(job.ID), idem},
		a.Function, c.ID, p.seq, encode(job), encode(a.Args), ms(now), a.By.Name, doc, p.rev, string(c.Status),
		c.Owner, ms(c.CreatedAt), event, s.cfg.EventsKept, cpu, mem, strategy, s.cfg.CapacityMaxAge.Milliseconds(),
		a.MaxPerKey, a.Digest, answer, int(s.cfg.IdempotencyTTL.Seconds()), flag(a.Force), c.Run, flag(p.open != ""))
	if err != nil {
		return out, false, err
	}
	switch got[0] {
	case "ok":
		c.Node = got[1]
		return Admitted{Job: job, Container: c}, false, nil
	case "open":
		out.Job, err = s.Job(ctx, got[1])
		out.Container, out.Open, out.Forced = c, true, got[2] == "1"
		return out, false, err
	case "answered":
		return Admitted{Answered: got[1]}, false, nil
	case "stale":
		return out, true, nil
	default:
		return out, false, refusal(got, c)
	}
}

// refusal turns the script's "no" into an error.
func refusal(got []string, c ide.Container) error {
	var e *ide.Error
	switch got[0] {
	case "reused":
		return ide.Errorf(ide.IdempotencyKeyReused, "This Idempotency-Key was used with another request.")
	case "quota":
		e = ide.Errorf(ide.ContainerLimitExceeded, "Your key has %s live containers, which is its limit. Stop one first.", got[1])
		e.Details = map[string]any{"live": atoi(got[1])}
		return e
	case "nodata":
		e = ide.Errorf(ide.ResourceLimitExceeded, "No node has reported its capacity lately, so nothing can be placed.")
		e.RetryAfter = 5 * time.Second
		return e
	}
	resource, cpu, mem := got[1], int64(atoi(got[2])), int64(atoi(got[3]))
	want, best := fmt.Sprintf("%.2f CPU", float64(c.Resources.CPUReservation)/1e9), fmt.Sprintf("%.2f CPU", float64(cpu)/1e9)
	if resource == "memory" {
		want, best = fmt.Sprintf("%d MiB of memory", c.Resources.MemoryReservation>>20), fmt.Sprintf("%d MiB", mem>>20)
	}
	e = ide.Errorf(ide.ResourceLimitExceeded, "No node has room: %s is needed, the best node has %s free.", want, best)
	e.Details = map[string]any{"resource": resource, "bestNode": map[string]any{"freeCpu": float64(cpu) / 1e9, "freeMemory": mem}}
	e.RetryAfter = 15 * time.Second
	return e
}
