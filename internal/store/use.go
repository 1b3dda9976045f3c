package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// useKept is how long the last report of a node is remembered: so long its row
// says when that was.
const useKept = 24 * time.Hour

// useScript writes what a node's worker has measured, and tells when what the
// node is short of has changed, however many workers report.
//
// KEYS: 1 use, 2 nodes above a mark, 3 nodes under pressure
//
// ARGV: 1 node ID, 2 doc, 3 seconds it is kept, 4 what admission is told (” =
// nothing is above its mark), 5 what it is short of, by commas (” = nothing),
// 6 the event of a change, 7 events kept
//
// Answers: [ok]
var useScript = redis.NewScript(library + `
redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
if ARGV[4] == '' then redis.call('HDEL', KEYS[2], ARGV[1]) else redis.call('HSET', KEYS[2], ARGV[1], ARGV[4]) end
if (redis.call('HGET', KEYS[3], ARGV[1]) or '') ~= ARGV[5] then
  if ARGV[5] == '' then redis.call('HDEL', KEYS[3], ARGV[1]) else redis.call('HSET', KEYS[3], ARGV[1], ARGV[5]) end
  emit('', ARGV[6], ARGV[7])
end
return {'ok'}
`)

// ReportUse writes what a node's worker has measured. While something is above
// its mark, admission puts nothing on the node. A change of what the node is
// short of is told.
func (s *Store) ReportUse(ctx context.Context, n ide.Node, u ide.NodeUse) error {
	high := ""
	if len(u.Above) > 0 {
		high = fmt.Sprintf("%d %s %s: %s", ms(u.At), u.Above[0].Resource, n.Hostname, ide.Marks(u.Above))
	}
	what := "is below its high-water marks again."
	if len(u.Pressure) > 0 {
		what = "is short of " + strings.Join(u.Pressure, " and ") + ": " + ide.Marks(u.Above) + ". Nothing is put there meanwhile."
	}
	e := ide.Event{Type: ide.TypeNodePressure, At: u.At, Node: n.ID, Message: fmt.Sprintf("Node %s %s", n.Hostname, what)}
	p := ide.PayloadOfNode(e, n)
	p.Data.Node.Pressure = u.Pressure
	_, err := s.run(ctx, useScript, []string{useKey(n.ID), highKey, pressureKey}, n.ID, encode(u), int(useKept.Seconds()), high,
		strings.Join(u.Pressure, ","), told(e, p), s.cfg.EventsKept)
	return err
}

// Use returns the last report of a node's worker; ok is false where there was
// none within a day.
func (s *Store) Use(ctx context.Context, node string) (u ide.NodeUse, ok bool, err error) {
	all, err := s.uses(ctx, []string{node})
	if err != nil || all[0] == nil {
		return u, false, err
	}
	return *all[0], true, nil
}

// uses returns the last report of each node; nil is none.
func (s *Store) uses(ctx context.Context, nodes []string) ([]*ide.NodeUse, error) {
	uses := make([]*ide.NodeUse, len(nodes))
	if len(nodes) == 0 {
		return uses, nil
	}
	keys := make([]string, len(nodes))
	for i, n := range nodes {
		keys[i] = useKey(n)
	}
	docs, err := s.rdb.MGet(ctx, keys...).Result()
	if err != nil {
		return nil, down(err)
	}
	for i, d := range docs {
		var u ide.NodeUse
		if text, ok := d.(string); ok && json.Unmarshal([]byte(text), &u) == nil {
			uses[i] = &u
		}
	}
	return uses, nil
}

// ReportContainers replaces what is known of the use of a node's containers.
func (s *Store) ReportContainers(ctx context.Context, node string, all map[string]ide.ContainerUse) error {
	key := containerUseKey(node)
	_, err := s.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Del(ctx, key)
		if len(all) == 0 {
			return nil
		}
		fields := make([]any, 0, 2*len(all))
		for id, u := range all {
			fields = append(fields, id, encode(u))
		}
		p.HSet(ctx, key, fields...)
		p.Expire(ctx, key, useKept)
		return nil
	})
	return down(err)
}

// NodeContainers returns what was last reported of a node's containers.
func (s *Store) NodeContainers(ctx context.Context, node string) (map[string]ide.ContainerUse, error) {
	docs, err := s.rdb.HGetAll(ctx, containerUseKey(node)).Result()
	if err != nil {
		return nil, down(err)
	}
	all := make(map[string]ide.ContainerUse, len(docs))
	for id, doc := range docs {
		var u ide.ContainerUse
		if json.Unmarshal([]byte(doc), &u) == nil {
			all[id] = u
		}
	}
	return all, nil
}

// ContainerUses returns what was lately reported of the present runs of
// containers.
func (s *Store) ContainerUses(ctx context.Context, list ...ide.Container) (map[string]ide.ContainerUse, error) {
	of := map[string][]ide.Container{} // by node
	for _, c := range list {
		if c.Node != "" && c.Status.Live() {
			of[c.Node] = append(of[c.Node], c)
		}
	}
	all := map[string]ide.ContainerUse{}
	if len(of) == 0 {
		return all, nil
	}
	rows := map[string]*redis.SliceCmd{}
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for node, cs := range of {
			ids := make([]string, len(cs))
			for i, c := range cs {
				ids[i] = c.ID
			}
			rows[node] = p.HMGet(ctx, containerUseKey(node), ids...)
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	now := s.Time(ctx)
	for node, cs := range of {
		for i, doc := range rows[node].Val() {
			var u ide.ContainerUse
			if text, ok := doc.(string); ok && json.Unmarshal([]byte(text), &u) == nil && u.Run == cs[i].Run && now.Sub(u.At) <= 2*ide.StaleAfter {
				all[cs[i].ID] = u
			}
		}
	}
	return all, nil
}

// busiest merges the nodes' busiest containers, those with most cores in use
// first.
func busiest(uses []*ide.NodeUse, most int, now time.Time) []ide.Busy {
	var all []ide.Busy
	for _, u := range uses {
		if u != nil && now.Sub(u.At) <= ide.StaleAfter {
			all = append(all, u.Busiest...)
		}
	}
	slices.SortFunc(all, func(a, b ide.Busy) int {
		switch {
		case a.Cores > b.Cores:
			return -1
		case a.Cores < b.Cores:
			return 1
		}
		return strings.Compare(a.Container, b.Container)
	})
	return all[:min(most, len(all))]
}

// Busiest returns the records of the containers that use most CPU, by reports
// that are not stale.
func (s *Store) Busiest(ctx context.Context, rooms []Room, most int) ([]ide.Container, error) {
	uses := make([]*ide.NodeUse, len(rooms))
	for i, r := range rooms {
		uses[i] = r.Use
	}
	var ids []string
	for _, b := range busiest(uses, most, s.Time(ctx)) {
		ids = append(ids, b.Container)
	}
	return s.containers(ctx, ids)
}

// PublishAddresses tells how many addresses the containers' network has.
func (s *Store) PublishAddresses(ctx context.Context, a ide.Addresses) error {
	return down(s.rdb.Set(ctx, addressesKey, encode(a), useKept).Err())
}

// Addresses returns what was last published; nil is nothing within a day.
func (s *Store) Addresses(ctx context.Context) (*ide.Addresses, error) {
	text, err := s.rdb.Get(ctx, addressesKey).Result()
	if isNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, down(err)
	}
	var a ide.Addresses
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return nil, fmt.Errorf("decode addresses: %w", err)
	}
	return &a, nil
}

// Memory is what Redis says of its memory, in bytes. Max 0 is no limit.
type Memory struct {
	Used, Max int64
	Policy    string
}

// Memory asks Redis for it. What it does not tell is left zero.
func (s *Store) Memory(ctx context.Context) (Memory, error) {
	var m Memory
	text, err := s.rdb.Info(ctx, "memory").Result()
	if err != nil {
		if s.Ping(ctx) != nil {
			return m, down(err)
		}
		return m, nil // the one in the test's or the program's own process
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		switch name {
		case "used_memory":
			m.Used = int64(atoi(value))
		case "maxmemory":
			m.Max = int64(atoi(value))
		case "maxmemory_policy":
			m.Policy = value
		}
	}
	return m, nil
}
