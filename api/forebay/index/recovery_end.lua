-- Ends a recovery: from now on sessions can begin, and the limit counts what was found on the volume.
-- KEYS  1 meta (hash)  2 recovery:<run> (string)  3 entries (hash)  4 atime (zset)  5 atime:leased (zset)
--       6 sessions (zset)  7 reserved (hash)
-- ARGV  1 token of the recovery lock  2 start of Redis  3 bytes of the files on the volume
-- Returns 1, or 0 when the lock is no longer the token's: another process counts, or has counted.
if redis.call('GET', KEYS[2]) ~= ARGV[1] then
  return 0
end
local count = redis.call('HLEN', KEYS[3])
local ordered = redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[5])
if redis.call('HGET', KEYS[1], 'count') ~= tostring(count) or count ~= ordered then
  -- A part of the index is lost: it is built anew from the files.
  redis.call('DEL', KEYS[3], KEYS[4], KEYS[5])
  redis.call('HSET', KEYS[1], 'published', 0, 'count', 0, 'leased', 0)
end
redis.call('DEL', KEYS[6], KEYS[7])
local found = tonumber(ARGV[3])
local published = tonumber(redis.call('HGET', KEYS[1], 'published') or 0)
-- Negative where entries of the index have no file: to drop one of them gains no room.
local unindexed = string.format('%.0f', found - published)
redis.call('HSET', KEYS[1], 'reserved', 0, 'unindexed', unindexed, 'run_id', ARGV[2], 'recovery', ARGV[1])
redis.call('HSET', KEYS[1], 'swept', (found == 0 and published == 0) and 1 or 0)
return 1
