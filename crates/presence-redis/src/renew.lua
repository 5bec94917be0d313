-- Prolongs a lease, unless it was declared dead, and answers the time in milliseconds, what was there before, and all leases.
--
-- KEYS  the leases
-- ARGV  who; under what name; for how long, in milliseconds

local leases, who, name, ttl = KEYS[1], ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', leases, who)
if not before or before:sub(1, 5) ~= 'dead ' then
  redis.call('HSET', leases, who, string.format('until %.0f %s', now + ttl, name))
end
return { now, before or '', redis.call('HGETALL', leases) }
