package openapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"github.com/danielgtaylor/huma/v2"
)

// Bounds of a stream.
const (
	streamBuffer  = 64       // reads of Redis that a reader may be behind before it goes on from there itself
	streamBacklog = 1000     // entries read at once to catch up
	streamWrite   = 64 << 10 // bytes from which entries are written: each write has its time
)

// Content types of streams.
const (
	eventStream = "text/event-stream"
	plainText   = "text/plain"
)

// streamed describes the answer of an operation that streams.
func streamed(doc string, kinds ...string) map[string]*huma.Response {
	content := map[string]*huma.MediaType{}
	for _, k := range kinds {
		content[k] = &huma.MediaType{Schema: &huma.Schema{Type: "string"}}
	}
	return map[string]*huma.Response{"200": {Description: doc, Content: content}}
}

// validPlace refuses a Last-Event-ID that is none.
func validPlace(id string) error {
	if id != "" && !store.ValidEventID(id) {
		return ide.Errorf(ide.ValidationFailed, "The request is not valid: Last-Event-ID must be the ID of an event.")
	}
	return nil
}

// source is what a stream shows.
type source[T any] struct {
	tail      func(ctx context.Context) (items []T, newest string, err error) // what comes first without an ID to go on from; nil is nothing
	after     func(ctx context.Context, id string) (items []T, last string, whole bool, err error)
	subscribe func(ctx context.Context) (*store.Subscription[T], error)         // to what is new; nil ends the stream where that would begin
	guard     func(ctx context.Context) (*store.Subscription[ide.Event], error) // to what ends it; nil is nothing
	wants     func(T) bool
	message   func(T) (message, error) // an error ends the stream
	gap       string                   // says that not all could be caught up with
}

// message is an entry as it is written.
type message struct{ id, text string }

// sseMessage is an entry as a server-sent event (WHATWG HTML, section 9.2).
func sseMessage(id, kind string, v any) (message, error) {
	data, err := json.Marshal(v)
	return message{id, fmt.Sprintf("id: %s\nevent: %s\ndata: %s\n\n", id, kind, data)}, err
}

// stream writes the entries after last until the reader goes away, the process
// is to end, or Redis does. A reader that falls behind goes on from Redis: it
// costs itself only.
func stream[T any](s *server, hc huma.Context, kind, last string, src source[T]) {
	if hc.SetHeader("Content-Type", kind); kind == plainText {
		hc.SetHeader("Content-Type", plainText+"; charset=utf-8")
	}
	hc.SetHeader("X-Accel-Buffering", "no")
	hc.SetStatus(http.StatusOK)
	w, ok := hc.BodyWriter().(http.ResponseWriter)
	if !ok {
		return
	}
	out := &streamWriter{w: w, control: http.NewResponseController(w), events: kind == eventStream, sent: last}
	var items []T
	newest := last
	if last == "" && src.tail != nil { // before the reader hears anything: what is added after that is its
		var err error
		if items, newest, err = src.tail(hc.Context()); err != nil {
			return
		}
	}
	if out.comment("hello") != nil || entries(out, src, items) != nil {
		return
	}
	out.sent = newest
	for follow(hc.Context(), s, out, src) {
	}
}

// follow writes what was added since the last entry that was looked at, and
// then what is added. It returns true when the reader was too slow for that and
// has to be brought up to date again.
func follow[T any](ctx context.Context, s *server, out *streamWriter, src source[T]) bool {
	var ends <-chan []ide.Event
	if src.guard != nil {
		sub, err := src.guard(ctx)
		if err != nil {
			return false
		}
		defer sub.Close()
		ends = sub.Items
	}
	var live <-chan []T
	if src.subscribe != nil { // first, so that nothing falls between the two
		sub, err := src.subscribe(ctx)
		if err != nil {
			return false
		}
		defer sub.Close()
		live = sub.Items
	}
	if catchUp(ctx, out, src) != nil || live == nil {
		return false
	}
	beat := time.NewTicker(s.cfg.heartbeat())
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-s.cfg.Draining:
			return false
		case _, told := <-ends:
			return !told // or the feed has found its place, and may have missed it
		case items, ok := <-live:
			if !ok {
				return true
			}
			if entries(out, src, items) != nil {
				return false
			}
		case <-beat.C:
			if out.comment("") != nil {
				return false
			}
		}
	}
}

// catchUp writes what was added since the last entry that was looked at.
func catchUp[T any](ctx context.Context, out *streamWriter, src source[T]) error {
	for {
		place := out.sent
		missed, next, whole, err := src.after(ctx, place)
		if err != nil {
			return err
		}
		if !whole {
			if err := out.comment(src.gap); err != nil {
				return err
			}
		}
		if err := entries(out, src, missed); err != nil || next == place {
			return err
		}
		out.sent = next
	}
}

// entries writes those that the stream shows and that come after what was
// written.
func entries[T any](out *streamWriter, src source[T], items []T) error {
	var text strings.Builder
	for _, item := range items {
		if !src.wants(item) {
			continue
		}
		m, err := src.message(item)
		if err != nil {
			return err
		}
		if out.sent == "" || store.LaterID(m.id, out.sent) {
			out.sent = m.id
			text.WriteString(m.text)
		}
		if text.Len() >= streamWrite {
			if err := out.write(text.String()); err != nil {
				return err
			}
			text.Reset()
		}
	}
	if text.Len() == 0 {
		return nil
	}
	return out.write(text.String())
}

// streamWriter writes entries, flushed.
type streamWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	events  bool   // server-sent events, which may have comments
	sent    string // ID of the last entry that was looked at: the backlog and what is new overlap
}

func (o *streamWriter) comment(text string) error {
	if !o.events {
		return o.control.Flush() // the head of the answer
	}
	return o.write(": " + text + "\n\n")
}

func (o *streamWriter) write(text string) error {
	if _, err := o.w.Write([]byte(text)); err != nil {
		return err
	}
	return o.control.Flush()
}
