-- SPDX-License-Identifier: MIT
-- Stock redis-lua on top of stock LuaSocket, in several threads with a connection each: pipelines
-- that write, a thread that waits for a list, and others that fill it. Needs redis-lua (lua-redis).
-- Run:  ./grun scripts/examples/redis_pipeline.lua [127.0.0.1 [6379]]
-- It uses keys that begin with "grun:example:", which it removes.

local redis = require("redis")

local host, port = arg[1] or "127.0.0.1", tonumber(arg[2] or 6379)
local WRITERS, KEYS = 8, 1000
local PREFIX = "grun:example:"

-- Runs fn(client, ...) with a connection of its own.
local function connected(fn, ...)
  local client = redis.connect(host, port)
  local result = fn(client, ...)
  client:quit()
  return result
end

local function key(writer, i)
  return ("%s%d:%d"):format(PREFIX, writer, i)
end

-- One round trip for all of the keys, not one for each.
local function write(client, writer)
  client:pipeline(function(p)
    for i = 1, KEYS do
      p:set(key(writer, i), i)
      p:incr(PREFIX .. "count")
    end
  end)
  client:rpush(PREFIX .. "done", writer)
end

-- Waits for each of the writers.
local function watch(client)
  local order = {}
  for i = 1, WRITERS do
    order[i] = client:blpop(PREFIX .. "done", 10)[2]
  end
  table.sort(order)
  return table.concat(order, " ")
end

local function remove(client)
  client:pipeline(function(p)
    for writer = 1, WRITERS do
      for i = 1, KEYS do
        p:del(key(writer, i))
      end
    end
    p:del(PREFIX .. "count", PREFIX .. "done")
  end)
end

connected(remove)
local started = grun.now()
local watcher = grun.spawn(connected, watch)
local pool = grun.pool(WRITERS)
for writer = 1, WRITERS do
  pool:spawn(connected, write, writer)
end
print("writers that are done: " .. watcher:get())
pool:join()
local count, last = connected(function(client)
  return client:get(PREFIX .. "count")
end), connected(function(client)
  return client:get(key(WRITERS, KEYS))
end)
print(("%s keys written, the last is %s"):format(count, last))
io.stderr:write(("%.2f s\n"):format(grun.now() - started))
connected(remove)
