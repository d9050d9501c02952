-- Writes down what became of the run of a standing prefetch.
-- KEYS  1 schedules:runs (hash)
-- ARGV  1 name  2 the run as it was, as JSON  3 the run as it is now, as JSON
-- Returns 1; or 0 where another worker has changed it, or it was removed. Repeated after a lost answer: 1.
local found = redis.call('HGET', KEYS[1], ARGV[1])
if found == ARGV[3] then
  return 1
end
if found ~= ARGV[2] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
