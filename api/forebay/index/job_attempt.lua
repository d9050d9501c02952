-- Changes how often a message, or one sample, was begun, unless its job was forgotten.
-- KEYS  1 job (hash)  2 attempts (hash)
-- ARGV  1 message, or "sample:<number>"  2 change
-- Returns how often it was begun; 0 when there is no such job.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
return redis.call('HINCRBY', KEYS[2], ARGV[1], ARGV[2])
