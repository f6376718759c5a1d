-- SPDX-License-Identifier: MIT
-- What pools do with many items: map, imap, imap_unordered.

local grun = require("grun")
local helper = require("spec.helper")
local pools = require("spec.pool_helper")
local gauge, heap_after, numbers = pools.gauge, pools.heap_after, pools.numbers
local parked, same = pools.parked, pools.same

local function pack(...)
  return { n = select("#", ...), ... }
end

local function forever()
  grun.sleep(1000)
end

local TIMEOUT = pack(nil, "timeout", "timeout")

describe("map", function()
  it("returns the results in the order of the items", function()
    local around, most = gauge()
    local p = grun.pool(5)
    assert.same({ 5, 4, 3, 2, 1 }, p:map(around(function(x)
      grun.sleep(x / 1000)
      return x
    end), { 5, 4, 3, 2, 1 }))
    assert.equal(5, most())
    assert.equal(5, p:free())
  end)

  it("works on at most as many items at once as there are places", function()
    local around, most = gauge()
    local p = grun.pool(10)
    local results = p:map(around(function(x)
      grun.sleep(0.0001)
      return 2 * x
    end), numbers(1000))
    for i = 1, 1000 do
      assert(results[i] == 2 * i)
    end
    assert.equal(1000, #results)
    assert.equal(10, most())
  end)

  it("begins the items in order", function()
    local order = {}
    grun.pool(3):map(function(x)
      order[#order + 1] = x
      grun.sleep(x % 3 / 1000)
    end, numbers(20))
    assert.same(numbers(20), order)
  end)

  it("keeps nil and false results in their places, and only first results", function()
    local results = grun.pool(2):map(function(x)
      if x == "nil" then
        return nil, "second"
      end
      return x ~= "false" and x, "second"
    end, { 1, "nil", 3, "false", 5, "nil" })
    assert.equal(1, results[1])
    assert.is_nil(results[2])
    assert.equal(3, results[3])
    assert.is_false(results[4])
    assert.equal(5, results[5])
    assert.is_nil(results[6])
  end)

  it("of an empty list is an empty list", function()
    local p = grun.pool(2)
    assert.same({}, p:map(error, {}))
    assert.same({}, p:map(error, function() end))
  end)

  it("takes an iterator as for does, and its values", function()
    local p = grun.pool(3)
    assert.same({ "a", "b", "c" }, p:map(same, ("a b c"):gmatch("%a")))
    assert.same({ "1x", "2y" }, p:map(function(i, v)
      return i .. v
    end, ipairs({ "x", "y" })))
    local q = grun.queue()
    local producer = grun.spawn(function()
      for i = 1, 5 do
        grun.sleep(0.001)
        q:put(i)
      end
      q:close()
    end)
    assert.same({ 1, 2, 3, 4, 5 }, p:map(same, q:items()))
    assert.is_true(producer:successful())
  end)

  it("raises the first error and cancels the rest", function()
    local p, log, err = grun.pool(3), {}, {}
    assert.same({}, helper.reports(function()
      local ok, raised = pcall(p.map, p, function(x)
        log[#log + 1] = x
        if x == 2 then
          grun.sleep(0.002)
          error(err)
        end
        local _, cancel = pcall(forever)
        grun.shield(grun.sleep, 0.001)
        log[#log + 1] = grun.is_cancel(cancel)
        error(cancel, 0)
      end, numbers(100))
      assert.is_false(ok)
      assert.equal(err, raised)
    end))
    assert.same({ 1, 2, 3, "map", "map" }, log)
    assert.equal(3, p:free())
  end)

  it("raises an error that is nil or false", function()
    local p = grun.pool(1)
    assert.same(pack(false, nil), pack(pcall(p.map, p, function()
      error()
    end, { 1 })))
    assert.same(pack(false, false), pack(pcall(p.map, p, function()
      error(false)
    end, { 1 })))
  end)

  it("raises with the traceback of where the error was thrown", function()
    local function culprit(x)
      error("bad item " .. x)
    end
    local reports = helper.reports(function()
      grun.spawn(function()
        grun.pool(2):map(culprit, { "x", "y" })
      end):join()
    end)
    assert.equal(1, #reports)
    assert.matches("bad item x$", reports[1].err)
    assert.matches("'error'\n[^\n]*mapping_spec.lua:%d+: in function", reports[1].traceback)
  end)

  it("raises an error of the iterator", function()
    local p = grun.pool(2)
    assert.same({ false, "no more" }, { pcall(p.map, p, same, function()
      error("no more", 0)
    end) })
    assert.same(pack(false, nil), pack(pcall(p.map, p, same, function()
      error()
    end)))
    assert.equal(2, p:free())
  end)

  it("cancels its calls when the caller is cancelled or past a deadline", function()
    local p, ends = grun.pool(3), 0
    local function call()
      pcall(forever)
      grun.shield(grun.sleep, 0.001)
      ends = ends + 1
    end
    assert.same(TIMEOUT, pack(grun.timeout(0.002, p.map, p, call, numbers(10))))
    assert.equal(3, ends)
    local t = parked(grun.spawn(p.map, p, call, numbers(10)))
    grun.yield()
    grun.yield()
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
    assert.equal(6, ends)
    assert.equal(3, p:free())
  end)

  it("stops waiting for its items when the caller is cancelled", function()
    local p, q = grun.pool(2), grun.queue()
    q:put("one")
    local t = parked(grun.spawn(p.map, p, same, q:items()))
    for _ = 1, 5 do
      grun.yield()
    end
    t:kill()
    q:put("two")
    grun.yield()
    assert.equal(1, q:len())
  end)

  it("raises when one of its calls is cancelled by somebody else", function()
    local p = grun.pool(2)
    local victim
    local t = parked(grun.spawn(p.map, p, function()
      victim = grun.current()
      forever()
    end, { 1 }))
    while not victim do
      grun.yield()
    end
    helper.reports(function()
      victim:cancel("why")
      t:join()
    end)
    assert.equal("failed", t:status())
    assert.equal("why", grun.is_cancel(t.error))
  end)

  it("lets others have places, in turn", function()
    local p, order, e = grun.pool(1), {}, grun.event()
    local function note(x)
      e:wait()
      order[#order + 1] = x
    end
    local map = parked(grun.spawn(p.map, p, note, numbers(4)))
    local a = parked(grun.spawn(p.map, p, note, { "a", "b" }))
    local b = parked(grun.spawn(p.spawn, p, function()
      order[#order + 1] = "spawned"
    end))
    e:set()
    grun.joinall({ map, a, b })
    p:join()
    assert.same({ 1, "a", "spawned", 2, "b", 3, 4 }, order)
  end)

  it("does not starve others, even if its function never waits", function()
    local turns, stop = 0, false
    local other = grun.spawn(function()
      while not stop do
        turns = turns + 1
        grun.yield()
      end
    end)
    grun.pool(10):map(same, numbers(1000))
    stop = true
    other:join()
    assert.is_true(turns >= 90, turns)
  end)

  it("by a member works in that member, and in others as far as there is room", function()
    for places = 1, 4 do
      local around, most = gauge()
      local p = grun.pool(places)
      local leaf = around(function(x)
        grun.yield()
        return x
      end)
      local results = p:map(function(x)
        local inner = p:map(function(y)
          return p:map(leaf, { x, y })
        end, { 1, 2, 3 })
        return inner
      end, { 10, 20, 30 })
      assert.same({ { 20, 1 }, { 20, 2 }, { 20, 3 } }, results[2])
      assert.equal(places, most())
      assert.equal(places, p:free())
      assert.same({ false, "boom" }, { pcall(p.apply, p, function()
        return p:map(error, { "boom" })
      end) })
    end
  end)

  it("by a member over an iterator works as well", function()
    local p = grun.pool(1)
    assert.same({ 1, 2, 3 }, p:apply(function()
      return p:map(same, coroutine.wrap(function()
        for i = 1, 3 do
          grun.yield()
          coroutine.yield(i)
        end
      end))
    end))
  end)

  it("takes at most 1 µs for each of 1,000,000 trivial jobs with 100 workers", function()
    local p, list = grun.pool(100), numbers(1000000)
    -- The yardstick for slow builds and machines.
    local start = os.clock()
    for _ = 1, 100000 do
      grun.yield()
    end
    local yield = (os.clock() - start) / 100000
    start = os.clock()
    local results = p:map(same, list)
    local each = (os.clock() - start) / 1000000
    assert.equal(1000000, results[1000000])
    assert.is_true(each <= math.max(1e-6, 20 * yield), each * 1e9 .. " ns each")
  end)
end)

describe("imap", function()
  it("gives the results in the order of the items", function()
    local p, got = grun.pool(3), {}
    for value in p:imap(function(x)
      grun.sleep(x % 4 / 1000)
      return x
    end, numbers(20)) do
      got[#got + 1] = value
    end
    assert.same(numbers(20), got)
    assert.equal(3, p:free())
  end)

  it("of nothing gives nothing, and stays at its end", function()
    local iter = grun.pool(1):imap(error, {})
    assert.is_nil(iter())
    assert.is_nil(iter())
    assert.is_nil(grun.pool(1):imap(error, function() end)())
  end)

  it("gives false for nil, which would end the loop", function()
    local got = {}
    for value in grun.pool(2):imap(function(x)
      if x ~= 2 then
        return x
      end
    end, { 1, 2, 3 }) do
      got[#got + 1] = value
    end
    assert.same({ 1, false, 3 }, got)
  end)

  it("raises an error at its item, and goes on after it", function()
    local p, got = grun.pool(2), {}
    assert.same({}, helper.reports(function()
      local iter = p:imap(function(x)
        if x % 2 == 0 then
          error("bad " .. x, 0)
        end
        return x
      end, numbers(5))
      for i = 1, 5 do
        got[i] = select(2, pcall(iter))
      end
      assert.is_nil(iter())
    end))
    assert.same({ 1, "bad 2", 3, "bad 4", 5 }, got)
  end)

  it("takes an iterator, which may wait, and reads it in one thread at a time", function()
    local p, reading = grun.pool(4), false
    local got = {}
    for value in p:imap(function(a, b)
      grun.sleep(0.002)
      return a + b
    end, coroutine.wrap(function()
      for i = 1, 10 do
        assert(not reading)
        reading = true
        grun.sleep(i % 2 / 1000)
        reading = false
        coroutine.yield(i, 100)
      end
    end)) do
      got[#got + 1] = value
    end
    local expected = {}
    for i = 1, 10 do
      expected[i] = 100 + i
    end
    assert.same(expected, got)
  end)

  it("gives results before the iterator has more", function()
    local p, q = grun.pool(2), grun.queue()
    local iter = p:imap(same, q:items())
    for i = 1, 3 do
      q:put(i)
      assert.equal(i, iter())
    end
    q:close()
    assert.is_nil(iter())
  end)

  it("raises an error of the iterator after the items before it", function()
    local i = 0
    local iter = grun.pool(2):imap(function(x)
      grun.sleep(0.002)
      return x
    end, function()
      i = i + 1
      if i == 3 then
        error("no more", 0)
      end
      return i
    end)
    assert.equal(1, iter())
    assert.equal(2, iter())
    assert.same({ false, "no more" }, { pcall(iter) })
    assert.is_nil(iter())
  end)

  it("raises when the thread that reads the iterator is cancelled, and ends", function()
    for _, name in ipairs({ "imap", "imap_unordered" }) do
      local p, q = grun.pool(2), grun.queue()
      q:put("x")
      local iter = p[name](p, same, q:items())
      assert.equal("x", iter())
      for _, t in ipairs(grun.threads()) do
        if t.name == name then
          t:cancel("why")
        end
      end
      local _, err = pcall(iter)
      assert.equal("why", grun.is_cancel(err))
      assert.is_nil(iter())
    end
  end)

  it("is at most twice its places ahead of the reader", function()
    for _, items in ipairs({ numbers(100), ("x"):rep(100):gmatch("x") }) do
      local begun = 0
      local p = grun.pool(3)
      local iter = p:imap(function()
        begun = begun + 1
        return begun
      end, items)
      grun.sleep(0.002)
      assert.equal(6, begun)
      assert.equal(3, p:free())
      iter()
      iter()
      grun.sleep(0.002)
      assert.equal(8, begun)
    end
  end)

  it("may be read by several threads", function()
    local iter, sum = grun.pool(3):imap(function(x)
      grun.yield()
      return x
    end, numbers(100)), 0
    local readers = {}
    for i = 1, 5 do
      readers[i] = grun.spawn(function()
        for value in iter do
          sum = sum + value
          grun.yield()
        end
      end)
    end
    grun.joinall(readers)
    assert.equal(5050, sum)
  end)

  it("may be read on after a timeout", function()
    local e = grun.event()
    local iter = grun.pool(2):imap(function(x)
      e:wait()
      return x
    end, { 1, 2 })
    assert.same(TIMEOUT, pack(grun.timeout(0.001, iter)))
    e:set()
    assert.equal(1, iter())
    assert.equal(2, iter())
    assert.is_nil(iter())
  end)

  it("by a member works in that member", function()
    local p, got = grun.pool(1), {}
    p:apply(function()
      for value in p:imap(same, numbers(5)) do
        got[#got + 1] = value
      end
      for value in p:imap(same, ("67"):gmatch("%d")) do
        got[#got + 1] = tonumber(value)
      end
    end)
    assert.same(numbers(7), got)
  end)
end)

describe("imap_unordered", function()
  it("gives results as they come", function()
    local p, got = grun.pool(3), {}
    for value in p:imap_unordered(function(x)
      grun.sleep(x / 200)
      return x
    end, { 3, 1, 2 }) do
      got[#got + 1] = value
    end
    assert.same({ 1, 2, 3 }, got)
  end)

  it("gives each result once, with errors in between", function()
    local p, sum, errors = grun.pool(7), 0, 0
    local iter = p:imap_unordered(function(x)
      grun.sleep(x % 5 / 1000)
      if x % 10 == 0 then
        error(x, 0)
      end
      return x
    end, numbers(100))
    for _ = 1, 100 do
      local ok, value = pcall(iter)
      sum = sum + value
      errors = errors + (ok and 0 or 1)
    end
    assert.is_nil(iter())
    assert.equal(5050, sum)
    assert.equal(10, errors)
  end)

  it("takes an iterator, raises its error, and is bounded", function()
    local begun, n = 0, 0
    local p = grun.pool(2)
    local iter = p:imap_unordered(function(x)
      begun = begun + 1
      return x
    end, function()
      n = n + 1
      if n > 6 then
        error("no more", 0)
      end
      return n
    end)
    grun.sleep(0.002)
    assert.equal(4, begun)
    local sum = 0
    for _ = 1, 6 do
      sum = sum + iter()
    end
    assert.equal(21, sum)
    assert.same({ false, "no more" }, { pcall(iter) })
    assert.is_nil(iter())
  end)
end)

-- Iterates until a value is at least `last`.
local function read_until(last, iter)
  local value
  repeat
    value = iter()
  until value >= last
end

describe("an iteration that is given up half-way", function()
  it("leaves no threads and places behind", function()
    local p = grun.pool(3)
    local before = #grun.threads()
    for _, name in ipairs({ "imap", "imap_unordered" }) do
      read_until(10, p[name](p, function(x)
        grun.yield()
        return x
      end, numbers(1000)))
      p:join()
      grun.yield()
      assert.equal(before, #grun.threads())
      read_until("x", p[name](p, same, ("x"):rep(1000):gmatch("x")))
      p:join()
      grun.yield()
      assert.equal(before, #grun.threads())
    end
    assert.equal(3, p:free())
  end)

  it("does not keep the process alive, nor its iterator waiting", function()
    local p, q = grun.pool(2), grun.queue()
    local function give_up()
      q:put("one")
      assert.equal("one", p:imap(same, q:items())())
    end
    give_up()
    for _ = 1, 5 do
      grun.yield()
    end
    for _ = 1, 5 do
      collectgarbage()
      grun.yield()
    end
    q:put("two")
    grun.yield()
    assert.equal("two", q:try_get())
    local out, err, status = helper.run_script([[
      local q = grun.queue()
      q:put("one")
      for value in grun.pool(2):imap(tostring, q:items()) do
        print(value)
        break
      end
    ]])
    assert.same({ "one\n", "", 0 }, { out, err, status })
  end)

  it("leaves the heap as it was, 2,000 times", function()
    local p = grun.pool(3)
    local list = numbers(100)
    local function run(n)
      for i = 1, n do
        local name = i % 2 == 0 and "imap" or "imap_unordered"
        local items = i % 3 == 0 and ("x"):rep(100):gmatch("x") or list
        assert(p[name](p, same, items)())
      end
      p:join()
      grun.yield()
    end
    local before = heap_after(run, 200)
    local grown = heap_after(run, 2000) - before
    assert.is_true(grown < 100, grown .. " KB more")
  end)
end)

describe("a map that gives up in a full pool", function()
  it("leaves nothing in its line", function()
    local p = grun.pool(1)
    p:spawn(forever)
    for _ = 1, 10 do
      assert.same(TIMEOUT, pack(grun.timeout(0, p.map, p, same, { 1 })))
    end
    assert.equal(p.waiting, p.waiting.next)
    p:kill()
  end)
end)
