-- SPDX-License-Identifier: MIT
-- Beside the echo bench: the same server on luv, libuv's loop with callbacks.
-- Alone: luajit scripts/bench/echo_luv.lua
local uv = require("luv")

local server = uv.new_tcp()
server:bind("127.0.0.1", 0)
server:listen(4096, function()
  local conn = uv.new_tcp()
  server:accept(conn)
  conn:nodelay(true)
  conn:read_start(function(err, data)
    if err or not data then
      conn:close()
    elseif conn:try_write(data) ~= #data then
      error("the client does not read")
    end
  end)
end)

print("listening on tcp://127.0.0.1:" .. server:getsockname().port)
io.stdout:flush()
uv.run()
