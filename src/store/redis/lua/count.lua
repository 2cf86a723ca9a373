-- How many jobs of each status there are, containers aside. ARGV: account or ''.
-- Answers {pending, running, completed, failed, cancelled}.

if held() then
  return held()
end
local account = ARGV[1]
local ended = base .. ':ended'
if redis.call('HEXISTS', ended, WHOLE) == 0 then
  -- Nobody has counted yet since this Redis was filled, or by a version that did not: once, all of them.
  redis.call('DEL', ended)
  for _, padded in ipairs(redis.call('ZRANGE', base .. ':over', 0, -1)) do
    local job = redis.call('HMGET', job_key(unplace(padded)), 'nonce', 'account', 'status')
    if job[1] then
      count_ended(job[1], job[2], job[3], 1)
    end
  end
  flush()
  redis.call('HSET', ended, WHOLE, 1)
end
local jobs = base .. ':jobs'
if account ~= '' then
  jobs = jobs .. ':' .. account
end
local over = redis.call('HMGET', ended, '2:' .. account, '3:' .. account, '4:' .. account)
local completed, failed, cancelled = tonumber(over[1] or 0), tonumber(over[2] or 0), tonumber(over[3] or 0)
local waiting = tonumber(redis.call('HGET', base .. ':pending', account) or 0)
local pending = waiting - tonumber(redis.call('HGET', base .. ':pending_containers', account) or 0)
local running = redis.call('ZCARD', jobs) - pending - completed - failed - cancelled
return { math.max(pending, 0), math.max(running, 0), completed, failed, cancelled }
