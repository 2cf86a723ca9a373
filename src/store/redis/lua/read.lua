-- A piece of a log. ARGV: number, cursor after which it begins, entries at the most, bytes of output at which it may stop.
-- Answers {record…, entries as XRANGE gives them, '1' where they reach to the end of the stream,
-- '' or where the log is that was moved away, what was packed of it}.

if held() then
  return held()
end
local number = ARGV[1]
local moved = redis.call('HGET', job_key(number), 'moved')
if moved then
  return { record(number), {}, '0', moved, moved == 'packed' and redis.call('GET', log_key(number)) or '' }
end

local key, after, most, enough = log_key(number), ARGV[2], tonumber(ARGV[3]), math.max(1, tonumber(ARGV[4]))
local entries, bytes, step, whole = {}, 0, 2, '1'
while #entries < most and bytes <= enough do
  -- Few at first, because one can be 64 KiB; then more, because most are a line.
  local found = redis.call('XRANGE', key, '(' .. after, '+', 'COUNT', step)
  for _, entry in ipairs(found) do
    entries[#entries + 1] = entry
    local fields = entry[2]
    if fields[7] == 'bytes' then
      bytes = bytes + #fields[8]
    elseif fields[7] == 'lz4' then
      bytes = bytes + tonumber(fields[10])
    end
  end
  whole = #found < step and '1' or '0'
  if whole == '1' then
    break
  end
  after = entries[#entries][1]
  step = math.min(step * 2, most)
end
return { record(number), entries, whole, '', '' }
