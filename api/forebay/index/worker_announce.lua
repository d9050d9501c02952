-- Records a heartbeat of a worker. Several threads and processes of one worker report at the same
-- time, so that its count of samples is added to here, and not by the caller.
-- KEYS  1 workers (hash)
-- ARGV  1 worker  2 concurrency  3 now, seconds  4 samples that it has ended since its last report, or
--       "" for a heartbeat alone, which is no progress  5 identity of its main process
-- Returns 1.
local before = redis.call('HGET', KEYS[1], ARGV[1])
local record = before and cjson.decode(before) or { progress = tonumber(ARGV[3]), done = 0 }
record.name = ARGV[1]
record.concurrency = tonumber(ARGV[2])
record.seen = tonumber(ARGV[3])
record.process = ARGV[5]
if ARGV[4] ~= '' then
  record.progress = tonumber(ARGV[3])
  record.done = record.done + tonumber(ARGV[4])
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(record))
return 1
