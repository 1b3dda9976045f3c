package store

import (
	"context"
	"sync"
	"time"
)

// clock follows Redis's, the one that all processes share: a machine's own may be
// an hour ahead, or jump. Between two looks it goes on by the process's monotonic
// time, which no jump changes.
type clock struct {
	mu    sync.Mutex
	redis time.Time // what Redis's clock said
	at    time.Time // ... and when, with the monotonic reading
}

// clockAge is how long the clock goes on by itself.
const clockAge = 10 * time.Second

// Clock is what Redis's clock says, asked for anew: for what judges many things by one
// instant.
func (s *Store) Clock(ctx context.Context) (time.Time, error) {
	asked := time.Now() // rather ahead of Redis by the time of a call than behind what it has stamped
	t, err := s.rdb.Time(ctx).Result()
	if err != nil {
		return time.Time{}, down(err)
	}
	s.time.mu.Lock()
	defer s.time.mu.Unlock()
	s.time.redis, s.time.at = t.UTC(), asked
	return s.time.redis, nil
}

// Time is Clock without asking each time, and without an error: while Redis does not
// answer it goes on from the last look, and before the first it is the machine's own.
func (s *Store) Time(ctx context.Context) time.Time {
	s.time.mu.Lock()
	redis, since := s.time.redis, time.Since(s.time.at)
	s.time.mu.Unlock()
	if redis.IsZero() || since > clockAge {
		if now, err := s.Clock(ctx); err == nil {
			return now
		}
	}
	if redis.IsZero() {
		return time.Now().UTC()
	}
	return redis.Add(since)
}

// Shared is an instant of this process's own clock by the shared one. None stays
// none, and less than a second is no difference.
func (s *Store) Shared(ctx context.Context, t time.Time) time.Time {
	now := s.Time(ctx)
	if off := time.Until(now); t.IsZero() || off.Abs() < time.Second {
		return t
	}
	return now.Add(-time.Since(t))
}
