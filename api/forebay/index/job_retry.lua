-- Makes failed samples of a job pending again.
-- KEYS  1 job (hash)  2 states (string, one character a sample)  3 failures (hash)
-- ARGV  numbers of samples
-- Returns how many are pending again.
local again = 0
for i = 1, #ARGV do
  local number = tonumber(ARGV[i])
  if redis.call('GETRANGE', KEYS[2], number, number) == 'f' then
    redis.call('SETRANGE', KEYS[2], number, 'p')
    redis.call('HDEL', KEYS[3], number)
    again = again + 1
  end
end
if again > 0 then
  redis.call('HINCRBY', KEYS[1], 'failed', 0 - again)
  redis.call('HINCRBY', KEYS[1], 'pending', again)
  redis.call('HDEL', KEYS[1], 'finished', 'cancelled')
  redis.call('HSET', KEYS[1], 'updated', string.format('%d.%06d', unpack(redis.call('TIME'))))
end
return again
