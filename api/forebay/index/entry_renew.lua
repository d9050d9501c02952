-- Renews the values of entries whose files have turned out to be current: they have another etag by now.
-- KEYS  1 entries (hash)  2 claims (hash)
-- ARGV  entry, token of the claim on it, value that it must still have, new value, entry …
-- Returns how many were renewed. The size in a value does not change. An entry of which the claim or the value
-- is another by now is left alone.
local renewed = 0
for i = 1, #ARGV, 4 do
  local entry = ARGV[i]
  if redis.call('HGET', KEYS[2], entry) == ARGV[i + 1] and redis.call('HGET', KEYS[1], entry) == ARGV[i + 2] then
    redis.call('HSET', KEYS[1], entry, ARGV[i + 3])
    renewed = renewed + 1
  end
end
return renewed
