-- Adds what a process has counted to the volume's counters.
-- KEYS  1 counters (hash)  2 counters:sources (set)  3 counters:recent (hash)
--       4 counters:flush:<process> (string), the number of its last request
-- ARGV  1 number of this request  2 sources at most; others count as "other"
--       3.. counter, source or "", amount, counter …
-- Returns 1, or 0 when this request has been counted already.
if redis.call('GET', KEYS[4]) == ARGV[1] then
  return 0
end
redis.call('SET', KEYS[4], ARGV[1], 'EX', 600)
local most = tonumber(ARGV[2])
local bytes, objects = 0, 0
for i = 3, #ARGV, 3 do
  local counter, source, amount = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if source ~= '' and redis.call('SISMEMBER', KEYS[2], source) == 0 then
    if redis.call('SCARD', KEYS[2]) < most then
      redis.call('SADD', KEYS[2], source)
    else
      source = 'other'
    end
  end
  redis.call('HINCRBYFLOAT', KEYS[1], counter .. '@' .. source, amount)
  if counter == 'bytes|downloaded' then
    bytes = bytes + tonumber(amount)
  elseif counter == 'objects|downloaded' then
    objects = objects + tonumber(amount)
  end
end
if objects > 0 then
  -- A minute in slots of five seconds, from which the rate of downloads is told.
  local slot = math.floor(tonumber(redis.call('TIME')[1]) / 5)
  local recent = redis.call('HKEYS', KEYS[3])
  for _, field in ipairs(recent) do
    if tonumber(string.match(field, '^%d+')) < slot - 12 then
      redis.call('HDEL', KEYS[3], field)
    end
  end
  redis.call('HINCRBYFLOAT', KEYS[3], slot .. '|bytes', string.format('%.0f', bytes))
  redis.call('HINCRBYFLOAT', KEYS[3], slot .. '|objects', string.format('%.0f', objects))
end
return 1
