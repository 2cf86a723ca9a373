-- Adds jobs to the queue.
-- ARGV: now, limit in all, limit of an account, partitions, this partition, then for each job
-- nonce, account, spec, class, requires, priority, queue limit, key (the last two may be empty).
-- Answers, for each: {'new', number, now}, {'known', number, record…}, {'full'} or {'account_full'}.

if held() then
  return held()
end
local now = clock(ARGV[1])
local most, most_of_account = tonumber(ARGV[2]), tonumber(ARGV[3])
local partitions, partition = tonumber(ARGV[4]), tonumber(ARGV[5])
local answers, fresh, keyed = {}, {}, {}
local pending, added, declared = {}, {}, {}

local function waiting(account)
  if not pending[account] then
    pending[account] = tonumber(redis.call('HGET', base .. ':pending', account) or 0)
    added[account] = 0
  end
  return pending[account] + added[account]
end

for i = 6, #ARGV, 8 do
  local account, key = ARGV[i + 1], ARGV[i + 7]
  local name = account .. ' ' .. key
  local known = key ~= '' and (keyed[name] or redis.call('HGET', base .. ':keys', name))
  local answer
  if known then
    answer = { 'known', known }
  elseif waiting('') >= most then
    answer = { 'full' }
  elseif waiting(account) >= most_of_account then
    answer = { 'account_full' }
  else
    answer = { 'new' }
    fresh[#fresh + 1] = { i, answer }
    added[''] = added[''] + 1
    added[account] = added[account] + 1
    if key ~= '' then
      keyed[name] = answer
    end
  end
  answers[#answers + 1] = answer
end

local sequence = #fresh > 0 and redis.call('INCRBY', base .. ':numbers', #fresh) - #fresh
local stamp = digits(now)
for index, one in ipairs(fresh) do
  local i, answer = one[1], one[2]
  local nonce, account, spec, class = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local requires, priority, limit, key = ARGV[i + 4], ARGV[i + 5], ARGV[i + 6], ARGV[i + 7]
  -- The number says which partition it is from.
  local number = digits((sequence + index - 1) * partitions + partition + 1)
  local job = job_key(number)
  redis.call('HSET', job, 'nonce', nonce, 'account', account, 'spec', spec, 'status', PENDING, 'created', stamp)
  count_container(nonce, account, 1)
  if not is_container(nonce) then
    gather('ZADD', base .. ':jobs', number, number)
    gather('ZADD', base .. ':jobs:' .. account, number, number)
  end
  if key ~= '' then
    redis.call('HSET', job, 'key', key)
    redis.call('HSET', base .. ':keys', account .. ' ' .. key, number)
  end
  if limit ~= '' then
    redis.call('HSET', job, 'limit', limit)
    redis.call('ZADD', base .. ':waits', digits(now + tonumber(limit)), place(number))
  end
  if not declared[class] then
    declared[class] = true
    redis.call('HSETNX', base .. ':classes', class, requires)
  end
  gather('ZADD', ready_key(class), -tonumber(priority), place(number))
  answer[2], answer[3] = number, stamp
end
flush()
for account, count in pairs(added) do
  if count > 0 then
    redis.call('HINCRBY', base .. ':pending', account, count)
  end
end
for _, answer in ipairs(answers) do
  if answer[1] == 'known' then
    -- A key may have come twice in one go.
    if type(answer[2]) == 'table' then
      answer[2] = answer[2][2]
    end
    answer[3] = record(answer[2])
  end
end
return answers
