-- Sets fields of a job, unless the job was forgotten: a hash that no list names would stay for ever.
-- KEYS  1 job (hash)
-- ARGV  1 names of fields that get the time of now, with commas between them  2.. field, value, field …
-- Returns 1, or 0 when there is no such job.
if redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local time = redis.call('TIME')
for field in string.gmatch(ARGV[1], '[^,]+') do
  redis.call('HSET', KEYS[1], field, string.format('%d.%06d', time[1], time[2]))
end
for i = 2, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
