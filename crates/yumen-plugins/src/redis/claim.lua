-- ARGV 7 the stated life or ""; 8 the time in µs; 9 due's event; 10 "free": only if nobody else has it.
local open = redis.call('hget', KEYS[3], instance)
if not open then return {'closed'} end
if ARGV[7] ~= '' and ARGV[7] ~= open then return {'over', open} end

local epoch, life, recorded = record()
local was = held()
local previous = {}
if was then
  if was ~= recorded then epoch, life = epoch + 1, '0' end -- written by due since
  if life == '0' or alive(was, life) then previous = {was, text(epoch)} end
end
if ARGV[10] == 'free' and previous[1] and previous[1] ~= instance then
  return {'taken', previous[1], previous[2]}
end
if recorded ~= '' then redis.call('zrem', KEYS[4], seat(recorded)) end

epoch = math.max(tonumber(ARGV[8]), epoch + 1)
put()
keep(epoch, open, instance)
redis.call('zadd', KEYS[4], 0, seat(instance))
tell('claim', instance, epoch)
redis.call('publish', dues, ARGV[9])
return {'ok', text(epoch), previous[1], previous[2]}
