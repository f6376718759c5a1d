-- SPDX-License-Identifier: MIT
-- An echo server next to a thread that is always ready: do its clients still get answers in time?
-- Alone: ./grun scripts/bench/spinner.lua, then build/bench/echo_load -c 1 -n 500 PORT
local grun = require("grun")

local done = false

grun.spawn(function()
  while not done do
    grun.sleep(0)
  end
end)

local server = grun.server("tcp://127.0.0.1:0", function(conn)
  while true do
    local data = conn:recv()
    if not data then
      break
    end
    conn:write(data)
  end
end)

print("listening on " .. server:address())
io.stdout:flush()
server:wait()
done = true
