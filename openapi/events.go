package openapi

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

// EventAnswer is one thing that happened.
type EventAnswer struct {
	ID        string       `json:"id" doc:"Place in the stream of events" example:"1772366400000-0"`
	Type      string       `json:"type" example:"container.running" doc:"What happened"`
	At        time.Time    `json:"at" doc:"When"`
	Container string       `json:"containerId,omitempty" example:"k3xqh5zt2mwfa" doc:"What it happened to"`
	By        string       `json:"by,omitempty" doc:"Name of an API key, or the function that did it" example:"course-1"`
	Job       string       `json:"jobId,omitempty" example:"container-create:k3xqh5zt2mwfa:1" doc:"The job that did it"`
	Message   string       `json:"message,omitempty" example:"The URLs answer." doc:"A sentence for people"`
	Receipt   *ide.Receipt `json:"receipt,omitempty" doc:"On what a decision for want of use rests"`
	Node      string       `json:"nodeId,omitempty" example:"x8vlm0vmpo1jg5yk4zo2dgpyh" doc:"The node it is about"`
	Log       []string     `json:"log,omitempty" doc:"Last lines of a program that ended, oldest first" example:"panic: runtime error"`
}

func answerEvent(e ide.Event) EventAnswer {
	return EventAnswer{ID: e.ID, Type: e.Type, At: e.At, Container: e.Container, By: e.By, Job: e.Job, Message: e.Message, Receipt: e.Receipt,
		Node: e.Node, Log: e.Log}
}

// EventList is the history of a container.
type EventList struct {
	Events []EventAnswer `json:"events" doc:"What happened, oldest first"`
}

type eventsInput struct {
	Container   string `query:"container" maxLength:"64" doc:"Only this container's" example:"k3xqh5zt2mwfa"`
	Types       string `query:"types" maxLength:"500" example:"container.running,job.failed" doc:"Only these types, by commas; container.* is all of containers"`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Go on after this event" example:"1772366400000-0"`
}

// wants says whether a stream shows an event.
func (in eventsInput) wants(p ide.Principal, types []string, e ide.Event) bool {
	if e.Type == "container.route" || e.Type == ide.KeyRevoked || e.Type == ide.SessionEnded || !p.MaySee(e.Owner) || in.Container != "" && e.Container != in.Container {
		return false
	}
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		prefix, ok := strings.CutSuffix(t, "*")
		return t == e.Type || ok && strings.HasPrefix(e.Type, prefix)
	})
}

// errRevoked ends a stream whose key or session is no longer taken.
var errRevoked = errors.New("the key was revoked, or the session has ended")

// pass is what a stream was opened with: it ends with it.
type pass struct {
	key, session string
	opened       time.Time
}

func passOf(ctx context.Context) pass {
	p := pass{key: ide.PrincipalOf(ctx).Name, opened: time.Now()}
	if n := callOf(ctx).session; n != nil {
		p.session = n.ID
	}
	return p
}

// end is why an event ends what was opened with a pass, or nothing. A key that
// was revoked earlier is another one of that name.
func (p pass) end(e ide.Event) string {
	switch {
	case e.Type == ide.KeyRevoked && e.Owner == p.key && e.At.After(p.opened):
		return "revoked"
	case e.Type == ide.SessionEnded && p.session != "" && e.Message == p.session:
		return "signed-out"
	}
	return ""
}

// endedBy says whether an event ends what was opened with a pass.
func (p pass) endedBy(e ide.Event) bool { return p.end(e) != "" }

// endedSince says why a pass has ended since an event, or nothing, and up to
// which event it has looked.
func (s *server) endedSince(ctx context.Context, last string, held pass) (reason, next string, err error) {
	for {
		events, next, _, err := s.deps.Store.EventsAfter(ctx, last, streamBacklog)
		if err != nil {
			return "", last, err
		}
		if i := slices.IndexFunc(events, held.endedBy); i >= 0 {
			return held.end(events[i]), next, nil
		}
		if next == last {
			return "", next, nil
		}
		last = next
	}
}

// events serves the event stream as server-sent events (WHATWG HTML, section
// 9.2): each has the ID of its place in the stream, from which a reader that
// was cut off goes on.
func (s *server) events(api huma.API) {
	op := read("stream-events", "/api/events", "events", "Everything that happens, as server-sent events")
	op.Responses = streamed("A stream of events; each one's data is an event as JSON", eventStream)
	huma.Register(api, op, func(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		if err := validPlace(in.LastEventID); err != nil {
			return nil, err
		}
		var types []string
		if in.Types != "" {
			types = strings.Split(in.Types, ",")
		}
		p, held := ide.PrincipalOf(ctx), passOf(ctx)
		wants := func(e ide.Event) bool { return held.endedBy(e) || in.wants(p, types, e) }
		now, err := s.deps.Store.Cursor(ctx)
		if err != nil {
			return nil, err
		}
		src := source[ide.Event]{wants: wants, gap: "some events are no longer kept",
			subscribe: func(context.Context) (*store.Subscription[ide.Event], error) {
				return s.deps.Store.Subscribe(streamBuffer, wants), nil
			},
			after: func(ctx context.Context, id string) ([]ide.Event, string, bool, error) {
				return s.deps.Store.EventsAfter(ctx, id, streamBacklog)
			},
			message: func(e ide.Event) (message, error) {
				if held.endedBy(e) {
					return message{}, errRevoked
				}
				return sseMessage(e.ID, e.Type, answerEvent(e))
			},
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) { stream(s, hc, eventStream, cmp.Or(in.LastEventID, now), src) }}, nil
	})
}
