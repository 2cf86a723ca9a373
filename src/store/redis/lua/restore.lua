-- Brings a change of a job back, unless the record is as new.
-- ARGV: now, lease in milliseconds, number, nonce, account, attempt, status, key, class, requires, priority,
-- queue limit (may be empty, as the key may), n of the entry ('' where the log's first stands for it or there is none),
-- the entry's fields as JSON ('' where the record stands for it), how many numbers must have been given, then fields of the record and their values; an empty
-- value removes the field. Answers 1 or 0.

local now, lease = clock(ARGV[1]), tonumber(ARGV[2])
local number, nonce, account, attempt, status = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local name, class, requires, priority, limit = ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12]
local n, entry = ARGV[13], ARGV[14]
local key = job_key(number)

-- Attempts only grow, and within one a job runs, goes back to the queue, or is over.
local function age(of, state)
  local stage = 3
  if state == RUNNING then
    stage = 1
  elseif state == PENDING then
    stage = 2
  end
  return 4 * tonumber(of or 0) + stage
end

if tonumber(redis.call('GET', base .. ':numbers') or 0) < tonumber(ARGV[15]) then
  redis.call('SET', base .. ':numbers', ARGV[15])
end
local job = redis.call('HMGET', key, 'nonce', 'attempt', 'status', 'worker', 'out', 'err', 'started')
if job[1] == nonce and name ~= '' and redis.call('HSETNX', base .. ':keys', account .. ' ' .. name, number) == 1 then
  -- Another instance was first, and did not know of the key.
  redis.call('HSET', key, 'key', name)
end
if job[1] then
  if job[1] ~= nonce or age(job[2], job[3]) >= age(attempt, status) then
    return 0
  end
  if job[3] == PENDING then
    redis.call('ZREM', ready_key(class), place(number))
    redis.call('ZREM', base .. ':waits', place(number))
    count_pending(nonce, account, -1)
  elseif job[3] == RUNNING then
    redis.call('ZREM', leases_key(job[4]), place(number))
  end
else
  if name ~= '' then
    if redis.call('HSETNX', base .. ':keys', account .. ' ' .. name, number) == 0 then
      return 0
    end
    redis.call('HSET', key, 'key', name)
  end
  if not is_container(nonce) then
    redis.call('ZADD', base .. ':jobs', number, number)
    redis.call('ZADD', base .. ':jobs:' .. account, number, number)
  end
  if limit ~= '' then
    redis.call('HSET', key, 'limit', limit)
  end
end

if entry ~= '' then
  if job[3] == RUNNING and job[2] == attempt and (job[5] or 0) + (job[6] or 0) == 0 then
    write_head(number, attempt, job[7], job[4])
  end
  -- Later ones are there already.
  redis.pcall('XADD', log_key(number), attempt .. '-' .. n, unpack(cjson.decode(entry)))
end
if (job[2] or '0') ~= attempt then
  redis.call('HDEL', key, 'n', 'out', 'err')
end
for i = 16, #ARGV, 2 do
  if ARGV[i + 1] == '' then
    redis.call('HDEL', key, ARGV[i])
  else
    redis.call('HSET', key, ARGV[i], ARGV[i + 1])
  end
end
if n ~= '' then
  redis.call('HSET', key, 'n', n)
end
redis.call('HINCRBY', key, 'version', 1)

if status == PENDING then
  redis.call('HSETNX', base .. ':classes', class, requires)
  redis.call('ZADD', ready_key(class), -tonumber(priority), place(number))
  count_pending(nonce, account, 1)
  if limit ~= '' then
    redis.call('ZADD', base .. ':waits', digits(now + tonumber(limit)), place(number))
  end
elseif status == RUNNING then
  local worker = redis.call('HGET', key, 'worker')
  redis.call('ZADD', leases_key(worker), digits(now + lease), place(number))
  redis.call('SADD', base .. ':busy', worker)
elseif not is_container(nonce) or redis.call('HGET', key, 'reason') == REMOVED then
  local ended = redis.call('HGET', key, 'completed') or digits(now)
  redis.call('ZADD', base .. ':over', ended, place(number))
  count_ended(nonce, account, status, 1)
  if redis.call('EXISTS', log_key(number)) == 1 then
    redis.call('ZADD', base .. ':finished', ended, place(number))
  end
end
flush()
return 1
