package openapi

import (
	"context"
	"errors"
	"net/http"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

type dashboardStreamInput struct {
	Topics      []string `query:"topics" enum:"overview,nodes,containers,jobs,logs" maxItems:"5" doc:"What to tell of, by commas; all but logs if missing" example:"overview,containers,logs"`
	Container   string   `query:"container" maxLength:"64" doc:"Of logs: only this container's" example:"k3xqh5zt2mwfa"`
	Node        string   `query:"node" maxLength:"255" doc:"Of logs: only of this node" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
	Level       string   `query:"level" enum:"debug,info,warn,error" doc:"Of logs: of this level or above"`
	Text        string   `query:"q" maxLength:"200" doc:"Of logs: only lines with this text in them, in capitals or not" example:"panic"`
	Tail        int      `query:"tail" minimum:"0" maximum:"2000" default:"200" doc:"Of logs: so many of the last lines that match come first, at most"`
	LastEventID string   `header:"Last-Event-ID" maxLength:"64" doc:"Of logs: go on after this line, whatever tail says" example:"1772366400000-0"`
}

// streamDoc is the operation's description: an OpenAPI document has no form for
// the events of a stream.
const streamDoc = `One stream for all that a page shows. Its events, each with JSON as data:

- hello {version, at, name, role, topics}: the stream has begun, or changes may have been missed. Read the lists that are shown, again.
  topics are those asked for that the key may see.
- beat {at}: every 5 seconds, while the control plane hears of changes.
- overview, nodes: the body of GET /api/dashboard/overview or nodes, when it has changed, at most every 2 seconds.
- container: an item of GET /api/containers that has changed, or is new; gone {id}: its record was dropped.
- job: GET /api/jobs/{id}, when it has changed.
- logs: an array of lines, oldest first. Its ID is the Last-Event-ID to go on from.
- dropped {count}: so many lines were left out, because the reader is too slow.
- end {reason}: revoked, signed-out or expired. The stream ends for good.`

// boardNames are the topics that are shown as a whole, in the order in which
// they are told.
var boardNames = []string{"overview", "nodes"}

// boards reads them.
func (s *server) boards() []board {
	return []board{
		{"overview", func(ctx context.Context) (any, error) { return s.buildOverview(ctx) }},
		{"nodes", func(ctx context.Context) (any, error) { return s.buildNodes(ctx) }},
	}
}

// dashboardStream serves the one stream of a page.
func (s *server) dashboardStream(api huma.API) {
	op := read("stream-dashboard", "/api/dashboard/stream", "dashboard", "All that changes, for a page that shows it, as server-sent events", http.StatusNotFound)
	op.Description = streamDoc
	op.Responses = streamed("A stream of events", eventStream)
	huma.Register(api, op, func(ctx context.Context, in *dashboardStreamInput) (*huma.StreamResponse, error) {
		if err := validPlace(in.LastEventID); err != nil {
			return nil, err
		}
		p, held := ide.PrincipalOf(ctx), passOf(ctx)
		topics, err := s.topics(ctx, p, in)
		if err != nil {
			return nil, err
		}
		place, err := s.deps.Store.Cursor(ctx)
		if err != nil {
			return nil, err
		}
		f := store.LogFilter{Container: in.Container, Node: in.Node, Level: in.Level, Text: in.Text}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			ctx, cancel := context.WithCancel(hc.Context())
			defer cancel()
			l := newListener(p, topics)
			if topics["logs"] {
				done := make(chan struct{})
				defer func() { cancel(); <-done }()
				go func() { defer close(done); l.collect(ctx, s, f, in.Tail, in.LastEventID) }()
			}
			s.serveDashboard(hc, l, held, place)
		}}, nil
	})
}

// topics are those that were asked for and that the key may see: a client's sees
// neither the nodes nor, but for one of its containers, logs.
func (s *server) topics(ctx context.Context, p ide.Principal, in *dashboardStreamInput) (map[string]bool, error) {
	asked := in.Topics
	if len(asked) == 0 {
		asked = []string{"overview", "nodes", "containers", "jobs"}
	}
	topics := map[string]bool{}
	for _, name := range asked {
		topics[name] = true
	}
	if p.Role != ide.Client {
		return topics, nil
	}
	for _, name := range boardNames {
		delete(topics, name)
	}
	if topics["logs"] && in.Container == "" {
		delete(topics, "logs")
	}
	if topics["logs"] {
		if _, err := s.visible(ctx, in.Container); err != nil {
			return nil, err
		}
	}
	return topics, nil
}

// serveDashboard writes what a listener is to be told until its reader goes
// away, the process is to end, or the pass does.
func (s *server) serveDashboard(hc huma.Context, l *listener, held pass, place string) {
	hc.SetHeader("Content-Type", eventStream)
	hc.SetHeader("X-Accel-Buffering", "no")
	hc.SetStatus(http.StatusOK)
	w, ok := hc.BodyWriter().(http.ResponseWriter)
	if !ok {
		return
	}
	out := &streamWriter{w: w, control: http.NewResponseController(w), events: true}
	if out.write("retry: 1000\n\n") != nil {
		return
	}
	s.live.join(l)
	defer s.live.leave(l)
	ctx := hc.Context()
	for ctx.Err() == nil {
		ends := s.deps.Store.Subscribe(1, held.endedBy)
		reason, next, err := s.endedSince(ctx, place, held)
		again := true
		switch place = next; {
		case reason != "":
		case err != nil: // Redis is away: there is nothing to tell, and it may come back
			select {
			case <-ctx.Done():
			case <-s.cfg.Draining:
				again = false
			case <-time.After(liveAway):
			}
		default:
			reason, again = s.tell(ctx, out, l, held, ends.Items)
		}
		ends.Close()
		if reason != "" {
			_ = out.write(string(sseFrame("end", End{reason}))) // a reader that has gone away
			return
		}
		if !again {
			return
		}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // the session's
		_ = out.write(string(sseFrame("end", End{"expired"})))
	}
}

// tell writes what a listener is to be told. It ends with the reason for which
// the stream ends for good, or with again when ctx has ended or the feed of what
// ends it has lost its place.
func (s *server) tell(ctx context.Context, out *streamWriter, l *listener, held pass, ends <-chan []ide.Event) (reason string, again bool) {
	var rest <-chan time.Time // until something may be written again
	for {
		wake := l.wake
		if rest != nil {
			wake = nil
		}
		select {
		case <-ctx.Done():
			return "", true
		case <-s.cfg.Draining:
			return "", false
		case events, told := <-ends:
			if !told {
				return "", true
			}
			return held.end(events[0]), false
		case <-rest:
			rest = nil
		case <-wake:
			text, more := l.next(s.cfg.Version)
			if len(text) > 0 && out.write(string(text)) != nil {
				return "", false
			}
			if rest = time.After(livePace); more {
				l.put(func() {})
			}
		}
	}
}
