package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// PublishNodes replaces what is known of the Swarm's nodes. Admission reads
// it; a node that is no longer named is forgotten.
func (s *Store) PublishNodes(ctx context.Context, nodes []ide.Node) error {
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, nodesKey, capKey)
		for _, n := range nodes {
			free := fmt.Sprintf("%d %d %d %d %d %s", max(n.CPU-n.ForeignCPU, 0), max(n.Memory-n.ForeignMemory, 0),
				max(n.CPU, 1), max(n.Memory, 1), ms(n.At), flag(n.Placeable()))
			p.HSet(ctx, nodesKey, n.ID, encode(n))
			p.HSet(ctx, capKey, n.ID, free)
		}
		return nil
	})
	return down(err)
}

// Nodes returns what a manager's worker last published, by host name.
func (s *Store) Nodes(ctx context.Context) ([]ide.Node, error) {
	all, err := s.rdb.HGetAll(ctx, nodesKey).Result()
	return sorted(all, err, func(n ide.Node) string { return n.Hostname + n.ID })
}

// Room is what a node has left for containers.
type Room struct {
	Node        ide.Node
	FreeCPU     int64
	FreeMemory  int64
	Fresh       bool // it was reported lately enough for admission to believe it
	Reservation int  // containers that hold a place there
}

// Room returns what every node has left, by host name: what admission decides
// on.
func (s *Store) Room(ctx context.Context) ([]Room, error) {
	nodes, err := s.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	held, err := s.rdb.HGetAll(ctx, resKey).Result()
	if err != nil {
		return nil, down(err)
	}
	rooms := make([]Room, len(nodes))
	for i, n := range nodes {
		rooms[i] = Room{Node: n, FreeCPU: max(n.CPU-n.ForeignCPU, 0), FreeMemory: max(n.Memory-n.ForeignMemory, 0),
			Fresh: time.Since(n.At) <= s.cfg.CapacityMaxAge}
	}
	for _, r := range held {
		var node string
		var cpu, memory, run int64
		if k, _ := fmt.Sscanf(r, "%s %d %d %d", &node, &cpu, &memory, &run); k != 4 {
			continue
		}
		for i := range rooms {
			if rooms[i].Node.ID == node {
				rooms[i].FreeCPU -= cpu
				rooms[i].FreeMemory -= memory
				rooms[i].Reservation++
			}
		}
	}
	return rooms, nil
}

// Live returns how many containers of an owner count against its quota.
func (s *Store) Live(ctx context.Context, owner string) (int, error) {
	var cmds []*redis.IntCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, st := range ide.Statuses() {
			if st.Live() {
				cmds = append(cmds, p.ZCard(ctx, indexKey("cs", owner, string(st))))
			}
		}
		return nil
	})
	live := 0
	for _, c := range cmds {
		live += int(c.Val())
	}
	return live, down(err)
}

// Report says that a worker lives and what its node is like.
func (s *Store) Report(ctx context.Context, w ide.Worker) error {
	return down(s.rdb.HSet(ctx, workersKey, w.ID, encode(w)).Err())
}

// Workers returns the workers that reported within maxAge, and forgets those
// that have not for an hour.
func (s *Store) Workers(ctx context.Context, maxAge time.Duration) ([]ide.Worker, error) {
	all, err := s.rdb.HGetAll(ctx, workersKey).Result()
	list, err := sorted(all, err, func(w ide.Worker) string { return w.ID })
	if err != nil {
		return nil, err
	}
	for _, w := range list {
		if time.Since(w.At) > time.Hour {
			s.rdb.HDel(ctx, workersKey, w.ID)
		}
	}
	return slices.DeleteFunc(list, func(w ide.Worker) bool { return time.Since(w.At) > maxAge }), nil
}

// Leave takes a worker that ends off the list.
func (s *Store) Leave(ctx context.Context, id string) error {
	return down(s.rdb.HDel(ctx, workersKey, id).Err())
}

// PublishEdges tells every node's worker which overlay addresses may call
// containers.
func (s *Store) PublishEdges(ctx context.Context, edges []netip.Addr) error {
	text := make([]string, len(edges))
	for i, e := range edges {
		text[i] = e.String()
	}
	slices.Sort(text)
	return down(s.rdb.Set(ctx, edgesKey, strings.Join(text, " "), 0).Err())
}

// Edges returns what was last published, sorted; ok is false before the first
// time.
func (s *Store) Edges(ctx context.Context) (edges []netip.Addr, ok bool, err error) {
	text, err := s.rdb.Get(ctx, edgesKey).Result()
	if isNil(err) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, down(err)
	}
	for _, f := range strings.Fields(text) {
		a, err := netip.ParseAddr(f)
		if err != nil {
			return nil, false, fmt.Errorf("parse edge: %w", err)
		}
		edges = append(edges, a)
	}
	return edges, true, nil
}

// sorted decodes the values of a hash; one that cannot be read is left out.
func sorted[T any](all map[string]string, err error, key func(T) string) ([]T, error) {
	if err != nil {
		return nil, down(err)
	}
	list := make([]T, 0, len(all))
	for _, doc := range all {
		var x T
		if json.Unmarshal([]byte(doc), &x) == nil {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return list, nil
}

// ReportActivity records what an edge has seen since its last report.
func (s *Store) ReportActivity(ctx context.Context, seen []ide.Activity) error {
	if len(seen) == 0 {
		return nil
	}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for _, a := range seen {
			activityScript.Eval(ctx, p, []string{activityKey}, a.ID, a.Requests, a.Connections, ms(a.LastActivity))
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
// now, 4 last activity (ms)
var activityScript = redis.NewScript(`
local n, last = 0, 0
local was = redis.call('HGET', KEYS[1], ARGV[1])
if was then
  local a, b = was:match('^(%d+) %d+ (%d+)$')
  n, last = tonumber(a), tonumber(b)
end
if tonumber(ARGV[4]) > last then last = tonumber(ARGV[4]) end
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f %s %.0f', n + tonumber(ARGV[2]), ARGV[3], last))
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
		var last int64
		if n, _ := fmt.Sscanf(text, "%d %d %d", &a.Requests, &a.Connections, &last); n == 3 && last > 0 {
			a.LastActivity = time.UnixMilli(last).UTC()
		}
		seen[ids[i]] = a
	}
	return seen, nil
}
