-- Appends what attempts wrote. ARGV: output kept per job in bytes, then for each write
-- number, nonce, attempt, chunks, {n, stream, time, size, bytes} for each chunk (the size only
-- where the bytes are compressed, else ''), '0' or '1', n, time, status, reason, exit code, message for the end (the
-- last two may be empty).
-- Answers, for each: {'ok', last n before, standard output and error before, last n, grace of a cancel or ''},
-- {'again', n}, {'stale', attempt}, {'gap', expected, given} or {'missing'}.

if held() then
  return held()
end
local cap = tonumber(ARGV[1])
local PIECE = 128 * 1024
local at = 1
local function next_arg()
  at = at + 1
  return ARGV[at]
end

-- Removes the oldest writes beyond the cap, but never the latest. Returns the bytes that are kept.
local function trim(number, kept)
  local key = writes_key(number)
  while kept > cap and redis.call('LLEN', key) > 1 do
    local attempt, first, last, bytes = string.match(redis.call('LPOP', key), '(%d+):(%d+):(%d+):(%d+)')
    local ids = {}
    for n = tonumber(first), tonumber(last) do
      ids[#ids + 1] = attempt .. '-' .. digits(n)
      if #ids == 1000 or n == tonumber(last) then
        redis.call('XDEL', log_key(number), unpack(ids))
        ids = {}
      end
    end
    kept = kept - tonumber(bytes)
  end
  return kept
end

local answers = {}
while at < #ARGV do
  local number, nonce, attempt, chunks = next_arg(), next_arg(), next_arg(), tonumber(next_arg())
  local first_chunk = at + 1
  at = at + 5 * chunks
  local ends = next_arg() == '1'
  local end_n, end_time, end_status, end_reason, end_exit, end_message
  if ends then
    end_n, end_time, end_status = next_arg(), next_arg(), next_arg()
    end_reason, end_exit, end_message = next_arg(), next_arg(), next_arg()
  end

  local key = job_key(number)
  local job = redis.call('HMGET', key, 'nonce', 'attempt', 'status', 'n', 'out', 'err', 'kept', 'worker', 'version',
    'started', 'grace', 'account')
  local answer
  if job[1] ~= nonce then
    answer = { 'missing' }
  elseif job[2] ~= attempt or job[3] ~= RUNNING then
    local ended = redis.call('HMGET', key, 'reason', 'exit', 'message')
    -- A job that was cancelled before it ran has no attempt, and its end is that of attempt 0.
    local same_end = ends and (job[2] or '0') == attempt and job[4] == end_n and job[3] == end_status
      and ended[1] == end_reason and (ended[2] or '') == end_exit and (ended[3] or '') == end_message
    answer = same_end and { 'again', end_n } or { 'stale', job[2] or '0' }
  else
    local last = tonumber(job[4] or 0)
    local expect, from = last + 1, 0
    for i = 0, chunks - 1 do
      local n = tonumber(ARGV[first_chunk + 5 * i])
      if n <= last then
        from = i + 1
      elseif n ~= expect then
        answer = { 'gap', digits(expect), digits(n) }
        break
      else
        expect = expect + 1
      end
    end
    if not answer and ends and tonumber(end_n) ~= expect then
      answer = { 'gap', digits(expect), end_n }
    end
    if not answer then
      local out, err, kept = tonumber(job[5] or 0), tonumber(job[6] or 0), tonumber(job[7] or 0)
      if from < chunks and out + err == 0 then
        write_head(number, attempt, job[10], job[8])
      end
      -- Output is removed in pieces of about this size, or whole writes where they are smaller.
      local piece, first = 0, nil
      local written = 0
      for i = from, chunks - 1 do
        local a = first_chunk + 5 * i
        local n, stream, time, packed, bytes = ARGV[a], ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
        local size = packed == '' and #bytes or tonumber(packed)
        local offset
        if stream == 'out' then
          offset, out = out, out + size
        else
          offset, err = err, err + size
        end
        if first and piece + size > PIECE then
          redis.call('RPUSH', writes_key(number), attempt .. ':' .. first .. ':' .. digits(n - 1) .. ':' .. digits(piece))
          piece, first = 0, nil
        end
        first = first or n
        piece, written = piece + size, written + size
        local id = attempt .. '-' .. n
        if packed == '' then
          redis.call('XADD', log_key(number), id, 'kind', stream, 'time', time, 'offset', digits(offset), 'bytes', bytes)
        else
          redis.call('XADD', log_key(number), id, 'kind', stream, 'time', time, 'offset', digits(offset), 'lz4', bytes,
            'size', packed)
        end
      end
      if from < chunks then
        redis.call('RPUSH', writes_key(number), attempt .. ':' .. first .. ':' .. digits(expect - 1) .. ':' .. digits(piece))
        kept = trim(number, kept + written)
        redis.call('HSET', key, 'n', digits(expect - 1), 'out', digits(out), 'err', digits(err), 'kept', digits(kept))
      end
      answer = { 'ok', job[4] or '0', job[5] or '0', job[6] or '0', digits(expect - 1), job[11] or '' }
      if ends then
        -- The record stands for the last entry.
        local fields = { 'status', end_status, 'n', end_n, 'reason', end_reason, 'completed', end_time,
          'version', digits((job[9] or 0) + 1) }
        if end_exit ~= '' then
          fields[#fields + 1], fields[#fields + 2] = 'exit', end_exit
        end
        if end_message ~= '' then
          fields[#fields + 1], fields[#fields + 2] = 'message', end_message
        end
        redis.call('HSET', key, unpack(fields))
        gather('ZREM', leases_key(job[8]), place(number))
        if not is_container(nonce) then
          gather('ZADD', base .. ':over', end_time, place(number))
          count_ended(nonce, job[12], end_status, 1)
        end
        if not is_container(nonce) and (out + err > 0 or attempt ~= '1') then
          gather('ZADD', base .. ':finished', end_time, place(number))
        end
        answer[5] = end_n
      end
    end
  end
  answers[#answers + 1] = answer
end
flush()
return answers
