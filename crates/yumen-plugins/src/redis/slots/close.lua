-- ARGV 1 the instance; 2 its life; 3 our channel; 4 the token of this call: one that comes again gets the
-- same answer.
local open, by = unpack(redis.call('hmget', KEYS[1], 'open', 'closer'))
if by == ARGV[4] then return 1 end
if open ~= ARGV[2] then return 0 end
over(ARGV[1], open, ARGV[3])
redis.call('hset', KEYS[1], 'closer', ARGV[4])
return 1
