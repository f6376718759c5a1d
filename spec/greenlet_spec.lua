-- SPDX-License-Identifier: MIT

local grun = require("grun")
local helper = require("spec.helper")
local Exit = require("grun.greenlet").greenlet_exit

local greenlet, greenlet_current = grun.greenlet, grun.greenlet_current

local function pack(...)
  return { n = select("#", ...), ... }
end

-- Lets what the collector finds end. Returns how many threads there are afterwards.
local function collect()
  for _ = 1, 5 do
    collectgarbage()
    grun.yield()
    grun.yield()
  end
  return #grun.threads()
end

describe("a greenlet", function()
  it("runs its function at the first switch, with the arguments", function()
    local got
    local g = greenlet(function(...)
      got = pack(...)
    end)
    assert.is_nil(got)
    g:switch(1, nil, "x", nil)
    assert.same(pack(1, nil, "x", nil), got)
  end)

  it("gets later switches' values from its pending switch", function()
    local root, log = greenlet_current(), {}
    local g = greenlet(function(...)
      log[1] = pack(...)
      for i = 2, 5 do
        log[i] = pack(root:switch(unpack(log[i - 1], 1, log[i - 1].n)))
      end
      return "end"
    end)
    local calls = { pack(), pack(nil), pack(false), pack("one"), pack(nil, 2, nil) }
    for i = 1, 4 do
      assert.same(calls[i], pack(g:switch(unpack(calls[i], 1, calls[i].n))))
    end
    assert.same(pack("end"), pack(g:switch(unpack(calls[5], 1, calls[5].n))))
    assert.same(calls, log)
  end)

  it("takes 200 values and gives them back", function()
    local list = {}
    for i = 1, 200 do
      list[i] = i
    end
    local g = greenlet(function(...)
      return ...
    end)
    assert.same(list, { g:switch(unpack(list)) })
  end)

  it("switches in any order, as the classic example does", function()
    local log, one, two = {}
    one = greenlet(function(x)
      log[#log + 1] = x
      local y = two:switch("world")
      log[#log + 1] = y
      return "unused"
    end)
    two = greenlet(function(x)
      log[#log + 1] = x
      one:switch(42)
      log[#log + 1] = "never"
    end)
    one:switch("hello")
    assert.same({ "hello", "world", 42 }, log)
    assert.is_true(one.dead)
    assert.is_false(two.dead)
    two:throw()
  end)

  it("gives its results to its parent's switch", function()
    assert.same(pack(1, nil, 3, nil), pack(greenlet(function()
      return 1, nil, 3, nil
    end):switch()))
    assert.same(pack(), pack(greenlet(function() end):switch()))
  end)

  it("may be a callable table", function()
    local callable = setmetatable({}, { __call = function(self, x)
      return type(self), x
    end })
    assert.same(pack("table", 5), pack(greenlet(callable):switch(5)))
  end)

  it("switching to itself gets its own arguments", function()
    local me = greenlet_current()
    assert.same(pack(1, nil), pack(me:switch(1, nil)))
    assert.same(pack("in"), pack(greenlet(function()
      return greenlet_current():switch("in")
    end):switch()))
  end)

  it("is found again as the same object", function()
    local root = greenlet_current()
    assert.equal(root, greenlet_current())
    local seen
    local g = greenlet(function()
      seen = greenlet_current()
      assert.equal(root, greenlet_current().parent)
    end)
    g:switch()
    assert.equal(g, seen)
  end)

  it("says how it is", function()
    local root, inside = greenlet_current(), nil
    local g
    g = greenlet(function()
      inside = tostring(g) .. ", " .. tostring(root)
      root:switch()
    end)
    assert.equal("greenlet new", tostring(g))
    assert.is_false(g.dead)
    g:switch()
    assert.equal("greenlet active, greenlet suspended", inside)
    assert.equal("greenlet suspended", tostring(g))
    assert.is_false(g.dead)
    g:switch()
    assert.equal("greenlet dead", tostring(g))
    assert.equal("greenlet active", tostring(root))
    assert.is_true(g.dead)
    assert.is_nil(g.nothing)
  end)

  it("is a thread of its own for what it calls", function()
    local root_thread = grun.current()
    greenlet(function()
      assert.not_equal(root_thread, grun.current())
      grun.current().locals.x = 1
    end):switch()
    assert.is_nil(root_thread.locals.x)
  end)

  it("works as a generator", function()
    local function generator(fn)
      return function()
        local caller
        local g = greenlet(function()
          fn(function(value)
            caller:switch(value)
          end)
        end)
        return function()
          caller = greenlet_current()
          g.parent = caller
          if not g.dead then
            return g:switch()
          end
        end
      end
    end
    local function walk(tree, yield)
      for _, node in ipairs(tree) do
        if type(node) == "table" then
          walk(node, yield)
        else
          yield(node)
        end
      end
    end
    local leaves = generator(function(yield)
      walk({ 1, { 2, { 3, 4 } }, 5 }, yield)
    end)
    local got = {}
    for leaf in leaves() do
      got[#got + 1] = leaf
    end
    assert.same({ 1, 2, 3, 4, 5 }, got)
  end)
end)

describe("the parent", function()
  it("is the creator unless another one is given", function()
    local root, inner = greenlet_current(), nil
    local outer = greenlet(function()
      inner = greenlet(function() end)
      return greenlet(function() end, root)
    end)
    local with_root = outer:switch()
    assert.equal(root, outer.parent)
    assert.equal(outer, inner.parent)
    assert.equal(root, with_root.parent)
    assert.is_nil(root.parent)
  end)

  it("gets the results, not the one who switched last", function()
    local log, root = {}, greenlet_current()
    local child = greenlet(function()
      return "child's"
    end)
    local other = greenlet(function()
      child:switch()
      log[#log + 1] = "never"
    end)
    assert.equal("child's", other:switch())
    assert.same({}, log)
    assert.equal(root, child.parent)
    assert.equal("greenlet suspended", tostring(other))
    other:throw()
  end)

  it("can be changed", function()
    local log = {}
    local a = greenlet(function()
      log[#log + 1] = pack(greenlet_current().parent:switch("a waits"))
      return "a ends"
    end)
    assert.equal("a waits", a:switch())
    local b = greenlet(function()
      return "b's result"
    end)
    b.parent = a
    assert.equal(a, b.parent)
    assert.equal("a ends", b:switch())
    assert.same({ pack("b's result") }, log)
  end)

  it("can be changed while the greenlet runs", function()
    local root, got = greenlet_current(), nil
    local a = greenlet(function()
      got = root:switch()
      return "a"
    end)
    a:switch()
    assert.equal("a", greenlet(function()
      greenlet_current().parent = a
      return "late"
    end):switch())
    assert.equal("late", got)
  end)

  it("must be a greenlet of the same thread and not below", function()
    local root = greenlet_current()
    local a = greenlet(function() end)
    local b = greenlet(function() end, a)
    local foreign = grun.spawn(greenlet_current):get()
    helper.misuse(function() a.parent = nil end, "parent: greenlet expected, got nil")
    helper.misuse(function() a.parent = {} end, "parent: greenlet expected, got table")
    helper.misuse(function() a.parent = io.stdout end, "parent: greenlet expected, got userdata")
    helper.misuse(function() a.parent = a end,
      "parent: a greenlet cannot be among its own parents")
    helper.misuse(function() a.parent = b end,
      "parent: a greenlet cannot be among its own parents")
    helper.misuse(function() root.parent = a end, "parent: a thread's own greenlet has none")
    helper.misuse(function() a.parent = foreign end,
      "parent: the greenlet belongs to another thread")
    helper.misuse(function() local _ = greenlet(print, 5) end,
      "greenlet: parent must be a greenlet, got number")
    helper.misuse(function() local _ = greenlet(print, foreign) end,
      "greenlet: the parent belongs to another thread")
    assert.equal(root, a.parent)
    assert.equal(a, b.parent)
  end)

  it("that is dead is replaced by the nearest live one", function()
    local root = greenlet_current()
    local inner
    local outer = greenlet(function()
      inner = greenlet(function()
        root:switch("inner waits")
        return "inner's result"
      end)
      inner:switch()
      return "outer's result"
    end)
    assert.equal("inner waits", outer:switch())
    assert.equal("outer's result", outer:switch())
    assert.is_true(outer.dead)
    assert.equal(outer, inner.parent)
    assert.equal("inner's result", inner:switch())
  end)
end)

describe("a dead greenlet", function()
  local function dead(...)
    local g = greenlet(function() end, ...)
    g:switch()
    return g
  end

  it("switched to means its nearest live parent, perhaps the caller itself", function()
    assert.same(pack(1, nil, 3), pack(dead():switch(1, nil, 3)))
    local log, root, d = {}, greenlet_current(), nil
    local outer = greenlet(function()
      d = greenlet(function() end)
      d:switch()
      log[1] = root:switch()
      return "outer's result"
    end)
    outer:switch()
    assert.is_true(d.dead)
    assert.equal("outer's result", d:switch("for outer"))
    assert.same({ "for outer" }, log)
  end)

  it("thrown into means its nearest live parent", function()
    assert.same({ false, "boom" }, { pcall(function()
      dead():throw("boom")
    end) })
    local root, d, err = greenlet_current(), nil, nil
    local outer = greenlet(function()
      d = dead()
      err = select(2, pcall(root.switch, root))
      return "outer's result"
    end)
    outer:switch()
    assert.equal("outer's result", d:throw("boom"))
    assert.equal("boom", err)
  end)

  it("takes an exit as a plain return", function()
    assert.equal(Exit, dead():throw())
    assert.equal(Exit, dead():throw(Exit))
    local root, d, got = greenlet_current(), nil, nil
    local outer = greenlet(function()
      d = dead()
      got = root:switch()
    end)
    outer:switch()
    d:throw()
    assert.equal(Exit, got)
  end)

  it("keeps neither its function nor its thread", function()
    local weak = setmetatable({}, { __mode = "k" })
    local function new()
      local upvalue = {}
      weak[upvalue] = true
      local g = greenlet(function()
        return upvalue
      end)
      g:switch()
      return g
    end
    local g = new()
    collect()
    assert.is_nil(next(weak))
    assert.is_true(g.dead)
  end)
end)

describe("an error in a greenlet", function()
  it("is raised in the parent, any value, unchanged", function()
    for _, err in ipairs({ "text", 5, false, {}, grun.current() }) do
      local g = greenlet(function()
        error(err, 0)
      end)
      assert.same({ false, err }, { pcall(g.switch, g) })
      assert.is_true(g.dead)
    end
    local g = greenlet(function()
      error()
    end)
    assert.same(pack(false, nil), pack(pcall(g.switch, g)))
  end)

  it("goes up through parents until one catches it", function()
    local log = {}
    local a = greenlet(function()
      local b = greenlet(function()
        local c = greenlet(function()
          error("deep", 0)
        end)
        c:switch()
        log[#log + 1] = "never"
      end)
      log[#log + 1] = pack(pcall(b.switch, b))
      return "fine"
    end)
    assert.equal("fine", a:switch())
    assert.same({ pack(false, "deep") }, log)
  end)

  it("brings its traceback along and is reported once, for the thread", function()
    local t
    local reports = helper.reports(function()
      t = grun.spawn(function()
        local function culprit()
          error("boom")
        end
        greenlet(function()
          greenlet(culprit):switch()
          return "not reached"
        end):switch()
        return "not reached"
      end)
      t:join()
    end)
    assert.equal(1, #reports)
    assert.equal(t, reports[1].thread)
    assert.matches("greenlet_spec.lua:%d+: boom$", reports[1].err)
    assert.matches("in function <[^\n]*greenlet_spec", reports[1].traceback)
    assert.matches("'error'\n[^\n]*greenlet_spec.lua:%d+: in function", reports[1].traceback)
  end)

  it("goes past the one who switched to it", function()
    local log = {}
    local bad = greenlet(function()
      error("boom", 0)
    end)
    local other = greenlet(function()
      log[#log + 1] = pack(pcall(bad.switch, bad))
    end)
    assert.same({ false, "boom" }, { pcall(other.switch, other) })
    assert.same({}, log)
    assert.is_false(other.dead)
    other:throw()
  end)
end)

describe("throw", function()
  it("raises in the pending switch", function()
    local root, caught = greenlet_current(), nil
    local g = greenlet(function()
      caught = pack(pcall(root.switch, root))
      return "went on"
    end)
    g:switch()
    local err = {}
    assert.equal("went on", g:throw(err))
    assert.is_false(caught[1])
    assert.equal(err, caught[2])
  end)

  it("raises in the parent what the target does not catch", function()
    local root = greenlet_current()
    local g = greenlet(function()
      root:switch()
    end)
    g:switch()
    assert.same({ false, "boom" }, { pcall(g.throw, g, "boom") })
    assert.is_true(g.dead)
  end)

  it("without an error ends the target quietly and returns the exit", function()
    local root, cleaned = greenlet_current(), nil
    local g = greenlet(function()
      local ok, err = pcall(root.switch, root)
      cleaned = not ok and err
      error(err, 0)
    end)
    g:switch()
    assert.same(pack(Exit), pack(g:throw()))
    assert.equal(Exit, cleaned)
    assert.equal("greenlet exit", tostring(cleaned))
    assert.is_true(g.dead)
  end)

  it("can be refused", function()
    local root = greenlet_current()
    local g = greenlet(function()
      pcall(root.switch, root)
      return root:switch("still here")
    end)
    g:switch()
    assert.equal("still here", g:throw())
    assert.is_false(g.dead)
    assert.equal("end", g:switch("end"))
  end)

  it("into a new one ends it without running it", function()
    local ran = false
    local function run()
      ran = true
    end
    local g = greenlet(run)
    assert.same({ false, "boom" }, { pcall(g.throw, g, "boom") })
    assert.is_true(g.dead)
    local h = greenlet(run)
    assert.equal(Exit, h:throw())
    assert.is_true(h.dead)
    assert.is_false(ran)
  end)

  it("into a new one raises in its parent, not in the thrower", function()
    local root, g, caught = greenlet_current(), nil, nil
    local parent = greenlet(function()
      g = greenlet(error)
      caught = pack(pcall(root.switch, root))
      return "parent's result"
    end)
    parent:switch()
    assert.equal("parent's result", g:throw("boom"))
    assert.same(pack(false, "boom"), caught)
  end)

  it("into oneself raises", function()
    local me = greenlet_current()
    assert.same({ false, "boom" }, { pcall(me.throw, me, "boom") })
    assert.same({ false, Exit }, { pcall(me.throw, me) })
    assert.equal(Exit, greenlet(function()
      greenlet_current():throw()
    end):switch())
  end)
end)

describe("a tree of greenlets", function()
  it("belongs to its thread", function()
    local root = greenlet_current()
    local fresh = greenlet(function() end)
    local suspended = greenlet(function()
      root:switch()
    end)
    local dead = greenlet(function() end)
    suspended:switch()
    dead:switch()
    grun.spawn(function()
      for _, g in ipairs({ root, fresh, suspended, dead }) do
        helper.misuse(function() g:switch() end,
          "switch: the greenlet belongs to another thread")
        helper.misuse(function() g:throw() end, "throw: the greenlet belongs to another thread")
      end
    end):get()
    suspended:switch()
  end)

  it("ends with its thread", function()
    local log, kept = {}, {}
    grun.spawn(function()
      local root = greenlet_current()
      for i = 1, 3 do
        kept[i] = greenlet(function()
          local _, err = pcall(root.switch, root)
          log[i] = grun.is_cancel(err)
          pcall(root.switch, root)
          root:switch()
        end)
        kept[i]:switch()
      end
      kept[4] = greenlet(error)
      kept[5] = root
    end):join()
    repeat
      grun.yield()
    until kept[1].dead and kept[2].dead and kept[3].dead
    local why = "the thread of this greenlet has ended"
    assert.same({ why, why, why }, log)
    assert.is_true(kept[5].dead)
    for i = 1, 5 do
      helper.misuse(function() kept[i]:switch() end, i == 4
        and "switch: the greenlet belongs to another thread"
        or "switch: the greenlet is dead and has no live parent")
    end
  end)

  it("ends with a thread that is killed inside a greenlet", function()
    local cleaned
    local t = grun.spawn(function()
      greenlet(function()
        cleaned = select(2, pcall(grun.sleep, 100))
      end):switch()
    end)
    grun.yield()
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
    grun.yield()
    assert.is_truthy(grun.is_cancel(cleaned))
  end)

  it("may be 5000 deep", function()
    local function nest(depth)
      if depth == 0 then
        return "bottom"
      end
      return greenlet(nest):switch(depth - 1)
    end
    assert.equal("bottom", nest(5000))
    local function fail(depth)
      if depth == 0 then
        error("bottom", 0)
      end
      return greenlet(fail):switch(depth - 1)
    end
    assert.same({ false, "bottom" }, { pcall(fail, 5000) })
  end)

  it("may have a long line of dead parents", function()
    local root, last = greenlet_current(), greenlet_current()
    local line = {}
    for i = 1, 2000 do
      line[i] = greenlet(function()
        root:switch()
      end, last)
      line[i]:switch()
      last = line[i]
    end
    for i = 1, 1999 do
      line[i]:throw()
    end
    assert.equal(Exit, line[2000]:throw())
    assert.equal("back", line[2000]:switch("back"))
  end)
end)

describe("a blocking call in a greenlet", function()
  it("parks it like any thread", function()
    local log = {}
    local q = grun.queue()
    local other = grun.spawn(function()
      log[#log + 1] = "other thread"
      q:put("item")
    end)
    local g = greenlet(function()
      grun.sleep(0.001)
      log[#log + 1] = "slept"
      return q:get()
    end)
    assert.equal("item", g:switch())
    assert.same({ "other thread", "slept" }, log)
    other:join()
  end)

  it("ends with the deadline of the thread around it", function()
    local log = {}
    local g = greenlet(function()
      log[#log + 1] = pack(pcall(grun.sleep, 0.02))
      log[#log + 1] = select(2, pcall(greenlet_current().parent.switch, greenlet_current().parent))
      return "nobody's"
    end)
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.005, g.switch, g) })
    assert.equal("greenlet strayed", tostring(g))
    helper.misuse(function() g:switch() end,
      "switch: the greenlet is waiting for something else")
    -- The thread can use others meanwhile.
    assert.equal("fine", greenlet(function()
      grun.sleep(0.04)
      return "fine"
    end):switch())
    assert.is_true(g.dead)
    assert.same(pack(true), log[1])
    assert.matches("switch: another greenlet of this thread is active$", log[2])
  end)

  it("reports the error of one that nobody waits for any more", function()
    local g = greenlet(function()
      grun.sleep(0.01)
      error("lost", 0)
    end)
    local reports = helper.reports(function()
      assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.001, g.switch, g) })
      grun.sleep(0.02)
    end)
    assert.equal(1, #reports)
    assert.equal("lost", reports[1].err)
  end)

  it("may have a deadline of its own around a switch", function()
    local root, log = greenlet_current(), {}
    local g = greenlet(function()
      log[1] = pack(grun.timeout(0.001, root.switch, root, "suspended"))
      log[2] = select(2, pcall(root.switch, root))
    end)
    assert.equal("suspended", g:switch())
    grun.sleep(0.01)
    assert.same(pack(nil, "timeout", "timeout"), log[1])
    assert.matches("switch: another greenlet of this thread is active$", log[2])
    assert.is_true(g.dead)
  end)

  it("switched to when its deadline has just passed raises that, and has its turn", function()
    local root, log = greenlet_current(), {}
    local g = greenlet(function()
      log[1] = pack(grun.timeout(0.05, root.switch, root))
      return "in order"
    end)
    g:switch()
    -- So that both the sleep and the deadline are over when the loop next looks.
    local busy = grun.spawn(function()
      local stop = grun.now() + 0.1
      while grun.now() < stop do end -- luacheck: ignore
    end)
    grun.sleep(0.001)
    assert.equal("in order", g:switch("lost"))
    assert.same(pack(nil, "timeout", "timeout"), log[1])
    assert.is_true(busy:successful())
  end)

  it("switched to when it has just been cancelled raises that, and has its turn", function()
    local root, thread, reason = greenlet_current(), nil, nil
    local g = greenlet(function()
      thread = grun.current()
      local _, err = pcall(root.switch, root)
      reason = grun.is_cancel(err)
      error(err, 0)
    end)
    g:switch()
    thread:cancel("why")
    assert.equal(Exit, g:switch("lost"))
    assert.equal("why", reason)
  end)

  it("cancelled with its thread runs to its end and gives the exit", function()
    local threads = #grun.threads()
    local cleaned = false
    local g = greenlet(function()
      local me = grun.current()
      grun.spawn(function()
        me:cancel("why")
      end)
      local ok, err = pcall(grun.sleep, 100)
      cleaned = not ok and grun.is_cancel(err)
      error(err, 0)
    end)
    assert.equal(Exit, g:switch())
    assert.equal("why", cleaned)
    assert.equal(threads, collect())
  end)

  it("cancelled before it ran gives the exit", function()
    local ran = false
    local g = greenlet(function()
      ran = true
    end)
    grun.spawn(function()
      for _, t in ipairs(grun.threads()) do
        if t.name == "greenlet" then
          t:cancel()
        end
      end
    end)
    assert.equal(Exit, g:switch())
    assert.is_false(ran)
    assert.is_true(g.dead)
  end)
end)

describe("a deadlock", function()
  it("counts suspended greenlets as little as the stack of a coroutine", function()
    local _, err, status = helper.run_script([[
      local root = grun.greenlet_current()
      local g = grun.greenlet(function()
        root:switch()
      end)
      g:switch()
      grun.queue():get()
    ]])
    assert.equal(2, status)
    assert.matches("^grun: deadlock: 1 thread waits", err)
    assert.matches("waiting on greenlet.switch %([^\n]*:3%)", err)
  end)
end)

describe("switching works inside", function()
  local root, g
  before_each(function()
    root = greenlet_current()
  end)

  -- Switches to the root with a value and returns what comes back.
  local function out(value)
    return root:switch(value)
  end

  local places = {
    ["pcall"] = function()
      return select(2, pcall(out, "x"))
    end,
    ["xpcall and its handler"] = function()
      return select(2, xpcall(error, function()
        return out("x")
      end))
    end,
    ["a metamethod"] = function()
      return setmetatable({}, { __index = function(_, key)
        return out(key)
      end }).x
    end,
    ["a comparison"] = function()
      local mt = { __lt = function()
        return out("x") == "y"
      end }
      return setmetatable({}, mt) < setmetatable({}, mt) and "y"
    end,
    ["a gsub callback"] = function()
      return (("x"):gsub(".", out))
    end,
    ["a sort comparator"] = function()
      local list = { 1, 2 }
      local got
      table.sort(list, function(a, b)
        got = got or out("x")
        return a < b
      end)
      return got
    end,
    ["an iterator"] = function()
      local done = false
      local got
      for value in function()
        if not done then
          done = true
          return out("x")
        end
      end do
        got = value
      end
      return got
    end,
    ["a coroutine"] = function()
      return coroutine.wrap(function()
        return out("x")
      end)()
    end,
    ["load's reader"] = function()
      local pieces = { "return ", false }
      return load(function()
        local piece = table.remove(pieces, 1)
        if piece == false then
          return "'" .. out("x") .. "'"
        end
        return piece
      end)()
    end,
  }

  for name, place in pairs(places) do
    it(name, function()
      g = greenlet(place)
      assert.equal("x", g:switch())
      assert.equal("y", g:switch("y"))
      assert.is_true(g.dead)
      -- And out of it by an error, again and again.
      for _ = 1, 50 do
        g = greenlet(place)
        g:switch()
        pcall(g.throw, g, "error")
        assert.is_true(g.dead)
      end
    end)
  end

  it("a coroutine that goes on in another greenlet's turn", function()
    local co = coroutine.wrap(function()
      local value = out("from the coroutine")
      coroutine.yield(value)
      return "end"
    end)
    g = greenlet(function()
      local first = co()
      out(first)
      return co()
    end)
    assert.equal("from the coroutine", g:switch())
    assert.equal(1, g:switch(1))
    assert.equal("end", g:switch())
  end)
end)

describe("misuse of greenlets", function()
  it("raises at the caller", function()
    local g = greenlet(function() end)
    helper.misuse(function() local _ = greenlet() end, "greenlet: function expected, got nil")
    helper.misuse(function() local _ = greenlet(5) end, "greenlet: function expected, got number")
    helper.misuse(function() local _ = g.switch() end, "switch: greenlet expected, got nil")
    helper.misuse(function() local _ = g.switch({}) end, "switch: greenlet expected, got table")
    helper.misuse(function() local _ = g.throw("x") end, "throw: greenlet expected, got string")
    helper.misuse(function() g.dead = true end, "field 'dead' of a greenlet cannot be set")
    helper.misuse(function() g.other = true end, "field 'other' of a greenlet cannot be set")
  end)

  it("such as a switch in a finalizer does nothing", function()
    local root, got = greenlet_current(), nil
    local g = greenlet(function()
      return "ran", root
    end)
    local trap = newproxy(true)
    getmetatable(trap).__gc = function()
      got = pack(g:switch())
    end
    trap = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same(pack(nil, "cannot wait in a finalizer", "misuse"), got)
    assert.equal("ran", (g:switch()))
  end)
end)

describe("abandoned greenlets", function()
  it("are told to end, so that they can clean up", function()
    local threads, log = #grun.threads(), {}
    local root = greenlet_current()
    local function abandon(i)
      local g = greenlet(function()
        local _, err = pcall(root.switch, root)
        log[i] = grun.is_cancel(err)
        error(err, 0)
      end)
      g:switch()
    end
    for i = 1, 3 do
      abandon(i)
    end
    assert.equal(threads, collect())
    assert.same({ "collected", "collected", "collected" }, log)
  end)

  it("disturb nobody who waits in a switch meanwhile", function()
    local root = greenlet_current()
    local function abandon()
      greenlet(function()
        root:switch()
      end):switch()
    end
    abandon()
    local g = greenlet(function()
      collect()
      return "right"
    end)
    assert.equal("right", g:switch())
  end)

  it("are kept while they are active or somebody waits for them", function()
    local root = greenlet_current()
    assert.equal("done", greenlet(function()
      collect()
      greenlet(function()
        collect()
        grun.sleep(0.001)
        collect()
      end):switch()
      return "done"
    end):switch())
    -- As the parent of one that is held.
    local held = greenlet(function()
      local inner
      inner = greenlet(function()
        root:switch(greenlet_current())
        return "inner's"
      end)
      return "outer got " .. inner:switch()
    end):switch()
    collect()
    assert.equal("outer got inner's", held:switch())
  end)

  it("are left alone when they do not wait for a switch", function()
    local done = false
    grun.timeout(0.001, function()
      greenlet(function()
        grun.sleep(0.01)
        done = true
      end):switch()
    end)
    collect()
    grun.sleep(0.02)
    assert.is_true(done)
  end)

  it("are collected before they start, too, even in a circle", function()
    local weak = setmetatable({}, { __mode = "k" })
    local function abandon()
      local a, b
      a = greenlet(function()
        b:switch()
      end)
      b = greenlet(function()
        a:switch()
      end)
      weak[a], weak[b] = true, true
    end
    for _ = 1, 10 do
      abandon()
    end
    collect()
    assert.is_nil(next(weak))
  end)

  it("cost nothing: 100,000 of them leave the heap and the threads as before", function()
    local root, threads = greenlet_current(), #grun.threads()
    local function abandon(n)
      for _ = 1, n do
        greenlet(function()
          root:switch()
        end):switch()
      end
      return collect()
    end
    abandon(1000)
    collectgarbage()
    local before, most = collectgarbage("count"), 0
    for _ = 1, 100 do
      for _ = 1, 1000 do
        greenlet(function()
          root:switch()
        end):switch()
      end
      most = math.max(most, #grun.threads())
    end
    assert.equal(threads, abandon(1))
    collectgarbage()
    local grown = collectgarbage("count") - before
    assert.is_true(grown < 1000, grown .. " KB more")
    -- Far from all of them were there at once.
    assert.is_true(most < 20000, most .. " at once")
  end)

  it("100,000 that ended leave nothing either", function()
    local function run(n)
      for i = 1, n do
        assert(greenlet(function(x)
          return x
        end):switch(i) == i)
      end
      collect()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = run(10000)
    assert.is_true(run(100000) - before < 2000) -- KiB; a trace more or less is no leak
  end)
end)
