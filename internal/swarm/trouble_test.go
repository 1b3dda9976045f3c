package swarm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/swarm"
)

// allStates is every state that the API documents.
var allStates = []swarm.TaskState{"new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting",
	"running", "complete", "shutdown", "failed", "rejected", "remove", "orphaned"}

func taskIn(state swarm.TaskState, err string, code int) swarm.Task {
	t := swarm.Task{ID: "task1", NodeID: "node1", DesiredState: swarm.TaskStateRunning}
	t.Status.State, t.Status.Err = state, err
	if code != 0 {
		t.Status.ContainerStatus = &swarm.ContainerStatus{ExitCode: code}
	}
	return t
}

func TestEveryTaskStateIsMapped(t *testing.T) {
	t.Parallel()
	want := map[swarm.TaskState]phase{
		"new": phaseQueued, "allocated": phaseQueued, "pending": phaseQueued,
		"assigned": phaseMaking, "accepted": phaseMaking, "preparing": phaseMaking, "ready": phaseMaking, "starting": phaseMaking,
		"running":  phaseRunning,
		"complete": phaseEnded, "shutdown": phaseEnded, "failed": phaseEnded, "rejected": phaseEnded, "remove": phaseEnded, "orphaned": phaseEnded,
		// Neither a failure nor an end.
		"unknown": phaseMaking, "": phaseMaking, "a word of a later engine": phaseMaking,
	}
	for state, phase := range want {
		if got := phaseOf(state); got != phase {
			t.Errorf("%q is in phase %d, want %d", state, got, phase)
		}
	}
	for _, s := range allStates {
		if _, ok := phases[s]; !ok {
			t.Errorf("state %s has no phase", s)
		}
	}
}

func TestTroubles(t *testing.T) {
	t.Parallel()
	// Err as Engine 20.10 said it, where it is marked seen.
	for name, tc := range map[string]struct {
		task      swarm.Task
		want      string // name of the trouble; empty is none
		sentence  string
		permanent bool
		atOnce    bool
	}{
		"just made":              {task: taskIn("new", "", 0), want: "no address", sentence: "The containers' network has no free address."}, // seen
		"waiting for scheduling": {task: taskIn("pending", "", 0)},
		"no room (seen)": {task: taskIn("pending", "no suitable node (insufficient resources on 1 node)", 0),
			want: "no room", sentence: "The node has not enough free CPU or memory for the container."},
		"no room, other nodes are not asked": {task: taskIn("pending", "no suitable node (scheduling constraints not satisfied on 2 nodes; insufficient resources on 1 node)", 0),
			want: "no room", sentence: "The node has not enough free CPU or memory for the container."},
		"drained": {task: taskIn("pending", "no suitable node (1 node not available for new tasks; scheduling constraints not satisfied on 2 nodes)", 0),
			want: "node away", sentence: "The node is down, drained or paused."},
		"node removed (seen)": {task: taskIn("pending", "no suitable node (scheduling constraints not satisfied on 1 node)", 0),
			want: "no node", sentence: "The node chosen for the container is not in the Swarm."},
		"wrong processor": {task: taskIn("pending", "no suitable node (unsupported platform on 1 node)", 0),
			want: "platform", sentence: "The image ide:1 is not made for the node's processor.", permanent: true, atOnce: true},
		"missing plugin":      {task: taskIn("pending", "no suitable node (missing plugin on 1 node)", 0), want: "plugin", sentence: "The node lacks a plugin that the container needs."},
		"another reason":      {task: taskIn("pending", "no suitable node (max replicas per node limit exceed)", 0), want: "no suitable node", sentence: "No node can take the container."},
		"assigned":            {task: taskIn("assigned", "", 0)},
		"accepted":            {task: taskIn("accepted", "", 0)},
		"preparing":           {task: taskIn("preparing", "", 0)},
		"ready":               {task: taskIn("ready", "", 0)},
		"starting":            {task: taskIn("starting", "", 0)},
		"running":             {task: taskIn("running", "", 0)},
		"unknown":             {task: taskIn("unknown", "", 0)},
		"no image (seen)":     {task: taskIn("rejected", "No such image: ide:1", 0), want: "no image", sentence: "The image ide:1 is not on the node and cannot be pulled.", permanent: true, atOnce: true},
		"private image":       {task: taskIn("rejected", "pull access denied for ide, repository does not exist or may require 'docker login'", 0), want: "no image", sentence: "The image ide:1 is not on the node and cannot be pulled.", permanent: true, atOnce: true},
		"node without memory": {task: taskIn("failed", "starting container failed: fork/exec /proc/self/exe: cannot allocate memory", 0), want: "no memory on the node", sentence: "The node has no memory left."},
		"disk full":           {task: taskIn("rejected", "mkdir /var/lib/docker/…: no space left on device", 0), want: "no disk", sentence: "The node's disk is full."},
		"no address at start": {task: taskIn("failed", "starting container failed: could not find an available, non-overlapping IPv4 address pool", 0), want: "no address on the node", sentence: "The containers' network has no free address."},
		"no such program": {task: taskIn("failed", `starting container failed: OCI runtime create failed: container_linux.go:380: starting container process caused: exec: "/x": executable file not found in $PATH: unknown`, 0),
			want: "cannot execute", sentence: "The program of the image ide:1 cannot be executed.", permanent: true, atOnce: true},
		"no such program under init (seen)": {task: taskIn("failed", "task: non-zero exit (127)", 127),
			want: "cannot execute, says init", sentence: "The program of the image ide:1 cannot be executed (exit code 127).", permanent: true, atOnce: true},
		"unhealthy":         {task: taskIn("failed", "task: non-zero exit (137): dockerexec: unhealthy container", 137), want: "unhealthy", sentence: "The container's agent does not answer."},
		"killed (seen)":     {task: taskIn("failed", "task: non-zero exit (137)", 137), want: "killed", sentence: "The container was killed (exit code 137): most likely 64 MiB of memory are too little for it.", permanent: true, atOnce: true},
		"told to stop":      {task: taskIn("failed", "task: non-zero exit (143)", 143), want: "ended by a signal to stop", sentence: "The container was stopped from outside (exit code 143)."},
		"exited (seen)":     {task: taskIn("failed", "task: non-zero exit (3)", 3), want: "exited", sentence: "The container's program ended with code 3.", permanent: true, atOnce: true},
		"completed":         {task: taskIn("complete", "", 0), want: "completed", sentence: "The container's program ended by itself (code 0).", permanent: true, atOnce: true},
		"orphaned":          {task: taskIn("orphaned", "", 0), want: "node lost", sentence: "The container's node is lost."},
		"shut down":         {task: taskIn("shutdown", "", 0), want: "not started", sentence: "The container could not be started."},
		"removed":           {task: taskIn("remove", "", 0), want: "not started", sentence: "The container could not be started."},
		"network not ready": {task: taskIn("rejected", "network sandbox join failed: subnet sandbox join failed for \"10.0.0.0/24\": error creating vxlan interface: file exists", 0), want: "not started", sentence: "The container could not be started."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := troubleOf(tc.task)
			if tr == nil {
				if tc.want != "" {
					t.Errorf("no trouble, want %q", tc.want)
				}
				return
			}
			if tr.name != tc.want {
				t.Fatalf("trouble is %q, want %q", tr.name, tc.want)
			}
			err := tr.failure(tc.task, ide.Container{Image: "ide:1", Resources: ide.Resources{MemoryLimit: 64 << 20}}, false)
			if err.Message != tc.sentence || err.Permanent != tc.permanent || (tr.patience == 0) != tc.atOnce || err.Code != ide.ContainerStartFailed {
				t.Errorf("got %s %q, permanent %t, at once %t; want %q, %t, %t",
					err.Code, err.Message, err.Permanent, tr.patience == 0, tc.sentence, tc.permanent, tc.atOnce)
			}
			if tc.task.Status.Err != "" && (strings.Contains(err.Message, tc.task.Status.Err) || !strings.Contains(err.Error(), tc.task.Status.Err)) {
				t.Errorf("the engine's words belong into Err alone: %q, %v", err.Message, err)
			}
		})
	}
}

func TestEveryTroubleCanBeReached(t *testing.T) {
	t.Parallel()
	for i, tr := range troubles {
		reached := slices.ContainsFunc(allStates, func(s swarm.TaskState) bool {
			words, codes := append([]string{""}, tr.words...), append([]int{0}, tr.codes...)
			for _, w := range words {
				for _, c := range codes {
					if troubleOf(taskIn(s, w, c)) == &troubles[i] {
						return true
					}
				}
			}
			return false
		})
		if !reached {
			t.Errorf("trouble %q is hidden by one before it", tr.name)
		}
	}
}

// wait is what look does in a series of reads, a second apart.
func TestPatience(t *testing.T) {
	t.Parallel()
	full := taskIn("pending", "no suitable node (insufficient resources on 1 node)", 0)
	odd := taskIn("rejected", "network sandbox join failed", 0)
	next := odd
	next.ID = "task2"
	for name, tc := range map[string]struct {
		read func(second int) []swarm.Task
		want int // second of the failure; 0 is none within 60
		code ide.Code
	}{
		"no room for good":             {func(int) []swarm.Task { return []swarm.Task{full} }, 10, ide.ContainerStartFailed},
		"no address for good":          {func(int) []swarm.Task { return []swarm.Task{taskIn("new", "", 0)} }, 15, ide.ContainerStartFailed},
		"Swarm's attempts are spent":   {func(int) []swarm.Task { return []swarm.Task{odd} }, 10, ide.ContainerStartFailed},
		"a manager that shows no task": {func(int) []swarm.Task { return nil }, 16, ide.Conflict},
		"tasks that are gone":          {func(s int) []swarm.Task { return []swarm.Task{taskIn("pending", "", 0)}[:max(0, 1-s)] }, 3, ide.Conflict},
		"a state nobody knows":         {func(int) []swarm.Task { return []swarm.Task{taskIn("unknown", "", 0)} }, 0, ""},
		"a long pull":                  {func(int) []swarm.Task { return []swarm.Task{taskIn("preparing", "", 0)} }, 0, ""},
		"an old exit, before an attempt": {func(int) []swarm.Task {
			return []swarm.Task{taskIn("pending", "", 0), taskIn("failed", "task: non-zero exit (3)", 3)}
		}, 1, ide.ContainerStartFailed},
		"room comes and goes": {func(s int) []swarm.Task {
			if s%5 == 0 {
				return []swarm.Task{taskIn("pending", "", 0)}
			}
			return []swarm.Task{full}
		}, 0, ""},
		"each attempt has its own patience": {func(s int) []swarm.Task {
			if s < 8 {
				return []swarm.Task{odd}
			}
			return []swarm.Task{next, odd}
		}, 18, ide.ContainerStartFailed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := startWait{c: &Client{cfg: Config{Network: "ide-network"}}, seen: time.Now()}
				for s := range 60 {
					_, done, err := w.look(t.Context(), tc.read(s))
					if done {
						t.Fatalf("done after %d s", s)
					}
					if err != nil {
						// A first read fails at second 0; the table says 1 for "at once".
						if got := max(s, 1); got != tc.want || !ide.HasCode(err, tc.code) {
							t.Errorf("failed after %d s with %v, want %s after %d s", got, err, tc.code, tc.want)
						}
						return
					}
					time.Sleep(time.Second)
				}
				if tc.want != 0 {
					t.Errorf("no failure within 60 s, want one after %d s", tc.want)
				}
			})
		})
	}
}

func TestReadsMayFailForAWhile(t *testing.T) {
	t.Parallel()
	away := ide.Transient(ide.Docker, nil, "The engine does not answer.")
	for name, tc := range map[string]struct {
		fails func(s float64) bool
		want  float64 // second of the end
		err   error
	}{
		"for good":            {func(float64) bool { return true }, 3, away},
		"for less":            {func(s float64) bool { return s < 2.5 }, 10, nil},
		"for less, and again": {func(s float64) bool { return int(s)%4 < 2 }, 10, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := Config{Instance: "test"}.withDefaults()
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				since := func() float64 { return time.Since(began).Seconds() }
				err = reread(t.Context(), nil, "k3xqh5zt2mwfa", c.Tolerance, func(context.Context) (bool, error) {
					if tc.fails(since()) {
						return false, away
					}
					return since() >= 10, nil
				})
				if got := since(); err != tc.err || got < tc.want || got > tc.want+1 {
					t.Errorf("got %v after %.1f s, want %v after %.0f s", err, got, tc.err, tc.want)
				}
			})
		})
	}
}

func TestContainersLeft(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		state, desired swarm.TaskState
		want           bool
	}{
		{"running", "remove", true}, {"starting", "remove", true}, {"assigned", "shutdown", true}, {"unknown", "remove", true},
		{"pending", "running", true}, {"pending", "remove", false}, {"new", "shutdown", false},
		{"shutdown", "remove", false}, {"failed", "shutdown", false}, {"rejected", "remove", false}, {"complete", "remove", false}, {"orphaned", "remove", false},
	} {
		t.Run(fmt.Sprintf("%s, wanted %s", tc.state, tc.desired), func(t *testing.T) {
			t.Parallel()
			task := taskIn(tc.state, "", 0)
			task.DesiredState = tc.desired
			if got := holdsContainer(task); got != tc.want {
				t.Errorf("got %t, want %t", got, tc.want)
			}
		})
	}
}
