-- A piece of a log. ARGV: number, cursor after which it begins, entries at the most.
-- Answers {record…, entries as XRANGE gives them}.

return { record(ARGV[1]), redis.call('XRANGE', log_key(ARGV[1]), '(' .. ARGV[2], '+', 'COUNT', ARGV[3]) }
