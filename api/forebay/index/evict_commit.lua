-- Records what an evictor did with the entries that it had claimed, and ends its claims on them.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 meta (hash)
-- ARGV  1 the token of the claims  2.. entry, verdict, entry …; a verdict is "gone" for a file that
--       was removed, or the access time that its file bears when it was found to be in use
-- Returns the bytes that became free.
local keys = { entries = KEYS[1], atime = KEYS[2], atime_leased = KEYS[3], leased = KEYS[4] }
local freed = 0
for i = 2, #ARGV, 2 do
  local entry, verdict = ARGV[i], ARGV[i + 1]
  if redis.call('HGET', KEYS[5], entry) == ARGV[1] then
    redis.call('HDEL', KEYS[5], entry)
    if verdict == 'gone' then
      freed = freed + (drop_entry(keys, entry) or 0)
    else
      redis.call('ZADD', KEYS[2], 'XX', 'GT', verdict, entry)
      redis.call('ZADD', KEYS[3], 'XX', 'GT', verdict, entry)
    end
  end
end
save_totals(KEYS[6])
return freed
