-- SPDX-License-Identifier: MIT
-- The server of the idle bench: each client's thread waits for data that does not come.
-- Alone: ./grun scripts/bench/idle.lua, then build/bench/idle_load PORT PID
local grun = require("grun")

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
