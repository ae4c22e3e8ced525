-- Brings our record in line with what due wrote, once, and tells it.
-- ARGV 7 the time in µs; 8 how long a record of due's place is kept, ms; 9 "1" if due told that it
-- has just bound the user to this instance.
local epoch, life, recorded, known = record()
local was = held()
if not was then
  -- Bound and gone again already: that is told next. Or bound in another database.
  if recorded == '' and (known or ARGV[9] == '1') then return {'none'} end
  if recorded == '' then recorded, epoch = instance, tonumber(ARGV[7]) end
  redis.call('zrem', KEYS[4], seat(recorded))
  keep(epoch, '0', '', ARGV[8])
  if recorded ~= '' then tell('gone', recorded, epoch) end
  return {'none'}
end
-- Under the name of an instance of ours that is dead, an instance of due's may have started.
local revived = ARGV[9] == '1' and was == instance and life ~= '0' and not alive(was, life)
if was ~= recorded or revived then
  if recorded ~= '' then redis.call('zrem', KEYS[4], seat(recorded)) end
  epoch = math.max(tonumber(ARGV[7]), epoch + 1)
  life = redis.call('hget', KEYS[3], was) or '0'
  if life == '0' then keep(epoch, life, was, ARGV[8])
  else
    keep(epoch, life, was)
    redis.call('zadd', KEYS[4], 0, seat(was))
  end
  tell('adopt', was, epoch)
elseif life ~= '0' and not alive(was, life) then return {'none'} end
return {'at', was, text(epoch)}
