-- SPDX-License-Identifier: MIT
-- Beside the tls bench: the same server on cqueues and luaossl.
-- Alone: luajit scripts/bench/tls_cqueues.lua CERT KEY
local cqueues = require("cqueues")
local socket = require("cqueues.socket")
local context = require("openssl.ssl.context")
local pkey = require("openssl.pkey")
local x509 = require("openssl.x509")

local function contents(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local ctx = context.new("TLS", true)
ctx:setCertificate(x509.new(contents(arg[1])))
ctx:setPrivateKey(pkey.new(contents(arg[2])))

local server = socket.listen({ host = "127.0.0.1", port = 0 })
local loop = cqueues.new()

local function echo(conn)
  if conn:starttls(ctx) then
    conn:setmode("bn", "bn")
    while true do
      local data = conn:read(-16384)
      if not data then
        break
      end
      conn:write(data)
    end
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
print("listening on tls://127.0.0.1:" .. port)
io.stdout:flush()
assert(loop:loop())
