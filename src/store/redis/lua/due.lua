-- What time demands. ARGV: now, jobs at the most, this instance.
-- Answers {now, numbers whose lease has run out, numbers that have waited too long}.

local now, most = digits(clock(ARGV[1])), ARGV[2]
redis.call('HSET', base .. ':looked', 'at', now, 'instance', ARGV[3])
return {
  now,
  redis.call('ZRANGEBYSCORE', base .. ':leases', '-inf', now, 'LIMIT', 0, most),
  redis.call('ZRANGEBYSCORE', base .. ':waits', '-inf', now, 'LIMIT', 0, most),
}
