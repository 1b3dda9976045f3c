package store

import "github.com/redis/go-redis/v9"

// posting is the part of the library that is about webhooks: a state change
// and the deliveries that tell of it are one write, so none is lost with the
// process that made it.
const posting = `
-- place puts a webhook where its next delivery may begin, in its lane.
local function place(hid)
  local hook = P..'hook:'..hid
  local h = redis.call('HMGET', hook, 'lane', 'hold', 'claim', 'off')
  local lane, other = P..'hooks:due', P..'hooks:slow'
  if h[1] == 'slow' then lane, other = other, lane end
  redis.call('ZREM', other, hid)
  local first = redis.call('ZRANGE', hook..':q', 0, 0, 'WITHSCORES')
  if not first[2] or (h[4] and h[4] ~= '') then
    redis.call('ZREM', lane, hid)
    return
  end
  local at = math.max(tonumber(first[2]), tonumber(h[2] or '0'), tonumber(h[3] or '0'))
  redis.call('ZADD', lane, string.format('%.0f', at), hid)
end
-- later says whether stream ID a comes after b.
local function later(a, b)
  local am, an = a:match('^(%d+)-(%d+)$')
  local bm, bn = b:match('^(%d+)-(%d+)$')
  am, an, bm, bn = tonumber(am), tonumber(an), tonumber(bm), tonumber(bn)
  return am > bm or (am == bm and an > bn)
end
-- trim forgets the oldest deliveries of a webhook that are done, beyond 1,000.
local function trim(hook)
  local over = redis.call('ZCARD', hook..':log') - 1000
  if over <= 0 then return end
  for _, old in ipairs(redis.call('ZRANGE', hook..':log', 0, math.min(over, 10) - 1)) do
    if not redis.call('ZSCORE', hook..':q', old) then
      redis.call('ZREM', hook..':log', old)
      redis.call('DEL', hook..':d:'..old)
    end
  end
end
-- post queues an event for the webhooks that hear of it. A job is its
-- container's owner's business, whoever asked for it.
local function post(eid, e, body)
  local cid, owner, at = e.containerId or '', e.owner or '', eid:match('^%d+')
  if cid ~= '' and e.type:sub(1, 4) == 'job.' then
    local doc = redis.call('HGET', P..'c:'..cid, 'doc')
    if doc then owner = cjson.decode(doc).owner end
  end
  for _, who in ipairs({'hooks:all', 'hooks:o:'..owner, 'hooks:c:'..cid}) do
    for _, hid in ipairs(redis.call('SMEMBERS', P..who)) do
      local hook = P..'hook:'..hid
      local h = redis.call('HMGET', hook, 'types', 'off')
      if h[1] and (h[2] or '') == '' and (h[1] == '' or (','..h[1]..','):find(','..e.type..',', 1, true)) then
        if redis.call('ZCARD', hook..':q') >= 5000 then
          redis.call('HINCRBY', hook, 'dropped', 1)
        else
          redis.call('HSET', hook..':d:'..eid, 'body', body, 'type', e.type, 'at', at, 'status', 'waiting')
          redis.call('ZADD', hook..':q', at, eid)
          redis.call('ZADD', hook..':log', at, eid)
          trim(hook)
          place(hid)
        end
      end
    end
  end
end
-- addhook makes a webhook that hears of what a set says. Until it has
-- answered once it is in the lane of those that may not.
local function addhook(hid, doc, types, who)
  redis.call('HSET', P..'hook:'..hid, 'doc', doc, 'types', types, 'lane', 'slow')
  redis.call('SADD', P..'hooks', hid)
  redis.call('SADD', P..who, hid)
end
-- drophook forgets a webhook and all its deliveries.
local function drophook(hid)
  local hook = P..'hook:'..hid
  local doc = redis.call('HGET', hook, 'doc')
  for _, eid in ipairs(redis.call('ZRANGE', hook..':log', 0, -1)) do redis.call('DEL', hook..':d:'..eid) end
  redis.call('DEL', hook, hook..':q', hook..':log')
  redis.call('ZREM', P..'hooks:due', hid)
  redis.call('ZREM', P..'hooks:slow', hid)
  redis.call('SREM', P..'hooks', hid)
  redis.call('SREM', P..'hooks:all', hid)
  if not doc then return end
  local d = cjson.decode(doc)
  redis.call('SREM', P..'hooks:o:'..d.owner, hid)
  redis.call('SREM', P..'hooks:n:'..d.owner, hid)
  redis.call('SREM', P..'hooks:c:'..(d.container or ''), hid)
end
`

// addHookScript makes a standing webhook, within its owner's limit.
//
// ARGV: 1 ID, 2 doc, 3 types it hears of, by commas (” = all), 4 owner,
// 5 hears of everything (0 or 1), 6 most of the owner
//
// Answers: [ok] [limit, how many there are]
var addHookScript = redis.NewScript(library + `
local mine = P..'hooks:n:'..ARGV[4]
local n = redis.call('SCARD', mine)
if n >= tonumber(ARGV[6]) then return {'limit', tostring(n)} end
local who = 'hooks:o:'..ARGV[4]
if ARGV[5] == '1' then who = 'hooks:all' end
addhook(ARGV[1], ARGV[2], ARGV[3], who)
redis.call('SADD', mine, ARGV[1])
return {'ok'}
`)

// dropHookScript forgets a webhook.
//
// ARGV: 1 ID
//
// Answers: [ok]
var dropHookScript = redis.NewScript(library + `
drophook(ARGV[1])
return {'ok'}
`)

// rotateHookScript replaces a webhook's record if nobody else did since it
// was read.
//
// KEYS: 1 webhook
//
// ARGV: 1 doc as it was, 2 doc
//
// Answers: [ok] [stale] [gone]
var rotateHookScript = redis.NewScript(`
local was = redis.call('HGET', KEYS[1], 'doc')
if not was then return {'gone'} end
if was ~= ARGV[1] then return {'stale'} end
redis.call('HSET', KEYS[1], 'doc', ARGV[2])
return {'ok'}
`)

// claimHookScript takes the next delivery of a lane: of the webhook that has
// waited longest the earliest event that is due. Nobody else gets that
// webhook until it is settled or the claim ends.
//
// KEYS: 1 lane
//
// ARGV: 1 now (ms), 2 end of the claim (ms), 3 token
//
// Answers: [ok, webhook ID, its doc, event ID, type, body, at (ms), doc of the delivery,
// failures in a row, failing since (ms), when it was last asked for (ms)] [none]
var claimHookScript = redis.NewScript(library + `
for _ = 1, 100 do
  local hid = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, 1)[1]
  if not hid then return {'none'} end
  local hook = P..'hook:'..hid
  local doc = redis.call('HGET', hook, 'doc')
  local first
  for _, eid in ipairs(redis.call('ZRANGEBYSCORE', hook..':q', '-inf', ARGV[1], 'LIMIT', 0, 100)) do
    if redis.call('EXISTS', hook..':d:'..eid) == 0 then
      redis.call('ZREM', hook..':q', eid)
    elseif not first or later(first, eid) then
      first = eid
    end
  end
  if doc and first then
    redis.call('HSET', hook, 'claim', ARGV[2], 'token', ARGV[3])
    place(hid)
    local d = redis.call('HMGET', hook..':d:'..first, 'type', 'body', 'at', 'doc', 'again')
    local h = redis.call('HMGET', hook, 'failures', 'since')
    return {'ok', hid, doc, first, d[1], d[2], d[3], d[4] or '', h[1] or '0', h[2] or '0', d[5] or d[3]}
  end
  place(hid)
  if not doc then redis.call('ZREM', KEYS[1], hid) end
end
return {'none'}
`)

// settleHookScript writes what became of an attempt and gives the webhook
// free, if the claim is still the caller's.
//
// ARGV: 1 webhook ID, 2 event ID, 3 token, 4 now (ms), 5 delivery's doc,
// 6 its status, 7 when it is due again (ms), 8 when the webhook may be called again
// (ms), 9 lane (due or slow), 10 delivered (0 or 1), 11 why the webhook is
// disabled (” = it is not), 12 event that tells of it, 13 whose history that joins (” =
// none), 14 events kept
//
// Answers: [ok] [lost]
var settleHookScript = redis.NewScript(library + `
local hook = P..'hook:'..ARGV[1]
if redis.call('HGET', hook, 'token') ~= ARGV[3] then return {'lost'} end
local d = hook..':d:'..ARGV[2]
redis.call('HSET', d, 'doc', ARGV[5], 'status', ARGV[6])
if ARGV[6] == 'waiting' then
  redis.call('ZADD', hook..':q', ARGV[7], ARGV[2])
else
  redis.call('ZREM', hook..':q', ARGV[2])
end
local failures = tonumber(redis.call('HGET', hook, 'failures') or '0')
redis.call('HSET', hook, 'token', '', 'claim', '0', 'hold', ARGV[8], 'lane', ARGV[9])
if ARGV[10] == '1' then
  redis.call('HSET', hook, 'last', ARGV[4], 'failures', '0', 'since', '0')
  if failures >= 3 then -- it was away and is back: what has waited need not wait on
    for _, eid in ipairs(redis.call('ZRANGE', hook..':q', 0, -1)) do redis.call('ZADD', hook..':q', ARGV[4], eid) end
  end
else
  if failures == 0 then redis.call('HSET', hook, 'since', ARGV[4]) end
  redis.call('HSET', hook, 'failures', tostring(failures + 1))
end
if ARGV[11] ~= '' then
  redis.call('HSET', hook, 'off', ARGV[11], 'offat', ARGV[4])
  for _, eid in ipairs(redis.call('ZRANGE', hook..':q', 0, -1)) do redis.call('HSET', hook..':d:'..eid, 'status', 'failed') end
  redis.call('DEL', hook..':q')
  local cid = ARGV[13]
  if redis.call('EXISTS', P..'c:'..cid) == 0 then cid = '' end
  emit(cid, ARGV[12], ARGV[14])
end
place(ARGV[1])
return {'ok'}
`)

// redeliverHookScript makes a delivery due now, also one that is done.
//
// ARGV: 1 webhook ID, 2 event ID, 3 now (ms)
//
// Answers: [ok] [gone] [off, why]
var redeliverHookScript = redis.NewScript(library + `
local hook = P..'hook:'..ARGV[1]
if redis.call('EXISTS', hook..':d:'..ARGV[2]) == 0 then return {'gone'} end
local off = redis.call('HGET', hook, 'off')
if off and off ~= '' then return {'off', off} end
redis.call('HSET', hook..':d:'..ARGV[2], 'status', 'waiting', 'again', ARGV[3])
redis.call('HSET', hook, 'hold', '0')
redis.call('ZADD', hook..':q', ARGV[3], ARGV[2])
place(ARGV[1])
return {'ok'}
`)

// pruneHookScript forgets deliveries of a webhook that are done and older than they
// are kept, at most 500 a call, and the webhook of a container that is gone when
// nothing of it waits.
//
// ARGV: 1 webhook ID, 2 older than (ms), 3 the container it came with (” = none)
//
// Answers: [count] [gone]
var pruneHookScript = redis.NewScript(library + `
local hook = P..'hook:'..ARGV[1]
local n = 0
if ARGV[3] ~= '' and redis.call('SISMEMBER', P..'hooks:c:'..ARGV[3], ARGV[1]) == 0 and redis.call('ZCARD', hook..':q') == 0 then
  drophook(ARGV[1])
  return {'gone'}
end
for _, eid in ipairs(redis.call('ZRANGEBYSCORE', hook..':log', '-inf', '('..ARGV[2], 'LIMIT', 0, 500)) do
  if not redis.call('ZSCORE', hook..':q', eid) then
    redis.call('ZREM', hook..':log', eid)
    redis.call('DEL', hook..':d:'..eid)
    n = n + 1
  end
end
return {tostring(n)}
`)
