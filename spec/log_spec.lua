-- SPDX-License-Identifier: MIT
-- grun.log and where it writes.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local STAMP = "%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%d%.%d%d%dZ "

describe("a message", function()
  it("has time, level, process, thread and text", function()
    local _, err = helper.run_script([[
      grun.log.warn("port %d, %s", 80, true)
      grun.spawn(function()
        grun.current().name = "some one"
        grun.log.error("100%")
      end):join()]])
    local one, two, rest = err:match("^(.-)\n(.-)\n(.*)$")
    assert.truthy(one:find("^" .. STAMP .. "warn %d+ #1 \"[^\"]*%.lua\" port 80, true$"), err)
    assert.truthy(two:find("^" .. STAMP .. "error %d+ #2 \"some one\" 100%%$"), err)
    assert.equal("", rest)
  end)

  it("of several lines stays together and cannot look like two", function()
    local _, err = helper.run_script([[grun.log.error("one\n2026-01-01T00:00:00.000Z error 1 forged\n")]])
    assert.truthy(err:find("one\n\t2026%-01%-01T00:00:00%.000Z error 1 forged\n$"), err)
  end)

  it("may be long", function()
    local _, err = helper.run_script(
      [[grun.log.error(("x"):rep(300000)) grun.log.error(("\n"):rep(5000) .. "end")]])
    assert.truthy(err:find(" " .. ("x"):rep(300000) .. "\n", 1, true))
    assert.truthy(err:find(("\n\t"):rep(5000) .. "end\n", 1, true))
  end)

  it("takes fields from a logger", function()
    local _, err = helper.run_script([[
      local log = grun.log.with({ path = "/a b", n = 7, empty = "", q = 'say "x"\ny' })
      log:error("served %s", "it")
      log:debug("not this")]])
    assert.truthy(err:find(" served it empty=\"\" n=7 path=\"/a b\" q=\"say \\\"x\\\"\\ny\"\n", 1, true), err)
    assert.is_nil(err:find("not this"))
  end)

  it("is dropped above the level", function()
    local all = "for _, l in ipairs{ 'error', 'warn', 'info', 'debug' } do grun.log[l](l) end"
    for i, level in ipairs({ "none", "error", "warn", "info", "debug" }) do
      local _, err = helper.run_child({ "--log=" .. level, "-e", all })
      assert.equal(i - 1, select(2, err:gsub("\n", "")), level)
      _, err = helper.run_child({ "-e", "assert(grun.log.level('" .. level .. "') == 'warn') " .. all })
      assert.equal(i - 1, select(2, err:gsub("\n", "")), level)
    end
    local _, err = helper.run_child({ "-q", "-e", all })
    assert.equal(1, select(2, err:gsub("\n", "")))
  end)

  it("of a bad format raises at the caller, as do bad levels and options", function()
    for _, case in ipairs({
      { "grun.log.error('%d', 'x')", "log: bad argument #2 %(number expected, got string%)" },
      { "grun.log.level('loud')", "level: none, error, warn, info or debug expected, got loud" },
      { "grun.log.with(1)", "with: table expected, got number" },
      { "grun.log.open('x')", "open: table expected, got string" },
      { "grun.log.open({ level = 'x' })", "open: level: none, error" },
    }) do
      local _, err, status = helper.run_script(case[1])
      assert.equal(1, status)
      assert.truthy(err:find("%.lua:1: " .. case[2]), err)
    end
  end)
end)

describe("the runtime's own messages", function()
  it("are plain until the log is used, then as the log's", function()
    local _, err = helper.run_script([[
      grun.spawn(error, "first", 0):join()
      grun.log.warn("now")
      grun.spawn(error, "second", 0):join()]])
    assert.truthy(err:find("^grun: thread #2 failed: first\n"), err)
    assert.truthy(err:find("\n" .. STAMP .. "error %d+ #3 thread #3 failed: second\n\tstack traceback:"), err)
  end)
end)

describe("the log in a file", function()
  it("is appended to, and goes to a new one after reopen", function()
    local name = helper.tmpname("before\n")
    local out, err = helper.run_child({ "--log-file=" .. name, helper.script(([[
      local name = %q
      grun.log.error("one")
      grun.sleep(0.05)
      os.rename(name, name .. ".1")
      grun.log.error("two")
      grun.sleep(0.05)
      print(grun.log.reopen())
      grun.log.error("three")
      local s = grun.log.stats()
      print(s.written, s.dropped)]]):format(name)) })
    finally(function()
      os.remove(name .. ".1")
    end)
    assert.equal("true\n3\t0\n", out)
    assert.equal("", err)
    local old = helper.contents(name .. ".1")
    assert.truthy(old:find("^before\n" .. STAMP .. "error [^\n]* one\n" .. STAMP .. "error [^\n]* two\n$"), old)
    assert.truthy(helper.contents(name):find("^" .. STAMP .. "error [^\n]* three\n$"))
  end)

  it("that cannot be opened is told", function()
    local _, err, status = helper.run_child({ "--log-file=/nowhere/x", "-e", "" })
    assert.equal(1, status)
    assert.truthy(err:find("cannot open the log /nowhere/x: No such file or directory", 1, true), err)
    _, err, status = helper.run_child({ "--log-syslog=x", "-e", "" })
    assert.same({ "grun: --log-syslog: there is no facility 'x'\n", 1 }, { err, status })
    local out = helper.run_script([[
      print(select(3, grun.log.open({ file = "/nowhere/x" })))
      print(select(3, grun.log.open({ syslog = "/nowhere/x" })))
      print(select(3, grun.log.open({ syslog = true, facility = "x" })))]])
    assert.equal("ENOENT\nENOENT\nEINVAL\n", out)
  end)

  it("is written to the end when the process ends", function()
    local name = helper.tmpname()
    for _, finish in ipairs({ "", "os.exit(0)", "os.exit(0, true)" }) do
      helper.run_child({ "--log-file=" .. name, helper.script(
        "for i = 1, 2000 do grun.log.error('line %d', i) end " .. finish) })
    end
    local n = 0
    for line in io.lines(name) do
      n = n + 1
      assert.equal((n - 1) % 2000 + 1, tonumber(line:match("line (%d+)$")))
    end
    assert.equal(6000, n)
  end)
end)

describe("the log in syslog", function()
  it("is sent in its form, and again after the logger was restarted", function()
    local path = net.unix_path()
    local sink = grun.udp("unixgram:" .. path)
    finally(function()
      sink:close()
    end)
    local script = helper.script(([[
      assert(grun.log.open({ syslog = %q, facility = "local3", ident = "my prog", level = "debug" }))
      grun.log.error("bad %%d", 1)
      grun.log.debug("two\nlines")
      io.read("*l")
      grun.log.warn("after")]]):format(path))
    local p = grun.process.spawn({ helper.grun, script, stdin = "pipe" })
    local head = "%u%l%l [ %d]%d %d%d:%d%d:%d%d my prog%[" .. p.pid .. "%]: #1 \"[^\"]*\" "
    assert.truthy(sink:recv(5):find("^<155>" .. head .. "bad 1$"))
    assert.truthy(sink:recv(5):find("^<159>" .. head .. "two\nlines$"))
    sink:close()
    sink = grun.udp("unixgram:" .. path)
    p.stdin:write("go\n")
    assert.truthy(sink:recv(5):find("^<156>" .. head .. "after$"))
    p.stdin:close()
    assert.equal(0, p:wait(5))
  end)
end)

describe("the log in systemd's journal", function()
  it("has priorities and no time", function()
    local err = helper.tmpname()
    local command = "JOURNAL_STREAM=$(stat -c %%d:%%i %s) %s --log info -e 'grun.log.error(%q) grun.log.info(5)' 2>%s"
    os.execute(command:format(err, helper.quote(helper.grun), "a\nb", err))
    assert.equal("<3>#1 a\n<3>\tb\n<6>#1 5\n", helper.contents(err))
  end)
end)

describe("a stderr that takes nothing", function()
  local FLOOD = [[
    io.stdout:setvbuf("no")
    local most, done = 0, false
    grun.spawn(function()
      local last = grun.now()
      while not done do
        grun.sleep(0.001)
        most, last = math.max(most, grun.now() - last), grun.now()
      end
    end)
    for i = 1, 40000 do
      grun.log.error("%d %s", i, ("x"):rep(60))
      if i % 100 == 0 then grun.sleep(0) end
    end
    done = true
    local s = grun.log.stats()
    print(s.written, s.dropped, s.queued, most < 0.5)
    io.read("*l")]]

  it("holds up nobody: messages are queued up to 1 MiB, dropped and counted, in order", function()
    local p = grun.process.spawn({ helper.grun, helper.script(FLOOD), stdin = "pipe", stdout = "pipe",
      stderr = "pipe" })
    finally(function()
      p:kill("KILL")
      p:wait()
      p.stdin:close()
      p.stdout:close()
      p.stderr:close()
    end)
    local written, dropped, queued, fluent = p.stdout:read("l"):match("^(%d+)\t(%d+)\t(%d+)\t(%a+)$")
    assert.equal("true", fluent)
    assert.equal(40000, written + dropped)
    assert.is_true(tonumber(dropped) > 10000 and tonumber(queued) <= 2 ^ 20 and tonumber(queued) > 2 ^ 19, queued)
    local n, last, notice = 0, 0, nil
    while n < tonumber(written) or not notice do
      local line = p.stderr:read("l")
      notice = line:match("^" .. STAMP .. "warn %d+ (%d+) messages of the log were dropped") or notice
      local i = tonumber(line:match("#1 \"[^\"]*\" (%d+) x+$"))
      if i then
        n = n + 1
        assert.is_true(i > last)
        last = i
      end
    end
    assert.equal(dropped, notice)
  end)

  it("does not hold up the end of the process for long", function()
    local start = grun.now()
    local p = grun.process.spawn({ helper.grun, "-e", "for i = 1, 9000 do grun.log.error(('x'):rep(60)) end",
      stderr = "pipe" })
    assert.equal(0, p:wait(10))
    p.stderr:close()
    assert.is_true(grun.now() - start < 5)
  end)
end)
