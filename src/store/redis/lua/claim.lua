-- Pops the best jobs over some classes for a worker.
-- ARGV: now, worker, lease in milliseconds, jobs at the most, then class and GPUs (JSON), pair by pair.
-- Answers {number, record…} for each.

local now, worker, lease, most = clock(ARGV[1]), ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local heads, gpus = {}, {}

local function look(class)
  local head = redis.call('ZRANGE', ready_key(class), 0, 0, 'WITHSCORES')
  if head[1] then
    heads[class] = { place = head[1], score = tonumber(head[2]) }
  else
    heads[class] = nil
    redis.call('HDEL', base .. ':classes', class)
  end
end

for i = 5, #ARGV, 2 do
  local class = ARGV[i]
  if not gpus[class] then
    gpus[class] = ARGV[i + 1]
    look(class)
  end
end

local claimed = {}
while #claimed < most do
  local best
  for class, head in pairs(heads) do
    local other = best and heads[best]
    if not other or head.score < other.score or (head.score == other.score and head.place < other.place) then
      best = class
    end
  end
  if not best then
    break
  end
  local padded = heads[best].place
  local number = digits(tonumber(padded))
  redis.call('ZREM', ready_key(best), padded)
  look(best)

  local key = job_key(number)
  local job = redis.call('HMGET', key, 'attempt', 'charged', 'account', 'limit', 'version')
  if job[1] then
    local attempt = digits(job[1] + 1)
    redis.call('XADD', log_key(number), attempt .. '-0', 'kind', 'run', 'time', digits(now), 'worker', worker)
    redis.call('HSET', key, 'status', RUNNING, 'attempt', attempt, 'n', 0, 'charged', digits(job[2] + 1), 'worker', worker,
      'gpus', gpus[best], 'started', digits(now), 'out', 0, 'err', 0, 'version', digits(job[5] + 1))
    redis.call('HDEL', key, 'reason')
    count_pending(job[3], -1)
    if job[4] ~= '' then
      redis.call('ZREM', base .. ':waits', place(number))
    end
    redis.call('ZADD', base .. ':leases', digits(now + lease), place(number))
    redis.call('SADD', base .. ':on:' .. worker, number)
    claimed[#claimed + 1] = { number, record(number) }
  end
end
return claimed
