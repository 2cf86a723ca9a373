-- Changes documents, all or none.
-- ARGV: now, then for each collection, key, expected version ('' where there must be none), '1' to write or '0' to remove,
-- value, expiry in milliseconds ('' for never). Answers 1, or 0 where one is not as expected.
-- A document is a hash of its own, which Redis lets go of by itself; the keys of its collection are swept here.

if held() then
  return held()
end
local now = clock(ARGV[1])

local function document_key(collection, key)
  return base .. ':doc:' .. collection .. ':' .. key
end

local function remove(collection, key)
  redis.call('DEL', document_key(collection, key))
  redis.call('ZREM', keys_by_expiry(collection), key)
  redis.call('ZREM', keys_by_key(collection), key)
end

local swept = {}
for i = 2, #ARGV, 6 do
  local collection = ARGV[i]
  if not swept[collection] then
    swept[collection] = true
    local expired = redis.call('ZRANGEBYSCORE', keys_by_expiry(collection), '-inf', digits(now), 'LIMIT', 0, 1000)
    for _, key in ipairs(expired) do
      remove(collection, key)
    end
  end
  local found = redis.call('HMGET', document_key(collection, ARGV[i + 1]), 'version', 'until')
  -- More may have expired than were swept.
  local version = found[1] and (found[2] == '' or tonumber(found[2]) > now) and found[1] or ''
  if version ~= ARGV[i + 2] then
    return 0
  end
end
for i = 2, #ARGV, 6 do
  local collection, key = ARGV[i], ARGV[i + 1]
  if ARGV[i + 3] == '1' then
    local version = redis.call('INCR', base .. ':doc_versions')
    redis.call('DEL', document_key(collection, key))
    redis.call('HSET', document_key(collection, key), 'version', digits(version), 'value', ARGV[i + 4], 'until', ARGV[i + 5])
    if ARGV[i + 5] ~= '' then
      -- A moment longer, because who reads judges by the time of its reading.
      redis.call('PEXPIRE', document_key(collection, key), digits(tonumber(ARGV[i + 5]) - now + 60000))
    end
    redis.call('ZADD', keys_by_expiry(collection), ARGV[i + 5] == '' and '+inf' or ARGV[i + 5], key)
    redis.call('ZADD', keys_by_key(collection), 0, key)
  else
    remove(collection, key)
  end
end
return 1
