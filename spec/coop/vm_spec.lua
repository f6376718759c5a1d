-- SPDX-License-Identifier: MIT
-- Where libc's calls may park below LuaJIT, and where they must not: each in a child process, in every
-- way of compiling.

local coop = require("spec.coop.helper")

-- A thread whose number of turns a script can look at.
local PREAMBLE = [[
  local c = require("cooplibc")
  local ticks = 0
  local ticker = grun.spawn(function()
    while true do grun.sleep(0.001) ticks = ticks + 1 end
  end)
  local function during(fn)
    local before = ticks
    fn()
    return ticks - before
  end
]]

local function each_mode(name, source, expected)
  for _, mode in ipairs(coop.child.jit_modes) do
    it(name .. ", " .. mode.name, function()
      local out, err, status = coop.child.run_text(PREAMBLE .. source .. "\nticker:kill()", mode.flags)
      assert.equal("", err)
      assert.equal(expected, out)
      assert.equal(0, status)
    end)
  end
end

describe("a call of the FFI", function()
  each_mode("never switches threads, in hot loops among threads that do", [[
    local ffi = require("ffi")
    ffi.cdef("int poll(void *, unsigned long, int); int usleep(unsigned);" ..
      "long read(int, void *, unsigned long); long write(int, const void *, unsigned long);")
    local r, w = c.pipe()
    local buf = ffi.new("char[1]")
    local blocked, sums = 0, {}
    local threads = {}
    for i = 1, 4 do
      threads[i] = grun.spawn(function()
        local sum = 0
        for n = 1, 250000 do
          sum = sum + ffi.C.poll(nil, 0, 0) + n % 3
          if n % 1000 == 0 then
            buf[0] = i
            ffi.C.write(w, buf, 1)
            ffi.C.read(r, buf, 1)
            sum = sum + buf[0]
            local before = ticks
            ffi.C.usleep(10)
            ffi.C.poll(nil, 0, 1)
            assert(ticks == before)
            blocked = blocked + 2
            grun.yield()
          end
        end
        sums[i] = sum
      end)
    end
    for i = 1, 4 do threads[i]:get() end
    local calls = grun.coop.stats().calls
    print(sums[1], sums[2], sums[3], sums[4])
    print(calls.poll.blocked + calls.sleep.blocked == blocked, calls.poll.parked, calls.poll.seconds > 0.5)
    for _, site in ipairs(grun.coop.stats().sites) do print(site.where) end
  ]], ("%d\t%d\t%d\t%d\n"):format(250000 + 250, 250000 + 500, 250000 + 750, 250000 + 1000) ..
    "true\t0\ttrue\nFFI call\nFFI call\n")

  each_mode("waits cooperatively through grun.coop.wrap", [[
    local ffi = require("ffi")
    ffi.cdef("int usleep(unsigned); int (*signal_of(int))(int);")
    local usleep, n = grun.coop.wrap(ffi.C.usleep), 0
    local threads = {}
    for i = 1, 20 do
      threads[i] = grun.spawn(function()
        for _ = 1, 50 do
          local rc = usleep(200)
          n = n + rc + 1
        end
      end)
    end
    print(during(function() for i = 1, 20 do threads[i]:get() end end) > 1)
    print(n, grun.coop.stats().calls.sleep.blocked)
    local pointer = ffi.cast("int (*)(unsigned)", ffi.C.usleep)
    print(during(function() grun.coop.wrap(pointer)(20000) end) > 1)
    local t = grun.spawn(function() usleep(5000000) end)
    grun.sleep(0.01)
    t:cancel()
    t:join()
    print(t:status())
  ]], "true\n1000\t0\ntrue\ncancelled\n")

  each_mode("below a metamethod that C calls does not switch threads either", [[
    local ffi = require("ffi")
    ffi.cdef("int usleep(unsigned);")
    local function loop(_, key)
      local sum = 0
      for i = 1, 200 do sum = sum + ffi.C.usleep(1) + i end
      return sum + key
    end
    local t = setmetatable({}, { __index = loop })
    local threads, total = {}, 0
    for i = 1, 4 do
      threads[i] = grun.spawn(function()
        for _ = 1, 20 do
          total = total + c.get(t, i)
          c.sleep(0.0001, "usleep")
        end
      end)
    end
    for i = 1, 4 do threads[i]:get() end
    print(total, grun.coop.stats().calls.sleep.parked >= 80)
  ]], ("%d\ttrue\n"):format(20 * (4 * 20100 + 10)))
end)

describe("a C function", function()
  each_mode("parks anywhere below Lua once the FFI is loaded", [[
    require("ffi")
    local function nap() return c.sleep(0.004, "nanosleep") end
    print(during(nap) > 0)
    print(during(function() c.call(nap) end) > 0)
    print(during(function() ("x"):gsub("x", nap) end) > 0)
    print(during(function() coroutine.wrap(nap)() end) > 0)
    print(during(function() table.sort({ 1, 2 }, function(a, b) nap() return a < b end) end) > 0)
    print(during(function() local _ = setmetatable({}, { __index = nap }).x end) > 0)
    print(grun.coop.stats().calls.sleep.blocked)
  ]], ("true\n"):rep(6) .. "0\n")

  each_mode("that raises after it parked leaves the VM whole", [[
    local sum = 0
    local threads = {}
    for i = 1, 8 do
      threads[i] = grun.spawn(function()
        for n = 1, 50 do
          pcall(c.call, function() c.sleep(0.0002, "usleep") error("x") end)
          for k = 1, 300 do sum = sum + k % 2 end
        end
      end)
    end
    for i = 1, 8 do threads[i]:get() end
    print(sum)
  ]], 8 * 50 * 150 .. "\n")
end)

describe("a finalizer", function()
  each_mode("really waits", [[
    for _ = 1, 5 do c.waits(0.005) end
    print(during(function() collectgarbage() collectgarbage() end))
    local sleep = grun.coop.stats().calls.sleep
    print(sleep.blocked, sleep.parked)
    print(during(function() c.sleep(0.01, "usleep") end) > 2)
  ]], "0\n5\t0\ntrue\n")
end)

describe("a debug hook", function()
  each_mode("really waits", [[
    local n = 0
    local before = grun.coop.stats().calls.sleep.blocked
    debug.sethook(function() n = n + 1 if n < 4 then c.sleep(0.005, "usleep") end end, "l")
    local a = 1
    local b = 2
    local d = 3
    debug.sethook()
    print(grun.coop.stats().calls.sleep.blocked - before)
  ]], "3\n")
end)

describe("Lua that a C module runs on another thread's lua_State", function()
  each_mode("does not park", [[
    local keeper = grun.spawn(function()
      c.keep()
      grun.sleep(10)
    end)
    grun.sleep(0.001)
    local message
    print(during(function()
      c.back(function() c.sleep(0.01, "usleep") end)
      message = c.back(grun.yield)
    end))
    print(message)
    print(grun.coop.stats().calls.sleep.blocked)
    keeper:kill()
    print(during(function() c.sleep(0.01, "usleep") end) > 2)
  ]], "0\ncannot wait on the lua_State of another thread\n1\ntrue\n")
end)

describe("fork in a C module", function()
  it("leaves one thread in the child, whose calls really block", function()
    local out, err, status = coop.child.run_text(PREAMBLE .. [[
      io.stdout:setvbuf("no")
      local queue = grun.queue()
      grun.spawn(function() queue:get() print("consumer runs") end)
      grun.sleep(0.005)
      local pid = c.fork()
      if pid == 0 then
        print("ticks", during(function() c.sleep(0.02, "usleep") end))
        print(pcall(grun.sleep, 0.01))
        print(#grun.threads())
        queue:put(1)
        return
      end
      print("child", c.waitpid(pid))
      ticker:kill()
      queue:put(1)
    ]])
    assert.equal("", err)
    assert.equal("ticks\t0\nfalse\tcannot wait in a forked process\n1\nchild\tPID\t0\nconsumer runs\n",
      (out:gsub("child\t%d+", "child\tPID")))
    assert.equal(0, status)
  end)

  it("a thousand times among waiting threads loses and doubles nothing", function()
    local out, err, status = coop.child.run_text([[
      local c = require("cooplibc")
      for _ = 1, 1000 do
        grun.spawn(function() grun.sleep(100) end)
      end
      grun.yield()
      local statuses = 0
      local threads = {}
      for i = 1, 10 do
        threads[i] = grun.spawn(function()
          for n = 1, 100 do
            local pid = c.fork()
            if pid == 0 then
              c.exit(n)
            end
            local got, code = c.waitpid(pid)
            assert(got == pid and code == n)
            statuses = statuses + 1
          end
        end)
      end
      for i = 1, 10 do threads[i]:get() end
      print(statuses, #grun.threads(), (select(3, c.waitpid(-1, c.WNOHANG))) == c.ECHILD)
      os.exit(0)
    ]])
    assert.equal("1000\t1001\ttrue\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)
end)

describe("os.exit", function()
  it("ends the process among threads that wait below C", function()
    local out, err, status = coop.child.run_text([[
      local c = require("cooplibc")
      for _ = 1, 20 do grun.spawn(c.sleep, 10, "usleep") end
      grun.sleep(0.01)
      os.exit(5, true)
    ]])
    assert.same({ "", "", 5 }, { out, err, status })
  end)
end)

describe("exit in a C module", function()
  it("runs exit handlers without letting other threads run", function()
    local out, err, status = coop.child.run_text([[
      local c = require("cooplibc")
      grun.spawn(function()
        while true do
          grun.sleep(0.005)
          io.stderr:write("tick\n")
        end
      end)
      c.exit_slowly(6)
    ]])
    assert.same({ "", "", 6 }, { out, err, status })
  end)
end)
