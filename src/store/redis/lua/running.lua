-- The jobs that run on a worker. ARGV: worker. Answers {number, record…} for each.

if held() then
  return held()
end
local running = {}
for _, padded in ipairs(redis.call('ZRANGE', leases_key(ARGV[1]), 0, -1)) do
  local number = unplace(padded)
  running[#running + 1] = { number, record(number) }
end
return running
