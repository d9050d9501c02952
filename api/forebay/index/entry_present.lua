-- Tells which entries are published, and marks those as used.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)
-- ARGV  1 now, seconds    2.. entries
-- Returns a string with one character for each entry: "1" published, "0" not.
local now = tonumber(ARGV[1])
local flags = {}
for i = 2, #ARGV do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    flags[i - 1] = '1'
    -- A microsecond apart, so that they stay in their order.
    local atime = now + i * 1e-6
    redis.call('ZADD', KEYS[2], 'XX', 'GT', atime, ARGV[i])
    redis.call('ZADD', KEYS[3], 'XX', 'GT', atime, ARGV[i])
  else
    flags[i - 1] = '0'
  end
end
return table.concat(flags)
