-- SPDX-License-Identifier: MIT
-- grun.select: of several operations exactly one happens, and nothing is lost.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")
local net = require("spec.net_helper")

local spawn, misuse, waiting, outcome = helper.spawn, helper.misuse, sync.waiting, sync.outcome
local select = grun.select

-- Objects with one operation each: make() returns the operation, what makes it happen, what the
-- operation then results in, and a function that says what is left if it did not happen.
local operations = {
  op_get = function()
    local q = grun.queue()
    return q:op_get(), function() q:put("x") end, { "x" }, function() return q:len() end
  end,
  ["op_get of a rendezvous"] = function()
    local q, t = grun.queue(0), nil
    return q:op_get(), function()
      t = not q:try_put("x") and spawn(q.put, q, "x")
    end, { "x" }, function()
      return t and q:try_get() == "x" and 1 or 0
    end
  end,
  op_put = function()
    local q = grun.queue(1)
    q:put("full")
    return q:op_put("x"), function() assert(q:get() == "full") end, { true }, function()
      return q:len() == 0 and 1 or 0
    end
  end,
  ["op_put of a rendezvous"] = function()
    local q, t = grun.queue(0), nil
    return q:op_put("x"), function()
      t = q:try_get() == nil and spawn(q.get, q)
    end, { true }, function()
      return t and t:status() == "waiting" and 1 or 0
    end
  end,
  op_acquire = function()
    local s = grun.semaphore(0)
    return s:op_acquire(), function() s:release() end, { true }, function() return s:count() end
  end,
  op_wait = function()
    local e = grun.event()
    return e:op_wait(), function() e:set() end, { true }, function() return 1 end
  end,
  op_join = function()
    local gate = grun.event()
    local t = spawn(gate.wait, gate)
    return t:op_join(), function()
      gate:set()
      t:join()
    end, { true }, function() return 1 end
  end,
}

local function each_operation(text, body)
  for name, make in pairs(operations) do
    it(("%s: %s"):format(text, name), function() body(make) end)
  end
end

describe("select", function()
  describe("with one operation", function()
    each_operation("waits until it happens", function(make)
      local op, act, results = make()
      local t = waiting(select, { op })
      act()
      assert.same({ 1, unpack(results) }, { t:get() })
    end)

    each_operation("lets it happen at once if it can", function(make)
      local op, act, results = make()
      act()
      sync.settle()
      assert.same({ 1, unpack(results) }, { select({ op }, 0) })
    end)

    each_operation("says when the time is up, and nothing happened", function(make)
      local op, act, _, left = make()
      assert.same({ nil, "timeout", "timeout" }, { select({ op }, 0) })
      assert.same({ nil, "timeout", "timeout" }, { select({ op }, 0.001) })
      act()
      sync.settle()
      assert.equal(1, left())
    end)

    each_operation("may use it again and again, and in many threads at once", function(make)
      local op, act, results = make()
      local a, b = waiting(select, { op }), waiting(select, { op, op })
      act()
      assert.same({ 1, unpack(results) }, { a:get() })
      b:kill()
      select({ op, op }, 0)
    end)

    for way, message in pairs(sync.ways_out) do
      each_operation("loses nothing when the thread leaves by " .. way, function(make)
        local op, act, results, left = make()
        local t = sync.leaving(way, function(s) return select({ op }, s) end)
        act()
        local index, second = outcome(t)
        if index then
          assert.same({ 1, unpack(results) }, { index, second })
        else
          assert.equal(message, second)
          sync.settle()
          assert.equal(1, left())
        end
      end)

      each_operation("has what happened before the thread left by " .. way, function(make)
        local op, act, results = make()
        local t = sync.late(way, function(s) return select({ op }, s) end, act)
        local index, second = outcome(t)
        if index then
          assert.same({ 1, unpack(results) }, { index, second })
        else
          assert.equal(message, second)
        end
      end)
    end

    each_operation("leaves nobody behind", function(make)
      local op, act, results = make()
      for _ = 1, 3 do
        waiting(select, { op, grun.op_sleep(5) }):kill()
        assert.equal(2, select({ op, grun.op_sleep(0) }))
      end
      local t = waiting(select, { op })
      act()
      assert.same({ 1, unpack(results) }, { t:get() })
    end)
  end)

  describe("with two operations", function()
    for first in pairs(operations) do
      for second in pairs(operations) do
        it(("lets exactly one happen: %s, %s"):format(first, second), function()
          local a, act_a, results_a, left_a = operations[first]()
          local b, act_b, results_b, left_b = operations[second]()
          local t = waiting(select, { a, b })
          act_b()
          act_a()
          local index, result = outcome(t)
          sync.settle()
          assert.same(index == 1 and results_a or results_b, { result })
          assert.equal(1, index == 1 and left_b() or left_a())
          -- Whichever it was, it was no longer possible for another thread.
          if second ~= "op_join" then
            assert.equal(2, index)
          end
        end)
      end
    end
  end)

  it("prefers the first of those that can happen", function()
    local a, b = grun.queue(), grun.queue()
    a:put("a")
    b:put("b")
    assert.same({ 1, "b" }, { select({ b:op_get(), a:op_get() }) })
    assert.equal(1, a:len())
    assert.same({ 2, "a" }, { select({ b:op_get(), a:op_get() }) })
  end)

  it("passes every value but nil", function()
    local q = grun.queue(0)
    local t = waiting(select, { q:op_put(false) })
    assert.is_false(q:get())
    assert.same({ 1, true }, { t:get() })
    t = waiting(select, { q:op_get() })
    q:put(false)
    assert.same({ 1, false }, { t:get() })
    assert.same({ 1, false }, (function()
      spawn(q.put, q, false)
      return { select({ q:op_get() }) }
    end)())
  end)

  it("keeps its place among those who wait", function()
    local q, log = grun.queue(), sync.log()
    local function run(name, get)
      waiting(function()
        log(name .. get())
      end)
    end
    run("a", function() return q:get() end)
    run("b", function() return (_G.select(2, select({ q:op_get() }))) end)
    run("c", function() return q:get() end)
    for i = 1, 3 do
      q:put(i)
    end
    sync.settle()
    assert.equal("a1 b2 c3", log.text())
  end)

  it("does the operations of a closed queue with closed as result", function()
    for _, q in ipairs({ grun.queue(), grun.queue(1), grun.queue(0) }) do
      if q:try_put("x") then
        q:close()
        assert.same({ 1, "x" }, { select({ q:op_get() }) })
      end
      q:close()
      assert.same({ 1, nil, "closed", "closed" }, { select({ q:op_get() }) })
      assert.same({ 1, nil, "closed", "closed" }, { select({ q:op_put(1) }) })
    end
  end)

  it("is told when a queue is closed meanwhile", function()
    local q = grun.queue(1)
    local getter = waiting(select, { grun.op_sleep(5), q:op_get() })
    q:close()
    assert.same({ 2, nil, "closed", "closed" }, { getter:get() })
    q = grun.queue(0)
    local putter = waiting(select, { q:op_put("x") })
    q:close()
    assert.same({ 1, nil, "closed", "closed" }, { putter:get() })
  end)

  describe("on one rendezvous queue", function()
    it("does not meet itself", function()
      local q = grun.queue(0)
      local ops = { q:op_put("x"), q:op_get() }
      assert.is_nil((select(ops, 0)))
      assert.is_nil((select(ops, 0.001)))
      assert.equal("queue 0 of 0, 0 getting, 0 putting", tostring(q))
    end)

    it("meets another select", function()
      local q = grun.queue(0)
      local a = waiting(select, { q:op_put("a"), q:op_get() })
      assert.same({ 1, true }, { select({ q:op_put("b"), q:op_get() }, 0) })
      assert.same({ 2, "b" }, { a:get() })
      a = waiting(select, { q:op_put("a"), q:op_get() })
      assert.same({ 1, "a" }, { select({ q:op_get(), q:op_put("b") }, 0) })
      assert.same({ 1, true }, { a:get() })
      assert.equal("queue 0 of 0, 0 getting, 0 putting", tostring(q))
    end)

    it("pairs any number of threads", function()
      local q, threads, put, got = grun.queue(0), {}, {}, {}
      for i = 1, 20 do
        threads[i] = spawn(function()
          local index, value = select({ q:op_put(i), q:op_get() })
          if index == 1 then
            put[i] = true
          else
            got[value] = true
          end
        end)
      end
      grun.joinall(threads, { timeout = 5, raise = true })
      assert.same(put, got)
      local n = 0
      for _ in pairs(put) do
        n = n + 1
      end
      assert.equal(10, n)
    end)

    it("that was full and has room meets itself no more", function()
      local q = grun.queue(1)
      assert.same({ 2, true }, { select({ q:op_get(), q:op_put("x") }) })
      assert.same({ 1, "x" }, { select({ q:op_get(), q:op_put("y") }) })
      assert.equal(0, q:len())
    end)
  end)

  describe("that was woken for nothing", function()
    -- Something that tells its waiters that it is ready and is not.
    local function deceiver()
      local obj = {}
      function obj._subscribe(_, waiter)
        obj.waiter = waiter
      end
      function obj._unsubscribe()
        obj.waiter = nil
      end
      local Op = require("grun.select").poll_op(function()
        return false
      end)
      return setmetatable({ obj = obj }, Op), function()
        obj.waiter:notify(obj)
      end
    end

    it("waits on", function()
      local op, deceive = deceiver()
      local q = grun.queue()
      local t = waiting(select, { op, q:op_get() })
      for _ = 1, 3 do
        deceive()
        sync.settle()
        assert.equal("waiting", t:status())
      end
      q:put("x")
      assert.same({ 2, "x" }, { t:get() })
    end)

    it("keeps to its time", function()
      local op, deceive = deceiver()
      local before = grun.now()
      local t = waiting(select, { op }, 0.02)
      for _ = 1, 5 do
        deceive()
        grun.sleep(0.001)
      end
      assert.same({ nil, "timeout", "timeout" }, { t:get() })
      assert.is_true(grun.now() - before >= 0.02)
    end)

    for name, make in pairs(operations) do
      if name ~= "op_join" then
        it("does what became possible meanwhile: " .. name, function()
          local op, deceive = deceiver()
          local other, act, results = make()
          local t = waiting(select, { op, other })
          deceive()
          act()
          assert.same({ 2, unpack(results) }, { t:get() })
        end)
      end
    end

    it("has not missed a pulse", function()
      local op, deceive = deceiver()
      local e = grun.event()
      local t = waiting(select, { op, e:op_wait() })
      deceive()
      e:set()
      e:clear()
      assert.same({ 2, true }, { t:get() })
    end)

    it("is passed over, but keeps its place", function()
      local op, deceive = deceiver()
      local q, log = grun.queue(), sync.log()
      waiting(function()
        log("select " .. _G.select(2, select({ op, q:op_get() })))
      end)
      for i = 1, 2 do
        waiting(function()
          log(("get%d %s"):format(i, q:get()))
        end)
      end
      deceive()
      q:put("first")
      sync.settle()
      assert.equal("get1 first", log.text())
      q:put("second")
      sync.settle()
      assert.equal("get1 first select second", log.text())
    end)

    it("leaves every list when an operation raises", function()
      local op, deceive = deceiver()
      local q = grun.queue()
      op._try = function()
        if op.raises then
          error("broken", 0)
        end
        return false
      end
      local t = waiting(pcall, select, { q:op_get(), op })
      op.raises = true
      deceive()
      assert.same({ false, "broken" }, { t:get() })
      assert.equal("queue 0 of inf, 0 getting, 0 putting", tostring(q))
    end)
  end)

  it("is not disturbed when its list is changed meanwhile", function()
    local q = grun.queue()
    local ops = { grun.op_sleep(5), q:op_get() }
    local t = waiting(select, ops)
    ops[1], ops[2] = nil, nil
    q:put("x")
    assert.same({ 2, "x" }, { t:get() })
  end)

  describe("with op_sleep", function()
    it("ends with the nearest pause", function()
      local q = grun.queue()
      local before = grun.now()
      assert.same({ 3 }, { select({ q:op_get(), grun.op_sleep(5), grun.op_sleep(0.01) }) })
      assert.is_true(grun.now() - before >= 0.01)
      assert.same({ 2 }, { select({ q:op_get(), grun.op_sleep(0) }) })
      assert.same({ 1 }, { select({ grun.op_sleep(0.001) }, 5) })
    end)

    it("prefers what can happen", function()
      local q = grun.queue()
      q:put(1)
      assert.same({ 2, 1 }, { select({ grun.op_sleep(0), q:op_get() }) })
    end)

    it("is outdone by a shorter timeout", function()
      assert.same({ nil, "timeout", "timeout" }, { select({ grun.op_sleep(5) }, 0.001) })
    end)

    it("does what became possible before the thread ran", function()
      local q = grun.queue()
      local t = sync.leaving("timeout", function(s)
        return select({ q:op_get(), grun.op_sleep(s) })
      end)
      q:put("x")
      assert.same({ 1, "x" }, { t:get() })
    end)
  end)

  it("joins threads however they end", function()
    local gate = grun.event()
    local failing = spawn(function()
      gate:wait()
      error("x", 0)
    end)
    local killed = spawn(grun.sleep, 5)
    local t = waiting(select, { failing:op_join(), killed:op_join() })
    killed:cancel()
    assert.same({ 2, true }, { t:get() })
    local reports = helper.reports(function()
      gate:set()
      assert.same({ 1, true }, { select({ failing:op_join() }) })
    end)
    assert.equal(1, #reports)
    assert.same({ 1, true }, { select({ failing:op_join() }, 0) })
  end)

  it("raises in a thread that is cancelled already, even if something could happen", function()
    local q = grun.queue()
    q:put(1)
    local t = spawn(function()
      grun.current():cancel("why")
      local ok, err = pcall(select, { q:op_get() })
      return ok, grun.is_cancel(err)
    end)
    assert.same({ false, "why" }, { t:get() })
    assert.equal(1, q:len())
  end)

  it("raises at the caller's line for wrong arguments", function()
    local op = grun.queue():op_get()
    misuse(function() select() end, "select: list of operations expected, got nil")
    misuse(function() select({}) end, "select: no operations")
    misuse(function() select(op) end, "select: no operations")
    misuse(function() select({ 5 }) end, "select: item 1 is not an operation (a number)")
    misuse(function() select({ op, grun.event() }) end,
      "select: item 2 is not an operation (a table)")
    misuse(function() select({ grun.current() }) end,
      "select: item 1 is not an operation (a table)")
    misuse(function() select({ op }, -1) end,
      "select: timeout must be a number of seconds, 0 or more, got -1")
    misuse(function() select({ op }, "1") end,
      "select: timeout must be a number of seconds, 0 or more, got 1")
    misuse(function() grun.op_sleep(-1) end,
      "op_sleep: number of seconds, 0 or more, expected, got -1")
    misuse(function() grun.op_sleep() end,
      "op_sleep: number of seconds, 0 or more, expected, got nil")
  end)
end)

describe("select with connections", function()
  local test = net.test(it, function(fn) finally(fn) end)

  test("waits until there is something to read", function(keep)
    local a, b = keep(assert(grun.pair()))
    local q = grun.queue()
    local ops = { a:op_readable(), q:op_get() }
    assert.is_nil((select(ops, 0.001)))
    local t = waiting(select, ops)
    b:write("hello\nworld\n")
    assert.same({ 1, true }, { t:get() })
    assert.equal("hello", a:read())
    assert.same({ 1, true }, { select(ops, 0) })
    assert.equal("world", a:read())
    t = waiting(select, ops)
    q:put("x")
    assert.same({ 2, "x" }, { t:get() })
    b:close()
    assert.same({ 1, true }, { select(ops) })
    assert.same({ nil, "closed", "closed" }, { a:read() })
  end)

  test("waits until there is room to write", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.same({ 1, true }, { select({ a:op_writable() }) })
    local writer = waiting(a.write, a, net.noise(1e6))
    writer:kill()
    assert.is_nil((select({ a:op_writable() }, 0.001)))
    local t = waiting(select, { a:op_readable(), a:op_writable() })
    while t:status() == "waiting" do
      b:recv(nil, 0.001)
    end
    assert.same({ 2, true }, { t:get() })
  end)

  test("among many connections", function(keep)
    local ops, peers = {}, {}
    for i = 1, 10 do
      local a, b = keep(assert(grun.pair()))
      ops[i], peers[i] = a:op_readable(), b
    end
    for _, i in ipairs({ 7, 1, 10 }) do
      local t = waiting(select, ops)
      peers[i]:write("x")
      local index = t:get()
      assert.equal(i, index)
      assert.equal("x", ops[index].obj:recv())
    end
  end)

  test("ends when another thread closes the connection", function(keep)
    local a = keep(assert(grun.pair()))
    local t = waiting(select, { grun.op_sleep(5), a:op_readable() })
    a:close()
    assert.same({ 2, nil, "closed", "closed" }, { t:get() })
    assert.same({ 1, nil, "closed", "closed" }, { select({ a:op_writable() }) })
  end)

  test("fails with busy when another thread waits for the same", function(keep)
    local a, b = keep(assert(grun.pair()))
    local reader = waiting(a.read, a)
    local q = grun.queue()
    local index, ok, _, code = select({ q:op_get(), a:op_readable(), q:op_get() })
    assert.same({ 2, nil, "busy" }, { index, ok, code })
    assert.equal("queue 0 of inf, 0 getting, 0 putting", tostring(q))
    b:write("x\n")
    assert.equal("x", reader:get())
    assert.is_nil((select({ a:op_readable() }, 0)))
  end)

  for way, message in pairs(sync.ways_out) do
    test("lets others read after the thread left by " .. way, function(keep)
      local a, b = keep(assert(grun.pair()))
      local t = sync.leaving(way, function(s) return select({ a:op_readable() }, s) end)
      assert.equal(message, _G.select(2, outcome(t)))
      b:write("x\n")
      assert.equal("x", a:read())
    end)
  end

  test("waits on when another thread has read what there was", function(keep)
    local a, b = keep(assert(grun.pair()))
    local q = grun.queue()
    local t = waiting(select, { a:op_readable(), q:op_get() })
    b:write("x\n")
    spawn(function()
      a:read()
      q:put("early bird")
    end)
    local index, value = t:get()
    assert.is_true(index == 1 and value == true or value == "early bird")
  end)

  test("works beside grun.wait", function(keep)
    local a, b = keep(assert(grun.pair()))
    local e = grun.event()
    local t = waiting(grun.wait, { a, e }, 5, 1)
    b:write("x")
    assert.same({ a }, t:get())
    e:set()
    assert.same({ a, e }, grun.wait({ a, e }))
  end)

  it("are there for the connections of a server, too", function()
    local out = helper.run_script([[
      local server = assert(grun.server("tcp://127.0.0.1:0", function() end))
      print(package.loaded["grun.socket"] ~= nil)
      server:stop()
    ]])
    assert.equal("true\n", out)
  end)

  test("works on accepted and connected ones", function(keep)
    local client, server = net.connected(keep, "tcp://127.0.0.1:0")
    assert.same({ 2, true }, { select({ server:op_readable(), client:op_writable() }) })
    client:write("x")
    assert.same({ 1, true }, { select({ server:op_readable() }) })
  end)
end)
