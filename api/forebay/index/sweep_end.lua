-- Ends a sweep: every file on the volume was added to the index.
-- KEYS  1 meta (hash)
-- ARGV  1 the recovery that came before the sweep, or ""  2 bytes of the files that are not the cache's
-- Returns 1, or 0 when Redis has lost its data since: what lies on the volume was, or will be, counted anew.
if (redis.call('HGET', KEYS[1], 'recovery') or '') ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], 'unindexed', ARGV[2], 'swept', 1)
return 1
