-- Reads a record. ARGV: now, number. Answers {now, record…}.

if held() then
  return held()
end
return { digits(clock(ARGV[1])), record(ARGV[2]) }
