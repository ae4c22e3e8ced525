-- ARGV 7 the epoch; 8 how long the epoch is kept, ms; 9 due's event.
local epoch, life, recorded = record()
if recorded ~= instance or text(epoch) ~= ARGV[7] or held() ~= instance then return 0 end
-- The life is over: the place went with it, and who ended the life removes it.
if life ~= '0' and not alive(instance, life) then return 0 end
clear()
keep(epoch, '0', '', ARGV[8])
redis.call('zrem', KEYS[4], seat(instance))
tell('release', instance, epoch)
redis.call('publish', dues, ARGV[9])
return 1
