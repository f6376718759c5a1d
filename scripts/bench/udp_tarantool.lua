-- SPDX-License-Identifier: MIT
-- Beside the udp bench: the same server on Tarantool's sockets.
-- Alone: tarantool scripts/bench/udp_tarantool.lua
local socket = require("socket")

local sock = socket("AF_INET", "SOCK_DGRAM", "udp")
assert(sock:bind("127.0.0.1", 0))
print("listening on udp://127.0.0.1:" .. sock:name().port)
io.stdout:flush()
while true do
  local data, peer = sock:recvfrom(2048)
  if data then
    sock:sendto(peer.host, peer.port, data)
  else
    sock:readable()
  end
end
