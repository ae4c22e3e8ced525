-- All places of that life are gone. KEYS 1 the lives whose places are left. ARGV 1 instance; 2 life.
if redis.call('hget', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('hdel', KEYS[1], ARGV[1]) end
return 0
