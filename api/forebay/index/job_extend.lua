-- Adds samples to a job that is still being listed. Their URIs have been written before.
-- KEYS  1 job (hash)  2 states (string, one character a sample)
-- ARGV  1 number of the first sample  2 how many are pending  3 how many there are in all
--       4 how many of them are cached already
-- Returns 1, or 0 when there is no such job, or it is not being listed.
if redis.call('HEXISTS', KEYS[1], 'lister') == 0 then
  return 0
end
if tonumber(ARGV[2]) > 0 then
  redis.call('SETRANGE', KEYS[2], ARGV[1], string.rep('p', tonumber(ARGV[2])))
end
redis.call('HINCRBY', KEYS[1], 'pending', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'total', ARGV[3])
redis.call('HINCRBY', KEYS[1], 'present', ARGV[4])
redis.call('HINCRBY', KEYS[1], 'cached', ARGV[4])
redis.call('HSET', KEYS[1], 'updated', string.format('%d.%06d', unpack(redis.call('TIME'))))
return 1
