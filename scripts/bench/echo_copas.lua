-- SPDX-License-Identifier: MIT
-- Beside the echo bench: the same server on Copas.
-- Alone: luajit scripts/bench/echo_copas.lua
local copas = require("copas")
local socket = require("socket")

local server = assert(socket.bind("127.0.0.1", 0, 4096))

copas.addserver(server, function(conn)
  conn:setoption("tcp-nodelay", true)
  while true do
    local data, err, part = copas.receivePartial(conn, 16384)
    data = data or part
    if err == "closed" or not data then
      break
    end
    copas.send(conn, data)
  end
  conn:close()
end)

print("listening on tcp://127.0.0.1:" .. select(2, server:getsockname()))
io.stdout:flush()
copas.loop()
