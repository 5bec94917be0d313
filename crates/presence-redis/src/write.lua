-- Does writes of one partition in one step, tells them, and notes them. It knows no rule but which token is greater, and nothing
-- of what entries say.
--
-- KEYS  what has changed in the partition; where the writer has entries; the outboxes of the partition; then of each write its map,
--       and the fences of that
-- ARGV  a random number below 2^32; the end of the writer's lease in milliseconds ('' if it has none); for how long fences
--       are kept, in milliseconds; then of each write: the name of its subject, what becomes of the writer's note there ('+'
--       made if a put is accepted, '-' taken back, '' left), into which outboxes it goes (the numbers of their keys, a digit each), how many
--       operations; and of each operation four: the field; what is put (or the token of a removal); how: 'n' put if newer,
--       'r' put if it replaces, 'h' hide, or the reason of a removal; and of a put the revision of the profile (8 bytes) and
--       behind it, of 'r', the token it replaces, if there is one.
-- Answers the birth of the partition and its time in milliseconds; or 'late' and the time. Then of each write an array: the
--       version it made or 0; the revision of the profile (8 bytes) or ''; and of each operation that was refused the field
--       and the fence that stands in its way, or '' where there was nothing to remove.
--
-- The last 8 bytes of an entry of a place are the revision of the profile that it shows.
--
-- A token is compared as its bytes are. A fence is what is left of an entry: its token, the revision of the profile since
-- which the user hides (8 bytes), and when it is forgotten (8 bytes, milliseconds).
--
-- A version is the store's time in microseconds, or a bit above the last one of the partition if that is ahead: then two
-- histories that part when a server dies do not meet again. It is even, unless it leaves the map empty. The epoch of a map
-- is made of the version with which it began.

local TOKEN_BYTES = 24
local CLOCK = '>I4I8'
local HEAD = '>c1BI4I8I8'
local KEPT_US = 60000000
local MAPS_FROM = 5
local NOTHING = string.rep('\0', 8)
-- What is told of a removal: the reason, as one that older releases do not know, and the fence.
local REMOVED = 16
-- Fences of one map that are kept without looking for old ones.
local FENCES_MAX = 64

local changed, owned, random = KEYS[1], KEYS[2], tonumber(ARGV[1])
local deadline, fence_ttl = tonumber(ARGV[2]), tonumber(ARGV[3])

-- Lua compares strings as the locale of the server likes.
local function above(a, b)
  for i = 1, #a do
    local x, y = a:byte(i), b:byte(i)
    if x ~= y then return x > y end
  end
  return false
end

local function smaller(a, b) return above(b, a) end

-- The birth of the partition is a number, above all versions. It goes when the data go.
local top = redis.call('ZRANGE', changed, 0, 1, 'REV', 'WITHSCORES')
local birth = top[1] and tonumber(top[1]:match('^birth:(%d+)$'))
if not birth then
  birth = random
  redis.call('ZADD', changed, '+inf', string.format('birth:%.0f', birth))
  top = { '', '', top[1], top[2] }
end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local now_ms = math.floor(now / 1000)
if deadline and now_ms > deadline then return { 'late', now_ms } end
local last = (tonumber(top[4]) or 0) + random % 1000
local newest

local at = 3
local function next_arg()
  at = at + 1
  return ARGV[at]
end

-- What is left of `field`, if it is remembered.
local function fence_of(fences, field)
  local fence = redis.call('HGET', fences, field)
  if fence and struct.unpack('>I8', fence, TOKEN_BYTES + 9) > now_ms then return fence end
end

local function sweep(fences)
  local all = redis.call('HGETALL', fences)
  for i = 1, #all, 2 do
    if struct.unpack('>I8', all[i + 1], TOKEN_BYTES + 9) <= now_ms then redis.call('HDEL', fences, all[i]) end
  end
end

-- Leaves a fence, and answers it.
local function raise(fences, field, token, profile)
  local before = fence_of(fences, field)
  if before then
    local old_token, old_profile = before:sub(1, TOKEN_BYTES), before:sub(TOKEN_BYTES + 1, TOKEN_BYTES + 8)
    if above(old_token, token) then token = old_token end
    if above(old_profile, profile) then profile = old_profile end
  end
  local fence = token .. profile .. struct.pack('>I8', now_ms + fence_ttl)
  redis.call('HSET', fences, field, fence)
  redis.call('PEXPIRE', fences, fence_ttl)
  if redis.call('HLEN', fences) % FENCES_MAX == 0 then sweep(fences) end
  return fence, before
end

-- Whether a put may take the place of what has the token `old`.
local function admits(how, new, old, expected)
  if smaller(new, old) then return false end
  return how == 'n' or expected == old or new:sub(9, 16) == old:sub(9, 16)
end

local answer = { birth, now_ms }
for key = MAPS_FROM, #KEYS, 2 do
  local map, fences = KEYS[key], KEYS[key + 1]
  local name, note, outboxes = next_arg(), next_arg(), next_arg()
  local changes, place, outcome = {}, {}, { 0, '' }
  local has_put = false
  local function refuse(field, fence)
    outcome[#outcome + 1] = field
    outcome[#outcome + 1] = fence
  end
  for _ = 1, tonumber(next_arg()) do
    local field, new, how, more = next_arg(), next_arg(), next_arg(), next_arg()
    local old = redis.call('HGET', map, field)
    local old_token = old and old:sub(1, TOKEN_BYTES)
    local change
    if how == 'h' and old and not smaller(old:sub(-8), more) then
      -- They have come out since.
    elseif how == 'h' then
      local fence = raise(fences, field, old_token or string.rep('\0', TOKEN_BYTES), more)
      if old then
        redis.call('HDEL', map, field)
        change = string.char(1 + REMOVED) .. fence:sub(1, TOKEN_BYTES + 8)
      end
    elseif how == 'n' or how == 'r' then
      local token, profile, expected = new:sub(1, TOKEN_BYTES), more:sub(1, 8), more:sub(9)
      if new == old then
        -- It is there already.
        has_put = true
      elseif old then
        if admits(how, token, old_token, expected) then
          redis.call('HSET', map, field, new)
          has_put = true
          change = '\0' .. struct.pack('>I4', #new) .. new
        else
          refuse(field, old_token .. NOTHING)
        end
      else
        local fence = fence_of(fences, field)
        if fence and (smaller(profile, fence:sub(TOKEN_BYTES + 1, TOKEN_BYTES + 8))
            or not admits(how, token, fence:sub(1, TOKEN_BYTES), expected)) then
          refuse(field, fence:sub(1, TOKEN_BYTES + 8))
        else
          if fence then redis.call('HDEL', fences, field) end
          redis.call('HSET', map, field, new)
          has_put = true
          change = '\0' .. struct.pack('>I4', #new) .. new
        end
      end
    elseif old and smaller(new, old_token) then
      refuse(field, old_token .. NOTHING)
    else
      local fence, before = raise(fences, field, new, NOTHING)
      if old then
        redis.call('HDEL', map, field)
        change = string.char(how:byte(1) + REMOVED) .. fence:sub(1, TOKEN_BYTES + 8)
      elseif not before then
        refuse(field, '')
      elseif above(fence:sub(1, TOKEN_BYTES), new) then
        refuse(field, fence:sub(1, TOKEN_BYTES + 8))
      end
    end
    if change then
      if place[field] then changes[place[field]] = '' end
      changes[#changes + 1] = string.char(#field) .. field .. change
      place[field] = #changes
    end
  end
  if name:sub(1, 5) == 'user:' then
    local profile = redis.call('HGET', map, 'profile')
    if profile then outcome[2] = profile:sub(1, 8) end
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
  -- A late put that is refused leaves no entry to be noted.
  if note == '+' and has_put then
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
