-- Gives claims back without publishing anything.
-- KEYS  1 claims (hash)
-- ARGV  entry, token, entry, token …
-- Returns how many were given back; a claim that belongs to another token by now is left alone.
local released = 0
for i = 1, #ARGV, 2 do
  if redis.call('HGET', KEYS[1], ARGV[i]) == ARGV[i + 1] then
    released = released + redis.call('HDEL', KEYS[1], ARGV[i])
  end
end
return released
