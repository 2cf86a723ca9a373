-- Pops the best jobs over some classes for a worker.
-- ARGV: now, worker, lease in milliseconds, jobs at the most, then class and GPUs (JSON), pair by pair.
-- Answers {now, {number, GPUs, attempt, charged, nonce, account, spec, created, rejections, grace}…}.

if held() then
  return held()
end
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

local popped = {}
if #ARGV == 6 then
  -- One class: all at once.
  gpus[ARGV[5]] = ARGV[6]
  local best = redis.call('ZPOPMIN', ready_key(ARGV[5]), most)
  for i = 1, #best, 2 do
    popped[#popped + 1] = { best[i], ARGV[5] }
  end
  if #popped < most then
    redis.call('HDEL', base .. ':classes', ARGV[5])
  end
else
  for i = 5, #ARGV, 2 do
    local class = ARGV[i]
    if not gpus[class] then
      gpus[class] = ARGV[i + 1]
      look(class)
    end
  end
  while #popped < most do
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
    popped[#popped + 1] = { heads[best].place, best }
    redis.call('ZREM', ready_key(best), heads[best].place)
    look(best)
  end
end

local claimed, counts = {}, {}
local stamp, deadline = digits(now), digits(now + lease)
for _, one in ipairs(popped) do
  local padded, class = one[1], one[2]
  local number = unplace(padded)
  local key = job_key(number)
  local job = redis.call('HMGET', key, 'attempt', 'charged', 'version', 'limit', 'nonce', 'account', 'spec', 'created',
    'rejections', 'grace')
  if job[5] then
    local attempt, charged = digits((job[1] or 0) + 1), digits((job[2] or 0) + 1)
    redis.call('HSET', key, 'status', RUNNING, 'attempt', attempt, 'charged', charged, 'worker', worker,
      'gpus', gpus[class], 'started', stamp, 'version', digits((job[3] or 0) + 1))
    if job[1] or is_container(job[5]) then
      redis.call('HDEL', key, 'reason', 'n', 'out', 'err')
    end
    if job[4] then
      redis.call('ZREM', base .. ':waits', padded)
    end
    counts[job[6]] = (counts[job[6]] or 0) + 1
    count_container(job[5], job[6], -1)
    gather('ZADD', leases_key(worker), deadline, padded)
    claimed[#claimed + 1] =
      { number, gpus[class], attempt, charged, job[5], job[6], job[7], job[8], job[9], job[10] }
  end
end
flush()
if #claimed > 0 then
  redis.call('SADD', base .. ':busy', worker)
  redis.call('HINCRBY', base .. ':pending', '', -#claimed)
  for account, count in pairs(counts) do
    redis.call('HINCRBY', base .. ':pending', account, -count)
  end
end
return { stamp, claimed }
