-- Preamble of the scripts that add or drop entries: it keeps the totals of the volume in step.
-- A script names its keys in a table (entries, atime, atime_leased, leased) and ends with save_totals.
local change = { published = 0, count = 0, leased = 0, reserved = 0 }

-- The size in bytes that the value of an entry begins with.
local function size_of(value)
  return tonumber(string.match(value, '^%d+'))
end

-- Writes an entry; returns the value that it replaces, or false.
local function put_entry(keys, entry, value, size, atime)
  local old = redis.call('HGET', keys.entries, entry)
  local grown = size - (old and size_of(old) or 0)
  redis.call('HSET', keys.entries, entry, value)
  if redis.call('HEXISTS', keys.leased, entry) == 1 then
    redis.call('ZADD', keys.atime_leased, atime, entry)
    change.leased = change.leased + grown
  else
    redis.call('ZADD', keys.atime, atime, entry)
  end
  change.published = change.published + grown
  if not old then
    change.count = change.count + 1
  end
  return old
end

-- Removes an entry; returns its size in bytes, or nil where there was none.
local function drop_entry(keys, entry)
  local value = redis.call('HGET', keys.entries, entry)
  if not value then
    return nil
  end
  local size = size_of(value)
  redis.call('HDEL', keys.entries, entry)
  redis.call('ZREM', keys.atime, entry)
  if redis.call('ZREM', keys.atime_leased, entry) == 1 then
    change.leased = change.leased - size
  end
  change.published = change.published - size
  change.count = change.count - 1
  return size
end

local function save_totals(meta)
  for name, amount in pairs(change) do
    if amount ~= 0 then
      redis.call('HINCRBY', meta, name, string.format('%.0f', amount))
    end
  end
end
