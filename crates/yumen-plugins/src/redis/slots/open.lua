-- KEYS 1 the instance. ARGV 1 its name; 2 the time in µs; 3 the least life; 4 our channel; 5 the token of
-- this call: one that comes again gets the same answer.
local open, last, by, left = unpack(redis.call('hmget', KEYS[1], 'open', 'last', 'opener', 'left'))
if open and by == ARGV[5] then return {open, left or ''} end
local life = text(later(ARGV[2], ARGV[3], math.max(tonumber(last or '0'), tonumber(open or '0'))))
if open then
  redis.call('hset', KEYS[1], 'left', open)
  redis.call('publish', ARGV[4], cjson.encode({'close', ARGV[1], open}))
end
redis.call('hset', KEYS[1], 'open', life, 'last', life, 'opener', ARGV[5],
  'renewed', text(now()))
redis.call('hdel', KEYS[1], 'missed', 'missed_at')
redis.call('persist', KEYS[1])
return {life, open or ''}
