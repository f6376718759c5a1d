-- SPDX-License-Identifier: MIT
-- Beside the benches of threads: the same with Tarantool's fibers. Prints NAME_ns=... for each name
-- (all without one); `memory N`, `timers N`.
-- Alone: tarantool scripts/bench/threads_tarantool.lua [NAME...]
local clock = require("clock")
local fiber = require("fiber")

local function both(a, b, ...)
  local one, other = fiber.new(a, ...), fiber.new(b, ...)
  one:set_joinable(true)
  other:set_joinable(true)
  one:join()
  other:join()
end

local function spin(n)
  local yield = fiber.yield
  for _ = 1, n do
    yield()
  end
end

local function empty() end

local function put_all(channel, n)
  for i = 1, n do
    channel:put(i)
  end
end

local function get_all(channel, n)
  for _ = 1, n do
    channel:get()
  end
end

local rates = {
  yield = { 1e6, function(n) both(spin, spin, n / 2) end },
  spawn = { 5e5, function(n)
    for _ = 1, n / 100 do
      for _ = 1, 100 do
        fiber.new(empty)
      end
      fiber.yield()
    end
  end },
  queue = { 2e6, function(n) both(put_all, get_all, fiber.channel(128), n) end },
  rendezvous = { 1e6, function(n) both(put_all, get_all, fiber.channel(0), n) end },
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
  collectgarbage()
  local before, asleep = resident(), 0
  local function sleeper()
    asleep = asleep + 1
    fiber.sleep(3600)
  end
  for i = 1, n do
    fiber.new(sleeper)
    if i % 1000 == 0 then
      fiber.yield()
    end
  end
  fiber.sleep(0.2)
  assert(asleep == n)
  collectgarbage()
  print(("rss_kib=%.3f"):format((resident() - before) / n))
end

local function timers(n)
  local late, start, done = {}, os.clock(), fiber.channel(1)
  local function sleeper(seconds)
    local due = clock.monotonic() + seconds
    fiber.sleep(seconds)
    late[#late + 1] = (clock.monotonic() - due) * 1e3
    if #late == n then
      done:put(true)
    end
  end
  math.randomseed(1)
  for i = 1, n do
    fiber.new(sleeper, math.random() * 2)
    if i % 1000 == 0 then
      fiber.yield()
    end
  end
  done:get()
  local cpu = (os.clock() - start) / n * 1e9
  table.sort(late)
  print(("timer_ns=%.1f p99_ms=%.3f"):format(cpu, late[math.ceil(n * 0.99)]))
end

if arg[1] == "memory" then
  memory(tonumber(arg[2]))
elseif arg[1] == "timers" then
  timers(tonumber(arg[2]))
else
  for _, name in ipairs(#arg > 0 and arg or { "yield", "spawn", "queue", "rendezvous" }) do
    local n, run = unpack(rates[name])
    run(n / 10)
    local start = os.clock()
    run(n)
    print(("%s_ns=%.3f"):format(name, (os.clock() - start) / n * 1e9))
  end
end
io.stdout:flush()
os.exit(0)
