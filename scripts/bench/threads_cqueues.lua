-- SPDX-License-Identifier: MIT
-- Beside the benches of threads: the same with cqueues. Prints NAME_ns=... for each name (all
-- without one); `memory N`, `timers N`.
-- Alone: luajit scripts/bench/threads_cqueues.lua [NAME...]
local cqueues = require("cqueues")

local function spin(n)
  local sleep = cqueues.sleep
  for _ = 1, n do
    sleep(0)
  end
end

local function empty() end

local rates = {
  yield = { 2e5, function(n)
    local loop = cqueues.new()
    loop:wrap(spin, n / 2)
    loop:wrap(spin, n / 2)
    assert(loop:loop())
  end },
  spawn = { 2e5, function(n)
    local loop = cqueues.new()
    for _ = 1, n / 100 do
      for _ = 1, 100 do
        loop:wrap(empty)
      end
      assert(loop:loop())
    end
  end },
}

-- KiB of resident memory.
local function resident()
  for line in io.lines("/proc/self/status") do
    local kib = line:match("^VmRSS:%s*(%d+) kB")
    if kib then
      return tonumber(kib)
    end
  end
end

local function memory(n)
  local loop = cqueues.new()
  collectgarbage()
  local before = resident()
  local asleep = 0
  for _ = 1, n do
    loop:wrap(function()
      asleep = asleep + 1
      cqueues.sleep(3600)
    end)
  end
  assert(loop:step(0))
  assert(asleep == n)
  collectgarbage()
  print(("rss_kib=%.3f"):format((resident() - before) / n))
end

local function timers(n)
  local loop, late, start = cqueues.new(), {}, os.clock()
  local function sleeper(seconds)
    local due = cqueues.monotime() + seconds
    cqueues.sleep(seconds)
    late[#late + 1] = (cqueues.monotime() - due) * 1e3
  end
  math.randomseed(1)
  for i = 1, n do
    loop:wrap(sleeper, math.random() * 2)
    if i % 1000 == 0 then
      assert(loop:step(0))
    end
  end
  assert(loop:loop())
  local cpu = (os.clock() - start) / n * 1e9
  table.sort(late)
  print(("timer_ns=%.1f p99_ms=%.3f"):format(cpu, late[math.ceil(n * 0.99)]))
end

if arg[1] == "memory" then
  memory(tonumber(arg[2]))
elseif arg[1] == "timers" then
  timers(tonumber(arg[2]))
else
  for _, name in ipairs(#arg > 0 and arg or { "yield", "spawn" }) do
    local n, run = unpack(rates[name])
    run(n / 10)
    local start = os.clock()
    run(n)
    print(("%s_ns=%.3f"):format(name, (os.clock() - start) / n * 1e9))
  end
end
