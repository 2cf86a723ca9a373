-- Changes a record, unless it has changed since it was read, and appends the entry that says so.
-- ARGV: number, version that was read, now, fields of an entry that goes into the log as JSON ('' for none), '1' where the
-- record goes one entry on, fields of the entry that the record stood for as JSON where a container goes on that was over, class, requires,
-- priority and queue limit (may be empty) of the job, then fields of the record and their values; an empty value removes the field.
-- Answers {'changed'} or {'ok', n of the entry, standard output, standard error}.

if held() then
  return held()
end
local number, version, now, entry = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = job_key(number)
local goes_on, ended = ARGV[5] == '1', ARGV[6]
local class, requires, priority, limit = ARGV[7], ARGV[8], ARGV[9], ARGV[10]
local job = redis.call('HMGET', key, 'version', 'status', 'attempt', 'n', 'out', 'err', 'account', 'worker', 'started', 'nonce')
if (job[1] or '0') ~= version or not job[2] then
  return { 'changed' }
end

local before, after = job[2], job[2]
for i = 11, #ARGV, 2 do
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

local out, err = job[5] or '0', job[6] or '0'
local n = job[4] or '0'
if ended ~= '' then
  if job[9] and out + err == 0 then
    write_head(number, job[3], job[9], job[8])
  end
  redis.call('XADD', log_key(number), (job[3] or '0') .. '-' .. n, unpack(cjson.decode(ended)))
end
if goes_on then
  n = digits(n + 1)
end
if entry ~= '' then
  if before == RUNNING and out + err == 0 then
    write_head(number, job[3], job[9], job[8])
  end
  redis.call('XADD', log_key(number), (job[3] or '0') .. '-' .. n, unpack(cjson.decode(entry)))
end
redis.call('HSET', key, 'version', digits(version + 1), 'n', n)

if before ~= after or ended ~= '' then
  if before == PENDING then
    redis.call('ZREM', ready_key(class), place(number))
    redis.call('ZREM', base .. ':waits', place(number))
    count_pending(job[10], job[7], -1)
  elseif before == RUNNING then
    redis.call('ZREM', leases_key(job[8]), place(number))
  end
  if after == PENDING then
    redis.call('HSETNX', base .. ':classes', class, requires)
    redis.call('ZADD', ready_key(class), -tonumber(priority), place(number))
    count_pending(job[10], job[7], 1)
    if limit ~= '' then
      redis.call('ZADD', base .. ':waits', digits(now + tonumber(limit)), place(number))
    end
  elseif not is_container(job[10]) or redis.call('HGET', key, 'reason') == REMOVED then
    redis.call('ZADD', base .. ':over', now, place(number))
    count_ended(job[10], job[7], after, 1)
    if redis.call('EXISTS', log_key(number)) == 1 then
      redis.call('ZADD', base .. ':finished', now, place(number))
    end
  end
end
flush()
return { 'ok', n, out, err }
