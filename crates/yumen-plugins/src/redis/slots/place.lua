-- Every script on one user's place on Redis Cluster has this in front, and these keys and arguments
-- first: KEYS 1 the place, as due writes it; 2 our record beside it. ARGV 1 "gate" or "node"; 2 the
-- nodes' group; 3 the user; 4 the instance; 5 our channel; 6 due's channel; 7 the token of this call:
-- one that comes again, because its answer was lost, gets the same answer.
local kind, group, user, instance = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ours, dues, token = ARGV[5], ARGV[6], ARGV[7]

-- The instance that due's key names; nil if none.
local function held()
  local value
  if kind == 'gate' then value = redis.call('get', KEYS[1])
  else value = redis.call('hget', KEYS[1], group) end
  if value and value ~= '' then return value end
end

-- Our record: epoch, life, the token of the call that wrote it, epoch and life of the place that lost,
-- the instance, and the instance that lost. Life "0" is a place of an instance that has no lives: due's.
-- No instance: the place was taken back, and the epoch is kept a while.
local function record()
  local value = redis.call('get', KEYS[2])
  local none = {epoch = 0, life = '0', token = '', lost_epoch = 0, lost_life = '0', who = '', lost = ''}
  if not value then return none end
  local epoch, life, by, lost_epoch, lost_life, who, lost =
    string.match(value, '^(%d+) (%d+) (%S+) (%d+) (%d+) (%Z*)%z(.*)$')
  if not epoch then return none end
  return {epoch = tonumber(epoch), life = life, token = by, lost_epoch = tonumber(lost_epoch),
    lost_life = lost_life, who = who, lost = lost, known = true}
end

local function keep(epoch, life, who, kept_ms, lost_epoch, lost_life, lost)
  local words = {text(epoch), life, token, text(lost_epoch or 0), lost_life or '0', who}
  local value = table.concat(words, ' ') .. '\0' .. (lost or '')
  if kept_ms then redis.call('set', KEYS[2], value, 'px', kept_ms)
  else redis.call('set', KEYS[2], value) end
end

-- Exactly what due writes: never with an expiry.
local function put()
  if kind == 'gate' then redis.call('set', KEYS[1], instance, 'keepttl')
  else redis.call('hset', KEYS[1], group, instance) end
end

local function clear()
  if kind == 'gate' then redis.call('del', KEYS[1])
  else redis.call('hdel', KEYS[1], group) end
end

-- Tells our own; where due's event follows, they know it for the copy of this. The life is told too: its
-- end is told by another server and may come first.
local function tell(what, who, epoch, life)
  redis.call('publish', ours, cjson.encode({what, user, kind, group, who, text(epoch), life}))
end
