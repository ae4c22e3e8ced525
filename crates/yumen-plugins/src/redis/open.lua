-- KEYS 1 the renewal; 2 the last life; 3 the lives that are open; 4 the lives whose places are left.
-- ARGV 1 the instance; 2 the time in µs; 3 how long a renewal holds, ms; 4 how long the last life is
-- remembered, ms; 5 our channel.
local earlier = redis.call('hget', KEYS[3], ARGV[1])
local last = tonumber(redis.call('get', KEYS[2]) or '0')
local life = math.max(tonumber(ARGV[2]), last + 1, tonumber(earlier or '0') + 1)
life = string.format('%.0f', life)
if earlier then
  redis.call('hset', KEYS[4], ARGV[1], earlier)
  redis.call('publish', ARGV[5], cjson.encode({'close', ARGV[1], earlier}))
end
redis.call('set', KEYS[1], life, 'px', ARGV[3])
redis.call('set', KEYS[2], life, 'px', ARGV[4])
redis.call('hset', KEYS[3], ARGV[1], life)
return {life, earlier or ''}
