-- SPDX-License-Identifier: MIT
-- The watchdog: a thread that holds up all others is reported, with where it is; nothing else is.

local grun = require("grun")
local child = require("spec.cli.child")
local helper = require("spec.helper")

-- Functions that keep the processor for so many seconds in different ways.
local SPIN = [[
local clock = os.clock
local function spin(s) local e = clock() + s while clock() < e do end end
]]

-- The suite runs with the watchdog off.
local function run(source, env)
  local opts = { env = env, prefix = not env and "env -u GRUN_BLOCK_WARN_MS" or nil }
  local out, err, status = helper.run_script(SPIN .. source, opts)
  assert.equal(0, status, err)
  return err, out
end

local function reports(err)
  return select(2, err:gsub("keeps all others waiting", "%0"))
end

describe("a stall", function()
  it("is reported with the thread, where it was spawned and its lines of Lua", function()
    local err = run([[
      jit.off()
      local t = grun.spawn(function() spin(0.5) end)
      t.name = "spinner"
      t:join()]])
    local head, ms, lines = err:match("^(grun: thread #2 \"spinner\" keeps all others waiting: )(%d+)" ..
      " ms without a switch, in [^\n]*spawned at [^\n]*%.lua:4\n(.*)\ngrun: thread #2 \"spinner\" ran %d[%d.]* s")
    assert.truthy(head, err)
    assert.truthy(lines:find("%.lua:2: in function 'spin'\n\t[^\n]*%.lua:4: in function <"), err)
    assert.is_true(tonumber(ms) >= 100 and tonumber(ms) < 500, ms)
  end)

  it("is reported while it lasts", function()
    local c = child.start_script([[
      grun.block_warn(100)
      jit.off()
      local t = grun.now() + 20
      while grun.now() < t do end]])
    finally(function()
      c:destroy()
    end)
    c:expect_err("keeps all others waiting")
    c:expect_err("in main chunk")
    c:signal("KILL")
  end)

  it("in compiled code is said to be there, and the line follows when it leaves that", function()
    local err = run([[
      grun.sleep(0.001)
      local x = 0
      for i = 1, 3e8 do x = x + i % 3 end
      for i = 1, 100 do string.len(tostring(i)) end]])
    assert.truthy(err:find("in compiled code; it waited last on sleep\n", 1, true), err)
    assert.truthy(err:find("it came back to Lua at\n\t[^\n]*%.lua:[56]: in main chunk"), err)
  end)

  it("in a function of Lua's library is reported with the line that called it", function()
    local err = run([[
      local s = ("a"):rep(38)
      s:find(("a*"):rep(6) .. "c")]])
    assert.truthy(err:find("in a function of Lua's library or the collector", 1, true), err)
    assert.truthy(err:find("in function 'find'\n\t[^\n]*%.lua:4: in main chunk"), err)
  end)

  it("in a coroutine is reported with the line that resumed it", function()
    local err = run([[
      local s = ("a"):rep(38)
      coroutine.wrap(function() s:find(("a*"):rep(6) .. "c") end)()]])
    assert.truthy(err:find("%.lua:4: in main chunk"), err)
  end)

  it("in a system call is reported with its name", function()
    local fifo = helper.tmpname()
    os.remove(fifo)
    assert(os.execute("mkfifo " .. fifo) == 0)
    -- The second time the loop has never been polled before.
    for _, wait in ipairs({ "grun.sleep(0.001)", "" }) do
      os.execute("(sleep 1.5; cat " .. fifo .. " >/dev/null) &")
      local err = run(([[
        %s
        local t = grun.spawn(function() io.open("%s", "w"):close() end)
        t.name = "opener"
        t:join()]]):format(wait, fifo))
      assert.truthy(
        err:find("thread #%d+ \"opener\" keeps all others waiting: %d+ ms, blocked in the system call open"), err)
      assert.truthy(err:find("%.lua:4: in function <"), err)
    end
  end)

  it("in a system call that a signal would end is only named", function()
    local err, out = run([[
      local ffi = require("ffi")
      ffi.cdef("int poll(void *, unsigned long, int);")
      grun.sleep(0.001)
      local start = grun.now()
      io.write(ffi.C.poll(nil, 0, 300), " ", grun.now() - start >= 0.3 and "whole" or "cut short")]])
    assert.equal("0 whole", out)
    assert.truthy(err:find("blocked in the system call poll", 1, true), err)
  end)

  it("is reported once a second at most; the others are counted", function()
    local err, out = run([[
      local start = grun.now()
      for i = 1, 8 do spin(0.25) grun.sleep(0.01) end
      print(grun.now() - start)]])
    assert.is_true(reports(err) >= 1 and reports(err) <= 1 + tonumber(out), err)
    assert.truthy(reports(err) == 8 or err:find("not reported: %d") or tonumber(out) < 3, err)
  end)

  it("is counted", function()
    local _, out = run([[
      grun.sleep(0.05)
      spin(0.6)
      grun.sleep(0.1)
      print(require("grun.core.loop").stalls())]])
    local n, longest = out:match("(%d+)\t(%S+)")
    assert.equal("1", n)
    assert.is_true(tonumber(longest) > 0.2, longest)
  end)
end)

describe("no report", function()
  local quiet = {
    { "of a thread that sleeps", "grun.sleep(0.5)" },
    { "of stalls that are shorter", "for i = 1, 10 do spin(0.03) grun.sleep(0.001) end" },
    { "of a thread that yields in between", "for i = 1, 20 do spin(0.03) grun.yield() end" },
    { "of many busy threads that let each other run",
      "for i = 1, 20 do grun.spawn(function() for i = 1, 20 do spin(0.002) grun.yield() end end) end" },
    { "of a process that waits for another", "os.execute('sleep 0.4') grun.process.run({ 'sleep', '0.3' })" },
    { "of an OS thread of grun.offload", [[grun.offload(function()
        local e = os.clock() + 0.4 while os.clock() < e do end end)]] },
    { "with grun.block_warn(0)", "assert(grun.block_warn(0) == 100) spin(0.3) grun.sleep(0.05)" },
    { "with a higher limit", "grun.block_warn(2000) spin(0.3) grun.sleep(0.05)" },
    { "with GRUN_BLOCK_WARN_MS=0", "spin(0.3) assert(grun.block_warn() == 0)", { GRUN_BLOCK_WARN_MS = "0" } },
    { "with --log error", "spin(0.3)", nil, "--log=error" },
  }

  for _, case in ipairs(quiet) do
    it(case[1], function()
      local args = { helper.script(SPIN .. case[2]) }
      if case[4] then
        table.insert(args, 1, case[4])
      end
      local _, err, status = helper.run_child(args, { env = case[3],
        prefix = not case[3] and "env -u GRUN_BLOCK_WARN_MS" or nil })
      assert.equal(0, status, err)
      assert.equal("", err)
    end)
  end

  it("of a process that is stopped again and again", function()
    local c = child.start_script(SPIN .. [[
      grun.block_warn(100)
      io.stdout:setvbuf("no") print("ready")
      local stop = grun.now() + 1.5
      local function work() while grun.now() < stop do spin(0.04) grun.yield() end end
      grun.spawn(work)
      work()]])
    finally(function()
      c:destroy()
    end)
    c:expect("ready")
    for _ = 1, 8 do
      c:signal("STOP")
      grun.sleep(0.15)
      c:signal("CONT")
      grun.sleep(0.02)
    end
    assert.equal(0, c:wait())
    assert.equal("", c:err())
  end)
end)

-- Blocked in the kernel, as in a stall, when it is stopped and when it goes on: only the time in which nothing could
-- run tells that from one.
describe("a system call", function()
  -- It runs last of all once the process goes on, so that it sees the others at work again.
  local function put_back_watchdog(pid)
    local limit = grun.now() + 5
    repeat
      for _, task in ipairs(grun.fs.list(("/proc/%d/task"):format(pid))) do
        if helper.contents(("/proc/%d/task/%s/comm"):format(pid, task.name)) == "grun watchdog\n" then
          local command = ("chrt --idle --pid 0 %s && taskset -acp 0 %d >/dev/null"):format(task.name, pid)
          return os.execute(command) == 0
        end
      end
      grun.sleep(0.01)
    until grun.now() > limit
    return false
  end

  local function blocked_for(seconds, times, stop)
    local p = assert(grun.process.spawn({ helper.grun, helper.script(([[
      local ffi = require("ffi")
      ffi.cdef("ssize_t read(int, void *, size_t);")
      io.stdout:setvbuf("no")
      grun.block_warn(150)
      grun.sleep(0.05)
      for _ = 1, %d do
        print("reads")
        ffi.C.read(0, ffi.new("char[1]"), 1)
        grun.sleep(0.01)
      end]]):format(times)), stdin = "pipe", stdout = "pipe", stderr = "pipe" }))
    finally(function()
      p:kill("KILL")
      p:wait()
      p.stdout:close()
      p.stderr:close()
      p.stdin:close()
    end)
    for i = 1, times do
      assert.equal("reads", p.stdout:read("l"))
      if stop and i == 1 then
        assert.is_true(put_back_watchdog(p.pid))
      end
      if stop then
        p:kill("STOP")
      end
      grun.sleep(seconds)
      if stop then
        p:kill("CONT")
        grun.sleep(0.02)
      end
      p.stdin:write("x")
    end
    assert.equal(0, p:wait())
    return p.stderr:read("*a")
  end

  it("of a process that is stopped meanwhile is no stall", function()
    assert.equal("", blocked_for(0.2, 12, true))
  end)

  it("that takes as long without that is one", function()
    assert.truthy(blocked_for(0.4, 1, false):find("blocked in the system call read", 1, true))
  end)
end)

describe("the watchdog", function()
  it("has its limit from GRUN_BLOCK_WARN_MS; a bad value is told", function()
    local err = run("spin(0.6) grun.sleep(0.05)", { GRUN_BLOCK_WARN_MS = "20" })
    assert.equal(1, reports(err), err)
    err = run("assert(grun.block_warn(30) == 100) assert(grun.block_warn() == 30)",
      { GRUN_BLOCK_WARN_MS = "soon" })
    assert.truthy(err:find("GRUN_BLOCK_WARN_MS needs milliseconds from 0 to 1000000, not 'soon'", 1, true))
  end)

  it("refuses bad limits", function()
    for _, bad in ipairs({ -1, 2e6, 0 / 0, "x", {} }) do
      assert.error_matches(function()
        grun.block_warn(bad)
      end, "block_warn: milliseconds from 0 to 1000000 expected")
    end
  end)

  it("works again after it was off", function()
    local err = run("grun.block_warn(0) grun.sleep(0.1) grun.block_warn(50) spin(0.3) grun.sleep(0.05)")
    assert.equal(1, reports(err), err)
  end)

  it("leaves a script's own hook as it is", function()
    local _, out = run([[
      jit.off()
      local n = 0
      local function hook() n = n + 1 end
      debug.sethook(hook, "", 1000)
      spin(0.4)
      local f, mask, count = debug.gethook()
      local before = n
      for i = 1, 1e5 do end
      print(f == hook, mask, count, n > before)]])
    assert.equal("true\t\t1000\ttrue\n", out)
  end)

  it("does not wake up while the process is idle", function()
    local c = child.start({ "--no-control", helper.script([[
      grun.block_warn(100) io.stdout:setvbuf("no") grun.sleep(0.1) print("ready") grun.sleep(20)]]) })
    finally(function()
      c:destroy()
    end)
    local function switches()
      local total = 0
      local file = io.popen("cat /proc/" .. c.pid .. "/task/*/status")
      for line in file:lines() do
        total = total + (tonumber(line:match("^voluntary_ctxt_switches:%s+(%d+)")) or 0)
      end
      file:close()
      return total
    end
    c:expect("ready")
    grun.sleep(0.5)
    assert.equal(0, os.execute("grep -q '^grun watchdog$' /proc/" .. c.pid .. "/task/*/comm"))
    local before = switches()
    grun.sleep(0.5)
    assert.equal(before, switches())
  end)

  it("does not disturb forks that happen during a report", function()
    local _, out = run([[
      jit.off()
      local ffi = require("ffi")
      ffi.cdef("int fork(void); void _exit(int); int waitpid(int, int *, int);")
      local ended, status = 0, ffi.new("int[1]")
      for i = 1, 60 do
        spin(0.01)
        local pid = ffi.C.fork()
        if pid == 0 then ffi.C._exit(7) end
        if ffi.C.waitpid(pid, status, 0) == pid and status[0] == 7 * 256 then ended = ended + 1 end
      end
      print(ended)]])
    assert.equal("60\n", out)
  end)
end)
