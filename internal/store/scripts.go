package store

import "github.com/redis/go-redis/v9"

// library is put before every script: what more than one of them does.
const library = `
local P = '{berth}:'
-- index moves a member of kind ('cs' or 'js') to another status; '' is none.
local function index(kind, id, owner, from, to, score)
  if from == to then return end
  if from ~= '' then
    redis.call('ZREM', P..kind..':s:'..from, id)
    redis.call('ZREM', P..kind..':o:'..owner..':s:'..from, id)
  end
  if to == '' then
    redis.call('ZREM', P..kind, id)
    redis.call('ZREM', P..kind..':o:'..owner, id)
    return
  end
  if from == '' then
    redis.call('ZADD', P..kind, score, id)
    redis.call('ZADD', P..kind..':o:'..owner, score, id)
  end
  redis.call('ZADD', P..kind..':s:'..to, score, id)
  redis.call('ZADD', P..kind..':o:'..owner..':s:'..to, score, id)
end
-- emit appends an event to the shared stream and to its container's history.
local function emit(id, event, kept)
  if event == '' then return end
  redis.call('XADD', P..'events', 'MAXLEN', '~', kept, '*', 'e', event)
  if id ~= '' then
    redis.call('XADD', P..'c:'..id..':events', 'MAXLEN', '~', 200, '*', 'e', event)
  end
end
-- release gives a container's reservation back; doing it again changes
-- nothing. A run gives back its own only, '' whatever there is.
local function release(id, run)
  local r = redis.call('HGET', P..'res', id)
  if not r then return end
  local node, cpu, mem, its = r:match('^(%S+) (%d+) (%d+) (%d+)$')
  if run ~= '' and run ~= its then return end
  if cpu ~= '0' then redis.call('HINCRBY', P..'res:cpu', node, '-'..cpu) end
  if mem ~= '0' then redis.call('HINCRBY', P..'res:mem', node, '-'..mem) end
  redis.call('HDEL', P..'res', id)
end
-- reserve takes a place, "node cpu mem run", for a container.
local function reserve(id, place)
  local node, cpu, mem = place:match('^(%S+) (%d+) (%d+) %d+$')
  redis.call('HSET', P..'res', id, place)
  redis.call('HINCRBY', P..'res:cpu', node, cpu)
  redis.call('HINCRBY', P..'res:mem', node, mem)
end
`

// admitScript is rule 3: it returns the open job of a (function, container),
// or writes container, reservation, job, idempotency answer and due time
// together.
//
// KEYS: 1 container, 2 job, 3 idempotency key (may be ”)
//
// ARGV: 1 function, 2 container ID, 3 job number, 4 job doc, 5 job args,
// 6 now (ms), 7 owner of the job, 8 container doc (” = none), 9 its expected
// rev (0 = must be new), 10 its status, 11 its owner, 12 created (ms),
// 13 event, 14 events kept, 15 reserve cpu (” = none), 16 reserve memory,
// 17 pack or spread, 18 capacity max age (ms), 19 most live containers of the
// owner (0 = any), 20 idempotency hash, 21 answer, 22 idempotency TTL (s),
// 23 force (0 or 1), 24 run, 25 the pair's job was seen open (0 or 1)
//
// Answers: [ok, node] [open, job, force is new] [answered, answer] [reused] [stale]
// [quota, live] [full, resource, best cpu, best memory] [nodata]
var admitScript = redis.NewScript(library + `
local fn, cid, seq, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6])
if KEYS[3] ~= '' then
  local was = redis.call('GET', KEYS[3])
  if was then
    local at = was:find('\n', 1, true)
    if was:sub(1, at-1) ~= ARGV[20] then return {'reused'} end
    return {'answered', was:sub(at+1)}
  end
end
local pair = fn..':'..cid
local open = redis.call('HGET', P..'j:open', pair)
if open then
  local forced = '0'
  if ARGV[23] == '1' and redis.call('HGET', P..'j:'..open, 'force') ~= '1' then
    redis.call('HSET', P..'j:'..open, 'force', '1')
    forced = '1'
  end
  return {'open', open, forced}
end
if ARGV[25] == '1' then return {'stale'} end
if tonumber(redis.call('HGET', P..'j:seq', pair) or '0') + 1 ~= tonumber(seq) then return {'stale'} end
local was = ''
if ARGV[8] ~= '' then
  if (redis.call('HGET', KEYS[1], 'rev') or '0') ~= ARGV[9] then return {'stale'} end
  was = redis.call('HGET', KEYS[1], 'status') or ''
end
local node = redis.call('HGET', KEYS[1], 'node') or ''
if ARGV[15] ~= '' then
  local most = tonumber(ARGV[19])
  if most > 0 then
    local live = 0
    for _, s in ipairs({'starting', 'running', 'stopping'}) do
      live = live + redis.call('ZCARD', P..'cs:o:'..ARGV[11]..':s:'..s)
    end
    if live >= most then return {'quota', tostring(live)} end
  end
  local held = redis.call('HGET', P..'res', cid) -- by a stop that failed: its place counts as free
  release(cid, '')
  local cpu, mem = tonumber(ARGV[15]), tonumber(ARGV[16])
  local caps = redis.call('HGETALL', P..'cap')
  local best, bestscore, fresh, maxcpu, maxmem = nil, nil, false, 0, 0
  for i = 1, #caps, 2 do
    local c, m, tc, tm, at, ok = caps[i+1]:match('^(%d+) (%d+) (%d+) (%d+) (%d+) ([01])$')
    if c and now - tonumber(at) <= tonumber(ARGV[18]) then
      fresh = true
      if ok == '1' then
        local fc = tonumber(c) - tonumber(redis.call('HGET', P..'res:cpu', caps[i]) or '0')
        local fm = tonumber(m) - tonumber(redis.call('HGET', P..'res:mem', caps[i]) or '0')
        if fc > maxcpu then maxcpu = fc end
        if fm > maxmem then maxmem = fm end
        if fc >= cpu and fm >= mem then
          local score = math.min((fc - cpu) / tonumber(tc), (fm - mem) / tonumber(tm))
          if ARGV[17] == 'pack' then score = -score end
          if not best or score > bestscore or (score == bestscore and caps[i] < best) then
            best, bestscore = caps[i], score
          end
        end
      end
    end
  end
  if held and not best then reserve(cid, held) end
  if not fresh then return {'nodata'} end
  if not best then
    local what = 'memory'
    if maxcpu < cpu then what = 'cpu' end
    return {'full', what, string.format('%.0f', maxcpu), string.format('%.0f', maxmem)}
  end
  node = best
  reserve(cid, node..' '..ARGV[15]..' '..ARGV[16]..' '..ARGV[24])
end
redis.call('HSET', P..'j:seq', pair, seq)
local jid = fn..':'..cid..':'..seq
redis.call('HSET', P..'j:open', pair, jid)
redis.call('HSET', KEYS[2], 'doc', ARGV[4], 'args', ARGV[5], 'status', 'queued', 'function', fn, 'container', cid,
  'owner', ARGV[7], 'queued', ARGV[6], 'attempt', '0', 'delivery', '1', 'run', ARGV[24], 'force', ARGV[23], 'cancel', '0')
index('js', jid, ARGV[7], '', 'queued', now)
redis.call('ZADD', P..'j:due', now, jid)
if cid ~= '' then redis.call('SADD', P..'c:'..cid..':jobs', jid) end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'doc', ARGV[8], 'status', ARGV[10], 'node', node, 'rev', tonumber(ARGV[9]) + 1)
  index('cs', cid, ARGV[11], was, ARGV[10], ARGV[12])
  emit(cid, ARGV[13], ARGV[14])
end
if KEYS[3] ~= '' then redis.call('SET', KEYS[3], ARGV[20]..'\n'..ARGV[21], 'EX', ARGV[22]) end
return {'ok', node}
`)

// updateScript writes a container if nobody else did since it was read.
//
// KEYS: 1 container
//
// ARGV: 1 ID, 2 expected rev, 3 doc, 4 status, 5 node, 6 owner, 7 created
// (ms), 8 event, 9 events kept, 10 whose history the event joins (” = none)
//
// Answers: [ok] [stale] [gone]
var updateScript = redis.NewScript(library + `
local rev = redis.call('HGET', KEYS[1], 'rev')
if not rev then return {'gone'} end
if rev ~= ARGV[2] then return {'stale'} end
local was = redis.call('HGET', KEYS[1], 'status')
redis.call('HSET', KEYS[1], 'doc', ARGV[3], 'status', ARGV[4], 'node', ARGV[5], 'rev', tonumber(rev) + 1)
index('cs', ARGV[1], ARGV[6], was, ARGV[4], ARGV[7])
emit(ARGV[10], ARGV[8], ARGV[9])
return {'ok'}
`)

// releaseScript gives a container's reservation back.
//
// ARGV: 1 container ID, 2 run
//
// Answers: [ok]
var releaseScript = redis.NewScript(library + `
release(ARGV[1], ARGV[2])
return {'ok'}
`)

// dropScript removes a container's record, if nobody changed it since it was
// read.
//
// KEYS: 1 container
//
// ARGV: 1 ID, 2 expected rev, 3 owner, 4 event, 5 events kept, 6… function:ID
// pairs whose job numbers go with it
//
// Answers: [ok] [stale]
var dropScript = redis.NewScript(library + `
local rev = redis.call('HGET', KEYS[1], 'rev')
if not rev then return {'ok'} end
if rev ~= ARGV[2] then return {'stale'} end
index('cs', ARGV[1], ARGV[3], redis.call('HGET', KEYS[1], 'status'), '', 0)
release(ARGV[1], '')
redis.call('HDEL', P..'activity', ARGV[1])
redis.call('DEL', KEYS[1], KEYS[1]..':events')
for i = 6, #ARGV do redis.call('HDEL', P..'j:seq', ARGV[i]) end
emit('', ARGV[4], ARGV[5])
return {'ok'}
`)

// takeScript begins an attempt of a job: it takes the lease of its target and
// marks the job running.
//
// KEYS: 1 job, 2 lease
//
// ARGV: 1 job ID, 2 token, 3 lease TTL (ms), 4 number of the delivery
//
// Answers: [ok, doc, args, attempt, cancel, force, failing, run, delivery]
// [ended] [held] [gone]
var takeScript = redis.NewScript(library + `
local h = redis.call('HMGET', KEYS[1], 'doc', 'args', 'status', 'owner', 'queued', 'cancel', 'force', 'failing', 'run', 'delivery')
if not h[1] then return {'gone'} end
local s = h[3]
if s == 'succeeded' or s == 'failed' or s == 'canceled' then return {'ended'} end
if tonumber(ARGV[4]) < tonumber(h[10]) then return {'ended'} end
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'held'} end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('HSET', KEYS[1], 'status', 'running')
index('js', ARGV[1], h[4], s, 'running', h[5])
return {'ok', h[1], h[2], tostring(attempt), h[6] or '0', h[7] or '0', h[8] or '', h[9] or '0', h[10] or '1'}
`)

// saveScript writes a job on behalf of the holder of its lease. When the
// status is not running the attempt is over: the lease is released, and the
// other open jobs of the container, which may have found it held, are named.
//
// KEYS: 1 job, 2 lease
//
// ARGV: 1 job ID, 2 token, 3 lease TTL (ms), 4 doc, 5 status, 6 due or end
// (ms), 7 event, 8 events kept, 9 failing (” or 1), 10 take this attempt
// back (0 or 1)
//
// Answers: [ok, cancel, force, container status, container run, waiting jobs…] [lost]
var saveScript = redis.NewScript(library + `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'lost'} end
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'queued', 'function', 'container', 'cancel', 'force')
local s, cid = ARGV[5], h[5]
redis.call('HSET', KEYS[1], 'doc', ARGV[4], 'status', s, 'failing', ARGV[9])
index('js', ARGV[1], h[2], h[1], s, h[3])
local c = redis.call('HMGET', P..'c:'..cid, 'status', 'doc')
local run = c[2] and c[2]:match('"run":(%d+)') or '0'
local out = {'ok', h[6] or '0', h[7] or '0', c[1] or '', run}
if s == 'running' then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return out
end
if ARGV[10] == '1' then redis.call('HINCRBY', KEYS[1], 'attempt', -1) end
redis.call('DEL', KEYS[2])
if s == 'queued' or s == 'retrying' then
  redis.call('ZADD', P..'j:due', ARGV[6], ARGV[1])
else
  redis.call('HDEL', P..'j:open', h[4]..':'..cid)
  redis.call('ZREM', P..'j:due', ARGV[1])
  redis.call('ZADD', P..'j:ended', ARGV[6], ARGV[1])
  redis.call('SREM', P..'c:'..cid..':jobs', ARGV[1])
  emit('', ARGV[7], ARGV[8])
end
if cid ~= '' then
  for _, j in ipairs(redis.call('SMEMBERS', P..'c:'..cid..':jobs')) do
    if j ~= ARGV[1] then out[#out+1] = j end
  end
end
return out
`)

// renewScript keeps a lease alive and reads what may end the run early.
//
// KEYS: 1 job, 2 lease, 3 container
//
// ARGV: 1 token, 2 lease TTL (ms)
//
// Answers: [ok, cancel, force, container status, container run] [lost]
var renewScript = redis.NewScript(`
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {'lost'} end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
local h = redis.call('HMGET', KEYS[1], 'cancel', 'force')
local c = redis.call('HMGET', KEYS[3], 'status', 'doc')
local run = c[2] and c[2]:match('"run":(%d+)') or '0'
return {'ok', h[1] or '0', h[2] or '0', c[1] or '', run}
`)

// redeliverScript takes the next delivery number of an open job whose last
// delivery is known to be lost.
//
// KEYS: 1 job
//
// ARGV: 1 the lost delivery's number
//
// Answers: [ok, number]: the one to deliver, also when another already took it
// [ended]
var redeliverScript = redis.NewScript(`
local h = redis.call('HMGET', KEYS[1], 'status', 'delivery')
local s = h[1]
if not s or s == 'succeeded' or s == 'failed' or s == 'canceled' then return {'ended'} end
if h[2] == ARGV[1] then return {'ok', tostring(redis.call('HINCRBY', KEYS[1], 'delivery', 1))} end
return {'ok', h[2]}
`)

// cancelScript marks an open job for cancellation and makes it due now.
//
// KEYS: 1 job, 2 due
//
// ARGV: 1 job ID, 2 now (ms)
//
// Answers: [ok] [ended]
var cancelScript = redis.NewScript(`
local s = redis.call('HGET', KEYS[1], 'status')
if not s or s == 'succeeded' or s == 'failed' or s == 'canceled' then return {'ended'} end
redis.call('HSET', KEYS[1], 'cancel', '1')
redis.call('ZADD', KEYS[2], ARGV[2], ARGV[1])
return {'ok'}
`)

// pruneScript removes ended jobs, at most 500 a call, and names their number.
//
// KEYS: 1 ended
//
// ARGV: 1 ended before (ms)
//
// Answers: [count]
var pruneScript = redis.NewScript(library + `
local old = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 500)
for _, j in ipairs(old) do
  local h = redis.call('HMGET', P..'j:'..j, 'owner', 'status')
  if h[1] then index('js', j, h[1], h[2], '', 0) end
  redis.call('DEL', P..'j:'..j)
  redis.call('ZREM', KEYS[1], j)
end
return {tostring(#old)}
`)
