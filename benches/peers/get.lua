-- Each request fetches one of a number of files. Arguments: the prefix of the target, the number of files.
function init(args)
   prefix, files = args[1], tonumber(args[2])
   math.randomseed(7)
end

function request()
   return wrk.format("GET", string.format("%s/%d/message.mp3", prefix, math.random(0, files - 1)))
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("RESULT %.3f %d %.1f %.1f\n", summary.requests / (summary.duration / 1e6),
      e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
