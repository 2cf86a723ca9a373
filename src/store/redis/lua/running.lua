-- The jobs that run on a worker. ARGV: worker. Answers {number, record…} for each.

local numbers = redis.call('SMEMBERS', base .. ':on:' .. ARGV[1])
local running = {}
for _, number in ipairs(numbers) do
  running[#running + 1] = { number, record(number) }
end
return running
