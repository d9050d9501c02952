-- Takes a number of entries out of a lease, and ends the lease with its last entry.
-- Preamble: totals
-- KEYS  1 leases (zset)  2 lease:<id> (set)  3 leased (hash)  4 atime (zset)  5 atime:leased (zset)
--       6 entries (hash)  7 meta (hash)
-- ARGV  1 lease  2 entries at most  3 "1" to end it only if it has expired
-- Returns how many entries the lease still has; 0 when it has not expired.
local time = redis.call('TIME')
if ARGV[3] == '1' and tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]) or 0) > tonumber(time[1]) + tonumber(time[2]) / 1e6 then
  return 0
end
local bytes = 0
for _, entry in ipairs(redis.call('SPOP', KEYS[2], ARGV[2])) do
  if redis.call('HINCRBY', KEYS[3], entry, -1) <= 0 then
    redis.call('HDEL', KEYS[3], entry)
    local atime = redis.call('ZSCORE', KEYS[5], entry)
    if atime then
      redis.call('ZREM', KEYS[5], entry)
      redis.call('ZADD', KEYS[4], atime, entry)
      bytes = bytes + size_of(redis.call('HGET', KEYS[6], entry) or '')
    end
  end
end
redis.call('HINCRBY', KEYS[7], 'leased', string.format('%.0f', 0 - bytes))
local rest = redis.call('SCARD', KEYS[2])
if rest == 0 then
  redis.call('ZREM', KEYS[1], ARGV[1])
end
return rest
