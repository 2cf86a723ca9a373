-- Meets a server that is not the one it was: restarted, or another in its place. What it was told last may be missing.
-- ARGV: now, its run id, numbers to pass over, milliseconds for which nothing else is answered, lease in milliseconds.
-- Answers 1, or 0 where another instance was here first.

local now, server = clock(ARGV[1]), ARGV[2]
if redis.call('GET', base .. ':server') == server then
  return 0
end
redis.call('SET', base .. ':server', server)
-- Jobs that it has forgotten may have had the next numbers, and are about to come back.
redis.call('INCRBY', base .. ':numbers', ARGV[3])
redis.call('SET', base .. ':hold', 1, 'PX', ARGV[4])
-- Renewals may be missing, too. Nobody looks after leases before this was here.
redis.call('DEL', base .. ':looked')
for _, worker in ipairs(redis.call('SMEMBERS', base .. ':busy')) do
  for _, padded in ipairs(redis.call('ZRANGE', leases_key(worker), 0, -1)) do
    redis.call('ZADD', leases_key(worker), 'GT', digits(now + tonumber(ARGV[5])), padded)
  end
end
return 1
