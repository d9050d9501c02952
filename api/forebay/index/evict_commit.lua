-- Records what the evictor did with the entries that it had chosen, and ends its claims on them.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 claims (hash)  5 meta (hash)
--       6 leased (hash)
-- ARGV  1 the token of the claims  2.. entry, verdict, entry …; a verdict is "gone" for a file that
--       was removed, or the access time that its file bears when it was found to be in use
-- Returns the bytes that became free.
local freed, removed, leased = 0, 0, 0
for i = 2, #ARGV, 2 do
  local entry, verdict = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', KEYS[4], entry) == ARGV[1] then
    redis.call('HDEL', KEYS[4], entry)
    if verdict == 'gone' then
      local value = redis.call('HGET', KEYS[1], entry)
      if value then
        local size = tonumber(string.match(value, '^%d+'))
        freed = freed + size
        removed = removed + 1
        redis.call('HDEL', KEYS[1], entry)
        redis.call('ZREM', KEYS[2], entry)
        if redis.call('ZREM', KEYS[3], entry) == 1 then
          leased = leased + size
        end
      end
    else
      redis.call('ZADD', KEYS[2], 'XX', 'GT', verdict, entry)
      redis.call('ZADD', KEYS[3], 'XX', 'GT', verdict, entry)
    end
  end
end
redis.call('HINCRBY', KEYS[5], 'published', string.format('%.0f', 0 - freed))
redis.call('HINCRBY', KEYS[5], 'count', 0 - removed)
redis.call('HINCRBY', KEYS[5], 'leased', string.format('%.0f', 0 - leased))
return freed
