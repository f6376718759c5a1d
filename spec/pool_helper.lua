-- SPDX-License-Identifier: MIT
-- What the specs about pools share.

local grun = require("grun")

local M = {}

--- Returns its arguments.
function M.same(...)
  return ...
end

--- The list 1, 2, … n.
function M.numbers(n)
  local list = {}
  for i = 1, n do
    list[i] = i
  end
  return list
end

--- Waits until the thread is parked. Returns it.
function M.parked(t)
  while t:status() ~= "waiting" do
    assert(t[1], "the thread ended instead of waiting")
    grun.yield()
  end
  return t
end

local function leave(gauge, ok, ...)
  gauge.now = gauge.now - 1
  if not ok then
    error((...), 0)
  end
  return ...
end

--- Counts how many calls go on at once: returns around(fn), which is fn with the counting, and a
--- function that returns the maximum.
function M.gauge()
  local gauge = { now = 0, most = 0 }
  return function(fn)
    return function(...)
      gauge.now = gauge.now + 1
      gauge.most = math.max(gauge.most, gauge.now)
      return leave(gauge, pcall(fn, ...))
    end
  end, function()
    return gauge.most
  end
end

--- KiB in use after fn(...).
function M.heap_after(fn, ...)
  fn(...)
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

return M
