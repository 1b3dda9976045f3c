// Package functions holds everything that changes the world: one file is one
// function, which runs from the queue, at least once, in any worker. A
// function with a Route is also an operation of the HTTP API.
package functions

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
	"berth/queue"

	"github.com/danielgtaylor/huma/v2"
)

// Function is one thing that can be done. A is at once the input of its HTTP
// operation and what it gets in a worker: its JSON is stored with the job, so
// fields are only ever added, and what is secret or only the API's is tagged
// json:"-".
type Function[A any] struct {
	Name     string // part of job IDs: never changes
	Doc      string // one line, the operation's summary
	Route    string // "METHOD /path"; empty is an internal function
	Cron     string // schedule, unless Settings.Schedules has another; empty is none
	Queue    string
	Attempts int           // how often it may begin
	Timeout  time.Duration // of one attempt
	Keep     time.Duration // how long its ended jobs can be looked up, where that is less than JOB_RETENTION; 0 is that

	// Expect are the states of the container in which it has something to do.
	// When the container is moved elsewhere, or started again, it ends at its
	// next step, canceled.
	Expect     []ide.Status
	Cancelable bool // DELETE /api/jobs/{id} may end it
	Moves      bool // it changes the container's state: nobody else looks after it meanwhile

	// Created answers a request with the container as the original design has
	// it, and the job; otherwise the answer is the job.
	Created bool

	// Admit runs in the API: it checks the request and says what is written
	// with the job. It may be called for one request only once.
	Admit func(ctx context.Context, d *Deps, p ide.Principal, a *A) (store.Admission, error)
	// Run runs in a worker, at least once. Each part that can fail is a Step.
	Run func(ctx context.Context, d *Deps, a A) error
	// Fail cleans up when attempts are spent, the error is permanent, or the
	// job was canceled. It runs until it succeeds. It may be nil.
	Fail func(ctx context.Context, d *Deps, a A, cause *ide.Error) error

	// Again opens the job that is to take the place of a failed one; nil asks
	// for the same once more.
	Again func(ctx context.Context, d *Deps, p ide.Principal, j ide.Job, a A) (store.Admitted, error)

	info Info
}

// Info is what the queue's machinery needs to know of a function.
type Info struct {
	Name, Doc, Route, Cron, Queue string
	Attempts                      int
	Timeout, Keep                 time.Duration
	Expect                        []ide.Status
	Cancelable, Moves             bool

	mount func(huma.API, *Deps, Edge)
	open  func(context.Context, *Deps, ide.Principal, time.Time) (store.Admitted, error)
	again func(context.Context, *Deps, ide.Principal, ide.Job, []byte) (store.Admitted, error)
	run   func(context.Context, *Deps, []byte) error
	fail  func(context.Context, *Deps, []byte, *ide.Error) error
}

var registry = map[string]*Info{}

// define records a function while package variables are set. It panics on
// what only a programmer can get wrong.
func define[A any](f Function[A]) *Function[A] {
	if registry[f.Name] != nil {
		panic("functions: " + f.Name + " is defined twice")
	}
	if f.Name == "" || f.Queue == "" || f.Timeout <= 0 || f.Attempts <= 0 || f.Run == nil || f.Admit == nil {
		panic(fmt.Sprintf("functions: %q lacks a name, queue, timeout, attempts, Run or Admit", f.Name))
	}
	if f.Cron != "" {
		if _, err := queue.ParseSchedule(f.Cron); err != nil {
			panic("functions: " + f.Name + ": " + err.Error())
		}
	}
	f.info = Info{
		Name: f.Name, Doc: f.Doc, Route: f.Route, Cron: f.Cron, Queue: f.Queue, Attempts: f.Attempts, Timeout: f.Timeout, Keep: f.Keep,
		Expect: f.Expect, Cancelable: f.Cancelable, Moves: f.Moves,
		run: func(ctx context.Context, d *Deps, args []byte) error {
			a, err := decode[A](args)
			if err != nil {
				return err
			}
			return f.Run(ctx, d, a)
		},
		fail: func(ctx context.Context, d *Deps, args []byte, cause *ide.Error) error {
			if f.Fail == nil {
				return nil
			}
			a, err := decode[A](args)
			if err != nil {
				return err
			}
			return f.Fail(ctx, d, a, cause)
		},
	}
	f.info.again = func(ctx context.Context, d *Deps, p ide.Principal, j ide.Job, args []byte) (store.Admitted, error) {
		a, err := decode[A](args)
		if err != nil {
			return store.Admitted{}, err
		}
		if f.Again != nil {
			return f.Again(ctx, d, p, j, a)
		}
		return f.Enqueue(ctx, d, p, &a)
	}
	f.info.open = func(ctx context.Context, d *Deps, p ide.Principal, instant time.Time) (store.Admitted, error) {
		var a A
		return f.enqueue(ctx, d, p, &a, instant)
	}
	if f.Route != "" {
		f.info.mount = f.mount
	}
	registry[f.Name] = &f.info
	return &f
}

func decode[A any](args []byte) (A, error) {
	var a A
	if err := json.Unmarshal(args, &a); err != nil {
		return a, &ide.Error{Code: ide.Internal, Message: "The job's arguments cannot be read.", Err: err, Permanent: true}
	}
	return a, nil
}

// All returns what there is, by name.
func All() []Info {
	var all []Info
	for _, f := range registry {
		all = append(all, *f)
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// names returns the names of all functions.
func names() []string {
	var list []string
	for _, f := range All() {
		list = append(list, f.Name)
	}
	return list
}

// pairs are what jobs about a container are numbered by.
func pairs(container string) []string {
	list := []string{restartName + ":restart-" + container} // of jobs of an earlier release
	for _, n := range names() {
		list = append(list, n+":"+container)
	}
	return list
}

// errDone is what an Edit returns where there is nothing to do: the request has
// succeeded, and no job is opened.
var errDone = errors.New("there is nothing to do")

// done is what an Idempotency-Key then remembers, followed by the container.
const done = "done "

// answered is the outcome of a request that was answered before.
func answered(was string) store.Admitted {
	if id, ok := strings.CutPrefix(was, done); ok {
		return store.Admitted{Container: ide.Container{ID: id}, Done: true}
	}
	return store.Admitted{Answered: was}
}

// Enqueue admits a job and delivers it. Once the admission is written the job
// will run, also when the delivery fails: a worker's ticker finds it.
func (f *Function[A]) Enqueue(ctx context.Context, d *Deps, p ide.Principal, a *A) (store.Admitted, error) {
	return f.enqueue(ctx, d, p, a, time.Time{})
}

// enqueue is Enqueue, for an instant of the function's schedule if there is
// one.
func (f *Function[A]) enqueue(ctx context.Context, d *Deps, p ide.Principal, a *A, instant time.Time) (store.Admitted, error) {
	key, digests, err := idempotency(d, f.Name, a)
	if err != nil {
		return store.Admitted{}, err
	}
	asked := func() (string, error) {
		if key == "" {
			return "", nil
		}
		return d.Store.Answered(ctx, p.Name, key, digests)
	}
	if !f.Created {
		// before the state is looked at, which the first request may have changed
		if was, err := asked(); err != nil || was != "" {
			return answered(was), err
		}
	}
	adm, err := f.Admit(ctx, d, p, a)
	if err != nil {
		// it may have been admitted under other settings
		if was, aerr := asked(); aerr == nil && was != "" {
			return answered(was), nil
		}
		return store.Admitted{}, err
	}
	adm.Function, adm.Queue, adm.MaxAttempts, adm.By, adm.Args = f.Name, f.Queue, f.Attempts, p, a
	adm.IdempotencyKey, adm.Digests, adm.Answer, adm.Instant = key, digests, f.answer, instant
	adm.Trace = traceOf(ctx)
	if adm.New == nil && !adm.Once {
		if adm.Wish, err = wishOf(a); err != nil {
			return store.Admitted{}, err
		}
	}
	if f.Queue == queue.OnNode {
		adm.Queue = "" // owners take no turns there: a node that is away would hold up the others
	}
	out, err := d.Store.Admit(ctx, adm)
	if errors.Is(err, errDone) {
		out, err = answered(done+adm.Container), nil
		if key != "" {
			err = d.Store.Answer(ctx, p.Name, key, digests[0], done+adm.Container)
		}
		return out, err
	}
	if err == nil && out.Answered != "" {
		return answered(out.Answered), nil
	}
	if err != nil || out.Skipped {
		return out, err
	}
	switch {
	case out.Forced:
		nudge(ctx, d, out.Job.ID)
	case !out.Open && !out.Waits:
		deliver(ctx, d, out.Job.ID, 1)
	}
	return out, nil
}
