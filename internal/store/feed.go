package store

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// feed hands a stream to everybody in this process who waits for something of
// it, with one reader on Redis for all of them.
type feed[T any] struct {
	mu   sync.Mutex
	subs map[*Subscription[T]]struct{}
}

// Subscription is a place in a feed. Items come in order, as many at once as
// were read at once. The channel is closed when its reader is too slow, and when
// the feed finds its place in the stream, at the start or after a failure: until
// then it has heard nothing. The reader then subscribes again, and reads with
// EventsAfter or LogsAfter what it missed.
type Subscription[T any] struct {
	Items <-chan []T

	feed  *feed[T]
	items chan []T
	match func(T) bool
}

// Follow reads the event stream for this process's subscriptions, until ctx
// ends. Without it they hear nothing.
func (s *Store) Follow(ctx context.Context, log *slog.Logger) error {
	cursor, failing := "", false
	for ctx.Err() == nil {
		err := error(nil)
		if cursor == "" {
			if cursor, err = s.Cursor(ctx); err == nil {
				s.events.drop()
			}
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
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
			continue
		}
		failing = false
		s.events.send(events)
	}
	s.events.drop()
	return nil
}

// Subscribe returns the events that match from now on. Close it.
func (s *Store) Subscribe(buffer int, match func(ide.Event) bool) *Subscription[ide.Event] {
	return s.events.subscribe(buffer, match)
}

func (f *feed[T]) subscribe(buffer int, match func(T) bool) *Subscription[T] {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.add(buffer, match)
}

// add is subscribe for who holds the lock.
func (f *feed[T]) add(buffer int, match func(T) bool) *Subscription[T] {
	sub := &Subscription[T]{feed: f, items: make(chan []T, buffer), match: match}
	sub.Items = sub.items
	if f.subs == nil {
		f.subs = map[*Subscription[T]]struct{}{}
	}
	f.subs[sub] = struct{}{}
	return sub
}

// Close ends a subscription.
func (sub *Subscription[T]) Close() {
	sub.feed.mu.Lock()
	defer sub.feed.mu.Unlock()
	sub.feed.end(sub)
}

// end closes a subscription once; the caller holds the lock.
func (f *feed[T]) end(sub *Subscription[T]) {
	if _, ok := f.subs[sub]; ok {
		delete(f.subs, sub)
		close(sub.items)
	}
}

func (f *feed[T]) send(items []T) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for sub := range f.subs {
		var matching []T
		for _, item := range items {
			if sub.match(item) {
				matching = append(matching, item)
			}
		}
		if len(matching) == 0 {
			continue
		}
		select {
		case sub.items <- matching:
		default:
			f.end(sub)
		}
	}
}

// drop ends all subscriptions: what they missed is not known.
func (f *feed[T]) drop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for sub := range f.subs {
		f.end(sub)
	}
}

// EventsAfter returns up to limit events after an event's ID, oldest first,
// and the ID of the last one looked at. ok is false when the stream no longer
// reaches back that far; "0-0", the cursor of an empty stream, asks for what there is.
func (s *Store) EventsAfter(ctx context.Context, id string, limit int) (events []ide.Event, last string, ok bool, err error) {
	messages, last, ok, err := s.after(ctx, eventsKey, id, limit)
	for _, m := range messages {
		if e, ok := decodeEvent(m); ok {
			events = append(events, e)
		}
	}
	return events, last, ok, err
}

// after is EventsAfter for any stream.
func (s *Store) after(ctx context.Context, key, id string, limit int) (messages []redis.XMessage, last string, ok bool, err error) {
	var first, after *redis.XMessageSliceCmd
	_, err = s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		first = p.XRangeN(ctx, key, "-", "+", 1)
		after = p.XRangeN(ctx, key, "("+id, "+", int64(limit))
		return nil
	})
	if err != nil {
		return nil, id, false, down(err)
	}
	messages, last = after.Val(), id
	if n := len(messages); n > 0 {
		last = messages[n-1].ID
	}
	ok = id == "0-0" || len(first.Val()) == 0 || !LaterID(first.Val()[0].ID, id)
	return messages, last, ok, nil
}
