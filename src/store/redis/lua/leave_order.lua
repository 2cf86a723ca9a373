-- Leaves an order for a worker. ARGV: worker, frame, orders at the most, seconds that they are kept.
-- Answers 1, or 0 where too many wait.

local key = base .. ':orders:' .. ARGV[1]
if redis.call('LLEN', key) >= tonumber(ARGV[3]) then
  return 0
end
redis.call('RPUSH', key, ARGV[2])
redis.call('EXPIRE', key, ARGV[4])
return 1
