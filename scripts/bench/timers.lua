-- SPDX-License-Identifier: MIT
-- Many threads sleep for random times of up to 2 s: what that costs each (CPU time), how
-- many woke early (must be 0), and how late they were.
-- Alone: ./grun scripts/bench/timers.lua [threads]
local grun = require("grun")

local threads = tonumber((...)) or 1e5
local batch = 1000 -- spawned before they get to run: the ready queue is not what is measured
local longest = 2 -- seconds
local rounding = 1e-9 -- seconds that the doubles of a monotonic clock may be off

local lateness = {}

local function sleeper(seconds)
  local due = grun.now() + seconds
  grun.sleep(seconds)
  lateness[#lateness + 1] = grun.now() - due
end

math.randomseed(1)
local start = os.clock()
local sleepers = {}
for i = 1, threads do
  sleepers[i] = grun.spawn(sleeper, math.random() * longest)
  if i % batch == 0 then
    grun.yield()
  end
end
for i = 1, threads do
  sleepers[i]:join()
end
local cpu = (os.clock() - start) / threads * 1e9

local early = 0
for i = 1, threads do
  if lateness[i] < -rounding then
    early = early + 1
  end
end
table.sort(lateness)
local function at(share)
  return lateness[math.ceil(threads * share)] * 1e3
end
print(string.format("timer_ns=%.1f early=%d p50_ms=%.3f p99_ms=%.3f max_ms=%.3f",
  cpu, early, at(0.5), at(0.99), at(1)))
