package swarm

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/swarm"
)

// trouble is one way in which a task does not come to run: how it shows, what
// is said about it, and what follows.
type trouble struct {
	name     string
	phase    phase
	state    swarm.TaskState // if not empty, this state only
	words    []string        // one of them in the task's Err, in any case; none means any Err
	codes    []int           // if not empty, one of these exit codes
	sentence string          // {image}, {code} and {memory} are filled in

	memory bool // it is about memory
	// permanent: neither Swarm's next attempt nor ours can succeed there.
	permanent bool
	// node: it may be the node's fault, so that another node may run it.
	node bool
	// patience is how long the newest task must show this before it is
	// believed; 0 is at once, and in any task of the run.
	patience time.Duration
}

// How long a state that may pass by itself is watched.
const (
	placePatience   = 10 * time.Second // another container goes down, a node comes back
	addressPatience = 15 * time.Second // a new leader of the managers has to catch up first
	restartPatience = 10 * time.Second // Swarm's next attempt comes after restartDelay
)

// noImage is the trouble of a node that has no image, whatever its registry said.
const noImage = "no image"

// troubles is the table, first match first. The words are those of Engine
// 20.10 (swarmkit's scheduler and executor, and the daemon); most were seen on
// a real one. A task without an address stays "new" without a word
// (moby/moby#43052).
var troubles = []trouble{
	{name: "no address", phase: phaseQueued, state: swarm.TaskStateNew, patience: addressPatience,
		sentence: "The containers' network has no free address."},
	{name: "no room", node: true, phase: phaseQueued, words: []string{"insufficient resources"}, patience: placePatience,
		sentence: "The node has not enough free CPU or memory for the container."},
	{name: "node away", node: true, phase: phaseQueued, words: []string{"not available for new tasks"}, patience: placePatience,
		sentence: "The node is down, drained or paused."},
	{name: "platform", node: true, phase: phaseQueued, words: []string{"unsupported platform"}, permanent: true,
		sentence: "The image {image} is not made for the node's processor."},
	{name: "plugin", node: true, phase: phaseQueued, words: []string{"missing plugin"}, patience: placePatience,
		sentence: "The node lacks a plugin that the container needs."},
	{name: "no node", node: true, phase: phaseQueued, words: []string{"scheduling constraints not satisfied"}, patience: placePatience,
		sentence: "The node chosen for the container is not in the Swarm."},
	{name: "no suitable node", node: true, phase: phaseQueued, words: []string{"no suitable node"}, patience: placePatience,
		sentence: "No node can take the container."},

	{name: noImage, node: true, phase: phaseEnded, permanent: true,
		words: []string{"no such image", "pull access denied", "manifest unknown", "repository does not exist",
			"no matching manifest", "invalid reference format"},
		sentence: "The image {image} is not on the node and cannot be pulled."},
	{name: "no memory on the node", node: true, phase: phaseEnded, words: []string{"cannot allocate memory"}, patience: restartPatience, memory: true,
		sentence: "The node has no memory left."},
	{name: "no disk", node: true, phase: phaseEnded, words: []string{"no space left on device"}, patience: restartPatience,
		sentence: "The node's disk is full."},
	{name: "no address on the node", phase: phaseEnded, patience: restartPatience,
		words:    []string{"no available ip", "could not find an available", "address already in use"},
		sentence: "The containers' network has no free address."},
	{name: "cannot execute", node: true, phase: phaseEnded, permanent: true,
		words:    []string{"executable file not found", "exec format error", "exec user process", "oci runtime create failed: runc create failed: unable to start container process: exec"},
		sentence: "The program of the image {image} cannot be executed."},
	{name: "unhealthy", phase: phaseEnded, words: []string{"unhealthy container"}, patience: restartPatience,
		sentence: "The container's agent does not answer."},
	{name: "cannot execute, says init", phase: phaseEnded, codes: []int{126, 127}, permanent: true,
		sentence: "The program of the image {image} cannot be executed (exit code {code})."},
	{name: "killed", phase: phaseEnded, codes: []int{137}, permanent: true, memory: true,
		sentence: "The container was killed (exit code 137): most likely {memory} of memory are too little for it."},
	{name: "ended by a signal to stop", phase: phaseEnded, codes: []int{143}, patience: restartPatience,
		sentence: "The container was stopped from outside (exit code 143)."},
	{name: "exited", phase: phaseEnded, words: []string{"non-zero exit"}, permanent: true,
		sentence: "The container's program ended with code {code}."},
	{name: "completed", phase: phaseEnded, state: swarm.TaskStateComplete, permanent: true,
		sentence: "The container's program ended by itself (code {code})."},
	{name: "node lost", node: true, phase: phaseEnded, state: swarm.TaskStateOrphaned, patience: restartPatience,
		sentence: "The container's node is lost."},
	{name: "not started", node: true, phase: phaseEnded, patience: restartPatience,
		sentence: "The container could not be started."},
}

// troubleOf returns what is wrong with a task, or nil.
func troubleOf(t swarm.Task) *trouble {
	said := strings.ToLower(t.Status.Err)
	code := exitCode(t)
	for i := range troubles {
		tr := &troubles[i]
		if tr.phase != phaseOf(t.Status.State) || tr.state != "" && tr.state != t.Status.State ||
			len(tr.words) > 0 && !slices.ContainsFunc(tr.words, func(w string) bool { return strings.Contains(said, w) }) ||
			len(tr.codes) > 0 && !slices.Contains(tr.codes, code) {
			continue
		}
		return tr
	}
	return nil
}

// failure is the error of a trouble that is believed.
func (tr *trouble) failure(t swarm.Task, rec ide.Container, oom bool) *ide.Error {
	sentence := tr.sentence
	if oom {
		sentence = "The container ran out of memory: {memory} are too little for it."
	}
	sentence = strings.NewReplacer(
		"{image}", rec.Image,
		"{code}", fmt.Sprint(exitCode(t)),
		"{memory}", fmt.Sprintf("%d MiB", rec.Resources.MemoryLimit>>20),
	).Replace(sentence)
	cause := fmt.Errorf("task %s is %s (%s): %s", t.ID, t.Status.State, t.Status.Message, t.Status.Err)
	if tr.node && !oom {
		cause = fmt.Errorf("%w: %w", ErrNodeFault, cause)
	}
	if tr.phase == phaseEnded {
		cause = fmt.Errorf("%w: %w", ErrTaskEnded, cause)
	}
	return &ide.Error{Code: ide.ContainerStartFailed, Message: sentence, Err: cause, Permanent: tr.permanent || oom}
}

func exitCode(t swarm.Task) int {
	if s := t.Status.ContainerStatus; s != nil {
		return s.ExitCode
	}
	return 0
}
