-- Reads the rows of an outbox whose change is long enough ago, the oldest first: names and versions by turns.
--
-- KEYS  the outbox
-- ARGV  how long ago, in microseconds; how many at most

local age, newest = tonumber(ARGV[1]), '+inf'
if age > 0 then
  local time = redis.call('TIME')
  newest = string.format('%.0f', time[1] * 1000000 + time[2] - age)
end
return redis.call('ZRANGE', KEYS[1], '-inf', newest, 'BYSCORE', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
