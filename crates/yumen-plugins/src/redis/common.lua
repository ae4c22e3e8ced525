-- Every script on one user's place has this in front, and these keys and arguments first:
-- KEYS 1 the place, as due writes it; 2 our record beside it; 3 the lives that are open; 4 the seats
-- that are taken, by instance. ARGV 1 "gate" or "node"; 2 the nodes' group; 3 the user; 4 the instance;
-- 5 our channel; 6 due's channel.
local kind, group, user, instance = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ours, dues = ARGV[5], ARGV[6]

-- Whole numbers up to 2^53 are exact in Lua; its own text of them is not.
local function text(number) return string.format('%.0f', number) end

-- The instance that due's key names; nil if none.
local function held()
  local value
  if kind == 'gate' then value = redis.call('get', KEYS[1])
  else value = redis.call('hget', KEYS[1], group) end
  if value and value ~= '' then return value end
end

-- Our record: epoch, life and instance, and whether there is one. Life "0" is a place of an instance
-- that has no lives: due's. No instance: the place was taken back, and the epoch is kept a while.
local function record()
  local value = redis.call('get', KEYS[2])
  if not value then return 0, '0', '', false end
  local epoch, life, who = string.match(value, '^(%d+) (%d+) (.*)$')
  return tonumber(epoch) or 0, life or '0', who or '', true
end

local function keep(epoch, life, who, kept_ms)
  local value = text(epoch) .. ' ' .. life .. ' ' .. who
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

local function seat(who) return who .. '\0' .. kind .. '\0' .. user .. '\0' .. group end

local function alive(who, life) return redis.call('hget', KEYS[3], who) == life end

-- Tells our own; where due's event follows at once, they take the pair for one.
local function tell(what, who, epoch)
  redis.call('publish', ours, cjson.encode({what, user, kind, group, who, text(epoch)}))
end
