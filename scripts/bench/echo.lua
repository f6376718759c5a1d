-- SPDX-License-Identifier: MIT
-- The TCP echo server that the echo benches drive, as a user of grun would write it.
-- Alone: ./grun scripts/bench/echo.lua, then build/bench/echo_load PORT or nc 127.0.0.1 PORT
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
