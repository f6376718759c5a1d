-- SPDX-License-Identifier: MIT
-- Greenlets: coroutines that switch to each other by name instead of yielding to whoever resumed
-- them. A switch hands values over; what a greenlet returns goes to its parent's pending switch.
-- Run: ./grun scripts/examples/greenlets.lua
-- Prints:
--   one got hello
--   two got world
--   one got 42
--   main got result of one
--   numbers: 1 2 3 4 5
--   main got the error: two failed

local main = grun.greenlet_current()
local one, two

one = grun.greenlet(function(value)
  print("one got " .. value)
  print("one got " .. two:switch("world"))
  return "result of one"
end)

two = grun.greenlet(function(value)
  print("two got " .. value)
  one:switch(42)
  error("two failed", 0)
end)

print("main got " .. one:switch("hello"))

-- A generator that calls itself: each switch to the parent may come from any depth, or from inside
-- a callback of a C function, as here.
local numbers = grun.greenlet(function()
  ("1 2 3 4 5"):gsub("%d", function(digit)
    main:switch(digit)
  end)
end)

local got = {}
repeat
  got[#got + 1] = numbers:switch()
until numbers.dead
print("numbers: " .. table.concat(got, " "))

-- Two still waits for its turn; its error is raised in its parent.
print("main got the error: " .. select(2, pcall(two.switch, two)))
