-- Removes a token. ARGV: id. Answers 1, or 0 where there is none.

local token = redis.call('HGET', base .. ':tokens', ARGV[1])
if not token then
  return 0
end
redis.call('HDEL', base .. ':tokens', ARGV[1])
redis.call('ZREM', base .. ':tokens_by_account', cjson.decode(token).account .. ' ' .. ARGV[1])
return 1
