-- Takes rows out of an outbox, each unless it has a greater version by now.
--
-- KEYS  the outbox
-- ARGV  of each row its name and its version

local outbox = KEYS[1]
for at = 1, #ARGV, 2 do
  local name, version = ARGV[at], tonumber(ARGV[at + 1])
  local newest = redis.call('ZSCORE', outbox, name)
  if newest and tonumber(newest) <= version then
    redis.call('ZREM', outbox, name)
  end
end
