package store

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"berth/internal/ide"

	"github.com/redis/go-redis/v9"
)

// Standing is a record with what tells whether it is still the same: its
// revision, and the jobs that are open for it.
type Standing struct {
	Container ide.Container
	Rev       string
	Open      []string // names of functions
}

// Census reads every record. It is no snapshot: Same says of each whether it
// has stayed as it was.
func (s *Store) Census(ctx context.Context) ([]Standing, error) {
	ids, err := s.rdb.ZRange(ctx, indexKey("cs", "", ""), 0, -1).Result()
	if err != nil {
		return nil, down(err)
	}
	all := make([]Standing, 0, len(ids))
	for chunk := range slices.Chunk(ids, 500) {
		some, err := s.standings(ctx, chunk)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// Same returns those of the records that are as they were: none changed, no
// job of theirs opened or ended since.
func (s *Store) Same(ctx context.Context, were []Standing) ([]Standing, error) {
	ids := make([]string, len(were))
	for i, w := range were {
		ids[i] = w.Container.ID
	}
	now, err := s.standings(ctx, ids)
	if err != nil {
		return nil, err
	}
	found := map[string]Standing{}
	for _, n := range now {
		found[n.Container.ID] = n
	}
	return slices.DeleteFunc(slices.Clone(were), func(w Standing) bool {
		n, ok := found[w.Container.ID]
		return !ok || n.Rev != w.Rev || !slices.Equal(n.Open, w.Open)
	}), nil
}

// Known says which of the IDs have a record.
func (s *Store) Known(ctx context.Context, ids []string) (map[string]bool, error) {
	all, err := s.standings(ctx, ids)
	known := map[string]bool{}
	for _, a := range all {
		known[a.Container.ID] = true
	}
	return known, err
}

func (s *Store) standings(ctx context.Context, ids []string) ([]Standing, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	rows, jobs := make([]*redis.SliceCmd, len(ids)), make([]*redis.StringSliceCmd, len(ids))
	_, err := s.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			rows[i] = p.HMGet(ctx, containerKey(id), "doc", "node", "rev")
			jobs[i] = p.SMembers(ctx, containerKey(id)+":jobs")
		}
		return nil
	})
	if err != nil {
		return nil, down(err)
	}
	var all []Standing
	for i := range ids {
		v := rows[i].Val()
		if v[0] == nil {
			continue
		}
		c, err := decodeContainer(v)
		if err != nil {
			return nil, fmt.Errorf("decode container %s: %w", ids[i], err)
		}
		st := Standing{Container: c}
		st.Rev, _ = v[2].(string)
		for _, j := range jobs[i].Val() {
			name, _, _ := strings.Cut(j, ":")
			st.Open = append(st.Open, name)
		}
		slices.Sort(st.Open)
		all = append(all, st)
	}
	return all, nil
}

// Rebuilt says whether the records are known to be complete: those of a Redis
// that has lost them are not, until a rebuild has finished.
func (s *Store) Rebuilt(ctx context.Context) (bool, error) {
	n, err := s.rdb.Exists(ctx, rebuiltKey).Result()
	return n == 1, down(err)
}

// MarkRebuilt says that a rebuild has finished.
func (s *Store) MarkRebuilt(ctx context.Context) error {
	return down(s.rdb.Set(ctx, rebuiltKey, time.Now().UTC().Format(time.RFC3339), 0).Err())
}

// Purged says whether a container's record was dropped lately: a config that
// is there all the same was made by a worker that woke up late.
func (s *Store) Purged(ctx context.Context, id string) (bool, error) {
	n, err := s.rdb.Exists(ctx, purgedKey(id)).Result()
	return n == 1, down(err)
}

// InUseError says that another live container has the place of one that would
// become live.
type InUseError struct{ Container string }

func (e *InUseError) Error() string { return "its place is used by " + e.Container }

// Restore writes a record that is in Swarm but not here, or here as of an earlier
// run, instead (0 is none), with its place and, where it is live, its reservation.
// next is the number that the next job of next.Function gets. It says whether the
// record was written. A starting or running container whose place another live one
// has, or that lies above or below another's, is an *InUseError.
func (s *Store) Restore(ctx context.Context, c ide.Container, next ide.Job, placed bool, instead int, message string) (bool, error) {
	place, cpu, mem, more := "", "", "", ""
	if placed {
		place = placeOf(c.S3)
	}
	if c.Status.Live() && c.Node != "" {
		cpu, mem, more = fmt.Sprint(c.Resources.CPUReservation), fmt.Sprint(c.Resources.MemoryReservation), encodeGeneric(c)
	}
	seq := 0
	if i := strings.LastIndexByte(next.ID, ':'); i >= 0 {
		seq = max(atoi(next.ID[i+1:])-1, 0)
	}
	event := eventOf(c, &ide.Event{Type: "container.rebuilt", By: "rebuild", Message: message})
	answer, err := s.run(ctx, restoreScript, []string{containerKey(c.ID)}, c.ID, encode(c), string(c.Status), c.Node, c.Owner, ms(c.CreatedAt),
		place, cpu, mem, c.Run, event, s.cfg.EventsKept, next.Function+":"+c.ID, seq, more, instead)
	if err != nil {
		return false, err
	}
	if answer[0] == "busy" {
		return false, ide.Errorf(ide.Conflict, "A backup is being restored.")
	}
	if answer[0] == "inuse" {
		return false, &InUseError{answer[1]}
	}
	return answer[0] == "ok", nil
}

// restoreScript writes a record that is not there, or is of an earlier run.
//
// KEYS: 1 container
//
// ARGV: 1 ID, 2 doc, 3 status, 4 node, 5 owner, 6 created (ms), 7 place (” =
// none), 8 reserve cpu (” = none), 9 reserve memory, 10 run, 11 event,
// 12 events kept, 13 function:ID whose next job gets a number, 14 the number
// before it, 15 other resources to reserve, JSON by kind (” = none), 16 the run
// that may be there
//
// Answers: [ok] [there] [busy] [inuse, container]
var restoreScript = redis.NewScript(library + `
if redis.call('EXISTS', P..'restoring') == 1 then return {'busy'} end
local h = redis.call('HMGET', KEYS[1], 'doc', 'status')
if h[1] and cjson.decode(h[1]).run ~= tonumber(ARGV[16]) then return {'there'} end
if ARGV[7] ~= '' and (ARGV[3] == 'starting' or ARGV[3] == 'running') then
  local other = inuse(ARGV[7], ARGV[1])
  if other then return {'inuse', other} end
end
redis.call('HSET', KEYS[1], 'doc', ARGV[2], 'status', ARGV[3], 'node', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'rev', 1)
if ARGV[7] ~= '' then redis.call('HSET', KEYS[1], 'place', ARGV[7]) end
index('cs', ARGV[1], ARGV[5], h[2] or '', ARGV[3], ARGV[6])
attention(ARGV[1], ARGV[5], ARGV[2], ARGV[6])
if ARGV[8] ~= '' then
  release(ARGV[1], '')
  reserve(ARGV[1], ARGV[4]..' '..ARGV[8]..' '..ARGV[9]..' '..ARGV[10], ARGV[15])
end
if tonumber(redis.call('HGET', P..'j:seq', ARGV[13]) or '0') < tonumber(ARGV[14]) then
  redis.call('HSET', P..'j:seq', ARGV[13], ARGV[14])
end
emit(ARGV[1], ARGV[11], ARGV[12])
changed('c '..ARGV[1]..' '..ARGV[5])
redis.call('PERSIST', KEYS[1]..':events') -- of a backup
return {'ok'}
`)

// Recount makes the reservations follow from the records: what is down and has
// no open job holds none, what is live has one. It returns how many were wrong.
func (s *Store) Recount(ctx context.Context) (freed, added int, err error) {
	answer, err := s.run(ctx, recountScript, nil)
	if err != nil {
		return 0, 0, err
	}
	return atoi(answer[0]), atoi(answer[1]), nil
}

// recountScript makes reservations and their sums follow from the records.
//
// Answers: [freed, added]
var recountScript = redis.NewScript(library + `
local freed, added = 0, 0
local held = redis.call('HGETALL', P..'res')
for i = 1, #held, 2 do
  local s = redis.call('HGET', P..'c:'..held[i], 'status')
  local down = s == 'stopped' or s == 'failed'
  if not s or down and redis.call('SCARD', P..'c:'..held[i]..':jobs') == 0 then
    redis.call('HDEL', P..'res', held[i])
    freed = freed + 1
  end
end
for _, s in ipairs({'starting', 'running'}) do
  for _, id in ipairs(redis.call('ZRANGE', P..'cs:s:'..s, 0, -1)) do
    if redis.call('HEXISTS', P..'res', id) == 0 then
      local h = redis.call('HMGET', P..'c:'..id, 'doc', 'node')
      if h[1] and h[2] and h[2] ~= '' then
        local c = cjson.decode(h[1])
        if c.generic and next(c.generic) then redis.call('HSET', P..'res:gen', id, h[2]..' '..cjson.encode(c.generic)) end
        redis.call('HSET', P..'res', id, string.format('%s %.0f %.0f %.0f', h[2], c.resources.cpuReservation or 0, c.resources.memoryReservation or 0, c.run))
        added = added + 1
      end
    end
  end
end
for _, id in ipairs(redis.call('HKEYS', P..'res:gen')) do
  if redis.call('HEXISTS', P..'res', id) == 0 then redis.call('HDEL', P..'res:gen', id) end
end
redis.call('DEL', P..'res:cpu', P..'res:mem', P..'res:n')
held = redis.call('HGETALL', P..'res')
for i = 2, #held, 2 do
  local node, cpu, mem = held[i]:match('^(%S+) (%d+) (%d+) %d+$')
  redis.call('HINCRBY', P..'res:cpu', node, cpu)
  redis.call('HINCRBY', P..'res:mem', node, mem)
  redis.call('HINCRBY', P..'res:n', node, 1)
end
return {tostring(freed), tostring(added)}
`)
