-- Takes a place away that a life which is over has left. ARGV 7 that life; 8 how long the epoch is
-- kept, ms; 9 due's event.
local epoch, life, recorded = record()
if recorded ~= instance or life == '0' then
  redis.call('zrem', KEYS[4], seat(instance))
elseif tonumber(life) <= tonumber(ARGV[7]) then
  redis.call('zrem', KEYS[4], seat(instance))
  keep(epoch, '0', '', ARGV[8])
  if held() == instance then
    clear()
    -- Ours know by the end of the life; due's processes do not.
    tell('drop', instance, epoch)
    redis.call('publish', dues, ARGV[9])
  end
end
return 0
