// Package store is the Redis adapter: the index of containers, jobs, nodes,
// reservations and events, and the scripts that change several of them at
// once. What it holds about containers can be brought back from Swarm.
package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Config of a Store.
type Config struct {
	JobRetention   time.Duration // how long an ended job can be looked up
	IdempotencyTTL time.Duration // how long an Idempotency-Key is remembered
	CapacityMaxAge time.Duration // a node's capacity older than this is not believed
	LeaseTTL       time.Duration // a lease that nobody renews ends after this
	EventsKept     int64         // length of the shared event stream
	HookLease      time.Duration // a webhook's attempt that has not been settled after this is another worker's
	Running        int           // jobs of one owner and queue that run at once; 0 is any number
	LogLines       int           // length of the shared stream of log lines
	ContainerLines int           // length of each container's stream of log lines
}

// Store is safe for concurrent use.
type Store struct {
	rdb    redis.UniversalClient
	cfg    Config
	events feed[ide.Event]
	logs   logFeed
	time   clock
}

// New returns a Store on a connected client. Zero durations get defaults.
func New(rdb redis.UniversalClient, cfg Config) *Store {
	if cfg.JobRetention == 0 {
		cfg.JobRetention = 7 * 24 * time.Hour
	}
	if cfg.IdempotencyTTL == 0 {
		cfg.IdempotencyTTL = 24 * time.Hour
	}
	if cfg.CapacityMaxAge == 0 {
		cfg.CapacityMaxAge = 30 * time.Second
	}
	if cfg.LeaseTTL == 0 {
		cfg.LeaseTTL = 10 * time.Second
	}
	if cfg.HookLease == 0 {
		cfg.HookLease = 30 * time.Second
	}
	if cfg.EventsKept == 0 {
		cfg.EventsKept = 20_000
	}
	if cfg.LogLines == 0 {
		cfg.LogLines = 50_000
	}
	if cfg.ContainerLines == 0 {
		cfg.ContainerLines = 2_000
	}
	return &Store{rdb: rdb, cfg: cfg, logs: logFeed{wake: make(chan struct{}, 1)}}
}

// Ping checks that Redis answers.
func (s *Store) Ping(ctx context.Context) error { return down(s.rdb.Ping(ctx).Err()) }

// down maps an error of Redis's to QUEUE_UNAVAILABLE; nil and redis.Nil pass
// as they are.
func down(err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return err
	}
	e := ide.Transient(ide.QueueUnavailable, err, "The queue does not answer. Nothing was lost; please try again.")
	e.RetryAfter = 2 * time.Second
	return e
}

func isNil(err error) bool { return errors.Is(err, redis.Nil) }

// ms is the unit of time in scores and scripts: milliseconds since 1970.
func ms(t time.Time) int64 { return t.UnixMilli() }

// run evaluates a script and returns its answer as a list of strings.
func (s *Store) run(ctx context.Context, script *redis.Script, keys []string, args ...any) ([]string, error) {
	v, err := script.Run(ctx, s.rdb, keys, args...).Slice()
	if err != nil {
		return nil, down(err)
	}
	out := make([]string, len(v))
	for i, x := range v {
		if x != nil {
			out[i] = fmt.Sprint(x)
		}
	}
	return out, nil
}
