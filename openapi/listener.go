package openapi

import (
	"context"
	"sync"
	"time"

	"berth/internal/ide"
	"berth/internal/store"
)

// Bounds of one listener.
const (
	livePace    = 75 * time.Millisecond // between two writes
	liveLines   = 500                   // in one event
	livePending = 2000                  // lines that wait for a slow reader; older ones are dropped
	liveItems   = 5000                  // records that wait for it; beyond that it has to read again
)

// listener is an open dashboard: what it is to be told next, each thing once
// and as it stands last, so that a slow reader costs no more than that.
type listener struct {
	p      ide.Principal
	topics map[string]bool
	wake   chan struct{}

	mu      sync.Mutex
	hello   bool
	beat    bool
	boards  map[string][]byte
	items   map[string][]byte // by topic and ID
	order   []string          // of items
	lines   []ide.LogLine
	dropped int
}

func newListener(p ide.Principal, topics map[string]bool) *listener {
	return &listener{p: p, topics: topics, wake: make(chan struct{}, 1), boards: map[string][]byte{}, items: map[string][]byte{}}
}

// put changes what is to be told, and wakes the writer.
func (l *listener) put(change func()) {
	l.mu.Lock()
	change()
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// item adds a record in the place of an earlier state of it.
func (l *listener) item(topic, id string, frame []byte) {
	if !l.topics[topic] {
		return
	}
	l.put(func() {
		key := topic + " " + id
		if l.items[key] == nil {
			l.order = append(l.order, key)
		}
		l.items[key] = frame
		if len(l.order) > liveItems {
			l.hello, l.order, l.items = true, nil, map[string][]byte{}
		}
	})
}

// add adds log lines.
func (l *listener) add(lines []ide.LogLine) {
	if len(lines) == 0 {
		return
	}
	l.put(func() {
		l.lines = append(l.lines, lines...)
		if over := len(l.lines) - livePending; over > 0 {
			l.dropped += over
			l.lines = append([]ide.LogLine(nil), l.lines[over:]...)
		}
	})
}

// Hello begins a stream, and comes again when changes may have been missed:
// whoever shows lists reads them again.
type Hello struct {
	Version string    `json:"version"`
	At      time.Time `json:"at"`
	Name    string    `json:"name"`
	Role    ide.Role  `json:"role"`
	Topics  []string  `json:"topics"` // those that the key may see
}

// Beat says that the control plane answers.
type Beat struct {
	At time.Time `json:"at"`
}

// Gone is a container whose record was dropped.
type Gone struct {
	ID string `json:"id"`
}

// Dropped says how many lines were left out for a reader that is too slow.
type Dropped struct {
	Count int `json:"count"`
}

// End says that a stream ends for good.
type End struct {
	Reason string `json:"reason"` // revoked, signed-out or expired
}

// next takes what is to be told now, as text; more says that something is left.
func (l *listener) next(version string) (text []byte, more bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now().UTC()
	if l.hello {
		text = append(text, sseFrame("hello", Hello{version, now, l.p.Name, l.p.Role, keysOf(l.topics)})...)
		l.beat = true
	}
	for _, b := range boardNames {
		text = append(text, l.boards[b]...)
	}
	for len(l.order) > 0 && len(text) < streamWrite {
		key := l.order[0]
		text = append(text, l.items[key]...)
		delete(l.items, key)
		l.order = l.order[1:]
	}
	if l.dropped > 0 {
		text = append(text, sseFrame("dropped", Dropped{l.dropped})...)
	}
	if n := min(len(l.lines), liveLines); n > 0 {
		text = append(text, "id: "+l.lines[n-1].ID+"\n"...)
		text = append(text, sseFrame("logs", l.lines[:n])...)
		l.lines = l.lines[n:]
	}
	if l.beat {
		text = append(text, sseFrame("beat", Beat{now})...)
	}
	l.hello, l.beat, l.dropped = false, false, 0
	clear(l.boards)
	return text, len(l.order)+len(l.lines) > 0
}

// collect follows the lines that match, from after last, or with the last ones
// that there are.
func (l *listener) collect(ctx context.Context, s *server, f store.LogFilter, tail int, last string) {
	st := s.deps.Store
	for ctx.Err() == nil {
		var err error
		last, err = l.follow(ctx, st, f, tail, last)
		if err == nil {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(liveAway):
		}
	}
}

// follow is collect until the feed loses its place. It returns the place to go
// on from.
func (l *listener) follow(ctx context.Context, st *store.Store, f store.LogFilter, tail int, last string) (string, error) {
	sub, err := st.SubscribeLogs(ctx, streamBuffer, f.Match)
	if err != nil {
		return last, err
	}
	defer sub.Close()
	if last == "" {
		var lines []ide.LogLine
		if lines, last, err = st.LogTail(ctx, f, tail); err != nil {
			return "", err
		}
		l.add(lines)
	}
	take := func(lines []ide.LogLine) {
		var some []ide.LogLine
		for _, line := range lines {
			if store.LaterID(line.ID, last) && f.Match(line) {
				some = append(some, line)
			}
		}
		l.add(some)
	}
	for {
		missed, to, _, err := st.LogsAfter(ctx, f, last, streamBacklog)
		if err != nil {
			return last, err
		}
		take(missed)
		if to == last {
			break
		}
		last = to
	}
	for {
		select {
		case <-ctx.Done():
			return last, nil
		case lines, ok := <-sub.Items:
			if !ok {
				return last, nil
			}
			take(lines)
			last = lines[len(lines)-1].ID
		}
	}
}
