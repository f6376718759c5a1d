-- SPDX-License-Identifier: MIT
-- Beside the echo bench: the same server on cqueues.
-- Alone: luajit scripts/bench/echo_cqueues.lua
local cqueues = require("cqueues")
local socket = require("cqueues.socket")

local server = socket.listen({ host = "127.0.0.1", port = 0 })
local loop = cqueues.new()

local function echo(conn)
  conn:setmode("bn", "bn")
  while true do
    local data = conn:read(-16384)
    if not data then
      break
    end
    conn:write(data)
  end
  conn:close()
end

loop:wrap(function()
  while true do
    loop:wrap(echo, (assert(server:accept({ nodelay = true }))))
  end
end)

server:listen()
local _, _, port = server:localname()
print("listening on tcp://127.0.0.1:" .. port)
io.stdout:flush()
assert(loop:loop())
