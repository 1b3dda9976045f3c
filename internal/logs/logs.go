// Package logs ships the control plane's own log lines into the stream in
// which those of the containers are. Logging never waits for it: what Redis
// does not take in time is dropped, and counted.
package logs

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"berth/internal/ide"
	"berth/internal/store"

	"golang.org/x/time/rate"
)

// Bounds of shipping.
const (
	waiting   = 2000 // lines that may wait for Redis
	shipLines = 500  // are shipped at once
	shipEvery = 100 * time.Millisecond
	perSecond = 500         // lines, and five times as many at once
	farewell  = time.Second // to ship what waits when the process ends
)

// Tap takes what loggers write and ships it.
type Tap struct {
	lines   chan ide.LogLine
	dropped atomic.Int64
	limit   *rate.Limiter
}

// NewTap returns a Tap; it ships while Run does.
func NewTap() *Tap {
	return &Tap{lines: make(chan ide.LogLine, waiting), limit: rate.NewLimiter(perSecond, 5*perSecond)}
}

// Logger returns a logger that writes to h and ships, of a part of the control
// plane (ide.SourceAPI …), what is information or more.
func (t *Tap) Logger(h slog.Handler, source string) *slog.Logger {
	buf := &buffer{}
	text := slog.NewTextHandler(buf, &slog.HandlerOptions{ReplaceAttr: plain})
	return slog.New(&handler{Handler: h, tap: t, source: source, buf: buf, text: text})
}

// Run ships lines until ctx ends. node says on which node the process is, as
// soon as it is known. Its own trouble goes to log, which must not be shipped.
func (t *Tap) Run(ctx context.Context, st *store.Store, node func() string, log *slog.Logger) {
	tick := time.NewTicker(shipEvery)
	defer tick.Stop()
	var batch []ide.LogLine
	failing := false
	for {
		select {
		case <-ctx.Done():
			bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			for len(t.lines) > 0 {
				batch = append(batch, <-t.lines)
			}
			_ = t.ship(bye, st, node(), batch) // the process's own output has them, too
			return
		case l := <-t.lines:
			if batch = append(batch, l); len(batch) < shipLines {
				continue
			}
		case <-tick.C:
		}
		err := t.ship(ctx, st, node(), batch)
		if err != nil && !failing && ctx.Err() == nil {
			log.Warn("log lines cannot be shipped", "err", err)
		}
		if failing = err != nil; !failing {
			batch = batch[:0]
			continue
		}
		select { // meanwhile lines wait, and then are dropped
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// ship ships a batch, and says how many lines were dropped since the last one.
func (t *Tap) ship(ctx context.Context, st *store.Store, node string, batch []ide.LogLine) error {
	n := t.dropped.Load()
	if n > 0 {
		batch = append(batch, ide.LogLine{At: time.Now().UTC(), Source: ide.SourceAPI, Level: ide.LevelWarn, Text: fmt.Sprintf("%d lines of the control plane were dropped", n)})
		if len(batch) > 1 {
			batch[len(batch)-1].Source = batch[0].Source
		}
	}
	if len(batch) == 0 {
		return nil
	}
	for i := range batch {
		batch[i].Node = node
	}
	if _, err := st.ShipLogs(ctx, node, []store.Shipment{{Lines: batch}}); err != nil {
		return err
	}
	t.dropped.Add(-n)
	return nil
}

// offer takes a line if there is room for it.
func (t *Tap) offer(l ide.LogLine) {
	if t.limit.Allow() {
		select {
		case t.lines <- l:
			return
		default:
		}
	}
	t.dropped.Add(1)
}

// handler writes each record twice: as it is, and as a line that is shipped.
type handler struct {
	slog.Handler
	tap    *Tap
	source string

	buf  *buffer // of text, shared by all that come of one logger
	text slog.Handler
}

type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

// Enabled implements slog.Handler.
func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelInfo || h.Handler.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo {
		h.tap.offer(h.line(ctx, r))
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// line renders a record as its message and attributes.
func (h *handler) line(ctx context.Context, r slog.Record) ide.LogLine {
	h.buf.mu.Lock()
	defer h.buf.mu.Unlock()
	h.buf.Reset()
	text := r.Message
	if err := h.text.Handle(ctx, r); err == nil && h.buf.Len() > 1 {
		text += " " + h.buf.String()
	}
	level := ide.LevelInfo
	switch {
	case r.Level >= slog.LevelError:
		level = ide.LevelError
	case r.Level >= slog.LevelWarn:
		level = ide.LevelWarn
	}
	return ide.LogLine{At: r.Time.UTC(), Source: h.source, Level: level, Text: ide.CleanLog(text)}
}

// WithAttrs implements slog.Handler.
func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	also := *h
	also.Handler, also.text = h.Handler.WithAttrs(attrs), h.text.WithAttrs(attrs)
	return &also
}

// WithGroup implements slog.Handler.
func (h *handler) WithGroup(name string) slog.Handler {
	also := *h
	also.Handler, also.text = h.Handler.WithGroup(name), h.text.WithGroup(name)
	return &also
}

// plain leaves out what a line has fields for, and the name of the message.
func plain(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && (a.Key == slog.TimeKey || a.Key == slog.LevelKey || a.Key == slog.MessageKey) {
		return slog.Attr{}
	}
	return a
}
