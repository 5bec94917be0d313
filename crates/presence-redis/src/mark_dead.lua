-- Declares a node dead, unless its lease runs, and answers whether it is dead: 1 or 0.
--
-- KEYS  the leases
-- ARGV  who

local leases, who = KEYS[1], ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local before = redis.call('HGET', leases, who)
if before and before:sub(1, 5) == 'dead ' then return 1 end
local ends, name = (before or ''):match('^until (%d+) (.*)$')
if ends and tonumber(ends) > now then return 0 end
redis.call('HSET', leases, who, string.format('dead %.0f %s', now, name or ''))
return 1
