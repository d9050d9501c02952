-- Ends the listing of a job: no more samples follow. The job has ended if none is pending.
-- KEYS  1 job (hash)
-- Returns 1, or 0 when there is no such job, or it was not being listed.
if redis.call('HDEL', KEYS[1], 'lister') == 0 then
  return 0
end
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
redis.call('HSET', KEYS[1], 'updated', now)
if redis.call('HGET', KEYS[1], 'pending') == '0' then
  redis.call('HSET', KEYS[1], 'finished', now)
end
return 1
