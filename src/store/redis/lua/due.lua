-- What time demands. ARGV: now, jobs at the most, this instance.
-- Answers {now, numbers whose lease has run out, numbers that have waited too long}.

if held() then
  return held()
end
local now, most = digits(clock(ARGV[1])), ARGV[2]
redis.call('HSET', base .. ':looked', 'at', now, 'instance', ARGV[3])
local lapsed = {}
for _, worker in ipairs(redis.call('SMEMBERS', base .. ':busy')) do
  local key = leases_key(worker)
  local late = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'WITHSCORES', 'LIMIT', 0, most)
  for i = 1, #late, 2 do
    lapsed[#lapsed + 1] = place(late[i + 1]) .. late[i]
  end
  if #late == 0 and redis.call('EXISTS', key) == 0 then
    redis.call('SREM', base .. ':busy', worker)
  end
end
-- By deadline, then by number.
table.sort(lapsed)
for i, both in ipairs(lapsed) do
  lapsed[i] = string.sub(both, -16)
end
return { now, lapsed, redis.call('ZRANGEBYSCORE', base .. ':waits', '-inf', now, 'LIMIT', 0, most) }
