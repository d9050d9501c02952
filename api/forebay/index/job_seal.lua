-- Ends the listing of a job: no more samples follow. The job has ended if none is pending.
-- KEYS  1 job (hash)
-- ARGV  1 now, seconds
-- Returns 1, or 0 when there is no such job, or it was not being listed.
if redis.call('HDEL', KEYS[1], 'lister') == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'updated', ARGV[1])
if redis.call('HGET', KEYS[1], 'pending') == '0' then
  redis.call('HSET', KEYS[1], 'finished', ARGV[1])
end
return 1
