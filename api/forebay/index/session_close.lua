-- Closes a session whose time is over: from now on it cannot be extended. What it holds is cleaned up next.
-- KEYS  1 sessions (zset)
-- ARGV  1 session  2 "1" to close it whatever its time, as its process is known to be gone
-- Returns 1, also where it was closed before, or 0 when it lives.
if ARGV[2] ~= '1' then
  local expiry, now = redis.call('ZSCORE', KEYS[1], ARGV[1]), redis.call('TIME')
  if expiry and tonumber(expiry) > tonumber(now[1]) + tonumber(now[2]) / 1e6 then
    return 0
  end
end
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
