-- Begins the run of a standing prefetch that is due: of all workers that see it due, one gets it.
-- KEYS  1 schedules (hash)  2 schedules:due (zset)  3 schedules:paused (set)  4 schedules:runs (hash)
-- ARGV  1 name  2 when it was due, in seconds  3 when it is due next  4 the last run, as JSON, or ""
--       5 the run that begins, as JSON
-- Returns 1; or 0 where it is not due at that time any more, its last run is another by now, or it was removed.
-- Repeated after a lost answer: 1.
if (redis.call('HGET', KEYS[4], ARGV[1]) or '') == ARGV[5] then
  return 1
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0
  or tonumber(redis.call('ZSCORE', KEYS[2], ARGV[1]) or -1) ~= tonumber(ARGV[2])
  or (redis.call('HGET', KEYS[4], ARGV[1]) or '') ~= ARGV[4] then
  return 0
end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[5])
if redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 1 then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
return 1
