-- SPDX-License-Identifier: MIT
-- Connections: reading, writing, closing, and what happens when something fails meanwhile.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local connected, unix_path, parked = net.connected, net.unix_path, net.parked
local noise, same = net.noise, net.same

local KIB = 1024

local transports = {
  tcp = function(keep)
    return connected(keep, "tcp://127.0.0.1:0")
  end,
  ["tcp over IPv6"] = function(keep)
    if net.no_ipv6 then
      pending(net.no_ipv6)
    end
    return connected(keep, "tcp://[::1]:0")
  end,
  unix = function(keep)
    return connected(keep, "unix:" .. unix_path())
  end,
  ["unix, abstract"] = function(keep)
    return connected(keep, ("unix:@grun-%s"):format(unix_path()))
  end,
  pair = function(keep)
    return keep(assert(grun.pair()))
  end,
}

-- A connection that has been sent the text and has no more to read after it.
local function sent(keep, text)
  local a, b = keep(assert(grun.pair()))
  assert(a:write(text))
  assert(a:shutdown("w"))
  return b
end

local function pack(...)
  return { n = select("#", ...), ... }
end

describe("a connection", function()
  for name, open in pairs(transports) do
    test("carries data both ways: " .. name, function(keep)
      local a, b = open(keep)
      assert.is_true(a:write("ping\n"))
      assert.equal("ping", b:read())
      assert.is_true(b:write("pong\n"))
      assert.equal("pong", a:read())
    end)
  end

  for name, open in pairs({ tcp = transports.tcp, unix = transports.unix }) do
    for _, size in ipairs({ 0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 5 * KIB * KIB + 3 }) do
      test(("carries %d bytes unchanged: %s"):format(size, name), function(keep)
        local a, b = open(keep)
        local data = noise(size)
        local writer = grun.spawn(function()
          assert(a:write(data))
          assert(a:shutdown("w"))
          return a:read("a")
        end)
        local got = b:read("a")
        assert.is_true(same(data, got))
        assert(b:write(got))
        b:close()
        assert.is_true(same(data, writer:get()))
      end)
    end
  end

  test("echoes a large message while both sides write", function(keep)
    local a, b = transports.tcp(keep)
    local data = noise(3 * KIB * KIB)
    local echo = grun.spawn(function()
      for piece in function() return b:recv() end do
        assert(b:write(piece))
      end
      b:close()
    end)
    local writer = grun.spawn(function()
      assert(a:write(data))
      assert(a:shutdown("w"))
    end)
    assert.is_true(same(data, a:read("a")))
    writer:get()
    echo:get()
  end)

  test("puts together what a peer sends byte by byte", function(keep)
    local a, b = transports.tcp(keep)
    local text = "first line\nsecond 0x1F 12345 rest"
    grun.spawn(function()
      for i = 1, #text do
        a:write(text:sub(i, i))
        grun.yield()
      end
      a:close()
    end)
    assert.equal("first line", b:read("l"))
    assert.equal("second", b:read(6))
    assert.same({ 31, 12345 }, { b:read("n", "n") })
    assert.equal(" rest", b:read("a"))
  end)

  test("puts together a line of 40 KB that comes byte by byte", function(keep)
    local a, b = transports.tcp(keep)
    local line = noise(40 * 1000)
    grun.spawn(function()
      for i = 1, #line do
        a:write(line:sub(i, i))
        if i % 10 == 0 then
          grun.yield()
        end
      end
      a:close()
    end)
    assert.is_true(same(line, b:read_until("\n")))
    assert.same({ nil, "closed", "closed" }, { b:read() })
  end)

  test("is shown with its addresses and descriptor", function(keep)
    local a, b = transports.tcp(keep)
    local text = ("conn tcp %s -> %s (fd %d)"):format(
      a:sockname():sub(7), a:peername():sub(7), a:fd())
    assert.equal(text, tostring(a))
    assert.equal(a:sockname(), b:peername())
    a:close()
    assert.equal("conn closed", tostring(a))
  end)

  test("over unix is shown with the path", function(keep)
    local path = unix_path()
    local a, b = connected(keep, "unix:" .. path)
    assert.equal(("conn unix -> %s (fd %d)"):format(path, a:fd()), tostring(a))
    assert.equal(("conn unix %s (fd %d)"):format(path, b:fd()), tostring(b))
    assert.equal("unix:" .. path, a:peername())
    assert.equal("unix:", b:peername())
    local c = keep(assert(grun.pair()))
    assert.equal(("conn unix (fd %d)"):format(c:fd()), tostring(c))
  end)

  test("counts its bytes", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:write("12345678")
    assert.is_true(a:stats().unsent > 0)
    b:read(3)
    assert.same({ received = 0, sent = 8, buffered = 0, corked = 0, unsent = 0 }, a:stats())
    assert.same({ received = 8, sent = 0, buffered = 5, corked = 0, unsent = 0 }, b:stats())
    b:close()
    assert.same({ received = 8, sent = 0, buffered = 0, corked = 0 }, b:stats())
  end)

  test("over tcp knows what the kernel knows", function(keep)
    local a, b = transports.tcp(keep)
    a:write("x")
    b:read(1)
    grun.sleep(0.05)
    local stats = b:stats()
    assert.is_true(stats.received_ago >= 0.03 and stats.received_ago < 5, stats.received_ago)
    stats = a:stats()
    assert.is_true(stats.sent_ago >= 0.03 and stats.sent_ago < 5, stats.sent_ago)
    assert.is_true(stats.rtt > 0 and stats.rtt < 1, stats.rtt)
    assert.equal(0, stats.retransmits)
  end)

  -- Name, how it is by default, a value to set; false: it can only be read.
  local options = {
    { "nodelay", true, false }, { "keepalive", false, true }, { "keepidle", 7200, 30 },
    { "keepintvl", 75, 5 }, { "keepcnt", 9, 3 }, { "user_timeout", 0, 2.5 }, { "tos", 0, 16 },
    { "linger", false, 3 }, { "linger", 3, false }, { "quickack", true, false },
    { "fastopen", false }, { "reuseaddr", false }, { "type", "stream" },
  }

  for name, domain in pairs({ tcp = "inet", ["tcp over IPv6"] = "inet6" }) do
    test("has options: " .. name, function(keep)
      local a = transports[name](keep)
      for _, option in ipairs(options) do
        local key, default, value = option[1], option[2], option[3]
        assert.equal(default, a:getoption(key), key)
        if value ~= nil then
          assert.is_true(a:setoption(key, value), key)
          assert.equal(value, a:getoption(key), key)
        else
          assert.has_error(function() a:setoption(key, true) end,
            ("bad argument #1 to 'setoption' (option '%s' can only be read)"):format(key))
        end
      end
      assert.equal(domain, a:getoption("domain"))
      for _, key in ipairs({ "sndbuf", "rcvbuf" }) do
        assert.is_true(a:setoption(key, 65536))
        assert.is_true(a:getoption(key) >= 65536)
      end
    end)
  end

  test("refuses options that it has not and values that they cannot have", function(keep)
    local a = transports.tcp(keep)
    assert.has_error(function() a:getoption("colour") end,
      "bad argument #1 to 'getoption' (unknown option 'colour')")
    assert.has_error(function() a:setoption("nodelay", 1) end,
      "bad argument #2 to 'setoption' (boolean expected, got number)")
    assert.has_error(function() a:setoption("keepidle", -1) end,
      "bad argument #2 to 'setoption' (must be 0 or more)")
    assert.has_error(function() a:setoption("user_timeout", 1e9) end,
      "bad argument #2 to 'setoption' (too large)")
    assert.same({ nil, "Invalid argument", "EINVAL" }, { a:setoption("keepidle", 1e6) })
    local b = keep(assert(grun.pair()))
    assert.equal("unix", b:getoption("domain"))
    assert.equal("EOPNOTSUPP", select(3, b:getoption("tos")))
    assert.equal("EOPNOTSUPP", select(3, b:setoption("keepcnt", 2)))
  end)

  it("that is collected is closed", function()
    local a, b = grun.pair()
    local fd = a:fd()
    a = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same({ nil, "closed", "closed" }, { b:read() })
    local c = assert(grun.pair())
    assert.equal(fd, c:fd())
    b:close()
    c = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
  end)
end)

describe("read", function()
  local cases = {
    { "one\ntwo\n", {}, { "one" } },
    { "one\ntwo\n", { "l", "*l" }, { "one", "two" } },
    { "one\ntwo", { "L", "*L" }, { "one\n", "two" } },
    { "\n\r\nx", { "l", "l" }, { "", "\r" } },
    { "one\ntwo", { "l", "l", "l" }, { "one", "two", nil, "closed", "closed" } },
    { "", { "l" }, { nil, "closed", "closed" } },
    { "", { 1 }, { nil, "closed", "closed" } },
    { "", { 0 }, { nil, "closed", "closed" } },
    { "", { "n" }, { nil, "closed", "closed" } },
    { "", { "a" }, { "" } },
    { "all\nof it", { "*a", "a" }, { "all\nof it", "" } },
    { "abc", { 0, 2, 0, 5 }, { "", "ab", "", "c" } },
    { "12 -3.5e2\t0x10 .5 7.", { "n", "n", "*n", "n", "n" }, { 12, -350, 16, 0.5, 7 } },
    { "  42", { "n", "n" }, { 42, nil, "closed", "closed" } },
    { "1x", { "n", 1 }, { 1, "x" } },
    { "x1", { "n" }, { nil, "not a number", "EINVAL" } },
    { "-", { "n" }, { nil, "not a number", "EINVAL" } },
    { "1-2", { "n", "n" }, { 1, -2 } },
    { "5 apples\n", { "n", "l" }, { 5, " apples" } },
  }

  for _, case in ipairs(cases) do
    local text, formats, results = case[1], case[2], case[3]
    local title = {}
    for i, format in ipairs(formats) do
      title[i] = tostring(format)
    end
    test(("of %q by %s"):format(text, table.concat(title, ", ")), function(keep)
      local got = pack(sent(keep, text):read(unpack(formats)))
      local length = results[#results] == "closed" or results[#results] == "EINVAL"
      assert.equal(length and #formats + 2 or math.max(1, #formats), got.n)
      got.n = nil
      assert.same(results, got)
    end)
  end

  test("gives what Lua's files give", function(keep)
    local text = "line one\n 12.5 0x7f\nrest of the line\n\nlast"
    local lists = { { "*l", "*n", "*n", "*l" }, { 3, "*l", 0, "*n" }, { "*l", "*a" } }
    for _, formats in ipairs(lists) do
      local file = assert(io.open(helper.tmpname(text)))
      local expected = pack(file:read(unpack(formats)))
      file:close()
      assert.same(expected, pack(sent(keep, text):read(unpack(formats))))
    end
  end)

  test("refuses unknown formats before it reads anything", function(keep)
    local b = sent(keep, "one\ntwo\n")
    assert.has_error(function() b:read("x") end, "bad argument #1 to 'read' (invalid format)")
    assert.has_error(function() b:read("l", "*") end, "bad argument #2 to 'read' (invalid format)")
    assert.has_error(function() b:read("l", -1) end,
      "bad argument #2 to 'read' (count out of range)")
    assert.has_error(function() b:read(true) end,
      "bad argument #1 to 'read' (string expected, got boolean)")
    assert.equal("one", b:read())
  end)

  test("accepts a line of 64 KiB and refuses a longer one, losing nothing", function(keep)
    local b = sent(keep, ("x"):rep(64 * KIB) .. "\n")
    assert.equal(64 * KIB, #b:read())
    local text = ("y"):rep(64 * KIB + 1) .. "\nnext\n"
    b = sent(keep, text)
    assert.same({ nil, "line too long", "too_large" }, { b:read() })
    assert.same({ nil, "line too long", "too_large" }, { b:read("L") })
    assert.equal(text, b:read("a"))
    b = sent(keep, ("z"):rep(64 * KIB + 1))
    assert.same({ nil, "line too long", "too_large" }, { b:read() })
  end)

  test("keeps partial data when it times out", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:settimeout(0.01)
    a:write("par")
    for _, format in ipairs({ "l", "L", 10, "a" }) do
      assert.same({ nil, "timeout", "timeout" }, { b:read(format) })
    end
    assert.same({ nil, "timeout", "timeout" }, { b:read_until("ti") })
    assert.same({ nil, "timeout", "timeout" }, { b:peek(10) })
    a:write("tial\n12")
    assert.equal("partial", b:read())
    assert.same({ nil, "timeout", "timeout" }, { b:read("n") })
    a:write("3 ")
    assert.equal(123, b:read("n"))
  end)

  test("returns what it read before a later format failed", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:settimeout(0.01)
    a:write("one\ntw")
    assert.same({ "one", nil, "timeout", "timeout" }, { b:read("l", "l") })
    a:write("o\n")
    assert.equal("two", b:read())
  end)

  -- Nobody else runs meanwhile.
  local function block(seconds)
    local limit = grun.now() + seconds
    repeat until grun.now() > limit
  end

  test("takes what came in time, though nobody could look before the time was up", function(keep)
    local a, b = connected(keep, "tcp://127.0.0.1:0")
    b:settimeout(0.05)
    for i = 1, 3 do
      local reader = parked(b.read, b)
      a:write(i, "\n")
      block(0.1)
      assert.same({ tostring(i) }, { reader:get() })
    end
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local acceptor = parked(listener.accept, listener, 0.05)
    keep(assert(grun.connect(listener:address())))
    block(0.1)
    assert.is_truthy(keep((acceptor:get())))
  end)

  test("times out also when there is always something more", function(keep)
    local a, b = connected(keep, "tcp://127.0.0.1:0")
    b:settimeout(0.1)
    local reader, stop = grun.spawn(b.read_until, b, "x", { max = 1e9 }), grun.now() + 5
    while grun.now() < stop and reader:status() ~= "done" do
      a:write("y")
      grun.yield()
    end
    assert.equal("done", reader:status())
    assert.same({ nil, "timeout", "timeout" }, { reader:get() })
  end)

  test("with timeout 0 takes only what is there", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:settimeout(0)
    assert.same({ nil, "timeout", "timeout" }, { b:read() })
    a:write("x\n")
    assert.equal("x", b:read())
    assert.same({ nil, "timeout", "timeout" }, { b:read() })
    b:settimeout(nil)
    local t = parked(b.read, b)
    a:write("y\n")
    assert.equal("y", t:get())
  end)
end)

describe("recv", function()
  test("returns whatever is there", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:write("abcdef")
    assert.equal("ab", b:recv(2))
    assert.equal("cdef", b:recv())
    assert.same({ nil, "timeout", "timeout" }, { b:recv(nil, 0) })
    local t = parked(b.recv, b)
    a:write("later")
    assert.equal("later", t:get())
    a:close()
    assert.same({ nil, "closed", "closed" }, { b:recv() })
    assert.same({ nil, "closed", "closed" }, { b:recv() })
  end)

  test("has its own timeout", function(keep)
    local _, b = keep(assert(grun.pair()))
    b:settimeout(60)
    assert.same({ nil, "timeout", "timeout" }, { b:recv(1, 0.01) })
    assert.has_error(function() b:recv(1, -1) end)
    assert.has_error(function() b:recv(0) end, "bad argument #1 to 'recv' (count out of range)")
  end)
end)

describe("read_until", function()
  test("returns what precedes the separator", function(keep)
    local b = sent(keep, "head: 1\r\n\r\nbody\r\n\r")
    assert.equal("head: 1", b:read_until("\r\n\r\n"))
    assert.equal("body", b:read_until("\r\n"))
    assert.equal("\r", b:read_until("\r\n"))
    assert.same({ nil, "closed", "closed" }, { b:read_until("\r\n") })
  end)

  test("includes the separator on demand", function(keep)
    local b = sent(keep, "a--b--c")
    assert.equal("a--", b:read_until("--", { include = true, plain = true }))
    assert.equal("b--", b:read_until("--", { include = true }))
    assert.equal("c", b:read_until("--", { include = true }))
  end)

  test("finds a separator that comes in pieces", function(keep)
    local a, b = keep(assert(grun.pair()))
    local t = parked(b.read_until, b, "aab")
    for c in ("xaaaaaab!"):gmatch(".") do
      a:write(c)
      grun.idle()
    end
    assert.equal("xaaaa", t:get())
    assert.equal("!", b:recv())
  end)

  test("has a limit and loses nothing at it", function(keep)
    local b = sent(keep, "12345;6789;")
    assert.same({ nil, "line too long", "too_large" }, { b:read_until(";", { max = 4 }) })
    assert.equal("12345", b:read_until(";", { max = 5 }))
    assert.same({ nil, "line too long", "too_large" }, { b:read_until("#", { max = 4 }) })
    assert.same({ nil, "line too long", "too_large" }, { b:read_until("####", { max = 4 }) })
    assert.equal("6789;", b:read_until("#", { max = 5 }))
  end)

  test("checks its arguments", function(keep)
    local b = sent(keep, "")
    assert.has_error(function() b:read_until("") end,
      "bad argument #1 to 'read_until' (empty separator)")
    assert.has_error(function() b:read_until("x", { plain = false }) end)
    assert.has_error(function() b:read_until("x", { maximum = 1 }) end,
      "bad argument #2 to 'read_until' (unknown option 'maximum')")
  end)
end)

describe("peek", function()
  test("consumes nothing", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:write("abc")
    assert.equal("a", b:peek())
    assert.equal("abc", b:peek(3))
    assert.equal("abc", b:recv())
    local t = parked(b.peek, b, 2)
    a:write("1")
    a:write("2")
    assert.equal("12", t:get())
    a:close()
    assert.equal("12", b:peek(3))
    assert.equal("12", b:read("a"))
    assert.same({ nil, "closed", "closed" }, { b:peek() })
  end)
end)

describe("lines", function()
  test("iterates until the end", function(keep)
    local list = {}
    for line in sent(keep, "one\n\ntwo\nthree"):lines() do
      list[#list + 1] = line
    end
    assert.same({ "one", "", "two", "three" }, list)
    list = {}
    for piece in sent(keep, "abcde"):lines(2) do
      list[#list + 1] = piece
    end
    assert.same({ "ab", "cd", "e" }, list)
  end)

  test("raises on failures other than the end", function(keep)
    local _, b = keep(assert(grun.pair()))
    b:settimeout(0)
    local ok, message = pcall(b:lines())
    assert.is_false(ok)
    assert.matches("timeout$", message)
    assert.has_error(function() b:lines("q") end, "bad argument #1 to 'lines' (invalid format)")
  end)
end)

describe("write", function()
  test("takes strings, numbers and tables of them", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.is_true(a:write())
    assert.is_true(a:write(""))
    assert.is_true(a:write({}))
    assert.is_true(a:write("a", 1, 2.5, { "b", 3, { "c", 4, "" }, {} }, "d\n"))
    assert.equal("a12.5b3c4d", b:read())
    assert.same({ "b", 3, { "c", 4, "" }, {} }, { "b", 3, { "c", 4, "" }, {} })
  end)

  test("writes many pieces in order, also when the peer is slow", function(keep)
    local a, b = transports.tcp(keep)
    local pieces, all = {}, {}
    for i = 1, 300 do
      pieces[i] = i % 7 == 0 and { noise(i * 30), i } or noise(i * 50)
      all[i] = i % 7 == 0 and noise(i * 30) .. i or pieces[i]
    end
    local writer = grun.spawn(function()
      assert(a:write(pieces, "|", pieces))
      a:close()
    end)
    grun.idle()
    collectgarbage()
    local expected = table.concat(all)
    assert.is_true(same(expected .. "|" .. expected, b:read("a")))
    writer:get()
  end)

  test("refuses other values before it sends anything", function(keep)
    local a, b = keep(assert(grun.pair()))
    local wrong = {
      { { true }, "#1 to 'write' (string, number or table expected, got boolean)" },
      { { "a", nil, "b" }, "#2 to 'write' (string, number or table expected, got nil)" },
      { { "a", { "b", false } }, "#2 to 'write' (element 2 of the table is a boolean)" },
      { { { { "b", {} } } }, "#1 to 'write' (element 2 of the table is a table)" },
    }
    for _, case in ipairs(wrong) do
      assert.has_error(function() a:write(unpack(case[1], 1, 3)) end, "bad argument " .. case[2])
    end
    a:close()
    assert.equal("", b:read("a"))
  end)

  test("has one deadline and says how much went out", function(keep)
    local a, b = keep(assert(grun.pair()))
    local data = ("x"):rep(4 * KIB * KIB)
    a:settimeout(0.05)
    local over = false
    local reader = grun.spawn(function()
      while not over and b:recv(1000) do
        grun.sleep(0.01)
      end
    end)
    local start = grun.now()
    local ok, message, code, n = a:write(data)
    assert.same({ nil, "timeout", "timeout" }, { ok, message, code })
    assert.is_true(grun.now() - start >= 0.05 and grun.now() - start < 5)
    assert.is_true(n > 0 and n < #data)
    assert.equal(n, a:stats().sent)
    over = true
    reader:join()
  end)

  test("to a peer that is gone fails", function(keep)
    local a, b = transports.tcp(keep)
    b:close()
    local code
    repeat
      code = select(3, a:write("x"))
      grun.idle()
    until code
    assert.is_true(code == "EPIPE" or code == "ECONNRESET")
  end)

  test("fails when its direction was shut down", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.is_true(a:shutdown("w"))
    assert.equal("EPIPE", select(3, a:write("x")))
    assert.same({ nil, "closed", "closed" }, { b:read() })
  end)
end)

describe("shutdown", function()
  test("of one direction leaves the other: FIN, then an answer", function(keep)
    local a, b = transports.tcp(keep)
    a:write("question")
    assert.is_true(a:shutdown("w"))
    assert.equal("question", b:read("a"))
    assert.is_true(b:write("answer"))
    b:close()
    assert.equal("answer", a:read("a"))
  end)

  test("of reading ends a reader", function(keep)
    local a = keep(assert(grun.pair()))
    local t = parked(a.read, a)
    assert.is_true(a:shutdown("r"))
    assert.same({ nil, "closed", "closed" }, { t:get() })
  end)

  test("of both ends both", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.is_true(a:shutdown("rw"))
    assert.same({ nil, "closed", "closed" }, { a:read() })
    assert.same({ nil, "closed", "closed" }, { b:read() })
    assert.has_error(function() a:shutdown("x") end,
      "bad argument #1 to 'shutdown' (invalid option 'x')")
    assert.has_error(function() a:shutdown() end)
  end)
end)

describe("two threads on one connection", function()
  test("may read and write at once", function(keep)
    local a, b = keep(assert(grun.pair()))
    local reader = parked(a.read, a)
    local writer = parked(a.write, a, ("x"):rep(4 * KIB * KIB))
    b:write("answer\n")
    assert.equal("answer", reader:get())
    assert.equal("waiting", writer:status())
    assert.equal(4 * KIB * KIB, #b:read(4 * KIB * KIB))
    assert.is_true(writer:get())
  end)

  test("may not both read", function(keep)
    local a, b = keep(assert(grun.pair()))
    local first = parked(a.read, a)
    for _, call in ipairs({ "read", "recv", "peek" }) do
      assert.equal("busy", select(3, a[call](a)))
    end
    assert.equal("busy", select(3, a:read_until("x")))
    b:write("one\n")
    assert.equal("busy", select(3, a:recv()))
    assert.equal("one", first:get())
    b:write("two\n")
    assert.equal("two", a:read())
  end)

  test("write one after the other, never mixed", function(keep)
    local a, b = keep(assert(grun.pair()))
    local size = 4 * KIB * KIB
    local first = parked(a.write, a, ("x"):rep(size))
    local many = {}
    for i = 1, 200 do
      many[i] = ("y"):rep(1000)
    end
    local second, third = parked(a.write, a, many), parked(a.write, a, "z")
    assert.equal(("x"):rep(size), b:read(size))
    assert.equal(("y"):rep(200000) .. "z", b:read(200001))
    assert.same({ true, true, true }, { first:get(), second:get(), third:get() })
  end)

  test("wait for their turn to write no longer than their own time", function(keep)
    local a, b = keep(assert(grun.pair()))
    local size = 4 * KIB * KIB
    local first = parked(a.write, a, ("x"):rep(size))
    local late = parked(grun.timeout, 0.01, a.write, a, "late")
    local killed, last = parked(a.write, a, "killed"), parked(a.write, a, "last")
    assert.equal("timeout", select(2, late:get()))
    assert.is_true(killed:kill())
    assert.equal(size, #b:read(size))
    assert.is_true(first:get() and last:get())
    assert.equal("last", b:read(4))
  end)

  test("wait for their turn to write until the connection is closed", function(keep)
    local a = keep(assert(grun.pair()))
    local first = parked(a.write, a, ("x"):rep(4 * KIB * KIB))
    local second = parked(a.write, a, "y")
    a:close()
    assert.equal("closed", select(2, first:get()))
    assert.equal("closed", select(2, second:get()))
  end)
end)

describe("close", function()
  test("wakes who waits, with closed", function(keep)
    local a = keep(assert(grun.pair()))
    local reader = parked(a.read, a)
    local writer = parked(a.write, a, ("x"):rep(4 * KIB * KIB))
    assert.is_true(a:close())
    assert.same({ nil, "closed", "closed" }, { reader:get() })
    local ok, message, code = writer:get()
    assert.same({ nil, "closed", "closed" }, { ok, message, code })
  end)

  test("with data buffered and a reader waiting for more", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("partial")
    local reader = parked(a.read, a)
    a:close()
    assert.same({ nil, "closed", "closed" }, { reader:get() })
    assert.equal(0, a:stats().buffered)
  end)

  test("makes every later use fail", function(keep)
    local a = keep(assert(grun.pair()))
    assert.is_false(a:closed())
    a:close()
    assert.is_true(a:closed())
    assert.is_true(a:close())
    local uses = {
      read = { "l" }, recv = {}, peek = {}, read_until = { "x" }, write = { "x" }, fd = {},
      shutdown = { "w" }, peername = {}, sockname = {}, getoption = { "linger" },
      setoption = { "linger", 0 }, flush = {}, cork = { print }, sendfile = { "/dev/null" },
      send_fd = { 0 }, recv_fd = {}, peercred = {},
    }
    for name, args in pairs(uses) do
      local ok, message, code = a[name](a, unpack(args))
      assert.same({ nil, "closed", "closed" }, { ok, message, code }, name)
    end
    assert.same({ nil, "closed", "closed", 0 }, { a:write({ "x" }) })
    assert.is_nil(a:lines()())
  end)

  test("does not disturb who gets the descriptor's number next", function(keep)
    local a, b = keep(assert(grun.pair()))
    local reader = parked(a.read, a)
    local fd = a:fd()
    -- Events for the old connection are on their way when its number is used again.
    b:write("old\n")
    a:close()
    local c, d = keep(assert(grun.pair()))
    assert.equal(fd, c:fd())
    local other = parked(c.read, c)
    grun.idle()
    grun.idle()
    assert.equal("waiting", other:status())
    assert.same({ nil, "closed", "closed" }, { reader:get() })
    d:write("new\n")
    assert.equal("new", other:get())
  end)

  test("of many connections under load ends all threads", function(keep)
    local threads = {}
    for i = 1, 50 do
      local a, b = keep(assert(grun.pair()))
      threads[i] = grun.spawn(function()
        while a:write("x") and b:recv() do
          grun.yield()
        end
      end)
      grun.spawn_later(i / 5000, function()
        a:close()
      end)
    end
    assert.equal(50, #grun.joinall(threads, { timeout = 10 }))
  end)
end)

describe("a reset", function()
  local function reset(conn)
    conn:setoption("linger", 0)
    conn:close()
  end

  test("while waiting for the first byte", function(keep)
    local a, b = transports.tcp(keep)
    local t = parked(b.read, b)
    reset(a)
    assert.equal("ECONNRESET", select(3, t:get()))
  end)

  test("in the middle of a line keeps what came", function(keep)
    local a, b = transports.tcp(keep)
    a:write("par")
    local t = parked(b.read, b)
    grun.idle()
    reset(a)
    assert.equal("ECONNRESET", select(3, t:get()))
    assert.equal("par", b:recv())
    assert.same({ nil, "closed", "closed" }, { b:recv() })
  end)

  test("while writing", function(keep)
    local a, b = transports.tcp(keep)
    local t = parked(a.write, a, ("x"):rep(16 * KIB * KIB))
    reset(b)
    local ok, _, code = t:get()
    assert.is_nil(ok)
    assert.is_true(code == "ECONNRESET" or code == "EPIPE")
  end)

  test("while a cork is sent", function(keep)
    local a, b = transports.tcp(keep)
    local t = parked(a.cork, a, function()
      while a:write(("x"):rep(60 * KIB)) do end
      a:write("the end")
      return "done"
    end)
    reset(b)
    local ok, _, code = t:get()
    assert.is_nil(ok)
    assert.is_true(code == "ECONNRESET" or code == "EPIPE")
  end)

  test("before it was accepted", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    reset(keep(assert(grun.connect(listener:address()))))
    local client = keep(assert(grun.connect(listener:address())))
    client:write("hello\n")
    local first = keep(assert(listener:accept()))
    if first:read() ~= "hello" then
      assert.equal("hello", keep(assert(listener:accept())):read())
    end
  end)
end)

describe("a cancelled thread", function()
  test("leaves the connection usable", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("par")
    local reader = parked(a.read, a)
    local writer = parked(a.write, a, ("x"):rep(4 * KIB * KIB))
    reader:kill()
    writer:kill()
    b:write("tial\n")
    assert.equal("partial", a:read())
  end)

  test("cannot go on with calls that would not wait", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("data")
    local done
    local t = parked(function()
      pcall(grun.sleep, 60)
      done = pcall(a.recv, a)
    end)
    t:kill()
    assert.is_false(done)
    assert.equal("data", a:recv())
  end)

  test("in a scope of timeout loses no data", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("par")
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.01, a.read, a) })
    b:write("tial\n")
    assert.equal("partial", a:read())
  end)
end)

describe("a thread that writes without ever waiting", function()
  test("does not keep others from running", function(keep)
    local a = keep(assert(grun.pair()))
    local turns, stop = 0, false
    local other = grun.spawn(function()
      while not stop do
        turns = turns + 1
        grun.yield()
      end
    end)
    for _ = 1, 200 do
      a:write("x")
    end
    stop = true
    other:join()
    assert.is_true(turns >= 1)
  end)
end)

describe("misuse", function()
  test("raises at the caller's level and names the argument", function(keep)
    local a = keep(assert(grun.pair()))
    local _, message = pcall(function()
      a:recv("x")
    end)
    assert.matches("conn_spec.lua:%d+: bad argument #1 to 'recv' %(number expected, got string%)$",
      message)
    assert.has_error(function() a.read(nil) end,
      "bad argument #1 to 'read' (conn expected, got nil)")
    assert.has_error(function() a.read(io.stdout) end,
      "bad argument #1 to 'read' (conn expected, got userdata)")
    assert.has_error(function() a:settimeout(-1) end)
    assert.has_error(function() a:settimeout(0 / 0) end)
  end)

  test("in a finalizer is an error value, not a crash", function(keep)
    local a = keep(assert(grun.pair()))
    local results
    local proxy = newproxy(true)
    getmetatable(proxy).__gc = function()
      results = { a:read() }
      a:close()
    end
    proxy = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.same({ nil, "cannot wait in a finalizer", "misuse" }, results)
    assert.is_true(a:closed())
  end)
end)

describe("a finalizer that reads", function()
  test("in a cancelled thread gets an error value", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:write("data")
    local results
    local t = parked(function()
      pcall(grun.sleep, 60)
      getmetatable(newproxy(true)).__gc = function()
        results = { a:recv() }
      end
      collectgarbage()
    end)
    t:kill()
    assert.same({ nil, "cannot wait in a finalizer", "misuse" }, results)
    assert.equal("data", a:recv())
  end)

  it("does not disturb a read under way", function()
    -- In a process of its own: with a small heap, finalizers run in the middle of reads.
    local out, err = helper.run_script([[
      local a, b = grun.pair()
      local c, d = grun.pair()
      b:settimeout(0)
      d:settimeout(0)
      collectgarbage("setpause", 100)
      collectgarbage("setstepmul", 1000)
      local ran, wrong, nested = 0, 0, 0
      local function check(text, letter)
        if text and text:find("[^" .. letter .. "]") then
          wrong = wrong + 1
        end
      end
      local function finalize()
        ran = ran + 1
        check(d:recv(20000), "b")
        local text, _, code = b:recv(10)
        check(text, "a")
        nested = nested + (code == "busy" and 1 or 0)
      end
      local A, B = ("a"):rep(20000), ("b"):rep(20000)
      for _ = 1, 5000 do
        for _ = 1, 3 do
          getmetatable(newproxy(true)).__gc = finalize
        end
        a:write(A)
        c:write(B)
        check(b:recv(20000), "a")
        repeat until not b:recv()
        repeat until not d:recv()
      end
      print(ran > 1000, wrong, nested > 0)
    ]])
    assert.equal("", err)
    assert.equal("true\t0\ttrue\n", out)
  end)
end)

describe("system calls", function()
  it("are one recv and one send for each request of an echo", function()
    if os.execute("strace -o /dev/null true >/dev/null 2>&1") ~= 0 then
      return pending("strace does not run here")
    end
    local script, trace = helper.script([[
      local a, b = grun.pair()
      grun.spawn(function()
        while true do
          local data = b:recv()
          if not data then break end
          b:write(data)
        end
        b:close()
      end)
      for i = 1, 200 do
        a:write("ping\n")
        a:read()
      end
      a:close()
    ]]), helper.tmpname()
    os.execute(("strace -f -o %s %s %s"):format(trace, helper.quote(helper.grun), script))
    local calls = {}
    for line in io.lines(trace) do
      local name = line:match("^%d+ +(%w+)%(") or "?"
      calls[name] = (calls[name] or 0) + 1
      assert.is_nil(line:match("EAGAIN.*") and line:match("^%d+ +send"))
    end
    -- Each end tries once before it knows that the socket is empty.
    assert.is_true(calls.recvfrom <= 404 and calls.recvfrom >= 400)
    assert.equal(400, calls.sendto)
    assert.is_true((calls.epoll_ctl or 0) <= 10)
  end)
end)
