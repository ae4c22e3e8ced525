-- KEYS 1 the instance. ARGV 1 its life. A renewal that comes late, but before anybody gave the life up,
-- is taken.
local open = redis.call('hget', KEYS[1], 'open')
if not open then return {'closed'} end
if open ~= ARGV[1] then return {'over', open} end
redis.call('hset', KEYS[1], 'renewed', text(now()))
redis.call('hdel', KEYS[1], 'missed', 'missed_at')
return {'ok'}
