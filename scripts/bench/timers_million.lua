-- SPDX-License-Identifier: MIT
-- A million threads asleep until random times: how many woke early (must be 0), what arming and
-- firing a timer costs, and how long it takes to cancel them all.
--
-- Waking a thread that was parked for long costs cache misses whatever woke it. So rounds of
-- sleeping take turns with rounds of yielding, and timer_us is what sleeping costs on top of that.
-- Alone: ./grun scripts/bench/timers_million.lua [threads]
local grun = require("grun")

local threads = tonumber((...)) or 1e6
local rounds = 3 -- of each kind
local arming, longest = 4, 3 -- seconds: no timer fires before all are armed; then for so long
local rounding = 1e-9 -- seconds that the doubles of a monotonic clock may be off

local cpu, now = os.clock, grun.now
local done, early = 0, 0

local function asleep(seconds)
  local due = now() + seconds
  grun.sleep(seconds)
  if now() < due - rounding then
    early = early + 1
  end
end

local function ready(seconds)
  local due = now() + seconds
  grun.yield()
  if now() < due - 1e9 then
    early = early + 1
  end
end

local gates = {}
for i = 1, 2 * rounds + 1 do
  gates[i] = grun.event()
end

local function body(seconds)
  for i = 1, 2 * rounds do
    gates[i]:wait();
    (i % 2 == 1 and asleep or ready)(seconds)
    done = done + 1
  end
  gates[2 * rounds + 1]:wait()
  grun.sleep(1000 + seconds)
end

local function median(list)
  table.sort(list)
  return list[math.ceil(#list / 2)]
end

-- Microseconds of processor time a thread, from the gate's opening until all came through.
local function cost(gate)
  done = 0
  local start = cpu()
  gate:set()
  while done < threads do
    grun.sleep(0.1)
  end
  return (cpu() - start) / threads * 1e6
end

math.randomseed(1)
-- Every cycle of the collector would look at a million stacks. It is not stopped, since a wait
-- under a stopped collector must find out whether it is in a finalizer.
collectgarbage("setpause", 1e6)
collectgarbage()
local list = {}
for i = 1, threads do
  list[i] = grun.spawn(body, arming + math.random() * longest)
  if i % 1000 == 0 then
    grun.yield()
  end
end

local sleeping, yielding, timer = {}, {}, {}
for i = 1, rounds do
  sleeping[i], yielding[i] = cost(gates[2 * i - 1]), cost(gates[2 * i])
  timer[i] = sleeping[i] - yielding[i]
end

gates[2 * rounds + 1]:set()
grun.sleep(0)
local start = now()
for i = 1, threads do
  list[i]:cancel()
end
for i = 1, threads do
  list[i]:join()
end
print(string.format("early=%d sleep_us=%.3f yield_us=%.3f timer_us=%.3f cancel_s=%.3f", early,
  median(sleeping), median(yielding), median(timer), now() - start))
os.exit(0)
