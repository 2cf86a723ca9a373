-- Begins all leases and queue limits anew, unless another instance has looked after them meanwhile.
-- ARGV: now, lease in milliseconds, this instance, age in milliseconds at which a look no longer counts.

if held() then
  return held()
end
local now = clock(ARGV[1])
local look = redis.call('HMGET', base .. ':looked', 'at', 'instance')
if look[1] and look[2] ~= ARGV[3] and now - tonumber(look[1]) < tonumber(ARGV[4]) then
  return 0
end
for _, worker in ipairs(redis.call('SMEMBERS', base .. ':busy')) do
  for _, padded in ipairs(redis.call('ZRANGE', leases_key(worker), 0, -1)) do
    redis.call('ZADD', leases_key(worker), digits(now + tonumber(ARGV[2])), padded)
  end
end
for _, padded in ipairs(redis.call('ZRANGE', base .. ':waits', 0, -1)) do
  local limit = redis.call('HGET', job_key(unplace(padded)), 'limit')
  redis.call('ZADD', base .. ':waits', digits(now + tonumber(limit)), padded)
end
redis.call('HSET', base .. ':looked', 'at', digits(now), 'instance', ARGV[3])
return 1
