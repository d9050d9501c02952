-- Chooses what to evict, least recently used first, and claims it for the evictor. Leased entries are
-- not in the set that this looks at; claimed ones and those within their grace period are passed over. The
-- server's clock decides. Where nothing else is left, entries that a machine with a wrong clock has used far in
-- the future count as used now.
-- Preamble: totals
-- KEYS  1 atime (zset)  2 claims (hash)  3 entries (hash)  4 evictor (string)  5 sessions (zset)
-- ARGV  1 the lock's token  2 grace period, seconds  3 bytes wanted  4 entries at most
--       5 how far ahead is in the future, seconds
-- Returns {now, access time of the oldest entry in its grace period or "", entries passed over because
-- another session has claimed them, entry, access time, size, entry …}; times are in seconds.
-- Error LOCK when the eviction lock is not the caller's; error SESSION when its session has been reaped.
if redis.call('GET', KEYS[4]) ~= ARGV[1] then
  return redis.error_reply('LOCK is held by another evictor')
end
local session = string.match(ARGV[1], '^(.*)%.')
if not redis.call('ZSCORE', KEYS[5], session) then
  return redis.error_reply('SESSION has been reaped')
end
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local newest, wanted, most = now - tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local future = now + tonumber(ARGV[5])
local chosen, claimed, bytes, page, from = {string.format('%.6f', now), '', 0}, 0, 0, 64, 0
while bytes < wanted and (#chosen - 3) / 3 < most and from < most * 4 do
  local candidates = redis.call('ZRANGE', KEYS[1], from, from + page - 1, 'WITHSCORES')
  if #candidates == 0 then
    break
  end
  from = from + page
  -- One call for a page takes a fraction of the time of one for each entry.
  local entries = {}
  for i = 1, #candidates, 2 do
    entries[#entries + 1] = candidates[i]
  end
  local holders = redis.call('HMGET', KEYS[2], unpack(entries))
  local values = redis.call('HMGET', KEYS[3], unpack(entries))
  local claims = {}
  for i, entry in ipairs(entries) do
    local atime, holder, value = candidates[2 * i], holders[i], values[i]
    if tonumber(atime) > newest then
      chosen[2] = atime
      from = most * 4
      break
    end
    if bytes >= wanted or (#chosen - 3) / 3 >= most then
      break
    end
    -- What this token has claimed already was chosen by the same request, whose answer was lost.
    if holder and holder ~= ARGV[1] then
      if string.match(holder, '^(.*)%.') ~= session then
        claimed = claimed + 1
      end
    else
      local value = redis.call('HGET', KEYS[3], entry)
      local size = value and size_of(value) or 0
      claims[#claims + 1] = entry
      claims[#claims + 1] = ARGV[1]
      bytes = bytes + size
      chosen[#chosen + 1] = entry
      chosen[#chosen + 1] = atime
      chosen[#chosen + 1] = size
    end
  end
  if #claims > 0 then
    redis.call('HSET', KEYS[2], unpack(claims))
  end
end
if #chosen == 3 and (tonumber(chosen[2]) or 0) > future then
  local used = {}
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. future, '+inf', 'LIMIT', 0, 1000)) do
    used[#used + 1] = chosen[1]
    used[#used + 1] = entry
  end
  redis.call('ZADD', KEYS[1], unpack(used))
  chosen[2] = chosen[1]
end
chosen[3] = claimed
return chosen
