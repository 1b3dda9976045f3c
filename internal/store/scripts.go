package store

// library is put before every script: what more than one of them does.
const library = `
local P = '{berth}:'
` + posting + `
-- index moves a member of kind ('cs' or 'js') to another status; '' is none.
local function index(kind, id, owner, from, to, score)
  if from == to then return end
  if kind == 'cs' then
    local place = redis.call('HGET', P..'c:'..id, 'place')
    if place and place ~= '' then
      if to ~= '' then
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
-- inuse names another container that keeps a place ("bucket/prefix/") from being
-- used, and says 'nested' or 'live' of it; nil is that none does. Above and below
-- any container counts, for its workspace is in the bucket also when it is down; of
-- those with the same place, which go on with one workspace, the live one.
local function inuse(place, id)
  local function taken(from, to, may)
    for _, m in ipairs(redis.call('ZRANGEBYLEX', P..'places', '['..from, '('..to)) do
      local its, other = m:match('^(.*)\1(.*)$')
      if other ~= id and may(its, other) then return other end
    end
  end
  local other = taken(place..'\1', place..'\2', function(_, o)
    local s = redis.call('HGET', P..'c:'..o, 'status')
    return s == 'starting' or s == 'running' or s == 'stopping'
  end)
  if other then return other, 'live' end
  local function any() return true end
  other = taken(place..'\2', place..'\255', any)
  if other then return other, 'nested' end
  for at in place:gmatch('()/') do
    local above = place:sub(1, at)
    other = above ~= place and taken(above..'\1', above..'\2', any)
    if other then return other, 'nested' end
  end
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
