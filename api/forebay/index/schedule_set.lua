-- Says when a standing prefetch is due next, pauses it, or removes it.
-- KEYS  1 schedules (hash)  2 schedules:due (zset)  3 schedules:paused (set)  4 schedules:runs (hash)
-- ARGV  1 name  2 "now", "resume", "pause" or "remove"  3 when it is due, in seconds ("now" and "resume")
-- Returns 1, or 0 where there is none of that name. One that is paused and due now stays paused after that run.
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  return 0
end
if ARGV[2] == 'now' then
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
elseif ARGV[2] == 'resume' then
  if redis.call('SREM', KEYS[3], ARGV[1]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
  end
else
  redis.call('ZREM', KEYS[2], ARGV[1])
  if ARGV[2] == 'pause' then
    redis.call('SADD', KEYS[3], ARGV[1])
  else
    redis.call('SREM', KEYS[3], ARGV[1])
    redis.call('HDEL', KEYS[1], ARGV[1])
    redis.call('HDEL', KEYS[4], ARGV[1])
  end
end
return 1
