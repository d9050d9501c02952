-- Drops entries whose files are gone.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 claims (hash)  5 meta (hash)
-- ARGV  1 the token of the caller's own claims, or ""  2.. entry, value, entry …
-- Returns how many were dropped. An entry that is claimed by another, or whose value is no longer
-- the given one, is left alone.
local freed, removed, leased = 0, 0, 0
for i = 2, #ARGV, 2 do
  local entry, value = ARGV[i], ARGV[i + 1]
  local holder = redis.call('HGET', KEYS[4], entry)
  if (not holder or holder == ARGV[1]) and redis.call('HGET', KEYS[1], entry) == value then
    local size = tonumber(string.match(value, '^%d+'))
    freed = freed + size
    removed = removed + 1
    redis.call('HDEL', KEYS[1], entry)
    redis.call('ZREM', KEYS[2], entry)
    if redis.call('ZREM', KEYS[3], entry) == 1 then
      leased = leased + size
    end
  end
end
redis.call('HINCRBY', KEYS[5], 'published', string.format('%.0f', 0 - freed))
redis.call('HINCRBY', KEYS[5], 'count', 0 - removed)
redis.call('HINCRBY', KEYS[5], 'leased', string.format('%.0f', 0 - leased))
return removed
