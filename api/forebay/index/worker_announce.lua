-- Records a heartbeat of a worker. Several threads and processes of one worker report at the same
-- time, so that its count of samples is added to here, and not by the caller. Its times are the server's.
-- KEYS  1 workers (hash)
-- ARGV  1 worker  2 concurrency  3 samples that it has ended since its last report, or "" for a heartbeat
--       alone, which is no progress  4 identity of its main process
-- Returns 1.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local before = redis.call('HGET', KEYS[1], ARGV[1])
local record = before and cjson.decode(before) or { progress = now, done = 0 }
record.name = ARGV[1]
record.concurrency = tonumber(ARGV[2])
record.seen = now
record.process = ARGV[4]
if ARGV[3] ~= '' then
  record.progress = now
  record.done = record.done + tonumber(ARGV[3])
end
redis.call('HSET', KEYS[1], ARGV[1], cjson.encode(record))
return 1
