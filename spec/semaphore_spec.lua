-- SPDX-License-Identifier: MIT
-- Semaphores: permits are handed on in order and never lost.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")

local spawn, misuse, waiting, outcome = helper.spawn, helper.misuse, sync.waiting, sync.outcome

describe("a semaphore", function()
  it("has so many permits", function()
    local s = grun.semaphore(2)
    assert.equal(2, s:count())
    assert.is_true(s:acquire())
    assert.is_true(s:acquire(0))
    assert.equal(0, s:count())
    assert.is_false(s:try_acquire())
    assert.same({ nil, "timeout", "timeout" }, { s:acquire(0) })
    assert.same({ nil, "timeout", "timeout" }, { s:acquire(0.001) })
    s:release()
    assert.is_true(s:try_acquire())
    s:release(2)
    assert.equal(2, s:count())
  end)

  it("does not let others run while there is a permit", function()
    local s, other = grun.semaphore(1), spawn(function() end)
    s:acquire(5)
    s:release()
    s:try_acquire()
    assert.equal("new", other:status())
  end)

  it("hands permits on in the order in which the threads came", function()
    local s, log = grun.semaphore(0), sync.log()
    for i = 1, 5 do
      waiting(function()
        s:acquire()
        log(i)
      end)
    end
    s:release(2)
    assert.equal(0, s:count())
    sync.settle()
    assert.equal("1 2", log.text())
    s:release()
    sync.settle()
    s:release(4)
    sync.settle()
    assert.equal("1 2 3 4 5", log.text())
    assert.equal(2, s:count())
  end)

  it("lets nobody overtake who was woken and has not run", function()
    local s = grun.semaphore(1)
    s:acquire()
    local t = waiting(s.acquire, s)
    s:release()
    assert.is_false(s:try_acquire())
    assert.is_nil((s:acquire(0)))
    assert.is_true(t:get())
  end)

  it("alternates between two threads that always want it", function()
    local s, log = grun.semaphore(1), sync.log()
    local function worker(name)
      for _ = 1, 3 do
        s:acquire()
        log(name)
        grun.yield()
        s:release()
      end
    end
    local a, b = spawn(worker, "a"), spawn(worker, "b")
    a:join()
    b:join()
    assert.equal("a b a b a b", log.text())
  end)

  for way, message in pairs(sync.ways_out) do
    it("keeps the permit of a thread that left: " .. way, function()
      local s = grun.semaphore(0)
      local t = sync.leaving(way, function(seconds) return s:acquire(seconds) end)
      s:release()
      assert.equal(message, select(2, outcome(t)))
      assert.equal("semaphore 1 free, 0 waiting", tostring(s))
    end)

    it("hands the permit to the next when the first left: " .. way, function()
      local s = grun.semaphore(0)
      local other
      local t = sync.leaving(way, function(seconds) return s:acquire(seconds) end, function()
        other = waiting(s.acquire, s)
      end)
      s:release()
      assert.is_true(other:get())
      assert.equal(message, select(2, outcome(t)))
      assert.equal("semaphore 0 free, 0 waiting", tostring(s))
    end)

    it("handed over before the thread left is its own: " .. way, function()
      local s = grun.semaphore(0)
      local t = sync.late(way, function(seconds) return s:acquire(seconds) end, function()
        s:release()
      end)
      assert.is_true(outcome(t))
      assert.equal(0, s:count())
    end)
  end

  it("forgets killed threads in the middle of the line", function()
    local s, log, threads = grun.semaphore(0), sync.log(), {}
    for i = 1, 5 do
      threads[i] = waiting(function()
        s:acquire()
        log(i)
      end)
    end
    for _, i in ipairs({ 1, 3, 5 }) do
      threads[i]:kill()
    end
    assert.equal("semaphore 0 free, 2 waiting", tostring(s))
    s:release(3)
    sync.settle()
    assert.equal("2 4", log.text())
    assert.equal(1, s:count())
  end)

  describe("with()", function()
    it("gives the permit back however the function ends", function()
      local s = grun.semaphore(1)
      assert.same({ 1, nil, 3 }, { s:with(function(...)
        assert.equal(0, s:count())
        return ...
      end, 1, nil, 3) })
      local err = {}
      local ok, raised = pcall(s.with, s, error, err)
      assert.is_false(ok)
      assert.equal(err, raised)
      assert.equal(1, s:count())
    end)

    it("gives the permit back when the thread is killed or past a deadline", function()
      local s = grun.semaphore(1)
      local t = waiting(s.with, s, grun.sleep, 5)
      assert.equal(0, s:count())
      t:kill()
      assert.equal(1, s:count())
      assert.equal("timeout", select(2, grun.timeout(0.001, s.with, s, grun.sleep, 5)))
      assert.equal(1, s:count())
    end)

    it("takes no permit when the wait for it fails", function()
      local s = grun.semaphore(0)
      local ran = false
      local t = waiting(s.with, s, function() ran = true end)
      t:kill()
      s:release()
      assert.is_false(ran)
      assert.equal(1, s:count())
    end)
  end)

  it("can be waited for, which takes no permit", function()
    local s = grun.semaphore(0)
    local t = waiting(grun.wait, { s }, 5)
    local other = waiting(s.acquire, s)
    s:release()
    sync.settle()
    assert.equal("waiting", t:status())
    assert.is_true(other:get())
    s:release()
    assert.same({ s }, t:get())
    assert.equal(1, s:count())
    assert.same({ s }, grun.wait({ s }, 0))
  end)

  it("with a maximum takes no more permits than that", function()
    local s = grun.semaphore(1, 2)
    s:release()
    misuse(function() s:release() end, "release: more permits than the maximum of 2")
    s:acquire()
    misuse(function() s:release(2) end, "release: more permits than the maximum of 2")
    assert.equal(1, s:count())
    assert.equal(0, grun.semaphore(0, 1):count())
    assert.equal(5, grun.semaphore(5, math.huge):count())
  end)

  it("without one takes any number", function()
    local s = grun.semaphore(0)
    s:release(1e9)
    s:release()
    assert.equal(1e9 + 1, s:count())
  end)

  it("is compiled", function()
    sync.is_compiled([[
      local s = grun.semaphore(1)
      for _ = 1, 1e5 do
        s:acquire()
        s:release()
      end
      local function work()
        for _ = 1, 1e4 do
          s:acquire()
          grun.yield()
          s:release()
        end
      end
      grun.joinall({ grun.spawn(work), grun.spawn(work) })
    ]])
  end)

  it("leaves nothing in the heap after 200,000 waits that were cancelled", function()
    local s = grun.semaphore(0)
    sync.leaves_no_garbage(2e5, function(n)
      for _ = 1, n / 100 do
        local threads = {}
        for i = 1, 100 do
          threads[i] = grun.spawn(s.acquire, s)
        end
        grun.yield()
        for _, t in ipairs(threads) do
          t:cancel()
        end
        grun.joinall(threads)
      end
    end)
    assert.equal("semaphore 0 free, 0 waiting", tostring(s))
  end)

  it("raises at the caller's line for wrong arguments", function()
    local whole = "semaphore: a whole number of permits, 0 or more, expected, got "
    misuse(function() grun.semaphore() end, whole .. "nil")
    misuse(function() grun.semaphore(-1) end, whole .. "-1")
    misuse(function() grun.semaphore(1.5) end, whole .. "1.5")
    misuse(function() grun.semaphore("1") end, whole .. "1")
    misuse(function() grun.semaphore(math.huge) end, whole .. "inf")
    local maximum = "semaphore: maximum of permits, 1 or more and not below n, expected, got "
    misuse(function() grun.semaphore(0, 0) end, maximum .. "0")
    misuse(function() grun.semaphore(3, 2) end, maximum .. "2")
    misuse(function() grun.semaphore(1, 1.5) end, maximum .. "1.5")
    misuse(function() grun.semaphore(1, "2") end, maximum .. "2")
    local s = grun.semaphore(1)
    local permits = "release: a whole number of permits, 1 or more, expected, got "
    misuse(function() s:release(0) end, permits .. "0")
    misuse(function() s:release(-1) end, permits .. "-1")
    misuse(function() s:release(0.5) end, permits .. "0.5")
    misuse(function() s:release("x") end, permits .. "x")
    local seconds = "acquire: timeout must be a number of seconds, 0 or more, got "
    misuse(function() s:acquire(-1) end, seconds .. "-1")
    misuse(function() s:acquire(true) end, seconds .. "true")
    misuse(function() s:with() end, "with: function expected, got nil")
    misuse(function() s:with(5) end, "with: function expected, got number")
    assert.equal(1, s:count())
  end)
end)
