-- Adds jobs to the queue.
-- ARGV: now, limit in all, limit of an account, partitions, this partition, then for each job
-- nonce, account, spec, class, requires, priority, queue limit, key (the last two may be empty).
-- Answers, for each: {'new', number, now}, {'known', number, record…}, {'full'} or {'account_full'}.

local now = clock(ARGV[1])
local most, most_of_account = tonumber(ARGV[2]), tonumber(ARGV[3])
local partitions, partition = tonumber(ARGV[4]), tonumber(ARGV[5])
local answers = {}
local pending, added, declared = {}, {}, {}

local function waiting(account)
  if not pending[account] then
    pending[account] = tonumber(redis.call('HGET', base .. ':pending', account) or 0)
    added[account] = 0
  end
  return pending[account] + added[account]
end

for i = 6, #ARGV, 8 do
  local nonce, account, spec, class = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local requires, priority, limit, key = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  local name = account .. ' ' .. key
  local known = key ~= '' and redis.call('HGET', base .. ':keys', name)
  if known then
    answers[#answers + 1] = { 'known', known, record(known) }
  elseif waiting('') >= most then
    answers[#answers + 1] = { 'full' }
  elseif waiting(account) >= most_of_account then
    answers[#answers + 1] = { 'account_full' }
  else
    -- The number says which partition it is from.
    local number = digits((redis.call('INCR', base .. ':numbers') - 1) * partitions + partition + 1)
    redis.call('HSET', job_key(number), 'nonce', nonce, 'account', account, 'spec', spec, 'status', PENDING,
      'created', digits(now))
    redis.call('ZADD', base .. ':jobs', number, number)
    redis.call('ZADD', base .. ':jobs:' .. account, number, number)
    if key ~= '' then
      redis.call('HSET', job_key(number), 'key', key)
      redis.call('HSET', base .. ':keys', name, number)
    end
    if limit ~= '' then
      redis.call('HSET', job_key(number), 'limit', limit)
      redis.call('ZADD', base .. ':waits', digits(now + tonumber(limit)), place(number))
    end
    if not declared[class] then
      declared[class] = true
      redis.call('HSETNX', base .. ':classes', class, requires)
    end
    redis.call('ZADD', ready_key(class), -tonumber(priority), place(number))
    added[''] = added[''] + 1
    added[account] = added[account] + 1
    answers[#answers + 1] = { 'new', number, digits(now) }
  end
end
for account, count in pairs(added) do
  if count > 0 then
    redis.call('HINCRBY', base .. ':pending', account, count)
  end
end
return answers
