-- SPDX-License-Identifier: MIT
-- Beside the http bench: Copas has no HTTP server of its own, so this only finds the ends of heads.
-- Alone: luajit scripts/bench/http_copas.lua
package.path = (arg[0]:match("^.*/") or "") .. "?.lua;" .. package.path
local answer = require("http_minimal").answer
local copas = require("copas")
local socket = require("socket")

local server = assert(socket.bind("127.0.0.1", 0, 4096))

copas.addserver(server, function(conn)
  conn:setoption("tcp-nodelay", true)
  local rest, close = "", false
  while not close do
    local data, err, part = copas.receivePartial(conn, 16384)
    data = data or part
    if err == "closed" or not data then
      break
    end
    local answers
    answers, rest, close = answer(rest .. data)
    copas.send(conn, answers)
  end
  conn:close()
end)

print("listening on http://127.0.0.1:" .. select(2, server:getsockname()))
io.stdout:flush()
copas.loop()
