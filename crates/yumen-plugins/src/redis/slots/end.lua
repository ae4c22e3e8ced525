-- In front of what ends lives. KEYS 1 the instance.
local function over(instance, life, channel)
  redis.call('hdel', KEYS[1], 'open', 'renewed', 'missed', 'missed_at')
  redis.call('hset', KEYS[1], 'left', life, 'last', life)
  redis.call('publish', channel, cjson.encode({'close', instance, life}))
end
