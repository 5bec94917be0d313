-- Takes away the first of the events that wait, up to a number.
--
-- KEYS  the events that wait
-- ARGV  that number

local events, last = KEYS[1], tonumber(ARGV[1])
while true do
  local head = redis.call('LINDEX', events, 0)
  if not head or #head < 8 or struct.unpack('>I8', head) > last then return end
  redis.call('LPOP', events)
end
