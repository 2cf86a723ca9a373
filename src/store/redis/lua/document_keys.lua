-- Keys of a collection's documents, greatest first. ARGV: collection, below what as ZREVRANGEBYLEX has it, keys at the most.
-- Answers the keys. Some may have expired.

local by_expiry, by_key = keys_by_expiry(ARGV[1]), keys_by_key(ARGV[1])
if redis.call('ZCARD', by_key) ~= redis.call('ZCARD', by_expiry) then
  -- An older version wrote some. Equal scores sort by text.
  redis.call('ZUNIONSTORE', by_key, 1, by_expiry, 'WEIGHTS', 0)
end
return redis.call('ZREVRANGEBYLEX', by_key, ARGV[2], '-', 'LIMIT', 0, ARGV[3])
