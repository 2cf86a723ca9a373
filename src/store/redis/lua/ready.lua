-- The classes that have jobs waiting. Answers {requires, place of the head, score of the head, jobs} for each.

if held() then
  return held()
end
local classes = redis.call('HGETALL', base .. ':classes')
local ready = {}
for i = 1, #classes, 2 do
  local key = ready_key(classes[i])
  local head = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if head[1] then
    ready[#ready + 1] = { classes[i + 1], head[1], head[2], redis.call('ZCARD', key) }
  end
end
return ready
