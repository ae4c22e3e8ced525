-- Before a claim: is that life open? Then the place is on its list before it is written, so that the end
-- of the life finds it. KEYS 1 the instance; 2 its seats: place to life and epoch. ARGV 1 the stated life
-- or ""; 2 the place.
local open = redis.call('hget', KEYS[1], 'open')
if not open then return {'closed'} end
if ARGV[1] ~= '' and ARGV[1] ~= open then return {'over', open} end
local listed = redis.call('hget', KEYS[2], ARGV[2])
if not listed or string.match(listed, '^%d+') ~= open then
  redis.call('hset', KEYS[2], ARGV[2], open .. ' 0')
end
return {'ok', open}
