-- SPDX-License-Identifier: MIT
-- Beside the http bench: luv has no HTTP server of its own, so this only finds the ends of heads.
-- Alone: luajit scripts/bench/http_luv.lua
package.path = (arg[0]:match("^.*/") or "") .. "?.lua;" .. package.path
local answer = require("http_minimal").answer
local uv = require("luv")

local server = uv.new_tcp()
server:bind("127.0.0.1", 0)
server:listen(4096, function()
  local conn, rest = uv.new_tcp(), ""
  server:accept(conn)
  conn:nodelay(true)
  conn:read_start(function(err, data)
    if err or not data then
      conn:close()
      return
    end
    local answers, close
    answers, rest, close = answer(rest .. data)
    if conn:try_write(answers) ~= #answers then
      error("the client does not read")
    end
    if close then
      conn:close()
    end
  end)
end)

print("listening on http://127.0.0.1:" .. server:getsockname().port)
io.stdout:flush()
uv.run()
