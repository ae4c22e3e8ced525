local epoch, life, recorded = record()
local was = held()
if not was then
  if recorded ~= '' and (life == '0' or alive(recorded, life)) then return {'gone', recorded} end
  return {'none'}
end
if was ~= recorded then return {'new', was} end
if life ~= '0' and not alive(was, life) then return {'none'} end
return {'at', was, text(epoch)}
