-- Changes a record, unless it has changed since it was read, and appends the entry that says so.
-- ARGV: number, version that was read, now, requeue limit (may be empty), fields of the entry as JSON ('' for none),
-- then fields of the record and their values; an empty value removes the field.
-- Answers {'changed'} or {'ok', n of the entry, standard output, standard error}.

local number, version, now, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = job_key(number)
local job = redis.call('HMGET', key, 'version', 'status', 'attempt', 'n', 'out', 'err', 'account', 'class', 'requires',
  'priority', 'limit', 'worker')
if job[1] ~= version then
  return { 'changed' }
end

local before, after = job[2], job[2]
for i = 5, #ARGV, 2 do
  local field, value = ARGV[i], ARGV[i + 1]
  if value == '' then
    redis.call('HDEL', key, field)
  else
    redis.call('HSET', key, field, value)
  end
  if field == 'status' then
    after = value
  end
end

local n = job[4]
if entry ~= '' then
  n = digits(n + 1)
  redis.call('XADD', log_key(number), job[3] .. '-' .. n, unpack(cjson.decode(entry)))
end
redis.call('HSET', key, 'version', digits(version + 1), 'n', n)

if before ~= after then
  if before == PENDING then
    redis.call('ZREM', ready_key(job[8]), place(number))
    redis.call('ZREM', base .. ':waits', place(number))
    count_pending(job[7], -1)
  else
    redis.call('ZREM', base .. ':leases', place(number))
    redis.call('SREM', base .. ':on:' .. job[12], number)
  end
  if after == PENDING then
    enqueue(number, job[7], job[8], job[9], job[10], job[11] ~= '' and now + tonumber(job[11]))
  else
    redis.call('ZADD', base .. ':over', now, place(number))
  end
end
return { 'ok', n, job[5], job[6] }
