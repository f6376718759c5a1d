-- SPDX-License-Identifier: MIT
-- Child processes: spawn, their pipes and ends, run.

local grun = require("grun")

local helper = require("spec.helper")
local net = require("spec.net_helper")

local spawn, run = grun.process.spawn, grun.process.run
local test = net.test(it, function(fn) finally(fn) end)

local function contents(name)
  local file = io.open(name)
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

-- Ids of this process's children that have not been reaped.
local function children()
  local self = contents("/proc/self/stat"):match("^%d+")
  return contents(("/proc/%d/task/%d/children"):format(self, self))
end

-- True once the condition holds, which may take its time.
local function eventually(condition)
  local limit = grun.now() + 10
  while not condition() and grun.now() < limit do
    grun.sleep(0.005)
  end
  return condition()
end

-- Has the process of that id ended?
local function gone(pid)
  local stat = contents("/proc/" .. pid .. "/stat")
  return not stat or stat:find("%) [ZX]") ~= nil
end

-- A child with a pipe that is killed after the test.
local function sleeper(keep, how)
  how = how or { "sleep", 60 }
  local p = assert(spawn(how))
  keep({ close = function()
    p:kill("KILL")
    p:wait(5)
  end })
  return p
end

describe("process.spawn", function()
  test("runs a program between pipes", function(keep)
    local p = assert(spawn({ "tr", "a-z", "A-Z", stdin = "pipe", stdout = "pipe" }))
    keep(p.stdin, p.stdout)
    assert.is_true(p.pid > 1)
    assert.equal("tr", p.command)
    p.stdin:write("some ", { "te", "xt" })
    p.stdin:shutdown("w")
    assert.is_true(p.stdin:closed())
    assert.equal("SOME TEXT", p.stdout:read("*a"))
    assert.equal(0, p:wait())
    assert.matches("^process %d+ %(tr%) ended: 0$", tostring(p))
    assert.matches("^conn pipe %(fd %d+%)$", tostring(p.stdout))
  end)

  it("tells an exit status from a signal, again and again", function()
    local p = assert(spawn({ "sh", "-c", "exit 42" }))
    assert.same({ 42 }, { p:wait() })
    assert.same({ 42 }, { p:wait(0) })
    p = assert(spawn({ "sh", "-c", "kill -KILL $$" }))
    assert.same({ nil, "signal", "SIGKILL" }, { p:wait() })
    assert.same({ nil, "signal", "SIGKILL" }, { p:wait() })
    assert.matches("ended: SIGKILL$", tostring(p))
  end)

  it("says what is missing", function()
    local cases = {
      { { "nonesuch-program" }, "cannot run nonesuch-program: No such file or directory", "ENOENT" },
      { { "/dev/null" }, "cannot run /dev/null: Permission denied", "EACCES" },
      { { "/" }, "cannot run /: Permission denied", "EACCES" },
      { { "" }, "cannot run : No such file or directory", "ENOENT" },
      { { "true", cwd = "/nonesuch" },
        "cannot run true: directory /nonesuch: No such file or directory", "ENOENT" },
      { { "true", stdin = 999 }, "cannot run true: Bad file descriptor", "EBADF" },
      { { "true", ("x"):rep(3e6) }, "cannot run true: Argument list too long", "E2BIG" },
    }
    for _, case in ipairs(cases) do
      assert.same({ nil, case[2], case[3] }, { spawn(case[1]) })
    end
    assert.equal("", children())
  end)

  it("does not mistake the status 127 of a program for a missing one", function()
    assert.equal(127, assert(spawn({ "sh", "-c", "exit 127" })):wait())
  end)

  it("looks for the program in the child's PATH", function()
    assert.same({ nil, "cannot run true: No such file or directory", "ENOENT" },
      { spawn({ "true", env = { PATH = "/nonesuch" } }) })
    assert.equal(0, assert(spawn({ "true", env = { PATH = "/nonesuch:/bin:/usr/bin" } })):wait())
    assert.equal(0, assert(spawn({ "true", env = {} })):wait())
    assert.equal("a=1\n", run({ "env", env = { a = 1 } }).stdout)
  end)

  it("passes an environment, a directory and arguments as they are", function()
    local env = grun.process.environ()
    assert.equal(os.getenv("PATH"), env.PATH)
    env.GRUN_SPEC = "a b\nc='d'"
    local r = run({ "sh", "-c", 'printf "%s|" "$GRUN_SPEC" "$PWD" "$@"', "sh", "", "*", 1.5, "x y",
      env = env, cwd = "/tmp" })
    assert.equal("a b\nc='d'|/tmp||*|1.5|x y|", r.stdout)
  end)

  it("connects the standard files as told", function()
    local name = helper.tmpname()
    local file = assert(io.open(name, "w"))
    file:write("from us\n")
    assert.equal(0, assert(spawn({ "sh", "-c", "echo out; echo err >&2", stdin = "null",
      stdout = file, stderr = "stdout" })):wait())
    file:close()
    assert.equal("from us\nout\nerr\n", contents(name))
    local r = run({ "sh", "-c", "echo out; echo err >&2; cat", stderr = "stdout" })
    assert.equal("out\nerr\n", r.stdout)
    assert.is_nil(r.stderr)
  end)

  test("hands connections over, so that children can be chained", function(keep)
    local a = assert(spawn({ "sh", "-c", "sleep 0.1; printf 'some text'", stdout = "pipe" }))
    local b = assert(spawn({ "tr", "a-z", "A-Z", stdin = a.stdout, stdout = "pipe" }))
    keep(b.stdout)
    assert.is_true(a.stdout:closed())
    assert.equal("SOME TEXT", b.stdout:read("*a"))
    local here, there = keep(grun.pair())
    local p = assert(spawn({ "cat", stdin = there, stdout = there }))
    assert.is_true(there:closed())
    here:write("through a socket")
    here:shutdown("w")
    assert.equal("through a socket", here:read("*a"))
    assert.same({ 0, 0, 0 }, { a:wait(), b:wait(), (p:wait()) })
  end)

  test("keeps a connection that it could not hand over", function(keep)
    local here, there = keep(grun.pair())
    keep(there)
    assert.is_nil(spawn({ "nonesuch-program", stdin = there }))
    here:write("still here")
    assert.equal("still here", there:read(10))
    assert.same({ nil, "timeout", "timeout" }, { there:recv(1, 0.01) })
  end)

  it("gives the child nothing else that is open, no blocked signals and SIGPIPE's default", function()
    local out = run({ "ls", "/proc/self/fd" }).stdout
    assert.equal("0\n1\n2\n3\n", out)
    local status = run({ "cat", "/proc/self/status" }).stdout
    assert.equal(0, tonumber(status:match("SigBlk:%s*(%x+)"), 16))
    local ignored = tonumber(status:match("SigIgn:%s*(%x+)"):sub(-4), 16)
    assert.equal(0, math.floor(ignored / 2 ^ 12) % 2)
    local printed, err = helper.run_script([[
      local signal = require("posix.signal")
      signal.signal(signal.SIGPIPE, signal.SIG_IGN)
      print(grun.process.spawn{ "sh", "-c", "kill -PIPE $$" }:wait())]])
    assert.same({ "nil\tsignal\tSIGPIPE\n", "" }, { printed, err })
  end)

  test("makes groups and sessions that are signalled as a whole", function(keep)
    for _, kind in ipairs({ "group", "session" }) do
      local p = sleeper(keep, { "sh", "-c", "sleep 60 & echo $!; wait", stdout = "pipe",
        [kind] = true })
      keep(p.stdout)
      local grandchild = p.stdout:read("*l")
      p:kill("KILL")
      assert.equal("SIGKILL", select(3, p:wait(5)))
      assert.equal("", p.stdout:read("*a"))
      assert.is_true(eventually(function() return gone(grandchild) end))
    end
  end)

  it("raises on wrong arguments at the caller's line", function()
    helper.misuse(function() spawn() end, "process: table expected, got nil")
    helper.misuse(function() spawn({}) end, "process: no command")
    helper.misuse(function() spawn({ "a", {} }) end, "process: argument 1: string expected, got table")
    helper.misuse(function() spawn({ "a\0b" }) end, "process: command contains a zero byte")
    helper.misuse(function() spawn({ "a", nil, "b", [9] = 1 }) end,
      "process: the command's words must be a list without gaps")
    helper.misuse(function() spawn({ "a", shell = true }) end, "process: unknown option 'shell'")
    helper.misuse(function() spawn({ "a", env = 1 }) end, "process: env: table expected, got number")
    helper.misuse(function() spawn({ "a", env = { ["a="] = 1 } }) end,
      "process: env: names must be strings without '='")
    helper.misuse(function() spawn({ "a", env = { a = {} } }) end,
      "process: value in env: string expected, got table")
    helper.misuse(function() spawn({ "a", cwd = true }) end,
      "process: cwd: string expected, got boolean")
    helper.misuse(function() spawn({ "a", group = 1 }) end,
      "process: group: boolean expected, got number")
    helper.misuse(function() spawn({ "a", stdin = "stdout" }) end,
      "process: stdin: unknown kind 'stdout'")
    helper.misuse(function() spawn({ "a", stdin = -1 }) end,
      "process: stdin: descriptor out of range")
    helper.misuse(function() spawn({ "a", stdout = true }) end, "process: stdout: \"pipe\", " ..
      "\"inherit\", \"null\", file, connection or descriptor expected, got boolean")
    local p = assert(spawn({ "true" }))
    helper.misuse(function() p:kill("nonesuch") end, "bad argument #1 to 'kill' (unknown signal 'nonesuch')")
    helper.misuse(function() p:wait(-1) end,
      "bad argument #1 to 'wait' (timeout must be a number of seconds, 0 or more)")
    assert.equal(0, p:wait())
  end)

  test("refuses connections that cannot be handed over", function(keep)
    local a, b = grun.pair()
    keep(a, b)
    a:write("xy")
    b:read(1)
    helper.misuse(function() spawn({ "a", stdin = b }) end,
      "process: stdin: the connection has unread data")
    b:close()
    helper.misuse(function() spawn({ "a", stdin = b }) end,
      "process: stdin: the connection is closed")
  end)
end)

describe("the end of a process", function()
  test("is waited for by any number of threads", function(keep)
    local p, codes = sleeper(keep), {}
    local threads = {}
    for i = 1, 10 do
      threads[i] = helper.spawn(function() codes[i] = select(3, p:wait()) end)
    end
    grun.yield()
    assert.same({ nil, "timeout", "timeout" }, { p:wait(0) })
    assert.same({ nil, "timeout", "timeout" }, { p:wait(0.01) })
    p:kill()
    grun.joinall(threads)
    assert.equal(("SIGTERM "):rep(10), table.concat(codes, " ") .. " ")
    assert.same({ nil, "No such process", "ESRCH" }, { p:kill() })
  end)

  test("can be waited for together with other things", function(keep)
    local a, b = sleeper(keep), sleeper(keep)
    a:kill("INT")
    assert.same({ a }, grun.wait({ a, b }, 5, 1))
    assert.same({ 1, nil, "signal", "SIGINT" }, { grun.select({ a:op_wait(), b:op_wait() }) })
    assert.equal(2, (grun.select({ b:op_wait(), grun.op_sleep(0.01) })))
    b:kill("HUP")
    assert.same({ 1, nil, "signal", "SIGHUP" }, { grun.select({ b:op_wait(), grun.op_sleep(5) }) })
  end)

  test("wakes nobody who was cancelled or is past a deadline", function(keep)
    local p = sleeper(keep)
    local t = net.parked(p.wait, p)
    t:cancel("enough")
    t:join()
    assert.equal("cancelled", t:status())
    assert.is_nil((grun.timeout(0.01, p.wait, p)))
    p:kill()
    assert.equal("SIGTERM", select(3, p:wait()))
  end)

  it("leaves no zombie when nobody waits and the handle is collected", function()
    for _ = 1, 20 do
      assert(spawn({ "true", stdin = "pipe", stdout = "pipe" }))
    end
    collectgarbage()
    collectgarbage()
    assert.is_true(eventually(function() return children() == "" end))
  end)

  test("comes for a child that ignores SIGTERM only by SIGKILL", function(keep)
    local p = sleeper(keep, { "sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done",
      stdout = "pipe", group = true })
    keep(p.stdout)
    p.stdout:read("*l")
    assert.is_true(p:kill("TERM"))
    assert.same({ nil, "timeout", "timeout" }, { p:wait(0.1) })
    assert.is_true(p:kill(9))
    assert.same({ nil, "signal", "SIGKILL" }, { p:wait(5) })
  end)

  it("is not that of a C library's own children", function()
    local unistd, wait = require("posix.unistd"), require("posix.sys.wait")
    local pid = assert(unistd.fork())
    if pid == 0 then
      unistd._exit(3)
    end
    assert.equal(0, assert(spawn({ "true" })):wait())
    grun.sleep(0.05)
    local got, how, status = wait.wait(pid)
    assert.same({ pid, "exited", 3 }, { got, how, status })
  end)

  it("is an error when somebody else took the status", function()
    local p = assert(spawn({ "true" }))
    -- The hub does not run while this waits for real.
    local got = grun.coop.original(require("posix.sys.wait").wait, p.pid)
    assert.equal(p.pid, got)
    assert.same({ nil, "No child processes", "ECHILD" }, { p:wait() })
    assert.matches("ended$", tostring(p))
  end)

  it("reaches each of 1000 threads that wait for 1000 children", function()
    -- In a process of its own, since it may need more descriptors than this one may have.
    local out, err, status = helper.run_script([[
      local codes, running = {}, 0
      for batch = 1, 4 do
        local threads = {}
        for i = 1, 250 do
          threads[i] = grun.spawn(function()
            local p = assert(grun.process.spawn{ "sh", "-c", "exit " .. i % 200 })
            local code = p:wait()
            codes[#codes + 1] = code == i % 200
          end)
        end
        grun.joinall(threads, { raise = true })
      end
      for i, ok in ipairs(codes) do assert(ok, i) end
      local zombies = io.popen("ps --ppid " .. io.open("/proc/self/stat"):read("*n") ..
        " -o stat= | grep -c Z"):read("*l")
      print(#codes, zombies)]], { timeout = 60 })
    assert.same({ "1000\t0\n", "", 0 }, { out, err, status })
  end)
end)

describe("process.run", function()
  it("feeds and collects at the same time, more than pipes hold", function()
    local text = net.noise(5e6)
    local r = run({ "sh", "-c", "tee /dev/stderr", input = text })
    assert.is_true(net.same(text, r.stdout))
    assert.is_true(net.same(text, r.stderr))
    assert.equal(0, r.code)
    assert.equal("abc", run({ "cat", input = { "a", "b", "c" } }).stdout)
  end)

  it("returns how it ended", function()
    assert.same({ code = 3, stdout = "", stderr = "" }, run({ "sh", "-c", "exit 3" }))
    assert.same({ signal = "SIGSEGV", stdout = "", stderr = "" }, run({ "sh", "-c", "kill -SEGV $$" }))
    assert.same({ nil, "cannot run nonesuch-program: No such file or directory", "ENOENT" },
      { run({ "nonesuch-program" }) })
  end)

  it("does not mind a child that closes its pipes or wants no input", function()
    assert.equal(0, run({ "sh", "-c", "exec <&- >&- 2>&-; sleep 0.05" }).code)
    assert.equal(0, run({ "true", input = ("x"):rep(1e6) }).code)
  end)

  it("kills the whole group after the timeout and returns what came so far", function()
    local before = grun.now()
    local r, message, code, partial =
      run({ "sh", "-c", "sleep 50 & echo $!; wait", timeout = 0.5 })
    assert.same({ nil, "timeout", "timeout", "" }, { r, message, code, partial.stderr })
    assert.is_true(grun.now() - before < 10)
    local grandchild = assert(partial.stdout:match("^(%d+)\n$"))
    assert.is_true(eventually(function() return gone(grandchild) end))
    -- The same when only that one is left, with the pipe open.
    partial = select(4, run({ "sh", "-c", "sleep 50 & echo $!", timeout = 0.5 }))
    grandchild = assert(partial.stdout:match("^(%d+)\n$"))
    assert.is_true(eventually(function() return gone(grandchild) end))
  end)

  it("kills a child that writes without end", function()
    local r, message, code, partial = run({ "yes", max_output = 10000 })
    assert.same({ nil, "yes: too much output", "too_large" }, { r, message, code })
    assert.is_true(#partial.stdout <= 10000)
  end)

  it("kills the child when the thread is cancelled or a deadline passes", function()
    local name = helper.tmpname()
    local t = net.parked(run, { "sh", "-c", "echo $$ >" .. name .. "; exec sleep 60" })
    local pid
    repeat
      grun.sleep(0.01)
      pid = tonumber(contents(name))
    until pid
    t:cancel()
    t:join()
    assert.equal("cancelled", t:status())
    assert.is_true(gone(pid))
    assert.is_nil((grun.timeout(0.05, run, { "sleep", 60 })))
  end)

  it("lets other threads run", function()
    local ticks = 0
    local t = helper.spawn(function()
      while true do
        grun.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    run({ "sleep", 0.3 })
    t:kill()
    assert.is_true(ticks > 30)
  end)

  it("raises on wrong arguments at the caller's line", function()
    helper.misuse(function() run("true") end, "process: table expected, got string")
    helper.misuse(function() run({ "a", input = 1 }) end,
      "process: input: string or list of strings expected, got number")
    helper.misuse(function() run({ "a", timeout = -1 }) end,
      "process: timeout: number of seconds, 0 or more, expected, got number")
    helper.misuse(function() run({ "a", input = "", stdin = "null" }) end,
      "process: input and stdin exclude each other, got string")
    helper.misuse(function() run({ "a", foo = 1 }) end, "process: unknown option 'foo'")
  end)

  it("fails cleanly when there are no descriptors left", function()
    local out, err, status = helper.run_script([[
      print(grun.process.run{ "true" })
      local a = {}
      while true do
        local x, y = grun.pair()
        if not x then break end
        a[#a + 1] = x a[#a + 1] = y
      end
      print(grun.process.run{ "true" })
      for _, c in ipairs(a) do c:close() end
      print(grun.process.run{ "true" }.code)]], { prefix = "prlimit --nofile=40" })
    assert.matches("^table: %S+\nnil\tcannot run true: Too many open files\tEMFILE\n0\n$", out)
    assert.same({ "", 0 }, { err, status })
  end)

  it("ends with ^C like its children", function()
    local child = require("spec.cli.child")
    local c = child.start_script([[
      io.stdout:setvbuf("no")
      grun.spawn(function() grun.process.run{ "sleep", 60 } end)
      grun.sleep(0.1)
      print("ready")
      grun.sleep(60)]])
    finally(function() c:destroy() end)
    c:expect("ready")
    c:signal("INT")
    assert.equal(130, c:wait())
  end)
end)
