package functions

import (
	"context"
	"reflect"
	"strings"
	"testing"

	"berth/internal/ide"
	"berth/internal/store"
)

// While a job is open, another request of its pair gets it only if it asks for
// the same.
func TestOtherArgumentsAreNotDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ctx := t.Context()
	c := b.running()
	labels := func(l map[string]string) (store.Admitted, error) {
		return LabelNode.Enqueue(ctx, b.Deps, admin, &LabelNodeArgs{NodeInput: NodeInput{ID: b.engine.NodeID()}, Body: NodeLabels{l}})
	}
	b.second("node-2")
	b.second("node-3")
	for name, ask := range map[string]func(other bool) (store.Admitted, error){
		"labels": func(other bool) (store.Admitted, error) {
			if other {
				return labels(map[string]string{"gpu": "false", "disk": "ssd"})
			}
			return labels(map[string]string{"disk": "ssd", "gpu": "true"})
		},
		"move": func(other bool) (store.Admitted, error) {
			if other {
				return b.move(c.ID, "node-3")
			}
			return b.move(c.ID, "node-2")
		},
	} {
		t.Run(name, func(t *testing.T) {
			first, err := ask(false)
			if err != nil {
				t.Fatal(err)
			}
			if again, err := ask(false); err != nil || !again.Open || again.Job.ID != first.Job.ID {
				t.Errorf("the same again: got %+v, %v, want the open job", again, err)
			}
			_, err = ask(true)
			wantError(t, "other arguments", err, ide.Conflict, true)
			if e := ide.AsError(err); !strings.Contains(e.Message, first.Job.ID) || !reflect.DeepEqual(e.Details, map[string]any{"jobId": first.Job.ID}) || e.RetryAfter == 0 {
				t.Errorf("got %q, details %v, want the open job", e.Message, e.Details)
			}
		})
	}
}

// Whatever its caller can choose is part of a function's wish.
func TestEveryArgumentIsPartOfTheWish(t *testing.T) {
	t.Parallel()
	one, err := wishOf(&RestoreContainerArgs{ID: "a", Body: RestoreRequest{Generation: 1}})
	two, err2 := wishOf(&RestoreContainerArgs{ID: "a", Run: 3, Body: RestoreRequest{Generation: 2}})
	same, err3 := wishOf(&RestoreContainerArgs{Request: Request{IdempotencyKey: "k"}, Run: 7, Body: RestoreRequest{Generation: 1}})
	if err != nil || err2 != nil || err3 != nil || one == two || one != same || one == "" {
		t.Errorf("got %q, %q and %q, want that only the generation counts", one, two, same)
	}
	if w, err := wishOf(&ProbeContainerArgs{ID: "a"}); w != "" || err != nil {
		t.Errorf("got %q, %v for a function without arguments", w, err)
	}
}

// A stop is asked for again in every state, with and without purge.
func TestDeleteIsIdempotent(t *testing.T) {
	t.Parallel()
	for _, purge := range []bool{false, true} {
		for _, state := range []string{"starting", "running", "stopping", "stopped", "failed"} {
			t.Run(state+map[bool]string{true: " purge"}[purge], func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				var id string
				switch state {
				case "starting":
					id = b.create(CreateContainerRequest{}).Container.ID
				case "failed":
					out := b.create(CreateContainerRequest{})
					id = out.Container.ID
					b.must(b.Store.Cancel(t.Context(), out.Job.ID))
					b.execute(out.Job.ID, ide.JobCanceled)
				default:
					id = b.running().ID
				}
				stopping := ""
				if state == "stopping" || state == "stopped" {
					stopping = b.stop(StopContainerArgs{ID: id}).Job.ID
				}
				if state == "stopped" {
					b.execute(stopping, ide.JobSucceeded)
				}
				first := b.stop(StopContainerArgs{ID: id, Purge: purge})
				for range 2 {
					if again := b.stop(StopContainerArgs{ID: id, Purge: purge}); again.Job.ID != first.Job.ID || again.Done != first.Done {
						t.Errorf("again: got %+v, want %+v", again, first)
					}
				}
				if state == "stopping" && first.Job.ID != stopping {
					t.Errorf("got %s, want the open job %s", first.Job.ID, stopping)
				}
				if first.Done != (state == "stopped" && !purge) {
					t.Errorf("got %+v", first)
				}
				if !first.Done {
					b.execute(first.Job.ID, ide.JobSucceeded)
				}
				c, err := b.Store.Container(t.Context(), id)
				if purge != ide.HasCode(err, ide.ContainerNotFound) || err == nil && c.Status != ide.Stopped {
					t.Errorf("in the end: %s, %v", c.Status, err)
				}
			})
		}
	}
}

// A purge that is asked for when the stop has all but ended.
func TestPurgeOfAStopUnderWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	release := b.engine.Hang("GET", "/tasks")
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	done := make(chan error, 1)
	go func() { done <- Execute(t.Context(), b.Deps, newest(job)) }()
	b.untilStep(job, "tasks")
	if out := b.stop(StopContainerArgs{ID: c.ID, Purge: true}); out.Job.ID != job {
		t.Errorf("got %s, want the open job", out.Job.ID)
	}
	release()
	b.must(<-done)
	if j := b.job(job); j.Status != ide.JobQueued || j.FinishedAt != nil {
		t.Errorf("the job is %s, finished %v, want that it goes on", j.Status, j.FinishedAt)
	}
	b.execute(job, ide.JobSucceeded)
	_, err := b.Store.Container(t.Context(), c.ID)
	wantError(t, "the record", err, ide.ContainerNotFound, true)
	if got := b.left(); got != "0 services, 0 secrets, 0 configs" {
		t.Errorf("left behind: %s", got)
	}
}

// The stop of the last run has not quite ended when the container is started and
// stopped again: its job is not the answer.
func TestStopOfTheNextRun(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	_, err := b.Store.Update(t.Context(), c.ID, func(c *ide.Container) error { c.Run, c.Status = c.Run+1, ide.Starting; return nil })
	b.must(err)
	_, err = StopContainer.Enqueue(t.Context(), b.Deps, alice, &StopContainerArgs{ID: c.ID})
	wantError(t, "a stop of the second run", err, ide.Conflict, true)
	if e := ide.AsError(err); !strings.Contains(e.Message, job) {
		t.Errorf("got %q, want that it names %s", e.Message, job)
	}
}

// The sweep that purges looks at what is down; a stop that is open is none of its
// business.
func TestSweepDoesNotPurgeAStopUnderWay(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	job := b.stop(StopContainerArgs{ID: c.ID}).Job.ID
	_, err := StopContainer.Enqueue(context.Background(), b.Deps, admin, &StopContainerArgs{ID: c.ID, Purge: true, Aged: true})
	b.must(err)
	b.execute(job, ide.JobSucceeded)
	if c := b.container(c.ID); c.Status != ide.Stopped {
		t.Errorf("got %s, want stopped", c.Status)
	}
}

// A key remembers that there was nothing to do.
func TestNothingToDoIsRemembered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := b.running()
	b.execute(b.stop(StopContainerArgs{ID: c.ID}).Job.ID, ide.JobSucceeded)
	ask := Request{IdempotencyKey: "k"}
	if out := b.stop(StopContainerArgs{Request: ask, ID: c.ID}); !out.Done || out.Container.ID != c.ID {
		t.Fatalf("got %+v, want that there is nothing to do", out)
	}
	out, err := StartContainer.Enqueue(t.Context(), b.Deps, alice, &StartContainerArgs{ID: c.ID})
	b.must(err)
	b.execute(out.Job.ID, ide.JobSucceeded)
	if out := b.stop(StopContainerArgs{Request: ask, ID: c.ID}); !out.Done || b.container(c.ID).Status != ide.Running {
		t.Errorf("the same request stopped the next run: %+v", out)
	}
	_, err = StopContainer.Enqueue(t.Context(), b.Deps, alice, &StopContainerArgs{Request: ask, ID: c.ID, Force: true})
	wantError(t, "another request", err, ide.IdempotencyKeyReused, true)
}
