package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
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
	Queue       string // within which the owners take turns; empty is delivered at once
	MaxAttempts int
	By          ide.Principal
	Args        any // JSON, encoded after Edit: what the function gets in a worker. No secret.

	New       *ide.Container             // a container to make, or
	Container string                     // the ID of the one the job is about; both empty is none
	Node      string                     // without a container: the engine ID of the node the job is about; empty is none
	Target    string                     // whose lease the job takes in the place of the container's or node's: of one that waits for other jobs; empty is that
	Once      bool                       // the target is this job's alone: the number of its pair is forgotten with the job
	Edit      func(*ide.Container) error // changes the present record; not called when a job of the pair is open; nil changes nothing
	Message   string                     // of the event that tells of a change of state

	Reserve   bool     // take a place on a node, within the owner's quota
	MaxPerKey int      // live containers of the owner; 0 is any number
	Pack      bool     // fill nodes one by one instead of spreading
	Place     bool     // with Reserve: the workspace's place must be nobody else's while it is live
	Only      string   // with Reserve: the only node that will do, by its engine ID; empty is any
	Not       []string // with Reserve: those that will not
	Force     bool     // sets the job's force flag, also on an open one
	Purge     bool     // sets the job's purge flag, also on an open one
	Wish      string   // digest of what is asked for: an open job with another one is a CONFLICT; empty is not compared
	SameRun   bool     // an open job of an earlier run of the container is a CONFLICT

	Webhook *ide.Webhook // with New: an endpoint that hears of it; nil is none
	Trace   string       // of the request that asks
	Instant time.Time    // of the function's schedule: for each there is one job, however many ask, and none while it is paused

	IdempotencyKey string
	Digests        []string                            // of the request, under each key: the first is written, each may be the one that was
	Answer         func(ide.Container, ide.Job) string // what the same request gets again

	goesOn string // the open job that does this
}

// Admitted is the outcome of an admission.
type Admitted struct {
	Job       ide.Job
	Container ide.Container
	Open      bool   // the job was open before
	Forced    bool   // it was, and force is new to it
	Done      bool   // there is nothing to do: no job was opened
	Waits     bool   // others of the same owner come first: Turn says when it is delivered
	Skipped   bool   // the instant has had its job, lies ahead, or the schedule is paused; then the rest is empty
	Answered  string // the first answer to the same Idempotency-Key; then the rest is empty
}

// Admit writes an admission, or returns the open job of the pair. Errors: what
// Edit returns, CONTAINER_NOT_FOUND, CONTAINER_LIMIT_EXCEEDED,
// RESOURCE_LIMIT_EXCEEDED, PLACEMENT_IMPOSSIBLE, IDEMPOTENCY_KEY_REUSED, QUEUE_UNAVAILABLE, and
// CONFLICT where the place is in use, or the open job does something else.
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

// GoOn has an open job that changed its container once change it again: the rest
// of the admission is as with Admit, the job stays the same. Errors beside those
// of Admit: ErrLost where the job has ended, CANCELED where a stop waits.
func (s *Store) GoOn(ctx context.Context, job string, a Admission) (ide.Container, error) {
	a.goesOn = job
	for {
		p, err := s.present(ctx, a)
		if err != nil {
			return ide.Container{}, err
		}
		if err := a.Edit(&p.container); err != nil {
			return ide.Container{}, err
		}
		out, again, err := s.tryAdmit(ctx, a, p)
		if err != nil || !again {
			return out.Container, err
		}
	}
}

// InUse is the CONFLICT of an admission with Place where a live container has a
// bucket and prefix, or any container one above or below it; nil is that none has.
func (s *Store) InUse(ctx context.Context, p ide.Principal, b ide.Bucket) error {
	got, err := s.run(ctx, inUseScript, nil, placeOf(b))
	if err != nil || got[0] == "" {
		return err
	}
	return s.taken(ctx, p, b, got[0], got[1])
}

// taken is the CONFLICT of a place that a container uses, which is named to
// those who may know of it.
func (s *Store) taken(ctx context.Context, p ide.Principal, b ide.Bucket, id, how string) error {
	what := "already uses this bucket and prefix: two would save over each other. Stop it first, or choose another prefix."
	if how == "nested" {
		what = "has its workspace above or below this prefix, also while it is stopped: each would take the other's files for its own. Choose another prefix, or purge that container."
	}
	e := ide.Errorf(ide.Conflict, "Another container %s", what)
	details := map[string]any{"s3Bucket": b.Name, "s3Prefix": b.Prefix}
	e.Details = details
	c, err := s.Container(ctx, id)
	switch {
	case ide.HasCode(err, ide.ContainerNotFound) || err == nil && !p.MaySee(c.Owner):
	case err != nil:
		return err
	default:
		e.Message = fmt.Sprintf("The container %s %s", id, what)
		details["containerId"] = id
	}
	return e
}

// Answered returns the first answer to an Idempotency-Key of an owner's, or
// nothing. With another request than the first it is
// IDEMPOTENCY_KEY_REUSED.
func (s *Store) Answered(ctx context.Context, owner, key string, digests []string) (string, error) {
	was, err := s.rdb.Get(ctx, idemKey(owner, key)).Result()
	if isNil(err) {
		return "", nil
	}
	if err != nil {
		return "", down(err)
	}
	first, answer, _ := strings.Cut(was, "\n")
	if !slices.Contains(digests, first) {
		return "", refusal([]string{"reused"}, ide.Container{})
	}
	return answer, nil
}

// Answer keeps the answer to an Idempotency-Key for which no job was opened.
func (s *Store) Answer(ctx context.Context, owner, key, digest, answer string) error {
	return down(s.rdb.SetNX(ctx, idemKey(owner, key), digest+"\n"+answer, s.cfg.IdempotencyTTL).Err())
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
	pair := a.Function + ":" + cmp.Or(a.Target, a.Container, a.Node)
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
	c, now := p.container, s.Time(ctx)
	job := ide.Job{
		ID: fmt.Sprintf("%s:%s:%d", a.Function, cmp.Or(a.Target, c.ID, a.Node), p.seq), Function: a.Function, Container: c.ID, Node: a.Node, Owner: a.By.Name,
		Status: ide.JobQueued, MaxAttempts: a.MaxAttempts, QueuedAt: now, Steps: []ide.Step{}, Trace: a.Trace,
	}
	if a.goesOn != "" {
		job.ID = a.goesOn
	}
	instant := ""
	if !a.Instant.IsZero() {
		instant, job.Instant = fmt.Sprint(ms(a.Instant)), &a.Instant
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
	place, only, generic, has := "", "", "", ""
	if a.Place {
		place = placeOf(c.S3)
	}
	if a.Reserve {
		if only, has, err = s.candidates(ctx, a, c); err != nil {
			return out, false, err
		}
		generic = encodeGeneric(c)
	}
	lane := ""
	if a.Queue != "" {
		lane = a.Queue + ":" + a.By.Name
	}
	strategy := "spread"
	if c.Strategy == ide.Pack || c.Strategy == "" && a.Pack {
		strategy = "pack"
	}
	hook, hookID, types := "", "", ""
	if a.Webhook != nil {
		hook, hookID, types = encode(a.Webhook), a.Webhook.ID, typesOf(*a.Webhook)
	}
	got, err := s.run(ctx, admitScript, []string{containerKey(c.ID), jobKey(job.ID), idem},
		a.Function, c.ID, p.seq, encode(job), encode(a.Args), ms(now), a.By.Name, doc, p.rev, string(c.Status),
		c.Owner, ms(c.CreatedAt), event, s.cfg.EventsKept, cpu, mem, strategy, s.cfg.CapacityMaxAge.Milliseconds(),
		a.MaxPerKey, strings.Join(a.Digests, " "), answer, int(s.cfg.IdempotencyTTL.Seconds()), flag(a.Force), c.Run, flag(p.open != ""), place, only, lane, window,
		hook, hookID, types, instant, generic, has, flag(a.goesOn != ""), flag(a.Once), a.Wish, flag(a.Purge), flag(a.SameRun))
	if err != nil {
		return out, false, err
	}
	switch got[0] {
	case "ok":
		c.Node = got[1]
		return Admitted{Job: job, Container: c, Waits: got[2] == "1"}, false, nil
	case "open":
		out.Job, err = s.Job(ctx, got[1])
		out.Container, out.Open, out.Forced = c, true, got[2] == "1"
		return out, false, err
	case "other", "past":
		return out, false, occupied(got[0], got[1])
	case "answered":
		return Admitted{Answered: got[1]}, false, nil
	case "skip":
		return Admitted{Skipped: true}, false, nil
	case "stale":
		return out, true, nil
	case "lost":
		return out, false, ErrLost
	case "wanted":
		return out, false, ide.Errorf(ide.Canceled, "A stop was asked for in the meantime.")
	case "inuse":
		return out, false, s.taken(ctx, a.By, c.S3, got[1], got[2])
	case "full":
		return out, false, s.full(ctx, a, c, refusal(got, c))
	case "high":
		return out, false, aboveMarks(a.By, got[1:])
	default:
		return out, false, refusal(got, c)
	}
}

// occupied is the refusal of a request whose pair has an open job that does
// not do what is asked for.
func occupied(why, job string) *ide.Error {
	e := ide.Errorf(ide.Conflict, "The job %s is open, and was asked for with other arguments. Ask again when it has ended.", job)
	if why == "past" {
		e.Message = fmt.Sprintf("The job %s has not ended, and is about an earlier run of the container. Ask again in a moment.", job)
	}
	e.Details, e.RetryAfter = map[string]any{"jobId": job}, time.Second
	return e
}

// refusal turns the script's "no" into an error.
func refusal(got []string, c ide.Container) *ide.Error {
	var e *ide.Error
	switch got[0] {
	case "reused":
		return ide.Errorf(ide.IdempotencyKeyReused, "This Idempotency-Key was used with another request.")
	case "quota":
		e = ide.Errorf(ide.ContainerLimitExceeded, "Your key has %s live containers, which is its limit. Stop one first.", got[1])
		e.Details = map[string]any{"live": atoi(got[1])}
		return e
	case "never":
		return ide.Errorf(ide.PlacementImpossible, "No node can ever take it as they are: %s", got[1])
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
	if resource != "memory" && resource != "cpu" {
		e.Message = fmt.Sprintf("No node has room: %d %s is needed, and none has so many free.", c.Generic[resource], resource)
	}
	e.Details = map[string]any{"resource": resource, "bestNode": map[string]any{"freeCpu": float64(cpu) / 1e9, "freeMemory": mem}}
	e.RetryAfter = 15 * time.Second
	return e
}

// aboveMarks is the refusal where only nodes that are above a high-water mark
// have room: "resource node: text" each. Nodes are named to those who may know of
// them.
func aboveMarks(p ide.Principal, why []string) *ide.Error {
	slices.Sort(why)
	resource, text := "", make([]string, len(why))
	for i, w := range why {
		r, t, _ := strings.Cut(w, " ")
		if _, marks, ok := strings.Cut(t, ": "); ok && !p.SeesNodes() {
			t = "a node: " + marks
		}
		resource, text[i] = cmp.Or(resource, r), t
	}
	const shown = 5
	if len(text) > shown {
		text = append(text[:shown], fmt.Sprintf("and %d more", len(why)-shown))
	}
	e := ide.Errorf(ide.ResourceLimitExceeded, "The nodes with room take nothing while they are above a high-water mark: %s.", strings.Join(text, "; "))
	e.Details = map[string]any{"resource": resource, "highWater": text}
	e.RetryAfter = 15 * time.Second
	return e
}

// placeOf is how a workspace's place stands in the index of those in use.
func placeOf(b ide.Bucket) string {
	p := b.Name + "/"
	if prefix := strings.Trim(b.Prefix, "/"); prefix != "" {
		p += prefix + "/"
	}
	return p
}
