-- Takes or renews a task that one instance does at a time. ARGV: task, instance, milliseconds. Answers 1 or 0.

local key = base .. ':task:' .. ARGV[1]
local holder = redis.call('GET', key)
if holder and holder ~= ARGV[2] then
  return 0
end
redis.call('SET', key, ARGV[2], 'PX', ARGV[3])
return 1
