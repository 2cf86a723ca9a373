-- Numbers of jobs, newest first. ARGV: account or '', status or '', highest number, jobs at the most, jobs to look at.
-- Answers {the number to go on below or '', {number, record…}…}.

if held() then
  return held()
end
local account, status, from, most, look = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local index = base .. ':jobs'
if account ~= '' then
  index = index .. ':' .. account
end
local numbers = redis.call('ZREVRANGEBYSCORE', index, from, '-inf', 'LIMIT', 0, look)
local found = {}
for _, number in ipairs(numbers) do
  if #found == most then
    break
  end
  if status == '' or redis.call('HGET', job_key(number), 'status') == status then
    found[#found + 1] = { number, record(number) }
  end
end
local last = #numbers == look and #found < most and numbers[#numbers] or ''
return { last, found }
