-- After a claim: is that life still open? Then the place is on its list with its epoch. KEYS as before a
-- claim. ARGV 1 the life; 2 the place; 3 the epoch.
local open = redis.call('hget', KEYS[1], 'open')
if not open then return {'closed'} end
if open ~= ARGV[1] then return {'over', open} end
local life, epoch = string.match(redis.call('hget', KEYS[2], ARGV[2]) or '0 0', '^(%d+) (%d+)$')
if life ~= open or tonumber(epoch) < tonumber(ARGV[3]) then
  redis.call('hset', KEYS[2], ARGV[2], open .. ' ' .. ARGV[3])
end
return {'ok'}
