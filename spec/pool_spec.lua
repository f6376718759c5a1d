-- SPDX-License-Identifier: MIT
-- Pools: places, spawn, apply, apply_async, kill; all of it together.

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

  it("do so after 50,000 jobs of apply_async and items of imap, too", function()
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
    run(50000)
    local before = heap_after(run, 50000)
    local grown = heap_after(run, 50000) - before
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
