-- SPDX-License-Identifier: MIT
-- grun.connect, grun.listen, waiting for raw descriptors, and running out of them.

local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local unix_path, parked = net.unix_path, net.parked

describe("connect", function()
  it("says what is wrong with an address", function()
    local bad = {
      ["tcp://127.0.0.1"] = "missing port",
      [""] = "empty",
      ["127.0.0.1:x"] = "bad port \"x\"",
      ["http://127.0.0.1:80"] = "unknown scheme \"http\"",
      ["::1:80"] = "an IPv6 address needs brackets, as in [::1]:80",
      ["unix:/" .. ("p"):rep(120)] = "unix path of 121 bytes, the limit is 107",
    }
    for address, reason in pairs(bad) do
      for _, call in ipairs({ "connect", "listen" }) do
        assert.same({ nil, ("bad address \"%s\": %s"):format(address, reason), "bad_address" },
          { grun[call](address) })
      end
    end
  end)

  it("does not show the password in one", function()
    for _, address in ipairs({ "tcp://me:SECRET@127.0.0.1:80", "tls://me:SECRET@h:443", "me:SECRET@h:80",
      "redis://me:SECRET@h:6379", "redis://:SECRET@h:6379", "tcp://me:SECRET@h", "redis://me:/SEC@RET@h/0" }) do
      for _, call in ipairs({ "connect", "udp" }) do
        local conn, message, code = grun[call](address)
        assert.same({ nil, "bad_address" }, { conn, code })
        assert.matches(":%*%*%*@", message)
        assert.not_matches("SEC", message)
        assert.not_matches("RET", message)
      end
    end
    assert.matches("a user has no place in it", (select(2, grun.connect("tcp://me@127.0.0.1:80"))))
  end)

  test("names the address when it is refused", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = listener:address()
    listener:close()
    assert.same({ nil, "cannot connect to " .. address .. ": Connection refused", "ECONNREFUSED" },
      { grun.connect(address) })
    assert.same({ nil, "cannot connect to unix:/none/s: No such file or directory", "ENOENT" },
      { grun.connect("unix:/none/s") })
    assert.same({ nil, "cannot connect to no-such-host.invalid:1: host not found", "ENOTFOUND" },
      { grun.connect("no-such-host.invalid:1") })
  end)

  test("tries the next address when one refuses", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    local listener = keep(assert(grun.listen("tcp://[::1]:0", { v6only = true })))
    local port = listener:address():match("%d+$")
    local client = keep(assert(grun.connect("localhost:" .. port)))
    assert.equal("tcp://[::1]:" .. port, client:peername())
  end)

  test("times out when nobody answers", function(keep)
    -- A listener with a full backlog ignores further clients.
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0", { backlog = 0 })))
    local start = grun.now()
    local code
    repeat
      local client, message, why = grun.connect(listener:address(), { timeout = 0.05 })
      code = why
      if client then
        keep(client)
      else
        assert.equal("timeout", message)
      end
    until code or grun.now() > start + 10
    assert.equal("timeout", code)
  end)

  test("waits for room in a unix listener's backlog", function(keep)
    local listener = keep(assert(grun.listen("unix:" .. unix_path(), { backlog = 0 })))
    keep(assert(grun.connect(listener:address())))
    assert.same({ nil, "timeout", "timeout" },
      { grun.connect(listener:address(), { timeout = 0.02 }) })
    local late = parked(grun.connect, listener:address())
    keep(assert(listener:accept()))
    keep(assert(late:get()))
    keep(assert(listener:accept()))
  end)

  test("from a given local address", function(keep)
    local listener = keep(assert(grun.listen("tcp://:0")))
    local port = listener:address():match("%d+$")
    local client = keep(assert(grun.connect("127.0.0.1:" .. port, { bind = "127.0.0.9:0" })))
    assert.matches("^tcp://127%.0%.0%.9:", client:sockname())
    assert.matches("^tcp://127%.0%.0%.9:", keep(assert(listener:accept())):peername())
    assert.equal("EADDRNOTAVAIL",
      select(3, grun.connect("127.0.0.1:" .. port, { bind = "192.0.2.1:0" })))
    assert.equal("bad_address", select(3, grun.connect("127.0.0.1:" .. port, { bind = "x" })))
  end)

  it("checks its options", function()
    assert.has_error(function() grun.connect(1 == 1) end,
      "bad argument #1 to 'connect' (string expected, got boolean)")
    assert.has_error(function() grun.connect("a:1", { nodely = true }) end,
      "bad argument #2 to 'connect' (unknown option 'nodely')")
    assert.has_error(function() grun.connect("a:1", { nodelay = 1 }) end,
      "bad argument #2 to 'connect' (option 'nodelay': boolean expected, got number)")
    assert.has_error(function() grun.connect("a:1", { timeout = -1 }) end)
    assert.has_error(function() grun.connect("a:1", { backlog = 1 }) end)
    assert.has_error(function() grun.listen("a:1", { timeout = 1 }) end)
    assert.has_error(function() grun.listen("a:1", { mode = "rw" }) end)
  end)

  test("from a thread that is cancelled leaves no socket", function(keep)
    local listener = keep(assert(grun.listen("unix:" .. unix_path(), { backlog = 0 })))
    keep(assert(grun.connect(listener:address())))
    local t = parked(grun.connect, listener:address())
    t:kill()
    keep(assert(listener:accept()))
    assert.same({ nil, "timeout", "timeout" }, { listener:accept(0) })
  end)
end)

describe("listen", function()
  test("tells the real port", function(keep)
    local listener = keep(assert(grun.listen("127.0.0.1:0")))
    assert.matches("^tcp://127%.0%.0%.1:%d+$", listener:address())
    assert.is_not.equal("tcp://127.0.0.1:0", listener:address())
    assert.equal(("listener %s (fd %d)"):format(listener:address(), listener:fd()),
      tostring(listener))
    listener:close()
    assert.equal("listener closed", tostring(listener))
    assert.same({ nil, "closed", "closed" }, { listener:accept() })
    assert.same({ nil, "closed", "closed" }, { listener:fd() })
    assert.is_true(listener:close())
  end)

  test("on all interfaces takes IPv4 and IPv6", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    local listener = keep(assert(grun.listen("tcp://:0")))
    local port = listener:address():match("^tcp://%[::%]:(%d+)$")
    for _, host in ipairs({ "127.0.0.1", "[::1]", "localhost", "" }) do
      local client = keep(assert(grun.connect(host .. ":" .. port)))
      local peer = keep(assert(listener:accept())):peername()
      assert.equal(client:sockname(), peer)
    end
  end)

  test("with v6only leaves IPv4 to others", function(keep)
    local listener = keep(assert(grun.listen("tcp://[::]:0", { v6only = true })))
    local port = listener:address():match("%d+$")
    keep(assert(grun.listen("tcp://0.0.0.0:" .. port)))
  end)

  test("names the address when it is in use", function(keep)
    local address = keep(assert(grun.listen("tcp://127.0.0.1:0"))):address()
    assert.same({ nil, "cannot listen on " .. address .. ": Address already in use", "EADDRINUSE" },
      { grun.listen(address) })
  end)

  test("with reuse_port shares an address", function(keep)
    local first = keep(assert(grun.listen("tcp://127.0.0.1:0", { reuse_port = true })))
    keep(assert(grun.listen(first:address(), { reuse_port = true })))
  end)

  test("can listen again while old connections linger", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = listener:address()
    local client = keep(assert(grun.connect(address)))
    local server = keep(assert(listener:accept()))
    listener:close()
    server:close()
    client:close()
    keep(assert(grun.listen(address)))
  end)

  test("gives clients of a listener its socket options", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0",
      { nodelay = false, keepalive = true })))
    keep(assert(grun.connect(listener:address())))
    local conn = keep(assert(listener:accept()))
    assert.is_false(conn:getoption("nodelay"))
    assert.is_true(conn:getoption("keepalive"))
  end)
end)

describe("accept", function()
  test("waits, times out, and is woken by close", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    assert.same({ nil, "timeout", "timeout" }, { listener:accept(0) })
    assert.same({ nil, "timeout", "timeout" }, { listener:accept(0.01) })
    local t = parked(listener.accept, listener)
    assert.equal("busy", select(3, listener:accept()))
    keep(assert(grun.connect(listener:address())))
    keep(assert(t:get()))
    t = parked(listener.accept, listener)
    listener:close()
    assert.same({ nil, "closed", "closed" }, { t:get() })
  end)

  test("takes many clients in a row", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    for _ = 1, 100 do
      keep(assert(grun.connect(listener:address())))
    end
    for _ = 1, 100 do
      keep(assert(listener:accept(0)))
    end
    assert.same({ nil, "timeout", "timeout" }, { listener:accept(0) })
  end)
end)

describe("a unix path", function()
  test("is removed with its listener", function(keep)
    local path = unix_path()
    local listener = keep(assert(grun.listen("unix:" .. path)))
    assert.equal("socket", lfs.attributes(path, "mode"))
    listener:close()
    assert.is_nil(lfs.attributes(path))
  end)

  it("is removed when its listener is collected", function()
    local path = unix_path()
    local listener = assert(grun.listen("unix:" .. path))
    assert.is_truthy(listener)
    listener = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(lfs.attributes(path))
  end)

  test("that somebody listens on is in use", function(keep)
    local path = unix_path()
    local listener = keep(assert(grun.listen("unix:" .. path)))
    assert.equal("EADDRINUSE", select(3, grun.listen("unix:" .. path)))
    keep(assert(grun.connect(listener:address())))
  end)

  test("with a full backlog is in use as well", function(keep)
    local path = unix_path()
    local listener = keep(assert(grun.listen("unix:" .. path, { backlog = 0 })))
    keep(assert(grun.connect(listener:address())))
    assert.equal("EADDRINUSE", select(3, grun.listen("unix:" .. path)))
    assert.equal("socket", lfs.attributes(path, "mode"))
  end)

  test("left behind by a killed process is taken over", function(keep)
    local path = unix_path()
    local _, _, status = helper.run_script(([[
      assert(grun.listen("unix:%s"))
      os.execute("kill -9 " .. io.open("/proc/self/stat"):read("*n"))
    ]]):format(path))
    assert.equal(137, status)
    assert.equal("socket", lfs.attributes(path, "mode"))
    local listener = keep(assert(grun.listen("unix:" .. path)))
    keep(assert(grun.connect(listener:address())))
  end)

  it("that is no socket is never removed", function()
    local path = helper.tmpname("precious")
    local _, message, code = grun.listen("unix:" .. path)
    assert.equal("cannot listen on unix:" .. path .. ": Address already in use", message)
    assert.equal("EADDRINUSE", code)
    local file = io.open(path)
    assert.equal("precious", file:read("*a"))
    file:close()
  end)

  test("that somebody else put in its place is not removed", function(keep)
    local path = unix_path()
    local listener = keep(assert(grun.listen("unix:" .. path)))
    os.remove(path)
    local other = keep(assert(grun.listen("unix:" .. path)))
    listener:close()
    assert.equal("socket", lfs.attributes(path, "mode"))
    keep(assert(grun.connect(other:address())))
  end)

  test("has the permissions asked for", function(keep)
    local path = unix_path()
    local listener = keep(assert(grun.listen("unix:" .. path, { mode = "0606" })))
    assert.equal("rw----rw-", lfs.attributes(path, "permissions"))
    listener:close()
    keep(assert(grun.listen("unix:" .. path, { mode = 384 })))
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
  end)
end)

describe("waiting for a raw descriptor", function()
  test("tells when it is readable or writable", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.is_true(grun.wait_writable(a:fd()))
    assert.same({ nil, "timeout", "timeout" }, { grun.wait_readable(a:fd(), 0) })
    assert.same({ nil, "timeout", "timeout" }, { grun.wait_readable(a:fd(), 0.01) })
    local t = parked(grun.wait_readable, a:fd())
    b:write("x")
    assert.is_true(t:get())
    assert.is_true(grun.wait_readable(a:fd(), 0))
    local full = parked(a.write, a, ("x"):rep(4194304))
    assert.same({ nil, "timeout", "timeout" }, { grun.wait_writable(a:fd(), 0.01) })
    a:close()
    full:join()
  end)

  test("may be done by several threads at once", function(keep)
    local a, b = keep(assert(grun.pair()))
    local first, second = parked(grun.wait_readable, a:fd()), parked(grun.wait_readable, a:fd())
    b:write("x")
    assert.is_true(first:get())
    assert.is_true(second:get())
  end)

  test("can be cancelled", function(keep)
    local a = keep(assert(grun.pair()))
    local t = parked(grun.wait_readable, a:fd())
    t:kill()
    assert.equal("cancelled", t:status())
  end)

  test("notices that it was closed", function(keep)
    local spare = keep(assert(grun.pair()))
    local a = keep(assert(grun.pair()))
    local reading = parked(grun.wait_readable, a:fd())
    local full = parked(a.write, a, ("x"):rep(4194304))
    local writing = parked(grun.wait_writable, a:fd(), 10)
    spare:close() -- the control socket may come now and takes the lowest number, so not a's
    a:close()
    full:join()
    assert.same({ nil, "Bad file descriptor", "EBADF" }, { reading:get() })
    assert.same({ nil, "Bad file descriptor", "EBADF" }, { writing:get() })
  end)

  test("times out after more than a second too", function(keep)
    local a = keep(assert(grun.pair()))
    local start = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { grun.wait_readable(a:fd(), 1.2) })
    local took = grun.now() - start
    assert.is_true(took >= 1.2 and took < 5, took)
  end)

  it("returns at once for a file, which epoll refuses", function()
    local out = helper.run_script([[
      print(grun.wait_readable(0), grun.wait_readable(0, 0), grun.wait_writable(1))
    ]], { stdin = "text" })
    assert.equal("true\ttrue\ttrue\n", out)
  end)

  it("refuses what is no descriptor", function()
    assert.equal("EBADF", select(3, grun.wait_readable(999999)))
    assert.equal("EBADF", select(3, grun.wait_writable(-1, 0.1)))
    assert.has_error(function() grun.wait_readable("x") end)
  end)
end)

describe("grun.wait", function()
  test("takes connections", function(keep)
    local a, b = keep(assert(grun.pair()))
    local c, d = keep(assert(grun.pair()))
    assert.same({}, grun.wait({ a, c }, 0.01))
    d:write("x")
    assert.same({ c }, grun.wait({ a, c }, 0.01))
    assert.same({ c }, grun.wait({ a, c }, nil, 1))
    local t = parked(grun.wait, { a, c })
    b:write("x")
    assert.same({ c, a }, t:get())
  end)

  test("sees data that is buffered already, and the end", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("one\ntwo\n")
    a:read()
    assert.same({ a }, grun.wait({ a }, 0))
    a:read()
    assert.same({}, grun.wait({ a }, 0))
    b:close()
    assert.same({ a }, grun.wait({ a }, 0.5))
  end)

  test("is woken by close", function(keep)
    local a = keep(assert(grun.pair()))
    local t = parked(grun.wait, { a })
    a:close()
    assert.same({ a }, t:get())
  end)

  test("leaves the connection to a reader afterwards", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.same({}, grun.wait({ a }, 0))
    assert.same({}, grun.wait({ a }, 0.01))
    b:write("x\n")
    assert.equal("x", a:read())
  end)
end)

describe("out of descriptors", function()
  -- Leaves one descriptor, for a client; `server` writes back one line to each.
  local prelude = [[
    local stat = io.open("/proc/self/stat")
    local pid = stat:read("*n")
    stat:close()
    local server = assert(grun.server("tcp://127.0.0.1:0", function(conn)
      conn:write(conn:read("L") or "")
    end))
    assert(os.execute("prlimit --nofile=40 --pid " .. pid) == 0)
    local files = {}
    repeat
      local file = io.open("/dev/null")
      files[#files + 1] = file
    until not file
    table.remove(files):close()
    local function reset_of_one()
      local client = assert(grun.connect(server:address()))
      local _, _, code = client:recv(nil, 0.2)
      client:close()
      return code
    end
  ]]

  it("accepting pauses, one client is reset, and it recovers", function()
    local out, err, status = helper.run_script(prelude .. [[
      local resets, tries, cpu, stop = 0, 0, os.clock(), grun.now() + 2.5
      while grun.now() < stop do
        resets = resets + (reset_of_one() == "ECONNRESET" and 1 or 0)
        tries = tries + 1
      end
      cpu = os.clock() - cpu
      print(resets > 0, tries > 3, cpu < 0.2 * 2.5 or cpu) -- who tries again and again takes all of it
      for _, file in ipairs(files) do file:close() end
      local start = grun.now()
      local client = assert(grun.connect(server:address()))
      client:write("hello\n")
      print(client:read(), grun.now() - start < 1.5)
      server:stop()
    ]])
    assert.equal(0, status)
    assert.equal("true\ttrue\ttrue\nhello\ttrue\n", out)
    local lines = 0
    for line in err:gmatch("[^\n]+") do
      assert.matches("^grun: tcp://127.0.0.1:%d+: cannot accept: Too many open files;", line)
      lines = lines + 1
    end
    assert.is_true(lines >= 1 and lines <= 4)
  end)

  it("accepting goes on at once when a connection was closed", function()
    local out = helper.run_script(prelude .. [[
      table.remove(files):close()
      table.remove(files):close()
      local held = assert(grun.connect(server:address()))
      grun.sleep(0.05)
      local stop, code = grun.now() + 2.5, nil
      repeat -- until a pause of a second has just begun
        code = reset_of_one()
      until grun.now() > stop and code == "ECONNRESET"
      local client, start = assert(grun.connect(server:address())), grun.now()
      held:close()
      client:write("hello\n")
      local line, took = client:read(), grun.now() - start
      print(line, took < 0.6 or took)
      os.exit(0)
    ]])
    assert.equal("hello\ttrue\n", out)
  end)

  it("an idle listener neither spins nor complains", function()
    local out, err = helper.run_script(prelude .. [[
      print(reset_of_one())
      files[#files + 1] = io.open("/dev/null")
      local cpu = os.clock()
      grun.sleep(1.5)
      print(os.clock() - cpu < 0.05)
      print(select(3, grun.connect(server:address())))
      os.exit(0)
    ]])
    assert.equal("ECONNRESET\ntrue\nEMFILE\n", out)
    assert.matches("^grun: [^\n]*Too many open files[^\n]*\n$", err)
  end)
end)
