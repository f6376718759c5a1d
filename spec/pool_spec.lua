-- SPDX-License-Identifier: MIT
-- Pools, and mapping over items with them (lualib/grun/pool.lua, mapping.lua).

local grun = require("grun")
local helper = require("spec.helper")

local function pack(...)
  return { n = select("#", ...), ... }
end

local function forever()
  grun.sleep(1000)
end

local function same(...)
  return ...
end

local function numbers(n)
  local list = {}
  for i = 1, n do
    list[i] = i
  end
  return list
end

-- Waits until the thread is parked.
local function parked(t)
  while t:status() ~= "waiting" do
    assert(t[1], "the thread ended instead of waiting")
    grun.yield()
  end
  return t
end

-- Counts how many calls are in there at once: returns around(fn), and a function for the maximum.
local function gauge()
  local now, most = 0, 0
  return function(fn)
    return function(...)
      now = now + 1
      most = math.max(most, now)
      local results = pack(pcall(fn, ...))
      now = now - 1
      if not results[1] then
        error(results[2], 0)
      end
      return unpack(results, 2, results.n)
    end
  end, function()
    return most
  end
end

local function heap_after(fn, ...)
  fn(...)
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

local TIMEOUT = pack(nil, "timeout", "timeout")

describe("a pool", function()
  it("is a group", function()
    local p = grun.pool(3)
    local a, b = p:spawn(forever), p:spawn(forever)
    assert.equal(2, p:count())
    assert.equal(1, p:free())
    assert.same({ a, b }, p:threads())
    assert.equal("pool of 3, 2 running", tostring(p))
    assert.same(TIMEOUT, pack(p:join(0)))
    assert.same({}, grun.wait({ p }, 0))
    assert.is_true(p:kill())
    assert.equal(3, p:free())
    assert.is_true(p:join())
    assert.same({ p }, grun.wait({ p }))
  end)

  it("never runs more than its limit", function()
    local around, most = gauge()
    local p = grun.pool(4)
    for i = 1, 50 do
      p:spawn(around(grun.sleep), i % 3 / 1000)
    end
    p:join()
    assert.equal(4, most())
    assert.equal(4, p:free())
  end)

  it("needs a whole number of places", function()
    for _, n in ipairs({ 0, -1, 1.5, 0 / 0, math.huge, "5", {} }) do
      local message = "pool: a whole number of threads, 1 or more, expected, got "
      helper.misuse(function() local _ = grun.pool(n) end, message .. tostring(n))
    end
    helper.misuse(function() local _ = grun.pool() end,
      "pool: a whole number of threads, 1 or more, expected, got nil")
  end)

  it("refuses what is not a function, at once", function()
    local p = grun.pool(1)
    p:spawn(forever)
    for _, name in ipairs({ "spawn", "try_spawn", "apply", "apply_async", "map", "imap",
      "imap_unordered" }) do
      helper.misuse(function() p[name](p, 5) end, name .. ": function expected, got number")
    end
    p:kill()
    for _, name in ipairs({ "map", "imap", "imap_unordered" }) do
      helper.misuse(function() p[name](p, print) end,
        name .. ": list or iterator expected, got nil")
      helper.misuse(function() p[name](p, print, "list") end,
        name .. ": list or iterator expected, got string")
    end
  end)
end)

describe("spawn in a full pool", function()
  it("waits for a place, first come, first served", function()
    local p, q, order = grun.pool(2), grun.queue(), {}
    p:spawn(q.get, q)
    p:spawn(q.get, q)
    local spawners = {}
    for i = 1, 6 do
      spawners[i] = parked(grun.spawn(function()
        p:spawn(function()
          order[#order + 1] = i
          q:get()
        end)
      end))
    end
    assert.matches("waiting on pool.spawn", tostring(spawners[1]))
    assert.equal(0, p:free())
    for i = 1, 6 do
      q:put(i)
      grun.joinall({ spawners[i] })
      grun.yield()
      assert.equal(i, #order)
    end
    q:put("x")
    q:put("x")
    p:join()
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
  end)

  it("is not overtaken by one who comes when a place has just become free", function()
    local p, order = grun.pool(1), {}
    local first = p:spawn(forever)
    local waiting = parked(grun.spawn(function()
      p:spawn(same)
      order[#order + 1] = "waited"
    end))
    -- This one is in the run queue between the member's end and the one who waits.
    local eager = grun.spawn(function()
      while first:status() ~= "cancelled" do
        grun.yield()
      end
      assert.equal(0, p:free())
      assert.equal(0, p:count())
      assert.same({ nil, "full", "full" }, { p:try_spawn(same) })
      p:spawn(same)
      order[#order + 1] = "came later"
    end)
    first:cancel()
    grun.joinall({ waiting, eager })
    p:join()
    assert.same({ "waited", "came later" }, order)
  end)

  it("leaves its place to the next when it is cancelled or past its deadline", function()
    local p, e = grun.pool(1), grun.event()
    p:spawn(e.wait, e)
    local cancelled = parked(grun.spawn(p.spawn, p, same))
    local late = parked(grun.spawn(grun.timeout, 0.002, p.spawn, p, same))
    local served = parked(grun.spawn(p.spawn, p, same, "result"))
    cancelled:kill()
    assert.equal("cancelled", cancelled:status())
    assert.same(TIMEOUT, pack(late:get()))
    e:set()
    assert.equal("result", served:get():get())
    assert.equal(1, p:free())
  end)

  it("cancelled at the moment the place becomes free has it, and gives it back", function()
    local p, e = grun.pool(1), grun.event()
    p:spawn(e.wait, e)
    local spawner = parked(grun.spawn(function()
      p:spawn(same)
      grun.yield()
    end))
    local next_one = parked(grun.spawn(p.spawn, p, same, "next"))
    e:set()
    while spawner:status() == "waiting" do
      grun.yield()
    end
    spawner:cancel()
    assert.equal("next", next_one:get():get())
    p:join()
    assert.equal(1, p:free())
  end)

  it("raises when the caller is cancelled already", function()
    local p = grun.pool(1)
    local t = grun.spawn(function()
      grun.current():cancel()
      p:spawn(error)
    end)
    t:join()
    assert.equal("cancelled", t:status())
    assert.equal(1, p:free())
  end)

  it("works from inside a member while others end", function()
    local around, most = gauge()
    local p, n = grun.pool(3), 0
    local visit
    visit = around(function(depth)
      n = n + 1
      grun.yield()
      if depth < 6 then
        -- One that waits here keeps its place; the last of three could wait for ever.
        for _ = 1, 2 do
          if not p:try_spawn(visit, depth + 1) then
            p:apply(visit, depth + 1)
          end
        end
      end
    end)
    p:spawn(visit, 1)
    p:join()
    assert.equal(63, n)
    assert.is_true(most() >= 3)
  end)

  it("from inside a member waits until another member ends", function()
    local p, log = grun.pool(2), {}
    p:spawn(function()
      p:spawn(function()
        grun.yield()
        log[#log + 1] = "first"
      end)
      p:spawn(function()
        log[#log + 1] = "second"
      end)
      log[#log + 1] = "spawner"
    end)
    p:join()
    assert.same({ "first", "spawner", "second" }, log)
  end)

  it("from inside the only member is a deadlock, which is reported", function()
    local _, err, status = helper.run_script([[
      local p = grun.pool(1)
      p:spawn(function()
        p:spawn(print)
      end)
      p:join()
    ]])
    assert.equal(2, status)
    assert.matches("^grun: deadlock: 2 threads wait", err)
    assert.matches("waiting on pool.spawn %([^\n]*:3%)", err)
    assert.matches("waiting on group.join %([^\n]*:5%)", err)
  end)

  it("names the script's line as the place where the member was spawned", function()
    local p = grun.pool(1)
    local line = debug.getinfo(1, "l").currentline + 1
    local a = p:spawn(grun.yield)
    local b = p:spawn(same)
    local c = grun.spawn(function()
      local list = p:map(function()
        return grun.current().spawned_at
      end, { 1 })
      return list[1]
    end)
    assert.matches("pool_spec.lua:" .. line .. "$", a.spawned_at)
    assert.matches("pool_spec.lua:" .. line + 1 .. "$", b.spawned_at)
    c:join()
    p:join()
  end)
end)

describe("try_spawn", function()
  it("spawns if there is room and says full if there is not", function()
    local p, e = grun.pool(1), grun.event()
    local t = p:try_spawn(e.wait, e)
    assert.is_false(t:_poll())
    assert.same({ nil, "full", "full" }, { p:try_spawn(same) })
    e:set()
    p:join()
    assert.equal("x", p:try_spawn(same, "x"):get())
  end)
end)

describe("kill", function()
  it("ends members, and those that get a place meanwhile", function()
    local p, ran = grun.pool(2), false
    local members = { p:spawn(forever), p:spawn(forever) }
    local spawners, jobs = {}, {}
    for i = 1, 3 do
      spawners[i] = parked(grun.spawn(p.spawn, p, function()
        ran = true
      end))
      jobs[i] = p:apply_async(function()
        ran = true
      end)
    end
    assert.is_true(p:kill(5))
    assert.equal(2, p:free())
    for i = 1, 3 do
      assert.equal("cancelled", spawners[i]:get():status())
      assert.equal("killed", grun.is_cancel(select(2, pcall(jobs[i].get, jobs[i]))))
    end
    for _, t in ipairs(members) do
      assert.equal("cancelled", t:status())
    end
    assert.is_false(ran)
    assert.equal("fine", p:apply(same, "fine"))
  end)

  it("makes map raise", function()
    local p = grun.pool(2)
    local t = parked(grun.spawn(function()
      return p:map(forever, numbers(10))
    end))
    local reports = helper.reports(function()
      assert.is_true(p:kill(5))
      t:join()
    end)
    assert.equal("failed", t:status())
    assert.equal("killed", grun.is_cancel(t.error))
    assert.equal(1, #reports)
    assert.equal(2, p:free())
  end)

  it("makes imap raise at the items that it hit, and lets the next ones be", function()
    local p = grun.pool(2)
    local iter = p:imap(function(x)
      if x <= 2 then
        forever()
      end
      return x
    end, numbers(5))
    grun.yield()
    grun.yield()
    p:kill()
    local got = {}
    for i = 1, 5 do
      local ok, value = pcall(iter)
      got[i] = ok and value or grun.is_cancel(value)
    end
    assert.equal("killed", got[1])
    assert.equal("killed", got[2])
    assert.equal(5, got[5])
    assert.is_nil(iter())
  end)
end)

describe("apply", function()
  it("runs a function as a member and returns its results", function()
    local p = grun.pool(1)
    local thread
    assert.same(pack(1, nil, 3, nil), pack(p:apply(function(...)
      thread = grun.current()
      assert.equal(0, p:free())
      return ...
    end, 1, nil, 3, nil)))
    assert.not_equal(grun.current(), thread)
    assert.equal(1, p:free())
  end)

  it("waits for a place in turn", function()
    local p = grun.pool(1)
    local t = p:spawn(grun.sleep, 0.002)
    assert.equal("x", p:apply(same, "x"))
    assert.equal("done", t:status())
  end)

  it("raises the error, with its traceback and without a report", function()
    local p = grun.pool(1)
    local err = {}
    assert.same({}, helper.reports(function()
      local ok, raised = pcall(p.apply, p, error, err)
      assert.is_false(ok)
      assert.equal(err, raised)
    end))
    local function culprit()
      error("boom")
    end
    local reports = helper.reports(function()
      grun.spawn(function()
        p:apply(culprit)
      end):join()
    end)
    assert.equal(1, #reports)
    assert.matches("in function <[^\n]*pool_spec.lua", reports[1].traceback)
    assert.matches("'error'\n[^\n]*pool_spec.lua:%d+: in function", reports[1].traceback)
  end)

  it("by a member runs in that member, so that a pool of one can nest", function()
    local p = grun.pool(1)
    local function nest(depth)
      return depth == 0 and grun.current() or p:apply(nest, depth - 1)
    end
    local t = p:spawn(nest, 10)
    assert.equal(t, t:get())
    assert.same({ false, "boom" }, { pcall(p.apply, p, function()
      return p:apply(error, "boom", 0)
    end) })
  end)

  it("cancels the call when the caller's wait ends otherwise", function()
    local p, log = grun.pool(1), {}
    local function call(i)
      local _, err = pcall(forever)
      grun.shield(grun.sleep, 0.002)
      log[i] = grun.is_cancel(err)
      error(err, 0)
    end
    assert.same(TIMEOUT, pack(grun.timeout(0.002, p.apply, p, call, 1)))
    local t = parked(grun.spawn(p.apply, p, call, 2))
    grun.yield()
    assert.is_true(t:kill(5))
    assert.same({ "apply", "apply" }, log)
    assert.equal(1, p:free())
  end)

  it("reports what such a call then raises", function()
    local p = grun.pool(1)
    local reports = helper.reports(function()
      grun.timeout(0.002, p.apply, p, function()
        pcall(forever)
        error("in the clean-up", 0)
      end)
    end)
    assert.equal(1, #reports)
    assert.equal("in the clean-up", reports[1].err)
  end)
end)

describe("apply_async", function()
  it("returns a result at once", function()
    local p = grun.pool(1)
    local results = {}
    for i = 1, 3 do
      results[i] = p:apply_async(same, i, nil, "x", nil)
    end
    assert.is_false(results[1]:ready())
    assert.equal(0, p:free())
    for i = 1, 3 do
      assert.same(pack(i, nil, "x", nil), pack(results[i]:get()))
    end
    assert.same(pack(), pack(p:apply_async(function() end):get()))
  end)

  it("stands in line with those who wait in spawn", function()
    local p, order = grun.pool(1), {}
    local function note(i)
      order[#order + 1] = i
    end
    p:spawn(grun.yield)
    p:apply_async(note, 1)
    parked(grun.spawn(p.spawn, p, note, 2))
    p:apply_async(note, 3)
    p:apply_async(note, 4)
    p:join()
    assert.same({ 1, 2, 3, 4 }, order)
  end)

  it("is not overtaken by a spawn that comes later", function()
    local p, order = grun.pool(1), {}
    p:spawn(grun.yield)
    p:apply_async(function()
      order[1] = #order + 1
    end)
    p:spawn(function()
      order[2] = #order + 1
    end)
    p:join()
    assert.same({ 1, 2 }, order)
  end)

  it("never waits, even by a member of a full pool", function()
    local p = grun.pool(1)
    local outcome
    p:spawn(function()
      outcome = p:apply_async(same, "later")
    end)
    assert.equal("later", (function()
      p:join()
      return outcome:get()
    end)())
  end)

  it("gives the error to whom waits, or reports it and keeps it", function()
    local p, outcome = grun.pool(1), nil
    local err = {}
    assert.same({}, helper.reports(function()
      outcome = p:apply_async(error, err)
      assert.same({ false, err }, { pcall(outcome.get, outcome) })
    end))
    local reports = helper.reports(function()
      outcome = p:apply_async(error, err)
      p:join()
    end)
    assert.equal(1, #reports)
    assert.equal(err, reports[1].err)
    assert.equal(err, select(2, pcall(outcome.get, outcome)))
  end)

  it("does not mind a result that somebody else has set", function()
    local out, err, status = helper.run_script([[
      local p = grun.pool(1)
      local outcome = p:apply_async(type, 1)
      outcome:set("mine")
      p:join()
      print(outcome:get())
    ]])
    assert.same({ "mine\n", "", 0 }, { out, err, status })
  end)

  it("needs no thread for what waits", function()
    local p, sum = grun.pool(2), 0
    local before = #grun.threads()
    for i = 1, 10000 do
      p:apply_async(function()
        sum = sum + i
      end)
    end
    assert.is_true(#grun.threads() <= before + 2)
    p:join()
    assert.equal(50005000, sum)
  end)
end)

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
    assert.matches("'error'\n[^\n]*pool_spec.lua:%d+: in function", reports[1].traceback)
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

describe("a pool's deadline", function()
  it("is inherited by members, jobs and workers", function()
    local p
    grun.timeout(5, function()
      p = grun.pool(2)
    end)
    assert.is_truthy(p:spawn(grun.deadline):get())
    assert.is_truthy(p:apply(grun.deadline))
    assert.is_truthy(p:apply_async(grun.deadline):get())
    assert.is_truthy(p:map(grun.deadline, { 1 })[1])
    assert.is_truthy(p:imap(grun.deadline, { 1 })())
  end)

  it("makes map raise in its caller, which is outside", function()
    local p
    grun.timeout(0.005, function()
      p = grun.pool(2)
    end)
    local ok, err = pcall(p.map, p, forever, numbers(5))
    assert.is_false(ok)
    assert.equal("timeout", grun.is_cancel(err))
    assert.equal(2, p:free())
  end)
end)

describe("pools", function()
  it("leave the heap as it was after 1,000,000 spawns", function()
    local p = grun.pool(100)
    local function run(n)
      for i = 1, n do
        p:spawn(type, i)
      end
      p:join()
    end
    local before = heap_after(run, 10000)
    local grown = heap_after(run, 1000000) - before
    assert.is_true(grown < 100, grown .. " KB more")
    assert.equal(100, p:free())
  end)

  it("do so after 200,000 jobs of apply_async and items of imap, too", function()
    local p = grun.pool(100)
    local list = numbers(1000)
    local function run(n)
      for i = 1, n do
        p:apply_async(type, i)
      end
      p:join()
      for _ = 1, n / 1000 do
        for _ in p:imap(same, list) do end -- luacheck: ignore
        for _ in p:imap_unordered(same, ipairs(list)) do end -- luacheck: ignore
      end
    end
    run(200000)
    local before = heap_after(run, 200000)
    local grown = heap_after(run, 200000) - before
    assert.is_true(grown < 100, grown .. " KB more")
  end)

  it("of any size serve any mix of work", function()
    local seed = os.time()
    local random = require("math").random
    math.randomseed(seed)
    for _ = 1, 30 do
      local around, most = gauge()
      local places = random(1, 5)
      local p = grun.pool(places)
      local expected, sum = 0, 0
      local function add(x)
        if x % 3 == 0 then
          grun.yield()
        elseif x % 7 == 0 then
          grun.sleep(0.0001)
        end
        sum = sum + x
        return x
      end
      local users = grun.group()
      for user = 1, random(1, 5) do
        users:spawn(function()
          for i = 1, random(1, 8) do
            local x = user * 100 + i
            local kind = random(1, 6)
            local list = { x, x + 1, x + 2 }
            expected = expected + (kind <= 3 and x or 3 * x + 3)
            if kind == 1 then
              p:spawn(around(add), x)
            elseif kind == 2 then
              assert(p:apply(around(add), x) == x)
            elseif kind == 3 then
              p:apply_async(around(add), x)
            elseif kind == 4 then
              assert(p:map(around(add), list)[3] == x + 2)
            else
              local name = kind == 5 and "imap" or "imap_unordered"
              for _ in p[name](p, around(add), list) do end -- luacheck: ignore
            end
          end
        end)
      end
      assert.is_true(users:join(10), "seed " .. seed)
      assert.is_true(p:join(10), "seed " .. seed)
      assert.equal(expected, sum, "seed " .. seed)
      assert.is_true(most() <= places, "seed " .. seed)
      assert.equal(places, p:free())
    end
  end)
end)
