-- Ends a life that is overdue. Answers "none", "open", or "left" and the last life whose places are not
-- all taken away. ARGV 1 the instance; 2 our channel; 3 after how long a renewal is missed, ms; 4 how
-- many looks must miss it. Looks are counted, not time: while this server was away nobody looked, and
-- nobody could renew.
local open, left, renewed, missed, missed_at =
  unpack(redis.call('hmget', KEYS[1], 'open', 'left', 'renewed', 'missed', 'missed_at'))
if open then
  local time = now()
  local silent = time - tonumber(renewed or '0')
  -- Another server's clock: the renewal counts from now.
  if silent < 0 then
    redis.call('hset', KEYS[1], 'renewed', text(time))
  elseif silent >= tonumber(ARGV[3]) then
    local since = time - tonumber(missed_at or '0')
    if since < 0 or since >= 400 then
      missed = tonumber(missed or '0') + 1
      redis.call('hset', KEYS[1], 'missed', missed, 'missed_at', text(time))
      if missed >= tonumber(ARGV[4]) then
        over(ARGV[1], open, ARGV[2])
        return {'left', open, 'overdue'}
      end
    end
  end
end
if left then return {'left', left} end
if open then return {'open'} end
return {'none'}
