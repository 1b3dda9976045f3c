package swarm

import (
	"context"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/docker/docker/api/types/events"
	"github.com/docker/docker/api/types/filters"
)

// Event is something an engine has seen. Events of services and nodes come on
// managers only; those of containers on the node that runs them only. Events
// are hints: some may be missed, so whoever acts on one reads again.
type Event struct {
	Type      string // "service", "node" or "container"
	Action    string // create, update, remove; start, die, oom, destroy …
	ID        string // engine's ID of the service, node or container
	Container string // our ID, where it is about a container of ours
	Run       int    // set on events of Type container
	ExitCode  string // set on action die
	At        time.Time
}

// Events streams events until ctx ends or the engine does; then both channels
// are closed, after one error where it was not ctx. It returns once the engine
// has taken the subscription, so nothing that happens afterwards is missed.
func (c *Client) Events(ctx context.Context) (<-chan Event, <-chan error) {
	// Docker's client reads its API version here without minding that another call may be negotiating it; a call that
	// negotiates comes first.
	if _, err := c.docker.Info(ctx); err != nil {
		none, failed := make(chan Event), make(chan error, 1)
		if ctx.Err() == nil {
			failed <- classify("read events", err)
		}
		close(none)
		close(failed)
		return none, failed
	}
	messages, errs := c.docker.Events(ctx, events.ListOptions{Filters: filters.NewArgs(
		filters.Arg("type", string(events.ServiceEventType)),
		filters.Arg("type", string(events.NodeEventType)),
		filters.Arg("type", string(events.ContainerEventType)),
	)})
	out, outErrs := make(chan Event), make(chan error, 1)
	go func() {
		defer close(outErrs)
		defer close(out)
		for {
			select {
			case m := <-messages:
				e, ok := c.makeEvent(m)
				if !ok {
					continue
				}
				select {
				case out <- e:
				case <-ctx.Done():
					return
				}
			case err := <-errs:
				if ctx.Err() == nil && err != nil {
					outErrs <- classify("read events", err)
				}
				return
			}
		}
	}()
	return out, outErrs
}

// makeEvent drops what nobody asks for: other people's containers, and the
// exec events that every health check causes.
func (c *Client) makeEvent(m events.Message) (Event, bool) {
	e := Event{Type: string(m.Type), Action: string(m.Action), ID: m.Actor.ID, At: time.Unix(0, m.TimeNano)}
	switch m.Type {
	case events.ServiceEventType:
		// A service's labels are not in its events; its name is.
		if id, ok := strings.CutPrefix(m.Actor.Attributes["name"], "berth-"); ok && ide.ValidID(id) {
			e.Container = id
		}
	case events.ContainerEventType:
		if m.Actor.Attributes[LabelInstance] != c.cfg.Instance || strings.HasPrefix(e.Action, "exec_") {
			return Event{}, false
		}
		id, run, err := parseIdentity(m.Actor.Attributes)
		if err != nil {
			return Event{}, false
		}
		e.Container, e.Run, e.ExitCode = id, run, m.Actor.Attributes["exitCode"]
	}
	return e, true
}
