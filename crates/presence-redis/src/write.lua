-- Does writes of one shard in one step, tells them, and notes them. It knows no rule but which stamp supersedes which, and
-- nothing of what entries say.
--
-- KEYS  what has changed in the shard; where the writer has entries; the outboxes of the shard; then the map of each write
-- ARGV  a random number below 2^32; then of each write: the name of its subject, what becomes of the writer's note there
--       ('+' made, '-' taken back, '' left), into which outboxes it goes (the numbers of their keys, a digit each), how many
--       operations; and of each operation: the field, what is put there (or the stamp up to which it is cut), and why it is
--       cut ('' if it is put)
-- Answers the birth of the shard; then of each write an array: the version it made or 0, and of each put that was refused
--       the field and the stamp that stands in its way.
--
-- A version is the store's time in microseconds, or a bit above the last one of the shard if that is ahead: then two
-- histories that part when a server dies do not meet again. It is even, unless it leaves the map empty. The epoch of a map
-- is made of the version with which it began.

local STAMP_BYTES = 24
local CLOCK = '>I4I8'
local HEAD = '>c1BI4I8I8'
local KEPT_US = 60000000
local MAPS_FROM = 5

local changed, owned, random = KEYS[1], KEYS[2], tonumber(ARGV[1])

-- Lua compares strings as the locale of the server likes.
local function above(a, b)
  for i = 1, #a do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x > y end
  end
  return false
end

local function supersedes(new, old)
  local a, b = new:sub(1, 8), old:sub(1, 8)
  if a ~= b then return above(a, b) end
  if new:sub(9, 16) ~= old:sub(9, 16) then return false end
  a, b = new:sub(17, STAMP_BYTES), old:sub(17, STAMP_BYTES)
  return a == b or above(a, b)
end

-- The birth of the shard is a number, above all versions. It goes when the data go.
local top = redis.call('ZRANGE', changed, 0, 1, 'REV', 'WITHSCORES')
local birth = top[1] and tonumber(top[1]:match('^birth:(%d+)$'))
if not birth then
  birth = random
  redis.call('ZADD', changed, '+inf', string.format('birth:%.0f', birth))
  top = { '', '', top[1], top[2] }
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local last = (tonumber(top[4]) or 0) + random % 1000
local newest

local at = 1
local function next_arg()
  at = at + 1
  return ARGV[at]
end

local answer = { birth }
for key = MAPS_FROM, #KEYS do
  local map, name, note, outboxes = KEYS[key], next_arg(), next_arg(), next_arg()
  local changes, place, outcome = {}, {}, { 0 }
  for _ = 1, tonumber(next_arg()) do
    local field, new, reason = next_arg(), next_arg(), next_arg()
    local old = redis.call('HGET', map, field)
    local change
    if reason ~= '' then
      if old and supersedes(new, old) then
        redis.call('HDEL', map, field)
        change = reason
      end
    elseif old and not supersedes(new, old) then
      outcome[#outcome + 1] = field
      outcome[#outcome + 1] = old:sub(1, STAMP_BYTES)
    elseif new ~= old then
      redis.call('HSET', map, field, new)
      change = '\0' .. struct.pack('>I4', #new) .. new
    end
    if change then
      if place[field] then changes[place[field]] = '' end
      changes[#changes + 1] = string.char(#field) .. field .. change
      place[field] = #changes
    end
  end

  if #changes > 0 then
    local clock = redis.call('HGET', map, 'clock')
    local epoch, from
    if clock then epoch, from = struct.unpack(CLOCK, clock) end
    local is_empty = redis.call('HLEN', map) == (clock and 1 or 0)
    local version = math.max(last + 1, now)
    if (version % 2 == 1) ~= is_empty then version = version + 1 end
    epoch = epoch or version % 4294967296
    if is_empty then
      redis.call('DEL', map)
    else
      redis.call('HSET', map, 'clock', struct.pack(CLOCK, epoch, version))
    end
    redis.call('ZADD', changed, string.format('%.0f', version), name)
    for outbox in outboxes:gmatch('%d') do
      redis.call('ZADD', KEYS[tonumber(outbox)], string.format('%.0f', version), name)
    end
    redis.call('SPUBLISH', map, struct.pack(HEAD, 'P', 1, epoch, from or 0, version) .. table.concat(changes))
    last, newest, outcome[1] = version, version, version
  end
  if note == '+' then
    redis.call('SADD', owned, name)
  elseif note == '-' then
    redis.call('SREM', owned, name)
  end
  answer[#answer + 1] = outcome
end

if newest then
  redis.call('ZREMRANGEBYSCORE', changed, '-inf', string.format('(%.0f', newest - KEPT_US))
end
return answer
