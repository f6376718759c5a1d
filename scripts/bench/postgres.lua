-- SPDX-License-Identifier: MIT
-- Starts a PostgreSQL server and runs the example pg_parallel.lua, which prints seconds= and
-- gap_ms=. Prints skipped=1 and why when the server or LuaSQL is missing.

local ok, why = pcall(require, "luasql.postgres")
local server
if ok then
  server, why = require("spec.coop.servers").postgres()
end
if not server then
  print("skipped=1 " .. tostring(why):match("[^\n]*"))
  return
end
arg = { [0] = "pg_parallel.lua", -- luacheck: globals arg
  ("host=%s port=%d user=postgres dbname=postgres"):format(server.socket, server.port) }
local done, message = pcall(dofile, debug.getinfo(1, "S").source:match("@(.*)/") ..
  "/../examples/pg_parallel.lua")
server:stop()
assert(done, message)
