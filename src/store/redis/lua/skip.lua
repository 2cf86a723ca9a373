-- Goes on after entries that are gone. ARGV: number, nonce, attempt, last n that is gone, standard output and error up to there.
-- Answers {'ok'}, {'stale', attempt} or {'missing'}.

if held() then
  return held()
end
local number, n = ARGV[1], ARGV[4]
local key = job_key(number)
local job = redis.call('HMGET', key, 'nonce', 'attempt', 'status', 'n', 'out', 'err', 'started', 'worker')
if job[1] ~= ARGV[2] then
  return { 'missing' }
elseif job[2] ~= ARGV[3] or job[3] ~= RUNNING then
  return { 'stale', job[2] or '0' }
elseif tonumber(job[4] or 0) < tonumber(n) then
  if (job[5] or 0) + (job[6] or 0) == 0 then
    write_head(number, job[2], job[7], job[8])
  end
  redis.call('HSET', key, 'n', n, 'out', ARGV[5], 'err', ARGV[6])
end
return { 'ok' }
