package store

import "github.com/redis/go-redis/v9"

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
// owner (0 = any), 20 idempotency hashes, by blanks, of which the first is written, 21 answer, 22 idempotency TTL (s),
// 23 force (0 or 1), 24 run, 25 the pair's job was seen open (0 or 1),
// 26 place of the workspace, "bucket/prefix/" (” = none), 27 the only nodes that
// will do, by blanks (” = any), 28 lane of the job (” = none), 29 the most of a lane that
// are delivered at once, 30 webhook to make with it (” = none), 31 its ID, 32 the
// types it hears of, by commas (” = all), 33 instant of the function's schedule
// (ms; ” = none), 34 other resources to reserve, JSON by kind (” = none), 35 what the
// nodes have of them, JSON by node and kind, 36 whether the job is open and goes on
// with this (0 or 1), 37 whether the pair is this job's alone, and its number goes
// with it (0 or 1), 38 digest of what is asked for (” = not compared), 39 purge (0 or
// 1), 40 whether an open job must be of the container's present run (0 or 1)
//
// Answers: [ok, node, waits for its turn (0 or 1)] [open, job, force is new] [other, job] [past, job] [answered, answer] [reused] [stale]
// [skip] [quota, live] [high, "resource text" of nodes with room that are above a mark…] [full, resource, best cpu, best memory] [nodata] [inuse, container, live or nested]
// [lost] [wanted]
var admitScript = redis.NewScript(library + `
local fn, cid, seq, now = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[6])
if KEYS[3] ~= '' then
  local was = redis.call('GET', KEYS[3])
  if was then
    local at = was:find('\n', 1, true)
    if not (' '..ARGV[20]..' '):find(' '..was:sub(1, at-1)..' ', 1, true) then return {'reused'} end
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
  local forced, h = '0', redis.call('HMGET', P..'j:'..open, 'force', 'wish', 'run')
  if ARGV[38] ~= '' and h[2] and h[2] ~= ARGV[38] then return {'other', open} end
  local run = ARGV[40] == '1' and (redis.call('HGET', KEYS[1], 'doc') or ''):match('"run":(%d+)')
  if run and h[3] and h[3] ~= run then return {'past', open} end
  if ARGV[23] == '1' and h[1] ~= '1' then
    redis.call('HSET', P..'j:'..open, 'force', '1')
    forced = '1'
  end
  if ARGV[39] == '1' then redis.call('HSET', P..'j:'..open, 'purge', '1') end
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
  if ARGV[26] ~= '' then
    local other, how = inuse(ARGV[26], cid)
    if other then return {'inuse', other, how} end
  end
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
  if ARGV[38] ~= '' then redis.call('HSET', KEYS[2], 'wish', ARGV[38]) end
  if ARGV[39] == '1' then redis.call('HSET', KEYS[2], 'purge', '1') end
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
if KEYS[3] ~= '' then redis.call('SET', KEYS[3], (ARGV[20]:match('^%S*'))..'\n'..ARGV[21], 'EX', ARGV[22]) end
return {'ok', node, waits}
`)

// inUseScript names a container that keeps a place from being used; see inuse.
//
// ARGV: 1 place, "bucket/prefix/"
//
// Answers: [container, live or nested] [”, ”]
var inUseScript = redis.NewScript(library + `
local other, how = inuse(ARGV[1], '')
return {other or '', how or ''}
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
redis.call('SET', P..'purged:'..ARGV[1], '1', 'EX', 2592000)
for i = 6, #ARGV do redis.call('HDEL', P..'j:seq', ARGV[i]) end
emit('', ARGV[4], ARGV[5])
changed('c '..ARGV[1]..' '..ARGV[3])
return {'ok'}
`)
