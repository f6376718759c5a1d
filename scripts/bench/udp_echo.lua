-- SPDX-License-Identifier: MIT
-- A UDP echo server as a script would write it. Prints its address; serves until SIGTERM.
-- "batch" as the argument: a loop of recv_many and send_many instead of grun.server.

if arg[1] == "batch" then
  local sock = assert(grun.udp("udp://127.0.0.1:0"))
  print("listening on " .. sock:sockname())
  io.stdout:flush()
  local list = {}
  while true do
    sock:send_many(sock:recv_many(list))
  end
end

local server = assert(grun.server("udp://127.0.0.1:0", function(data)
  return data
end))
print("listening on " .. server:address())
io.stdout:flush()
