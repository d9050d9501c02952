-- Counts entries on the quota of a label, in whose name they were downloaded. What is another label's stays so.
-- Preamble: totals
-- KEYS  1 entries (hash)  2 owners (hash)  3 quotas (hash)
-- ARGV  1 label  2 limit in bytes  3.. entries
-- Returns the bytes that count on the quota now. Dropped entries no longer count, as the scripts see to that
-- drop them.
local used = 0
for i = 3, #ARGV do
  local value = redis.call('HGET', KEYS[1], ARGV[i])
  local owner = redis.call('HGET', KEYS[2], ARGV[i])
  local charged, label = string.match(owner or '', '^(%d+)|(.*)$')
  if value and (not label or label == ARGV[1]) then
    local size = size_of(value)
    redis.call('HSET', KEYS[2], ARGV[i], string.format('%.0f', size) .. '|' .. ARGV[1])
    used = used + size - tonumber(charged or 0)
  end
end
redis.call('HSET', KEYS[3], 'limit|' .. ARGV[1], ARGV[2])
return redis.call('HINCRBY', KEYS[3], 'used|' .. ARGV[1], string.format('%.0f', used))
