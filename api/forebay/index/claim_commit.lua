-- Publishes what a session has downloaded: the claim ends, reserved bytes become published bytes.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 reserved (hash)  7 meta (hash)
-- ARGV  1 session  2.. entry, token, size in bytes, time of access in seconds, value, entry …
-- Returns the bytes that the session has reserved now, and for each entry 1, or 0 when the claim is no
-- longer this token's: nothing was published. What was published by the same call before is 1, too.
local keys = { entries = KEYS[1], atime = KEYS[2], atime_leased = KEYS[3], leased = KEYS[4] }
local session = ARGV[1]
local held = tonumber(redis.call('HGET', KEYS[6], session) or 0)
local spent = 0
local results = { 0 }
for i = 2, #ARGV, 5 do
  local entry, token, size = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  if redis.call('HGET', KEYS[5], entry) == token then
    put_entry(keys, entry, ARGV[i + 4], size, ARGV[i + 3])
    redis.call('HDEL', KEYS[5], entry)
    spent = spent + size
    results[#results + 1] = 1
  elseif redis.call('HGET', keys.entries, entry) == ARGV[i + 4] then
    -- The answer to the first call was lost.
    results[#results + 1] = 1
  else
    results[#results + 1] = 0
  end
end
spent = math.min(spent, held)
if spent > 0 then
  redis.call('HSET', KEYS[6], session, string.format('%.0f', held - spent))
end
results[1] = held - spent
change.reserved = -spent
save_totals(KEYS[7])
return results
