-- Queues the webhook events about one subject, notes what the endpoint knows after them, and acknowledges the row, in one step. Or
-- does nothing of that.
--
-- KEYS  the outbox; what the endpoint was told; the events that wait
-- ARGV  the name of the subject; the version of the row; '!' if the row must not be newer; the revision of what the endpoint
--       knew when the events were computed, 8 bytes, or '' if it knew nothing; what it knows then ('' as before, '-' nothing);
--       how many events may wait; and the events
-- Answers 1 if the events are queued, 0 if another node was faster, 2 if too many events wait.
--
-- The number of an event is the store's time in microseconds, or a bit above the last one of the partition if that is ahead. The
-- revision of what the endpoint was told is the number of the last event.

local outbox, told, events = KEYS[1], KEYS[2], KEYS[3]
local name, version, exact, after, record, max = unpack(ARGV, 1, 6)
local HEAD = 6

local mark = redis.call('ZSCORE', outbox, name)
local stored = redis.call('HGET', told, name) or ''
-- Cut off, it is as good as nothing.
if #stored < 8 then stored = '' end
mark, version = tonumber(mark or -1), tonumber(version)
if mark < 0 or (exact == '!' and mark > version) or stored:sub(1, 8) ~= after then return 0 end

local count = #ARGV - HEAD
if count > 0 or record ~= '' then
  local waiting = redis.call('LLEN', events)
  if count > 0 and waiting > 0 and waiting + count > tonumber(max) then return 2 end
  local time = redis.call('TIME')
  local number = math.max(tonumber(redis.call('HGET', told, 'last') or 0) + 1, time[1] * 1000000 + time[2])
  local new = {}
  for at = 1, count do
    if at > 1 then number = number + 1 end
    new[at] = struct.pack('>I8', number) .. ARGV[HEAD + at]
  end
  if count > 0 then redis.call('RPUSH', events, unpack(new)) end
  if record == '-' then
    redis.call('HDEL', told, name)
  elseif record ~= '' then
    redis.call('HSET', told, name, struct.pack('>I8', number) .. record)
  end
  redis.call('HSET', told, 'last', string.format('%.0f', number))
end
if mark <= version then redis.call('ZREM', outbox, name) end
return 1
