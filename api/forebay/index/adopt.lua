-- Takes files that lie on the volume into the index: after a crash between rename and commit, or
-- when Redis was started empty.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 meta (hash)
-- ARGV  1 "1" when the files are part of what was counted as not indexed yet
--       2 the token of the caller's own claims, or ""
--       3.. entry, size in bytes, access time in seconds, value, entry …
-- Returns how many entries were new or had another size. Claimed entries are left to their owner.
local counted, own = ARGV[1] == '1', ARGV[2]
local grown, added, leased, seen, changed = 0, 0, 0, 0, 0
for i = 3, #ARGV, 4 do
  local entry, size, atime, value = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local holder = redis.call('HGET', KEYS[5], entry)
  if not holder or holder == own then
    local old = redis.call('HGET', KEYS[1], entry)
    local old_size = old and tonumber(string.match(old, '^%d+')) or 0
    if not old or old_size ~= size then
      changed = changed + 1
      grown = grown + size - old_size
      redis.call('HSET', KEYS[1], entry, value)
      if redis.call('HEXISTS', KEYS[4], entry) == 1 then
        redis.call('ZADD', KEYS[3], atime, entry)
        leased = leased + size - old_size
      else
        redis.call('ZADD', KEYS[2], atime, entry)
      end
      if not old then
        added = added + 1
        seen = seen + size
      end
    end
  end
end
redis.call('HINCRBY', KEYS[6], 'published', string.format('%.0f', grown))
redis.call('HINCRBY', KEYS[6], 'count', added)
redis.call('HINCRBY', KEYS[6], 'leased', string.format('%.0f', leased))
if counted then
  local rest = tonumber(redis.call('HGET', KEYS[6], 'unindexed') or 0)
  redis.call('HSET', KEYS[6], 'unindexed', string.format('%.0f', math.max(0, rest - seen)))
end
return changed
