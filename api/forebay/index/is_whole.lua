-- Tells whether the parts of the index belong together, as far as their numbers of members tell.
-- KEYS  1 meta (hash)  2 entries (hash)  3 atime (zset)  4 atime:leased (zset)
-- ARGV  1 start of Redis
-- Returns 1, or 0 when Redis has lost a part of them, or was started anew since the volume's files were counted.
local known = redis.call('HMGET', KEYS[1], 'run_id', 'count')
local count = redis.call('HLEN', KEYS[2])
local ordered = redis.call('ZCARD', KEYS[3]) + redis.call('ZCARD', KEYS[4])
if known[1] ~= ARGV[1] or tonumber(known[2] or 0) ~= count or count ~= ordered then
  return 0
end
return 1
