-- SPDX-License-Identifier: MIT
-- A thousand jobs, at most ten at a time: pool:map() returns their results in the order of the
-- items, whichever is ready first. The first error would cancel the rest and be raised here.
-- Run: ./grun scripts/examples/bounded_map.lua
-- Prints:
--   1000 jobs, sum of squares 333833500
--   at most 10 at a time
--   in order: true

local running, most = 0, 0

local function job(n)
  running = running + 1
  most = math.max(most, running)
  grun.sleep(math.random() / 1000)
  running = running - 1
  return n * n
end

local items = {}
for n = 1, 1000 do
  items[n] = n
end

local squares = grun.pool(10):map(job, items)

local sum, ordered = 0, true
for n, square in ipairs(squares) do
  sum, ordered = sum + square, ordered and square == n * n
end
print(("%d jobs, sum of squares %d"):format(#squares, sum))
print(("at most %d at a time"):format(most))
print("in order: " .. tostring(ordered))
