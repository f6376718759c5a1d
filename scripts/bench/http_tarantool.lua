-- SPDX-License-Identifier: MIT
-- Beside the http bench: Tarantool has no HTTP server of its own, so this only finds the ends of
-- heads.
-- Alone: tarantool scripts/bench/http_tarantool.lua
package.path = (arg[0]:match("^.*/") or "") .. "?.lua;" .. package.path
local answer = require("http_minimal").answer
local fiber = require("fiber")
local socket = require("socket")

local server = socket.tcp_server("127.0.0.1", 0, { backlog = 4096, handler = function(conn)
  conn:setsockopt("tcp", "TCP_NODELAY", 1)
  local rest, close = "", false
  while not close do
    local data = conn:sysread(16384) -- tries without waiting
    if data == "" or not data and not conn:readable() then
      break
    elseif data then
      local answers
      answers, rest, close = answer(rest .. data)
      conn:write(answers)
    end
  end
end })

print("listening on http://127.0.0.1:" .. server:name().port)
io.stdout:flush()
fiber.sleep(1e9)
