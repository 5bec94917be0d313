-- Adds to the list of users whose older tokens are refused, and answers for each: 2 if the list says it now and did not before,
-- 1 if it said so already, 0 if there is no room.
--
-- KEYS  the list: a hash of users, and its version under a name that no user has
-- ARGV  that name; the time in milliseconds; how many users there may be; then a user, `at` and `until` by turns

local list, version, now, max = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

local function moments(record)
  local at, ends = (record or ''):match('^(%d+) (%d+)')
  return tonumber(at), tonumber(ends)
end

local function users()
  return redis.call('HLEN', list) - redis.call('HEXISTS', list, version)
end

-- Forgets those that have ended; what is not understood may be of a later release, and is kept.
local function make_room()
  local all = redis.call('HGETALL', list)
  for i = 1, #all, 2 do
    local _, ends = moments(all[i + 1])
    if all[i] ~= version and ends and ends <= now then redis.call('HDEL', list, all[i]) end
  end
end

local outcomes, changed, has_made_room = {}, false, false
for i = 4, #ARGV, 3 do
  local user, at, ends = ARGV[i], tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  local before = redis.call('HGET', list, user)
  local known_at, known_ends = moments(before)
  local is_news = not known_at or at > known_at or ends > known_ends
  local outcome = is_news and 2 or 1
  if not before and users() >= max then
    if not has_made_room then make_room() end
    has_made_room = true
    if users() >= max then outcome = 0 end
  end
  if outcome == 2 then
    at, ends = math.max(at, known_at or 0), math.max(ends, known_ends or 0)
    redis.call('HSET', list, user, string.format('%.0f %.0f', at, ends))
    changed = true
  end
  outcomes[#outcomes + 1] = outcome
end
if changed then
  local time = redis.call('TIME')
  local moment = time[1] * 1000000 + time[2]
  local before = tonumber(redis.call('HGET', list, version) or 0) or 0
  redis.call('HSET', list, version, string.format('%.0f', math.max(before + 1, moment)))
end
return outcomes
