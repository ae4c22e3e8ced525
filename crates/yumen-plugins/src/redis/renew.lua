-- KEYS 1 the renewal; 2 the lives that are open. ARGV 1 the instance; 2 its life; 3 how long a renewal
-- holds, ms. A renewal that comes late, but before anybody gave the life up, is taken.
local open = redis.call('hget', KEYS[2], ARGV[1])
if not open then return {'closed'} end
if open ~= ARGV[2] then return {'over', open} end
redis.call('set', KEYS[1], open, 'px', ARGV[3])
return {'ok'}
