package openapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

type containerLogsInput struct {
	ID          string `path:"id" maxLength:"64" doc:"Container"`
	Tail        int    `query:"tail" minimum:"0" maximum:"10000" default:"200" doc:"So many of the last lines at most"`
	Since       string `query:"since" maxLength:"64" example:"10m" doc:"Only lines since this time (RFC 3339), or of this last while (10m, 1h30m)"`
	Follow      string `query:"follow" enum:"true,false" doc:"Go on with new lines; if missing, true for text/event-stream and false for text/plain"`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Go on after this line, whatever tail and since say; for text/event-stream" example:"1772366400000-0"`

	kind string // of the answer
}

// Resolve implements huma.Resolver: an OpenAPI document may not have Accept as
// a parameter.
func (in *containerLogsInput) Resolve(hc huma.Context) []error {
	if in.kind = plainText; strings.Contains(hc.Header("Accept"), eventStream) {
		in.kind = eventStream
	}
	return nil
}

type dashboardLogsInput struct {
	Container   string `query:"container" maxLength:"64" doc:"Only this container's" example:"k3xqh5zt2mwfa"`
	Node        string `query:"node" maxLength:"255" doc:"Only of this node" example:"x8vlm0vmpo1jg5yk4zo2dgpyh"`
	Level       string `query:"level" enum:"debug,info,warn,error" doc:"Of this level or above"`
	Text        string `query:"q" maxLength:"200" doc:"Only lines with this text in them, in capitals or not" example:"panic"`
	Tail        int    `query:"tail" minimum:"0" maximum:"10000" default:"200" doc:"So many of the last lines that match come first, at most"`
	LastEventID string `header:"Last-Event-ID" maxLength:"64" doc:"Go on after this line, whatever tail says" example:"1772366400000-0"`
}

// since reads a time, or how long ago it was.
func since(text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if d, err := time.ParseDuration(text); err == nil && d >= 0 {
		return time.Now().Add(-d), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, ide.Errorf(ide.ValidationFailed, "The request is not valid: since must be a time as 2026-01-02T15:04:05Z, or a duration as 10m.")
	}
	return at, nil
}

// logs serves what containers have printed, each owner its own, and all lines
// of all nodes to those who may see them.
func (s *server) logs(api huma.API) {
	op := read("get-container-logs", "/api/containers/{id}/logs", "containers", "What a container's programs have printed, oldest first, as Accept says: text/plain, or text/event-stream for source and level as well", http.StatusNotFound)
	op.Responses = streamed("Lines with their time; or server-sent events, each one's data a line as JSON", plainText, eventStream)
	huma.Register(api, op, func(ctx context.Context, in *containerLogsInput) (*huma.StreamResponse, error) {
		if in.kind == plainText {
			in.LastEventID = ""
		}
		if err := validPlace(in.LastEventID); err != nil {
			return nil, err
		}
		from, err := since(in.Since)
		if err != nil {
			return nil, err
		}
		c, err := s.visible(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		f := store.LogFilter{Container: c.ID, Since: from}
		follow := in.Follow == "true" || in.Follow == "" && in.kind == eventStream
		return s.logStream(ctx, in.kind, in.LastEventID, f, in.Tail, follow)
	})
	op = read("stream-logs", "/api/dashboard/logs", "dashboard", "Lines of all containers and of the control plane, as server-sent events", http.StatusForbidden)
	op.Responses = streamed("A stream of lines; each one's data is a line as JSON", eventStream)
	huma.Register(api, op, func(ctx context.Context, in *dashboardLogsInput) (*huma.StreamResponse, error) {
		if err := validPlace(in.LastEventID); err != nil {
			return nil, err
		}
		f := store.LogFilter{Container: in.Container, Node: in.Node, Level: in.Level, Text: in.Text}
		return s.logStream(ctx, eventStream, in.LastEventID, f, in.Tail, true)
	})
}

// logStream streams the lines that match, as long as the caller's key is taken.
func (s *server) logStream(ctx context.Context, kind, last string, f store.LogFilter, tail int, follow bool) (*huma.StreamResponse, error) {
	held := passOf(ctx)
	now, err := s.deps.Store.Cursor(ctx)
	if err != nil {
		return nil, err
	}
	src := source[ide.LogLine]{wants: f.Match, gap: "some lines are no longer kept", message: textLine,
		tail: func(ctx context.Context) ([]ide.LogLine, string, error) { return s.deps.Store.LogTail(ctx, f, tail) },
		after: func(ctx context.Context, id string) ([]ide.LogLine, string, bool, error) {
			return s.deps.Store.LogsAfter(ctx, f, id, streamBacklog)
		},
	}
	if follow {
		src.subscribe = func(ctx context.Context) (*store.Subscription[ide.LogLine], error) {
			return s.deps.Store.SubscribeLogs(ctx, streamBuffer, f.Match)
		}
	}
	if kind == eventStream {
		src.message = func(l ide.LogLine) (message, error) { return sseMessage(l.ID, "line", l) }
	}
	src.guard = func(ctx context.Context) (*store.Subscription[ide.Event], error) {
		ends := s.deps.Store.Subscribe(1, held.endedBy)
		if reason, _, err := s.endedSince(ctx, now, held); reason != "" || err != nil {
			ends.Close()
			return nil, errRevoked
		}
		return ends, nil
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) { stream(s, hc, kind, last, src) }}, nil
}

// textLine is a line as people read it.
func textLine(l ide.LogLine) (message, error) {
	return message{l.ID, l.At.Format("2006-01-02T15:04:05.000Z07:00") + " " + l.Text + "\n"}, nil
}
