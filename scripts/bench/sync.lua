-- SPDX-License-Identifier: MIT
-- What synchronisation costs, in nanoseconds, beside two yardsticks of the same run: a yield to
-- another thread (yield_ns) and an empty Lua function call in a compiled loop (call_ns).
-- Alone: ./grun scripts/bench/sync.lua [NAME...]
local grun = require("grun")

local ROUNDS = 3
local subjects, names = {}, {}

local wanted = {}
for _, name in ipairs(arg) do
  wanted[name] = true
end

-- run(n) does it n times.
local function subject(name, n, run)
  if #arg > 0 and not wanted[name] then
    return
  end
  subjects[name] = { n = n, run = run, ns = {} }
  names[#names + 1] = name
end

local function both(a, b, ...)
  local one, other = grun.spawn(a, ...), grun.spawn(b, ...)
  one:join()
  other:join()
end

-- ---- Yardsticks ----

local function spin(n)
  local yield = grun.yield
  for _ = 1, n do
    yield()
  end
end

subject("yield", 2e6, function(n)
  both(spin, spin, n / 2)
end)

local function empty() end

subject("call", 1e8, function(n)
  for _ = 1, n do
    empty()
  end
end)

-- ---- Between two threads ----

local function put_all(q, n)
  for i = 1, n do
    q:put(i)
  end
end

local function get_all(q, n)
  for _ = 1, n do
    q:get()
  end
end

subject("queue", 1e7, function(n)
  both(put_all, get_all, grun.queue(128), n)
end)

subject("rendezvous", 1e6, function(n)
  both(put_all, get_all, grun.queue(0), n)
end)

local function answer(mine, other, n)
  for _ = 1, n do
    mine:wait()
    mine:clear()
    other:set()
  end
end

-- Each of the two waits for the other's event: one set and one wait that parks, each time.
subject("turns", 1e6, function(n)
  local a, b = grun.event(), grun.event()
  local one, other = grun.spawn(answer, a, b, n / 2), grun.spawn(answer, b, a, n / 2)
  a:set()
  one:join()
  other:join()
end)

local function put_in_turn(a, b, n)
  for i = 1, n do
    a:put(i)
    b:put(i)
  end
end

subject("select", 1e6, function(n)
  local a, b = grun.queue(128), grun.queue(128)
  local t = grun.spawn(put_in_turn, a, b, n / 2)
  local ops = { a:op_get(), b:op_get() }
  for _ = 1, n do
    grun.select(ops)
  end
  t:join()
end)

-- ---- Nobody has to wait ----

subject("event", 1e7, function(n)
  local e = grun.event()
  for _ = 1, n do
    e:set()
    e:wait()
    e:clear()
  end
end)

subject("semaphore", 1e7, function(n)
  local s = grun.semaphore(1)
  for _ = 1, n do
    s:acquire()
    s:release()
  end
end)

subject("lock", 1e7, function(n)
  local l = grun.lock()
  for _ = 1, n do
    l:acquire()
    l:release()
  end
end)

-- ---- A pool of 100 ----

local function same(x)
  return x
end

subject("map", 1e6, function(n)
  local list = {}
  for i = 1, n do
    list[i] = i
  end
  grun.pool(100):map(same, list)
end)

local function measure(s, n)
  collectgarbage()
  local start = os.clock()
  s.run(n)
  return (os.clock() - start) / n * 1e9
end

for _, name in ipairs(names) do
  measure(subjects[name], subjects[name].n / 10)
end
for _ = 1, ROUNDS do
  for _, name in ipairs(names) do
    local s = subjects[name]
    s.ns[#s.ns + 1] = measure(s, s.n)
  end
end
for _, name in ipairs(names) do
  local ns = subjects[name].ns
  table.sort(ns)
  print(("%s_ns=%.3f"):format(name, ns[math.ceil(ROUNDS / 2)]))
end
