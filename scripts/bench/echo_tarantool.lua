-- SPDX-License-Identifier: MIT
-- Beside the echo bench: the same server on Tarantool's fibers.
-- Alone: tarantool scripts/bench/echo_tarantool.lua
local fiber = require("fiber")
local socket = require("socket")

local server = socket.tcp_server("127.0.0.1", 0, function(conn)
  conn:setsockopt("tcp", "TCP_NODELAY", 1)
  while true do
    local data = conn:sysread(16384) -- tries without waiting
    if data == "" then
      break
    elseif data then
      conn:write(data)
    elseif not conn:readable() then
      break
    end
  end
end)

print("listening on tcp://127.0.0.1:" .. server:name().port)
io.stdout:flush()
fiber.sleep(1e9)
