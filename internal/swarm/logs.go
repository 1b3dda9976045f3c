package swarm

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/pkg/stdcopy"
)

// LocalContainer is a container of ours on the node of this engine, running or
// not.
type LocalContainer struct {
	EngineID  string
	Container string
	Run       int
	Ended     bool   // it will print nothing more, unless somebody starts it by hand
	Address   string // on the shared overlay, while it runs
}

// LocalContainers lists the containers of this instance on this engine's node,
// those that have ended included. It needs no manager.
func (c *Client) LocalContainers(ctx context.Context) ([]LocalContainer, error) {
	list, err := c.docker.ContainerList(ctx, container.ListOptions{All: true, Filters: c.ours()})
	if err != nil {
		return nil, classify("list containers", err)
	}
	var local []LocalContainer
	for _, l := range list {
		if id, run, err := parseIdentity(l.Labels); err == nil {
			one := LocalContainer{EngineID: l.ID, Container: id, Run: run, Ended: l.State == container.StateExited || l.State == container.StateDead}
			if n := l.NetworkSettings; n != nil && n.Networks[c.cfg.Network] != nil {
				one.Address = n.Networks[c.cfg.Network].IPAddress
			}
			local = append(local, one)
		}
	}
	return local, nil
}

// FollowLogs calls each for every line that a container (by its engine's ID) of
// this engine's node has printed from since on, the very instant included, and
// for every new one, in order. It returns nil when the container has ended and
// all was read, and an error when the engine goes away, when ctx ends, or when
// each returns one. Lines have time, source and text; of a long one the
// beginning, somewhat more than ide.MaxLogLine.
//
// It asks the engine that runs the container: `service logs` goes through the
// managers and hangs (moby/moby#33183).
func (c *Client) FollowLogs(ctx context.Context, engineID string, since time.Time, each func(ide.LogLine) error) error {
	o := container.LogsOptions{ShowStdout: true, ShowStderr: true, Timestamps: true, Follow: true, Tail: "all"}
	if !since.IsZero() {
		o.Since = since.UTC().Format(time.RFC3339Nano)
	}
	body, err := c.docker.ContainerLogs(ctx, engineID, o)
	if err != nil {
		return classify("read log", err)
	}
	defer body.Close()
	out := &messages{source: ide.SourceStdout, each: each}
	errs := &messages{source: ide.SourceStderr, each: each}
	if _, err := stdcopy.StdCopy(out, errs, body); err != nil {
		return classify("read log", err)
	}
	if err := out.flush(); err != nil {
		return err
	}
	return errs.flush()
}

// messages takes one stream of a log. Each Write is one message: its time, a
// blank, and a line, or a part of a long line, whose last part ends in a line
// feed.
type messages struct {
	source string
	each   func(ide.LogLine) error
	at     time.Time // of the line that is not at its end
	text   []byte
	open   bool
}

// Write implements io.Writer.
func (m *messages) Write(p []byte) (int, error) {
	stamp, text, ok := bytes.Cut(p, []byte(" "))
	at, err := time.Parse(time.RFC3339Nano, string(stamp))
	if !ok || err != nil {
		return 0, fmt.Errorf("a log message begins with no time: %.40q", p)
	}
	if !m.open {
		m.at, m.open = at.UTC(), true
	}
	text, whole := bytes.CutSuffix(text, []byte("\n"))
	if room := ide.MaxLogLine + 1 - len(m.text); room > 0 {
		m.text = append(m.text, text[:min(room, len(text))]...)
	}
	if !whole {
		return len(p), nil
	}
	return len(p), m.flush()
}

// flush hands the line on.
func (m *messages) flush() error {
	if !m.open {
		return nil
	}
	line := ide.LogLine{At: m.at, Source: m.source, Text: string(m.text)}
	m.text, m.open = m.text[:0], false
	return m.each(line)
}
