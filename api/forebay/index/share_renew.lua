-- Renews a session's part of what all sessions share, such as the bytes of a second. The parts of all
-- together never exceed the limit: what another session is to give up is granted once it has done so.
-- A session's part follows its demand; what no session asks for is divided, too. Parts end with their sessions.
-- KEYS  1 shares (hash)  2 sessions (zset)
-- ARGV  1 session  2 what is shared  3 limit a second  4 demand a second; -1 for all that there is, 0 to
--       give the part back
-- Returns {granted, what it would be if the others had given up what they have to}, both as text.
-- Error SESSION when the session has been reaped.
if not redis.call('ZSCORE', KEYS[2], ARGV[1]) then
  return redis.error_reply('SESSION has been reaped')
end
local field = ARGV[2] .. '|' .. ARGV[1]
if tonumber(ARGV[4]) == 0 then
  redis.call('HDEL', KEYS[1], field)
  return {'0', '0'}
end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local limit, taken = tonumber(ARGV[3]), 0
local demands = {tonumber(ARGV[4])}
local found = redis.call('HGETALL', KEYS[1])
for i = 1, #found, 2 do
  local what, session = string.match(found[i], '^(.*)|([^|]*)$')
  if what == ARGV[2] and session ~= ARGV[1] then
    local expiry = redis.call('ZSCORE', KEYS[2], session)
    local theirs, demand, granted = string.match(found[i + 1], '^([^|]+)|([^|]+)|([^|]+)$')
    if granted and expiry and tonumber(expiry) > now then
      -- Where settings differ, the lowest holds.
      limit, taken = math.min(limit, tonumber(theirs)), taken + tonumber(granted)
      demands[#demands + 1] = tonumber(demand)
    else
      redis.call('HDEL', KEYS[1], found[i])
    end
  end
end
-- The least demands are met first; each of the others gets the same.
local mine = demands[1]
for i = 1, #demands do
  if demands[i] < 0 then
    demands[i] = math.huge
  end
end
mine = mine < 0 and math.huge or mine
table.sort(demands)
local left, level = limit, 0
for i = 1, #demands do
  level = left / (#demands - i + 1)
  if demands[i] < level then
    left = left - demands[i]
  else
    left = 0
    break
  end
end
local fair = math.min(mine, level) + left / #demands
local granted = math.max(0, math.min(fair, limit - taken))
redis.call('HSET', KEYS[1], field, string.format('%s|%s|%.3f', ARGV[3], ARGV[4], granted))
return {string.format('%.3f', granted), string.format('%.3f', fair)}
