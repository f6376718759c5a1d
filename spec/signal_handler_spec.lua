-- SPDX-License-Identifier: MIT
-- grun.signal and grun.signal_wait. What signals do by themselves is in signal_spec.lua.

local grun = require("grun")

local child = require("spec.cli.child")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local unistd = require("posix.unistd")
local posix = require("posix.signal")

local function send(name)
  posix.kill(unistd.getpid(), posix["SIG" .. name])
end

local function start(source)
  local c = child.start_script("io.stdout:setvbuf('no') " .. source)
  finally(function() c:destroy() end)
  return c
end

-- A handler that counts, and is taken away after the test.
local function counter(name)
  local count = { n = 0 }
  count.handler = grun.signal(name, function(arrived)
    assert.equal(name, arrived)
    count.n = count.n + 1
  end)
  return count
end

local function eventually(condition)
  local limit = grun.now() + 10
  while not condition() and grun.now() < limit do
    grun.sleep(0.002)
  end
  return condition()
end

describe("signal", function()
  it("runs every handler in a thread of its own for each arrival", function()
    local a, b = counter("USR1"), counter("SIGUSR1")
    for i = 1, 5 do
      send("USR1")
      assert.is_true(eventually(function() return a.n == i and b.n == i end))
    end
    a.handler:stop()
    a.handler:stop()
    send("USR1")
    assert.is_true(eventually(function() return b.n == 6 end))
    assert.equal(5, a.n)
    assert.equal("signal handler for SIGUSR1", tostring(b.handler))
    b.handler:stop()
    assert.equal("signal handler for SIGUSR1 (stopped)", tostring(b.handler))
  end)

  it("lets handlers wait, and reports their errors", function()
    local done
    local reports = helper.reports(function()
      local a = grun.signal("USR2", function() grun.sleep(0.01) done = true end)
      local b = grun.signal("USR2", function() error("oops") end)
      send("USR2")
      assert.is_true(eventually(function() return done end))
      a:stop()
      b:stop()
    end)
    assert.equal(1, #reports)
    assert.matches("oops", reports[1].err)
  end)

  it("counts a storm as few arrivals and loses not the last one", function()
    local a = counter("USR1")
    for _ = 1, 1000 do
      send("USR1")
    end
    assert.is_true(eventually(function() return a.n > 0 end))
    local seen = a.n
    assert.is_true(seen <= 1000)
    send("USR1")
    assert.is_true(eventually(function() return a.n > seen end))
    a.handler:stop()
  end)

  it("restores the action that the signal had", function()
    local c = start([[
      local h = grun.signal("HUP", function() print("handled") end)
      print("ready")
      grun.sleep(0.3)
      h:stop()
      print("stopped")
      grun.sleep(60)]])
    c:expect("ready")
    c:signal("HUP")
    c:expect("handled")
    c:expect("stopped")
    c:signal("HUP")
    assert.equal(128 + 1, c:wait())
  end)

  it("replaces the orderly stop while it is set, however often the signal comes", function()
    for _, name in ipairs({ "INT", "TERM" }) do
      local c = start(([[
        local n = 0
        local h
        h = grun.signal("%s", function()
          n = n + 1
          print("got " .. n)
          if n == 3 then h:stop() print("default again") end
        end)
        print("ready")
        grun.sleep(60)]]):format(name))
      c:expect("ready")
      for i = 1, 3 do
        c:signal(name)
        c:expect("got " .. i)
      end
      c:expect("default again")
      c:signal(name)
      assert.equal(name == "INT" and 130 or 0, c:wait())
    end
  end)

  it("does not keep the process alive", function()
    local out, err, status = helper.run_script("grun.signal('HUP', print) print('end')")
    assert.same({ "end\n", "", 0 }, { out, err, status })
  end)

  it("tells of children without taking them from others", function()
    local a = counter("CHLD")
    local pid = assert(unistd.fork())
    if pid == 0 then
      unistd._exit(7)
    end
    assert.is_true(eventually(function() return a.n > 0 end))
    assert.same({ pid, "exited", 7 }, { require("posix.sys.wait").wait(pid) })
    local before = a.n
    assert.equal(0, grun.process.spawn({ "true" }):wait())
    assert.is_true(eventually(function() return a.n > before end))
    a.handler:stop()
  end)

  it("does not reach children, which have every signal at its default", function()
    local a = counter("USR1")
    local p = assert(grun.process.spawn({ "sh", "-c", "kill -USR1 $$; sleep 5" }))
    assert.same({ nil, "signal", "SIGUSR1" }, { p:wait() })
    a.handler:stop()
    assert.equal(0, a.n)
  end)

  it("raises for what cannot be handled, at the caller's line", function()
    for _, name in ipairs({ "KILL", "STOP", "SEGV", "BUS", "ILL", "FPE", "ABRT", "PIPE" }) do
      helper.misuse(function() grun.signal(name, print) end,
        "signal: " .. name .. " cannot be handled")
    end
    helper.misuse(function() grun.signal("nonesuch", print) end, "signal: unknown signal 'nonesuch'")
    helper.misuse(function() grun.signal(1, print) end,
      "signal: name of a signal expected, got number")
    helper.misuse(function() grun.signal("HUP") end, "signal: function expected, got nil")
    helper.misuse(function() grun.signal("RTMIN+99", print) end,
      "signal: unknown signal 'RTMIN+99'")
  end)

  it("knows real-time signals", function()
    local count = 0
    local handler = grun.signal("RTMIN+3", function() count = count + 1 end)
    assert(grun.process.run({ "kill", "-s", "RTMIN+3", unistd.getpid() }).code == 0)
    assert.is_true(eventually(function() return count == 1 end))
    handler:stop()
    assert.equal("SIGRTMIN+3", select(3, assert(grun.process.spawn({ "bash", "-c",
      "kill -s RTMIN+3 $$" })):wait()))
  end)
end)

describe("signal_wait", function()
  it("returns the name of the signal that came", function()
    local t = net.parked(grun.signal_wait, "SIGUSR1", "USR2")
    local other = net.parked(grun.signal_wait, "USR2", 10)
    send("USR2")
    assert.same({ "USR2", "USR2" }, { t:get(), other:get() })
  end)

  it("remembers one arrival between two waits", function()
    assert.same({ nil, "timeout", "timeout" }, { grun.signal_wait("USR1", 0.01) })
    send("USR1")
    send("USR1")
    grun.sleep(0.01)
    assert.equal("USR1", grun.signal_wait("USR1", 0))
    assert.same({ nil, "timeout", "timeout" }, { grun.signal_wait("USR1", 0) })
  end)

  it("ends with a timeout, a cancel or a deadline", function()
    assert.same({ nil, "timeout", "timeout" }, { grun.signal_wait("USR1", "USR2", 0.01) })
    local t = net.parked(grun.signal_wait, "USR1")
    t:cancel()
    t:join()
    assert.equal("cancelled", t:status())
    assert.is_nil((grun.timeout(0.01, grun.signal_wait, "USR1")))
  end)

  it("is no deadlock, and takes ^C only while it waits", function()
    local c = start([[
      print("ready")
      print(grun.signal_wait("INT"))
      print("between")
      grun.sleep(60)]])
    c:expect("ready")
    grun.sleep(0.05)
    c:signal("INT")
    c:expect("INT\nbetween")
    c:signal("INT")
    assert.equal(130, c:wait())
  end)

  it("raises on wrong arguments at the caller's line", function()
    helper.misuse(function() grun.signal_wait() end,
      "signal_wait: name of a signal expected, got nil")
    helper.misuse(function() grun.signal_wait(1) end,
      "signal_wait: name of a signal expected, got number")
    helper.misuse(function() grun.signal_wait("USR1", -1) end,
      "signal_wait: timeout must be a number of seconds, 0 or more, got -1")
    helper.misuse(function() grun.signal_wait("USR1", "x") end, "signal_wait: unknown signal 'x'")
    helper.misuse(function() grun.signal_wait("KILL") end, "signal_wait: KILL cannot be handled")
  end)
end)
