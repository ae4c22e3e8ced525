-- In front of every script on Redis Cluster.

-- Whole numbers up to 2^53 are exact in Lua; its own text of them is not.
local function text(number) return string.format('%.0f', number) end

-- A number greater than `than`, than all that the caller has seen (`floor`), and than every number that
-- was given in this slot before it came to this server, also if that was forgotten: each server that
-- takes slots over has a greater config epoch than all that had them, and is an hour ahead of them.
local function later(clock, floor, than)
  local owner = string.match(redis.call('cluster', 'info'), 'cluster_my_epoch:(%d+)')
  return math.max(tonumber(clock) + tonumber(owner) * 3600000000, tonumber(floor), than + 1)
end

-- The server's time in ms.
local function now()
  local time = redis.call('time')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
