-- SPDX-License-Identifier: MIT
-- A TCP (or unix socket) echo server: one green thread per connection, plain blocking-style code.
-- Run:  ./grun scripts/examples/echo.lua [tcp://127.0.0.1:7000 | unix:/tmp/echo.sock]
-- Then: nc 127.0.0.1 7000        (^C stops the server; open connections may finish)

local address = arg[1] or "tcp://127.0.0.1:7000"

local function echo(conn)
  print("open", conn:peername())
  for line in conn:lines("L") do
    conn:write(line)
  end
  print("closed")
end

local server = assert(grun.server(address, echo))
io.stdout:setvbuf("line")
print("listening on " .. server:address())
