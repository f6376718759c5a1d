-- SPDX-License-Identifier: MIT
-- Locks, conditions, barriers and reader-writer locks.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")

local spawn, misuse, waiting, outcome = helper.spawn, helper.misuse, sync.waiting, sync.outcome

-- A thread that holds the lock until it is killed, and then releases it.
local function holder(l)
  return waiting(l.with, l, grun.sleep, 5)
end

-- A thread that has ended and never released the lock.
local function careless(l)
  local t = spawn(l.acquire, l)
  t:join()
  return t
end

describe("a lock", function()
  for name, opts in pairs({ plain = {}, reentrant = { reentrant = true } }) do
    local l

    before_each(function()
      l = grun.lock(opts)
    end)

    local function test(text, body)
      it(text .. ": " .. name, body)
    end

    test("is held by one thread", function()
      assert.is_nil(l:owner())
      assert.is_true(l:acquire())
      assert.equal(grun.current(), l:owner())
      local t = spawn(function()
        return l:try_acquire(), l:acquire(0), l:acquire(0.001)
      end)
      assert.same({ false, nil, nil, "timeout", "timeout" }, { t:get() })
      l:release()
      assert.is_nil(l:owner())
      assert.is_true(l:try_acquire())
      l:release()
    end)

    test("goes to the threads in the order in which they came", function()
      local log = sync.log()
      l:acquire()
      for i = 1, 4 do
        waiting(function()
          l:acquire()
          log(i)
          grun.yield()
          l:release()
        end)
      end
      l:release()
      sync.settle()
      assert.equal("1 2 3 4", log.text())
      assert.is_nil(l:owner())
    end)

    test("belongs to the woken thread at once, so that nobody overtakes", function()
      l:acquire()
      local t = waiting(function()
        l:acquire()
        l:release()
        return "got it"
      end)
      l:release()
      assert.equal(t, l:owner())
      assert.is_false(l:try_acquire())
      assert.is_nil((l:acquire(0)))
      assert.equal("got it", t:get())
    end)

    for way, message in pairs(sync.ways_out) do
      test("is not given to a thread that left by " .. way, function()
        l:acquire()
        local t = sync.leaving(way, function(s) return l:acquire(s) end)
        l:release()
        assert.is_nil(l:owner())
        assert.equal(message, select(2, outcome(t)))
        assert.equal("lock free, 0 waiting", tostring(l))
      end)

      test("goes to the next when the first left by " .. way, function()
        l:acquire()
        local other
        local t = sync.leaving(way, function(s) return l:acquire(s) end, function()
          other = waiting(function() return l:with(grun.current) end)
        end)
        l:release()
        assert.equal(other, l:owner())
        assert.equal(other, other:get())
        assert.equal(message, select(2, outcome(t)))
        assert.is_nil(l:owner())
      end)

      test("given to a thread before it left by " .. way .. " is its own", function()
        l:acquire()
        local t = sync.late(way, function(s) return l:acquire(s) end, function() l:release() end)
        assert.equal(t, l:owner())
        assert.is_true(outcome(t))
      end)
    end

    test("that its holder left locked stays locked, and anybody may release it", function()
      local t = careless(l)
      assert.equal(t, l:owner())
      assert.equal("lock held by thread #" .. t.id .. ", which has ended, 0 waiting", tostring(l))
      assert.is_nil((l:acquire(0.001)))
      local other = waiting(function()
        l:acquire()
        l:release()
      end)
      l:release()
      assert.equal(other, l:owner())
      other:get()
      assert.is_nil(l:owner())
    end)

    test("is given back by with() however the function ends", function()
      assert.same({ 1, nil, 3 }, { l:with(function(...)
        assert.equal(grun.current(), l:owner())
        return ...
      end, 1, nil, 3) })
      local err = {}
      assert.equal(err, select(2, pcall(l.with, l, error, err)))
      assert.is_nil(l:owner())
      holder(l):kill()
      assert.is_nil(l:owner())
      assert.equal("timeout", select(2, grun.timeout(0.001, l.with, l, grun.sleep, 5)))
      assert.is_nil(l:owner())
    end)

    test("can be waited for, which does not take it", function()
      local h = holder(l)
      local t = waiting(grun.wait, { l }, 5)
      h:kill()
      assert.same({ l }, t:get())
      assert.is_nil(l:owner())
    end)

    test("can be released by its holder only", function()
      misuse(function() l:release() end, "release: not held")
      local t = holder(l)
      misuse(function() l:release() end, "release: held by " .. tostring(t))
      assert.equal(t, l:owner())
    end)

    test("says who holds it", function()
      assert.equal("lock free, 0 waiting", tostring(l))
      local h = holder(l)
      waiting(l.acquire, l)
      assert.equal(("lock held by thread #%d, 1 waiting"):format(h.id), tostring(l))
    end)

    test("raises at the caller's line for wrong arguments", function()
      local expected = "acquire: timeout must be a number of seconds, 0 or more, got "
      misuse(function() l:acquire(-1) end, expected .. "-1")
      misuse(function() l:acquire("x") end, expected .. "x")
      misuse(function() l:with() end, "with: function expected, got nil")
      assert.is_nil(l:owner())
    end)
  end

  it("is compiled", function()
    sync.is_compiled([[
      local s = grun.lock()
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

  it("cannot be taken twice by its holder", function()
    local l = grun.lock()
    l:acquire()
    misuse(function() l:acquire() end, "acquire: this thread holds the lock already")
    misuse(function() l:acquire(0) end, "acquire: this thread holds the lock already")
    misuse(function() l:with(print) end, "with: this thread holds the lock already")
    assert.is_false(l:try_acquire())
    l:release()
    assert.is_nil(l:owner())
  end)

  it("that is reentrant is free after as many releases", function()
    local l = grun.lock({ reentrant = true })
    l:acquire()
    assert.is_true(l:acquire(0))
    assert.is_true(l:try_acquire())
    l:with(function()
      local t = waiting(l.acquire, l)
      l:release()
      l:release()
      assert.equal("waiting", t:status())
      l:acquire()
      l:acquire()
    end)
    l:release()
    l:release()
    assert.equal(grun.current(), l:owner())
    l:release()
    misuse(function() l:release() end,
      "release: held by " .. tostring(l:owner()))
  end)

  it("that is reentrant and was left locked twice is free after one release", function()
    local l = grun.lock({ reentrant = true })
    spawn(function()
      l:acquire()
      l:acquire()
    end):join()
    l:release()
    assert.is_nil(l:owner())
    l:acquire()
    l:release()
    assert.is_nil(l:owner())
  end)

  it("raises at the caller's line for wrong options", function()
    misuse(function() grun.lock(true) end, "lock: table of options expected, got boolean")
    misuse(function() grun.lock({ fair = true }) end, "lock: unknown option 'fair'")
  end)
end)

describe("a condition", function()
  local c

  before_each(function()
    c = grun.condition()
  end)

  -- A thread that waits for the condition and says how that went.
  local function waiter(wait)
    return waiting(function()
      return c.lock:with(function()
        local ok, message = (wait or c.wait)(c)
        assert.equal(grun.current(), c.lock:owner())
        return ok, message
      end)
    end)
  end

  it("gives up the lock while waiting and holds it afterwards", function()
    local t = waiter()
    assert.is_nil(c.lock:owner())
    c:acquire()
    c:notify()
    sync.settle()
    assert.equal("waiting", t:status())
    c:release()
    assert.is_true(t:get())
    assert.is_nil(c.lock:owner())
  end)

  it("wakes so many, in the order in which they came", function()
    local log = sync.log()
    for i = 1, 5 do
      waiter(function()
        c:wait()
        log(i)
      end)
    end
    local function notify(...)
      c.lock:with(c.notify, c, ...)
      sync.settle()
    end
    notify(0)
    assert.equal("", log.text())
    notify()
    assert.equal("1", log.text())
    notify(2)
    assert.equal("1 2 3", log.text())
    notify(99)
    assert.equal("1 2 3 4 5", log.text())
    notify()
  end)

  it("wakes all", function()
    local a, b = waiter(), waiter()
    c.lock:with(c.notify_all, c)
    assert.is_true(a:get())
    assert.is_true(b:get())
  end)

  it("is not remembered by those who come later", function()
    c.lock:with(c.notify_all, c)
    c:acquire()
    assert.same({ nil, "timeout", "timeout" }, { c:wait(0) })
    assert.same({ nil, "timeout", "timeout" }, { c:wait(0.001) })
    assert.equal(grun.current(), c.lock:owner())
    c:release()
  end)

  for way, message in pairs(sync.ways_out) do
    it("takes the lock again before the thread leaves: " .. way, function()
      local held
      local t = sync.leaving(way, function(s)
        return c.lock:with(function()
          local results = { pcall(c.wait, c, s) }
          held = c.lock:owner() == grun.current()
          if not results[1] then
            error(results[2], 0)
          end
          return unpack(results, 2, 4)
        end)
      end)
      c:acquire()
      sync.settle()
      assert.equal("waiting", t:status())
      c:release()
      assert.equal(message, select(2, outcome(t)))
      assert.is_true(held)
      assert.is_nil(c.lock:owner())
      assert.equal("condition, 0 waiting", tostring(c))
    end)

    it("wakes another when the first left: " .. way, function()
      local other
      local t = sync.leaving(way, function(s)
        return c.lock:with(function() return c:wait(s) end)
      end, function()
        other = waiter()
      end)
      c.lock:with(c.notify, c)
      assert.is_true(other:get())
      assert.equal(message, select(2, outcome(t)))
    end)
  end

  it("gives up a reentrant lock altogether and takes it again as often", function()
    local l = grun.lock({ reentrant = true })
    c = grun.condition(l)
    l:acquire()
    l:acquire()
    local t = spawn(function()
      l:with(c.notify, c)
    end)
    assert.is_true(c:wait(5))
    t:join()
    l:release()
    assert.equal(grun.current(), l:owner())
    l:release()
    assert.is_nil(l:owner())
  end)

  it("passes items between threads with predicates", function()
    local items, got = {}, {}
    local function consume()
      for _ = 1, 50 do
        c.lock:with(function()
          while #items == 0 do
            c:wait()
          end
          got[#got + 1] = table.remove(items, 1)
        end)
      end
    end
    local a, b = spawn(consume), spawn(consume)
    for i = 1, 100 do
      c.lock:with(function()
        items[#items + 1] = i
        c:notify()
      end)
      if i % 3 == 0 then
        grun.yield()
      end
    end
    grun.joinall({ a, b }, { raise = true, timeout = 5 })
    assert.equal(100, #got)
    for i = 1, 100 do
      assert.equal(i, got[i])
    end
  end)

  it("raises at the caller's line without the lock and for wrong arguments", function()
    for _, name in ipairs({ "wait", "notify", "notify_all" }) do
      local expected = name .. ": the caller does not hold the condition's lock"
      misuse(function() c[name](c) end, expected)
      local busy = holder(c.lock)
      misuse(function() c[name](c) end, expected)
      busy:kill()
    end
    c:acquire()
    misuse(function() c:notify(-1) end,
      "notify: a number of threads, 0 or more, expected, got -1")
    misuse(function() c:notify("all") end,
      "notify: a number of threads, 0 or more, expected, got all")
    misuse(function() c:wait(-1) end,
      "wait: timeout must be a number of seconds, 0 or more, got -1")
    c:release()
    misuse(function() grun.condition(5) end, "condition: lock expected, got number")
    misuse(function() grun.condition(grun.event()) end, "condition: lock expected, got table")
  end)
end)

describe("a barrier", function()
  local function arrive(b, log, name)
    return waiting(function()
      local ok, last = b:wait()
      log(name)
      return ok, last
    end)
  end

  it("opens for the n-th thread, in order of arrival, again and again", function()
    local b, log = grun.barrier(3), sync.log()
    for round = 1, 3 do
      local first, second = arrive(b, log, round .. "a"), arrive(b, log, round .. "b")
      assert.equal("barrier 2 of 3", tostring(b))
      assert.same({ true, true }, { b:wait() })
      log(round .. "c")
      assert.same({ true }, { first:get() })
      assert.same({ true }, { second:get() })
    end
    assert.equal("1c 1a 1b 2c 2a 2b 3c 3a 3b", log.text())
  end)

  it("of one never stops anybody", function()
    assert.same({ true, true }, { grun.barrier(1):wait() })
  end)

  it("keeps threads in step", function()
    local b, at, worst = grun.barrier(4), {}, 0
    local threads = {}
    for i = 1, 4 do
      threads[i] = spawn(function()
        for step = 1, 20 do
          at[i] = step
          for j = 1, 4 do
            worst = math.max(worst, math.abs(step - (at[j] or 1)))
          end
          for _ = 1, i do
            grun.yield()
          end
          b:wait()
        end
      end)
    end
    grun.joinall(threads, { raise = true, timeout = 5 })
    assert.equal(1, worst)
  end)

  for way, message in pairs(sync.ways_out) do
    it("does not count a thread that left: " .. way, function()
      local b = grun.barrier(2)
      local t = sync.leaving(way, function(s) return b:wait(s) end)
      assert.equal(message, select(2, outcome(t)))
      assert.equal("barrier 0 of 2", tostring(b))
      local other = waiting(b.wait, b)
      assert.same({ true, true }, { b:wait(5) })
      assert.is_true(other:get())
    end)

    it("opened for a thread on its way out has counted it once: " .. way, function()
      local b = grun.barrier(2)
      local t = sync.leaving(way, function(s) return b:wait(s) end)
      assert.same({ true, true }, { b:wait(0) })
      local result, why = outcome(t)
      if way == "timeout" then
        assert.is_true(result)
      else
        assert.equal(message, why)
      end
      assert.equal("barrier 0 of 2", tostring(b))
    end)

    it("opened before the thread left lets it through: " .. way, function()
      local b = grun.barrier(2)
      local t = sync.late(way, function(s) return b:wait(s) end, function() b:wait() end)
      assert.is_true(outcome(t))
      assert.equal("barrier 0 of 2", tostring(b))
    end)
  end

  it("says when the time is up", function()
    assert.same({ nil, "timeout", "timeout" }, { grun.barrier(2):wait(0.001) })
  end)

  it("raises at the caller's line for wrong arguments", function()
    local expected = "barrier: a whole number of threads, 1 or more, expected, got "
    misuse(function() grun.barrier() end, expected .. "nil")
    misuse(function() grun.barrier(0) end, expected .. "0")
    misuse(function() grun.barrier(1.5) end, expected .. "1.5")
    misuse(function() grun.barrier("2") end, expected .. "2")
    misuse(function() grun.barrier(2):wait(-1) end,
      "wait: timeout must be a number of seconds, 0 or more, got -1")
  end)
end)

describe("a reader-writer lock", function()
  local rw, log

  before_each(function()
    rw, log = grun.rwlock(), sync.log()
  end)

  -- A thread that reads or writes until it is told to stop.
  local function enter(mode, name)
    local stop = grun.event()
    local t = spawn(function()
      return rw[mode](rw, function()
        log(name)
        stop:wait()
        return name
      end)
    end)
    sync.settle()
    return function()
      stop:set()
      assert.equal(name, t:get())
    end, t
  end

  it("lets readers in together and a writer alone", function()
    local stop1, stop2 = enter("read", "r1"), enter("read", "r2")
    assert.equal("rwlock 2 reading, 0 waiting", tostring(rw))
    local stop3 = enter("write", "w")
    assert.equal("rwlock 2 reading, 1 waiting", tostring(rw))
    stop1()
    assert.equal("r1 r2", log.text())
    stop2()
    sync.settle()
    assert.equal("rwlock writing, 0 waiting", tostring(rw))
    local stop4 = enter("write", "w2")
    assert.equal("r1 r2 w", log.text())
    stop3()
    sync.settle()
    assert.equal("r1 r2 w w2", log.text())
    stop4()
    assert.equal("rwlock 0 reading, 0 waiting", tostring(rw))
  end)

  it("is fair both ways: nobody overtakes, readers in a row go together", function()
    local stop = enter("read", "r1")
    local stops = { enter("write", "w1"), (enter("read", "r2")), (enter("read", "r3")) }
    stops[4] = enter("write", "w2")
    stops[5] = enter("read", "r4")
    assert.equal("r1", log.text())
    stop()
    sync.settle()
    assert.equal("r1 w1", log.text())
    stops[1]()
    sync.settle()
    assert.equal("r1 w1 r2 r3", log.text())
    stops[2]()
    sync.settle()
    assert.equal("r1 w1 r2 r3", log.text())
    stops[3]()
    sync.settle()
    assert.equal("r1 w1 r2 r3 w2", log.text())
    stops[4]()
    sync.settle()
    assert.equal("r1 w1 r2 r3 w2 r4", log.text())
    stops[5]()
  end)

  it("returns what the function returns", function()
    local function id(...)
      return ...
    end
    assert.same({ 1, nil, 3 }, { rw:read(id, 1, nil, 3) })
    assert.same({ 1, nil, 3 }, { rw:write(id, 1, nil, 3) })
  end)

  for _, mode in ipairs({ "read", "write" }) do
    it("is given back when the function raises: " .. mode, function()
      local err = {}
      assert.equal(err, select(2, pcall(rw[mode], rw, error, err)))
      assert.equal("rwlock 0 reading, 0 waiting", tostring(rw))
    end)

    it("is given back when the thread is killed inside: " .. mode, function()
      local _, t = enter(mode, "x")
      local stop = enter("write", "next")
      t:kill()
      sync.settle()
      assert.equal("x next", log.text())
      stop()
    end)

    for _, way in ipairs({ "deadline", "cancel" }) do
      it(("forgets a thread that left while it waited to %s: %s"):format(mode, way), function()
        local t = rw:write(sync.leaving, way, function() return rw[mode](rw, log, "never") end)
        assert.equal("ready", t:status())
        t:join()
        assert.equal("rwlock 0 reading, 0 waiting", tostring(rw))
        rw:write(log, "again")
        assert.equal("again", log.text())
      end)
    end
  end

  it("lets readers in when the writer before them gives up", function()
    local stop = enter("read", "r1")
    local _, writer = enter("write", "w")
    local stop2 = enter("read", "r2")
    assert.equal("r1", log.text())
    writer:kill()
    sync.settle()
    assert.equal("r1 r2", log.text())
    stop()
    stop2()
  end)

  it("raises at the caller's line for what is not a function", function()
    misuse(function() rw:read() end, "read: function expected, got nil")
    misuse(function() rw:write(5) end, "write: function expected, got number")
    assert.equal("rwlock 0 reading, 0 waiting", tostring(rw))
  end)
end)
