package store

import (
	"context"
	"fmt"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// ReportActivity records what an edge has seen since its last report.
func (s *Store) ReportActivity(ctx context.Context, seen []ide.Activity) error {
	if len(seen) == 0 {
		return nil
	}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, a := range seen {
			activityScript.Eval(ctx, p, []string{activityKey}, a.ID, a.Requests, a.Connections, ms(s.Shared(ctx, a.LastActivity)), ms(s.Shared(ctx, a.Web)))
		}
		return nil
	})
	return down(err)
}

// activityScript adds what one edge has seen to what all have.
//
// KEYS: 1 activity
//
// ARGV: 1 container ID, 2 requests since the last report, 3 connections open
// now, 4 last activity (ms), 5 last activity on the web port (ms)
var activityScript = redis.NewScript(`
local n, last, web = 0, 0, 0
local was = redis.call('HGET', KEYS[1], ARGV[1])
if was then
  local a, b, c = was:match('^(%d+) %d+ (%d+) (%d+)$')
  n, last, web = tonumber(a or 0), tonumber(b or 0), tonumber(c or 0)
end
last = math.max(last, tonumber(ARGV[4]))
web = math.max(web, tonumber(ARGV[5]))
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s %.0f %.0f', n + tonumber(ARGV[2]), ARGV[3], last, web))
redis.call('PUBLISH', '{berth}:changed', 'c '..ARGV[1]..' ')
return 'ok'
`)

// Activity returns what the edges have seen of a container; its LastActivity
// is zero when they have seen nothing.
func (s *Store) Activity(ctx context.Context, ids ...string) (map[string]ide.Activity, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, err := s.rdb.HMGet(ctx, activityKey, ids...).Result()
	if err != nil {
		return nil, down(err)
	}
	seen := map[string]ide.Activity{}
	for i, row := range rows {
		text, _ := row.(string)
		a := ide.Activity{ID: ids[i]}
		var last, web int64
		if n, _ := fmt.Sscanf(text, "%d %d %d %d", &a.Requests, &a.Connections, &last, &web); n == 4 {
			a.LastActivity, a.Web = fromMS(last), fromMS(web)
		}
		seen[ids[i]] = a
	}
	return seen, nil
}

// fromMS is the time of a number of milliseconds; none is the zero time.
func fromMS(n int64) time.Time {
	if n <= 0 {
		return time.Time{}
	}
	return time.UnixMilli(n).UTC()
}
