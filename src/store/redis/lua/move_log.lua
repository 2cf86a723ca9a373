-- Takes the log of a job that is over out of Redis, and leaves a small record.
-- ARGV: number, nonce, attempt, n of the last entry that was moved, the log where it is packed in here, else ''.
-- Answers 1, or 0 where the job is gone or not as it was when its log was read. May be repeated.

local number, packed = ARGV[1], ARGV[5]
local key = job_key(number)
local job = redis.call('HMGET', key, 'nonce', 'attempt', 'n', 'status', 'moved', 'key')
if job[1] ~= ARGV[2] or (job[2] or '0') ~= ARGV[3] or (job[3] or '0') ~= ARGV[4] or job[4] == PENDING or job[4] == RUNNING then
  return 0
end
redis.call('ZREM', base .. ':finished', place(number))
if job[5] then
  return 1
end
local fields = record(number)
local kept = { 'moved', packed ~= '' and 'packed' or 'file' }
if job[6] then
  kept[3], kept[4] = 'key', job[6]
end
for i, field in ipairs(FIELDS) do
  if fields[i] and i ~= SPEC then
    kept[#kept + 1] = field
    kept[#kept + 1] = fields[i]
  end
end
-- Only a hash that is made anew is stored in the compact form.
redis.call('SET', spec_key(number), fields[SPEC])
redis.call('UNLINK', key, log_key(number), writes_key(number))
redis.call('HSET', key, unpack(kept))
if packed ~= '' then
  redis.call('SET', log_key(number), packed)
end
return 1
