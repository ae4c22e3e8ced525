-- ARGV 8 the life; 9 the time in µs; 10 the least epoch; 11 due's event; 12 "free": only if nobody else
-- has it; 13 the place that is known to be over: epoch, life and instance.
local was = record()
if was.token == token then
  return {'ok', text(was.epoch), text(was.lost_epoch), was.lost_life, was.lost, was.lost}
end
local lost, lost_epoch, lost_life = held() or '', was.epoch, was.life
if lost == '' then lost_epoch, lost_life = 0, '0'
elseif lost ~= was.who then lost_epoch, lost_life = was.epoch + 1, '0' end -- written by due since
local over = table.concat({text(lost_epoch), lost_life, lost}, ' ')
if ARGV[12] == 'free' and lost ~= '' and lost ~= instance and over ~= ARGV[13] then
  return {'held', text(lost_epoch), lost_life, lost}
end
local epoch = later(ARGV[9], ARGV[10], math.max(was.epoch, lost_epoch))
put()
keep(epoch, ARGV[8], instance, nil, lost_epoch, lost_life, lost)
tell('claim', instance, epoch, ARGV[8])
redis.call('publish', dues, ARGV[11])
return {'ok', text(epoch), text(lost_epoch), lost_life, lost, was.who}
