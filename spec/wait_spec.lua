-- SPDX-License-Identifier: MIT
-- Waiting for many things at once: wait, iwait, joinall, killall.

local helper = require("spec.helper")
local grun = require("grun")

local misuse, spawn = helper.misuse, helper.spawn

local function pack(...)
  return { n = select("#", ...), ... }
end

local function nothing() end

local function forever()
  grun.sleep(100)
end

local function ended(fn, ...)
  local t = grun.spawn(fn, ...)
  t:join()
  return t
end

-- Threads that wait for their event, so that a test says in which order they end.
local function gated(n)
  local list, gates = {}, {}
  for i = 1, n do
    gates[i] = grun.event()
    list[i] = spawn(function()
      gates[i]:wait()
      return i
    end)
    list[i].number = i
  end
  return list, gates
end

local function numbers(list)
  local out = {}
  for i, t in ipairs(list) do
    out[i] = t.number
  end
  return table.concat(out, " ")
end

-- Opens the gates one after the other, each after everybody had a turn.
local function open(gates, ...)
  return grun.spawn(function(...)
    for _, i in ipairs({ ... }) do
      grun.idle()
      gates[i]:set()
    end
  end, ...)
end

-- The least that can be waited for: see grun/waiter.lua.
local function waitable()
  local obj = { ready = false, waiters = {}, subscribed = 0 }

  function obj:_poll()
    return self.ready
  end

  function obj:_subscribe(waiter)
    self.waiters[waiter] = true
    self.subscribed = self.subscribed + 1
  end

  function obj:_unsubscribe(waiter)
    self.subscribed = self.subscribed - (self.waiters[waiter] and 1 or 0)
    self.waiters[waiter] = nil
  end

  function obj:notify()
    for waiter in pairs(self.waiters) do
      waiter:notify(self)
    end
  end

  function obj:set()
    self.ready = true
    self:notify()
  end

  return obj
end

-- Whatever was left behind by a wait must not cut a later sleep short.
local function check_sleep(disturb)
  local before = grun.now()
  grun.spawn(disturb or nothing)
  grun.sleep(0.01)
  assert.is_true(grun.now() - before >= 0.01)
end

describe("wait", function()
  it("returns the objects in the order in which they become ready", function()
    local list, gates = gated(4)
    open(gates, 3, 1, 4, 2)
    assert.equal("3 1 4 2", numbers(grun.wait(list)))
  end)

  it("returns at once with what is ready already, in the order of the list", function()
    local list, gates = gated(3)
    for i = 3, 1, -1 do
      gates[i]:set()
      list[i]:join()
    end
    local before = grun.current()
    assert.equal("1 2 3", numbers(grun.wait(list, 0)))
    assert.equal(before, grun.current())
  end)

  it("returns what is ready so far once the time is over", function()
    local list, gates = gated(3)
    open(gates, 2)
    local before = grun.now()
    assert.equal("2", numbers(grun.wait(list, 0.02)))
    assert.is_true(grun.now() - before >= 0.02)
    assert.same({}, grun.wait({ list[1] }, 0))
    assert.same({}, grun.wait({ list[1], list[3] }, 0.001))
  end)

  it("returns as soon as so many are ready", function()
    local list, gates = gated(4)
    open(gates, 2, 4)
    assert.equal("2 4", numbers(grun.wait(list, 5, 2)))
    assert.equal("2 4", numbers(grun.wait(list, nil, 1)))
    assert.equal("2 4", numbers(grun.wait(list, nil, 0)))
    assert.equal("waiting", list[1]:status())
  end)

  it("waits for all when more are wanted than there are", function()
    local list, gates = gated(2)
    open(gates, 1, 2)
    assert.equal("1 2", numbers(grun.wait(list, nil, 99)))
  end)

  it("returns an empty list for one", function()
    assert.same({}, grun.wait({}))
    assert.same({}, grun.wait({}, 5, 3))
  end)

  it("counts an object once however often it is in the list", function()
    local list, gates = gated(2)
    open(gates, 1, 2)
    assert.equal("1 2", numbers(grun.wait({ list[1], list[2], list[1], list[1], list[2] })))
    assert.equal("2 1", numbers(grun.wait({ list[2], list[2], list[1] })))
  end)

  it("waits for failed and cancelled threads as for others", function()
    local ready
    helper.reports(function()
      local fails, killed = grun.spawn(error, "x"), grun.spawn(forever)
      grun.spawn(killed.cancel, killed)
      ready = grun.wait({ killed, fails })
    end)
    assert.same({ "failed", "cancelled" }, { ready[1]:status(), ready[2]:status() })
  end)

  it("waits for different kinds of objects", function()
    local event, semaphore, queue = grun.event(), grun.semaphore(0), grun.queue()
    local result, thread, own = grun.result(), spawn(nothing), waitable()
    local a, b = grun.pair()
    local all = { event, semaphore, queue, result, thread, own, a }
    local name = {
      [event] = "event", [semaphore] = "semaphore", [queue] = "queue", [result] = "result",
      [thread] = "thread", [own] = "own", [a] = "conn",
    }
    grun.spawn(function()
      for _, step in ipairs({
        function() own:set() end,
        function() queue:put(1) end,
        function() b:write("x") end,
        function() semaphore:release() end,
        function() event:set() end,
        function() result:set(1) end,
      }) do
        grun.idle()
        step()
      end
    end)
    local order = {}
    for i, obj in ipairs(grun.wait(all, 5)) do
      order[i] = name[obj]
    end
    assert.equal("thread own queue conn semaphore event result", table.concat(order, " "))
    a:close()
    b:close()
  end)

  it("takes nothing from what is ready", function()
    local semaphore, queue, a, b = grun.semaphore(1), grun.queue(), grun.pair()
    queue:put("item")
    b:write("bytes")
    assert.equal(3, #grun.wait({ semaphore, queue, a }))
    assert.same({ 1, 1, "bytes" }, { semaphore:count(), queue:len(), a:recv() })
    a:close()
    b:close()
  end)

  it("looks again when an object was ready only for a moment", function()
    local obj = waitable()
    local t = spawn(grun.wait, { obj }, 5)
    grun.yield()
    obj:set()
    obj.ready = false
    grun.idle()
    assert.equal("waiting", t:status())
    obj:notify()
    grun.idle()
    assert.equal("waiting", t:status())
    obj:set()
    assert.same({ obj }, t:get())
    assert.equal(0, obj.subscribed)
  end)

  it("lets many threads wait for the same objects", function()
    local list, gates = gated(3)
    local waiting = {}
    for i = 1, 5 do
      waiting[i] = grun.spawn(grun.wait, list)
    end
    open(gates, 2, 1, 3)
    for i = 1, 5 do
      assert.equal("2 1 3", numbers(waiting[i]:get()))
    end
  end)

  it("leaves nothing behind when it is over, timed out, cancelled or past a deadline", function()
    local obj, other = waitable(), waitable()
    grun.wait({ obj, other }, 0.001)
    grun.timeout(0.001, grun.wait, { obj, other })
    local t = grun.spawn(grun.wait, { obj, other })
    grun.yield()
    assert.equal(1, obj.subscribed)
    t:kill()
    assert.equal("cancelled", t:status())
    other:set()
    assert.same({ other }, grun.wait({ obj, other }, nil, 1))
    assert.same({ 0, 0 }, { obj.subscribed, other.subscribed })
    check_sleep(function() obj:set() end)
  end)

  it("raises at the caller's line for wrong arguments", function()
    local t = ended(nothing)
    misuse(function() grun.wait() end, "wait: list expected, got nil")
    misuse(function() grun.wait(5) end, "wait: list expected, got number")
    misuse(function() grun.wait({ t, 5 }) end, "wait: item 2 cannot be waited for (a number)")
    misuse(function() grun.wait({ "x" }) end, "wait: item 1 cannot be waited for (a string)")
    misuse(function() grun.wait({ {} }) end, "wait: item 1 cannot be waited for (a table)")
    misuse(function() grun.wait({ print }) end, "wait: item 1 cannot be waited for (a function)")
    misuse(function() grun.wait({ io.stdout }) end,
      "wait: item 1 cannot be waited for (a userdata)")
    misuse(function() grun.wait({ t }, -1) end,
      "wait: timeout must be a number of seconds, 0 or more, got -1")
    misuse(function() grun.wait({ t }, "1") end,
      "wait: timeout must be a number of seconds, 0 or more, got 1")
    misuse(function() grun.wait({ t }, 1, "all") end, "wait: count must be a number, got all")
  end)
end)

describe("waits that are over", function()
  it("do not keep the process from finding a deadlock", function()
    local _, err, status = helper.run_script([[
      local event, a, b = grun.event(), grun.pair()
      grun.sleep(0.001)
      grun.spawn(grun.sleep, 10):kill(1)
      grun.spawn_later(10, print):cancel()
      grun.spawn_later(0.001, print, "delayed"):join(1)
      event:wait(0.001)
      grun.wait({ event, a }, 0.001)
      grun.timeout(0.001, grun.wait, { event, a })
      grun.timeout(0.001, event.wait, event)
      grun.timeout(0.001, a.read, a)
      grun.spawn(grun.wait, { event, b }):kill(1)
      grun.timeout(1, grun.idle)
      event:wait()
    ]])
    assert.is_truthy(err:find("deadlock: 1 thread", 1, true))
    assert.equal(2, status)
  end)
end)

describe("wait for sockets", function()
  local a, b

  before_each(function()
    a, b = grun.pair()
  end)

  after_each(function()
    a:close()
    b:close()
  end)

  it("returns those that can be read, the end of the stream included", function()
    local c, d = grun.pair()
    assert.same({}, grun.wait({ a, b, c }, 0.002))
    grun.spawn(function()
      d:close()
      grun.idle()
      b:write("x")
    end)
    assert.same({ c, a }, grun.wait({ a, c }, 5))
    assert.equal("x", a:recv())
    c:close()
  end)

  it("returns those that have bytes in their buffer", function()
    b:write("one\ntwo\n")
    assert.equal("one", a:read())
    assert.same({ a }, grun.wait({ a }, 0))
  end)

  it("ends when another thread closes one", function()
    local t = grun.spawn(grun.wait, { a }, 5)
    grun.idle()
    a:close()
    assert.same({ a }, t:get())
    assert.same({ a }, grun.wait({ a }, 5))
  end)

  it("fails when another thread reads from one", function()
    local reader = spawn(a.recv, a)
    grun.idle()
    local ready, message, code = grun.wait({ b, a }, 5)
    assert.same({ nil, "busy", true }, { ready, code, message:find("busy", 1, true) == 1 })
    b:write("x")
    assert.equal("x", reader:get())
    check_sleep(function() a:write("y") end)
    assert.same({ b }, grun.wait({ b, a }, 0.001))
  end)

  it("lets others read from them once it is over", function()
    grun.wait({ a }, 0.001)
    local t = grun.spawn(grun.wait, { a })
    grun.idle()
    t:kill()
    b:write("x")
    assert.equal("x", a:recv())
  end)

  it("in steps does not wake the thread while it does something else", function()
    local done = spawn(nothing)
    for obj in grun.iwait({ done, a }) do
      if obj == done then
        check_sleep(function() b:write("x") end)
      end
    end
    assert.equal("x", a:recv())
    for obj in grun.iwait({ ended(nothing), spawn(grun.sleep, 0.001), a }) do
      if obj:status() == "done" then
        break
      end
    end
    check_sleep(function() b:write("x") end)
    local reader = grun.spawn(a.recv, a)
    assert.equal("x", reader:get())
  end)

  it("with iwait raises when another thread reads from one", function()
    local reader = spawn(a.recv, a)
    grun.idle()
    local ok, message = pcall(function()
      for _ in grun.iwait({ a }) do error("unreachable") end
    end)
    assert.is_false(ok)
    assert.is_truthy(message:find("^spec/wait_spec.lua:%d+: iwait: busy"))
    b:write("x")
    reader:join()
  end)
end)

describe("iwait", function()
  it("gives the objects as they become ready", function()
    local list, gates = gated(3)
    local log, follower = {}, { [2] = 3, [3] = 1 }
    gates[2]:set()
    for t in grun.iwait(list) do
      log[#log + 1] = t.number
      if follower[t.number] then
        gates[follower[t.number]]:set()
      end
    end
    assert.same({ 2, 3, 1 }, log)
  end)

  it("misses nothing that happens while the loop's body waits", function()
    local list, gates = gated(4)
    local log = {}
    gates[1]:set()
    for t in grun.iwait(list) do
      log[#log + 1] = t.number
      for i = 2, 4 do
        gates[i]:set()
        list[i]:join()
      end
    end
    assert.same({ 1, 2, 3, 4 }, log)
  end)

  it("gives what is ready already first, and each object once", function()
    local list, gates = gated(3)
    gates[3]:set()
    list[3]:join()
    local log = {}
    for t in grun.iwait({ list[1], list[3], list[1], list[2], list[3] }) do
      log[#log + 1] = t.number
      gates[1]:set()
      gates[2]:set()
    end
    assert.same({ 3, 1, 2 }, log)
  end)

  it("ends once the time for all is over", function()
    local list, gates = gated(3)
    gates[1]:set()
    local log, before = {}, grun.now()
    for t in grun.iwait(list, 0.02) do
      log[#log + 1] = t.number
      grun.sleep(0.005)
    end
    assert.same({ 1 }, log)
    local passed = grun.now() - before
    assert.is_true(passed >= 0.02 and passed < 2)
  end)

  it("with a timeout of 0 gives what is ready only", function()
    local list, gates = gated(3)
    gates[2]:set()
    list[2]:join()
    local log = {}
    for t in grun.iwait(list, 0) do
      log[#log + 1] = t.number
    end
    assert.same({ 2 }, log)
  end)

  it("of an empty list ends at once, and stays at its end", function()
    local step = grun.iwait({})
    assert.is_nil(step())
    assert.is_nil(step())
    step = grun.iwait({ ended(nothing) })
    assert.is_truthy(step())
    assert.is_nil(step())
    assert.is_nil(step())
  end)

  it("abandoned half-way does not disturb later waits", function()
    local list, gates = gated(3)
    gates[1]:set()
    assert.equal(1, grun.iwait(list)().number)
    check_sleep(function() gates[2]:set() end)
    local obj = waitable()
    local t = spawn(grun.wait, { obj })
    grun.yield()
    gates[3]:set()
    grun.idle()
    assert.equal("waiting", t:status())
  end)

  it("abandoned half-way does not keep the process from finding a deadlock", function()
    local out, err, status = helper.run_script([[
      local a, b = grun.pair()
      local event = grun.event()
      local endless = grun.spawn(event.wait, event)
      for _ in grun.iwait({ grun.spawn(function() end), endless, a }) do
        break
      end
      print("broke off")
    ]])
    assert.equal("broke off\n", out)
    assert.is_truthy(err:find("deadlock: 1 thread", 1, true))
    assert.equal(2, status)
  end)

  it("may be continued by another thread", function()
    local list, gates = gated(2)
    local step = grun.iwait(list)
    open(gates, 1, 2)
    assert.equal(1, step().number)
    local t = grun.spawn(step)
    check_sleep()
    assert.equal(2, t:get().number)
  end)

  it("raises a cancel at the next step and leaves nothing behind", function()
    local obj, reason = waitable(), nil
    local t = grun.spawn(function()
      local ok, err = pcall(function()
        for _ in grun.iwait({ obj }) do error("unreachable") end
      end)
      reason = not ok and grun.is_cancel(err)
    end)
    grun.yield()
    t:kill()
    assert.equal("killed", reason)
    assert.equal(0, obj.subscribed)
  end)

  it("raises at the caller's line for wrong arguments", function()
    misuse(function() grun.iwait() end, "iwait: list expected, got nil")
    misuse(function() grun.iwait({ 1 }) end, "iwait: item 1 cannot be waited for (a number)")
    misuse(function() grun.iwait({}, "1") end,
      "iwait: timeout must be a number of seconds, 0 or more, got 1")
  end)
end)

describe("joinall", function()
  it("returns the threads in the order of their ends", function()
    local list, gates = gated(3)
    open(gates, 3, 1, 2)
    assert.equal("3 1 2", numbers(grun.joinall(list)))
    assert.equal("1 2 3", numbers(grun.joinall(list)))
    assert.same({}, grun.joinall({}))
    assert.same({}, grun.joinall({}, { raise = true }))
  end)

  it("returns those ended so far once the time is over", function()
    local list, gates = gated(3)
    open(gates, 2)
    assert.equal("2", numbers(grun.joinall(list, { timeout = 0.01 })))
    assert.equal("2", numbers(grun.joinall(list, { timeout = 0.01, raise = true })))
    assert.equal("2", numbers(grun.joinall(list, { timeout = 0 })))
    assert.equal("waiting", list[1]:status())
  end)

  it("returns as soon as so many have ended", function()
    local list, gates = gated(3)
    open(gates, 2, 1)
    assert.equal("2 1", numbers(grun.joinall(list, { count = 2 })))
    assert.equal("1 2", numbers(grun.joinall(list, { count = 2, raise = true })))
    assert.equal("1", numbers(grun.joinall(list, { count = 1, raise = true })))
    assert.same({}, grun.joinall(list, { count = 0, raise = true }))
  end)

  it("returns failed ones like others", function()
    local list
    helper.reports(function()
      list = grun.joinall({ grun.spawn(error, "x"), grun.spawn(nothing) })
    end)
    assert.same({ "failed", "done" }, { list[1]:status(), list[2]:status() })
  end)

  it("with raise raises the first error at once, unchanged", function()
    local list, gates = gated(2)
    local err = {}
    helper.reports(function()
      list[3] = grun.spawn(function()
        gates[2]:wait()
        error(err)
      end)
      open(gates, 2)
      local ok, raised = pcall(grun.joinall, list, { raise = true })
      assert.is_false(ok)
      assert.equal(err, raised)
    end)
    assert.equal("waiting", list[1]:status())
  end)

  it("with raise raises false and nil, and what cancelled a thread", function()
    helper.reports(function()
      assert.same(pack(false, nil),
        pack(pcall(grun.joinall, { grun.spawn(error) }, { raise = true })))
      assert.same(pack(false, false),
        pack(pcall(grun.joinall, { grun.spawn(error, false) }, { raise = true })))
    end)
    local t = grun.spawn(forever)
    t:cancel("why")
    local _, err = pcall(grun.joinall, { t }, { raise = true })
    assert.equal("why", grun.is_cancel(err))
  end)

  it("raises at the caller's line for wrong arguments", function()
    local t = ended(nothing)
    misuse(function() grun.joinall() end, "joinall: list expected, got nil")
    misuse(function() grun.joinall({ 1 }) end, "joinall: item 1 cannot be waited for (a number)")
    misuse(function() grun.joinall({ grun.event() }) end, "joinall: item 1 is not a thread")
    misuse(function() grun.joinall({ t }, 5) end,
      "joinall: table of options expected, got number")
    for _, raise in ipairs({ true, false }) do
      misuse(function() grun.joinall({ t }, { timeout = -1, raise = raise }) end,
        "joinall: timeout must be a number of seconds, 0 or more, got -1")
      misuse(function() grun.joinall({ t }, { count = "1", raise = raise }) end,
        "joinall: count must be a number, got 1")
    end
  end)
end)

describe("killall", function()
  it("cancels all and waits for their ends", function()
    local list = { grun.spawn(forever), grun.spawn(forever), grun.spawn_later(100, nothing) }
    grun.yield()
    list[4] = ended(nothing)
    list[5] = list[1]
    assert.is_true(grun.killall(list))
    for i = 1, 3 do
      assert.equal("cancelled", list[i]:status())
      assert.equal("killed", list[i].error.reason)
    end
    assert.equal("done", list[4]:status())
    assert.is_true(grun.killall(list))
    assert.is_true(grun.killall({}))
  end)

  it("keeps members that have not started from running", function()
    local ran, list = false, {}
    for i = 1, 10 do
      list[i] = grun.spawn(function() ran = true end)
    end
    assert.is_true(grun.killall(list))
    assert.is_false(ran)
  end)

  it("cancels all before any of them runs", function()
    local other = grun.spawn(forever)
    local seen
    local first = grun.spawn(function()
      pcall(forever)
      seen = tostring(other)
    end)
    grun.yield()
    grun.killall({ first, other })
    assert.is_truthy(seen:find("ready, cancelled", 1, true))
  end)

  it("returns nil and timeout when one does not end in time", function()
    local stop = false
    local stubborn = grun.spawn(grun.shield, function()
      while not stop do
        grun.sleep(0.001)
      end
    end)
    local other = grun.spawn(forever)
    grun.yield()
    assert.same({ n = 3, nil, "timeout", "timeout" },
      pack(grun.killall({ other, stubborn }, 0.01)))
    assert.equal("cancelled", other:status())
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(grun.killall({ stubborn }, 0)))
    stop = true
    assert.is_true(grun.killall({ stubborn }))
  end)

  it("with the caller in the list cancels the others and ends the caller", function()
    local a, b = grun.spawn(forever), grun.spawn(forever)
    local passed = false
    local t = grun.spawn(function()
      grun.killall({ a, grun.current(), b })
      passed = true
    end)
    t:join()
    assert.is_false(passed)
    assert.same({ "cancelled", "cancelled", "cancelled" },
      { a:kill() and a:status(), b:kill() and b:status(), t:status() })
  end)

  it("raises at the caller's line for wrong arguments, and cancels nothing then", function()
    local t = spawn(nothing)
    misuse(function() grun.killall() end, "killall: list expected, got nil")
    misuse(function() grun.killall({ t, 1 }) end,
      "killall: item 2 cannot be waited for (a number)")
    misuse(function() grun.killall({ t, grun.event() }) end, "killall: item 2 is not a thread")
    misuse(function() grun.killall({ t }, -1) end,
      "killall: timeout must be a number of seconds, 0 or more, got -1")
    t:join()
    assert.equal("done", t:status())
  end)
end)
