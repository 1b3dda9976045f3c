package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// feed hands the event stream to everybody in this process who waits for
// something, with one reader on Redis for all of them.
type feed struct {
	mu   sync.Mutex
	subs map[*Subscription]struct{}
}

// Subscription is a place in the feed. Events come in order; when its reader
// is too slow the channel is closed, and the reader goes on from the stream
// with EventsAfter.
type Subscription struct {
	Events <-chan ide.Event

	feed   *feed
	events chan ide.Event
	match  func(ide.Event) bool
}

// Follow reads the event stream for this process's subscriptions, until ctx
// ends. Without it they hear nothing.
func (s *Store) Follow(ctx context.Context, log *slog.Logger) error {
	cursor, failing := "", false
	for ctx.Err() == nil {
		err := error(nil)
		if cursor == "" {
			cursor, err = s.Cursor(ctx)
		}
		var events []ide.Event
		if err == nil {
			events, cursor, err = s.Changes(ctx, cursor)
		}
		if err != nil {
			if !failing && ctx.Err() == nil {
				log.Warn("event stream cannot be read", "err", err)
			}
			failing, cursor = true, "" // a Redis that comes back may have a shorter stream
			s.feed.drop()
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		failing = false
		for _, e := range events {
			s.feed.send(e)
		}
	}
	s.feed.drop()
	return nil
}

// Subscribe returns the events that match from now on. Close it.
func (s *Store) Subscribe(buffer int, match func(ide.Event) bool) *Subscription {
	sub := &Subscription{feed: &s.feed, events: make(chan ide.Event, buffer), match: match}
	sub.Events = sub.events
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	if s.feed.subs == nil {
		s.feed.subs = map[*Subscription]struct{}{}
	}
	s.feed.subs[sub] = struct{}{}
	return sub
}

// Close ends a subscription.
func (sub *Subscription) Close() {
	sub.feed.mu.Lock()
	defer sub.feed.mu.Unlock()
	sub.feed.end(sub)
}

// end closes a subscription once; the caller holds the lock.
func (f *feed) end(sub *Subscription) {
	if _, ok := f.subs[sub]; ok {
		delete(f.subs, sub)
		close(sub.events)
	}
}

func (f *feed) send(e ide.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for sub := range f.subs {
		if !sub.match(e) {
			continue
		}
		select {
		case sub.events <- e:
		default:
			f.end(sub)
		}
	}
}

// drop ends all subscriptions: what they missed is not known.
func (f *feed) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for sub := range f.subs {
		f.end(sub)
	}
}

// EventsAfter returns up to limit events after an event's ID, oldest first,
// and the ID of the last one looked at. ok is false when the stream no longer
// reaches back that far.
func (s *Store) EventsAfter(ctx context.Context, id string, limit int) (events []ide.Event, last string, ok bool, err error) {
	var first, after *redis.XMessageSliceCmd
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		first = p.XRangeN(ctx, eventsKey, "-", "+", 1)
		after = p.XRangeN(ctx, eventsKey, "("+id, "+", int64(limit))
		return nil
	})
	if err != nil {
		return nil, id, false, down(err)
	}
	last = id
	for _, m := range after.Val() {
		if e, ok := decodeEvent(m); ok {
			events = append(events, e)
		}
		last = m.ID
	}
	ok = len(first.Val()) == 0 || !LaterID(first.Val()[0].ID, id)
	return events, last, ok, nil
}
