-- SPDX-License-Identifier: MIT
-- What a thread weighs in KiB that has been asleep for long: resident memory, of that its packed
-- stack, and page tables; what putting one away costs, and the gaps of a 1 ms ticker meanwhile;
-- what waking one costs, beside the same for one that was not put away.
-- Alone: ./grun scripts/bench/hibernate.lua [threads]     (a million need about 6 GB at first)
local grun = require("grun")
local core = require("grun.core")

local threads = tonumber((...)) or 1e6
local MANY, SINGLE = math.min(threads, 1e5), math.min(threads / 2, 1e4)
local BATCH = 1000

-- A field of /proc/self/status in KiB.
local function memory(field)
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^" .. field .. ":%s*(%d+) kB")
    if kib then
      return tonumber(kib)
    end
  end
  error("no " .. field .. " in /proc/self/status")
end

local parked = 0

local function sleeper()
  while true do
    parked = parked + 1
    grun.sleep(36000)
  end
end

local function share(sorted, part)
  return sorted[math.ceil(#sorted * part)]
end

-- Waits until all hibernate. Returns CPU seconds and what 99 % of the ticker's gaps do not exceed.
-- The collector is held back from here on, since its steps over so many threads take longer; it is
-- not stopped, since a wait under a stopped collector must find out whether it is in a finalizer.
local function put_away(n)
  collectgarbage("setpause", 1e6)
  collectgarbage()
  local cpu, gaps, last = os.clock(), {}, grun.now()
  grun.hibernate_after(0.5)
  while core.hibernated().threads < n do
    grun.sleep(0.001)
    gaps[#gaps + 1], last = grun.now() - last, grun.now()
  end
  cpu = os.clock() - cpu
  grun.hibernate_after(0)
  table.sort(gaps)
  return cpu, share(gaps, 0.99)
end

-- Wakes threads first to last at once and waits until all are parked again. Returns CPU seconds.
local function wake(list, first, last)
  local cpu, before = os.clock(), parked
  for i = first, last do
    core.ready(list[i])
  end
  while parked < before + last - first + 1 do
    grun.yield()
  end
  return os.clock() - cpu
end

grun.hibernate_after(0)
local list = {}
local rss, pte = memory("VmRSS"), memory("VmPTE")
for i = 1, threads do
  local t = grun.spawn(sleeper)
  if i <= MANY then
    list[i] = t[1]
  end
  if i % BATCH == 0 or i == threads then
    grun.yield()
  end
end
assert(parked == threads)
local awake_wake = wake(list, 1, MANY)
local cpu, gap = put_away(threads)
rss, pte = memory("VmRSS") - rss, memory("VmPTE") - pte
local packed = core.hibernated().bytes / 1024

local single = {}
for i = 1, SINGLE do
  local from = grun.now()
  wake(list, i, i)
  single[i] = grun.now() - from
end
table.sort(single)
local mass = wake(list, SINGLE + 1, MANY)
local function us(seconds, n)
  return seconds / (n or 1) * 1e6
end
print(("rss_kib=%.3f packed_kib=%.3f pte_kib=%.3f put_us=%.2f gap_p99_ms=%.2f"):format(
  rss / threads, packed / threads, pte / threads, us(cpu, threads), gap * 1e3))
print(("wake_us=%.2f awake_us=%.2f single_p50_us=%.2f single_p99_us=%.2f"):format(
  us(mass, MANY - SINGLE), us(awake_wake, MANY), us(share(single, 0.5)),
  us(share(single, 0.99))))
io.stdout:flush()
os.exit(0)
