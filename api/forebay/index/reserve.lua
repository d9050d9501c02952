-- Sets the reservation of one session, if the limit admits it. The amounts are absolute, so that
-- sending the same request again after a lost answer changes nothing.
-- KEYS  1 meta (hash)  2 reserved (hash)  3 sessions (zset)
-- ARGV  1 session  2 minimum bytes  3 maximum bytes  4 the cache's limit, bytes; -1 for none
--       5 start of the server, or "" where no other can take its place
-- Returns {granted bytes in all or -1, published, reserved by all, not indexed yet, leased}.
-- Error SESSION when the session has been reaped; error EMPTIED when Redis has lost the index, or another server
-- has taken its place: it may lack the last reservations.
local counted = redis.call('HGET', KEYS[1], 'run_id')
if not counted or (ARGV[5] ~= '' and counted ~= ARGV[5]) then
  return redis.error_reply('EMPTIED by Redis: what lies on the volume must be counted')
end
if not redis.call('ZSCORE', KEYS[3], ARGV[1]) then
  return redis.error_reply('SESSION has been reaped')
end
local meta = redis.call('HMGET', KEYS[1], 'published', 'reserved', 'unindexed', 'leased')
local published, total, unindexed, leased =
  tonumber(meta[1] or 0), tonumber(meta[2] or 0), tonumber(meta[3] or 0), tonumber(meta[4] or 0)
local mine = tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or 0)
local min_size, max_size, limit = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local granted = max_size
if limit >= 0 then
  local room = limit - published - unindexed - (total - mine)
  -- Where space is short, a session gets what it needs now and reserves nothing in advance.
  if room < max_size then
    granted = min_size
  end
  if room < min_size and min_size > mine then
    return {-1, published, total, unindexed, leased}
  end
end
if granted > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', granted))
else
  redis.call('HDEL', KEYS[2], ARGV[1])
end
total = redis.call('HINCRBY', KEYS[1], 'reserved', string.format('%.0f', granted - mine))
return {granted, published, total, unindexed, leased}
