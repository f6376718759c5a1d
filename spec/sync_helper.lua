-- SPDX-License-Identifier: MIT
-- What the specs about synchronisation share: threads that wait, and threads that leave their wait
-- in the very moment in which what they wait for happens.

local assert = require("busted").assert
local grun = require("grun")
local helper = require("spec.helper")

local M = {}

--- Runs fn(...) in a thread, killed after the test, and returns it once it waits.
function M.waiting(fn, ...)
  local t = helper.spawn(fn, ...)
  while t:status() == "new" or t:status() == "ready" do
    grun.yield()
  end
  assert.equal("waiting", t:status())
  return t
end

--- Lets all that is ready run until everybody waits.
function M.settle()
  grun.idle()
end

--- What a thread ended with: its results, or nil, "cancelled".
function M.outcome(t)
  t:join()
  if t:status() == "cancelled" then
    return nil, "cancelled"
  end
  return t:get()
end

--- Fills a list in the order in which its threads come past: log("a"); log.text() is "a b …".
function M.log()
  local log, words = {}, {}
  function log.text()
    return table.concat(words, " ")
  end
  return setmetatable(log, {
    __call = function(_, word)
      words[#words + 1] = tostring(word)
    end,
  })
end

--- Asserts that the JIT compiler does not give up on anything in this script. A trace that it will
--- try again, after an inner loop for instance, is none of that.
function M.is_compiled(source)
  -- Modules load at first use, and by chance the compiler finds a loop of theirs hot.
  local load = "jit.off() local _ = grun.queue, grun.semaphore, grun.event, grun.lock jit.on() "
  local out, err, status = helper.run_child({ "-jv", helper.script(load .. source) })
  local aborts = {}
  for line in (out .. err):gmatch("%[TRACE %-%-%-[^\n]+") do
    if line:find("NYI", 1, true) or line:find("blacklisted", 1, true) then
      aborts[#aborts + 1] = line
    end
  end
  assert.same({ {}, 0 }, { aborts, status })
  assert.matches("%[TRACE", out .. err)
end

-- What is in use of the heap, in KiB, compiled code aside.
local function heap()
  jit.flush()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end

--- Asserts that fn(n) leaves the heap where it was before.
function M.leaves_no_garbage(n, fn)
  fn(n / 10)
  local before = heap()
  fn(n)
  local growth = heap() - before
  assert(growth < 64, ("the heap grew by %.0f KiB"):format(growth))
end

-- ---- Two things at once ----

local SHORT = 0.01

local function spin(seconds)
  local till = grun.now() + seconds
  while grun.now() < till do -- luacheck: ignore
  end
end

local function start(way, wait)
  return M.waiting(function()
    if way == "deadline" then
      return grun.timeout(SHORT, wait)
    end
    return wait(way == "timeout" and SHORT or nil)
  end)
end

--- How a wait can end without success, and what outcome() then says.
M.ways_out = { timeout = "timeout", deadline = "timeout", cancel = "cancelled" }

--- A thread in wait(seconds) that was woken because its time is up, its deadline has passed or it
--- was cancelled, and has not run since. meanwhile() is called while it waits.
function M.leaving(way, wait, meanwhile)
  local t = start(way, wait)
  if meanwhile then
    meanwhile()
  end
  if way == "cancel" then
    t:cancel()
  else
    spin(2 * SHORT)
    -- The loop looks at its timers between two turns of this thread, which then is next.
    while t:status() == "waiting" do
      grun.yield()
    end
  end
  assert.equal("ready", t:status())
  return t
end

--- A thread in wait(seconds) that act() has woken, and whose time was up, whose deadline had passed
--- or that was cancelled before it ran.
function M.late(way, wait, act)
  local t = start(way, wait)
  if way == "cancel" then
    act()
    t:cancel()
  else
    spin(2 * SHORT)
    act()
  end
  return t
end

package.loaded["spec.sync_helper"] = M
return M
