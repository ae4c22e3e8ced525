-- Takes places off the list of an instance. KEYS 1 its seats. ARGV 1 "life": those of this life and all
-- before, or "epoch": those of this claim and all before; 2 that number; 3 and on: the places.
for i = 3, #ARGV do
  local life, epoch = string.match(redis.call('hget', KEYS[1], ARGV[i]) or '', '^(%d+) (%d+)$')
  local number = ARGV[1] == 'life' and life or epoch
  if number and tonumber(number) <= tonumber(ARGV[2]) then redis.call('hdel', KEYS[1], ARGV[i]) end
end
return 0
