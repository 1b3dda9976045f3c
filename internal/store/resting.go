package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// A node at which so many starts in a row failed that others could do takes nothing
// for a while: it would stay the emptiest, and attract each next one.
const (
	restAfter = 3
	restFor   = 5 * time.Minute
)

// failedScript counts a start that a node has failed, and lets it rest after some.
//
// KEYS: 1 nodes failing, 2 nodes resting, 3 capacity
//
// ARGV: 1 node, 2 after how many, 3 until (ms), 4 event, 5 events kept
//
// Answers: [failures in a row]
var failedScript = redis.NewScript(library + `
local n = redis.call('HINCRBY', KEYS[1], ARGV[1], 1)
if n >= tonumber(ARGV[2]) then
  redis.call('HDEL', KEYS[1], ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
  local cap = redis.call('HGET', KEYS[3], ARGV[1])
  if cap then redis.call('HSET', KEYS[3], ARGV[1], (cap:gsub('%d$', '0'))) end
  emit('', ARGV[4], ARGV[5])
end
return {tostring(n)}
`)

// NodeFailed notes that a start failed at a node and went well on another. The
// third in a row makes the node take nothing for some minutes, which is told.
func (s *Store) NodeFailed(ctx context.Context, node string) error {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, n := range nodes {
		if n.ID != node {
			continue
		}
		until, err := s.Clock(ctx)
		if err != nil {
			return err
		}
		until = until.Add(restFor)
		event := nodeEvent(n, ide.TypeNodeFailing, fmt.Sprintf("failed %d starts in a row that went well on other nodes. Nothing is put there until %s.",
			restAfter, until.UTC().Format("15:04:05 MST")))
		_, err = s.run(ctx, failedScript, []string{failingKey, restingKey, capKey}, node, restAfter, ms(until), event, s.cfg.EventsKept)
		return err
	}
	return nil
}

// NodeStarted notes that a start went well at a node.
func (s *Store) NodeStarted(ctx context.Context, node string) error {
	return down(s.rdb.HDel(ctx, failingKey, node).Err())
}

// resting returns until when nodes take nothing, and forgets those that rested.
func (s *Store) resting(ctx context.Context) (map[string]time.Time, error) {
	all, err := s.rdb.HGetAll(ctx, restingKey).Result()
	if err != nil || len(all) == 0 {
		return nil, down(err)
	}
	now, err := s.Clock(ctx)
	if err != nil {
		return nil, err
	}
	until := map[string]time.Time{}
	for node, text := range all {
		n, _ := strconv.ParseInt(text, 10, 64)
		if at := time.UnixMilli(n).UTC(); at.After(now) {
			until[node] = at
		} else if err := s.rdb.HDel(ctx, restingKey, node).Err(); err != nil {
			return nil, down(err)
		}
	}
	return until, nil
}

// First says whether something is said for the first time within 30 days.
func (s *Store) First(ctx context.Context, what string) (bool, error) {
	ok, err := s.rdb.SetNX(ctx, toldKey(what), "1", 30*24*time.Hour).Result()
	return ok, down(err)
}
