-- SPDX-License-Identifier: MIT
-- Uncaught errors: what is reported, to whom, and how the process ends.

local helper = require("spec.helper")
local grun = require("grun")

local misuse, spawn = helper.misuse, helper.spawn

local function nothing() end

local function forever()
  grun.sleep(100)
end

-- Runs a script; returns its stdout, its stderr with the script's name as "script", and its status.
local function run(source)
  local name = helper.script(source)
  local out, err, status = helper.run_child({ name })
  err = err:gsub(name:gsub("%p", "%%%0"), "script"):gsub("0x%x+", "0x")
  return out, err, status
end

describe("the report of an uncaught error", function()
  it("has the thread, the error, its traceback and where the thread was spawned", function()
    local out, err, status = run([[
local function culprit()
  error("boom")
end
local function worker()
  grun.yield()
  culprit()
end
grun.spawn(worker).name = "worker"
grun.spawn(worker)
grun.sleep(0.01)
print("went on")]])
    local report = [[
grun: thread #%s failed: script:2: boom
stack traceback:
	[C]: in function 'error'
	script:2: in function 'culprit'
	script:6: in function <script:4>
spawned at script:%d
]]
    assert.equal(report:format('2 "worker"', 8) .. report:format("3", 9), err)
    assert.equal("went on\n", out)
    assert.equal(0, status)
  end)

  it("of a script's own thread is like that of lua", function()
    local _, err, status = run("grun.yield()\nlocal x = nil + 1")
    assert.equal([[
grun: script:2: attempt to perform arithmetic on a nil value
stack traceback:
	script:2: in main chunk
]], err)
    assert.equal(1, status)
  end)

  it("describes error objects of any type", function()
    for source, text in pairs({
      ['"text"'] = "text",
      ["42"] = "42",
      ["false"] = "(error object is a boolean value)",
      ["nil"] = "(error object is a nil value)",
      ["{}"] = "(error object is a table value)",
      ["print"] = "(error object is a function value)",
      ["io.stdout"] = "file (0x)",
      ["setmetatable({}, { __tostring = function() return 'an object' end })"] = "an object",
      ["setmetatable({}, { __tostring = function() return 5 end })"] =
        "(error object is a table value; its __tostring failed)",
      ["setmetatable({}, { __tostring = error })"] =
        "(error object is a table value; its __tostring failed)",
      ["setmetatable({}, { __tostring = function() grun.sleep(0) return 'after a wait' end })"] =
        "after a wait",
      ["setmetatable({}, { __metatable = 'hidden' })"] = "(error object is a table value)",
    }) do
      local _, err = run(("grun.spawn(function() error(%s, 0) end)"):format(source))
      assert.equal("grun: thread #2 failed: " .. text, err:match("^[^\n]*"), source)
      assert.is_truthy(err:find("\nstack traceback:\n", 1, true), source)
    end
  end)

  it("has the traceback of who resumed when a coroutine failed", function()
    local _, err = run([[
local function culprit()
  error("boom")
end
grun.spawn(function()
  coroutine.wrap(function() culprit() end)()
end)]])
    assert.is_truthy(err:find("^grun: thread #2 failed: script:5: script:2: boom\n"))
    assert.is_truthy(err:find("script:5: in function <script:4>", 1, true))
  end)

  it("comes once for each thread that failed, and not for errors somebody caught", function()
    local reports = helper.reports(function()
      local fails = grun.spawn(error, "boom")
      for _ = 1, 3 do
        pcall(fails.get, fails)
      end
      local follows = grun.spawn(fails.get, fails)
      follows:join()
      grun.spawn(pcall, error, "caught"):join()
      grun.spawn(xpcall, error, debug.traceback):join()
    end)
    assert.equal(2, #reports)
    assert.same({ "boom", "boom" }, { reports[1].err, reports[2].err })
  end)

  it("has the traceback of the first thread when the error came from there", function()
    local reports = helper.reports(function()
      local function culprit()
        error("boom")
      end
      local fails = grun.spawn(function() culprit() end)
      grun.spawn(function() fails:get() end):join()
      local list = { fails }
      grun.spawn(function() grun.joinall(list, { raise = true }) end):join()
    end)
    for i = 1, 3 do
      assert.is_truthy(reports[i].traceback:find("in function 'culprit'", 1, true))
    end
  end)

  it("comes when the Lua stack overflows, and other threads go on", function()
    local out, err, status = run([[
grun.spawn(function()
  local function deeper(n) return 1 + deeper(n + 1) end
  deeper(1)
end)
grun.yield()
print("went on")]])
    assert.is_truthy(err:find("^grun: thread #2 failed: script:2: stack overflow"))
    assert.same({ "went on\n", 0 }, { out, status })
  end)

  it("comes when a message handler fails", function()
    local reports = helper.reports(function()
      local t = grun.spawn(function()
        local ok, err = xpcall(error, function() error("in the handler") end)
        error({ ok, err })
      end)
      t:join()
    end)
    assert.is_false(reports[1].err[1])
  end)

  it("does not come for cancelled threads and timeouts", function()
    local _, err, status = run([[
grun.spawn(grun.sleep, 100):kill()
local t = grun.spawn(grun.sleep, 100)
grun.yield()
t:kill()
grun.spawn(function() grun.timeout(0.001, grun.sleep, 100) end):join()]])
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("comes for another thread's cancel that was raised by get", function()
    local reports = helper.reports(function()
      local t = grun.spawn(forever)
      t:kill()
      grun.spawn(t.get, t):join()
    end)
    assert.equal(1, #reports)
    assert.equal("killed", grun.is_cancel(reports[1].err))
  end)
end)

describe("on_error", function()
  it("gets the thread, the error object and the traceback", function()
    local err = {}
    local t
    local reports = helper.reports(function()
      t = grun.spawn(function()
        local function culprit()
          error(err)
        end
        culprit()
      end)
      t:join()
    end)
    assert.equal(1, #reports)
    assert.equal(t, reports[1].thread)
    assert.equal(err, reports[1].err)
    assert.equal(t.traceback, reports[1].traceback)
    assert.is_truthy(reports[1].traceback:find("in function 'culprit'", 1, true))
    assert.equal("failed", t:status())
  end)

  it("returns the function before and is undone by nil", function()
    local first = grun.on_error(nothing)
    assert.equal(nothing, grun.on_error(print))
    assert.equal(print, grun.on_error(first))
    local _, err = run([[
grun.on_error(function() print("mine") end)
grun.on_error(nil)
grun.spawn(error, "x")]])
    assert.is_truthy(err:find("^grun: thread #2 failed: x\n"))
  end)

  it("replaces the report on stderr", function()
    local out, err, status = run([[
grun.on_error(function(thread, err, traceback)
  print(thread.name, err, type(traceback))
end)
grun.spawn(error, "x").name = "worker"
grun.yield()
error("y", 0)]])
    assert.equal("worker\tx\tstring\n", out:match("^[^\n]*\n"))
    assert.is_truthy(out:find("\ty\tstring\n$"))
    assert.equal("", err)
    assert.equal(1, status)
  end)

  it("that fails does not hide the error", function()
    local out, err, status = run([[
grun.on_error(function() error("in on_error", 0) end)
grun.spawn(error, "x")
grun.sleep(0.01)
grun.on_error(function() error() end)
grun.spawn(error, "y")
grun.sleep(0.01)
print("went on")]])
    local x, y = err:find("thread #2 failed: x", 1, true), err:find("thread #3 failed: y", 1, true)
    local failed = err:find("grun: on_error failed as well: in on_error\n", 1, true)
    local nothing_said = "grun: on_error failed as well: (error object is a nil value)\n"
    local again = err:find(nothing_said, 1, true)
    assert.is_true(x < failed and failed < y and y < again)
    assert.same({ "went on\n", 0 }, { out, status })
  end)

  it("may wait, and holds up neither who joins the thread nor others", function()
    local log, gate = {}, grun.event()
    local previous = grun.on_error(function(t)
      log[#log + 1] = t:status()
      gate:wait()
      grun.sleep(0.001)
      log[#log + 1] = "handled"
    end)
    finally(function()
      grun.on_error(previous)
    end)
    local t = grun.spawn(error, "x")
    assert.is_true(t:join(5))
    assert.same({ "failed" }, log)
    assert.is_string(require("grun.inspect").tree())
    gate:set()
    grun.sleep(0.02)
    assert.same({ "failed", "handled" }, log)
  end)

  it("may wait although the thread was cancelled before it failed", function()
    local log = {}
    local previous = grun.on_error(function()
      grun.sleep(0.001)
      log[1] = "slept"
      log[2] = select(2, grun.timeout(0.001, forever))
      log[3] = select(2, grun.timeout(5, function()
        grun.shield(grun.sleep, 0.001)
        return "in time", "done"
      end))
      log[4] = grun.deadline() or "no deadline"
    end)
    finally(function()
      grun.on_error(previous)
    end)
    local t = grun.spawn(function()
      pcall(forever)
      error("while cleaning up")
    end)
    grun.yield()
    t:kill()
    grun.sleep(0.03)
    assert.same({ "slept", "timeout", "done", "no deadline" }, log)
  end)

  it("that waits for ever is found as a deadlock", function()
    local _, err, status = run([[
grun.on_error(function() grun.event():wait() end)
grun.spawn(error, "x")]])
    assert.is_truthy(err:find("deadlock: 1 thread", 1, true))
    assert.is_truthy(err:find("thread #2 failed", 1, true))
    assert.equal(2, status)
  end)

  it("is called for errors in links", function()
    local reports = helper.reports(function()
      local t = grun.spawn(nothing)
      t:link(function() error("in a link", 0) end)
      t:join()
      grun.idle()
    end)
    assert.equal("in a link", reports[1].err)
  end)

  it("raises at the caller's line without a function", function()
    misuse(function() grun.on_error("f") end, "on_error: function expected, got string")
    misuse(function() grun.on_error({}) end, "on_error: function expected, got table")
  end)
end)

describe("the process", function()
  it("ends with status 0 when only other threads failed", function()
    local _, _, status = run("grun.spawn(error, 'x')")
    assert.equal(0, status)
  end)

  it("ends with status 1 when the script failed, after its other threads", function()
    local out, err, status = run([[
grun.spawn(function()
  grun.sleep(0.02)
  print("ended in order")
end)
error("boom", 0)]])
    assert.equal("ended in order\n", out)
    assert.is_truthy(err:find("^grun: boom\n"))
    assert.equal(1, status)
  end)

  it("ends with status 1 without a word when the script raised nil", function()
    local _, err, status = run("error()")
    assert.same({ "", 1 }, { err, status })
  end)

  it("ends with status 1 when a script cannot be compiled", function()
    local _, err, status = run("x = = 1")
    assert.is_truthy(err:find("^grun: script:1: unexpected symbol near '='\n"))
    assert.equal(1, status)
  end)

  it("ends with status 1 when one of several scripts failed", function()
    local good = helper.script("grun.sleep(0.02) print('good')")
    local bad = helper.script("grun.yield() error('bad', 0)")
    for _, order in ipairs({ { good, bad }, { bad, good }, { bad, good, bad } }) do
      local out, err, status = helper.run_child(order)
      assert.equal("good\n", out)
      assert.equal(#order - 1, select(2, err:gsub("grun: bad\n", "")))
      assert.equal(1, status)
    end
  end)

  it("ends with status 0 when all of several scripts are fine", function()
    local good = helper.script("grun.yield() print('good')")
    local out, err, status = helper.run_child({ good, good })
    assert.same({ "good\ngood\n", "", 0 }, { out, err, status })
  end)

  it("ends with the status given to os.exit, even when the script failed before", function()
    local _, _, status = run("grun.spawn_later(0.01, os.exit, 7) error('x')")
    assert.equal(7, status)
  end)
end)

describe("an error in one thread", function()
  it("leaves threads that wait for others, and what they wait for, alone", function()
    local log = {}
    local reports = helper.reports(function()
      local event = grun.event()
      local waiting = spawn(function()
        event:wait()
        log[1] = "woken"
      end)
      for i = 1, 20 do
        grun.spawn(function()
          if i % 2 == 0 then
            grun.yield()
          end
          error(i)
        end)
      end
      grun.idle()
      assert.equal("waiting", waiting:status())
      event:set()
      waiting:join()
    end)
    assert.equal(20, #reports)
    assert.same({ "woken" }, log)
  end)
end)
