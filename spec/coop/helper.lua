-- SPDX-License-Identifier: MIT
-- For the specs of the cooperative libc: the C module that calls it, and the question whether others
-- could run meanwhile.

local child = require("spec.parking.child")
local grun = require("grun")
local helper = require("spec.helper")

local M = { child = child }

--- The C module spec/coop/libc.c.
function M.libc()
  local path = child.build("spec/coop/libc.c", "cooplibc")
  if not package.cpath:find(path, 1, true) then
    package.cpath = path .. ";" .. package.cpath
  end
  return require("cooplibc")
end

--- Runs fn(...) and returns how often a thread that sleeps 1 ms at a time ran meanwhile, then fn's results.
function M.ticks(fn, ...)
  local n = 0
  local ticker = helper.spawn(function()
    while true do
      grun.sleep(0.001)
      n = n + 1
    end
  end)
  grun.yield()
  local results = { fn(...) }
  ticker:kill()
  return n, unpack(results)
end

--- Runs fn() and returns the longest time, in ms, that a thread which sleeps 1 ms at a time had to wait
--- meanwhile, then fn's results.
function M.gap(fn)
  local worst, last = 0, grun.now()
  local ticker = helper.spawn(function()
    while true do
      grun.sleep(0.001)
      worst, last = math.max(worst, grun.now() - last), grun.now()
    end
  end)
  grun.yield()
  local results = { fn() }
  grun.sleep(0.002)
  ticker:kill()
  return worst * 1000, unpack(results)
end

--- Runs fn in a thread that is cancelled when it waits; it has to end soon. Returns the thread.
function M.cancelled(fn)
  local t = helper.spawn(fn)
  grun.sleep(0.02)
  local start = grun.now()
  t:cancel("enough")
  t:join()
  assert(grun.now() - start < 0.1, "a cancelled thread goes on")
  return t
end

--- Runs fn(i) in n threads and returns the seconds that takes, and their results.
function M.parallel(n, fn)
  local start, threads, results = grun.now(), {}, {}
  for i = 1, n do
    threads[i] = helper.spawn(fn, i)
  end
  for i = 1, n do
    results[i] = { threads[i]:get() }
  end
  return grun.now() - start, results
end

--- How the counts of one name changed during fn().
function M.counted(name, fn)
  local before = grun.coop.stats().calls[name]
  fn()
  local after, change = grun.coop.stats().calls[name], {}
  for key, value in pairs(after) do
    change[key] = value - before[key]
  end
  return change
end

return M
