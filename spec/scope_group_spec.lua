-- SPDX-License-Identifier: MIT
-- grun.scope: groups that end with the function that opened them (lualib/grun/group.lua).

local grun = require("grun")
local helper = require("spec.helper")

local function pack(...)
  return { n = select("#", ...), ... }
end

local function forever()
  grun.sleep(1000)
end

local TIMEOUT = pack(nil, "timeout", "timeout")

-- Runs fn in a thread of its own and returns that thread once it has ended, and the reports.
local function ended(fn, ...)
  local t
  local args = pack(...)
  local reports = helper.reports(function()
    t = grun.spawn(fn, unpack(args, 1, args.n))
    t:join()
  end)
  return t, reports
end

describe("a scope", function()
  it("returns its function's results when all members have ended", function()
    local log = {}
    assert.same(pack(1, nil, 3, nil), pack(grun.scope(function(g)
      g:spawn(function()
        grun.sleep(0.002)
        log[#log + 1] = "slow"
      end)
      g:spawn(function()
        log[#log + 1] = "quick"
        g:spawn(function()
          grun.sleep(0.004)
          log[#log + 1] = "member's member"
        end)
      end)
      log[#log + 1] = "body"
      return 1, nil, 3, nil
    end)))
    assert.same({ "body", "quick", "slow", "member's member" }, log)
  end)

  it("may have no members and no results", function()
    assert.same(pack(), pack(grun.scope(function() end)))
  end)

  it("gives its function a group", function()
    grun.scope(function(g)
      local a = g:spawn(forever)
      assert.equal(1, g:count())
      assert.same({ a }, g:threads())
      assert.same(TIMEOUT, pack(g:join(0)))
      assert.is_true(g:kill(5))
      assert.equal("member", g:spawn(function()
        return "member"
      end):get())
    end)
  end)

  it("takes no members any more once it has ended", function()
    local group
    grun.scope(function(g)
      group = g
    end)
    helper.misuse(function() group:spawn(print) end, "spawn: the scope has ended")
  end)

  it("refuses what is not a function", function()
    helper.misuse(function() grun.scope() end, "scope: function expected, got nil")
    helper.misuse(function() grun.scope({}) end, "scope: function expected, got table")
  end)

  it("may be opened again and again, nested, and in members", function()
    local n = 0
    local function tree(depth)
      return grun.scope(function(g)
        for _ = 1, 3 do
          n = n + 1
          if depth > 1 then
            g:spawn(tree, depth - 1)
          end
        end
        return depth
      end)
    end
    assert.equal(4, tree(4))
    assert.equal(3 + 9 + 27 + 81, n)
    assert.is_nil(grun.deadline())
  end)
end)

describe("the first error of a scope", function()
  it("if a member's, cancels the others and the function's wait, and is raised", function()
    local err, log = {}, {}
    local t, reports = ended(function()
      grun.scope(function(g)
        for i = 1, 2 do
          g:spawn(function()
            local _, cancel = pcall(forever)
            log[i] = grun.is_cancel(cancel)
            error(cancel, 0)
          end)
        end
        g:spawn(function()
          grun.yield()
          error(err)
        end)
        local _, cancel = pcall(forever)
        log[3] = grun.is_cancel(cancel)
        log[4] = tostring(cancel)
        error(cancel, 0)
      end)
    end)
    assert.equal("failed", t:status())
    assert.equal(err, t.error)
    assert.same({ "scope", "scope", "scope", "cancelled: scope" }, log)
    assert.equal(1, #reports)
    assert.equal(t, reports[1].thread)
  end)

  it("is raised with the traceback of where it was thrown, and reported once", function()
    local function culprit()
      error("boom")
    end
    local t, reports = ended(function()
      grun.scope(function(g)
        g:spawn(function()
          culprit()
          return "not a tail call"
        end)
      end)
    end)
    assert.matches("boom$", t.error)
    assert.equal(1, #reports)
    assert.equal(t.error, reports[1].err)
    assert.matches("in function 'culprit'", reports[1].traceback)
    -- One that is caught is not reported at all.
    assert.same({}, helper.reports(function()
      assert.is_false(pcall(grun.scope, function(g)
        g:spawn(error, "caught")
      end))
    end))
  end)

  it("prints one report on stderr", function()
    local out, err, status = helper.run_script([[
      local function culprit()
        error("boom")
      end
      grun.scope(function(g)
        g:spawn(grun.sleep, 10)
        g:spawn(function()
          grun.yield()
          culprit()
        end)
        grun.sleep(10)
      end)
    ]])
    assert.equal("", out)
    assert.equal(1, status)
    assert.equal(1, select(2, err:gsub("boom", "")))
    assert.matches("^grun: [^\n]*:2: boom\nstack traceback:\n", err)
    assert.matches("culprit", err)
  end)

  it("if the function's, cancels the members", function()
    local log = {}
    local t, reports = ended(function()
      grun.scope(function(g)
        g:spawn(function()
          local _, err = pcall(forever)
          log[1] = grun.is_cancel(err)
          grun.shield(grun.sleep, 0.002)
          log[2] = "cleaned up"
          error(err, 0)
        end)
        grun.yield()
        error("body", 0)
      end)
    end)
    assert.equal("body", t.error)
    assert.same({ "scope", "cleaned up" }, log)
    assert.equal(1, #reports)
  end)

  it("is the first in time; later ones are reported", function()
    local _, reports = ended(function()
      assert.same({ false, "first" }, { pcall(grun.scope, function(g)
        g:spawn(function()
          pcall(forever)
          error("second", 0)
        end)
        g:spawn(function()
          grun.yield()
          error("first", 0)
        end)
        pcall(forever)
        error("third, of the body", 0)
      end) })
    end)
    assert.equal(1, #reports)
    assert.equal("second", reports[1].err)
    _, reports = ended(function()
      assert.same({ false, "body" }, { pcall(grun.scope, function(g)
        g:spawn(function()
          pcall(forever)
          error("member", 0)
        end)
        grun.yield()
        error("body", 0)
      end) })
    end)
    assert.equal(1, #reports)
    assert.equal("member", reports[1].err)
  end)

  it("is raised even if the function swallows what its waits raise", function()
    assert.same({ false, "boom" }, { pcall(grun.scope, function(g)
      g:spawn(error, "boom", 0)
      for _ = 1, 3 do
        assert(not pcall(forever))
      end
      return "result"
    end) })
    assert.is_nil(grun.deadline())
  end)

  it("may come when only members are left", function()
    assert.same({ false, "boom" }, { pcall(grun.scope, function(g)
      g:spawn(forever)
      g:spawn(function()
        grun.sleep(0.001)
        error("boom", 0)
      end)
    end) })
  end)

  it("may be nil, false or a table", function()
    for _, err in ipairs({ false, {}, 5 }) do
      assert.same({ false, err }, { pcall(grun.scope, function(g)
        g:spawn(error, err, 0)
      end) })
    end
    assert.same(pack(false, nil), pack(pcall(grun.scope, function(g)
      g:spawn(error)
    end)))
  end)

  it("cancels members that are spawned afterwards", function()
    local late, ran = nil, false
    pcall(grun.scope, function(g)
      g:spawn(function()
        pcall(forever)
        late = g:spawn(function()
          ran = true
        end)
      end)
      grun.yield()
      error("boom")
    end)
    assert.equal("cancelled", late:status())
    assert.is_false(ran)
  end)

  it("does not end a scope: waits work again afterwards", function()
    pcall(grun.scope, function(g)
      g:spawn(error, "boom", 0)
      forever()
    end)
    assert.is_nil(grun.deadline())
    grun.sleep(0.001)
  end)

  it("is not a member that was cancelled", function()
    assert.equal("fine", grun.scope(function(g)
      local t = g:spawn(forever)
      grun.yield()
      t:cancel()
      t:join()
      return "fine"
    end))
    -- A wait for it raises, as ever.
    local _, err = pcall(grun.scope, function(g)
      local t = g:spawn(forever)
      t:cancel("why")
      t:get()
    end)
    assert.equal("why", grun.is_cancel(err))
  end)

  it("of a nested scope goes outwards, if it is not caught", function()
    local log = {}
    assert.same({ false, "inner" }, { pcall(grun.scope, function(outer)
      outer:spawn(function()
        local reason = grun.is_cancel(select(2, pcall(forever)))
        log[#log + 1] = reason
      end)
      outer:spawn(function()
        grun.scope(function(inner)
          inner:spawn(function()
            local reason = grun.is_cancel(select(2, pcall(forever)))
            log[#log + 1] = reason
          end)
          grun.yield()
          inner:spawn(error, "inner", 0)
        end)
      end)
      forever()
    end) })
    assert.same({ "scope", "scope" }, log)
    assert.same({ "outer goes on", false, "inner" }, { grun.scope(function(outer)
      local a, b = pcall(grun.scope, function(inner)
        inner:spawn(error, "inner", 0)
        forever()
      end)
      outer:spawn(grun.yield):get()
      return "outer goes on", a, b
    end) })
  end)

  it("of the outer scope ends the inner one, whose members have ended then", function()
    local log = {}
    assert.same({ false, "outer" }, { pcall(grun.scope, function(outer)
      outer:spawn(function()
        grun.sleep(0.002)
        error("outer", 0)
      end)
      grun.scope(function(inner)
        inner:spawn(function()
          local reason = grun.is_cancel(select(2, pcall(forever)))
          log[#log + 1] = reason
        end)
        local _, err = pcall(forever)
        log[#log + 1] = "inner body"
        error(err, 0)
      end)
      log[#log + 1] = "never"
    end) })
    table.sort(log)
    assert.same({ "inner body", "scope" }, log)
  end)
end)

describe("a cancel of the thread", function()
  it("cancels the whole scope and waits for its members", function()
    local log = {}
    local t = grun.spawn(function()
      grun.scope(function(g)
        for i = 1, 2 do
          g:spawn(function()
            pcall(forever)
            grun.shield(grun.sleep, 0.002 * i)
            log[i] = "cleaned up"
          end)
        end
        forever()
      end)
    end)
    grun.yield()
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
    assert.same({ "cleaned up", "cleaned up" }, log)
  end)

  it("does so when its function has returned already", function()
    local member
    local t = grun.spawn(function()
      grun.scope(function(g)
        member = g:spawn(forever)
      end)
    end)
    grun.yield()
    grun.yield()
    assert.is_true(t:kill(5))
    assert.equal("cancelled", t:status())
    assert.equal("cancelled", member:status())
  end)

  it("goes down through scopes in members", function()
    local ends = 0
    local function nest(depth)
      local ok, err = pcall(grun.scope, function(g)
        if depth > 0 then
          g:spawn(nest, depth - 1)
        end
        forever()
      end)
      ends = ends + 1
      assert(not ok)
      error(err, 0)
    end
    local t = grun.spawn(nest, 10)
    for _ = 1, 15 do
      grun.yield()
    end
    assert.is_true(t:kill(5))
    assert.equal(11, ends)
  end)

  it("waits for a member that refuses to end", function()
    local e, over = grun.event(), false
    local t = grun.spawn(function()
      pcall(grun.scope, function(g)
        g:spawn(grun.shield, e.wait, e)
        forever()
      end)
      over = true
    end)
    grun.yield()
    grun.yield()
    assert.same(TIMEOUT, pack(t:kill(0.005)))
    assert.is_false(over)
    e:set()
    t:join()
    assert.is_true(over)
  end)

  it("is the outcome, whatever members then raise; that is reported", function()
    local t, reports = ended(function()
      local me = grun.current()
      grun.scope(function(g)
        g:spawn(function()
          pcall(forever)
          error("in the clean-up", 0)
        end)
        grun.yield()
        me:cancel("why")
        forever()
      end)
    end)
    assert.equal("cancelled", t:status())
    assert.equal("why", t.error.reason)
    assert.equal(1, #reports)
    assert.equal("in the clean-up", reports[1].err)
  end)
end)

describe("a deadline", function()
  it("around a scope ends it with all its members", function()
    local log = {}
    local reports = helper.reports(function()
      assert.same(TIMEOUT, pack(grun.timeout(0.005, grun.scope, function(g)
        for i = 1, 3 do
          g:spawn(function()
            local _, err = pcall(forever)
            log[i] = grun.is_cancel(err)
            error(err, 0)
          end)
        end
        forever()
      end)))
    end)
    assert.same({ "timeout", "timeout", "timeout" }, log)
    assert.same({}, reports)
  end)

  it("around a scope whose function has returned does so, too", function()
    local member
    assert.same(TIMEOUT, pack(grun.timeout(0.005, grun.scope, function(g)
      member = g:spawn(forever)
      return "result"
    end)))
    assert.equal("cancelled", member:status())
  end)

  it("inside a scope ends only what is inside it", function()
    assert.same({ "result", nil, "timeout" }, { grun.scope(function(g)
      g:spawn(grun.sleep, 0.01)
      local _, message = grun.timeout(0.001, forever)
      return "result", nil, message
    end) })
  end)

  it("around members that refuse to end waits for them", function()
    local before = grun.now()
    assert.same(TIMEOUT, pack(grun.timeout(0.002, grun.scope, function(g)
      g:spawn(grun.shield, grun.sleep, 0.02)
      forever()
    end)))
    assert.is_true(grun.now() - before >= 0.02)
  end)

  it("of a member's own is that member's affair", function()
    assert.equal("timeout", grun.scope(function(g)
      local t = g:spawn(function()
        return select(2, grun.timeout(0.001, forever))
      end)
      return t:get()
    end))
  end)

  it("between two scopes belongs to the inner one", function()
    local log = {}
    assert.equal("outer", grun.scope(function(outer)
      local t = outer:spawn(grun.sleep, 0.02)
      log[1] = pack(grun.timeout(0.002, grun.scope, function(inner)
        inner:spawn(forever)
        outer:spawn(grun.sleep, 0.01)
      end))
      log[2] = t:get()
      return "outer"
    end))
    assert.same({ TIMEOUT }, log)
  end)
end)

describe("scopes", function()
  it("leave the heap as it was after 20,000 of them, half of which fail", function()
    local function run(n)
      for i = 1, n do
        pcall(grun.scope, function(g)
          g:spawn(i % 2 == 0 and error or type, "x", 0)
          g:spawn(grun.yield)
        end)
      end
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    local before = run(1000)
    local grown = run(20000) - before
    assert.is_true(grown < 100, grown .. " KB more")
  end)
end)
