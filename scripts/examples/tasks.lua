-- SPDX-License-Identifier: MIT
-- Threads take turns only where they wait: what spawn, yield, sleep and join do to the order.
-- Run: ./grun scripts/examples/tasks.lua

local function task(name, steps, pause)
  for i = 1, steps do
    print(name, i)
    if pause then
      pause()
    end
  end
  return name .. " is done"
end

print("-- without a pause each task runs through:")
local a, b = grun.spawn(task, "a", 3), grun.spawn(task, "b", 3)
print("spawned, not yet run:", a:status(), b:status())
a:join()
b:join()

print("-- with yield they alternate:")
a, b = grun.spawn(task, "a", 3, grun.yield), grun.spawn(task, "b", 3, grun.yield)
print(a:get(), b:get())

print("-- with sleep the clock decides:")
local slow = grun.spawn(task, "slow", 2, function() grun.sleep(0.05) end)
local fast = grun.spawn(task, "fast", 2, function() grun.sleep(0.01) end)
for t in grun.iwait({ slow, fast }) do
  print(t:get())
end

print("-- a time limit around anything that waits:")
print(grun.timeout(0.02, task, "limited", 100, function() grun.sleep(0.015) end))
