-- SPDX-License-Identifier: MIT
-- Threads: their life from spawn to the end, and what may happen to them on the way.

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

-- A thread that failed with that error, without a report.
local function failed(err)
  local t
  helper.reports(function()
    t = ended(function()
      error(err, 0)
    end)
  end)
  return t
end

local function burn(seconds)
  local limit = grun.now() + seconds
  repeat until grun.now() >= limit -- luacheck: ignore
end

describe("spawn", function()
  it("runs the body later, not at once", function()
    local ran = false
    local t = grun.spawn(function()
      ran = true
    end)
    assert.is_false(ran)
    t:join()
    assert.is_true(ran)
  end)

  it("runs threads in the order in which they were spawned", function()
    local order, list = {}, {}
    for i = 1, 100 do
      list[i] = grun.spawn(function()
        order[#order + 1] = i
      end)
    end
    grun.joinall(list)
    for i = 1, 100 do
      assert.equal(i, order[i])
    end
  end)

  it("passes on arguments, nil and false among them", function()
    local t = ended(pack, nil, false, 3, nil)
    assert.same({ n = 4, nil, false, 3, nil }, t:get())
  end)

  it("passes on 200 arguments", function()
    local args = {}
    for i = 1, 200 do
      args[i] = i
    end
    assert.same(pack(unpack(args)), ended(pack, unpack(args)):get())
  end)

  it("takes a callable table as the body", function()
    local body = setmetatable({ 7 }, {
      __call = function(self, a)
        return self[1] + a
      end,
    })
    assert.equal(10, grun.spawn(body, 3):get())
  end)

  it("takes a C function as the body", function()
    assert.equal("b", grun.spawn(string.sub, "abc", 2, 2):get())
    assert.is_true(grun.spawn(grun.sleep, 0):join())
  end)

  it("raises at the caller's line when the body cannot be called", function()
    local message = "bad argument #1 to 'spawn' (function expected, got %s)"
    misuse(function() grun.spawn() end, message:format("no value"))
    misuse(function() grun.spawn(nil) end, message:format("nil"))
    misuse(function() grun.spawn("print") end, message:format("string"))
    misuse(function() grun.spawn({}) end, message:format("table"))
    misuse(function() grun.spawn(setmetatable({}, {})) end, message:format("table"))
  end)

  it("keeps running a thread that nobody refers to", function()
    local done = 0
    for _ = 1, 10 do
      grun.spawn(function()
        grun.yield()
        collectgarbage()
        done = done + 1
      end)
    end
    collectgarbage()
    while #grun.threads() > 1 do
      grun.yield()
    end
    assert.equal(10, done)
  end)

  it("leaves nothing of an ended thread when its handle is gone", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = ended(function()
      return {}
    end)
    weak[2] = weak[1]:get()
    collectgarbage()
    collectgarbage()
    assert.same({}, weak)
  end)

  it("copes with ten thousand threads at once", function()
    local n, list = 0, {}
    for i = 1, 10000 do
      list[i] = grun.spawn(function()
        grun.yield()
        n = n + 1
      end)
    end
    grun.joinall(list)
    assert.equal(10000, n)
  end)

  it("runs a body inside which coroutines wait", function()
    local t = grun.spawn(function()
      local co = coroutine.wrap(function(a)
        grun.sleep(0.001)
        local b = coroutine.yield(a + 1)
        grun.yield()
        return b + 1
      end)
      return co(1), co(10)
    end)
    assert.same({ n = 2, 2, 11 }, pack(t:get()))
  end)
end)

describe("spawn_later", function()
  it("starts the body after so many seconds, not before", function()
    local before = grun.now()
    local t = grun.spawn_later(0.02, grun.now)
    assert.equal("new", t:status())
    local started = t:get()
    assert.is_true(started >= before + 0.02)
    assert.is_true(started < before + 2)
  end)

  it("starts bodies in the order of their times and passes arguments on", function()
    local order, list = {}, {}
    for i, delay in ipairs({ 0.03, 0.01, 0.02, 0 }) do
      list[i] = grun.spawn_later(delay, table.insert, order, i)
    end
    grun.joinall(list)
    assert.same({ 4, 2, 3, 1 }, order)
  end)

  it("counts from the call even when the thread that called goes on computing", function()
    local before = grun.now()
    local t = grun.spawn_later(0.05, grun.now)
    burn(0.1)
    assert.is_true(t:get() >= before + 0.05)
  end)

  it("raises at the caller's line for a wrong delay or body", function()
    misuse(function() grun.spawn_later("soon", print) end,
      "bad argument #1 to 'spawn_later' (number expected, got string)")
    misuse(function() grun.spawn_later(-1, print) end,
      "bad argument #1 to 'spawn_later' (seconds must be 0 or more)")
    misuse(function() grun.spawn_later(0 / 0, print) end,
      "bad argument #1 to 'spawn_later' (seconds must be 0 or more)")
    misuse(function() grun.spawn_later(1) end,
      "bad argument #2 to 'spawn_later' (function expected, got no value)")
  end)
end)

describe("current", function()
  it("is the handle that spawn returned", function()
    local t = grun.spawn(grun.current)
    assert.equal(t, t:get())
    assert.not_equal(t, grun.current())
  end)

  it("is the thread's own also in its coroutines", function()
    local t = grun.spawn(function()
      return coroutine.wrap(grun.current)()
    end)
    assert.equal(t, t:get())
  end)
end)

describe("sleep", function()
  it("never returns early", function()
    for _, seconds in ipairs({ 0.0001, 0.001, 0.0055, 0.02 }) do
      local before = grun.now()
      grun.sleep(seconds)
      local passed = grun.now() - before
      assert.is_true(passed >= seconds, ("%g s took %g s"):format(seconds, passed))
    end
  end)

  it("never returns early after 500 ms of computing", function()
    burn(0.5)
    local before = grun.now()
    grun.sleep(0.05)
    assert.is_true(grun.now() - before >= 0.05)
  end)

  it("never returns early when another thread computes meanwhile", function()
    local t = grun.spawn(function()
      local before = grun.now()
      grun.sleep(0.05)
      return grun.now() - before
    end)
    grun.yield()
    burn(0.02)
    grun.yield()
    assert.is_true(t:get() >= 0.05)
  end)

  it("ends in the order of the times", function()
    local order, list = {}, {}
    for i, seconds in ipairs({ 0.03, 0.01, 0.04, 0.02 }) do
      list[i] = grun.spawn(function()
        grun.sleep(seconds)
        order[#order + 1] = i
      end)
    end
    grun.joinall(list)
    assert.same({ 2, 4, 1, 3 }, order)
  end)

  it("lets the others run once when the time is 0 or less", function()
    for _, seconds in ipairs({ 0, -1, -math.huge }) do
      local ran = false
      grun.spawn(function()
        ran = true
      end)
      grun.sleep(seconds)
      assert.is_true(ran)
    end
  end)

  it("takes any length and can be cancelled then", function()
    for _, seconds in ipairs({ 1e9, 1e300, math.huge }) do
      local t = grun.spawn(grun.sleep, seconds)
      grun.yield()
      assert.equal("waiting", t:status())
      assert.is_true(t:kill(5))
    end
  end)

  it("raises at the caller's line without a number", function()
    misuse(function() grun.sleep() end,
      "bad argument #1 to 'sleep' (number expected, got no value)")
    misuse(function() grun.sleep({}) end,
      "bad argument #1 to 'sleep' (number expected, got table)")
    misuse(function() grun.sleep(0 / 0) end,
      "bad argument #1 to 'sleep' (seconds must be a number, not NaN)")
  end)
end)

describe("yield", function()
  it("lets every other ready thread run once", function()
    local log = {}
    local list = {}
    for i = 1, 3 do
      list[i] = grun.spawn(function()
        for round = 1, 3 do
          log[#log + 1] = round .. "." .. i
          grun.yield()
        end
      end)
    end
    grun.joinall(list)
    assert.same("1.1 1.2 1.3 2.1 2.2 2.3 3.1 3.2 3.3", table.concat(log, " "))
  end)

  it("returns at once when nobody else is ready", function()
    local before = grun.now()
    for _ = 1, 1000 do
      grun.yield()
    end
    assert.is_true(grun.now() - before < 1)
  end)

  it("does not starve the timers of others", function()
    local stop = false
    for _ = 1, 3 do
      spawn(function()
        while not stop do
          grun.sleep(0)
        end
      end)
    end
    local late = {}
    for i = 1, 20 do
      local before = grun.now()
      grun.sleep(0.005)
      late[i] = grun.now() - before - 0.005
    end
    stop = true
    -- A busy machine takes the processor away from all of us at times, but not each time.
    table.sort(late)
    assert.is_true(late[3] < 0.01, ("sleeps were %g s late"):format(late[3]))
  end)
end)

describe("idle", function()
  it("returns once nobody else has anything to do", function()
    local log = {}
    local worker = grun.spawn(function()
      for i = 1, 5 do
        log[#log + 1] = i
        grun.yield()
      end
    end)
    grun.idle()
    assert.same({ 1, 2, 3, 4, 5 }, log)
    assert.equal("done", worker:status())
  end)

  it("does not wait for sleeping threads", function()
    local t = spawn(forever)
    grun.idle()
    assert.equal("waiting", t:status())
  end)

  it("lets those who wait return in the order in which they came", function()
    local order, list = {}, {}
    for i = 1, 5 do
      list[i] = grun.spawn(function()
        grun.idle()
        order[#order + 1] = i
      end)
    end
    grun.joinall(list)
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  describe("while somebody is always ready", function()
    local stop

    before_each(function()
      stop = false
      grun.spawn(function()
        while not stop do
          grun.yield()
        end
      end)
    end)

    after_each(function()
      stop = true
      grun.idle()
    end)

    it("can be cancelled, which leaves other idle threads alone", function()
      local list, returned = {}, {}
      for i = 1, 3 do
        list[i] = grun.spawn(function()
          grun.idle()
          returned[#returned + 1] = i
        end)
      end
      grun.yield()
      assert.is_true(list[2]:kill(5))
      assert.equal("waiting", list[1]:status())
      stop = true
      grun.joinall(list)
      assert.same({ 1, 3 }, returned)
    end)

    it("obeys a deadline, which leaves other idle threads alone", function()
      local other = grun.spawn(grun.idle)
      local third
      assert.same({ n = 3, nil, "timeout", "timeout" }, pack(grun.timeout(0.02, function()
        third = grun.spawn(grun.idle)
        grun.idle()
      end)))
      assert.equal("waiting", other:status())
      stop = true
      assert.is_true(other:join(5))
      assert.is_true(third:join(5))
    end)
  end)
end)

describe("now", function()
  it("counts seconds and never goes back", function()
    local last = grun.now()
    for _ = 1, 1000 do
      local now = grun.now()
      assert.is_true(now >= last)
      last = now
    end
    local clock, before = os.clock(), grun.now()
    burn(0.05)
    local passed = grun.now() - before
    assert.is_true(passed >= 0.05 and passed < 5 and os.clock() - clock <= passed + 0.02)
  end)
end)

describe("join", function()
  it("returns true when the thread has returned, failed or was cancelled", function()
    assert.is_true(grun.spawn(nothing):join())
    assert.is_true(failed("x"):join())
    local t = grun.spawn(forever)
    t:cancel()
    assert.is_true(t:join())
    assert.is_true(t:join(0))
  end)

  it("returns nil and timeout once the time is over, and leaves the thread alone", function()
    local t = spawn(forever)
    local before = grun.now()
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:join(0.02)))
    assert.is_true(grun.now() - before >= 0.02)
    assert.equal("waiting", t:status())
  end)

  it("does not wait with a timeout of 0", function()
    local t = spawn(forever)
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:join(0)))
    assert.equal("new", t:status())
  end)

  it("leaves nothing behind in a thread that it did not see the end of", function()
    local t = spawn(forever)
    t:join(0.001)
    grun.timeout(0.001, t.join, t)
    local joiner = grun.spawn(t.join, t)
    grun.yield()
    joiner:kill()
    grun.wait({ t }, 0.001)
    assert.same({}, rawget(t, "_watchers"))
  end)

  it("wakes everybody who waits, first come first", function()
    local t, order, list = grun.spawn(grun.sleep, 0.01), {}, {}
    for i = 1, 5 do
      list[i] = grun.spawn(function()
        assert(t:join())
        order[#order + 1] = i
      end)
    end
    grun.joinall(list)
    assert.same({ 1, 2, 3, 4, 5 }, order)
  end)

  it("can be cancelled, which leaves others that wait for the same thread alone", function()
    local t = grun.spawn(grun.sleep, 0.03)
    local first, second = grun.spawn(t.join, t), grun.spawn(t.join, t)
    grun.yield()
    assert.is_true(first:kill())
    assert.equal("cancelled", first:status())
    assert.is_true(second:get())
    assert.equal("done", t:status())
  end)

  it("raises for a thread's own end and for a wrong timeout", function()
    local t = ended(nothing)
    misuse(function() grun.current():join() end, "join: a thread cannot wait for its own end")
    local message = "join: timeout must be a number of seconds, 0 or more, got "
    misuse(function() t:join(-1) end, message .. "-1")
    misuse(function() t:join("1") end, message .. "1")
    misuse(function() t:join(0 / 0) end, message .. tostring(0 / 0))
  end)
end)

describe("get", function()
  it("returns all results of the body", function()
    for _, results in ipairs({
      pack(), pack(nil), pack(false), pack(1), pack(1, 2), pack(nil, nil), pack(nil, false, nil),
      pack("a", nil, {}, nil, nil),
    }) do
      local t = grun.spawn(function()
        return unpack(results, 1, results.n)
      end)
      assert.same(results, pack(t:get()))
      assert.same(results, pack(t:get(0)))
    end
  end)

  it("returns as many results as there are", function()
    for _, n in ipairs({ 200, 5000 }) do
      local values = { n = n }
      for i = 1, n do
        values[i] = i
      end
      local t = grun.spawn(function()
        grun.yield()
        return unpack(values, 1, n)
      end)
      assert.same(values, pack(t:get()))
    end
  end)

  it("raises the body's error object, whatever it is", function()
    local coro = coroutine.create(nothing)
    for _, err in ipairs({
      {}, setmetatable({}, { __tostring = error }), "text", 42, false, true, print, coro, io.stdout,
      grun.current(),
    }) do
      local t = failed(err)
      assert.equal("failed", t:status())
      local ok, raised = pcall(t.get, t)
      assert.is_false(ok)
      assert.is_true(rawequal(err, raised))
      assert.is_true(rawequal(err, t.error))
    end
  end)

  it("raises nil when the body did", function()
    local t = failed(nil)
    assert.same({ n = 2, false, nil }, pack(pcall(t.get, t)))
    assert.is_nil(t.error)
    assert.equal("failed", t:status())
    assert.is_false(t:successful())
  end)

  it("raises the error to everybody who asks, each time", function()
    local err = {}
    local t = grun.spawn(function()
      grun.yield()
      error(err)
    end)
    local raised = {}
    helper.reports(function()
      local list = {}
      for i = 1, 3 do
        list[i] = grun.spawn(function()
          raised[i] = select(2, pcall(t.get, t)) == err and select(2, pcall(t.get, t)) == err
        end)
      end
      grun.joinall(list)
    end)
    assert.same({ true, true, true }, raised)
  end)

  it("returns nil and timeout once the time is over", function()
    local t = spawn(forever)
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:get(0.01)))
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:get(0)))
  end)

  it("raises what cancelled the thread", function()
    local t = grun.spawn(forever)
    t:cancel("no longer needed")
    local ok, err = pcall(t.get, t)
    assert.is_false(ok)
    assert.equal("no longer needed", grun.is_cancel(err))
    assert.equal(err, t.error)
  end)

  it("raises for a thread's own results and for a wrong timeout", function()
    local t = ended(nothing)
    misuse(function() grun.current():get() end, "get: a thread cannot wait for its own end")
    misuse(function() t:get(-1) end,
      "get: timeout must be a number of seconds, 0 or more, got -1")
  end)
end)

describe("cancel", function()
  it("makes every wait raise from then on, the present one included", function()
    local log = {}
    local t = grun.spawn(function()
      for _, wait in ipairs({
        function() grun.sleep(100) end,
        function() grun.sleep(0) end,
        function() grun.yield() end,
        function() grun.idle() end,
        function() grun.current():kill() end,
        function() grun.spawn(nothing):join() end,
        function() ended(nothing):get() end,
        function() grun.wait({}) end,
        function() grun.joinall({}) end,
        function() grun.killall({}) end,
        function() for _ in grun.iwait({}) do log.never = true end end,
        function() grun.timeout(1, grun.yield) end,
      }) do
        local ok, err = pcall(wait)
        log[#log + 1] = ok or grun.is_cancel(err)
      end
    end)
    grun.yield()
    t:cancel("why")
    t:join()
    grun.idle()
    local expected = {}
    for i = 1, 12 do
      expected[i] = "why"
    end
    assert.same(expected, log)
  end)

  it("keeps the first reason", function()
    local t = grun.spawn(forever)
    t:cancel("first")
    t:cancel("second")
    t:kill()
    assert.equal("first", t.error.reason)
    assert.equal("cancelled: first", tostring(t.error))
  end)

  it("has a reason of its own when none is given", function()
    local a, b = grun.spawn(forever), grun.spawn(forever)
    a:cancel()
    b:kill()
    a:join()
    assert.same({ "cancelled", "killed" }, { a.error.reason, b.error.reason })
  end)

  it("takes a reason of any type", function()
    local reason = setmetatable({}, { __tostring = error })
    local t = grun.spawn(forever)
    t:cancel(reason)
    t:join()
    assert.equal(reason, grun.is_cancel(t.error))
    assert.is_string(tostring(t.error))
  end)

  it("lets a thread that returns all the same succeed", function()
    local t = grun.spawn(function()
      pcall(grun.sleep, 100)
      return "result"
    end)
    grun.yield()
    t:cancel()
    assert.equal("result", t:get())
    assert.equal("done", t:status())
  end)

  it("lets a thread that fails meanwhile fail with its own error", function()
    local t
    local reports = helper.reports(function()
      t = grun.spawn(function()
        pcall(grun.sleep, 100)
        error("while cleaning up", 0)
      end)
      grun.yield()
      t:kill()
    end)
    assert.equal("failed", t:status())
    assert.equal("while cleaning up", t.error)
    assert.equal(1, #reports)
  end)

  it("is not reported as an error", function()
    local reports = helper.reports(function()
      local t = grun.spawn(forever)
      grun.yield()
      t:kill()
      grun.spawn(forever):kill()
    end)
    assert.same({}, reports)
  end)

  it("cannot be swallowed by a pcall loop, which does not starve the others", function()
    local stop, rounds = false, 0
    local t = grun.spawn(function()
      while not stop do
        pcall(grun.sleep, 100)
        rounds = rounds + 1
      end
    end)
    finally(function()
      stop = true
      t:join()
    end)
    grun.yield()
    assert.equal(0, rounds)
    t:cancel()
    local before = grun.now()
    grun.sleep(0.02)
    assert.is_true(grun.now() - before < 1)
    assert.is_true(rounds > 10)
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:kill(0.01)))
  end)

  it("does nothing to an ended thread", function()
    local done, fail = ended(pack, 1), failed("own error")
    done:cancel()
    fail:cancel()
    assert.same({ n = 1, 1 }, done:get())
    assert.same({ "done", "failed" }, { done:status(), fail:status() })
    assert.equal("own error", fail.error)
  end)

  it("reaches a wait inside a coroutine", function()
    local t = grun.spawn(function()
      local co = coroutine.create(forever)
      local ok, err = coroutine.resume(co)
      return ok, grun.is_cancel(err), coroutine.status(co)
    end)
    grun.yield()
    t:cancel("why")
    assert.same({ n = 3, false, "why", "dead" }, pack(t:get()))
  end)

  it("lets the thread clean up behind a shield", function()
    local cleaned = false
    local t = grun.spawn(function()
      local ok, err = pcall(grun.sleep, 100)
      grun.shield(function()
        grun.sleep(0.01)
        grun.spawn(nothing):join()
        cleaned = true
      end)
      error(ok or err, 0)
    end)
    grun.yield()
    assert.is_true(t:kill(5))
    assert.is_true(cleaned)
    assert.equal("cancelled", t:status())
  end)
end)

describe("kill", function()
  it("waits for the end", function()
    local t = grun.spawn(forever)
    grun.yield()
    assert.is_true(t:kill())
    assert.equal("cancelled", t:status())
  end)

  it("returns nil and timeout when the thread does not end in time", function()
    local stop = false
    local t = grun.spawn(function()
      grun.shield(function()
        while not stop do
          grun.sleep(0.001)
        end
      end)
    end)
    grun.yield()
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:kill(0.01)))
    assert.same({ n = 3, nil, "timeout", "timeout" }, pack(t:kill(0)))
    stop = true
    assert.is_true(t:kill())
  end)

  it("by several threads at once wakes them all", function()
    local t = grun.spawn(forever)
    local killers = {}
    for i = 1, 3 do
      killers[i] = grun.spawn(t.kill, t)
    end
    for i = 1, 3 do
      assert.is_true(killers[i]:get())
    end
  end)

  it("of each other ends both threads", function()
    local a, b
    a = grun.spawn(function() b:kill() end)
    b = grun.spawn(function() a:kill() end)
    assert.is_true(a:join(5))
    assert.is_true(b:join(5))
  end)

  it("raises for a wrong timeout, and does not cancel then", function()
    local t = spawn(grun.yield)
    misuse(function() t:kill(-1) end,
      "kill: timeout must be a number of seconds, 0 or more, got -1")
    t:join()
    assert.equal("done", t:status())
  end)
end)

-- Every state a thread can be in, and what each call does to it then. A maker returns the thread, a
-- function that lets it end by itself, and a table in which .ran says that the body was entered.
local states = {
  new = function()
    local seen = {}
    local t = grun.spawn(function()
      seen.ran = true
      return "result"
    end)
    return t, nothing, seen
  end,
  delayed = function()
    local seen = {}
    local t = grun.spawn_later(0.05, function()
      seen.ran = true
      return "result"
    end)
    return t, nothing, seen
  end,
  ready = function()
    local seen, event = {}, { stop = false }
    local t = grun.spawn(function()
      seen.ran = true
      while not event.stop do
        grun.yield()
      end
      return "result"
    end)
    grun.yield()
    return t, function() event.stop = true end, seen
  end,
  waiting = function()
    local seen, other = {}, grun.spawn(grun.sleep, 0.05)
    local t = grun.spawn(function()
      seen.ran = true
      other:join()
      return "result"
    end)
    grun.yield()
    return t, nothing, seen, other
  end,
  done = function()
    return ended(function() return "result" end), nothing, { ran = true }
  end,
  failed = function()
    return failed("own error"), nothing, { ran = true }
  end,
}

local before = {
  new = "new", delayed = "new", ready = "ready", waiting = "waiting", done = "done",
  failed = "failed",
}

-- What becomes of it when it is cancelled; nil: nothing happens.
local cancelled = {
  new = { ran = false }, delayed = { ran = false },
  ready = { ran = true }, waiting = { ran = true },
}

local function outcome(t)
  local ok, value = pcall(t.get, t)
  return ok and value or grun.is_cancel(value) or value
end

for state, make in pairs(states) do
  local natural = state == "failed" and "own error" or "result"

  describe("a thread that is " .. state, function()
    local t, release, seen, other

    before_each(function()
      t, release, seen, other = make()
      assert.equal(before[state], t:status())
    end)

    after_each(function()
      t:kill()
      if other then
        other:kill()
      end
    end)

    local function check_cancelled(reason)
      local expected = cancelled[state]
      assert.equal(expected and reason or natural, outcome(t))
      assert.equal(expected and "cancelled" or before[state], t:status())
      if expected then
        assert.equal(expected.ran, seen.ran or false)
        assert.is_false(t:successful())
      end
    end

    it("is cancelled", function()
      t:cancel("why")
      check_cancelled("why")
    end)

    it("is killed", function()
      assert.is_true(t:kill())
      check_cancelled("killed")
    end)

    it("is killed without waiting", function()
      local ok, message = t:kill(0)
      if cancelled[state] then
        assert.same({ nil, "timeout" }, { ok, message })
      else
        assert.is_true(ok)
      end
      check_cancelled("killed")
    end)

    it("is joined", function()
      release()
      assert.is_true(t:join())
      assert.equal(natural, outcome(t))
      assert.is_true(seen.ran)
    end)

    it("is joined with a timeout that is over first", function()
      local ok, message, code = t:join(0.001)
      if state == "new" or not cancelled[state] then
        assert.is_true(ok)
      else
        assert.same({ nil, "timeout", "timeout" }, { ok, message, code })
      end
      release()
      assert.equal(natural, outcome(t))
    end)

    it("is joined inside a scope whose deadline passes first", function()
      local ok, message = grun.timeout(0.001, t.join, t)
      if state == "new" or not cancelled[state] then
        assert.is_true(ok)
      else
        assert.same({ nil, "timeout" }, { ok, message })
      end
      release()
      assert.equal(natural, outcome(t))
    end)

    it("gives its results", function()
      release()
      assert.equal(natural, outcome(t))
      assert.equal(state == "failed" and "failed" or "done", t:status())
      assert.equal(state ~= "failed", t:successful())
    end)

    it("calls its links at its end, or at once", function()
      local linked = {}
      t:link(function(who)
        linked[#linked + 1] = who
      end)
      assert.same({}, linked)
      release()
      t:join()
      grun.idle()
      assert.same({ t }, linked)
    end)

    it("calls its links when it is killed", function()
      local linked = {}
      t:link(function(who)
        linked[#linked + 1] = who:status()
      end)
      t:kill()
      grun.idle()
      assert.same({ t:status() }, linked)
    end)
  end)
end

describe("a running thread", function()
  it("that cancels itself goes on until it waits", function()
    local passed = false
    local t = grun.spawn(function()
      grun.current():cancel("by itself")
      passed = true
      grun.yield()
      passed = "the wait"
    end)
    t:join()
    assert.is_true(passed)
    assert.equal("by itself", grun.is_cancel(t.error))
    assert.equal("cancelled", t:status())
  end)

  it("that cancels itself and returns has succeeded", function()
    local t = ended(function()
      grun.current():cancel()
      return "result"
    end)
    assert.equal("result", t:get())
    assert.is_true(t:successful())
  end)

  it("that kills itself ends there", function()
    local passed = false
    local t = ended(function()
      grun.current():kill()
      passed = true
    end)
    assert.is_false(passed)
    assert.equal("cancelled", t:status())
  end)

  it("calls its own links at its end", function()
    local linked
    ended(function()
      grun.current():link(function(t)
        linked = t
      end)
    end)
    grun.idle()
    assert.equal("done", linked:status())
  end)

  it("cannot be started again by a link to its end", function()
    local t = grun.spawn(nothing)
    local depth = 0
    local function again(who)
      depth = depth + 1
      if depth < 3 then
        who:link(again)
      end
    end
    t:link(again)
    t:join()
    grun.idle()
    assert.equal(3, depth)
  end)
end)

describe("link", function()
  it("calls the function with the thread, in a new thread, in the order of the links", function()
    local t, log = grun.spawn(nothing), {}
    for i = 1, 3 do
      t:link(function(who)
        log[i] = who == t and grun.current() ~= t and grun.current()
        grun.sleep(0)
        log[#log + 1] = i
      end)
    end
    t:join()
    grun.idle()
    assert.same({ 1, 2, 3 }, { log[4], log[5], log[6] })
    assert.is_true(log[1] ~= log[2] and log[2] ~= log[3])
  end)

  it("calls for the wanted kind of end only", function()
    local function ends(make)
      local log = {}
      helper.reports(function()
        local t = make()
        t:link(function() log[#log + 1] = "any" end)
        t:link(function() log[#log + 1] = "ok" end, "ok")
        t:link(function() log[#log + 1] = "error" end, "error")
        t:join()
        grun.idle()
        t:link(function() log[#log + 1] = "late ok" end, "ok")
        t:link(function() log[#log + 1] = "late error" end, "error")
        grun.idle()
      end)
      return table.concat(log, ", ")
    end
    assert.equal("any, ok, late ok", ends(function() return grun.spawn(nothing) end))
    assert.equal("any, error, late error", ends(function() return grun.spawn(error) end))
    assert.equal("any, error, late error", ends(function()
      local t = grun.spawn(forever)
      t:cancel()
      return t
    end))
  end)

  it("reports errors of the function and calls the other ones all the same", function()
    local called = false
    local reports = helper.reports(function()
      local t = grun.spawn(nothing)
      t:link(function() error("in a link", 0) end)
      t:link(function() called = true end)
      t:join()
      grun.idle()
    end)
    assert.equal("in a link", reports[1].err)
    assert.equal(1, #reports)
    assert.is_true(called)
  end)

  it("is undone by unlink, all links to that function and no other", function()
    local n, other = 0, 0
    local function count() n = n + 1 end
    local t = grun.spawn(nothing)
    t:link(count)
    t:link(function() other = other + 1 end)
    t:link(count, "ok")
    t:unlink(count)
    t:unlink(print)
    t:join()
    grun.idle()
    t:unlink(count)
    assert.same({ 0, 1 }, { n, other })
  end)

  it("raises at the caller's line for wrong arguments", function()
    local t = ended(nothing)
    misuse(function() t:link() end, "link: function expected, got nil")
    misuse(function() t:link("f") end, "link: function expected, got string")
    misuse(function() t:link(nothing, "never") end,
      'link: "ok" or "error" expected, got never')
  end)
end)

describe("a thread's fields", function()
  it("have ids that grow and are never used twice", function()
    local last = grun.current().id
    for _ = 1, 100 do
      local t = ended(nothing)
      assert.is_true(t.id > last)
      last = t.id
    end
  end)

  it("have a name that can be set and removed", function()
    local t = spawn(forever)
    assert.is_nil(t.name)
    for _, name in ipairs({ "worker", "", ("long"):rep(100) }) do
      t.name = name
      assert.equal(name, t.name)
      assert.is_truthy(tostring(t):find('"' .. name .. '"', 1, true))
    end
    t.name = nil
    assert.is_nil(t.name)
    t.name = "named"
    t:kill()
    assert.equal("named", t.name)
    t.name = "after the end"
    assert.equal("after the end", t.name)
  end)

  it("have a table of locals of its own, which lives as long as the handle", function()
    local t = grun.spawn(function()
      grun.current().locals.key = 1
      grun.yield()
      return grun.current().locals
    end)
    local other = ended(nothing)
    grun.yield()
    assert.equal(1, t.locals.key)
    assert.equal(t.locals, t:get())
    assert.same({}, other.locals)
    assert.equal(1, t.locals.key)
  end)

  it("say where it was spawned", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local t, later = ended(nothing), grun.spawn_later(0, nothing)
    assert.equal("spec/thread_spec.lua:" .. line, later.spawned_at)
    later:join()
    assert.is_truthy(t.spawned_at:find("^spec/thread_spec.lua:%d+$"))
    assert.is_nil(coroutine.wrap(grun.spawn)(nothing).spawned_at)
    local line2 = debug.getinfo(1, "l").currentline + 1
    local _, called = pcall(grun.spawn, nothing)
    assert.equal("spec/thread_spec.lua:" .. line2, called.spawned_at)
  end)

  it("have an error and a traceback only when it failed", function()
    local t
    helper.reports(function()
      t = ended(function()
        local function culprit()
          error("boom")
        end
        culprit()
      end)
    end)
    assert.is_truthy(t.error:find("^spec/thread_spec.lua:%d+: boom$"))
    assert.is_truthy(t.traceback:find("in function 'culprit'", 1, true))
    local fine = ended(pcall, grun.timeout, 5, error)
    assert.same({}, { fine.error, fine.traceback })
    local killed = grun.spawn(forever)
    killed:kill()
    assert.is_nil(killed.traceback)
  end)

  it("raise when what is not meant to be set is set", function()
    local t = ended(nothing)
    misuse(function() t.name = 5 end, "name: string expected, got number")
    misuse(function() t.id = 5 end, "field 'id' of a thread cannot be set")
    misuse(function() t.error = 5 end, "field 'error' of a thread cannot be set")
    misuse(function() t.spawned_at = 5 end, "field 'spawned_at' of a thread cannot be set")
    misuse(function() t.locals = {} end, "field 'locals' of a thread cannot be set")
    misuse(function() t.join = 5 end, "field 'join' of a thread cannot be set")
    misuse(function() t[20] = 5 end, "field '20' of a thread cannot be set")
  end)

  it("may be joined by a script's own", function()
    local t = ended(nothing)
    t.request = 17
    assert.equal(17, t.request)
    assert.is_nil(t.unknown)
  end)
end)

describe("status and successful", function()
  it("follow the thread's life", function()
    local log, t = {}, nil
    local function note()
      log[#log + 1] = t:status() .. " " .. tostring(t:successful())
    end
    t = grun.spawn(function()
      note()
      grun.yield()
      grun.sleep(0.001)
    end)
    note()
    grun.yield()
    note()
    grun.yield()
    note()
    t:join()
    note()
    assert.same({ "new false", "running false", "ready false", "waiting false", "done true" }, log)
  end)

  it("tell failed from cancelled", function()
    local t = failed("x")
    assert.same({ "failed", false }, { t:status(), t:successful() })
    t = grun.spawn(forever)
    t:kill()
    assert.same({ "cancelled", false }, { t:status(), t:successful() })
  end)

  it("count a cancelled thread's error in another thread as a failure there", function()
    local killed = grun.spawn(forever)
    killed:kill()
    local t
    local reports = helper.reports(function()
      t = ended(killed.get, killed)
    end)
    assert.equal("failed", t:status())
    assert.equal(killed.error, reports[1].err)
  end)
end)

describe("threads", function()
  it("lists all that have not ended, oldest first", function()
    local here = #grun.threads()
    local list = {}
    for i = 1, 5 do
      list[i] = spawn(i % 2 == 0 and nothing or forever)
    end
    local all = grun.threads()
    assert.equal(here + 5, #all)
    assert.equal(grun.current(), all[here])
    for i = 1, 5 do
      assert.equal(list[i], all[here + i])
    end
    grun.yield()
    all = grun.threads()
    assert.equal(here + 3, #all)
    assert.equal(list[3], all[here + 2])
  end)
end)

describe("tostring of a thread", function()
  local function describe_line(t)
    return (tostring(t):gsub("#%d+", "#N"):gsub(":%d+", ":L"))
  end

  it("says what it is doing and where", function()
    local here = "(spec/thread_spec.lua:L)"
    local t = grun.spawn(function()
      grun.sleep(100)
    end)
    assert.equal("thread #N new (spawned at spec/thread_spec.lua:L)", describe_line(t))
    grun.yield()
    assert.equal("thread #N waiting on sleep " .. here, describe_line(t))
    t.name = "worker"
    assert.equal('thread #N "worker" waiting on sleep ' .. here, describe_line(t))
    t:cancel()
    assert.equal('thread #N "worker" ready, cancelled ' .. here, describe_line(t))
    t:join()
    assert.equal('thread #N "worker" cancelled', describe_line(t))
    local joiner = grun.spawn(function()
      grun.spawn(grun.sleep, 0.01):join()
    end)
    grun.yield()
    assert.equal("thread #N waiting on thread.join " .. here, describe_line(joiner))
    joiner:join()
    assert.equal("thread #N running " .. here, grun.spawn(function()
      return describe_line(grun.current())
    end):get())
  end)

  it("says where a cancelled thread that never started was spawned", function()
    local t = grun.spawn(nothing)
    t:cancel()
    assert.equal("thread #N new, cancelled (spawned at spec/thread_spec.lua:L)", describe_line(t))
  end)

  it("names the line inside the coroutine that waits", function()
    local line = debug.getinfo(1, "l").currentline + 2
    local t = spawn(coroutine.wrap(function()
      grun.sleep(100)
    end))
    grun.yield()
    assert.is_truthy(tostring(t):find("thread_spec.lua:" .. line .. ")", 1, true))
  end)

  it("copes with one that has ended", function()
    assert.equal("thread #N done", describe_line(ended(nothing)))
    assert.equal("thread #N failed", describe_line(failed("x")))
  end)
end)

describe("a thread that uses the stack of an ended one", function()
  local core = require("grun.core")

  -- Runs fn in a thread whose end nobody waits for, which is the shortest way to the end.
  local function run(fn, ...)
    grun.spawn(fn, ...)
    grun.idle()
  end

  local function fresh()
    local t = grun.spawn(function()
      local me = grun.current()
      local info = {
        me.name, me.error, me.traceback, next(me.locals), grun.deadline(), me.mark,
        core.info(core.self()).name,
      }
      grun.yield()
      grun.sleep(0)
      return next(info) == nil
    end)
    assert.is_true(t:get())
    assert.equal("done", t:status())
    assert.is_nil(grun.spawn(function() return rawget(getfenv(0), "foreign") end):get())
    -- A timer left from before would end this sleep.
    t = grun.spawn(function()
      local from = grun.now()
      grun.sleep(0.002)
      return grun.now() - from
    end)
    assert.is_true(t:get() >= 0.002)
    -- A shield left from before would hold this cancel back.
    t = grun.spawn(forever)
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("killed", t.error.reason)
  end

  local leftovers = {
    ["was cancelled before it started"] = function()
      grun.spawn(nothing):cancel()
      grun.idle()
    end,
    ["was cancelled while it waited"] = function()
      local t = grun.spawn(forever)
      grun.yield()
      t:cancel()
      grun.idle()
    end,
    ["cancelled itself and returned"] = function()
      run(function() grun.current():cancel() end)
    end,
    ["had a name, locals and fields"] = function()
      run(function()
        local me = grun.current()
        me.name, me.locals.key, me.mark = "old", 1, 1
      end)
    end,
    ["failed inside scopes"] = function()
      helper.reports(function()
        run(grun.timeout, 0.001, grun.shield, grun.timeout, 0.001, error, "x")
      end)
    end,
    ["left a scope open in a coroutine"] = function()
      run(function()
        coroutine.wrap(function() grun.timeout(0, coroutine.yield) end)()
      end)
    end,
    ["left a shield open in a coroutine"] = function()
      run(function()
        coroutine.wrap(function() grun.shield(coroutine.yield) end)()
      end)
    end,
    ["changed its environment"] = function()
      run(setfenv, 0, { foreign = true })
    end,
    ["was delayed and cancelled"] = function()
      grun.spawn_later(0.001, nothing):cancel()
      grun.idle()
    end,
    ["had a timer that was not over"] = function()
      local other = grun.spawn(nothing)
      run(other.join, other, 0.001)
    end,
  }

  for what, leave in pairs(leftovers) do
    it("which " .. what .. " starts afresh", function()
      for _ = 1, 3 do
        leave()
        fresh()
      end
    end)
  end

  it("is another coroutine than the ended one was", function()
    local old = ended(coroutine.running):get()
    assert.equal("dead", coroutine.status(old))
    for _ = 1, 3 do
      run(nothing)
      local new = ended(coroutine.running):get()
      assert.not_equal(old, new)
      old = new
    end
  end)
end)
