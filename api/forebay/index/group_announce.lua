-- Records that a server of a group lives, and forgets those that have not said so for too long.
-- KEYS  1 servers (hash)  2 alive (zset)
-- ARGV  1 server  2 what it says of itself, as JSON  3 for how long it lives without another call, seconds
-- Returns how many servers live.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('HDEL', KEYS[1], gone)
end
return redis.call('ZCARD', KEYS[2])
