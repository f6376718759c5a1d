-- SPDX-License-Identifier: MIT
-- Beside the http bench: hello world on lua-http.
-- Alone: luajit scripts/bench/http_luahttp.lua
local headers = require("http.headers")
local http_server = require("http.server")

local server = assert(http_server.listen({
  host = "127.0.0.1",
  port = 0,
  tls = false,
  max_concurrent = 20000,
  onstream = function(_, stream)
    assert(stream:get_headers())
    local answer = headers.new()
    answer:append(":status", "200")
    answer:append("content-type", "text/plain; charset=utf-8")
    answer:append("content-length", "12")
    assert(stream:write_headers(answer, false))
    assert(stream:write_chunk("hello world\n", true))
  end,
  onerror = function() end, -- clients that hang up
}))

assert(server:listen())
print("listening on http://127.0.0.1:" .. select(3, server:localname()))
io.stdout:flush()
assert(server:loop())
