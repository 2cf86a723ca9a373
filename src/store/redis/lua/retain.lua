-- Removes jobs that are over and need not be kept, oldest end first. Their files are for who looks after `removed`.
-- ARGV: now, age in milliseconds, jobs kept, jobs at the most. Answers {number, nonce} for each.

if held() then
  return held()
end
local horizon, kept, most = clock(ARGV[1]) - tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local over = base .. ':over'
local surplus = redis.call('ZCARD', over) - kept
local oldest = redis.call('ZRANGE', over, 0, most - 1, 'WITHSCORES')
local removed = {}
for i = 1, #oldest, 2 do
  local number, ended = unplace(oldest[i]), tonumber(oldest[i + 1])
  if #removed >= surplus and ended >= horizon then
    break
  end
  local key = job_key(number)
  local job = redis.call('HMGET', key, 'nonce', 'account', 'key', 'status')
  redis.call('ZREM', over, oldest[i])
  redis.call('ZREM', base .. ':finished', oldest[i])
  count_ended(job[1], job[2], job[4], -1)
  redis.call('ZREM', base .. ':jobs', number)
  redis.call('ZREM', base .. ':jobs:' .. job[2], number)
  if job[3] then
    redis.call('HDEL', base .. ':keys', job[2] .. ' ' .. job[3])
  end
  redis.call('UNLINK', key, spec_key(number), log_key(number), writes_key(number))
  redis.call('SADD', base .. ':removed', number .. ' ' .. job[1])
  removed[#removed + 1] = { number, job[1] }
end
flush()
return removed
