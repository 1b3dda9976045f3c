package swarm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
)

// Bounds of the waits. Swarm has no events for tasks, and an engine's events
// of containers are those of its own node, so re-reads carry the wait.
const (
	rereadFirst   = 100 * time.Millisecond
	rereadSoon    = 30 * time.Millisecond // after an event about the container
	rereadLast    = time.Second
	settleTime    = 200 * time.Millisecond // a program that dies at once has done so by then
	readTimeout   = 5 * time.Second        // of one call
	readTolerance = 3 * time.Second        // how long reads may fail before the wait does, unless Config says so
	noTaskLimit   = 15 * time.Second       // how long a lagging manager may not show the first task
	goneLimit     = 2 * time.Second        // how long it may show none after it has shown one
)

// WaitRunning waits until a task of rec's run runs and has an address on the
// shared network. progress (may be nil) is told each new state. It fails with
// CONTAINER_START_FAILED and a sentence for people as soon as the task is
// known not to come up; see troubles.
//
// A container on this engine's own node is asked for directly: Swarm reports a
// task running only about a second after its process does, and reports one
// that has died at once as running, too. A container elsewhere that dies right
// after its start may still be returned; call again to learn why.
func (c *Client) WaitRunning(ctx context.Context, rec ide.Container, progress func(string)) (ide.Task, error) {
	return c.waitTask(ctx, startWait{c: c, rec: rec, progress: progress, seen: time.Now()})
}

// waitTask waits for the task of one kind: the container's own, or its saver.
func (c *Client) waitTask(ctx context.Context, w startWait) (ide.Task, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var task ide.Task
	err := c.reread(ctx, w.rec.ID, func(ctx context.Context) (bool, error) {
		tasks, err := w.read(ctx)
		if err != nil {
			return false, err
		}
		var done bool
		task, done, err = w.look(ctx, tasks)
		return done, err
	})
	if err != nil && ctx.Err() != nil {
		return ide.Task{}, ide.Transient(ide.ContainerStartFailed, err, "The container did not start in time (%s).", w.last())
	}
	return task, err
}

// startWait is what WaitRunning remembers between two reads.
type startWait struct {
	c        *Client
	rec      ide.Container
	saver    bool // the task that only saves is waited for
	progress func(string)
	service  string    // engine's ID of the service, once it is known
	seen     time.Time // when there was a task last, or the wait began
	ever     bool      // whether there was one

	said    string    // last progress
	trouble *trouble  // what the newest task suffers from
	task    string    // ... and which task that is
	since   time.Time // ... and since when
}

func (w *startWait) last() string {
	if w.said == "" {
		return "no task yet"
	}
	return w.said
}

// read lists the run's tasks: none while its service is not listed yet.
func (w *startWait) read(ctx context.Context) ([]swarm.Task, error) {
	if w.service == "" {
		s, found, err := w.c.Service(ctx, w.rec.ID)
		if err != nil || !found || s.Run != w.rec.Run {
			return nil, err
		}
		w.service = s.EngineID
	}
	tasks, err := w.c.tasksOf(ctx, w.rec.ID, w.rec.Run, w.service)
	tasks = slices.DeleteFunc(tasks, func(t swarm.Task) bool { return isSaver(t.Spec) != w.saver })
	if len(tasks) == 0 {
		w.service = ""
	}
	return tasks, err
}

// look judges one read: done with a task, not yet, or a failure.
func (w *startWait) look(ctx context.Context, tasks []swarm.Task) (ide.Task, bool, error) {
	if len(tasks) == 0 {
		if since := time.Since(w.seen); since > noTaskLimit || w.ever && since > goneLimit {
			return ide.Task{}, false, ide.Transient(ide.Conflict, nil, "The container's service has no task: it may have been stopped.")
		}
		return ide.Task{}, false, nil
	}
	w.seen, w.ever = time.Now(), true
	for i, t := range tasks {
		if t.DesiredState != swarm.TaskStateRunning {
			continue
		}
		done, verified := w.verify(ctx, t)
		if task := w.c.makeTask(t); done && task.Address != "" {
			task.State = string(swarm.TaskStateRunning)
			return task, true, nil
		}
		tasks[i] = verified
	}
	newest := tasks[0]
	if s := string(newest.Status.State); s != w.said {
		w.said = s
		if w.progress != nil {
			w.progress(s)
		}
	}
	for _, t := range tasks {
		if tr := troubleOf(t); tr != nil && tr.patience == 0 {
			if tr.name == noImage {
				if err := w.c.registryTrouble(ctx, w.rec.Image); err != nil {
					return ide.Task{}, false, err
				}
			}
			return ide.Task{}, false, tr.failure(t, w.rec, w.c.outOfMemory(ctx, t))
		}
	}
	tr := troubleOf(newest)
	if tr == nil || tr != w.trouble || newest.ID != w.task {
		w.trouble, w.task, w.since = tr, newest.ID, time.Now()
	}
	if tr != nil && time.Since(w.since) >= tr.patience {
		return ide.Task{}, false, tr.failure(newest, w.rec, false)
	}
	return ide.Task{}, false, nil
}

// verify says whether a task's container runs. Where it is on this node, its
// own engine is believed rather than Swarm: one that has ended already is
// returned as the failed task that Swarm will report in a moment.
func (w *startWait) verify(ctx context.Context, t swarm.Task) (bool, swarm.Task) {
	running := phaseOf(t.Status.State) == phaseRunning
	s := w.c.localState(ctx, t)
	switch {
	case s == nil:
		return running, t
	case s.Running && !s.Restarting:
		began, err := time.Parse(time.RFC3339Nano, s.StartedAt)
		if err == nil && time.Since(began) < settleTime {
			return false, t
		}
		// With a health check, Swarm's "running" is the agent's word.
		return running || s.Health == nil || s.Health.Status == container.Healthy, t
	case s.Status == "exited" || s.Status == "dead":
		t.Status.State = swarm.TaskStateFailed
		if s.ExitCode == 0 {
			t.Status.State = swarm.TaskStateComplete
		}
		t.Status.Err = fmt.Sprintf("task: non-zero exit (%d): %s", s.ExitCode, s.Error)
		t.Status.ContainerStatus = &swarm.ContainerStatus{ContainerID: t.Status.ContainerStatus.ContainerID, ExitCode: s.ExitCode}
		return false, t
	default:
		return false, t
	}
}

// localState inspects a task's container, nil where it is not on this node (or
// not there any more).
func (c *Client) localState(ctx context.Context, t swarm.Task) *container.State {
	s := t.Status.ContainerStatus
	if s == nil || s.ContainerID == "" {
		return nil
	}
	i, err := c.docker.ContainerInspect(ctx, s.ContainerID)
	if err != nil || i.ContainerJSONBase == nil {
		return nil
	}
	return i.State
}

// outOfMemory asks whether the kernel killed a container for its memory limit.
// Swarm does not say; only the engine that ran it knows.
func (c *Client) outOfMemory(ctx context.Context, t swarm.Task) bool {
	s := c.localState(ctx, t)
	return s != nil && s.OOMKilled
}

// WaitGone waits until no task of a run has a container left. Tasks of a
// removed service stay listed until their containers have stopped: for 3 to 4 s
// at least on Engine 20.10, which waits for its DNS to forget them first.
func (c *Client) WaitGone(ctx context.Context, id string, run int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	held := "its tasks could not be read"
	err := c.reread(ctx, id, func(ctx context.Context) (bool, error) {
		tasks, err := c.tasksOf(ctx, id, run, "")
		if err != nil {
			return false, err
		}
		tasks = slices.DeleteFunc(tasks, func(t swarm.Task) bool { return !holdsContainer(t) })
		if len(tasks) == 0 {
			return true, nil
		}
		held = fmt.Sprintf("its task is %s", tasks[0].Status.State)
		return false, c.checkNodes(ctx, tasks)
	})
	if err != nil && ctx.Err() != nil {
		return ide.Transient(ide.ContainerStopFailed, err, "The container did not stop in time (%s).", held)
	}
	return err
}

// holdsContainer says whether a task has, or may still get, a container.
func holdsContainer(t swarm.Task) bool {
	switch phaseOf(t.Status.State) {
	case phaseEnded:
		return false
	case phaseQueued: // without a node there is nothing; Swarm drops it
		return t.DesiredState != swarm.TaskStateRemove && t.DesiredState != swarm.TaskStateShutdown
	default:
		return true
	}
}

// checkNodes fails with ErrNodeDown if all tasks are on nodes that are down:
// Swarm keeps the last state it has heard of them, for up to 24 h.
func (c *Client) checkNodes(ctx context.Context, tasks []swarm.Task) error {
	nodes, err := c.docker.NodeList(ctx, swarm.NodeListOptions{})
	if err != nil {
		return classify("list nodes", err)
	}
	for _, t := range tasks {
		up := slices.ContainsFunc(nodes, func(n swarm.Node) bool {
			return n.ID == t.NodeID && n.Status.State != swarm.NodeStateDown
		})
		if up || t.NodeID == "" {
			return nil
		}
	}
	return ide.Transient(ide.ContainerStopFailed, ErrNodeDown, "The container's node is down: whether it has stopped cannot be known.")
}

// reread calls read until it is done, fails for good, or ctx ends: on each
// event about the container, and at growing intervals of at most a second.
// The events are subscribed to first, so that none falls between. Failing
// reads are tolerated for a while.
func (c *Client) reread(ctx context.Context, id string, read func(context.Context) (bool, error)) error {
	events, _ := c.Events(ctx)
	return reread(ctx, events, id, c.cfg.Tolerance, read)
}

func reread(ctx context.Context, events <-chan Event, id string, tolerance time.Duration, read func(context.Context) (bool, error)) error {
	interval := rereadFirst
	var failing time.Time
	for {
		rctx, cancel := context.WithTimeout(ctx, readTimeout)
		done, err := read(rctx)
		cancel()
		switch {
		case err == nil && done:
			return nil
		case err == nil:
			failing = time.Time{}
		case ctx.Err() != nil:
			return errors.Join(err, ctx.Err())
		case !readFailure(err):
			return err
		case failing.IsZero():
			failing = time.Now()
		case time.Since(failing) > tolerance:
			return err
		}
		interval = min(interval*5/4, rereadLast)
		if woken, err := waitFor(ctx, events, id, interval); err != nil {
			return err
		} else if woken {
			interval = rereadSoon
		}
	}
}

// readFailure says whether an error is that of a read rather than a finding.
func readFailure(err error) bool {
	return ide.HasCode(err, ide.Docker) && !ide.IsPermanent(err)
}

// waitFor returns after d, or as soon as an event about the container comes
// (woken). The end of the events is no error: the re-reads go on.
func waitFor(ctx context.Context, events <-chan Event, id string, d time.Duration) (woken bool, err error) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case e, ok := <-events:
			if !ok {
				events = nil
			} else if e.Container == id {
				return true, nil
			}
		case <-timer.C:
			return false, nil
		case <-ctx.Done():
			return false, ctx.Err()
		}
	}
}
