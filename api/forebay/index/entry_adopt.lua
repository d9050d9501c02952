-- Takes files that lie on the volume into the index: after a crash between rename and commit, or
-- when Redis was started empty.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 meta (hash)
-- ARGV  1 "1" when the files are part of what was counted as not indexed yet
--       2 the token of the caller's own claims, or ""
--       3.. entry, size in bytes, access time in seconds, value, entry …
-- Returns how many entries were new or had another size. Claimed entries are left to their owner.
local keys = { entries = KEYS[1], atime = KEYS[2], atime_leased = KEYS[3], leased = KEYS[4] }
local counted, own = ARGV[1] == '1', ARGV[2]
local seen, changed = 0, 0
for i = 3, #ARGV, 4 do
  local entry, size, atime, value = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3]
  local holder = redis.call('HGET', KEYS[5], entry)
  if not holder or holder == own then
    local old = redis.call('HGET', KEYS[1], entry)
    if not old or size_of(old) ~= size then
      changed = changed + 1
      put_entry(keys, entry, value, size, atime)
      seen = seen + size - (old and size_of(old) or 0)
    end
  end
end
save_totals(KEYS[6])
if counted then
  count_as_indexed(KEYS[6], seen)
end
return changed
