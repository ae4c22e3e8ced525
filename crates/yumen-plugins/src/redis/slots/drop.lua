-- Takes a place away that a life which is over has left. ARGV 8 that life; 9 how long the epoch is
-- kept, ms; 10 due's event.
local was = record()
if was.who == instance and was.life ~= '0' and tonumber(was.life) <= tonumber(ARGV[8]) then
  keep(was.epoch, '0', '', ARGV[9])
  if held() == instance then
    clear()
    -- Ours know by the end of the life; due's processes do not.
    tell('drop', instance, was.epoch, was.life)
    redis.call('publish', dues, ARGV[10])
  end
end
return 0
