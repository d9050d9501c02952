-- Extends a session. A session that was reaped never comes back: its claims belong to others by now.
-- KEYS  1 sessions (zset)  2 meta (hash)
-- ARGV  1 session  2 time to live, seconds
--       3 to begin the session: the start of Redis for which the volume's files were counted; else ""
-- Returns 1, or 0 when the session has been reaped.
-- Error EMPTIED when the files were not counted since that start: Redis has lost the index.
if ARGV[3] == '' then
  if not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return 0
  end
elseif redis.call('HGET', KEYS[2], 'run_id') ~= ARGV[3] then
  return redis.error_reply('EMPTIED by Redis: what lies on the volume must be counted')
end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], tonumber(now[1]) + tonumber(now[2]) / 1e6 + tonumber(ARGV[2]), ARGV[1])
return 1
