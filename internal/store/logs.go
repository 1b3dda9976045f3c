package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// LogFilter chooses log lines. Empty fields match everything.
type LogFilter struct {
	Container string
	Node      string
	Level     string // at least
	Text      string // is in the line, in capitals or not
	Since     time.Time
}

// Match says whether a line is one of those.
func (f LogFilter) Match(l ide.LogLine) bool {
	return (f.Container == "" || l.Container == f.Container) && (f.Node == "" || l.Node == f.Node) &&
		ide.AtLeast(l.Level, f.Level) && !l.At.Before(f.Since) &&
		(f.Text == "" || strings.Contains(strings.ToLower(l.Text), strings.ToLower(f.Text)))
}

// key is the stream in which the lines are: a container's own is short.
func (f LogFilter) key() string {
	if f.Container != "" {
		return containerLogKey(f.Container)
	}
	return logsKey
}

// logPage is how many lines are read at once.
const logPage = 1000

// LogTail returns the last n lines that match, oldest first, and the ID of the
// newest line of all, from which to follow. It reads no more than is kept of
// the container or, without one, of all.
func (s *Store) LogTail(ctx context.Context, f LogFilter, n int) (lines []ide.LogLine, newest string, err error) {
	newest, end := "0-0", "+"
	size := min(max(n, 100), logPage) // mostly one page is enough
	for {
		page, err := s.rdb.XRevRangeN(ctx, f.key(), end, "-", int64(size)).Result()
		if err != nil {
			return nil, "", down(err)
		}
		if end == "+" && len(page) > 0 {
			newest = page[0].ID
		}
		for _, m := range page {
			if l, ok := decodeLine(m); ok && len(lines) < n && f.Match(l) {
				lines = append(lines, l)
			}
		}
		if len(lines) == n || len(page) < size {
			slices.Reverse(lines)
			return lines, newest, nil
		}
		end = "(" + page[len(page)-1].ID
	}
}

// LogsAfter returns up to limit lines after a line's ID, oldest first, that
// match or not but for the container, and the ID of the last one. ok is false
// when the stream no longer reaches back that far.
func (s *Store) LogsAfter(ctx context.Context, f LogFilter, id string, limit int) (lines []ide.LogLine, last string, ok bool, err error) {
	messages, last, ok, err := s.after(ctx, f.key(), id, limit)
	return decodeLines(messages), last, ok, err
}

func decodeLines(messages []redis.XMessage) []ide.LogLine {
	lines := make([]ide.LogLine, 0, len(messages))
	for _, m := range messages {
		if l, ok := decodeLine(m); ok {
			lines = append(lines, l)
		}
	}
	return lines
}

func decodeLine(m redis.XMessage) (ide.LogLine, bool) {
	field := func(name string) string { v, _ := m.Values[name].(string); return v }
	ns, err := strconv.ParseInt(field("t"), 10, 64)
	return ide.LogLine{ID: m.ID, At: time.Unix(0, ns).UTC(), Node: field("n"), Container: field("c"), Source: field("s"), Level: field("l"), Text: field("m")}, err == nil
}

// logFeed is the feed of log lines. Its reader rests while nobody listens:
// there are many more lines than events.
type logFeed struct {
	feed[ide.LogLine]
	cursor string        // where the reader begins after a rest; of the lock
	wake   chan struct{} // somebody listens
}

// SubscribeLogs returns the lines that match from now on. Close it.
func (s *Store) SubscribeLogs(ctx context.Context, buffer int, match func(ide.LogLine) bool) (*Subscription[ide.LogLine], error) {
	now, err := s.end(ctx, logsKey)
	if err != nil {
		return nil, err
	}
	f := &s.logs
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.subs) == 0 {
		f.cursor = now
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return f.add(buffer, match), nil
}

// FollowLogs reads the stream of log lines for this process's subscriptions,
// until ctx ends. Without it they hear nothing.
func (s *Store) FollowLogs(ctx context.Context, log *slog.Logger) error {
	defer s.logs.drop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.logs.wake:
		}
		s.readLogs(ctx, log)
	}
}

// readLogs reads until nobody listens any more, or ctx ends.
func (s *Store) readLogs(ctx context.Context, log *slog.Logger) {
	f := &s.logs
	f.mu.Lock()
	cursor := f.cursor
	f.mu.Unlock()
	failing := false
	for f.heard() && ctx.Err() == nil {
		streams, err := s.await(ctx, logsKey, cursor, logPage)
		switch {
		case err == nil:
			messages := streams[0].Messages
			cursor = messages[len(messages)-1].ID
			f.send(decodeLines(messages))
		case !errors.Is(err, redis.Nil):
			if !failing && ctx.Err() == nil {
				log.Warn("stream of log lines cannot be read", "err", err)
			}
			failing = true
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		failing = false
	}
}

// heard says whether somebody listens.
func (f *logFeed) heard() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.subs) > 0
}
