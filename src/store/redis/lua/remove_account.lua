-- Removes an account and its tokens. ARGV: name, name in lower case.
-- Answers nil where there is none, else the records of the tokens.

local name, folded = ARGV[1], ARGV[2]
if redis.call('HDEL', base .. ':accounts', name) == 0 then
  return false
end
redis.call('HDEL', base .. ':names', folded)
local email = redis.call('HGET', base .. ':email_of', name)
if email then
  redis.call('HDEL', base .. ':emails', email)
  redis.call('HDEL', base .. ':email_of', name)
end
local ended = {}
local tokens = redis.call('HGETALL', base .. ':tokens')
for i = 1, #tokens, 2 do
  if cjson.decode(tokens[i + 1]).account == name then
    redis.call('HDEL', base .. ':tokens', tokens[i])
    redis.call('ZREM', base .. ':tokens_by_account', name .. ' ' .. tokens[i])
    ended[#ended + 1] = tokens[i + 1]
  end
end
return ended
