-- SPDX-License-Identifier: MIT
-- What a sleeping thread weighs, in KiB: resident memory, and page tables (which are not in that).
-- Alone: ./grun scripts/bench/memory.lua [threads [long]]     (a million need about 6 GB)
-- long: what they weigh when they have slept for long, which is a second here.
local grun = require("grun")

local threads = tonumber((...)) or 1e6
local long = select(2, ...) == "long"
local batch = 1000

if long and grun.hibernate_after then
  grun.hibernate_after(1)
end

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

local asleep = 0

local function sleeper()
  asleep = asleep + 1
  grun.sleep(3600)
end

local start = grun.now()
local rss, pte = memory("VmRSS"), memory("VmPTE")
for i = 1, threads do
  grun.spawn(sleeper)
  if i % batch == 0 or i == threads then
    grun.yield()
  end
end
assert(asleep == threads)
grun.sleep(0.2)
if long then
  local before
  repeat
    before = memory("VmRSS")
    grun.sleep(2)
  until memory("VmRSS") > 0.99 * before
end
collectgarbage()
rss, pte = memory("VmRSS") - rss, memory("VmPTE") - pte
print(string.format("rss_kib=%.3f pte_kib=%.3f seconds=%.2f",
  rss / threads, pte / threads, grun.now() - start))
io.stdout:flush()
os.exit(0)
