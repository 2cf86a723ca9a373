-- What all scripts share. A script validates first and writes last, because nothing is rolled back;
-- it may run twice, because an answer can be lost. All keys of a partition begin with KEYS[1], its hash tag.

local base = KEYS[1]

local PENDING, RUNNING = '0', '1'

-- Fields of a record, in the order in which `record.rs` reads them.
local FIELDS = {
  'nonce', 'account', 'spec', 'status', 'reason', 'attempt', 'n', 'charged', 'rejections', 'worker', 'gpus', 'exit',
  'message', 'created', 'started', 'completed', 'out', 'err', 'grace', 'version',
}

-- Numbers from 1e14 on would be printed with an exponent.
local function digits(number)
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

local function place(number)
  return string.format('%016.0f', tonumber(number))
end

local function record(number)
  return redis.call('HMGET', job_key(number), unpack(FIELDS))
end

-- How many jobs wait, in all and of an account.
local function count_pending(account, by)
  redis.call('HINCRBY', base .. ':pending', '', by)
  redis.call('HINCRBY', base .. ':pending', account, by)
end

local function enqueue(number, account, class, requires, priority, deadline)
  redis.call('HSETNX', base .. ':classes', class, requires)
  redis.call('ZADD', ready_key(class), -tonumber(priority), place(number))
  count_pending(account, 1)
  if deadline then
    redis.call('ZADD', base .. ':waits', digits(deadline), place(number))
  end
end
