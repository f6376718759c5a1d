-- SPDX-License-Identifier: MIT
-- Three tasks take turns only where they ask for it: sleep(0) lets every other ready thread run
-- once, in the order in which they became ready. Without it each runs to its end.
-- Run: ./grun scripts/examples/alternate.lua
-- Prints:
--   -- without sleep(0)
--   a1 a2 a3
--   b1 b2 b3
--   c1 c2 c3
--   -- with sleep(0)
--   a1 b1 c1
--   a2 b2 c2
--   a3 b3 c3

local steps = {}

local function task(name, pause)
  for i = 1, 3 do
    steps[#steps + 1] = name .. i
    if pause then
      grun.sleep(0)
    end
  end
end

local function show(title, pause)
  print(title)
  grun.scope(function(group)
    for _, name in ipairs({ "a", "b", "c" }) do
      group:spawn(task, name, pause)
    end
  end)
  for i = 1, #steps, 3 do
    print(table.concat(steps, " ", i, i + 2))
  end
  steps = {}
end

show("-- without sleep(0)", false)
show("-- with sleep(0)", true)
