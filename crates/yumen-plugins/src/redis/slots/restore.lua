-- Writes a claim again that was answered and then forgotten, unless there is a later one, or due wrote.
-- ARGV 8 its epoch; 9 its life; 10 due's event.
local was = record()
if was.epoch >= tonumber(ARGV[8]) or (held() or '') ~= was.who then return 0 end
put()
keep(tonumber(ARGV[8]), ARGV[9], instance)
tell('claim', instance, tonumber(ARGV[8]), ARGV[9])
redis.call('publish', dues, ARGV[10])
return 1
