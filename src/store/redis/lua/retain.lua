-- Removes jobs that are over and need not be kept, oldest end first.
-- ARGV: now, age in milliseconds, jobs kept, jobs at the most. Answers {number, nonce} for each.

local horizon, kept, most = clock(ARGV[1]) - tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local over = base .. ':over'
local surplus = redis.call('ZCARD', over) - kept
local oldest = redis.call('ZRANGE', over, 0, most - 1, 'WITHSCORES')
local removed = {}
for i = 1, #oldest, 2 do
  local number, ended = digits(tonumber(oldest[i])), tonumber(oldest[i + 1])
  if #removed >= surplus and ended >= horizon then
    break
  end
  local key = job_key(number)
  local job = redis.call('HMGET', key, 'nonce', 'account', 'key')
  redis.call('ZREM', over, oldest[i])
  redis.call('ZREM', base .. ':jobs', number)
  redis.call('ZREM', base .. ':jobs:' .. job[2], number)
  if job[3] ~= '' then
    redis.call('HDEL', base .. ':keys', job[2] .. ' ' .. job[3])
  end
  redis.call('UNLINK', key, log_key(number), writes_key(number))
  removed[#removed + 1] = { number, job[1] }
end
return removed
