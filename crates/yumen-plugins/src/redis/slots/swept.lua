-- All places of that life are gone. KEYS 1 the instance. ARGV 1 the life; 2 how long the last life is
-- remembered, ms.
if redis.call('hget', KEYS[1], 'left') == ARGV[1] then redis.call('hdel', KEYS[1], 'left') end
if not redis.call('hget', KEYS[1], 'open') then redis.call('pexpire', KEYS[1], ARGV[2]) end
return 0
