package store

import "github.com/redis/go-redis/v9"

// library is put before every script: what more than one of them does.
const library = `
local P = '{berth}:'
` + posting + `
-- index moves a member of kind ('cs' or 'js') to another status; '' is none.
local function index(kind, id, owner, from, to, score)
  if from == to then return end
  if kind == 'cs' then
    local place = redis.call('HGET', P..'c:'..id, 'place')
    if place and place ~= '' then -- in use while the container is live
      if to == 'starting' or to == 'running' or to == 'stopping' then
        redis.call('ZADD', P..'places', 0, place..'\1'..id)
      else
        redis.call('ZREM', P..'places', place..'\1'..id)
      end
    end
  end
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
-- changed tells those who watch that a container ('c') or a job ('j') was
-- written.
local function changed(what) redis.call('PUBLISH', P..'changed', what) end
-- attention indexes a container whose files are not saved under a status of
-- its own, beside the one that it has.
local function attention(id, owner, doc, score)
  for _, k in ipairs({P..'cs:s:unsaved', P..'cs:o:'..owner..':s:unsaved'}) do
    if doc:find('"unsaved":true', 1, true) then redis.call('ZADD', k, score, id) else redis.call('ZREM', k, id) end
  end
end
-- emit appends what happened to the shared stream and to its container's
-- history, and to the queues of the webhooks that hear of it.
local function emit(id, told, kept)
  if told == '' then return end
  local event, body = told:match('^([^\n]*)\n?(.*)$')
  local eid = redis.call('XADD', P..'events', 'MAXLEN', '~', kept, '*', 'e', event)
  if body ~= '' then post(eid, cjson.decode(event), body) end
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
  redis.call('HINCRBY', P..'res:n', node, -1)
  redis.call('HDEL', P..'res', id)
  redis.call('HDEL', P..'res:gen', id)
end
-- inuse says whether another live container has a place ("bucket/prefix/"),
-- one above it or one below.
local function inuse(place, id)
  local function taken(from, to)
    for _, m in ipairs(redis.call('ZRANGEBYLEX', P..'places', '['..from, '('..to)) do
      if m:match('\1(.*)$') ~= id then return true end
    end
    return false
  end
  if taken(place, place..'\255') then return true end
  for at in place:gmatch('()/') do
    local above = place:sub(1, at)
    if above ~= place and taken(above..'\1', above..'\2') then return true end
  end
  return false
end
-- all returns a hash as a table.
local function all(key)
  local h, t = redis.call('HGETALL', key), {}
  for i = 1, #h, 2 do t[h[i]] = h[i+1] end
  return t
end
-- reserve takes a place, "node cpu mem run", for a container, and what it needs
-- there of other resources, JSON of their numbers by kind; '' is none.
local function reserve(id, place, generic)
  local node, cpu, mem = place:match('^(%S+) (%d+) (%d+) %d+$')
  redis.call('HSET', P..'res', id, place)
  redis.call('HINCRBY', P..'res:cpu', node, cpu)
  redis.call('HINCRBY', P..'res:mem', node, mem)
  redis.call('HINCRBY', P..'res:n', node, 1)
  if generic ~= '' then redis.call('HSET', P..'res:gen', id, node..' '..generic) end
end
-- shortage returns what says of a node which other resource it has too little of,
-- or nil. wanted is JSON by kind ('' = none), has by node and kind.
local function shortage(wanted, has)
  if wanted == '' then return function() end end
  local want, free = cjson.decode(wanted), cjson.decode(has)
  local held = redis.call('HVALS', P..'res:gen')
  for _, h in ipairs(held) do
    local node, generic = h:match('^(%S+) (.*)$')
    if free[node] then
      for kind, n in pairs(cjson.decode(generic)) do free[node][kind] = (free[node][kind] or 0) - n end
    end
  end
  return function(node)
    for kind, n in pairs(want) do
      if ((free[node] or {})[kind] or 0) < n then return kind end
    end
  end
end
`

// admitScript is rule 3: it returns the open job of a (function, container or node),
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
// 23 force (0 or 1), 24 run, 25 the pair's job was seen open (0 or 1),
// 26 place of the workspace, "bucket/prefix/" (” = none), 27 the only nodes that
// will do, by blanks (” = any), 28 lane of the job (” = none), 29 the most of a lane that
// are delivered at once, 30 webhook to make with it (” = none), 31 its ID, 32 the
// types it hears of, by commas (” = all), 33 instant of the function's schedule
// (ms; ” = none), 34 other resources to reserve, JSON by kind (” = none), 35 what the
// nodes have of them, JSON by node and kind, 36 whether the job is open and goes on
// with this (0 or 1), 37 whether the pair is this job's alone, and its number goes
// with it (0 or 1)
//
// Answers: [ok, node, waits for its turn (0 or 1)] [open, job, force is new] [answered, answer] [reused] [stale]
// [skip] [quota, live] [high, "resource text" of nodes with room that are above a mark…] [full, resource, best cpu, best memory] [nodata] [inuse]
// [lost] [wanted]
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
if ARGV[33] ~= '' then -- once, by the one clock that all workers share; what lies ahead of it was before it was set back
  local t = redis.call('TIME')
  local clock, at = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[33])
  local last = tonumber(redis.call('HGET', P..'schedules:last', fn) or '0')
  if redis.call('HEXISTS', P..'schedules:paused', fn) == 1 or at > clock or (at <= last and last <= clock) then return {'skip'} end
end
local jid = KEYS[2]:sub(#P + 3)
local pair = jid:match('^(.*):')
local open = redis.call('HGET', P..'j:open', pair)
local goes = ARGV[36] == '1'
if goes then
  if open ~= jid then return {'lost'} end
  for _, j in ipairs(redis.call('SMEMBERS', P..'c:'..cid..':jobs')) do
    if j:match('^container%-stop:') then return {'wanted'} end -- to stay down
  end
elseif open then
  local forced = '0'
  if ARGV[23] == '1' and redis.call('HGET', P..'j:'..open, 'force') ~= '1' then
    redis.call('HSET', P..'j:'..open, 'force', '1')
    forced = '1'
  end
  return {'open', open, forced}
end
if ARGV[25] == '1' and not goes then return {'stale'} end
if not goes and tonumber(redis.call('HGET', P..'j:seq', pair) or '0') + 1 ~= tonumber(seq) then return {'stale'} end
local was, node = '', ''
if cid ~= '' then
  local c = redis.call('HMGET', KEYS[1], 'rev', 'status', 'node')
  if ARGV[8] ~= '' and (c[1] or '0') ~= ARGV[9] then return {'stale'} end
  was, node = c[2] or '', c[3] or ''
end
if ARGV[15] ~= '' then
  local most = tonumber(ARGV[19])
  if most > 0 then
    local live = 0
    for _, s in ipairs({'starting', 'running', 'stopping'}) do
      live = live + redis.call('ZCARD', P..'cs:o:'..ARGV[11]..':s:'..s)
    end
    if live >= most then return {'quota', tostring(live)} end
  end
  if ARGV[26] ~= '' and inuse(ARGV[26], cid) then return {'inuse'} end
  local held = redis.call('HGET', P..'res', cid) -- by a stop that failed: its place counts as free
  local heldmore = (redis.call('HGET', P..'res:gen', cid) or ''):match('^%S+ (.*)$') or ''
  if held then release(cid, '') end
  local cpu, mem = tonumber(ARGV[15]), tonumber(ARGV[16])
  local usedcpu, usedmem = all(P..'res:cpu'), all(P..'res:mem')
  local caps = redis.call('HGETALL', P..'cap')
  local best, bestscore, fresh, maxcpu, maxmem, lack = nil, nil, false, 0, 0, nil
  local marks, high = all(P..'nodes:high'), {'high'}
  local lacks = shortage(ARGV[34], ARGV[35])
  for i = 1, #caps, 2 do
    local c, m, tc, tm, at, ok = caps[i+1]:match('^(%d+) (%d+) (%d+) (%d+) (%d+) ([01])$')
    if ARGV[27] ~= '' and not (' '..ARGV[27]..' '):find(' '..caps[i]..' ', 1, true) then c = nil; fresh = true end
    if c and now - tonumber(at) <= tonumber(ARGV[18]) then
      fresh = true
      if ok == '1' then
        local fc = tonumber(c) - tonumber(usedcpu[caps[i]] or '0')
        local fm = tonumber(m) - tonumber(usedmem[caps[i]] or '0')
        if fc > maxcpu then maxcpu = fc end
        if fc >= cpu and fm > maxmem then maxmem = fm end -- of those with CPU enough
        local since, why = (marks[caps[i]] or ''):match('^(%d+) (.*)$')
        local without = lacks(caps[i])
        if fc >= cpu and fm >= mem and without then
          lack = without
        elseif fc >= cpu and fm >= mem and since and now - tonumber(since) <= tonumber(ARGV[18]) then
          high[#high+1] = why
        elseif fc >= cpu and fm >= mem then
          local score = math.min((fc - cpu) / tonumber(tc), (fm - mem) / tonumber(tm))
          if ARGV[17] == 'pack' then score = -score end
          if not best or score > bestscore or (score == bestscore and caps[i] < best) then
            best, bestscore = caps[i], score
          end
        end
      end
    end
  end
  if held and not best then reserve(cid, held, heldmore) end
  if not fresh then return {'nodata'} end
  if not best and #high > 1 then return high end
  if not best then
    local what = 'memory'
    if maxcpu < cpu then what = 'cpu' elseif lack then what = lack end
    return {'full', what, string.format('%.0f', maxcpu), string.format('%.0f', maxmem)}
  end
  node = best
  reserve(cid, node..' '..ARGV[15]..' '..ARGV[16]..' '..ARGV[24], ARGV[34])
end
if ARGV[33] ~= '' then redis.call('HSET', P..'schedules:last', fn, ARGV[33]) end
local waits, lane = '0', ARGV[28]
if goes then
  redis.call('HSET', KEYS[2], 'run', ARGV[24])
else
  redis.call('HSET', P..'j:seq', pair, seq)
  redis.call('HSET', P..'j:open', pair, jid)
  redis.call('HSET', KEYS[2], 'doc', ARGV[4], 'args', ARGV[5], 'status', 'queued', 'function', fn, 'container', cid,
    'owner', ARGV[7], 'queued', ARGV[6], 'attempt', '0', 'delivery', '1', 'run', ARGV[24], 'force', ARGV[23], 'cancel', '0', 'lane', ARGV[28])
  if ARGV[37] == '1' then redis.call('HSET', KEYS[2], 'once', '1') end
  index('js', jid, ARGV[7], '', 'queued', now)
  if lane ~= '' then
    if redis.call('SCARD', P..'turn:'..lane) < tonumber(ARGV[29]) then
      redis.call('SADD', P..'turn:'..lane, jid)
    else
      redis.call('RPUSH', P..'wait:'..lane, jid)
      waits = '1'
    end
  end
  if waits == '0' then redis.call('ZADD', P..'j:due', now, jid) end
  if cid ~= '' then redis.call('SADD', P..'c:'..cid..':jobs', jid) end
end
if ARGV[8] ~= '' then
  redis.call('HSET', KEYS[1], 'doc', ARGV[8], 'status', ARGV[10], 'node', node, 'rev', tonumber(ARGV[9]) + 1)
  if ARGV[26] ~= '' then redis.call('HSET', KEYS[1], 'place', ARGV[26]) end
  index('cs', cid, ARGV[11], was, ARGV[10], ARGV[12])
  if ARGV[9] ~= '0' then attention(cid, ARGV[11], ARGV[8], ARGV[12]) end
  if ARGV[30] ~= '' then addhook(ARGV[31], ARGV[30], ARGV[32], 'hooks:c:'..cid) end
  emit(cid, ARGV[13], ARGV[14])
  changed('c '..cid..' '..ARGV[11])
end
changed('j '..jid)
if KEYS[3] ~= '' then redis.call('SET', KEYS[3], ARGV[20]..'\n'..ARGV[21], 'EX', ARGV[22]) end
return {'ok', node, waits}
`)

// inUseScript says whether a live container has a place.
//
// ARGV: 1 place, "bucket/prefix/"
//
// Answers: [0 or 1]
var inUseScript = redis.NewScript(library + `
if inuse(ARGV[1], '') then return {'1'} end
return {'0'}
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
attention(ARGV[1], ARGV[6], ARGV[3], ARGV[7])
emit(ARGV[10], ARGV[8], ARGV[9])
changed('c '..ARGV[1]..' '..ARGV[6])
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
// ARGV: 1 ID, 2 expected rev, 3 owner, 4 event, 5 events kept, 6… pairs
// pairs whose job numbers go with it
//
// Answers: [ok] [stale]
var dropScript = redis.NewScript(library + `
local rev = redis.call('HGET', KEYS[1], 'rev')
if not rev then return {'ok'} end
if rev ~= ARGV[2] then return {'stale'} end
index('cs', ARGV[1], ARGV[3], redis.call('HGET', KEYS[1], 'status'), '', 0)
attention(ARGV[1], ARGV[3], '', 0)
release(ARGV[1], '')
redis.call('HDEL', P..'activity', ARGV[1])
redis.call('DEL', KEYS[1], KEYS[1]..':events', KEYS[1]..':log', P..'hooks:c:'..ARGV[1])
redis.call('SET', P..'purged:'..ARGV[1], '1', 'EX', 86400)
for i = 6, #ARGV do redis.call('HDEL', P..'j:seq', ARGV[i]) end
emit('', ARGV[4], ARGV[5])
changed('c '..ARGV[1]..' '..ARGV[3])
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
changed('j '..ARGV[1])
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
// back (0 or 1), 11 end as it counts for pruning (ms), 12… what an ended job
// adds to the tally, field and amount
//
// Answers: [ok, cancel, force, container status, container run, waiting jobs…] [lost]
var saveScript = redis.NewScript(library + `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'lost'} end
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'queued', 'function', 'container', 'cancel', 'force')
local s, cid = ARGV[5], h[5]
redis.call('HSET', KEYS[1], 'doc', ARGV[4], 'status', s, 'failing', ARGV[9])
index('js', ARGV[1], h[2], h[1], s, h[3])
changed('j '..ARGV[1])
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
  redis.call('HDEL', P..'j:open', ARGV[1]:match('^(.*):'))
  redis.call('ZREM', P..'j:due', ARGV[1])
  redis.call('ZADD', P..'j:ended', ARGV[11], ARGV[1])
  redis.call('SREM', P..'c:'..cid..':jobs', ARGV[1])
  emit('', ARGV[7], ARGV[8])
  for i = 12, #ARGV, 2 do redis.call('HINCRBY', P..'tally', ARGV[i], ARGV[i+1]) end
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

// forceScript sets the force flag of an open job.
//
// KEYS: 1 job
//
// Answers: [ok] [ended]
var forceScript = redis.NewScript(`
local s = redis.call('HGET', KEYS[1], 'status')
if not s or s == 'succeeded' or s == 'failed' or s == 'canceled' then return {'ended'} end
redis.call('HSET', KEYS[1], 'force', '1')
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
  local h = redis.call('HMGET', P..'j:'..j, 'owner', 'status', 'once')
  if h[1] then index('js', j, h[1], h[2], '', 0) end
  if h[3] then redis.call('HDEL', P..'j:seq', (j:gsub(':%d+$', ''))) end
  redis.call('DEL', P..'j:'..j)
  redis.call('ZREM', KEYS[1], j)
end
return {tostring(#old)}
`)
