package store

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strconv"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// routeOf is what the edge is told of a container.
func routeOf(c ide.Container) ide.Route {
	r := ide.Route{ID: c.ID, Status: c.Status}
	if c.Status == ide.Starting || c.Status == ide.Running {
		r.Address, r.Probe = c.Address, c.Probe
	}
	return r
}

// eventOf completes and encodes an event about c; nil is ”.
func eventOf(c ide.Container, e *ide.Event) string {
	if e == nil {
		return ""
	}
	r := routeOf(c)
	e.At, e.Container, e.Owner, e.Route = time.Now().UTC(), c.ID, c.Owner, &r
	return told(*e, ide.PayloadOfContainer(*e, c))
}

// told is an event as the scripts take it: the event and, in a second line,
// what webhooks tell of it, where they do.
func told(e ide.Event, p ide.Payload) string {
	if !ide.IsWebhookType(e.Type) {
		return encode(e)
	}
	return encode(e) + "\n" + encode(p)
}

// Routes returns what the edge must know of every live container, and the
// place in the event stream from which to follow the changes.
func (s *Store) Routes(ctx context.Context) ([]ide.Route, string, error) {
	cursor, err := s.Cursor(ctx)
	if err != nil {
		return nil, "", err
	}
	ids, err := s.rdb.ZRange(ctx, indexKey("cs", "", ""), 0, -1).Result()
	if err != nil {
		return nil, "", down(err)
	}
	var routes []ide.Route
	for len(ids) > 0 {
		n := min(len(ids), 1000)
		some, err := s.containers(ctx, ids[:n])
		if err != nil {
			return nil, "", err
		}
		for _, c := range some {
			routes = append(routes, routeOf(c))
		}
		ids = ids[n:]
	}
	return routes, cursor, nil
}

// Cursor returns the present end of the event stream.
func (s *Store) Cursor(ctx context.Context) (string, error) { return s.end(ctx, eventsKey) }

// end returns the ID of the last entry of a stream.
func (s *Store) end(ctx context.Context, key string) (string, error) {
	last, err := s.rdb.XRevRangeN(ctx, key, "+", "-", 1).Result()
	if err != nil {
		return "", down(err)
	}
	if len(last) == 0 {
		return "0-0", nil
	}
	return last[0].ID, nil
}

// await returns up to count messages of a stream after cursor, waiting up to a
// second for the first, or until ctx ends: the client's own read does not end with
// its context, and is left to end with its second.
func (s *Store) await(ctx context.Context, key, cursor string, count int64) ([]redis.XStream, error) {
	type answer struct {
		streams []redis.XStream
		err     error
	}
	got := make(chan answer, 1)
	go func() {
		streams, err := s.rdb.XRead(ctx, &redis.XReadArgs{Streams: []string{key, cursor}, Count: count, Block: time.Second}).Result()
		got <- answer{streams, err}
	}()
	select {
	case a := <-got:
		return a.streams, a.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Changes returns the events after cursor, waiting up to a second for the
// first, and the cursor to go on from.
func (s *Store) Changes(ctx context.Context, cursor string) ([]ide.Event, string, error) {
	streams, err := s.await(ctx, eventsKey, cursor, 1000)
	if errors.Is(err, redis.Nil) {
		return nil, cursor, nil
	}
	if err != nil {
		return nil, cursor, down(err)
	}
	var events []ide.Event
	for _, m := range streams[0].Messages {
		if e, ok := decodeEvent(m); ok {
			events = append(events, e)
		}
		cursor = m.ID
	}
	return events, cursor, nil
}

func decodeEvent(m redis.XMessage) (ide.Event, bool) {
	var e ide.Event
	text, _ := m.Values["e"].(string)
	err := json.Unmarshal([]byte(text), &e)
	e.ID = m.ID
	return e, err == nil
}

// History returns what happened to a container, oldest first.
func (s *Store) History(ctx context.Context, id string) ([]ide.Event, error) {
	messages, err := s.rdb.XRange(ctx, containerEventsKey(id), "-", "+").Result()
	if err != nil {
		return nil, down(err)
	}
	events := make([]ide.Event, 0, len(messages))
	for _, m := range messages {
		if e, ok := decodeEvent(m); ok {
			events = append(events, e)
		}
	}
	return events, nil
}

// LaterID says whether stream ID a ("<ms>-<n>") comes after b.
func LaterID(a, b string) bool {
	ams, an := splitID(a)
	bms, bn := splitID(b)
	return ams > bms || ams == bms && an > bn
}

func splitID(id string) (ms, n uint64) {
	left, right, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(left, 10, 64)
	n, _ = strconv.ParseUint(right, 10, 64)
	return ms, n
}

// eventID is the form of a stream ID.
var eventID = regexp.MustCompile(`^\d{1,20}-\d{1,20}$`)

// ValidEventID says whether s has the form of an event's ID.
func ValidEventID(s string) bool { return eventID.MatchString(s) }
