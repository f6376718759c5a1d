-- SPDX-License-Identifier: MIT
-- The control socket and what goes through it: grun ps, top, trace, stop, reload, kill.

local control = require("grun.control")
local grun = require("grun")
local helper = require("spec.helper")
local json = require("grun.json")
local native = require("grun.core.control")

-- ---- Other processes ----

-- A directory of our own in place of $XDG_RUNTIME_DIR, removed with all that is in it.
local function runtime_dir()
  local dir = assert(grun.fs.tempdir())
  return dir, function()
    for _, name in ipairs({ "/grun", "" }) do
      for _, entry in ipairs(grun.fs.list(dir .. name) or {}) do
        os.remove(dir .. name .. "/" .. entry.name)
      end
      os.remove(dir .. name)
    end
  end
end

local function socket_of(dir, p)
  return ("%s/grun/%d.sock"):format(dir, p.pid)
end

-- Runs a script, and waits for its socket unless `options` says that there is none.
local function start(dir, source, options)
  options = options or {}
  local words = {
    "env", "XDG_RUNTIME_DIR=" .. dir, "GRUN_CONTROL=" .. (options.control or ""), helper.grun,
  }
  for _, word in ipairs(options) do
    words[#words + 1] = word
  end
  words[#words + 1] = helper.script(source)
  words.stdout, words.stderr = "pipe", "pipe"
  local p = assert(grun.process.spawn(words))
  local limit = grun.now() + 15
  while not options.without and not grun.fs.exists(socket_of(dir, p)) do
    assert(grun.now() < limit, "no socket")
    grun.sleep(0.01)
  end
  return p
end

local function stop(p)
  p:kill("KILL")
  p:wait()
  p.stdout:close()
  p.stderr:close()
end

-- What a process leaves that is killed: a socket on which nobody listens.
local function leave_socket(path)
  assert.equal(0, os.execute(("python3 -c 'import socket as s; s.socket(s.AF_UNIX).bind(\"%s\")'"):format(path)))
end

-- Runs `grun words...` there; its output, errors and status.
local function run(dir, ...)
  return helper.run_child({ ... }, { env = { XDG_RUNTIME_DIR = dir } })
end

-- A test with a directory and start(source, options).
local function test(name, body)
  it(name, function()
    local dir, clean = runtime_dir()
    local running = {}
    finally(function()
      for _, p in ipairs(running) do
        stop(p)
      end
      clean()
    end)
    body(dir, function(...)
      running[#running + 1] = start(dir, ...)
      return running[#running]
    end)
  end)
end

-- Sends bytes, ends its direction, and returns what comes back.
local function exchange(path, bytes)
  local conn = assert(grun.connect("unix:" .. path))
  conn:write(bytes)
  conn:shutdown("w")
  local answer = conn:read("*a")
  conn:close()
  return answer
end

local SLEEPER = "grun.sleep(50)"

describe("the control socket", function()
  test("is for its owner alone, and goes away with the process", function(dir, new)
    local p = new(SLEEPER)
    local path = socket_of(dir, p)
    assert.equal("600", ("%o"):format(grun.fs.stat(path).mode % 512))
    assert.equal("700", ("%o"):format(grun.fs.stat(dir .. "/grun").mode % 512))
    assert.matches('"ok":true', exchange(path, '{"command":"ping"}\n'))
    p:kill("TERM")
    assert.equal(0, p:wait())
    assert.is_false(grun.fs.exists(path))
  end)

  test("goes away with os.exit too, and after a deadlock", function(dir, new)
    local p = new("grun.sleep(1) os.exit(3)")
    assert.equal(3, p:wait())
    assert.is_false(grun.fs.exists(socket_of(dir, p)))
    p = new("grun.sleep(1) grun.event():wait()")
    assert.equal(2, p:wait())
    assert.is_false(grun.fs.exists(socket_of(dir, p)))
  end)

  test("can be switched off", function(dir, new)
    new(SLEEPER, { "--no-control", without = true })
    new(SLEEPER, { control = "off", without = true })
    new(SLEEPER)
    grun.sleep(0.2)
    assert.equal(1, #grun.fs.list(dir .. "/grun"))
  end)

  test("is not put into a directory that others may use", function(dir, new)
    assert(grun.fs.mkdir(dir .. "/grun"))
    assert(grun.fs.chmod(dir .. "/grun", 493)) -- 0755
    local p = new(SLEEPER, { without = true })
    grun.sleep(1)
    assert.equal(0, #grun.fs.list(dir .. "/grun"))
    stop(p)
    assert(grun.fs.chmod(dir .. "/grun", 448)) -- 0700
    os.remove(("/run/grun/%d.sock"):format(p.pid))
  end)

  test("does not serve other users", function(dir, new)
    if native.uid() ~= 0 then
      return pending("needs root")
    end
    local p = new(SLEEPER)
    for path, mode in pairs({ [dir] = 493, [dir .. "/grun"] = 493, [socket_of(dir, p)] = 438 }) do
      assert(grun.fs.chmod(path, mode))
    end
    local client = ("import socket; s = socket.socket(socket.AF_UNIX); s.connect('%s')\n" ..
      "try:\n s.sendall(b'{\"command\":\"ping\"}\\n'); print(s.recv(100))\n" ..
      "except OSError as e: print(e)"):format(socket_of(dir, p))
    local result = assert(grun.process.run({ "setpriv", "--reuid=65534", "--clear-groups",
      "/usr/bin/python3", "-c", client, timeout = 10 }))
    assert.is_nil(result.stdout:find('"ok"', 1, true), result.stdout)
    assert.is_true(result.stdout ~= "", result.stderr)
    assert.matches('"ok":true', exchange(socket_of(dir, p), '{"command":"ping"}\n'))
  end)

  test("answers wrong input with a message and goes on", function(dir, new)
    local path = socket_of(dir, new(SLEEPER))
    for bytes, message in pairs({
      ["{\n"] = "no JSON", ["\n"] = "no JSON", ["[]\n"] = "unknown command",
      ['"ping"\n'] = "unknown command", ['{"command":"nope"}\n'] = "unknown command",
      ['{"command":["ping"]}\n'] = "unknown command", ["null\n"] = "unknown command",
      ['{"command":"ping","args":3}\n'] = "arguments expected",
      ['{"command":"kill","args":{"thread":"x"}}\n'] = "there is no thread #x",
      ['{"command":"top","args":{"sort":"x"}}\n'] = "bad order",
      ['{"command":"top","args":{"limit":1e9}}\n'] = "bad order or limit",
      [("x"):rep(70000) .. "\n"] = "line too long",
    }) do
      local answer = json.decode((exchange(path, bytes)))
      assert.is_false(answer.ok, bytes:sub(1, 50))
      assert.is_truthy(answer.message:find(message, 1, true), answer.message)
    end
    assert.equal("", exchange(path, ""))
    assert.matches('"ok":true', exchange(path, '{"command":"ping"}\n{"comm'))
    assert.matches('"ok":true.*"ok":true',
      exchange(path, '{"command":"ping"}\n{"command":"ping"}\n'))
  end)

  test("survives clients that leave or do not read", function(dir, new)
    local path = socket_of(dir, new("for i = 1, 3000 do grun.spawn(grun.sleep, 50) end\n" .. SLEEPER))
    local silent = assert(grun.connect("unix:" .. path))
    silent:write('{"command":"ps"}\n')
    for _ = 1, 5 do
      local conn = assert(grun.connect("unix:" .. path))
      conn:write('{"command":"ps"}\n')
      conn:read(100)
      conn:close()
    end
    local text = exchange(path, '{"command":"ps"}\n')
    assert.equal(3000, select(2, text:gsub("sleep, ", "")) - 1)
    silent:close()
    local answer
    for _ = 1, 100 do
      answer = json.decode((exchange(path, '{"command":"process"}\n'))).answer
      if answer.threads == 3001 and answer.fds <= 10 then
        break
      end
      grun.sleep(0.05)
    end
    assert.equal(3001, answer.threads)
    assert.is_true(answer.fds <= 10, answer.fds)
  end)

  test("serves so many clients at once, and closes others", function(dir, new)
    local path = socket_of(dir, new(SLEEPER))
    local list = {}
    for i = 1, 20 do
      list[i] = assert(grun.connect("unix:" .. path))
    end
    local served = 0
    for _, conn in ipairs(list) do
      conn:write('{"command":"ping"}\n')
      served = served + (conn:read("*l") and 1 or 0)
    end
    for _, conn in ipairs(list) do
      conn:close()
    end
    assert.equal(16, served)
    grun.sleep(0.1)
    assert.matches('"ok":true', exchange(path, '{"command":"ping"}\n'))
  end)

  test("has commands of the script's own", function(dir, new)
    local path = socket_of(dir, new([[
      local control = require("grun.control")
      control.command("double", function(args) grun.sleep(0.01) return { n = args.n * 2 } end)
      control.command("fail", function() error("oops", 0) end)
      control.command("refuse", function() return nil, "no" end)
      control.command("pieces", function(args)
        local n = 0
        return function()
          n = n + 1
          if args.fail and n == 3 then error("broken", 0) end
          return n < 5 and "piece " .. n .. "\n" or nil
        end
      end)
      control.command("gone", print)
      control.command("gone", nil)
      grun.sleep(50)]]))
    local function ask(command, args)
      return exchange(path, json.encode({ command = command, args = args }) .. "\n")
    end
    assert.equal('{"answer":{"n":42},"ok":true}\n', ask("double", { n = 21 }))
    assert.matches('"message":"oops"', ask("fail"))
    assert.matches('"message":"no"', ask("refuse"))
    assert.matches("unknown command", ask("gone"))
    assert.equal('{"ok":true,"stream":true}\n8\npiece 1\n8\npiece 2\n8\npiece 3\n8\npiece 4\n0\n',
      ask("pieces"))
    assert.equal('{"ok":true,"stream":true}\n8\npiece 1\n8\npiece 2\n-6\nbroken',
      ask("pieces", { fail = true }))
  end)

  it("misuse raises", function()
    helper.misuse(function() control.command(1, print) end, "command: name expected, got number")
    helper.misuse(function() control.command("x", 1) end, "command: function expected, got number")
  end)
end)

describe("control.call", function()
  -- In this process, which has a socket of its own.
  local function ready()
    assert(control.start())
    return native.pid()
  end

  it("returns the answer, or the pieces", function()
    local pid, pieces = ready(), {}
    finally(function() control.command("spec", nil) end)
    control.command("spec", function(args)
      local n = 0
      return function()
        n = n + 1
        return n <= args.n and ("x"):rep(n) or nil
      end
    end)
    assert.equal(pid, control.call(pid, "ping").pid)
    assert.is_true(control.call(pid, "spec", { n = 3 }, 5, function(text)
      pieces[#pieces + 1] = text
    end))
    assert.same({ "x", "xx", "xxx" }, pieces)
    assert.equal(("%d.sock"):format(pid), control.path(pid):match("[^/]+$"))
    assert.is_true(grun.fs.exists(control.path(pid)))
  end)

  it("times out, and reports failures", function()
    local pid = ready()
    finally(function() control.command("spec", nil) end)
    control.command("spec", function() grun.sleep(0.3) return nil, "too late" end)
    assert.same({ nil, "timeout", "timeout" }, { control.call(pid, "spec", {}, 0.05) })
    assert.same({ nil, "too late" }, { control.call(pid, "spec") })
    assert.same({ nil, "unknown command" }, { control.call(pid, "nope") })
    assert.same({ nil, "there is no process 4194301", "ESRCH" }, { control.call(4194301, "ping") })
    assert.equal("process 1 has no control socket", select(2, control.call(1, "ping")))
  end)
end)

describe("grun ps", function()
  test("lists processes below their parents and removes stale sockets", function(dir, new)
    local p = new("grun.process.spawn{ '" .. helper.grun .. "', '-e', 'grun.sleep(50)' }\n" ..
      "grun.server('tcp://127.0.0.1:0', print)\n" .. SLEEPER)
    local stale = { "4194302.sock", "4194302.backdoor" }
    local kept = { "4194303.sock", p.pid .. ".backdoor", "x4194302.sock", "4194302.socket" }
    for _, name in ipairs({ stale[1], stale[2], kept[2], kept[3], kept[4] }) do
      leave_socket(("%s/grun/%s"):format(dir, name))
    end
    local heir = assert(grun.listen(("unix:%s/grun/%s"):format(dir, kept[1])))
    local limit = grun.now() + 10
    local out
    repeat
      out = run(dir, "ps", "--timeout", "1")
    until out:find("%-e grun.sleep%(50%)") or grun.now() > limit
    assert.matches("^ +PID +UP", out)
    assert.matches(("\n +%d +%%d[^\n]+tcp://127.0.0.1:%%d+ %%(0%%)\n"):format(p.pid), out)
    assert.matches("\n +%d+ +%d[^\n]+    [^\n]*%-e grun.sleep%(50%)", out)
    for _, name in ipairs(stale) do
      assert.is_false(grun.fs.exists(dir .. "/grun/" .. name), name)
    end
    for _, name in ipairs(kept) do
      assert.is_true(grun.fs.exists(dir .. "/grun/" .. name), name)
    end
    heir:close()
    local list = json.decode((run(dir, "ps", "--json", "--timeout", "1")))
    local by_pid = {}
    for _, one in ipairs(list) do
      by_pid[one.pid] = one
    end
    assert.equal(2, by_pid[p.pid].threads)
    assert.equal(0, by_pid[p.pid].servers[1].active)
    for _, one in ipairs(list) do
      if one.ppid == p.pid then
        os.execute("kill " .. one.pid)
      end
    end
  end)

  test("shows the threads of one, as text and as JSON", function(dir, new)
    local p = new([[
      local lock = grun.lock()
      local t = grun.spawn(function() lock:acquire() grun.sleep(50) end)
      t.name = "holder"
      grun.sleep(0)
      grun.spawn(function() lock:acquire() end)
      grun.sleep(50)]])
    local out, err, status = run(dir, "ps", p.pid)
    assert.same({ "", 0 }, { err, status })
    assert.matches("^process %d+ [^\n]+3 threads\n +ID STATE", out)
    assert.matches('\n +2 waiting +[%d.:]+ m?s +0%.%d%d +%d+ +%d+K +  "holder" sleep, 49?8?%.%d s left at', out)
    assert.matches('\n +3 waiting [^\n]+    lock%.acquire held by thread #2 "holder" at [^\n]+:5 from', out)
    local value = assert(json.decode((run(dir, "ps", "--json", p.pid))))
    assert.equal(3, #value.threads)
    local third = value.threads[3]
    assert.same({ 3, 1, "waiting", "lock.acquire", 'held by thread #2 "holder"' },
      { third.id, third.parent, third.state, third.what, third.object })
    assert.equal(p.pid, value.process.pid)
  end)

  test("says why there is no answer", function(dir, new)
    local _, err, status = run(dir, "ps", "4194301")
    assert.same({ "grun ps: there is no process 4194301\n", 1 }, { err, status })
    local p = new("grun.sleep(0.7) while true do end")
    grun.sleep(0.4)
    _, err, status = run(dir, "ps", "--timeout", "0.3", p.pid)
    assert.equal(1, status)
    assert.matches("does not answer; it is running: a thread may be in a loop", err)
    assert.matches("%d +%? .*: does not answer\n", (run(dir, "ps", "--timeout=0.3")))
    p:kill("STOP")
    grun.sleep(0.05)
    _, err = run(dir, "trace", "--timeout=0.3", p.pid)
    assert.matches("it is stopped by a signal", err)
  end)

  it("checks its words", function()
    for _, case in ipairs({
      { { "ps", "x" }, "grun ps: x: process id expected\n" },
      { { "ps", "0" }, "grun ps: 0: process id expected\n" },
      { { "ps", "1", "2" }, "grun ps: one process at a time\n" },
      { { "ps", "--foo" }, "grun ps: unknown option '--foo'; see grun ps --help\n" },
      { { "ps", "--json=1" }, "grun ps: unknown option '--json=1'; see grun ps --help\n" },
      { { "ps", "--timeout", "x" }, "grun ps: --timeout: number expected\n" },
      { { "ps", "--timeout" }, "grun ps: --timeout: number expected\n" },
      { { "trace" }, "grun trace: process id is missing\n" },
      { { "trace", "1", "x" }, "grun trace: x: number of a thread expected\n" },
      { { "trace", "1", "2", "3" }, "grun trace: one thread at a time\n" },
      { { "kill", "1" }, "grun kill: number of a thread is missing\n" },
      { { "stop", "1", "2" }, "grun stop: too many arguments\n" },
      { { "top", "--sort", "x" }, "grun top: --sort: cpu, switches, memory, age or id expected\n" },
      { { "top", "-d", "0" }, "grun top: --delay: 0.1 to 86400 seconds expected\n" },
      { { "top", "--lines=0" }, "grun top: --lines: 1 or more expected\n" },
    }) do
      local out, err, status = helper.run_child(case[1])
      assert.same({ "", case[2], 2 }, { out, err, status })
    end
    for _, name in ipairs({ "ps", "top", "trace", "stop", "reload", "upgrade", "scale", "reopen",
      "kill" }) do
      local out, err, status = helper.run_child({ name, "--help" })
      assert.same({ "", 0 }, { err, status })
      assert.matches("^usage: grun " .. name .. " ", out)
    end
  end)
end)

describe("grun trace", function()
  test("prints the functions of Lua and C", function(dir, new)
    local p = new([[
      local function inner() grun.sleep(50) end
      grun.spawn(function() ("x"):gsub("x", inner) end)
      grun.sleep(50)]])
    local out = run(dir, "trace", p.pid, "2")
    assert.matches("^thread #2 waiting on sleep [^\n]+ s left\n +age ", out)
    assert.matches("\n +%[C%]: in function 'gsub'\n", out)
    assert.matches("\n +C functions:\n +grun: ", out)
    assert.is_nil(out:find("thread #1", 1, true))
    assert.matches("thread #1.*thread #2", (run(dir, "trace", p.pid)))
    local value = assert(json.decode((run(dir, "trace", "--json", p.pid, "2"))))
    assert.equal(1, #value.threads)
    assert.equal("[C]: in function 'sleep'", value.threads[1].lua[1])
    assert.matches("^grun: ", value.threads[1].c[1])
    local _, err, status = run(dir, "trace", p.pid, "77")
    assert.same({ "grun trace: there is no thread #77\n", 1 }, { err, status })
  end)
end)

describe("grun stop, reload and kill", function()
  test("end a process in order", function(dir, new)
    local p = new("local ok, err = pcall(grun.sleep, 50) print(err)")
    assert.equal(("process %d stops\n"):format(p.pid), (run(dir, "stop", p.pid)))
    assert.equal(0, p:wait())
    assert.equal("cancelled: grun stop\n", p.stdout:read("*a"))
  end)

  test("have a handler of SIGHUP reload, and spare processes without one", function(dir, new)
    local p = new("grun.signal('HUP', function() print('reloads') os.exit(0) end) " .. SLEEPER)
    assert.equal(("process %d reloads\n"):format(p.pid), (run(dir, "reload", p.pid)))
    assert.equal("reloads\n", p.stdout:read("*a"))
    p = new(SLEEPER)
    local _, err, status = run(dir, "reload", p.pid)
    assert.equal(1, status)
    assert.matches("nothing in this process handles a reload", err)
    assert.same({ pid = p.pid }, json.decode((run(dir, "stop", "--json", p.pid))))
  end)

  test("cancel one thread", function(dir, new)
    local p = new([[
      local t = grun.spawn(grun.sleep, 50)
      t.name = "victim"
      t:join()
      print(t:status(), t.error)]])
    assert.equal('thread #2 "victim" is cancelled\n', (run(dir, "kill", p.pid, "#2")))
    assert.equal("cancelled\tcancelled: grun kill\n", p.stdout:read("*a"))
  end)
end)

describe("a master", function()
  local SERVER = 'grun.server("tcp://127.0.0.1:0", function() end)'

  -- Waits until that master has `n` workers of a generation. Returns the process id of one.
  local function await(dir, p, n, generation)
    local limit = grun.now() + 15
    local found, pid
    repeat
      found = 0
      for _, about in ipairs(json.decode((run(dir, "ps", "--json")))) do
        if about.ppid == p.pid and about.generation == generation then
          found, pid = found + 1, about.pid
        end
      end
      assert(grun.now() < limit, found .. " workers")
      grun.sleep(0.02)
    until found == n
    return pid
  end

  test("obeys scale, reload and stop, its workers' commands are theirs", function(dir, new)
    local p = new(SERVER, { "-w", "1" })
    local worker = await(dir, p, 1, 1)
    assert.equal(("process %d is told\n"):format(p.pid), (run(dir, "scale", p.pid, "2")))
    await(dir, p, 2, 1)
    assert.equal(("process %d reloads\n"):format(p.pid), (run(dir, "reload", p.pid)))
    await(dir, p, 2, 2)
    local _, err, status = run(dir, "scale", p.pid, "257")
    assert.same({ "grun scale: 1 to 256 workers expected\n", 1 }, { err, status })
    _, err, status = run(dir, "reload", worker)
    assert.same({ ("grun reload: there is no process %d\n"):format(worker), 1 }, { err, status })
    assert.equal(("process %d stops\n"):format(p.pid), (run(dir, "stop", p.pid)))
    assert.equal(0, p:wait(10))
    local text = p.stderr:read("*a")
    assert.matches("generation 2 serves.*grun stop: stopping", text)
    assert.is_nil(text:find("the master is gone", 1, true))
  end)

  test("upgrades when it is told, the successor obeys too", function(dir, new)
    local p = new(SERVER, { "-w", "1" })
    await(dir, p, 1, 1)
    local file = assert(io.open("/proc/" .. p.pid .. "/cmdline"))
    local command = file:read("*a"):gsub("%z$", ""):gsub("%z", " ")
    file:close()
    assert.equal(("process %d starts its successor\n"):format(p.pid), (run(dir, "upgrade", p.pid)))
    assert.equal(0, p:wait(10))
    local successor, limit = nil, grun.now() + 15
    repeat
      for _, about in ipairs(json.decode((run(dir, "ps", "--json")))) do
        successor = about.role == "master" and about.command == command and about.pid or successor
      end
    until successor or grun.now() > limit
    assert.equal(("process %d stops\n"):format(successor), (run(dir, "stop", successor)))
    while grun.fs.exists(("%s/grun/%d.sock"):format(dir, successor)) do
      assert(grun.now() < limit)
      grun.sleep(0.01)
    end
  end)

  test("is what others say they are not", function(dir, new)
    local p = new("grun.sleep(50)")
    for _, words in ipairs({ { "scale", p.pid, "2" }, { "upgrade", p.pid } }) do
      local _, err, status = run(dir, unpack(words))
      assert.same({ ("grun %s: this process is no master of workers\n"):format(words[1]), 1 },
        { err, status })
    end
  end)

  test("replaces a worker that was told to stop before it has ended", function(dir, new)
    local p = new([[
      local s = grun.server("unix:]] .. dir .. [[/s", function(conn)
        conn:write(tostring(grun.worker.generation()))
        conn:recv(1)
      end)]], { "-w", "1" })
    local old = await(dir, p, 1, 1)
    local conn = assert(grun.connect("unix:" .. dir .. "/s"))
    assert.equal("1", conn:recv(1, 5))
    assert.equal(("process %d stops\n"):format(old), (run(dir, "stop", old)))
    await(dir, p, 2, 1) -- the old one still serves its connection
    conn:close()
    run(dir, "stop", p.pid)
    assert.equal(0, p:wait(10))
  end)
end)

describe("grun top", function()
  local BUSY = [[
    local t = grun.spawn(function()
      while true do
        for i = 1, 1e5 do local _ = i * i end
        grun.sleep(0)
      end
    end)
    t.name = "busy"
    grun.sleep(50)]]

  test("shows the busiest threads once, without a terminal", function(dir, new)
    local p = new(BUSY)
    grun.sleep(1)
    local out, err, status = run(dir, "top", p.pid)
    assert.same({ "", 0 }, { err, status })
    assert.matches("^grun top: process %d+ [^\n]+\n2 threads: [^\n]+\n +ID STATE[^\n]+\n +2 %a+", out)
    assert.matches('\n +2 [^\n]+"busy" ', out)
    assert.is_true(tonumber(out:match("\n +2 %a+ +([%d.]+)")) > 0)
    out = run(dir, "top", "--sort=id", "--lines", "1", p.pid)
    assert.matches("\n +1 waiting", out)
    assert.is_nil(out:find("\n +2 "))
    local limit, threads = grun.now() + 5 -- one that answered before may still be ending
    repeat
      threads = json.decode((run(dir, "top", "--json", p.pid))).threads
    until #threads == 2 or grun.now() > limit
    assert.equal(2, #threads)
    assert.matches("^grun top: %d+ processes", (run(dir, "top")))
  end)

  test("refreshes a terminal, obeys keys and leaves it as it was", function(dir, new)
    local p = new(BUSY)
    local command = ("stty rows 5 cols 60; stty -g; XDG_RUNTIME_DIR=%s %s top -d 0.2 %d; stty -g")
      :format(dir, helper.grun, p.pid)
    local child = assert(grun.process.spawn({ "script", "-qec", command, "/dev/null",
      stdin = "pipe", stdout = "pipe" }))
    local seen, screens = "", 0
    local function read_until(n)
      while screens < n do
        local text = assert(child.stdout:recv(4096, 10))
        seen = seen .. text
        screens = select(2, seen:gsub("\27%[H", ""))
      end
    end
    read_until(3)
    assert.matches("\27%[%?1049h", seen)
    assert.matches("\27%[7m +ID STATE", seen)
    child.stdin:write("i")
    read_until(screens + 2)
    child.stdin:write("q")
    seen = seen .. child.stdout:read("*a")
    assert.equal(0, child:wait())
    child.stdin:close()
    child.stdout:close()
    local screen = seen:match(".*\27%[H(.-)\27%[%?25h"):gsub("\27%[%??%d*%a", ""):gsub("\r", "")
    assert.matches("^grun top[^\n]+\n2 threads[^\n]+\n +ID [^\n]+\n +1 waiting[^\n]+\n +2 [^\n]+$",
      screen)
    for line in screen:gmatch("[^\n]+") do
      assert.is_true(#line <= 60, line)
    end
    local before, after = seen:match("^([%x:]+)\r*\n"), seen:match("([%x:]+)\r*\n$")
    assert.is_truthy(before)
    assert.equal(before, after)
  end)
end)
