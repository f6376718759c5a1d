-- SPDX-License-Identifier: MIT
-- An HTTP server for the benches: hello world; the same by a handler that takes the request; or a
-- router with 200 routes that give 4 KB of JSON.
--
-- Alone: ./grun scripts/bench/http.lua [hello|request|router]

local grun = require("grun")

local function json()
  local items = {}
  for i = 1, 64 do
    items[i] = ('{"id":%d,"name":"item number %d","price":%d.5,"tags":["a","b"]}'):format(i, i, i)
  end
  return ("[" .. table.concat(items, ",") .. "]"):sub(1, 4096)
end

local function router()
  local routes, body = grun.http.router(), json()
  local function answer()
    return 200, { ["Content-Type"] = "application/json" }, body
  end
  for i = 1, 100 do
    routes:get(("/section%d/items"):format(i), answer)
    routes:get(("/section%d/items/:id"):format(i), answer)
  end
  return routes
end

local function hello()
  return "hello world\n"
end

local function hello_request(_)
  return "hello world\n"
end

local handlers = { request = hello_request, router = arg[1] == "router" and router() }
local server = assert(grun.server("http://127.0.0.1:0", handlers[arg[1]] or hello))
io.stdout:setvbuf("no")
print("listening on " .. server:address())
