-- Drops entries whose files are gone.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 meta (hash)  7 owners (hash)  8 quotas (hash)
-- ARGV  1 the token of the caller's own claims, or ""  2.. entry, value, entry …
-- Returns how many were dropped. An entry that is claimed by another, or whose value is no longer
-- the given one, is left alone.
local keys = { entries = KEYS[1], atime = KEYS[2], atime_leased = KEYS[3], leased = KEYS[4] }
keys.owners, keys.quotas = KEYS[7], KEYS[8]
local removed, absent = 0, 0
for i = 2, #ARGV, 2 do
  local entry, value = ARGV[i], ARGV[i + 1]
  local holder = redis.call('HGET', KEYS[5], entry)
  if (not holder or holder == ARGV[1]) and redis.call('HGET', KEYS[1], entry) == value then
    absent = absent + drop_entry(keys, entry)
    removed = removed + 1
  end
end
count_as_indexed(KEYS[6], -absent)
save_totals(KEYS[6])
return removed
