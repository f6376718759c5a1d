-- SPDX-License-Identifier: MIT
-- Worker processes: grun -w, grun serve -w, their master and its signals.

local grun = require("grun")
local helper = require("spec.helper")
local workers = require("spec.workers_helper")
local native = require("grun.core.worker")

local children_of, eventually, kill = workers.children_of, workers.eventually, workers.kill
local start, state_of = workers.start, workers.state_of

-- A server whose answer to a line tells who answers. "die", "spin", "exit" do what they say.
local SERVER = [[
local native = require("grun.core.worker")
local s = assert(grun.server("tcp://127.0.0.1:0", function(conn)
  for line in conn:lines() do
    if line == "spin" then while true do end end
    if line == "exit" then os.exit(0) end
    if line == "slow" then grun.sleep(0.3) end
    conn:write(("%d %d %d %d\n"):format(native.pid(), grun.worker.id(), grun.worker.count(),
      grun.worker.generation()))
  end
end))
if grun.worker.id() == 1 then
  io.stdout:write("at ", s:address(), "\n")
  io.stdout:flush()
end
]]

local function runs(pid)
  local state = state_of(pid)
  return state ~= nil and state ~= "Z"
end

-- Starts a server with the options; returns it and its address, once all workers serve.
local function serve(options, source)
  local args = {}
  for i, option in ipairs(options) do
    args[i] = option
  end
  args[#args + 1] = helper.script(source or SERVER)
  local child = start(args)
  eventually("a server: " .. child:err(), function()
    return child:err():find("workers? serves?\n") or child:ended()
  end)
  return child, child:out():match("at (%S+)")
end

-- One line there and back: { pid =, id =, count =, generation = }.
local function ask(address, line)
  local conn, message = grun.connect(address)
  if not conn then
    return nil, message
  end
  conn:settimeout(5)
  conn:write(line or "hello", "\n")
  local answer
  answer, message = conn:read("l")
  conn:close()
  if not answer then
    return nil, message
  end
  local pid, id, count, generation = answer:match("(%d+) (%d+) (%d+) (%d+)")
  return {
    pid = tonumber(pid), id = tonumber(id), count = tonumber(count),
    generation = tonumber(generation),
  }
end

local function wait_for_workers(child, n, old)
  return eventually(n .. " workers", function()
    local list = children_of(child.pid)
    for _, pid in ipairs(list) do
      if old and old[pid] then
        return nil
      end
    end
    return #list == n and list
  end)
end

local function set(list)
  local found = {}
  for _, item in ipairs(list) do
    found[item] = true
  end
  return found
end

describe("workers", function()
  local it = workers.test(it, function(fn) finally(fn) end)

  it("share one socket, know their numbers and end in order", function()
    local child, address = serve({ "-w", "2" })
    local list = wait_for_workers(child, 2)
    local seen = {}
    eventually("an answer of each", function()
      local who = ask(address)
      assert.equal(2, who.count)
      assert.equal(1, who.generation)
      seen[who.id] = who.pid
      return seen[1] and seen[2]
    end)
    assert.same(set(list), set(seen))
    child:signal("TERM")
    assert.equal(0, child:wait())
    assert.is_nil((grun.connect(address)))
    for _, pid in ipairs(list) do
      assert.is_false(runs(pid))
    end
  end)

  it("say how long a stop may take", function()
    for signal, text in pairs({ TERM = "SIGTERM: stopping within 7 s\n", INT = "SIGINT: stopping within 1 s\n" }) do
      local child = serve({ "-w", "1", "--graceful-timeout", "7" })
      child:signal(signal)
      assert.equal(signal == "INT" and 130 or 0, child:wait())
      assert.is_truthy(child:err():find(text, 1, true), child:err())
    end
  end)

  it("end with status 130 for ^C, at once", function()
    local child, address = serve({ "-w", "2" })
    local conn = assert(grun.connect(address))
    conn:write("hello\n")
    conn:read("l")
    local from = grun.now()
    child:signal("INT")
    assert.equal(130, child:wait())
    conn:close()
    assert.is_true(grun.now() - from < 5)
  end)

  it("are killed when they do not end within the grace period", function()
    local child, address = serve({ "-w", "1", "--graceful-timeout", "0.2" }, SERVER:gsub('"spin" then',
      '"spin" then grun.shield(grun.sleep, 60) '))
    local conn = assert(grun.connect(address))
    conn:write("spin\n")
    grun.sleep(0.05)
    local from = grun.now()
    child:signal("TERM")
    assert.equal(0, child:wait())
    conn:close()
    assert.is_true(grun.now() - from < 5)
  end)

  it("are replaced at once when they are killed, and only their connections are lost", function()
    local child, address = serve({ "-w", "2" })
    local conns = {}
    for i = 1, 20 do
      conns[i] = assert(grun.connect(address))
      conns[i]:settimeout(5)
    end
    local function pid_of(conn)
      conn:write("hello\n")
      local line = conn:read("l")
      return line and tonumber(line:match("%d+"))
    end
    local owner = {}
    for i, conn in ipairs(conns) do
      owner[i] = assert(pid_of(conn))
    end
    grun.sleep(1.1) -- not a short life any more
    local victim = owner[1]
    kill("KILL", victim)
    local from = grun.now()
    wait_for_workers(child, 2, { [victim] = true })
    assert.is_true(grun.now() - from < 1)
    for i, conn in ipairs(conns) do
      local now = pid_of(conn)
      conn:close()
      assert.equal(owner[i] ~= victim and owner[i] or nil, now)
    end
    assert.is_truthy(ask(address))
    assert.is_truthy(child:err():find("was killed by SIGKILL, perhaps out of memory", 1, true))
  end)

  it("that die soon after their start come back later and later", function()
    local source = SERVER .. "if grun.worker.id() == 2 then grun.sleep(0.1) os.exit(5) end"
    local child = serve({ "-w", "2" }, source)
    child:expect_err("starting another in 0.1 s")
    child:expect_err("starting another in 0.2 s")
    child:expect_err("starting another in 0.4 s")
    assert.equal(child.pid, tonumber(child.pid))
    assert.is_false(child:ended())
  end)

  it("that cannot start stop the master with a message", function()
    for source, message in pairs({
      ["this is no Lua"] = "'=' expected near 'is'",
      ["error('boom')"] = "boom",
      ["os.exit(7)"] = "ended with status 7 before it served: stopping",
    }) do
      local _, err, status = helper.run_child({ "-w", "2", helper.script(source) })
      assert.equal(1, status)
      assert.is_truthy(err:find(message, 1, true), err)
    end
  end)

  it("that are in a deadlock before they serve stop the master, with status 2", function()
    for _, options in ipairs({ {}, { "--reload" }, { "--worker-timeout", "1" } }) do
      local args = { "-w", "2" }
      args[3], args[4] = options[1], options[2]
      args[#args + 1] = helper.script("grun.event():wait()")
      local _, err, status = helper.run_child(args, { timeout = 10 })
      assert.equal(2, status, err)
      assert.matches("grun: deadlock: 1 thread waits for what can never happen\nthread #1 .- waiting on event", err)
      assert.matches("grun: worker %d %(pid %d+%) was in a deadlock and has ended before it served: stopping", err)
    end
  end)

  it("that get into a deadlock are replaced; those that serve or wait for their start are in none", function()
    local child, address = serve({ "-w", "2" }, [[
      local e = grun.event()
      grun.worker.on_start(function() e:set() end)
      e:wait()
      ]] .. SERVER .. [[
      if grun.worker.id() == 2 then s:stop() e:clear() e:wait() end]])
    child:expect_err("grun: deadlock: 1 thread waits")
    child:expect_err("was in a deadlock and has ended; starting another in 0.1 s")
    child:expect_err("starting another in 0.2 s")
    assert.equal(1, ask(address).id)
    assert.matches("grun: worker 2 %(pid %d+%) was", child:err())
    assert.is_nil(child:err():find("grun: worker 1", 1, true))
  end)

  it("that serve nothing and end let the master end", function()
    local out, _, status = helper.run_child({ "-w", "2", "-q",
      helper.script("io.write(grun.worker.id(), ' ', arg[1], '\\n')"), "x" })
    assert.equal(0, status)
    assert.is_truthy(out == "1 x\n2 x\n" or out == "2 x\n1 x\n", out)
  end)

  it("are replaced by a new generation on HUP, which sees changed files", function()
    local child, address = serve({ "-w", "2" })
    local old = set(wait_for_workers(child, 2))
    local conn = assert(grun.connect(address))
    conn:settimeout(5)
    conn:write("slow\n")
    grun.sleep(0.05)
    child:signal("HUP")
    assert.is_truthy(conn:read("l")) -- answered by the old one, in peace
    conn:close()
    wait_for_workers(child, 2, old)
    assert.equal(2, ask(address).generation)
  end)

  it("stay when the new generation cannot start", function()
    local name = helper.script(SERVER)
    local child = start({ "-w", "2", name })
    child:expect_err("2 workers serve")
    local address = child:out():match("at (%S+)")
    local old = wait_for_workers(child, 2)
    local file = assert(io.open(name, "w"))
    -- The other one serves by then.
    file:write("if grun.worker.id() == 2 then grun.sleep(0.2) error('not today') end\n", SERVER)
    file:close()
    child:signal("HUP")
    child:expect_err("the reload is given up")
    wait_for_workers(child, 2)
    assert.same(set(old), set(children_of(child.pid)))
    assert.equal(1, ask(address).generation)
  end)

  it("become one more with TTIN and one less with TTOU", function()
    local child, address = serve({ "-w", "1" })
    child:signal("TTIN")
    wait_for_workers(child, 2)
    eventually("a count of 2", function()
      return ask(address).count == 2
    end)
    child:signal("TTOU")
    wait_for_workers(child, 1)
    assert.equal(1, ask(address).id)
    child:signal("TTOU")
    child:signal("HUP")
    child:expect_err("generation 2 serves")
    wait_for_workers(child, 1)
  end)

  it("whose loop is stuck are ended, also when they are stopped", function()
    local child, address = serve({ "-w", "1", "--worker-timeout", "0.5" })
    local conn = assert(grun.connect(address))
    conn:write("spin\n")
    child:expect_err("grun: stuck in thread #")
    child:expect_err("ended by SIGABRT")
    conn:close()
    eventually("another one", function()
      return ask(address)
    end)
    kill("STOP", wait_for_workers(child, 1)[1])
    child:expect_err("ended by SIGKILL")
    eventually("another one", function()
      return ask(address)
    end)
  end)

  it("go when their master is killed", function()
    local child = serve({ "-w", "2" })
    local list = wait_for_workers(child, 2)
    child:signal("KILL")
    child:wait()
    eventually("the end of the workers", function()
      return not runs(list[1]) and not runs(list[2])
    end)
  end)

  it("are replaced after --max-requests, the successor first", function()
    local child, address = serve({ "-w", "1", "--max-requests", "5", "--max-requests-jitter", "2" })
    local pids, n = {}, 0
    for _ = 1, 60 do
      local who = assert(ask(address))
      n = n + (pids[who.pid] and 0 or 1)
      pids[who.pid] = true
      grun.sleep(0.005)
    end
    assert.is_true(n >= 3, n .. " workers")
    assert.is_nil(child:err():find("starting another", 1, true))
  end)

  it("that end by themselves or by TERM are replaced", function()
    local child, address = serve({ "-w", "1" })
    local old = wait_for_workers(child, 1)
    kill("TERM", old[1])
    local new = wait_for_workers(child, 1, set(old))
    grun.sleep(1)
    eventually("an answer", function()
      return ask(address)
    end)
    ask(address, "exit")
    wait_for_workers(child, 1, set(new))
  end)

  it("divide connections evenly, also with one that has come later", function()
    local child, address = serve({ "-w", "2" })
    wait_for_workers(child, 2)
    local conns, count = {}, {}
    local function open(n)
      for _ = 1, n do
        local conn = assert(grun.connect(address))
        conns[#conns + 1] = conn
        conn:write("hello\n")
        local pid = conn:read("l"):match("%d+")
        count[pid] = (count[pid] or 0) + 1
      end
    end
    open(100)
    local victim = next(count)
    kill("KILL", victim)
    wait_for_workers(child, 2, { [tonumber(victim)] = true })
    count[victim] = nil
    eventually("the new one", function()
      open(1)
      local first, second = next(count)
      return first and next(count, first) and second
    end)
    open(60)
    for _, conn in ipairs(conns) do
      conn:close()
    end
    local sum = 0
    for _, n in pairs(count) do
      sum = sum + n
    end
    for _, n in pairs(count) do
      assert.is_true(math.abs(n - sum / 2) <= 0.1 * sum, n .. " of " .. sum)
    end
  end)

  it("share sockets of datagrams, unix paths and several addresses", function()
    local path = helper.tmpname()
    os.remove(path)
    local child = serve({ "-w", "2" }, ([[
      local native = require("grun.core.worker")
      local a = assert(grun.server("udp://127.0.0.1:0", function(data) return data .. native.pid() end))
      local b = assert(grun.server("unix:%s", function(conn) conn:write("hi\n") end, { mode = "0600" }))
      local c = assert(grun.server("tcp://127.0.0.1:0", function() end))
      local d = assert(grun.server("tcp://127.0.0.1:0", function() end))
      assert(c:address() ~= d:address())
      io.stdout:write(a:address(), " ", c:address(), " ", d:address(), "\n")
      io.stdout:flush()
    ]]):format(path))
    local lines = {}
    for line in child:out():gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    assert.equal(2, #lines)
    assert.equal(lines[1], lines[2])
    local sock = assert(grun.udp("udp://127.0.0.1:0"))
    sock:settimeout(5)
    local peer = assert(sock:peer("127.0.0.1", tonumber(lines[1]:match("udp://127.0.0.1:(%d+)"))))
    assert(sock:send_to("x", peer))
    assert.is_truthy(sock:recv():find("^x%d+$"))
    sock:close()
    local conn = assert(grun.connect("unix:" .. path))
    assert.equal("hi", conn:read("l"))
    conn:close()
    child:signal("HUP")
    child:expect_err("generation 2 serves")
    assert.is_truthy(io.open(path) == nil and os.execute("test -S " .. path) == 0)
    child:signal("TERM")
    assert.equal(0, child:wait())
    assert.is_true(os.execute("test -e " .. path) ~= 0)
  end)

  it("serve applications, with a socket of their own each where that is asked for", function()
    local path = helper.tmpname()
    os.remove(path)
    local listener = assert(grun.listen("tcp://127.0.0.1:0"))
    local port = listener:address():match("%d+$")
    listener:close()
    local app = helper.script("return function() return tostring(grun.worker.id()) end")
    local child = start({ "serve", "-w", "2", "--reuse-port", "-b", "127.0.0.1:" .. port, "-b",
      "unix:" .. path, "--mode", "0640", app })
    child:expect_err("2 workers serve")
    local pipe = io.popen(("ss -Hltn 'sport = :%s' | wc -l; stat -c %%a %s"):format(port, path))
    assert.equal("2\n640\n", pipe:read("*a"))
    pipe:close()
    local seen = {}
    eventually("an answer of each", function()
      seen[assert(grun.http.get("http://127.0.0.1:" .. port, { headers = { Connection = "close" } })).body] = true
      return seen["1"] and seen["2"]
    end)
    assert.equal(1, select(2, child:err():gsub("serving [^\n]- on http://127", "")))
  end)

  it("take sockets from a service manager and tell it what they do, also without -w", function()
    local path = helper.tmpname()
    os.remove(path)
    local manager = assert(grun.udp("unixgram:" .. path))
    manager:settimeout(5)
    local listener = assert(grun.listen("tcp://127.0.0.1:0"))
    local address = listener:address()
    local app = helper.script("return function() return 'hi' end")
    for _, option in ipairs({ "-w 2", "" }) do
      local env = grun.process.environ()
      env.NOTIFY_SOCKET, env.LISTEN_FDS, env.LISTEN_FDNAMES = path, "1", "web"
      env.WATCHDOG_USEC = "200000"
      local p = assert(grun.process.spawn({
        "sh", "-c", ("LISTEN_PID=$$ exec %s -q serve %s -b systemd:web %s"):format(
          helper.quote(helper.grun), option, app),
        env = env, fds = { listener:fd() },
      }))
      local told = ""
      local function expect(word)
        eventually(word .. " in " .. told, function()
          told = told .. manager:recv() .. "\n"
          return told:find(word, 1, true)
        end)
      end
      expect("READY=1\nMAINPID=" .. p.pid)
      local pipe = io.popen("curl -s -m 3 " .. address:gsub("^tcp", "http"))
      assert.equal("hi", pipe:read("*a"), option)
      pipe:close()
      told = ""
      expect("WATCHDOG=1")
      if option ~= "" then
        p:kill("HUP")
        expect("RELOADING=1\nMONOTONIC_USEC=")
        expect("READY=1")
      end
      p:kill("TERM")
      expect("STOPPING=1")
      assert.equal(0, p:wait(5))
    end
    listener:close()
    manager:close()
  end)

  it("are upgraded in place on USR2, with their sockets and the pid file", function()
    local pidfile, path = helper.tmpname(), helper.tmpname()
    os.remove(pidfile)
    os.remove(path)
    local source = SERVER .. ('grun.server("unix:%s", function(c) c:write("hi\\n") end)'):format(path)
    local child, address = serve({ "-w", "1", "--pid", pidfile }, source)
    local function read_pid()
      local file = io.open(pidfile)
      local pid = file and tonumber(file:read("*a"))
      if file then
        file:close()
      end
      return pid
    end
    assert.equal(child.pid, read_pid())
    child:signal("USR2")
    assert.equal(0, child:wait())
    local new = read_pid()
    assert.is_true(new ~= child.pid and runs(new))
    assert.is_truthy(ask(address))
    local conn = assert(grun.connect("unix:" .. path))
    assert.equal("hi", conn:read("l"))
    conn:close()
    assert.is_nil(io.open(pidfile .. ".oldbin"))
    kill("TERM", new)
    eventually("the end of the new master", function()
      return not runs(new)
    end)
    assert.is_nil(io.open(pidfile))
    assert.is_true(os.execute("test -e " .. path) ~= 0)
  end)

  it("go on when an upgrade fails", function()
    local name, pidfile = helper.script(SERVER), helper.tmpname()
    os.remove(pidfile)
    local child = start({ "-w", "1", "--pid", pidfile, name })
    child:expect_err("1 worker serves")
    local address = child:out():match("at (%S+)")
    local file = assert(io.open(name, "w"))
    file:write("error('not today')")
    file:close()
    child:signal("USR2")
    child:expect_err("the upgrade has failed")
    assert.is_truthy(ask(address))
    assert.equal(child.pid .. "\n", helper.contents(pidfile))
  end)

  it("are reloaded when a file that they have loaded changes", function()
    local dir = helper.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. dir) == 0)
    local function write(n)
      local file = assert(io.open(dir .. "/answer.lua", "w"))
      file:write("return " .. n)
      file:close()
    end
    write(1)
    local child, address = serve({ "--reload" }, ([[
      package.path = "%s/?.lua;" .. package.path
      local answer = require("answer")
      local s = grun.server("tcp://127.0.0.1:0", function(conn) conn:write("0 0 0 ", answer, "\n") end)
      io.stdout:write("at ", s:address(), "\n")
      io.stdout:flush()
    ]]):format(dir))
    finally(function()
      os.execute("rm -r " .. dir)
      workers.end_all()
    end)
    assert.equal(1, ask(address).generation)
    write(2)
    eventually("the new answer", function()
      return ask(address).generation == 2
    end)
    assert.is_truthy(child:err():find("answer.lua has changed", 1, true))
  end)

  it("call what was given to on_start, on_stop and on_reopen", function()
    local child = serve({ "-w", "1" }, [[
      local function say(what)
        return function(id) io.stdout:write(what, " ", tostring(id), "\n") io.stdout:flush() end
      end
      grun.worker.on_start(say("start"))
      grun.worker.on_stop(say("stop"))
      grun.worker.on_reopen(say("reopen"))
      grun.server("tcp://127.0.0.1:0", function() end)
    ]])
    child:expect("start 1")
    child:signal("USR1")
    child:expect("reopen nil")
    child:signal("TERM")
    assert.equal(0, child:wait())
    assert.is_truthy(child:out():find("stop 1", 1, true))
  end)

  it("have hooks without -w too", function()
    local out, err, status = helper.run_script([[
      grun.worker.on_start(function(id) print("start", id) require("grun.stop").start("enough", 0) end)
      grun.worker.on_stop(function() grun.sleep(0.05) print("stop", grun.worker.count()) end)
      grun.server("tcp://127.0.0.1:0", function() end)
    ]])
    assert.equal("", err)
    assert.equal("start\tnil\nstop\t0\n", out)
    assert.equal(0, status)
    helper.misuse(function() grun.worker.on_start(1) end, "on_start: function expected, got number")
  end)

  it("refuse bad values of options, each with a message", function()
    local script = helper.script(SERVER)
    local function refused(message, ...)
      local args = { ... }
      args[#args + 1] = script
      local _, err, status = helper.run_child(args)
      assert.equal("grun: " .. message .. "\n", err)
      assert.equal(1, status)
    end
    refused("--workers: 1 to 256 workers, or auto, not 0", "-w", "0")
    refused("--workers: number expected, got 'many'", "--workers=many")
    refused("--graceful-timeout: number expected, got 'x'", "-w1", "--graceful-timeout", "x")
    refused("--max-requests: number expected, got '-1'", "--max-requests=-1")
    refused("--umask: octal number up to 777 expected, got '8'", "--umask", "8")
    refused("--chdir /nowhere: No such file or directory", "--chdir", "/nowhere")
    refused("--user: there is no user 'nobody-at-all'", "--user", "nobody-at-all")
    refused("--group: there is no group 'nobody-at-all'", "--group", "nobody-at-all")
    for _, words in ipairs({ { "-w", "2" }, { "-w2", "-" }, { "--pid", "x", "-e", "" } }) do
      local _, err, status = helper.run_child(words)
      assert.same({ "grun: worker processes need a script in a file; -w and its like are for those\n", 1 },
        { err, status })
    end
    local _, err = helper.run_child({ "-w", "1", "--bind-before-fork", "nonsense", script })
    assert.is_truthy(err:find("^grun: %-%-bind%-before%-fork nonsense: bad address"), err)
  end)

  it("say with --check what would run", function()
    local out, _, status = helper.run_child({ "--check", "-w", "2", "--max-requests", "7",
      helper.script(SERVER) })
    assert.equal(0, status)
    assert.is_truthy(out:find(": 2 workers, grace 30 s, worker timeout 30 s\n  max-requests: 7\n", 1, true), out)
  end)

  it("do not start while the pid file names a process that runs", function()
    local name = helper.tmpname(tostring(native.pid()))
    local _, err, status = helper.run_child({ "-w", "1", "--pid", name, helper.script(SERVER) })
    assert.equal(1, status)
    assert.equal(("grun: --pid: %s: process %d runs already\n"):format(name, native.pid()), err)
    local stale = helper.tmpname("99999999\n")
    local child = serve({ "-w", "1", "--pid", stale })
    assert.equal(child.pid .. "\n", helper.contents(stale))
    child:signal("TERM")
    child:wait()
    assert.is_nil(io.open(stale))
  end)

  it("run as another user", function()
    if native.ids() ~= 0 then
      return pending("only root can")
    end
    local name = helper.script(SERVER)
    os.execute("chmod 644 " .. name)
    local child = start({ "-w", "1", "--user", "nobody", "--umask", "027", name })
    child:expect_err("1 worker serves")
    local worker = wait_for_workers(child, 1)[1]
    local status = helper.contents(("/proc/%d/status"):format(worker))
    local uid, gid, found = native.user("nobody")
    assert.equal("nobody", found)
    assert.is_truthy(status:find(("\nUid:\t%d\t%d\t%d"):format(uid, uid, uid)))
    assert.is_truthy(status:find(("\nGid:\t%d\t%d\t%d"):format(gid, gid, gid)))
    assert.is_truthy(status:find("\nUmask:\t0027"))
  end)

  it("leave a master that sleeps", function()
    local child = serve({ "-w", "2" })
    grun.sleep(1.5)
    local function switches()
      local text = helper.contents(("/proc/%d/status"):format(child.pid))
      return tonumber(text:match("\nvoluntary_ctxt_switches:%s+(%d+)"))
    end
    local before = switches()
    grun.sleep(0.7)
    assert.equal(before, switches())
  end)

  it("survive storms", function()
    for _, storm in ipairs({ "kill 1", "hup 10", "term 3", "upgrade 3", "signals 40" }) do
      local args = { "scripts/stress/workers.lua" }
      for word in storm:gmatch("%S+") do
        args[#args + 1] = word
      end
      local out, err, status = helper.run_child(args, { env = { GRUN = helper.grun } })
      assert.equal(0, status, out .. err)
    end
  end)
end)
