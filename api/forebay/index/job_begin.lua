-- Tells what is left to do of a message, and counts an attempt at it.
-- KEYS  1 job (hash)  2 uris (hash)  3 states (string, one character a sample)  4 attempts (hash)
-- ARGV  1 number of the message
-- Returns {message size, URIs of the message as JSON or "", their states, attempts, update, cancelled,
-- parts that are wanted of each object, or "", priority, quota, or ""};
-- {0} when there is no such job.
local fields = redis.call('HMGET', KEYS[1], 'message_size', 'update', 'cancelled', 'parts', 'priority', 'quota')
local size, update, cancelled, parts, priority, quota = unpack(fields)
size = tonumber(size or 0)
if size == 0 then
  return { 0 }
end
local first = tonumber(ARGV[1]) * size
return {
  size,
  redis.call('HGET', KEYS[2], ARGV[1]) or '',
  redis.call('GETRANGE', KEYS[3], first, first + size - 1),
  redis.call('HINCRBY', KEYS[4], ARGV[1], 1),
  update or '',
  cancelled or '',
  parts or '',
  priority or '',
  quota or '',
}
