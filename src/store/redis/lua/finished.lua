-- Jobs that are over and whose logs are still here, oldest end first. The log of a job that wrote nothing is its record.
-- ARGV: now, age of their end in milliseconds, jobs at the most. Answers {number, nonce} for each.

local horizon = digits(clock(ARGV[1]) - tonumber(ARGV[2]))
local found = {}
for _, padded in ipairs(redis.call('ZRANGEBYSCORE', base .. ':finished', '-inf', horizon, 'LIMIT', 0, ARGV[3])) do
  local number = unplace(padded)
  local nonce = redis.call('HGET', job_key(number), 'nonce')
  if nonce then
    found[#found + 1] = { number, nonce }
  else
    redis.call('ZREM', base .. ':finished', padded)
  end
end
return found
