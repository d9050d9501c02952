-- Records what an evictor did with the entries that it had claimed, and ends its claims on them.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 meta (hash)  7 owners (hash)  8 quotas (hash)
-- ARGV  1 the token of the claims  2.. entry, verdict, entry …; a verdict is "gone" for a file that
--       was removed, "absent" where there was none, or the access time that its file bears when it was found to be in use; at most
--       2000 entries, each once
-- Returns the bytes that became free.
local entries = {}
for i = 2, #ARGV, 2 do
  entries[#entries + 1] = ARGV[i]
end
if #entries == 0 then
  return 0
end
local holders = redis.call('HMGET', KEYS[5], unpack(entries))
local ours, gone, absent = {}, {}, {}
for i, entry in ipairs(entries) do
  local verdict = ARGV[2 * i + 1]
  if holders[i] == ARGV[1] then
    ours[#ours + 1] = entry
    if verdict == 'gone' then
      gone[#gone + 1] = entry
    elseif verdict == 'absent' then
      absent[#absent + 1] = entry
    else
      redis.call('ZADD', KEYS[2], 'XX', 'GT', verdict, entry)
      redis.call('ZADD', KEYS[3], 'XX', 'GT', verdict, entry)
    end
  end
end
if #ours > 0 then
  redis.call('HDEL', KEYS[5], unpack(ours))
end
local keys = { entries = KEYS[1], atime = KEYS[2], atime_leased = KEYS[3], leased = KEYS[4] }
keys.owners, keys.quotas = KEYS[7], KEYS[8]
local freed = drop_entries(keys, gone)
count_as_indexed(KEYS[6], -drop_entries(keys, absent))
save_totals(KEYS[6])
return freed
