-- SPDX-License-Identifier: MIT
-- Stock LuaSQL: 50 queries of half a second each, at once, in one process. Every thread has a
-- connection of its own, which libpq asks for. Needs LuaSQL (lua-sql-postgres).
-- Run:  ./grun scripts/examples/pg_parallel.lua "host=/run/postgresql dbname=postgres" [QUERIES]
-- Prints what it took, and the longest time that a thread which sleeps 1 ms at a time slept.

local conninfo, queries = arg[1], tonumber(arg[2] or 50)
if not conninfo or not queries then
  io.stderr:write("usage: pg_parallel.lua CONNINFO [QUERIES]\n")
  os.exit(2)
end

local env = assert(require("luasql.postgres").postgres())

local function query(i)
  local db = assert(env:connect(conninfo))
  local cursor = assert(db:execute(("select %d, pg_sleep(0.5)"):format(i)))
  local value = cursor:fetch()
  cursor:close()
  db:close()
  return tonumber(value)
end

local worst = 0
local ticker = grun.spawn(function()
  while true do
    local before = grun.now()
    grun.sleep(0.001)
    worst = math.max(worst, grun.now() - before)
  end
end)

local started, threads, sum = grun.now(), {}, 0
for i = 1, queries do
  threads[i] = grun.spawn(query, i)
end
for i = 1, queries do
  sum = sum + threads[i]:get()
end
local seconds = grun.now() - started
ticker:cancel()
env:close()

print(("%d queries, sum %d"):format(queries, sum))
print(("seconds=%.3f gap_ms=%.1f"):format(seconds, worst * 1000))
