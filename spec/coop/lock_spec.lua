-- SPDX-License-Identifier: MIT
-- POSIX locks held while the holder waits.

local coop = require("spec.coop.helper")
local grun = require("grun")
local helper = require("spec.helper")

local c = coop.libc()

describe("a mutex", function()
  for _, recursive in ipairs({ false, true }) do
    local kind = recursive and "recursive" or "normal"

    it("keeps other threads out while its holder waits: " .. kind, function()
      local m = c.mutex(recursive)
      local seconds
      local ticks = coop.ticks(function()
        seconds = coop.parallel(4, function()
          assert(c.locked(m, 0.03))
        end)
      end)
      assert.is_true(seconds >= 0.12, seconds)
      assert.is_true(ticks >= 10, ticks)
    end)

    it("is taken for trylock meanwhile: " .. kind, function()
      local m = c.mutex(recursive)
      helper.spawn(c.locked, m, 0.02)
      grun.sleep(0.005)
      assert.is_false(c.locked(m, 0, "try"))
      grun.sleep(0.03)
      assert.is_true(c.locked(m, 0, "try"))
    end)
  end

  it("cannot be refused to a cancelled thread", function()
    local m = c.mutex()
    local holder = helper.spawn(c.locked, m, 0.2)
    grun.sleep(0.005)
    local done
    local t = helper.spawn(function()
      done = { pcall(c.locked, m, 0) }
    end)
    grun.sleep(0.005)
    t:cancel("stop")
    t:join()
    assert.is_true(holder:status() ~= "waiting")
    assert.equal("stop", grun.is_cancel(done[2]))
  end)

  it("may be one of many, held twice and given back in any order", function()
    local seconds = coop.parallel(5, function(i)
      c.many_locked(100 + i, 0.02)
    end)
    assert.is_true(seconds < 1)
  end)

  it("of an OS thread that waits for a lock of a green one is no deadlock", function()
    local first, second = c.mutex(), c.mutex()
    local holder = helper.spawn(c.crossed, first, second)
    grun.sleep(0.03)
    -- The OS thread has the second now and waits for the first.
    assert.is_true(c.locked(second, 0))
    holder:get()
  end)

  it("of an OS thread is waited for plainly", function()
    local m = c.mutex()
    local a, b = c.pair()
    local thread = c.thread(a, m)
    c.sleep(0.01, "usleep")
    c.send(b, "a")
    assert.is_true(c.locked(m, 0))
    c.join(thread)
    assert.equal("b", c.recv(b, 1))
    c.close(a)
    c.close(b)
  end)
end)

describe("a read-write lock", function()
  it("lets readers in together and writers alone", function()
    local lock = c.rwlock()
    local seconds = coop.parallel(5, function()
      c.rwlocked(lock, "r", 0.03)
    end)
    assert.is_true(seconds < 0.1, seconds)
    seconds = coop.parallel(4, function(i)
      c.rwlocked(lock, i % 2 == 0 and "r" or "w", 0.02)
    end)
    assert.is_true(seconds >= 0.06, seconds)
  end)
end)

describe("pthread_once", function()
  it("runs an initialiser that waits once, and everybody waits for it", function()
    local seconds, results = coop.parallel(5, function()
      return c.once()
    end)
    assert.is_true(seconds >= 0.05)
    for i = 1, 5 do
      assert.same({ 1 }, results[i])
    end
  end)
end)
