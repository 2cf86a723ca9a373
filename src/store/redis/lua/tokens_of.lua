-- The tokens of an account. ARGV: its name. Answers the records.
-- The index holds account and id of each token, with a space between that no account's name has; equal scores sort by text.

local name, tokens, by_account = ARGV[1], base .. ':tokens', base .. ':tokens_by_account'
if redis.call('ZCARD', by_account) ~= redis.call('HLEN', tokens) then
  -- An older version wrote some.
  redis.call('DEL', by_account)
  local all = redis.call('HGETALL', tokens)
  for i = 1, #all, 2 do
    gather('ZADD', by_account, 0, cjson.decode(all[i + 1]).account .. ' ' .. all[i])
  end
  flush()
end
local found = {}
-- '!' comes right after the space.
for _, place in ipairs(redis.call('ZRANGEBYLEX', by_account, '[' .. name .. ' ', '(' .. name .. '!')) do
  found[#found + 1] = redis.call('HGET', tokens, string.sub(place, #name + 2))
end
return found
