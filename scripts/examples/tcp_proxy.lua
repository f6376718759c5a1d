-- SPDX-License-Identifier: MIT
-- A proxy for any protocol over byte streams: what a client sends goes to the upstream and back, as
-- it comes. Shows two threads for one connection, one for each direction, and half-closed
-- connections: when one side has said all it has to say, the other one may still answer.
-- Run:  ./grun scripts/examples/tcp_proxy.lua tcp://127.0.0.1:8080 tcp://127.0.0.1:80
-- Then: curl http://127.0.0.1:8080/
-- Both addresses may be tcp://, tls:// or unix: ones, so tls://… as the second one makes a plain
-- client speak TLS. A third argument sets how many seconds a silent connection is kept (300).

local address, upstream, idle = arg[1], arg[2], tonumber(arg[3] or 300)
if not upstream or not idle then
  io.stderr:write("usage: tcp_proxy.lua LISTEN UPSTREAM [IDLE_SECONDS]\n")
  os.exit(2)
end

local CONNECT = 10 -- seconds

-- The time of the last byte in either direction counts: a long download is silent in the other one.
local function copy(from, to, last)
  while true do
    local data, _, code = from:recv(65536, idle)
    if data then
      last.at = grun.now()
      if not to:write(data) then
        return from:shutdown("r") -- nobody takes it any more
      end
    elseif code ~= "timeout" then
      return to:shutdown("w")
    elseif grun.now() - last.at >= idle then
      from:close()
      to:close()
      return
    end
  end
end

local function serve(client)
  local name = client:peername()
  local server, message = grun.connect(upstream, { timeout = CONNECT })
  if not server then
    print(("%s: %s"):format(name, message))
    return
  end
  local last = { at = grun.now() }
  grun.scope(function(both)
    both:spawn(copy, client, server, last)
    both:spawn(copy, server, client, last)
  end)
  server:close()
  local stats = client:stats()
  print(("%s: %d bytes to the upstream, %d bytes back"):format(name, stats.received, stats.sent))
end

io.stdout:setvbuf("line")
local server = assert(grun.server(address, serve))
print("listening on " .. server:address())
