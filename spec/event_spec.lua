-- SPDX-License-Identifier: MIT
-- Events: who is woken, in which order, and what a pulse does.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")

local spawn, misuse, waiting, outcome = helper.spawn, helper.misuse, sync.waiting, sync.outcome

describe("an event", function()
  local e

  before_each(function()
    e = grun.event()
  end)

  it("is a flag that is clear at first", function()
    assert.is_false(e:is_set())
    e:set()
    assert.is_true(e:is_set())
    e:set()
    e:clear()
    assert.is_false(e:is_set())
    e:clear()
    assert.is_false(e:is_set())
  end)

  it("that is set lets everybody through at once, without letting others run", function()
    local other = spawn(function() end)
    e:set()
    assert.is_true(e:wait())
    assert.is_true(e:wait(0))
    assert.is_true(e:wait(5))
    assert.equal("new", other:status())
  end)

  it("wakes all who wait, in the order in which they came, before those who come later", function()
    local log = sync.log()
    for i = 1, 4 do
      waiting(function()
        e:wait()
        log(i)
      end)
    end
    e:set()
    spawn(function()
      e:wait()
      log("late")
    end)
    sync.settle()
    assert.equal("1 2 3 4 late", log.text())
  end)

  it("does not switch threads when it is set", function()
    local t = waiting(e.wait, e)
    e:set()
    assert.equal("ready", t:status())
  end)

  it("counts as set for who waited, also when it was cleared since", function()
    local t = waiting(e.wait, e)
    e:set()
    e:clear()
    assert.is_true(t:get())
    assert.is_false(e:is_set())
    assert.is_nil(e:wait(0))
  end)

  it("wakes each waiter once for many pulses", function()
    local n = 0
    local t = spawn(function()
      while true do
        e:wait()
        n = n + 1
      end
    end)
    sync.settle()
    for _ = 1, 3 do
      e:set()
      e:clear()
    end
    sync.settle()
    assert.equal(1, n)
    assert.equal("waiting", t:status())
  end)

  it("says so when the time is up", function()
    local before = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { e:wait(0.01) })
    assert.is_true(grun.now() - before >= 0.01)
    assert.same({ nil, "timeout", "timeout" }, { e:wait(0) })
    assert.equal("event clear, 0 waiting", tostring(e))
  end)

  for way, message in pairs(sync.ways_out) do
    it("forgets a thread that left: " .. way, function()
      local t = sync.leaving(way, function(s) return e:wait(s) end)
      local other = waiting(e.wait, e)
      assert.equal(message, select(2, outcome(t)))
      assert.equal("event clear, 1 waiting", tostring(e))
      e:set()
      assert.is_true(other:get())
    end)

    it("set before the thread left is true: " .. way, function()
      local t = sync.late(way, function(s) return e:wait(s) end, function()
        e:set()
        e:clear()
      end)
      assert.is_true(outcome(t))
      assert.equal("event clear, 0 waiting", tostring(e))
    end)
  end

  it("set and cleared after the time was up, before the thread ran, counts as set", function()
    local t = sync.leaving("timeout", function(s) return e:wait(s) end)
    e:set()
    e:clear()
    assert.is_true(t:get())
  end)

  it("can be waited for in many places at once", function()
    local a, b = grun.event(), grun.event()
    local one = waiting(grun.wait, { a, b }, 5, 1)
    local all = waiting(grun.wait, { a, b }, 5)
    b:set()
    assert.same({ b }, one:get())
    assert.equal("waiting", all:status())
    a:set()
    assert.same({ b, a }, all:get())
    local order = {}
    for obj in grun.iwait({ a, b, e }, 0) do
      order[#order + 1] = obj
    end
    assert.same({ a, b }, order)
  end)

  it("that was set for a moment only is enough for grun.wait", function()
    local t = waiting(grun.wait, { e }, 5)
    e:set()
    e:clear()
    assert.same({ e }, t:get())
  end)

  it("says how it is", function()
    assert.equal("event clear, 0 waiting", tostring(e))
    waiting(e.wait, e)
    waiting(e.wait, e)
    assert.equal("event clear, 2 waiting", tostring(e))
    e:set()
    assert.equal("event set, 0 waiting", tostring(e))
  end)

  it("raises at the caller's line for a wrong timeout, set or not", function()
    local expected = "wait: timeout must be a number of seconds, 0 or more, got "
    for _ = 1, 2 do
      misuse(function() e:wait(-1) end, expected .. "-1")
      misuse(function() e:wait("1") end, expected .. "1")
      misuse(function() e:wait(0 / 0) end, expected .. tostring(0 / 0))
      misuse(function() e:wait(false) end, expected .. "false")
      e:set()
    end
  end)

  it("takes an endless timeout", function()
    local t = waiting(e.wait, e, math.huge)
    e:set()
    assert.is_true(t:get())
  end)

  it("is compiled", function()
    sync.is_compiled([[
      local a, b, n = grun.event(), grun.event(), 1e5
      for _ = 1, n do
        a:set()
        a:wait()
        a:clear()
      end
      local t = grun.spawn(function()
        for _ = 1, n do
          a:wait()
          a:clear()
          b:set()
        end
      end)
      for _ = 1, n do
        a:set()
        b:wait()
        b:clear()
      end
      t:join()
    ]])
  end)

  it("names in a thread's description what it waits for", function()
    local t = waiting(function() return (e:wait()) end)
    assert.matches("waiting on event.wait %(spec/event_spec.lua:%d+%)", tostring(t))
  end)
end)
