-- ARGV 8 the epoch; 9 how long the epoch is kept, ms; 10 due's event.
local was = record()
if was.token == token then return 1 end
if was.who ~= instance or text(was.epoch) ~= ARGV[8] or held() ~= instance then return 0 end
clear()
keep(was.epoch, '0', '', ARGV[9])
tell('release', instance, was.epoch, was.life)
redis.call('publish', dues, ARGV[10])
return 1
