-- Claims entries for one session, so that each object is downloaded once.
-- KEYS  1 entries (hash)  2 claims (hash)  3 sessions (zset)  4 meta (hash)
-- ARGV  1 session
--       2.. entry, token, time in seconds, entry …; a token is "<session>.<number>". What is published is
--       claimed, too, if it was fetched or checked before the time.
-- Returns for each entry one string:
--       "+<value>"  claimed; the value is the published entry's, empty where there is none
--       "=<value>"  published already
--       "!<token>"  claimed by another live session
--       "?<token>"  claimed by a session that has ended: clean up after it, then claim again
-- Error SESSION when the caller's own session has been reaped; error EMPTIED when Redis has lost the index.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
if redis.call('HEXISTS', KEYS[4], 'run_id') == 0 then
  return redis.error_reply('EMPTIED by Redis: what lies on the volume must be counted')
end
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return redis.error_reply('SESSION has been reaped')
end
-- When a published entry was fetched, or checked last; 0 for a value that no script of ours has written, or a
-- time in the future, of a machine with a wrong clock.
local function fetched_of(value)
  local fetched = tonumber(string.match(value, '^%d+|[^|]*|(%d+)') or 0)
  return fetched <= now + 60 and fetched or 0
end
local alive = {}
local results = {}
for i = 2, #ARGV, 3 do
  local entry, token = ARGV[i], ARGV[i + 1]
  local holder = redis.call('HGET', KEYS[2], entry)
  local result
  if holder and holder ~= token then
    local session = string.match(holder, '^(.*)%.') or ''
    if alive[session] == nil then
      local expiry = redis.call('ZSCORE', KEYS[3], session)
      alive[session] = expiry and tonumber(expiry) > now or false
    end
    result = (alive[session] and '!' or '?') .. holder
  else
    local value = redis.call('HGET', KEYS[1], entry)
    if value and fetched_of(value) >= tonumber(ARGV[i + 2]) then
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
