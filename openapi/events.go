package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds of an event stream.
const (
	streamBuffer    = 256              // events that a slow reader may be behind
	streamHeartbeat = 15 * time.Second // below the idle limits of common proxies
	streamBacklog   = 1000             // events read at once to catch up
	streamWrite     = 10 * time.Second // a reader that takes nothing for so long is gone
)

// EventAnswer is one thing that happened.
type EventAnswer struct {
	ID        string    `json:"id" doc:"Place in the stream of events"`
	Type      string    `json:"type" example:"container.running"`
	At        time.Time `json:"at"`
	Container string    `json:"containerId,omitempty"`
	By        string    `json:"by,omitempty" doc:"Name of an API key, or the function that did it"`
	Job       string    `json:"jobId,omitempty"`
	Message   string    `json:"message,omitempty"`
}

func answerEvent(e ide.Event) EventAnswer {
	return EventAnswer{ID: e.ID, Type: e.Type, At: e.At, Container: e.Container, By: e.By, Job: e.Job, Message: e.Message}
}

// EventList is the history of a container.
type EventList struct {
	Events []EventAnswer `json:"events"`
}

type eventsInput struct {
	Container   string `query:"container" maxLength:"64" doc:"Only this container's"`
	Types       string `query:"types" maxLength:"500" example:"container.running,job.failed" doc:"Only these types, by commas; container.* is all of containers"`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Go on after this event"`
}

// wants says whether a stream shows an event.
func (in eventsInput) wants(p ide.Principal, types []string, e ide.Event) bool {
	if e.Type == "container.route" || !p.MaySee(e.Owner) || in.Container != "" && e.Container != in.Container {
		return false
	}
	return len(types) == 0 || slices.ContainsFunc(types, func(t string) bool {
		prefix, ok := strings.CutSuffix(t, "*")
		return t == e.Type || ok && strings.HasPrefix(e.Type, prefix)
	})
}

// events serves the event stream as server-sent events (WHATWG HTML, section
// 9.2): each has the ID of its place in the stream, from which a reader that
// was cut off goes on.
func (s *server) events(api huma.API) {
	op := read("stream-events", "/api/events", "events", "Everything that happens, as server-sent events")
	op.Responses = map[string]*huma.Response{"200": {Description: "A stream of events; each one's data is an event as JSON",
		Content: map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: "string"}}}}}
	huma.Register(api, op, func(ctx context.Context, in *eventsInput) (*huma.StreamResponse, error) {
		if in.LastEventID != "" && !store.ValidEventID(in.LastEventID) {
			return nil, ide.Errorf(ide.ValidationFailed, "The request is not valid: Last-Event-ID is not an event's ID.")
		}
		var types []string
		if in.Types != "" {
			types = strings.Split(in.Types, ",")
		}
		p := ide.PrincipalOf(ctx)
		wants := func(e ide.Event) bool { return in.wants(p, types, e) }
		if err := s.deps.Store.Ping(ctx); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) { s.stream(hc, in.LastEventID, wants) }}, nil
	})
}

// stream writes events until the reader goes away or cannot keep up, when it
// is left to connect again with the last ID that it saw.
func (s *server) stream(hc huma.Context, last string, wants func(ide.Event) bool) {
	hc.SetHeader("Content-Type", "text/event-stream")
	hc.SetHeader("X-Accel-Buffering", "no")
	hc.SetStatus(http.StatusOK)
	w, ok := hc.BodyWriter().(http.ResponseWriter)
	if !ok {
		return
	}
	out := &eventWriter{w: w, control: http.NewResponseController(w), sent: last}
	ctx := hc.Context()
	sub := s.deps.Store.Subscribe(streamBuffer, wants)
	defer sub.Close()
	if out.comment("hello") != nil {
		return
	}
	for last != "" {
		missed, next, whole, err := s.deps.Store.EventsAfter(ctx, last, streamBacklog)
		if err != nil {
			return
		}
		if !whole && out.comment("some events are no longer kept") != nil {
			return
		}
		for _, e := range missed {
			if wants(e) && out.event(e) != nil {
				return
			}
		}
		if last = next; len(missed) == 0 {
			break
		}
	}
	beat := time.NewTicker(streamHeartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.cfg.Draining:
			return
		case e, ok := <-sub.Events:
			if !ok || out.event(e) != nil {
				return
			}
		case <-beat.C:
			if out.comment("") != nil {
				return
			}
		}
	}
}

// eventWriter writes server-sent events, each flushed and within its time.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	sent    string // ID of the last event written: the backlog and the feed overlap
}

func (o *eventWriter) event(e ide.Event) error {
	if o.sent != "" && !store.LaterID(e.ID, o.sent) {
		return nil
	}
	data, err := json.Marshal(answerEvent(e))
	if err != nil {
		return err
	}
	o.sent = e.ID
	return o.write(fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Type, data))
}

func (o *eventWriter) comment(text string) error { return o.write(": " + text + "\n\n") }

func (o *eventWriter) write(text string) error {
	if err := o.control.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.control.Flush()
}
