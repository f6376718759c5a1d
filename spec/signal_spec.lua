-- SPDX-License-Identifier: MIT
-- Signals: the orderly stop, SIGQUIT's report, SIGPIPE.

local grun = require("grun")

local child = require("spec.cli.child")
local helper = require("spec.helper")

-- A child that is put away after the test.
local function start(source)
  local c = child.start_script(source)
  finally(function()
    c:destroy()
  end)
  return c
end

local function lines(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    list[#list + 1] = line
  end
  table.sort(list)
  return list
end

-- Prints without stdio's buffer, so that the spec sees it at once.
local HEAD = "io.stdout:setvbuf('no') "

describe("^C and SIGTERM", function()
  local signals = { { "INT", 130 }, { "TERM", 0 } }

  for _, signal in ipairs(signals) do
    local name, status = signal[1], signal[2]

    it(name .. " cancels every thread, clean-up runs, then the status is " .. status, function()
      local c = start(HEAD .. [[
        local function work(name)
          local ok, err = pcall(grun.sleep, 100)
          grun.shield(grun.sleep, 0.02)
          print(name, ok, tostring(err), grun.is_cancel(err))
        end
        grun.spawn(work, "one")
        grun.spawn(work, "two")
        grun.spawn_later(50, print, "never")
        print("ready")
        work("script")]])
      c:expect("ready")
      c:signal(name)
      assert.equal(status, c:wait())
      local line = "\tfalse\tcancelled: SIG" .. name .. "\tSIG" .. name
      assert.same({ "one" .. line, "ready", "script" .. line, "two" .. line }, lines(c:out()))
      assert.equal("", c:err())
    end)

    it(name .. " reaches every kind of wait", function()
      local c = start(HEAD .. [[
        local a, b = grun.pair()
        local waits = {
          sleep = function() grun.sleep(100) end,
          read = function() a:read(1) b:close() end,
          join = function() grun.threads()[1]:join() end,
          event = function() require("grun").event():wait() end,
          accept = function() grun.listen("tcp://127.0.0.1:0"):accept() end,
          callback = function() ("x"):gsub("x", function() grun.sleep(100) end) end,
          coroutine = function() coroutine.wrap(function() grun.sleep(100) end)() end,
          timeout = function() grun.timeout(100, grun.sleep, 100) end,
          idler = function() while true do grun.yield() grun.idle() end end,
        }
        for name, wait in pairs(waits) do
          grun.spawn(function()
            local ok, err = pcall(wait)
            print(name, ok, grun.is_cancel(err))
          end)
        end
        grun.sleep(0.05)
        print("ready")
        grun.sleep(100)]])
      c:expect("ready")
      c:signal(name)
      assert.equal(status, c:wait())
      local expected = { "ready" }
      local waits = "accept callback coroutine event idler join read sleep timeout"
      for wait in waits:gmatch("%S+") do
        expected[#expected + 1] = wait .. "\tfalse\tSIG" .. name
      end
      assert.same(lines(table.concat(expected, "\n")), lines(c:out()))
      assert.equal("", c:err())
    end)

    it(name .. " has its status also when a script fails on its way out", function()
      local c = start(HEAD .. "print('ready') pcall(grun.sleep, 100) error('on the way out')")
      c:expect("ready")
      c:signal(name)
      assert.equal(status, c:wait())
      assert.matches("on the way out\nstack traceback", c:err())
    end)

    it(name .. " a second time ends the process at once, even in a busy loop", function()
      local c = start(HEAD .. "print('ready') pcall(grun.sleep, 100) print('cleaning') " ..
        "while true do end")
      c:expect("ready")
      c:signal(name)
      c:expect("cleaning")
      local before = grun.now()
      c:signal(name)
      assert.equal(name == "INT" and 130 or 143, c:wait())
      assert.truthy(grun.now() - before < 5)
      assert.equal("", c:err())
    end)

    it(name .. " twice ends a loop that never got to wait", function()
      local c = start(HEAD .. "print('ready') while true do end")
      c:expect("ready")
      c:signal(name)
      grun.sleep(0.1)
      assert.is_false(c:ended())
      c:signal(name)
      assert.equal(name == "INT" and 130 or 143, c:wait())
    end)
  end

  it("one after the other end the process at once as well", function()
    local c = start(HEAD .. "print('ready') grun.shield(function() pcall(grun.sleep, 100) end)")
    c:expect("ready")
    c:signal("TERM")
    grun.sleep(0.1)
    assert.is_false(c:ended())
    c:signal("INT")
    assert.equal(130, c:wait())
    assert.equal("", c:err())
  end)

  it("cancel what is spawned during the stop, too", function()
    local c = start(HEAD .. [[
      print("ready")
      pcall(grun.sleep, 100)
      grun.spawn(function() print("late", pcall(grun.sleep, 100)) end)]])
    c:expect("ready")
    c:signal("TERM")
    assert.equal(0, c:wait())
    assert.equal("ready\nlate\tfalse\tcancelled: SIGTERM\n", c:out())
  end)

  it("report and abandon who does not end within the grace period", function()
    local c = start(HEAD .. [[
      grun.grace = 0.1
      grun.spawn(function() while true do pcall(grun.sleep, 100) end end).name = "stubborn"
      grun.spawn(grun.shield, grun.sleep, 100)
      grun.spawn(grun.sleep, 100).name = "obedient"
      print("ready")]])
    c:expect("ready")
    local before = grun.now()
    c:signal("INT")
    assert.equal(130, c:wait())
    assert.truthy(grun.now() - before >= 1.1)
    assert.matches("^grun: 2 threads did not end within 1%.1 s and are abandoned\n" ..
      "thread #2 \"stubborn\" %a+.-, cancelled.-\nthread #3 waiting on sleep, cancelled", c:err())
    assert.falsy(c:err():find("obedient", 1, true))
  end)

  it("say after a second how long they wait at most, unless told to be quiet", function()
    local source = HEAD .. [[
      grun.grace = 9
      local s = grun.server("tcp://127.0.0.1:0", function() print("ready") grun.shield(grun.sleep, 1.5) end)
      local c = grun.connect(s:address())
      c:read(1)]]
    local text = "^grun: SIGTERM: waiting up to [78] s for 1 thread; another signal ends that\n$"
    for option, said in pairs({ ["--log=warn"] = text, ["-q"] = "^$" }) do
      local c = child.start({ option, helper.script(source) })
      finally(function()
        c:destroy()
      end)
      c:expect("ready")
      c:signal("TERM")
      assert.equal(0, c:wait())
      assert.matches(said, c:err())
    end
  end)

  it("close the state in order: finalizers run", function()
    local c = start(HEAD .. [[
      local p = newproxy(true)
      getmetatable(p).__gc = function() print("closed") end
      print("ready")
      grun.sleep(100)]])
    c:expect("ready")
    c:signal("TERM")
    assert.equal(0, c:wait())
    assert.equal("ready\nclosed\n", c:out())
  end)
end)

describe("servers", function()
  -- Tells its address on stdout. A connection takes until its second line; after "deep" in a
  -- thread that its handler spawns.
  local SERVER = HEAD .. [[
    local function slow(conn)
      conn:write("begun\n")
      local line, message = conn:read()
      conn:write("ended ", line or message, "\n")
    end
    local function handler(conn)
      local what = conn:read()
      if what == "deep" then
        grun.spawn(slow, conn):get()
      else
        slow(conn)
      end
    end
    local server = assert(grun.server("tcp://127.0.0.1:0", handler))
    print(server:address())]]

  local function connect(c, what)
    c:expect("\n")
    local conn = assert(grun.connect(c:out():match("^[^\n]+")))
    conn:settimeout(10)
    conn:write(what, "\n")
    assert.equal("begun", conn:read())
    return conn
  end

  for _, what in ipairs({ "slow", "deep" }) do
    it("finish the connections they have and take no more (" .. what .. ")", function()
      local c = start(SERVER)
      local conn = connect(c, what)
      finally(function()
        conn:close()
        c:destroy()
      end)
      c:signal("TERM")
      local refused
      local limit = grun.now() + 10
      repeat
        grun.sleep(0.01)
        local other, _, code = grun.connect(c:out():match("^[^\n]+"))
        if other then
          other:close()
        end
        refused = code == "ECONNREFUSED"
      until refused or grun.now() > limit
      assert.is_true(refused)
      assert.is_false(c:ended())
      conn:write("in peace\n")
      assert.equal("ended in peace", conn:read())
      assert.equal(0, c:wait())
      assert.equal("", c:err())
    end)
  end

  it("cancel the connections that are left after the grace period", function()
    local c = start("grun.grace = 0.2 " .. SERVER)
    local conn = connect(c, "slow")
    finally(function()
      conn:close()
      c:destroy()
    end)
    c:signal("INT")
    assert.same({ nil, "closed", "closed" }, { conn:read() })
    assert.equal(130, c:wait())
    assert.equal("", c:err())
  end)
end)

describe("SIGQUIT", function()
  it("prints every thread with what it waits on, and the process goes on", function()
    local c = start(HEAD .. [[
      local function parent()
        local t = grun.spawn(function() grun.sleep(50) end)
        t.name = "child"
        t:join()
      end
      local go = require("grun").event()
      grun.spawn(parent).name = "parent"
      grun.spawn(function() go:wait() print("went on") os.exit(0) end)
      grun.sleep(0)
      grun.sleep(0)
      print("ready")
      local a, b = grun.pair()
      grun.spawn_later(60, print)
      grun.timeout(0.5, a.read, a, 1)
      go:set()
      grun.sleep(50)]])
    c:expect("ready")
    c:signal("QUIT")
    c:expect("went on")
    assert.equal(0, c:wait())
    local report = c:err()
    local script = report:match("thread #1 \"(.-)\"")
    report = report:gsub(script:gsub("%p", "%%%0"), "SCRIPT")
    for _, pattern in ipairs({
      "^grun: SIGQUIT: all threads\n" ..
        "thread #1 \"SCRIPT\" waiting on conn%.read %(SCRIPT:14%), 0%.%d+ s left\n",
      "\n    SCRIPT:14: in main chunk\n",
      "\n  thread #2 \"parent\" waiting on thread%.join %(SCRIPT:4%)\n" ..
        "      thread #4 \"child\"; age .-; spawned at SCRIPT:7\n      %[C%]",
      "\n      SCRIPT:4: in function <SCRIPT:1>\n",
      "\n    thread #4 \"child\" waiting on sleep %(SCRIPT:2%), 49%.%d+ s left\n",
      "\n  thread #3 waiting on event%.wait %(SCRIPT:8%)\n",
      "\n  thread #5 new %(spawned at SCRIPT:13%), 59%.%d+ s left\n      age [^\n]+\n$",
    }) do
      assert.matches(pattern, report)
    end
    assert.equal(1, select(2, report:gsub("SIGQUIT", "")))
  end)

  it("may come as often as one likes", function()
    local c = start(HEAD .. "print('ready') grun.sleep(100)")
    c:expect("ready")
    for i = 1, 3 do
      c:signal("QUIT")
      repeat
        grun.sleep(0.01)
      until select(2, c:err():gsub("SIGQUIT", "")) == i
    end
    assert.is_false(c:ended())
    c:signal("TERM")
    assert.equal(0, c:wait())
  end)
end)

describe("SIGPIPE", function()
  it("does no harm: a write to a closed connection returns an error", function()
    local stdout, stderr, status = helper.run_script([[
      local a, b = grun.pair()
      b:close()
      local ok, message, code
      repeat ok, message, code = a:write("x") until not ok
      print(message, code)]])
    assert.equal("", stderr)
    assert.matches("^%w.*\t[%w]+\n$", stdout)
    assert.equal(0, status)
  end)

  it("does no harm: neither does a write to a closed pipe", function()
    local stdout, stderr, status = helper.run_script([[
      local p = io.popen("exec true <&-; exit 0", "w")
      os.execute("sleep 0.05")
      local ok, message, code = p:write(("x"):rep(100000))
      if ok then ok, message, code = p:flush() end
      print(ok, code)]])
    assert.equal("", stderr)
    assert.equal("nil\t32\n", stdout)
    assert.equal(0, status)
  end)

  it("has its default action in programs that are started", function()
    local file = helper.script([[
      os.execute("sh -c 'kill -PIPE $$; echo survived'")
      local p = io.popen("sh -c 'kill -PIPE $$; echo survived'")
      print(p:read("*a") == "", "end")]])
    assert.same({ "true\tend\n", "", 0 }, { helper.run_child({ file }) })
  end)
end)
