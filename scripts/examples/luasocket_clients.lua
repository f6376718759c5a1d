-- SPDX-License-Identifier: MIT
-- Stock LuaSocket: a server and its clients as threads of one process, in plain blocking code.
-- Nothing in it knows about threads but the word grun.spawn. Needs LuaSocket (lua-socket).
--
-- Run:  ./grun scripts/examples/luasocket_clients.lua
--
-- Prints:
--   20 clients waited 0.2 s each, together less than 1 s: true
--   answers: HELLO 1, HELLO 2, HELLO 3, ...
--   nobody listens: connection refused
--   too slow: timeout
--   the clock went on meanwhile: true

local socket = require("socket")

local ticks = 0
local clock = grun.spawn(function()
  while true do
    grun.sleep(0.01)
    ticks = ticks + 1
  end
end)

-- ---- The server: a thread for each client ----

local server = assert(socket.bind("127.0.0.1", 0))
local _, port = server:getsockname()

local function serve(client)
  for line in function() return client:receive("*l") end do
    socket.sleep(0.2) -- this server thinks for a while
    client:send(line:upper() .. "\n")
  end
  client:close()
end

local listener = grun.spawn(function()
  while true do
    grun.spawn(serve, assert(server:accept()))
  end
end)

-- ---- The clients ----

local function ask(line)
  local client = assert(socket.connect("127.0.0.1", port))
  client:send(line .. "\n")
  local answer = client:receive("*l")
  client:close()
  return answer
end

local started, threads, answers = grun.now(), {}, {}
for i = 1, 20 do
  threads[i] = grun.spawn(ask, "hello " .. i)
end
for i = 1, 20 do
  answers[i] = threads[i]:get()
end
local seconds = grun.now() - started
print("20 clients waited 0.2 s each, together less than 1 s: " .. tostring(seconds < 1))
print("answers: " .. table.concat(answers, ", ", 1, 3) .. ", ...")

-- ---- Errors and time-outs are LuaSocket's own ----

local unused = assert(socket.bind("127.0.0.1", 0))
local _, closed_port = unused:getsockname()
unused:close()
print("nobody listens: " .. select(2, socket.connect("127.0.0.1", closed_port)))

local client = assert(socket.connect("127.0.0.1", port))
client:settimeout(0.05)
client:send("quick\n")
print("too slow: " .. select(2, client:receive("*l")))
client:close()

listener:cancel()
listener:join()
server:close()
clock:cancel()
print("the clock went on meanwhile: " .. tostring(ticks > 10))
