-- What all scripts share. A script validates first and writes last, because nothing is rolled back;
-- it may run twice, because an answer can be lost. All keys of a partition begin with KEYS[1], its hash tag.

local base = KEYS[1]

local PENDING, RUNNING = '0', '1'

-- Fields of a record, in the order in which `record.rs` reads them. One that is missing is 0, or there is none.
local FIELDS = {
  'nonce', 'account', 'spec', 'status', 'reason', 'attempt', 'n', 'charged', 'rejections', 'worker', 'gpus', 'exit',
  'message', 'created', 'started', 'completed', 'out', 'err', 'grace', 'version',
}

-- Whether a nonce is a container's. One that is over is kept until it is removed, and is on no list.
local REMOVED = 'removed'
local function is_container(nonce)
  return math.floor(tonumber(nonce) / 0x1000000) == 0xc5
end

-- A whole number in digits; from 1e14 on Lua itself would print an exponent.
local function digits(number)
  if number < 1e14 then
    return tostring(number)
  end
  return string.format('%.0f', number)
end

-- Milliseconds by Redis' own clock, unless a test holds time still.
local function clock(given)
  if given ~= '' then
    return tonumber(given)
  end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function job_key(number)
  return base .. ':job:' .. number
end

local function log_key(number)
  return base .. ':log:' .. number
end

-- Pieces of output that are kept, oldest first: attempt:first:last:bytes.
local function writes_key(number)
  return base .. ':writes:' .. number
end

-- Jobs of a class, best first: by priority, then by number, which is padded because equal scores sort by text.
local function ready_key(class)
  return base .. ':ready:' .. class
end

-- When the leases of a worker's jobs run out. The workers that have any are in `busy`.
local function leases_key(worker)
  return base .. ':leases:' .. worker
end

local function place(number)
  return string.sub('0000000000000000', #number + 1) .. number
end

-- The number of a place.
local function unplace(padded)
  return (string.gsub(padded, '^0+', ''))
end

-- Gathers arguments of commands that take any number of them: one call costs hardly more than one argument.
local gathered = {}
local function gather(command, key, ...)
  local name = command .. ' ' .. key
  local one = gathered[name]
  if not one then
    one = { command, key }
    gathered[name] = one
  end
  for _, arg in ipairs({ ... }) do
    one[#one + 1] = arg
  end
  if #one > 1000 then
    redis.call(unpack(one))
    gathered[name] = nil
  end
end

-- Gathers what is added to the counts of a hash; one that is 0 has no field, because fields are named by accounts.
local sums = {}
local function add(key, field, by)
  local fields = sums[key] or {}
  sums[key] = fields
  fields[field] = (fields[field] or 0) + by
end

local function flush()
  for _, one in pairs(gathered) do
    redis.call(unpack(one))
  end
  gathered = {}
  for key, fields in pairs(sums) do
    for field, by in pairs(fields) do
      if redis.call('HINCRBY', key, field, by) == 0 then
        redis.call('HDEL', key, field)
      end
    end
  end
  sums = {}
end

-- A spec that was moved out of the record of a finished job: what is left takes a fraction of the memory.
local function spec_key(number)
  return base .. ':spec:' .. number
end

local SPEC = 3

local function record(number)
  local fields = redis.call('HMGET', job_key(number), unpack(FIELDS))
  if fields[1] and not fields[SPEC] then
    fields[SPEC] = redis.call('GET', spec_key(number))
  end
  return fields
end

-- How many containers wait, in all and of an account: they are among those of `pending`. Until `flush`, this is gathered.
local function count_container(nonce, account, by)
  if is_container(nonce) then
    add(base .. ':pending_containers', '', by)
    add(base .. ':pending_containers', account, by)
  end
end

-- How many jobs wait, in all and of an account.
local function count_pending(nonce, account, by)
  redis.call('HINCRBY', base .. ':pending', '', by)
  redis.call('HINCRBY', base .. ':pending', account, by)
  count_container(nonce, account, by)
end

-- How many jobs are over, by status, in all and of an account; gathered, too. Counts are right once `count.lua` has
-- counted all, which it notes under this name.
local WHOLE = 'whole'
local function count_ended(nonce, account, status, by)
  if not is_container(nonce) then
    add(base .. ':ended', status .. ':', by)
    add(base .. ':ended', status .. ':' .. account, by)
  end
end

-- The keys of a collection's documents: by expiry, which all versions keep, and by key, which older ones do not.
local function keys_by_expiry(collection)
  return base .. ':docs:' .. collection
end

local function keys_by_key(collection)
  return base .. ':docs_by_key:' .. collection
end

-- The first entry of an attempt. It is in the log once something follows it there; until then the record stands for it.
local function write_head(number, attempt, started, worker)
  redis.call('XADD', log_key(number), attempt .. '-0', 'kind', 'run', 'time', started, 'worker', worker)
end

-- Redis has lost its tail, and instances are about to bring back what they still hold. What is read or decided before
-- they have would be wrong.
local function held()
  if redis.call('EXISTS', base .. ':hold') == 1 then
    return redis.error_reply('HOLD waiting for what instances bring back')
  end
end
