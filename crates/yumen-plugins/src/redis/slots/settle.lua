-- Brings our record in line with what due wrote, once, and tells it. ARGV 8 the time in µs; 9 the least
-- epoch; 10 how long a record of due's place is kept, ms; 11 "1" if due told that it has just bound the
-- user to this instance; 12 the life of this instance that is open, "0" if none.
-- Answers what, instance, epoch, life, and the instance that had it before, with its epoch.
local told, open = ARGV[11] == '1', ARGV[12]
local was, at = record(), held()
if not at then
  -- Bound and gone again already: that is told next.
  if was.who == '' and (was.known or told) then return {'none', '', '0', '0', '', '0'} end
  local who, epoch = was.who, was.epoch
  if who == '' then who, epoch = instance, later(ARGV[8], ARGV[9], 0) end
  keep(epoch, '0', '', ARGV[10])
  if who ~= '' then tell('gone', who, epoch, '0') end
  return {'none', '', '0', '0', was.who, text(was.epoch)}
end
-- The life that was looked up is another one's.
if at ~= instance then return {'again', at, '0', '0', '', '0'} end
-- Under the name of an instance of ours that is dead, an instance of due's may have started.
local over = was.life ~= '0' and was.life ~= open
if at ~= was.who or (told and over) then
  local epoch = later(ARGV[8], ARGV[9], was.epoch)
  if open == '0' then keep(epoch, open, at, ARGV[10]) else keep(epoch, open, at) end
  tell('adopt', at, epoch, open)
  return {'at', at, text(epoch), open, was.who, text(was.epoch)}
end
if over then return {'none', '', '0', '0', '', '0'} end
return {'at', at, text(was.epoch), was.life, '', '0'}
