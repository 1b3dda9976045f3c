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

// publishScript replaces what is known of the nodes, and tells once of each
// that went down and of each that is back, however many managers publish.
//
// KEYS: 1 nodes, 2 capacity, 3 nodes that are down, 4 nodes above a mark,
// 5 nodes under pressure
//
// ARGV: 1 events kept, then for each node: its ID, doc, capacity, state, and
// the events that tell that it is down and that it is up
//
// Answers: [ok]
var publishScript = redis.NewScript(library + `
redis.call('DEL', KEYS[1], KEYS[2])
for i = 2, #ARGV, 6 do
  local id, state = ARGV[i], ARGV[i+3]
  redis.call('HSET', KEYS[1], id, ARGV[i+1])
  redis.call('HSET', KEYS[2], id, ARGV[i+2])
  if state == 'down' and redis.call('SADD', KEYS[3], id) == 1 then emit('', ARGV[i+4], ARGV[1]) end
  if state == 'ready' and redis.call('SREM', KEYS[3], id) == 1 then emit('', ARGV[i+5], ARGV[1]) end
end
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  if redis.call('HEXISTS', KEYS[1], id) == 0 then redis.call('SREM', KEYS[3], id) end
end
for _, key in ipairs({KEYS[4], KEYS[5]}) do
  for _, id in ipairs(redis.call('HKEYS', key)) do
    if redis.call('HEXISTS', KEYS[1], id) == 0 then redis.call('HDEL', key, id) end
  end
end
return {'ok'}
`)

// PublishNodes replaces what is known of the Swarm's nodes. Admission reads
// it; a node that is no longer named is forgotten. What went down, and what
// came back, is told.
func (s *Store) PublishNodes(ctx context.Context, nodes []ide.Node) error {
	rests, err := s.resting(ctx)
	if err != nil {
		return err
	}
	args := []any{s.cfg.EventsKept}
	for _, n := range nodes {
		if until, ok := rests[n.ID]; ok {
			n.RestsUntil = &until
		}
		free := fmt.Sprintf("%d %d %d %d %d %s", max(n.CPU-n.ForeignCPU, 0), max(n.Memory-n.ForeignMemory, 0),
			max(n.CPU, 1), max(n.Memory, 1), ms(n.At), flag(n.Placeable()))
		args = append(args, n.ID, encode(n), free, n.State, nodeEvent(n, ide.TypeNodeDown, "does not answer Swarm any more."), nodeEvent(n, ide.TypeNodeUp, "is ready again."))
	}
	_, err = s.run(ctx, publishScript, []string{nodesKey, capKey, downKey, highKey, pressureKey}, args...)
	return err
}

func nodeEvent(n ide.Node, kind, what string) string {
	e := ide.Event{Type: kind, At: time.Now().UTC(), Node: n.ID, Message: fmt.Sprintf("Node %s %s", n.Hostname, what)}
	return told(e, ide.PayloadOfNode(e, n))
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
	FreeGeneric map[string]int64
	Fresh       bool         // it was reported lately enough for admission to believe it
	Reservation int          // containers that hold a place there
	Use         *ide.NodeUse // what its worker last measured; nil is nothing within a day
	At          time.Time    // when this was read, by the shared clock
}

// Stale says that the node's worker has not reported lately, or never.
func (r Room) Stale() bool { return r.Use == nil || r.At.Sub(r.Use.At) > ide.StaleAfter }

// Above returns what is above its high-water mark, by a report that is not
// stale: while there is something, nothing is put there.
func (r Room) Above() []ide.Mark {
	if r.Stale() {
		return nil
	}
	return r.Use.Above
}

// Room returns what every node has left, by host name: what admission decides
// on.
func (s *Store) Room(ctx context.Context) ([]Room, error) {
	var docs, cpu, memory, count *redis.MapStringStringCmd
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		docs, cpu, memory, count = p.HGetAll(ctx, nodesKey), p.HGetAll(ctx, resCPUKey), p.HGetAll(ctx, resMemoryKey), p.HGetAll(ctx, resCountKey)
		return nil
	})
	nodes, err := sorted(docs.Val(), err, func(n ide.Node) string { return n.Hostname + n.ID })
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	uses, err := s.uses(ctx, ids)
	if err != nil {
		return nil, err
	}
	more, err := s.rdb.HGetAll(ctx, resGenericKey).Result()
	if err != nil {
		return nil, down(err)
	}
	rooms, now := make([]Room, len(nodes)), s.Time(ctx)
	for i, n := range nodes {
		of := func(sums *redis.MapStringStringCmd) int64 { return int64(atoi(sums.Val()[n.ID])) }
		rooms[i] = Room{Node: n, FreeCPU: max(n.CPU-n.ForeignCPU, 0) - of(cpu), FreeMemory: max(n.Memory-n.ForeignMemory, 0) - of(memory), Reservation: int(of(count)),
			FreeGeneric: freeGeneric(n),
			Fresh:       now.Sub(n.At) <= s.cfg.CapacityMaxAge, Use: uses[i], At: now}
	}
	heldGeneric(rooms, more)
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
	now := s.Time(ctx)
	for _, w := range list {
		if now.Sub(w.At) > time.Hour {
			s.rdb.HDel(ctx, workersKey, w.ID)
		}
	}
	return slices.DeleteFunc(list, func(w ide.Worker) bool { return now.Sub(w.At) > maxAge }), nil
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
