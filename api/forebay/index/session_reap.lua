-- Ends a session: what it had reserved is free again. Its claims must have been cleaned up before.
-- KEYS  1 sessions (zset)  2 reserved (hash)  3 meta (hash)
-- ARGV  1 session
-- Returns the bytes that became free.
local held = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
if held ~= 0 then
  redis.call('HINCRBY', KEYS[3], 'reserved', string.format('%.0f', 0 - held))
end
return held
