-- The servers of a group that live. Changes nothing.
-- KEYS  1 servers (hash)  2 alive (zset)
-- Returns a list: server, what it says of itself, server …
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local found = {}
for _, server in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. now, '+inf')) do
  local record = redis.call('HGET', KEYS[1], server)
  if record then
    found[#found + 1] = server
    found[#found + 1] = record
  end
end
return found
