-- Adds or replaces an account. ARGV: 'add' or 'update', name, name in lower case, email in lower case or '', record, and the
-- revision that must be there to be replaced.
-- Answers 1, or 0 where the name or the email is another's, or there is nothing to replace.

local how, name, folded, email, account, revision = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local accounts, names, emails = base .. ':accounts', base .. ':names', base .. ':emails'

-- Whether an account other than this one goes by `text`.
local function is_taken(text)
  for _, index in ipairs({ names, emails }) do
    local owner = redis.call('HGET', index, text)
    if owner and (how == 'add' or owner ~= name) then
      return true
    end
  end
  return false
end

local known = redis.call('HGET', accounts, name)
if how == 'update' then
  -- A record of old has no revision.
  if not known or digits(cjson.decode(known).revision or 0) ~= revision then
    return 0
  end
elseif is_taken(folded) then
  return 0
end
if email ~= '' and is_taken(email) then
  return 0
end
local before = known and redis.call('HGET', base .. ':email_of', name)
if before then
  redis.call('HDEL', emails, before)
end
redis.call('HSET', accounts, name, account)
redis.call('HSET', names, folded, name)
if email ~= '' then
  redis.call('HSET', emails, email, name)
  redis.call('HSET', base .. ':email_of', name, email)
else
  redis.call('HDEL', base .. ':email_of', name)
end
return 1
