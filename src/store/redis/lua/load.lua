-- Reads a record. ARGV: now, number. Answers {now, record…}.
return { digits(clock(ARGV[1])), record(ARGV[2]) }
