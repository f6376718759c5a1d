-- SPDX-License-Identifier: MIT
-- Programs that C modules run with system and popen, and signals meanwhile.

local coop = require("spec.coop.helper")
local grun = require("grun")
local helper = require("spec.helper")

local c = coop.libc()

describe("system", function()
  it("parks, and gives the status", function()
    local ticks, status = coop.ticks(c.system, "sleep 0.05; exit 7")
    assert.equal(7 * 256, status)
    assert.is_true(ticks >= 5, ticks)
    assert.equal(9, c.system("kill -KILL $$"))
    assert.is_true(c.system() ~= 0) -- there is a shell
  end)

  it("runs in many threads at once", function()
    local seconds, results = coop.parallel(10, function(i)
      return c.system("sleep 0.2; exit " .. i)
    end)
    for i = 1, 10 do
      assert.same({ i * 256 }, results[i])
    end
    assert.is_true(seconds < 1.5, seconds)
  end)

  it("ends when its thread is cancelled, and the shell with it", function()
    local name = helper.tmpname()
    local t = coop.cancelled(function()
      c.system(("sleep 0.2; echo late >%s"):format(name))
    end)
    assert.equal("cancelled", t:status())
    grun.sleep(0.4)
    assert.equal("", helper.contents(name))
  end)

  it("is counted, and really blocks where nothing can park", function()
    local count = coop.counted("waitpid", function()
      c.system("exit 0")
    end)
    assert.same({ 1, 0 }, { count.parked, count.blocked })
    count = coop.counted("waitpid", function()
      table.sort({ 2, 1 }, function(a, b)
        grun.coop.original(c.system, "exit 0")
        return a < b
      end)
    end)
    assert.equal(0, count.parked)
  end)
end)

describe("popen", function()
  it("reads and writes, and pclose parks and gives the status", function()
    assert.same({ "hello\n", 3 * 256 }, { c.popen("echo hello; exit 3", "r") })
    local ticks, text, status = coop.ticks(c.popen, "echo x; exec >&-; sleep 0.05; exit 4", "r")
    assert.same({ "x\n", 4 * 256 }, { text, status })
    assert.is_true(ticks >= 5, ticks)
    local name = helper.tmpname()
    assert.same({ "", 0 }, { c.popen("sleep 0.02; cat >" .. name, "we", "some text") })
    assert.equal("some text", helper.contents(name))
  end)

  it("runs in many threads at once", function()
    local seconds, results = coop.parallel(10, function(i)
      return c.popen(("echo %d; exec >&-; sleep 0.2; exit %d"):format(i, i), "r")
    end)
    for i = 1, 10 do
      assert.same({ i .. "\n", i * 256 }, results[i])
    end
    assert.is_true(seconds < 1.5, seconds)
  end)

  it("fails as libc does", function()
    local _, _, number = c.popen("true", "x")
    assert.equal(22, number) -- EINVAL
    assert.equal(0, c.pclose("/dev/null")) -- libc closes any FILE
  end)

  it("does not wait in a cancelled thread", function()
    local message
    coop.cancelled(function()
      message = select(2, c.popen("echo; exec >&-; sleep 0.3", "r"))
    end)
    assert.is_nil(message) -- the cancel is raised when the module returns
    local count = coop.counted("waitpid", function()
      coop.cancelled(function()
        c.popen("echo; exec >&-; sleep 0.3", "r")
      end)
    end)
    assert.equal(1, count.refused)
    grun.sleep(0.5) -- until they have ended
  end)
end)

describe("a signal", function()
  it("runs its handler at once and does not interrupt a call that waits", function()
    local got
    local handler = grun.signal("USR1", function()
      got = grun.now()
    end)
    local a, b = c.pair()
    finally(function()
      handler:stop()
      c.close(a)
      c.close(b)
    end)
    local start = grun.now()
    helper.spawn(function()
      grun.sleep(0.02)
      c.system("kill -USR1 $PPID")
    end)
    local _, polled = coop.parallel(2, function(i)
      if i == 1 then
        return c.sleep(0.15, "nanosleep")
      end
      return c.poll({ a, c.POLLIN }, 150)
    end)
    assert.same({ 0, 0 }, { polled[1][1], polled[2][1] })
    assert.is_true(got and got - start < 0.14)
    assert.is_true(grun.now() - start >= 0.149)
  end)
end)
