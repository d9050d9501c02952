-- Adds entries to a lease. Leased entries move out of the set that the evictor looks at.
-- Preamble: totals
-- KEYS  1 leases (zset)  2 lease:<id> (set)  3 leased (hash)  4 atime (zset)  5 atime:leased (zset)
--       6 entries (hash)  7 claims (hash)  8 meta (hash)
-- ARGV  1 lease  2 time to live, seconds  3.. entries
-- Returns the entries that an evictor has chosen already: they will be gone in a moment.
-- Error EMPTIED when Redis has lost the index, and with it the claims of evictors.
if redis.call('HEXISTS', KEYS[8], 'run_id') == 0 then
  return redis.error_reply('EMPTIED by Redis: what lies on the volume must be counted')
end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'GT', tonumber(time[1]) + tonumber(ARGV[2]), ARGV[1])
local bytes, leaving = 0, {}
for i = 3, #ARGV do
  local entry = ARGV[i]
  if redis.call('SADD', KEYS[2], entry) == 1 and redis.call('HINCRBY', KEYS[3], entry, 1) == 1 then
    local atime = redis.call('ZSCORE', KEYS[4], entry)
    if atime then
      redis.call('ZREM', KEYS[4], entry)
      redis.call('ZADD', KEYS[5], atime, entry)
      bytes = bytes + size_of(redis.call('HGET', KEYS[6], entry) or '')
    end
  end
  local holder = redis.call('HGET', KEYS[7], entry)
  if holder and string.match(holder, '%.e%d+$') then
    leaving[#leaving + 1] = entry
  end
end
redis.call('HINCRBY', KEYS[8], 'leased', string.format('%.0f', bytes))
return leaving
