-- Each request fetches one of very many files, in many accounts and months.
-- Arguments: the prefix of the target, the number of files.
function init(args)
   prefix, files = args[1], tonumber(args[2])
   math.randomseed(11)
end

function request()
   local n = math.random(0, files - 1)
   return wrk.format("GET", string.format("%s/%032x/20%02d%02d-%032x/message.mp3", prefix, n % 64, 10 + n % 16, 1 + n % 12, n))
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("RESULT %.3f %d %.1f %.1f\n", summary.requests / (summary.duration / 1e6),
      e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
