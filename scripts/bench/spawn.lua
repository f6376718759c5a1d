-- SPDX-License-Identifier: MIT
-- What a thread with an empty body costs from grun.spawn to its end, garbage collection included:
-- with one function for all (spawn_ns), with a new closure for each (closure_ns).
-- Alone: ./grun scripts/bench/spawn.lua [threads]
local grun = require("grun")

local threads = tonumber((...)) or 1e6
local batch = 100 -- threads alive at a time, so that finished ones are reused

local function empty() end

local function spawn_static(n)
  local spawn = grun.spawn
  for _ = 1, n do
    spawn(empty)
  end
end

local function spawn_closures(n)
  local spawn = grun.spawn
  for i = 1, n do
    spawn(function() return i end)
  end
end

local function measure(spawn_some, n)
  local yield = grun.yield
  local start = os.clock()
  for _ = 1, n / batch do
    spawn_some(batch)
    yield()
  end
  return (os.clock() - start) / n * 1e9
end

measure(spawn_static, threads / 10)
measure(spawn_closures, threads / 10)
local static, closure = measure(spawn_static, threads), measure(spawn_closures, threads)
print(string.format("spawn_ns=%.1f closure_ns=%.1f", static, closure))
