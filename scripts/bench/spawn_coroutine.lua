-- SPDX-License-Identifier: MIT
-- Yardstick of spawn.lua: a coroutine made and run to its end.
-- Alone: luajit scripts/bench/spawn_coroutine.lua [coroutines]
local coroutines = tonumber((...)) or 1e6

local function empty() end

local function run_static(n)
  local wrap = coroutine.wrap
  for _ = 1, n do
    wrap(empty)()
  end
end

local function run_closures(n)
  local wrap = coroutine.wrap
  for i = 1, n do
    wrap(function() return i end)()
  end
end

local function measure(run, n)
  local start = os.clock()
  run(n)
  return (os.clock() - start) / n * 1e9
end

measure(run_static, coroutines / 10)
measure(run_closures, coroutines / 10)
local static, closure = measure(run_static, coroutines), measure(run_closures, coroutines)
print(string.format("static_ns=%.1f closure_ns=%.1f", static, closure))
