-- Preamble of the scripts that add or drop entries: it keeps the totals of the volume in step.
-- A script names its keys in a table (entries, atime, atime_leased, leased) and ends with save_totals.
local change = { published = 0, count = 0, leased = 0, reserved = 0 }

-- The size in bytes that the value of an entry begins with; 0 for a value that no script of ours has written.
local function size_of(value)
  local digits = string.match(value, '^(%d+)|')
  return digits and #digits <= 15 and tonumber(digits) or 0
end

-- Takes dropped entries off the quotas that they counted on; does nothing in a volume without quotas.
local function disown(keys, entries)
  if not keys.owners or redis.call('EXISTS', keys.owners) == 0 then
    return
  end
  for i, owner in ipairs(redis.call('HMGET', keys.owners, unpack(entries))) do
    local size, label = string.match(owner or '', '^(%d+)|(.*)$')
    if label then
      redis.call('HINCRBY', keys.quotas, 'used|' .. label, '-' .. size)
      redis.call('HDEL', keys.owners, entries[i])
    end
  end
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
  disown(keys, { entry })
  return size
end

-- Removes several entries, each named once, in few calls; returns their bytes.
local function drop_entries(keys, entries)
  local freed = 0
  if #entries == 0 then
    return freed
  end
  local values = redis.call('HMGET', keys.entries, unpack(entries))
  redis.call('HDEL', keys.entries, unpack(entries))
  redis.call('ZREM', keys.atime, unpack(entries))
  local leased = redis.call('EXISTS', keys.atime_leased) == 1
  for i, entry in ipairs(entries) do
    if values[i] then
      local size = size_of(values[i])
      if leased and redis.call('ZREM', keys.atime_leased, entry) == 1 then
        change.leased = change.leased - size
      end
      freed = freed + size
      change.count = change.count - 1
    end
  end
  change.published = change.published - freed
  disown(keys, entries)
  return freed
end

-- Notes that bytes which were counted on the volume are in the index by now; negative ones, that the index has
-- lost what it counted although it was not there. After a sweep, nothing of either kind is left.
local function count_as_indexed(meta, bytes)
  if bytes ~= 0 and redis.call('HGET', meta, 'swept') ~= '1' then
    redis.call('HINCRBY', meta, 'unindexed', string.format('%.0f', -bytes))
  end
end

local function save_totals(meta)
  for name, amount in pairs(change) do
    if amount ~= 0 then
      redis.call('HINCRBY', meta, name, string.format('%.0f', amount))
    end
  end
end
