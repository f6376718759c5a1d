-- SPDX-License-Identifier: MIT
-- Work that needs nothing but the processor, for a comparison with luajit: numbers, tables,
-- strings, callbacks from C, coroutines. Prints script_ms=..., the best of several runs.

local function work()
  local sum, t = 0, {}
  for i = 1, 2e6 do
    sum = sum + i % 7 * 0.5
    t[i % 1000 + 1] = sum
  end
  for i = 1, 2000 do
    t[i] = ("%d:%s"):format(i, tostring(i * 3))
  end
  table.sort(t, function(a, b)
    return tostring(a) < tostring(b)
  end)
  local text = table.concat(t, ",")
  local n = 0
  for _ = 1, 20 do
    text:gsub("%d+", function(digits)
      n = n + #digits
    end)
  end
  local co = coroutine.wrap(function()
    while true do
      n = n + 1
      coroutine.yield(n)
    end
  end)
  for _ = 1, 200000 do
    co()
  end
  return sum + n
end

local best = math.huge
for _ = 1, 15 do
  local start = os.clock()
  work()
  best = math.min(best, os.clock() - start)
end
print(("script_ms=%.3f"):format(best * 1000))
