-- Extends a session. A session that was reaped never comes back: its claims belong to others by now.
-- KEYS  1 sessions (zset)
-- ARGV  1 session  2 time to live, seconds  3 "1" to begin the session
-- Returns 1, or 0 when the session has been reaped.
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
  return 0
end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], tonumber(now[1]) + tonumber(now[2]) / 1e6 + tonumber(ARGV[2]), ARGV[1])
return 1
