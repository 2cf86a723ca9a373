-- Adds or replaces a worker's record, unless a later agent has its name.
-- ARGV: worker, boot, record, draining, last seen. Answers 1 or 0.

local key = base .. ':worker:' .. ARGV[1]
local boot = redis.call('HGET', key, 'boot')
if boot and tonumber(boot) > tonumber(ARGV[2]) then
  return 0
end
redis.call('HSET', key, 'boot', ARGV[2], 'record', ARGV[3], 'seen', ARGV[5])
redis.call('HSETNX', key, 'draining', ARGV[4])
redis.call('SADD', base .. ':workers', ARGV[1])
return 1
