-- Adds jobs to the queue.
-- ARGV: now, limit in all, limit of an account, partitions, this partition, then for each job
-- nonce, account, spec, class, requires, priority, queue limit, key (the last two may be empty).
-- Answers, for each: {'new', number, now}, {'known', number, record…}, {'full'} or {'account_full'}.

local now = clock(ARGV[1])
local most, most_of_account = tonumber(ARGV[2]), tonumber(ARGV[3])
local partitions, partition = tonumber(ARGV[4]), tonumber(ARGV[5])
local answers = {}

for i = 6, #ARGV, 8 do
  local nonce, account, spec, class = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local requires, priority, limit, key = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  local name = account .. ' ' .. key
  local known = key ~= '' and redis.call('HGET', base .. ':keys', name)
  local pending = redis.call('HMGET', base .. ':pending', '', account)
  if known then
    answers[#answers + 1] = { 'known', known, record(known) }
  elseif tonumber(pending[1] or 0) >= most then
    answers[#answers + 1] = { 'full' }
  elseif tonumber(pending[2] or 0) >= most_of_account then
    answers[#answers + 1] = { 'account_full' }
  else
    -- The number says which partition it is from.
    local number = digits((redis.call('INCR', base .. ':numbers') - 1) * partitions + partition + 1)
    redis.call('HSET', job_key(number), 'nonce', nonce, 'account', account, 'spec', spec, 'status', PENDING,
      'attempt', 0, 'n', 0, 'charged', 0, 'rejections', 0, 'created', digits(now), 'out', 0, 'err', 0,
      'version', 0, 'class', class, 'requires', requires, 'priority', priority, 'limit', limit, 'key', key)
    redis.call('ZADD', base .. ':jobs', number, number)
    redis.call('ZADD', base .. ':jobs:' .. account, number, number)
    if key ~= '' then
      redis.call('HSET', base .. ':keys', name, number)
    end
    enqueue(number, account, class, requires, priority, limit ~= '' and now + tonumber(limit))
    answers[#answers + 1] = { 'new', number, digits(now) }
  end
end
return answers
