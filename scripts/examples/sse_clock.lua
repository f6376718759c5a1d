-- SPDX-License-Identifier: MIT
-- Server-sent events: a page whose clock the server moves. Each client is a thread that sleeps.
-- Run: ./grun scripts/examples/sse_clock.lua [ADDRESS]     then open it in a browser

local grun = require("grun")
io.stdout:setvbuf("line")
grun.grace = 1 -- after ^C nobody waits for streams without end; browsers will come back

local PAGE = [[<!DOCTYPE html>
<meta charset="utf-8"><title>clock</title>
<h1 id="clock">...</h1>
<script>
  new EventSource("/events").onmessage = function (event) {
    document.getElementById("clock").textContent = event.data
  }
</script>
]]

local router = grun.http.router()

router:get("/", function()
  return 200, { ["Content-Type"] = "text/html; charset=utf-8" }, PAGE
end)

-- An iterator as the body: each piece goes out at once, and the first that cannot be sent, because
-- the client has gone, ends it.
router:get("/events", function()
  local first = true
  return 200, { ["Content-Type"] = "text/event-stream", ["Cache-Control"] = "no-store" }, function()
    if not first then
      grun.sleep(1)
    end
    first = false
    return ("data: %s\n\n"):format(os.date("%H:%M:%S"))
  end
end)

local server = assert(grun.server(arg[1] or "http://127.0.0.1:8080", router))
print("serving " .. server:address())
