-- Renews the leases that a worker has. ARGV: now, worker, lease in milliseconds, then number, nonce, attempt of each.
-- Answers the positions, from 1, of those that are not its own.

if held() then
  return held()
end
local deadline, worker = digits(clock(ARGV[1]) + tonumber(ARGV[3])), ARGV[2]
local lost = {}
for i = 4, #ARGV, 3 do
  local number = ARGV[i]
  local job = redis.call('HMGET', job_key(number), 'nonce', 'attempt', 'status', 'worker')
  if job[1] == ARGV[i + 1] and job[2] == ARGV[i + 2] and job[3] == RUNNING and job[4] == worker then
    redis.call('ZADD', leases_key(worker), deadline, place(number))
  else
    lost[#lost + 1] = (i - 4) / 3 + 1
  end
end
return lost
