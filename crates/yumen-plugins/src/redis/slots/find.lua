-- What is written, whether or not that life is still open: what, instance, epoch, life.
local was, at = record(), held()
if at == was.who then return {'at', at, text(was.epoch), was.life} end
if at then return {'new', at, '0', '0'} end
if was.who ~= '' then return {'gone', was.who, text(was.epoch), was.life} end
return {'none', '', '0', '0'}
