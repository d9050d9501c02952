-- Publishes what a session has downloaded: the claim ends, reserved bytes become published bytes.
-- KEYS  1 entries (hash)  2 atime (zset)  3 atime:leased (zset)  4 leased (hash)  5 claims (hash)
--       6 reserved (hash)  7 meta (hash)
-- ARGV  1 session  2.. entry, token, size in bytes, time of access in seconds, value, entry …
-- Returns the bytes that the session has reserved now, and for each entry 1, or 0 when the claim is no
-- longer this token's: nothing was published.
local session = ARGV[1]
local held = tonumber(redis.call('HGET', KEYS[6], session) or 0)
local grown, added, leased, spent = 0, 0, 0, 0
local results = { 0 }
for i = 2, #ARGV, 5 do
  local entry, token, size = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2])
  local atime, value = ARGV[i + 3], ARGV[i + 4]
  if redis.call('HGET', KEYS[5], entry) == token then
    local old = redis.call('HGET', KEYS[1], entry)
    local change = size
    if old then
      change = size - tonumber(string.match(old, '^%d+'))
    else
      added = added + 1
    end
    redis.call('HSET', KEYS[1], entry, value)
    if redis.call('HEXISTS', KEYS[4], entry) == 1 then
      redis.call('ZADD', KEYS[3], atime, entry)
      leased = leased + change
    else
      redis.call('ZADD', KEYS[2], atime, entry)
    end
    redis.call('HDEL', KEYS[5], entry)
    grown = grown + change
    spent = spent + size
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
redis.call('HINCRBY', KEYS[7], 'reserved', string.format('%.0f', 0 - spent))
redis.call('HINCRBY', KEYS[7], 'published', string.format('%.0f', grown))
redis.call('HINCRBY', KEYS[7], 'count', added)
redis.call('HINCRBY', KEYS[7], 'leased', string.format('%.0f', leased))
return results
