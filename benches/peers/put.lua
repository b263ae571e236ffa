-- Each request uploads a body under a new name, as KAZOO does: an account, a document of the month, a file.
-- Arguments: the file with the body, its content-type, the prefix of the target, a number that is unique to the run.
local thread_count = 0
function setup(thread)
   thread:set("thread_number", thread_count)
   thread_count = thread_count + 1
end

function init(args)
   local file = assert(io.open(args[1], "rb"))
   body = file:read("*a")
   file:close()
   headers = { ["content-type"] = args[2], ["te"] = "" }
   prefix = args[3]
   run = tonumber(args[4])
   count = 0
end

function request()
   count = count + 1
   local account = string.format("%032x", count % 64)
   local path = string.format("%s/%s/202611-%08x%08x%016x/message.mp3", prefix, account, run, thread_number, count)
   return wrk.format("PUT", path, headers, body)
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("RESULT %.3f %d %.1f %.1f\n", summary.requests / (summary.duration / 1e6),
      e.connect + e.read + e.write + e.status + e.timeout, latency:percentile(50), latency:percentile(99)))
end
