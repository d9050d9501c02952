-- Tells which entries are published, and marks those as used.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 claims (hash)
-- ARGV  1 now, seconds    2.. entries, at most 2000
-- Returns a string with one character for each entry: "1" published, "0" not. One that is being evicted
-- at this moment is not: its file may be gone already.
local now = tonumber(ARGV[1])
local values = redis.call('HMGET', KEYS[1], unpack(ARGV, 2))
local holders = redis.call('EXISTS', KEYS[4]) == 1 and redis.call('HMGET', KEYS[4], unpack(ARGV, 2)) or {}
local flags = {}
local times = {}
for i = 1, #values do
  local published = values[i] and not string.match(holders[i] or '', '%.e%d+$')
  flags[i] = published and '1' or '0'
  -- A microsecond apart, so that they stay in their order.
  times[2 * i - 1] = now + i * 1e-6
  times[2 * i] = ARGV[i + 1]
end
-- What is not published is in neither set. One call for all of them takes a quarter of the time of many.
for i = 2, 3 do
  if redis.call('EXISTS', KEYS[i]) == 1 then
    redis.call('ZADD', KEYS[i], 'XX', 'GT', unpack(times))
  end
end
return table.concat(flags)
