-- KEYS 1 the renewal; 2 the last life; 3 the lives that are open; 4 the lives whose places are left.
-- ARGV 1 the instance; 2 its life; 3 "overdue" if only a life that is not renewed may end; 4 how long
-- the last life is remembered, ms; 5 our channel.
if redis.call('hget', KEYS[3], ARGV[1]) ~= ARGV[2] then return 0 end
if ARGV[3] == 'overdue' and redis.call('exists', KEYS[1]) == 1 then return 0 end
redis.call('hdel', KEYS[3], ARGV[1])
redis.call('del', KEYS[1])
redis.call('set', KEYS[2], ARGV[2], 'px', ARGV[4])
redis.call('hset', KEYS[4], ARGV[1], ARGV[2])
redis.call('publish', ARGV[5], cjson.encode({'close', ARGV[1], ARGV[2]}))
return 1
