-- Sets fields of a job, unless the job was forgotten: a hash that no list names would stay for ever.
-- KEYS  1 job (hash)
-- ARGV  field, value, field …
-- Returns 1, or 0 when there is no such job.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
redis.call('HSET', KEYS[1], unpack(ARGV))
return 1
