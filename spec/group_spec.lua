-- SPDX-License-Identifier: MIT

local grun = require("grun")
local helper = require("spec.helper")

local function pack(...)
  return { n = select("#", ...), ... }
end

local function forever()
  grun.sleep(1000)
end

local TIMEOUT = pack(nil, "timeout", "timeout")

describe("a group", function()
  it("spawns threads and forgets them when they end", function()
    local g, q = grun.group(), grun.queue()
    assert.equal(0, g:count())
    local a = g:spawn(q.get, q)
    local b = g:spawn(q.get, q)
    assert.equal(2, g:count())
    assert.same({ a, b }, g:threads())
    q:put("x")
    assert.equal("x", a:get())
    assert.equal(1, g:count())
    assert.same({ b }, g:threads())
    q:put("y")
    assert.equal("y", b:get())
    assert.equal(0, g:count())
    assert.same({}, g:threads())
  end)

  it("passes the arguments", function()
    local t = grun.group():spawn(pack, 1, nil, 3, nil)
    assert.same(pack(1, nil, 3, nil), t:get())
  end)

  it("lists its members oldest first", function()
    local g, all = grun.group(), {}
    for i = 1, 20 do
      all[i] = g:spawn(forever)
    end
    assert.same(all, g:threads())
    g:kill()
  end)

  it("says how many it has", function()
    local g = grun.group()
    assert.equal("group of 0 threads", tostring(g))
    g:spawn(forever)
    assert.equal("group of 1 thread", tostring(g))
    g:kill()
  end)

  it("reports a member's error like any thread's and lets the others go on", function()
    local g, t = grun.group(), nil
    local reports = helper.reports(function()
      t = g:spawn(error, "boom", 0)
      g:spawn(grun.sleep, 0.001)
      assert.is_true(g:join())
    end)
    assert.equal(1, #reports)
    assert.equal(t, reports[1].thread)
  end)

  it("names the line of the script as the place where a member was spawned", function()
    local line = debug.getinfo(1, "l").currentline + 1
    local t = grun.group():spawn(error, "boom", 0)
    helper.reports(function()
      t:join()
    end)
    assert.matches("group_spec.lua:" .. line .. "$", t.spawned_at)
  end)

  it("refuses what is not a function", function()
    local g = grun.group()
    helper.misuse(function() g:spawn() end, "spawn: function expected, got nil")
    helper.misuse(function() g:spawn(5) end, "spawn: function expected, got number")
    assert.equal(0, g:count())
    local callable = setmetatable({}, { __call = function(_, x)
      return x
    end })
    assert.equal("x", g:spawn(callable, "x"):get())
  end)
end)

describe("join", function()
  it("returns true when no member is left, at once when there is none", function()
    local g = grun.group()
    assert.same(pack(true), pack(g:join()))
    assert.same(pack(true), pack(g:join(0)))
    local log = {}
    g:spawn(function()
      grun.yield()
      log[1] = "ended"
    end)
    assert.same(pack(true), pack(g:join()))
    assert.same({ "ended" }, log)
  end)

  it("waits for members that come later, too", function()
    local g, log = grun.group(), {}
    g:spawn(function()
      grun.yield()
      g:spawn(function()
        grun.yield()
        log[1] = "the later one"
      end)
    end)
    g:join()
    assert.same({ "the later one" }, log)
  end)

  it("returns nil, timeout after its time and can be called again", function()
    local g, e = grun.group(), grun.event()
    g:spawn(e.wait, e)
    assert.same(TIMEOUT, pack(g:join(0)))
    assert.same(TIMEOUT, pack(g:join(0.002)))
    e:set()
    assert.same(pack(true), pack(g:join(5)))
  end)

  it("returns to all who wait", function()
    local g, e, n = grun.group(), grun.event(), 0
    g:spawn(e.wait, e)
    local others = grun.group()
    for _ = 1, 5 do
      others:spawn(function()
        assert(g:join())
        n = n + 1
      end)
    end
    grun.yield()
    e:set()
    others:join()
    assert.equal(5, n)
  end)

  it("returns when the group was empty once, even if it is not any more", function()
    local g = grun.group()
    local t = g:spawn(grun.yield)
    t:link(function()
      g:spawn(forever)
    end)
    assert.is_true(g:join(5))
    grun.yield()
    assert.equal(1, g:count())
    g:kill()
  end)

  it("raises when the caller is cancelled, and leaves the members alone", function()
    local g, e = grun.group(), grun.event()
    local member = g:spawn(e.wait, e)
    local t = grun.spawn(g.join, g)
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
    assert.equal("waiting", member:status())
    e:set()
    assert.is_true(g:join())
    t = grun.spawn(function()
      grun.current():cancel()
      g:join()
    end)
    t:join()
    assert.equal("cancelled", t:status())
  end)

  it("raises past the deadline of the scope around it", function()
    local g = grun.group()
    g:spawn(forever)
    assert.same(TIMEOUT, pack(grun.timeout(0.001, g.join, g)))
    assert.equal(1, g:count())
    g:kill()
  end)

  it("refuses a wrong timeout, and a member", function()
    local g = grun.group()
    local message = "join: timeout must be a number of seconds, 0 or more, got "
    helper.misuse(function() g:join(-1) end, message .. "-1")
    helper.misuse(function() g:join("x") end, message .. "x")
    helper.misuse(function() g:kill(0 / 0) end, message:gsub("join", "kill") .. "nan")
    g:spawn(function()
      helper.misuse(function() g:join() end,
        "join: a member cannot wait for the end of its group")
    end):get()
  end)
end)

describe("kill", function()
  it("cancels the members and waits for their ends", function()
    local g, log = grun.group(), {}
    for i = 1, 3 do
      g:spawn(function()
        local _, err = pcall(forever)
        log[i] = grun.is_cancel(err)
        error(err, 0)
      end)
    end
    grun.yield()
    assert.same(pack(true), pack(g:kill()))
    assert.same({ "killed", "killed", "killed" }, log)
    assert.equal(0, g:count())
    assert.same(pack(true), pack(g:kill()))
  end)

  it("does not let members start that have not yet", function()
    local g, ran = grun.group(), false
    local t = g:spawn(function()
      ran = true
    end)
    g:kill()
    assert.is_false(ran)
    assert.equal("cancelled", t:status())
  end)

  it("kills members that are spawned meanwhile", function()
    local g, log = grun.group(), {}
    local function hydra(depth)
      local _, err = pcall(forever)
      for _ = 1, 2 do
        if depth < 5 then
          log[#log + 1] = g:spawn(hydra, depth + 1)
        end
      end
      error(err, 0)
    end
    g:spawn(hydra, 1)
    grun.yield()
    assert.is_true(g:kill(5))
    assert.equal(2, #log)
    for _, t in ipairs(log) do
      assert.equal("cancelled", t:status())
    end
    -- Afterwards the group is as good as new.
    assert.equal("fine", g:spawn(function()
      grun.yield()
      return "fine"
    end):get())
  end)

  it("waits on when somebody comes before the killer has seen the group empty", function()
    local g, late = grun.group(), nil
    local t = g:spawn(forever)
    local other = grun.spawn(function()
      while t:status() ~= "cancelled" do
        grun.yield()
      end
      late = g:spawn(forever)
    end)
    grun.yield()
    assert.is_true(g:kill(5))
    assert.is_true(other:successful())
    assert.equal("cancelled", late:status())
    assert.equal(0, g:count())
  end)

  it("returns nil, timeout when a member refuses to end in time", function()
    local g, e = grun.group(), grun.event()
    g:spawn(grun.shield, e.wait, e)
    grun.yield()
    assert.same(TIMEOUT, pack(g:kill(0.002)))
    assert.same(TIMEOUT, pack(g:kill(0)))
    assert.equal(1, g:count())
    assert.equal("lives", g:spawn(function()
      grun.yield()
      return "lives"
    end):get())
    e:set()
    assert.is_true(g:kill(5))
  end)

  it("by several at once ends when the last of them is done", function()
    local g, e = grun.group(), grun.event()
    g:spawn(grun.shield, e.wait, e)
    grun.yield()
    local impatient = grun.spawn(g.kill, g, 0.001)
    local patient = grun.spawn(g.kill, g)
    assert.same(TIMEOUT, pack(impatient:get()))
    local late = g:spawn(error)
    late:join()
    assert.equal("cancelled", late:status())
    e:set()
    assert.is_true(patient:get())
    assert.equal("lives", g:spawn(function()
      return "lives"
    end):get())
  end)

  it("by a member ends this one as well, without waiting", function()
    local g, after = grun.group(), false
    local other = g:spawn(forever)
    local me = g:spawn(function()
      g:kill()
      after = true
    end)
    me:join()
    other:join()
    assert.is_false(after)
    assert.equal("cancelled", me:status())
    assert.equal("cancelled", other:status())
  end)

  it("by a shielded member does not wait for this one", function()
    local g = grun.group()
    local t = g:spawn(function()
      grun.shield(g.kill, g)
      grun.yield()
    end)
    assert.is_true(t:join(5))
    assert.equal("cancelled", t:status())
  end)

  it("raises when the caller is cancelled; the members are cancelled anyway", function()
    local g, e = grun.group(), grun.event()
    local member = g:spawn(grun.shield, e.wait, e)
    local killer = grun.spawn(g.kill, g)
    grun.yield()
    grun.yield()
    assert.is_true(killer:kill(5))
    assert.equal("cancelled", killer:status())
    e:set()
    member:join()
    assert.equal("lives", g:spawn(function()
      return "lives"
    end):get())
  end)

  it("is not needed to cancel all: cancel does not wait", function()
    local g = grun.group()
    local a, b = g:spawn(forever), g:spawn(forever)
    grun.yield()
    g:cancel("why")
    assert.equal(2, g:count())
    g:join()
    assert.equal("why", a.error.reason)
    assert.equal("why", b.error.reason)
  end)
end)

describe("the deadline", function()
  it("of the scope in which a group is opened ends its members", function()
    local members = {}
    local reports = helper.reports(function()
      assert.same(TIMEOUT, pack(grun.timeout(0.005, function()
        local g = grun.group()
        for i = 1, 3 do
          members[i] = g:spawn(forever)
        end
        g:join()
      end)))
      grun.joinall(members)
    end)
    for i = 1, 3 do
      assert.equal("cancelled", members[i]:status())
      assert.equal("timeout", grun.is_cancel(members[i].error))
    end
    assert.same({}, reports)
  end)

  it("also holds for members that are spawned after the scope has ended", function()
    local g
    assert.is_true(grun.timeout(0.005, function()
      g = grun.group()
      return true
    end))
    local t = g:spawn(function()
      assert.is_truthy(grun.deadline())
      forever()
    end)
    t:join()
    assert.equal("timeout", grun.is_cancel(t.error))
  end)

  it("is not inherited by a group that was opened outside, or in a shield", function()
    local outside = grun.group()
    local list = {}
    grun.timeout(5, function()
      list[1] = outside:spawn(grun.deadline)
      list[2] = grun.shield(grun.group):spawn(grun.deadline)
      list[3] = grun.spawn(grun.deadline)
    end)
    for i = 1, 3 do
      assert.is_nil(list[i]:get())
    end
  end)

  it("is the nearest one", function()
    local left = {}
    grun.timeout(50, function()
      local far = grun.group()
      grun.timeout(5, function()
        grun.timeout(20, function()
          left[1] = grun.group():spawn(grun.deadline):get()
          left[2] = far:spawn(grun.deadline):get()
        end)
      end)
    end)
    assert.is_true(left[1] <= 5 and left[1] > 1)
    assert.is_true(left[2] <= 50 and left[2] > 20)
  end)

  it("nests with the members' own", function()
    grun.timeout(5, function()
      assert.same(TIMEOUT, grun.group():spawn(function()
        return pack(grun.timeout(0.001, forever))
      end):get())
    end)
    grun.timeout(0.002, function()
      local t = grun.group():spawn(function()
        grun.timeout(5, forever)
      end)
      grun.shield(t.join, t)
      assert.equal("cancelled", t:status())
    end)
  end)
end)

describe("grun.wait", function()
  it("waits for groups, which are ready when empty", function()
    local a, b, empty = grun.group(), grun.group(), grun.group()
    a:spawn(grun.sleep, 0.01)
    b:spawn(grun.sleep, 0.001)
    assert.same({ empty, b, a }, grun.wait({ a, b, empty }))
    assert.same({ a }, grun.wait({ a }))
  end)

  it("returns those that are ready in time, and leaves nothing at the others", function()
    local a, b = grun.group(), grun.group()
    a:spawn(forever)
    b:spawn(grun.yield)
    assert.same({ b }, grun.wait({ a, b }, 0.005))
    assert.is_false(a.watchers)
    assert.same({}, grun.wait({ a }, 0))
    a:kill()
  end)

  it("takes groups, threads and events together", function()
    local g, e = grun.group(), grun.event()
    local t = grun.spawn(grun.sleep, 0.005)
    g:spawn(grun.sleep, 0.01)
    e:set()
    local order = {}
    for obj in grun.iwait({ g, t, e }) do
      order[#order + 1] = obj
    end
    assert.same({ e, t, g }, order)
  end)
end)

describe("groups", function()
  it("keep count when what a member's end triggers is broken off and done again", function()
    local g, broken = grun.group(), false
    for i = 1, 3 do
      g:spawn(grun.yield):_subscribe({
        notify = function()
          if i < 3 and not broken then
            broken = true
            error("as if in a finalizer")
          end
          broken = false
        end,
      })
    end
    assert.is_true(g:join(5))
    assert.equal(0, g:count())
  end)

  it("keep count when errors in somebody's finalizers strike", function()
    -- With the compiler on such errors crash LuaJIT itself.
    local out, err, status = helper.run_child({ "-joff", helper.script([[
      grun.on_error(function() end)
      local function litter()
        for _ = 1, 3 do
          getmetatable(newproxy(true)).__gc = error
        end
      end
      local g, n = grun.group(), 0
      for i = 1, 500 do
        pcall(g.spawn, g, litter)
        pcall(g.spawn, g, litter)
        local ok, joined
        repeat
          ok, joined = pcall(g.join, g, 5)
        until ok
        n = n + (joined and 1 or 0)
      end
      io.stderr:write(n, " ", g:count())
      os.exit(0)
    ]]) })
    assert.same({ "", "500 0", 0 }, { out, err, status })
  end)

  it("leave the heap as it was after 200,000 spawns", function()
    local g = grun.group()
    local function run(n)
      for i = 1, n do
        g:spawn(type, i)
        if i % 100 == 0 then
          grun.yield()
        end
      end
      g:join()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = run(10000)
    local grown = run(200000) - before
    assert.is_true(grown < 100, grown .. " KB more")
  end)

  it("hold 20,000 members at once", function()
    local g, e, n = grun.group(), grun.event(), 0
    for _ = 1, 20000 do
      g:spawn(function()
        e:wait()
        n = n + 1
      end)
    end
    grun.yield()
    assert.equal(20000, g:count())
    e:set()
    assert.is_true(g:join(60))
    assert.equal(20000, n)
    for _ = 1, 20000 do
      g:spawn(forever)
    end
    grun.yield()
    assert.is_true(g:kill(60))
  end)
end)
