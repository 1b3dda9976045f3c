package store

import (
	"context"
	"time"

	"github.com/go-redis/redis_rate/v10"
)

// Rate is where a caller stands in its limit.
type Rate struct {
	OK         bool
	Limit      int           // calls a minute
	Remaining  int           // calls that would be allowed now
	Reset      time.Duration // until all of them are again
	RetryAfter time.Duration // when a call is allowed again, if it was not
}

// Allow counts a call of who against its limit: perMinute calls a minute,
// which may come at once (GCRA, in Redis, so right across processes).
func (s *Store) Allow(ctx context.Context, who string, perMinute int) (Rate, error) {
	r, err := redis_rate.NewLimiter(s.rdb).Allow(ctx, prefix+who, redis_rate.PerMinute(perMinute))
	if err != nil {
		return Rate{}, down(err)
	}
	return Rate{OK: r.Allowed > 0, Limit: perMinute, Remaining: r.Remaining, Reset: r.ResetAfter, RetryAfter: r.RetryAfter}, nil
}
