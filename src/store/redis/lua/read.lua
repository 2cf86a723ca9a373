-- A piece of a log. ARGV: number, cursor after which it begins, entries at the most.
-- Answers {record…, entries as XRANGE gives them, '' or where the log is that was moved away, what was packed of it}.

local number = ARGV[1]
local moved = redis.call('HGET', job_key(number), 'moved')
if moved then
  return { record(number), {}, moved, moved == 'packed' and redis.call('GET', log_key(number)) or '' }
end
return { record(number), redis.call('XRANGE', log_key(number), '(' .. ARGV[2], '+', 'COUNT', ARGV[3]), '', '' }
