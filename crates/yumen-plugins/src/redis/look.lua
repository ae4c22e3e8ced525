-- Whose turn it is sees all lives that are open and all that left places; the others see nothing.
-- KEYS 1 the turn; 2 the lives that are open; 3 the lives whose places are left. ARGV 1 how long, ms.
if not redis.call('set', KEYS[1], '1', 'nx', 'px', ARGV[1]) then return {} end
return {redis.call('hgetall', KEYS[2]), redis.call('hgetall', KEYS[3])}
