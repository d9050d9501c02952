-- Adds a standing prefetch, unless there is one of that name.
-- KEYS  1 schedules (hash)  2 schedules:due (zset)
-- ARGV  1 name  2 what it is, as JSON  3 when it is due first, in seconds
-- Returns 1, or 0 where another one has the name. Repeated with the same JSON: 1.
if redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2]) == 0 then
  return redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] and 1 or 0
end
redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
return 1
