-- SPDX-License-Identifier: MIT
-- A wait that raises "stack overflow" on its way down left its registration behind as if the thread were parked there:
-- what it had wanted to wait for then ended the thread's next wait, such as a sleep, too early.

local grun = require("grun")

-- The wait runs at every depth around the one where the Lua stack is full, for frames of several sizes.
local function fill_the_stack(wait)
  local function down(n, ...)
    if n == 0 then
      return wait()
    end
    return 1, down(n - 1, ...)
  end
  for size = 0, 6 do
    local frame = {}
    for i = 1, size do
      frame[i] = i
    end
    local fits, overflows = 100, 70000
    while overflows - fits > 1 do
      local middle = math.floor((fits + overflows) / 2)
      if pcall(down, middle, unpack(frame)) then
        fits = middle
      else
        overflows = middle
      end
    end
    for n = fits - 3, fits + 3 do
      pcall(down, n, unpack(frame))
    end
  end
end

describe("a wait for which the Lua stack is too full", function()
  for name, wait in pairs({
    ["a thread's join"] = function(event, thread) thread:join(0.0001) return event end,
    ["a wait for several"] = function(event, thread) grun.wait({ event, thread }, 0.0001) end,
    ["an event's wait"] = function(event) event:wait(0.0001) end,
    ["a select"] = function(event) grun.select({ event:op_wait() }, 0.0001) end,
  }) do
    it("does not disturb later ones: " .. name, function()
      local event = grun.event()
      local other = grun.spawn(event.wait, event)
      local t = grun.spawn(function()
        fill_the_stack(function() wait(event, other) end)
        local from = grun.now()
        grun.sleep(0.02)
        return grun.now() - from
      end)
      repeat
        grun.sleep(0.001)
      until tostring(t):find("waiting on sleep", 1, true)
      event:set()
      assert.is_true(t:get() >= 0.02)
      assert.is_true(other:join(1))
    end)
  end

  it("loses nothing from a queue", function()
    local queue = grun.queue()
    local t = grun.spawn(fill_the_stack, function() queue:get(0.0001) end)
    t:join()
    local sleeper = grun.spawn(grun.sleep, 0.02)
    grun.yield()
    for i = 1, 5 do
      queue:put(i)
    end
    assert.equal(5, queue:len())
    assert.is_true(sleeper:join(1))
  end)
end)
