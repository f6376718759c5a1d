-- SPDX-License-Identifier: MIT
-- Beside the benches of threads: LuaJIT's bare coroutines, without a loop, and luv's timers.
-- Prints NAME_ns=... for each name: yield, spawn, closure; `memory N`; `timers N` (needs luv).
-- Alone: luajit scripts/bench/threads_luajit.lua [NAME...]

local function empty() end

-- One coroutine.resume and the coroutine.yield that answers it.
local function yields(n)
  local resume = coroutine.resume
  local co = coroutine.create(function()
    local yield = coroutine.yield
    while true do
      yield()
    end
  end)
  for _ = 1, n do
    resume(co)
  end
end

local function spawns(n)
  local wrap = coroutine.wrap
  for _ = 1, n do
    wrap(empty)()
  end
end

local function closures(n)
  local wrap = coroutine.wrap
  for i = 1, n do
    wrap(function() return i end)()
  end
end

local function measure(run, n)
  run(n / 10)
  local start = os.clock()
  run(n)
  return (os.clock() - start) / n * 1e9
end

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
  collectgarbage()
  local before, parked = resident(), {}
  for i = 1, n do
    parked[i] = coroutine.create(coroutine.yield)
    coroutine.resume(parked[i])
  end
  collectgarbage()
  print(("rss_kib=%.3f"):format((resident() - before) / n))
  return #parked
end

-- n timers with random times of up to 2 s, and a coroutine that waits for each.
local function timers(n)
  local uv = require("luv")
  local late, start = {}, os.clock()
  math.randomseed(1)
  local function sleeper(seconds)
    local due, timer = uv.hrtime() + seconds * 1e9, uv.new_timer()
    local co = coroutine.running()
    timer:start(math.ceil(seconds * 1000), 0, function()
      timer:close()
      coroutine.resume(co)
    end)
    coroutine.yield()
    late[#late + 1] = (uv.hrtime() - due) / 1e6
  end
  for i = 1, n do
    coroutine.wrap(sleeper)(math.random() * 2)
    if i % 1000 == 0 then
      uv.run("nowait")
    end
  end
  uv.run()
  local cpu = (os.clock() - start) / n * 1e9
  table.sort(late)
  print(("timer_ns=%.1f p99_ms=%.3f"):format(cpu, late[math.ceil(n * 0.99)]))
end

local rates = { yield = { yields, 2e6 }, spawn = { spawns, 1e6 }, closure = { closures, 1e6 } }

if arg[1] == "memory" then
  memory(tonumber(arg[2]))
elseif arg[1] == "timers" then
  timers(tonumber(arg[2]))
else
  for _, name in ipairs(#arg > 0 and arg or { "yield", "spawn", "closure" }) do
    print(("%s_ns=%.3f"):format(name, measure(unpack(rates[name]))))
  end
end
