-- Claims entries for one session, so that each object is downloaded once.
-- KEYS  1 entries (hash)  2 claims (hash)  3 sessions (zset)
-- ARGV  1 session
--       2 "missing": claim what is not published; "always": claim what is published too
--       3.. entry, token, entry, token …; a token is "<session>.<number>"
-- Returns for each entry one string:
--       "+<value>"  claimed; the value is the published entry's, empty where there is none
--       "=<value>"  published already
--       "!<token>"  claimed by another live session
--       "?<token>"  claimed by a session that has ended: clean up after it, then claim again
-- Error SESSION when the caller's own session has been reaped.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return redis.error_reply('SESSION has been reaped')
end
local alive = {}
local results = {}
for i = 3, #ARGV, 2 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local holder = redis.call('HGET', KEYS[2], entry)
  local result
  if holder and holder ~= token then
    local session = string.match(holder, '^(.*)%.')
    if alive[session] == nil then
      local expiry = redis.call('ZSCORE', KEYS[3], session)
      alive[session] = expiry and tonumber(expiry) > now or false
    end
    result = (alive[session] and '!' or '?') .. holder
  else
    local value = redis.call('HGET', KEYS[1], entry)
    if value and ARGV[2] == 'missing' then
      result = '=' .. value
      if holder then
        redis.call('HDEL', KEYS[2], entry)
      end
    else
      redis.call('HSET', KEYS[2], entry, token)
      result = '+' .. (value or '')
    end
  end
  results[#results + 1] = result
end
return results
