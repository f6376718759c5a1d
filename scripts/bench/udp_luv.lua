-- SPDX-License-Identifier: MIT
-- Beside the udp bench: the same server on luv.
-- Alone: luajit scripts/bench/udp_luv.lua
local uv = require("luv")

local sock = uv.new_udp()
sock:bind("127.0.0.1", 0)
sock:recv_start(function(err, data, peer)
  if not err and data then
    sock:try_send(data, peer.ip, peer.port)
  end
end)
print("listening on udp://127.0.0.1:" .. sock:getsockname().port)
io.stdout:flush()
uv.run()
