-- SPDX-License-Identifier: MIT
-- Deadlines around a piece of code, and shields against them and against cancels.

local helper = require("spec.helper")
local grun = require("grun")

local misuse, spawn = helper.misuse, helper.spawn
local TIMEOUT = { n = 3, nil, "timeout", "timeout" }

local function pack(...)
  return { n = select("#", ...), ... }
end

local function nothing() end

local function forever()
  grun.sleep(100)
end

local function burn(seconds)
  local limit = grun.now() + seconds
  repeat until grun.now() >= limit -- luacheck: ignore
end

-- Nothing of a scope may be left once it is over: neither a deadline nor a shield.
local function check_clean()
  assert.is_nil(grun.deadline())
  grun.sleep(0.001)
  local t = grun.spawn(function()
    local ok, err = pcall(forever)
    return ok, grun.is_cancel(err)
  end)
  t:kill()
end

describe("timeout", function()
  after_each(check_clean)

  it("returns the function's results when it returns in time", function()
    assert.same(pack(1, nil, false, nil), pack(grun.timeout(5, function(...)
      grun.sleep(0.001)
      return ...
    end, 1, nil, false, nil)))
    assert.same(pack(), pack(grun.timeout(5, nothing)))
  end)

  it("returns nil, timeout, timeout when it does not, and not too early", function()
    local before = grun.now()
    assert.same(TIMEOUT, pack(grun.timeout(0.02, forever)))
    local passed = grun.now() - before
    assert.is_true(passed >= 0.02 and passed < 5)
  end)

  it("takes callable tables", function()
    local fn = setmetatable({}, { __call = function(_, a) return a end })
    assert.equal(3, grun.timeout(1, fn, 3))
    assert.equal(3, grun.timeout(nil, fn, 3))
    assert.equal(3, grun.shield(fn, 3))
  end)

  it("of nil seconds or of a very long time is no limit", function()
    for _, seconds in ipairs({ 1e9, 1e300, math.huge }) do
      assert.equal("ok", grun.timeout(seconds, function()
        grun.sleep(0.001)
        return "ok"
      end))
    end
    assert.equal("ok", grun.timeout(nil, function()
      grun.sleep(0.001)
      return grun.deadline() == nil and "ok"
    end))
  end)

  it("of 0 or fewer seconds runs the function until it first waits", function()
    for _, seconds in ipairs({ 0, -1, -math.huge }) do
      local reached
      assert.same(TIMEOUT, pack(grun.timeout(seconds, function()
        reached = "the wait"
        grun.sleep(0)
        reached = "too far"
      end)))
      assert.equal("the wait", reached)
      assert.equal("no wait", grun.timeout(seconds, function() return "no wait" end))
    end
  end)

  it("does nothing to a function that computes beyond the deadline and returns", function()
    assert.equal("late", grun.timeout(0.005, function()
      burn(0.01)
      return "late"
    end))
  end)

  it("passes errors on unchanged, with their own traceback", function()
    local err = {}
    local function culprit()
      error(err)
    end
    local reports = helper.reports(function()
      local t = grun.spawn(grun.timeout, 5, grun.timeout, 5, function()
        grun.yield()
        culprit()
      end)
      t:join()
    end)
    assert.equal(err, reports[1].err)
    assert.is_truthy(reports[1].traceback:find("in function 'culprit'", 1, true))
    for _, value in ipairs({ "text", 5, false }) do
      local ok, raised = pcall(grun.timeout, 5, function() error(value, 0) end)
      assert.is_false(ok)
      assert.equal(value, raised)
    end
    assert.same(pack(false, nil), pack(pcall(grun.timeout, 5, error)))
  end)

  it("keeps raising when the function swallows errors and waits again", function()
    local raised = 0
    assert.equal("gave up", grun.timeout(0.005, function()
      while raised < 20 do
        local ok, err = pcall(forever)
        raised = raised + (not ok and grun.is_cancel(err) == "timeout" and 1 or 1000)
      end
      return "gave up"
    end))
    assert.equal(20, raised)
  end)

  it("does not let such a function starve the others", function()
    local stop, rounds = false, 0
    local t = spawn(grun.timeout, 0, function()
      while not stop do
        pcall(forever)
        rounds = rounds + 1
      end
    end)
    local before = grun.now()
    grun.sleep(0.02)
    stop = true
    assert.is_true(grun.now() - before < 1)
    assert.is_true(rounds > 10)
    t:join()
  end)

  it("limits everything that can wait", function()
    local t, a, b = spawn(forever), grun.pair()
    for name, wait in pairs({
      sleep = forever,
      join = function() t:join() end,
      get = function() t:get() end,
      wait = function() grun.wait({ t }) end,
      iwait = function() for _ in grun.iwait({ t }) do error("unreachable") end end,
      joinall = function() grun.joinall({ t }) end,
      read = function() a:read() end,
      recv = function() a:recv() end,
      wait_readable = function() grun.wait_readable(a:fd()) end,
      ["wait for a socket"] = function() grun.wait({ a }) end,
      ["longer timeouts"] = function() t:join(50) end,
    }) do
      assert.same(TIMEOUT, pack(grun.timeout(0.005, wait)), name)
    end
    a:close()
    b:close()
    assert.equal("waiting", t:status())
  end)

  it("leaves a call's own timeout alone when that is over first", function()
    local t = spawn(forever)
    assert.same({ "own", nil, "timeout", "timeout" }, { grun.timeout(5, function()
      return "own", t:join(0.002)
    end) })
  end)

  it("wakes a thread that has meanwhile got what it waited for with that", function()
    local t = grun.spawn(grun.sleep, 0.01)
    assert.is_true(grun.timeout(0.5, t.join, t))
  end)

  it("raises at the caller's line for wrong arguments", function()
    misuse(function() grun.timeout("1", nothing) end, "timeout: number of seconds expected, got 1")
    misuse(function() grun.timeout(true, nothing) end,
      "timeout: number of seconds expected, got true")
    misuse(function() grun.timeout(0 / 0, nothing) end,
      "timeout: number of seconds expected, got " .. tostring(0 / 0))
    misuse(function() grun.timeout(1) end, "timeout: function expected, got nil")
    misuse(function() grun.timeout(nil, {}) end, "timeout: function expected, got table")
    misuse(function() grun.shield() end, "shield: function expected, got nil")
    misuse(function() grun.shield("f") end, "shield: function expected, got string")
  end)
end)

describe("timeouts inside each other", function()
  after_each(check_clean)

  it("let the inner one end only itself", function()
    assert.same({ "went on", nil, "timeout" }, { grun.timeout(5, function()
      local result, message = grun.timeout(0.005, forever)
      grun.sleep(0.001)
      return "went on", result, message
    end) })
  end)

  it("let the outer one end both when it is nearer", function()
    local passed = false
    assert.same(TIMEOUT, pack(grun.timeout(0.005, function()
      grun.timeout(5, forever)
      passed = true
    end)))
    assert.is_false(passed)
  end)

  it("end one after the other when each deadline passes", function()
    local log = {}
    assert.same(TIMEOUT, pack(grun.timeout(0.01, function()
      log[1] = pack(grun.timeout(0.002, function()
        burn(0.02)
        grun.yield()
      end))
      grun.yield()
      log[2] = "too far"
    end)))
    assert.same({ TIMEOUT }, log)
  end)

  it("raise an error of their own, which only they swallow", function()
    local outer, inner
    grun.timeout(0.005, function()
      local _, err = pcall(grun.timeout, 5, forever)
      outer = err
    end)
    grun.timeout(5, function()
      grun.timeout(0.001, function()
        inner = select(2, pcall(forever))
      end)
    end)
    assert.not_equal(outer, inner)
    assert.equal("timeout: deadline of 0.005 s passed", tostring(outer))
    assert.equal("timeout: deadline of 0.001 s passed", tostring(inner))
    -- Out of its scope the object is an error like any other.
    local ok, err = pcall(grun.timeout, 5, error, inner)
    assert.is_false(ok)
    assert.equal(inner, err)
  end)

  it("restore the deadline outside, however the inner one ends", function()
    local function near(expected)
      local left = grun.deadline()
      assert.is_true(left <= expected and left > expected - 5)
    end
    grun.timeout(50, function()
      near(50)
      grun.timeout(20, near, 20)
      near(50)
      pcall(grun.timeout, 20, error)
      near(50)
      grun.timeout(0.001, forever)
      near(50)
      grun.timeout(90, near, 50)
      near(50)
      pcall(grun.shield, error)
      near(50)
    end)
    assert.is_nil(grun.deadline())
  end)

  it("nest 100 deep", function()
    local function nest(depth)
      if depth == 0 then
        return forever()
      end
      return grun.timeout(depth == 50 and 0.005 or 10 + depth, function()
        nest(depth - 1)
        return "unreachable below 50"
      end)
    end
    assert.equal("unreachable below 50", nest(100))
    assert.same(TIMEOUT, pack(nest(50)))
  end)
end)

describe("deadline", function()
  it("is nil without a scope", function()
    assert.same(pack(nil), pack(grun.deadline()))
  end)

  it("counts down to 0", function()
    grun.timeout(0.01, function()
      local left = grun.deadline()
      assert.is_true(left > 0 and left <= 0.01)
      burn(0.02)
      assert.equal(0, grun.deadline())
    end)
    grun.timeout(-5, function()
      assert.equal(0, grun.deadline())
    end)
  end)

  it("belongs to one thread: those spawned inside have none", function()
    assert.equal("none", grun.timeout(5, function()
      return grun.spawn(grun.deadline):get() or "none"
    end))
  end)

  it("of an endless scope is nil", function()
    assert.is_nil(grun.timeout(math.huge, grun.deadline))
    assert.is_nil(grun.timeout(nil, grun.deadline))
  end)
end)

describe("shield", function()
  after_each(check_clean)

  it("passes arguments, results and errors", function()
    assert.same(pack(1, nil, 3, nil), pack(grun.shield(function(...)
      grun.yield()
      return ...
    end, 1, nil, 3, nil)))
    local err = {}
    local ok, raised = pcall(grun.shield, error, err)
    assert.is_false(ok)
    assert.equal(err, raised)
  end)

  it("holds a cancel back until it is over", function()
    local log = {}
    local t = grun.spawn(function()
      grun.shield(function()
        grun.sleep(0.01)
        log[1] = "shielded sleep"
      end)
      log[2] = "after the shield"
      grun.yield()
      log[3] = "too far"
    end)
    grun.yield()
    t:cancel("why")
    t:join()
    assert.same({ "shielded sleep", "after the shield" }, log)
    assert.equal("why", t.error.reason)
  end)

  it("holds the deadlines outside back until it is over", function()
    local log = {}
    assert.same(TIMEOUT, pack(grun.timeout(0.002, function()
      grun.shield(function()
        assert.is_nil(grun.deadline())
        grun.sleep(0.01)
        log[1] = "shielded sleep"
      end)
      assert.equal(0, grun.deadline())
      log[2] = "after the shield"
      grun.yield()
      log[3] = "too far"
    end)))
    assert.same({ "shielded sleep", "after the shield" }, log)
  end)

  it("lets a timeout inside it work", function()
    local log = {}
    local t = grun.spawn(function()
      pcall(forever)
      grun.shield(function()
        log[1] = pack(grun.timeout(0.005, forever))
        log[2] = grun.timeout(5, function()
          grun.sleep(0.001)
          return grun.deadline() > 1
        end)
      end)
      grun.yield()
    end)
    grun.yield()
    assert.is_true(t:kill(5))
    assert.same({ TIMEOUT, true }, log)
    assert.equal("cancelled", t:status())
  end)

  it("inside a shield changes nothing, and the outer one goes on", function()
    local log = {}
    local t = grun.spawn(function()
      grun.shield(function()
        grun.shield(grun.sleep, 0.005)
        grun.sleep(0.005)
        pcall(grun.shield, error)
        grun.sleep(0.001)
        log[1] = "done"
      end)
      grun.yield()
      log[2] = "too far"
    end)
    grun.yield()
    t:kill()
    assert.same({ "done" }, log)
  end)

  it("is over when its function fails", function()
    local t = grun.spawn(function()
      pcall(grun.shield, error)
      forever()
    end)
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
  end)

  it("in a timeout in a shield in a timeout holds back what is outside of it", function()
    local log = {}
    grun.timeout(0.002, function()
      grun.shield(function()
        log[1] = pack(grun.timeout(0.005, function()
          grun.shield(grun.sleep, 0.01)
          log[2] = "innermost"
          grun.yield()
          log[3] = "too far"
        end))
        grun.yield()
        log[4] = "outer shield"
      end)
      grun.yield()
      log[5] = "too far"
    end)
    assert.same({ TIMEOUT, "innermost", nil, "outer shield" }, log)
  end)
end)

describe("a cancel and a deadline at the same time", function()
  it("raise the cancel", function()
    local reason
    local t = grun.spawn(function()
      grun.timeout(0.005, function()
        grun.current():cancel("why")
        burn(0.01)
        reason = grun.is_cancel(select(2, pcall(forever)))
        forever()
      end)
    end)
    t:join()
    assert.equal("why", reason)
    assert.equal("cancelled", t:status())
    assert.equal("why", t.error.reason)
  end)

  it("let the cancel through a scope whose deadline passes while it unwinds", function()
    local t = grun.spawn(function()
      grun.timeout(0.01, function()
        local _, err = pcall(forever)
        burn(0.02)
        error(err, 0)
      end)
      error("the scope swallowed it")
    end)
    grun.yield()
    t:kill()
    assert.equal("cancelled", t:status())
  end)

  it("raise the cancel once the scope is over that was ended by its deadline", function()
    local log = {}
    local t = grun.spawn(function()
      grun.timeout(0.002, function()
        local _, err = pcall(forever)
        log[1] = grun.is_cancel(err)
        grun.current():cancel("why")
        log[2] = grun.is_cancel(select(2, pcall(forever)))
        error(err, 0)
      end)
      log[3] = "scope left"
      forever()
    end)
    t:join()
    assert.same({ "timeout", "why", "scope left" }, log)
    assert.equal("why", t.error.reason)
  end)
end)

describe("is_cancel", function()
  it("gives the reason for what a cancelled thread's wait raised", function()
    local reason = {}
    for _, why in ipairs({ "text", 5, reason, true }) do
      local t = grun.spawn(forever)
      t:cancel(why)
      t:join()
      assert.equal(why, grun.is_cancel(t.error))
    end
  end)

  it("gives timeout for what a deadline raised", function()
    local err
    grun.timeout(0, function()
      err = select(2, pcall(forever))
    end)
    assert.equal("timeout", grun.is_cancel(err))
  end)

  it("gives nil for anything else", function()
    local hidden = setmetatable({}, { __metatable = "hidden" })
    for _, value in ipairs({
      "cancelled", "timeout", 1, true, false, {}, hidden, print, io.stdout, grun.current(),
      setmetatable({ reason = "x" }, {}), coroutine.create(nothing), grun,
    }) do
      assert.same(pack(nil), pack(grun.is_cancel(value)))
    end
    assert.is_nil(grun.is_cancel(nil))
    assert.is_nil(grun.is_cancel())
  end)
end)

describe("scopes in coroutines", function()
  after_each(check_clean)

  it("limit what the coroutine does", function()
    local co = coroutine.wrap(function()
      coroutine.yield((grun.timeout(5, function()
        grun.sleep(0.001)
        return "in time"
      end)))
      return pack(grun.timeout(0.005, forever))
    end)
    assert.equal("in time", co())
    assert.same(TIMEOUT, co())
  end)

  it("around a coroutine limit what it does", function()
    local co = coroutine.create(forever)
    assert.same(TIMEOUT, pack(grun.timeout(0.005, function()
      local ok, err = coroutine.resume(co)
      assert.is_false(ok)
      error(err, 0)
    end)))
    assert.equal("dead", coroutine.status(co))
  end)

  it("may yield and be resumed inside", function()
    local co = coroutine.wrap(function()
      return grun.timeout(5, function()
        local a = coroutine.yield("first")
        grun.sleep(0.001)
        return a
      end)
    end)
    assert.equal("first", co())
    assert.is_true(grun.deadline() > 1)
    assert.equal("second", co("second"))
  end)

  it("are closed with the scope around them when the coroutine never ends", function()
    local co
    assert.equal("done", grun.timeout(5, function()
      co = coroutine.wrap(function()
        grun.timeout(0.001, coroutine.yield)
        grun.sleep(0.002)
        return "ended late"
      end)
      co()
      return "done"
    end))
    check_clean()
    assert.equal("ended late", co())
  end)
end)

describe("scopes in many threads at once", function()
  it("end each at its own time", function()
    local list = {}
    for i = 1, 200 do
      list[i] = grun.spawn(function()
        local before, seconds = grun.now(), (i * 37 % 20 + 1) / 1000
        local result = pack(grun.timeout(seconds, forever))
        return result[2] == "timeout" and grun.now() - before >= seconds
      end)
    end
    for i = 1, 200 do
      assert.is_true(list[i]:get())
    end
  end)
end)
