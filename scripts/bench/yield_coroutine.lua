-- SPDX-License-Identifier: MIT
-- Yardstick of yield.lua: one coroutine.resume and the coroutine.yield that answers it.
-- Alone: luajit scripts/bench/yield_coroutine.lua [units]
local units = tonumber((...)) or 2e6

local co = coroutine.create(function()
  local yield = coroutine.yield
  while true do
    yield()
  end
end)

local function measure(n)
  local resume = coroutine.resume
  local start = os.clock()
  for _ = 1, n do
    resume(co)
  end
  return (os.clock() - start) / n * 1e9
end

measure(units / 10)
print(string.format("ns=%.2f", measure(units)))
