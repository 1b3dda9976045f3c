package store

import "github.com/redis/go-redis/v9"

// takeScript begins an attempt of a job: it takes the lease of its target and
// marks the job running. A job whose owner has as many running as it may goes
// to the head of those that wait, unless all that is left is to end it.
//
// KEYS: 1 job, 2 lease
//
// ARGV: 1 job ID, 2 token, 3 lease TTL (ms), 4 number of the delivery, 5 the
// most of a lane that run at once (0 = any number)
//
// Answers: [ok, doc, args, attempt, cancel, force, failing, run, delivery, purge]
// [ended] [held] [gone] [waits]
var takeScript = redis.NewScript(library + `
local h = redis.call('HMGET', KEYS[1], 'doc', 'args', 'status', 'owner', 'queued', 'cancel', 'force', 'failing', 'run', 'delivery', 'lane', 'purge')
if not h[1] then return {'gone'} end
local s, lane = h[3], h[11] or ''
if s == 'succeeded' or s == 'failed' or s == 'canceled' then return {'ended'} end
if tonumber(ARGV[4]) < tonumber(h[10]) then return {'ended'} end
local most = tonumber(ARGV[5])
if lane ~= '' and most > 0 and h[6] ~= '1' and h[8] ~= '1' and redis.call('SISMEMBER', P..'run:'..lane, ARGV[1]) == 0
  and redis.call('SCARD', P..'run:'..lane) >= most and redis.call('EXISTS', KEYS[2]) == 0 then
  redis.call('LREM', P..'wait:'..lane, 0, ARGV[1])
  redis.call('LPUSH', P..'wait:'..lane, ARGV[1])
  redis.call('ZREM', P..'j:due', ARGV[1])
  return {'waits'}
end
if not redis.call('SET', KEYS[2], ARGV[2], 'NX', 'PX', ARGV[3]) then return {'held'} end
if lane ~= '' then redis.call('SADD', P..'run:'..lane, ARGV[1]) end
local attempt = redis.call('HINCRBY', KEYS[1], 'attempt', 1)
redis.call('ZADD', P..'j:due', 'NX', 0, ARGV[1]) -- one that waited for its turn comes again if its worker is killed
redis.call('HSET', KEYS[1], 'status', 'running')
index('js', ARGV[1], h[4], s, 'running', h[5])
changed('j '..ARGV[1])
return {'ok', h[1], h[2], tostring(attempt), h[6] or '0', h[7] or '0', h[8] or '', h[9] or '0', h[10] or '1', h[12] or '0'}
`)

// saveScript writes a job on behalf of the holder of its lease. When the
// status is not running, or the job waits for others, the attempt is over: the
// lease is released, and the other open jobs of the container, which may have
// found it held, are named with those of the owner whose turn it is.
//
// KEYS: 1 job, 2 lease
//
// ARGV: 1 job ID, 2 token, 3 lease TTL (ms), 4 doc, 5 status, 6 due or end
// (ms), 7 event, 8 events kept, 9 failing (” or 1), 10 take this attempt
// back (0, 1, or 2: it waits for other jobs), 11 end as it counts for pruning
// (ms), 12 now (ms), 13 and 14 the most of a lane that are delivered and that
// run at once, 15 whether the attempt knew that a purge is wanted (0 or 1), 16… what
// an ended job adds to the tally, field and amount
//
// Answers: [ok, cancel, force, container status, container run, waiting jobs…]
// [more]: it has not succeeded, for a purge was asked for since the attempt began [lost]
var saveScript = redis.NewScript(library + letIn + `
if redis.call('GET', KEYS[2]) ~= ARGV[2] then return {'lost'} end
local h = redis.call('HMGET', KEYS[1], 'status', 'owner', 'queued', 'function', 'container', 'cancel', 'force', 'lane', 'purge')
local s, cid, lane = ARGV[5], h[5], h[8] or ''
if s == 'succeeded' and h[9] == '1' and ARGV[15] ~= '1' then return {'more'} end
redis.call('HSET', KEYS[1], 'doc', ARGV[4], 'status', s, 'failing', ARGV[9])
index('js', ARGV[1], h[2], h[1], s, h[3])
changed('j '..ARGV[1])
local c = redis.call('HMGET', P..'c:'..cid, 'status', 'doc')
local run = c[2] and c[2]:match('"run":(%d+)') or '0'
local out = {'ok', h[6] or '0', h[7] or '0', c[1] or '', run}
if s == 'running' and ARGV[10] ~= '2' then
  redis.call('PEXPIRE', KEYS[2], ARGV[3])
  return out
end
if ARGV[10] ~= '0' then redis.call('HINCRBY', KEYS[1], 'attempt', -1) end
redis.call('DEL', KEYS[2])
if s == 'queued' or s == 'retrying' or s == 'running' then
  redis.call('ZADD', P..'j:due', ARGV[6], ARGV[1])
else
  redis.call('HDEL', P..'j:open', ARGV[1]:match('^(.*):'))
  redis.call('ZREM', P..'j:due', ARGV[1])
  redis.call('ZADD', P..'j:ended', ARGV[11], ARGV[1])
  redis.call('SREM', P..'c:'..cid..':jobs', ARGV[1])
  emit('', ARGV[7], ARGV[8])
  for i = 16, #ARGV, 2 do redis.call('HINCRBY', P..'tally', ARGV[i], ARGV[i+1]) end
end
if cid ~= '' then
  for _, j in ipairs(redis.call('SMEMBERS', P..'c:'..cid..':jobs')) do
    if j ~= ARGV[1] then out[#out+1] = j end
  end
end
if lane ~= '' then
  redis.call('SREM', P..'run:'..lane, ARGV[1])
  letin(out, lane, ARGV[12], tonumber(ARGV[13]), tonumber(ARGV[14]), 0)
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
