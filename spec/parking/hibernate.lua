-- SPDX-License-Identifier: MIT
-- Threads that wait for random things, are ended in random ways and hibernate all the time, against a model of
-- what each must get. Usage: grun spec/parking/hibernate.lua [seconds [seed]]
local grun = require("grun")
local core = require("grun.core")

local seconds, seed = tonumber(arg[1]) or 1.5, tonumber(arg[2]) or os.time()
math.randomseed(seed)

local THREADS = 60
local sent, got, cancelled, timeouts = 0, 0, 0, 0

-- Every way of waiting gets the thread's own queue and returns an item of it, or nil, "timeout".
local ways = {
  function(q) return q:get() end,
  function(q) return q:get(math.random() * 0.02) end,
  function(q) return coroutine.wrap(function() return q:get() end)() end,
  function(q) return select(2, pcall(q.get, q)) end,
  function(q)
    local ok, err = pcall(function() error({ q:get() }) end)
    assert(not ok)
    if type(err) == "table" and err[1] then
      return err[1]
    end
    error(err, 0)
  end,
  function(q)
    local value
    local text = ("x"):gsub("x", function() value = q:get() return "y" end)
    assert(text == "y")
    return value
  end,
  function(q)
    local a, b = grun.pair()
    grun.spawn(function() b:write(tostring(q:get()) .. "\n") b:close() end)
    local line = a:read_line()
    a:close()
    return tonumber(line)
  end,
  function(q)
    grun.sleep(math.random() * 0.01)
    return q:get()
  end,
}

-- Locals of many kinds must survive; depth makes stacks of different sizes.
local function dive(depth, way, q)
  if depth > 0 then
    local x, s = math.random(), ("%d"):format(depth)
    local a, b = dive(depth - 1, way, q)
    assert(x < 1 and s == tostring(depth))
    return a, b
  end
  return way(q)
end

local slots = {}

local function start(slot)
  slot.queue, slot.expected = grun.queue(), 0
  slot.thread = grun.spawn(function()
    local q, last = slot.queue, 0
    while true do
      local way = math.random(#ways)
      if way == 7 and slot.fragile then
        way = 1
      end
      local value, why = dive(math.random(0, 6), ways[way], q)
      if value then
        if type(value) ~= "number" then
          error(value, 0)
        end
        assert(value == last + 1, "an item out of turn")
        last, got = value, got + 1
      else
        assert(why == "timeout", why)
        timeouts = timeouts + 1
      end
    end
  end)
end

local function act(slot)
  local what = math.random(20)
  if what == 1 then
    slot.thread:kill(5)
    assert(slot.thread:status() == "cancelled", slot.thread:status())
    cancelled = cancelled + 1
    start(slot)
  elseif what == 2 then
    assert(tostring(slot.thread):find("thread"))
  elseif what == 3 then
    collectgarbage()
  else
    slot.expected = slot.expected + 1
    slot.queue:put(slot.expected)
    sent = sent + 1
  end
end

for i = 1, THREADS do
  -- A killed thread's helper of way 7 would take an item with it.
  slots[i] = { fragile = true }
  start(slots[i])
end
local till = grun.now() + seconds
while grun.now() < till do
  for _ = 1, math.random(20) do
    act(slots[math.random(THREADS)])
  end
  grun.sleep(math.random() * 0.01)
end
grun.sleep(0.1)
for _, slot in ipairs(slots) do
  slot.thread:kill(5)
end
local figures = core.hibernated()
print(("seed %d: %d sent, %d got, %d cancelled, %d timeouts, %d times put away"):format(seed, sent, got,
  cancelled, timeouts, figures.put))
assert(got <= sent and got > sent * 0.5)
