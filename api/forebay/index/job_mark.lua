-- Records how samples of a job ended. A sample that has ended already is left as it is, so that doing
-- one twice (a message delivered again, say) counts once.
-- The URIs of a message are dropped when all its samples have ended well: a job may have millions.
-- KEYS  1 job (hash)  2 states (string, one character a sample)  3 failures (hash)  4 uris (hash)
-- ARGV  number, state ("c" cached, "d" downloaded, "f" failed), bytes, failure as JSON, number …
-- Returns how many samples are still pending; -1 when there is no such job.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return -1
end
local counts = { c = 0, d = 0, f = 0 }
local bytes = 0
local size = tonumber(redis.call('HGET', KEYS[1], 'message_size') or 0)
local touched = {}
for i = 1, #ARGV, 4 do
  local number, state = tonumber(ARGV[i]), ARGV[i + 1]
  if redis.call('GETRANGE', KEYS[2], number, number) == 'p' then
    redis.call('SETRANGE', KEYS[2], number, state)
    counts[state] = counts[state] + 1
    bytes = bytes + tonumber(ARGV[i + 2])
    if size > 0 then
      touched[math.floor(number / size)] = true
    end
    if state == 'f' then
      redis.call('HSET', KEYS[3], number, ARGV[i + 3])
    end
  end
end
for message in pairs(touched) do
  local states = redis.call('GETRANGE', KEYS[2], message * size, (message + 1) * size - 1)
  if not string.find(states, '[pf]') then
    redis.call('HDEL', KEYS[4], message)
  end
end
redis.call('HINCRBY', KEYS[1], 'cached', counts.c)
redis.call('HINCRBY', KEYS[1], 'downloaded', counts.d)
redis.call('HINCRBY', KEYS[1], 'failed', counts.f)
redis.call('HINCRBY', KEYS[1], 'bytes', string.format('%.0f', bytes))
local ended = counts.c + counts.d + counts.f
local pending = redis.call('HINCRBY', KEYS[1], 'pending', 0 - ended)
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
redis.call('HSET', KEYS[1], 'updated', now)
if pending == 0 and ended > 0 and redis.call('HEXISTS', KEYS[1], 'lister') == 0 then
  redis.call('HSET', KEYS[1], 'finished', now)
end
return pending
