package swarm

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/swarm"
	"github.com/docker/docker/pkg/stdcopy"
)

// View is what the Swarm holds of this instance: what is compared with the
// records. Its lists are read one after another, so a judgement on them is
// sound only for what did not change meanwhile.
type View struct {
	Services []Service
	Tasks    map[string][]Sight // by container, newest first, of all runs
	Secrets  []Fence
	Records  []Record
	Nodes    map[string]ide.Node
	Foreign  []Foreign // services that carry our labels and are not ours
}

// Sight is a task, and what is wrong with it.
type Sight struct {
	ide.Task
	Saver  bool
	Queued bool // no node has begun to make its container
	Ended  bool // it will never run again
	// Trouble is a sentence for people with the engine's words as its cause, nil
	// while nothing is wrong. It is about a container that should run.
	Trouble *ide.Error
	Memory  bool // what is wrong is memory: the container's, or the node's
}

// Fence is the secret of a run.
type Fence struct {
	Container string
	Run       int
	CreatedAt time.Time
}

// View reads everything that carries this instance's label, and the nodes.
func (c *Client) View(ctx context.Context) (v View, err error) {
	if v.Services, v.Foreign, err = c.services(ctx); err != nil {
		return v, err
	}
	f := c.ours()
	f.Add("label", LabelID)
	tasks, err := c.docker.TaskList(ctx, swarm.TaskListOptions{Filters: f})
	if err != nil {
		return v, classify("list tasks", err)
	}
	slices.SortStableFunc(tasks, func(a, b swarm.Task) int { return b.CreatedAt.Compare(a.CreatedAt) })
	v.Tasks = map[string][]Sight{}
	for _, t := range tasks {
		of := func(f Foreign) bool { return f.EngineID == t.ServiceID }
		if id, _, err := parseIdentity(taskLabels(t)); err == nil && !slices.ContainsFunc(v.Foreign, of) {
			v.Tasks[id] = append(v.Tasks[id], c.sight(t))
		}
	}
	secrets, err := c.docker.SecretList(ctx, swarm.SecretListOptions{Filters: f})
	if err != nil {
		return v, classify("list secrets", err)
	}
	for _, s := range secrets {
		if id, run, err := parseIdentity(s.Spec.Labels); err == nil && s.Spec.Name == secretName(id, run) {
			v.Secrets = append(v.Secrets, Fence{Container: id, Run: run, CreatedAt: s.CreatedAt})
		}
	}
	if v.Records, err = c.Configs(ctx); err != nil {
		return v, err
	}
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return v, err
	}
	v.Nodes = map[string]ide.Node{}
	for _, n := range nodes {
		v.Nodes[n.ID] = n
	}
	return v, nil
}

func (c *Client) sight(t swarm.Task) Sight {
	p := phaseOf(t.Status.State)
	s := Sight{Task: c.makeTask(t), Saver: isSaver(t.Spec), Queued: p == phaseQueued, Ended: p == phaseEnded}
	tr := troubleOf(t)
	if tr == nil {
		return s
	}
	rec := ide.Container{Image: t.Spec.ContainerSpec.Image}
	if r := t.Spec.Resources; r != nil && r.Limits != nil {
		rec.Resources.MemoryLimit = r.Limits.MemoryBytes
	}
	s.Trouble = tr.failure(t, rec, false)
	s.Memory = tr.memory
	return s
}

// LastLines returns the last lines that a task's program has printed, oldest
// first. The engines of other nodes are asked through the managers, which may
// hang (moby/moby#33183): it waits for a few seconds only.
func (c *Client) LastLines(ctx context.Context, task string, n int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	body, err := c.docker.TaskLogs(ctx, task, container.LogsOptions{ShowStdout: true, ShowStderr: true, Tail: fmt.Sprint(n)})
	if err != nil {
		return nil, classify("read log", err)
	}
	defer body.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, body); err != nil && text.Len() == 0 {
		return nil, classify("read log", err)
	}
	lines := strings.Split(strings.TrimRight(text.String(), "\n"), "\n")
	return lines[max(0, len(lines)-n):], nil
}
