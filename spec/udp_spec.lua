-- SPDX-License-Identifier: MIT
-- grun.udp: datagram sockets of the internet and of unix.

local core = require("grun.core")
local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)

local function udp(keep, address, opts)
  return keep(assert(grun.udp(address or "udp://127.0.0.1:0", opts)))
end

local function port_of(sock)
  return tonumber(sock:sockname():match(":(%d+)$"))
end

-- Two sockets, the first one connected to the second.
local function linked(keep, opts)
  local receiver = udp(keep, nil, opts)
  local sender = udp(keep, nil)
  assert(sender:connect(receiver:sockname()))
  return sender, receiver
end

-- A child process whose output goes to a file; killed after the test.
local function start(keep, command)
  local out, pid_file = helper.tmpname(), helper.tmpname()
  local pipe = assert(io.popen(("echo $$ >%s; exec timeout 20 %s >%s 2>&1"):format(pid_file, command,
    out), "w"))
  keep({
    close = function()
      os.execute("kill $(cat " .. pid_file .. ") 2>/dev/null")
      pipe:close()
    end,
  })
  pipe:setvbuf("no")
  return pipe, function()
    local file = assert(io.open(out))
    local text = file:read("*a")
    file:close()
    return text
  end
end

local function eventually(fn)
  local limit = grun.now() + 5
  while not fn() do
    assert(grun.now() < limit, "did not happen within 5 s")
    grun.sleep(0.005)
  end
end

describe("a UDP socket", function()
  test("carries datagrams whole, empty ones too", function(keep)
    local a, b = udp(keep), udp(keep)
    for _, data in ipairs({ "one", "", "two\0three", net.noise(9000) }) do
      assert.is_true(a:send(data, "127.0.0.1", port_of(b)))
      local got, peer, size = b:recv(5)
      assert.is_true(net.same(data, got))
      assert.equal(a:sockname(), tostring(peer))
      assert.is_nil(size)
      assert.is_true(b:send_to(got, peer))
      assert.is_true(net.same(data, a:recv(5)))
    end
  end)

  test("gives each peer one object, with its parts", function(keep)
    local a, b, c = udp(keep), udp(keep), udp(keep)
    local function from(sender)
      assert(sender:send("x", "127.0.0.1", port_of(c)))
      return select(2, c:recv(5))
    end
    local first, other = from(a), from(b)
    collectgarbage()
    assert.is_true(rawequal(first, from(a)))
    assert.is_true(rawequal(first, c:peer("127.0.0.1", port_of(a))))
    assert.is_true(rawequal(first, b:peer("127.0.0.1", port_of(a))))
    assert.are_not.equal(first, other)
    assert.equal("127.0.0.1", first.host)
    assert.equal(port_of(a), first.port)
    assert.is_nil(first.path)
    assert.is_nil(first.nonsense)
    assert.is_nil(first[1])
  end)

  test("forgets peers that nobody has", function(keep)
    local a = udp(keep)
    local weak = setmetatable({ assert(a:peer("127.0.0.99", 99)) }, { __mode = "v" })
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    for i = 1, 20000 do
      assert(a:peer("127.1.2." .. i % 250, 1 + i))
    end
  end)

  test("is dual stack without a host and shows mapped IPv4 peers as IPv4", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    local server = udp(keep, "udp://:0")
    local four, six = udp(keep), udp(keep, "udp://[::1]:0")
    assert.equal("udp://[::]:" .. port_of(server), server:sockname())
    assert(four:send("4", "127.0.0.1", port_of(server)))
    local _, peer = server:recv(5)
    assert.equal(four:sockname(), tostring(peer))
    assert.equal("127.0.0.1", peer.host)
    assert.is_true(rawequal(peer, four:peer("127.0.0.1", port_of(four))))
    assert(server:send_to("back", peer))
    assert.equal("back", (four:recv(5)))
    assert(six:send("6", "::1", port_of(server)))
    _, peer = server:recv(5)
    assert.equal("udp://[::1]:" .. port_of(six), tostring(peer))
    assert.equal("::1", peer.host)
    assert(server:send_to("back", peer))
    assert.equal("back", (six:recv(5)))
  end)

  test("with v6only or of one family reaches only that", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    local six, four = udp(keep, "udp://:0", { v6only = true }), udp(keep)
    assert.same({ nil, "127.0.0.1: Address family not supported by protocol", "EAFNOSUPPORT" },
      { six:send("x", "127.0.0.1", 9) })
    assert.equal("EAFNOSUPPORT", select(3, four:send("x", "::1", 9)))
    assert.equal("EAFNOSUPPORT", select(3, four:connect("udp://[::1]:9")))
    assert(six:send("x", "localhost", port_of(six)))
    assert.equal("::1", select(2, six:recv(5)).host)
  end)

  test("needs no address to send", function(keep)
    local client, server = keep(assert(grun.udp())), udp(keep)
    assert(client:send("hello", "localhost", port_of(server)))
    local data, peer = server:recv(5)
    assert.equal("hello", data)
    assert.equal(port_of(client), peer.port)
    assert(server:send_to("bye", peer))
    assert.equal("bye", (client:recv(5)))
  end)

  test("looks names up and says when there is none", function(keep)
    local a, b = udp(keep), udp(keep)
    assert(a:send("x", "localhost", port_of(b)))
    assert.equal("x", (b:recv(5)))
    assert.equal("localhost", (a:peer("localhost", 7)) and "localhost")
    assert.equal("bad_address", select(3, a:send("x", "not a host", 7)))
    assert.equal("bad_address", select(3, a:send("x", "1.2.3", 7)))
    assert.equal("bad_address", select(3, a:connect("udp://127.0.0.1")))
    assert.equal("bad_address", select(3, a:connect("tcp://127.0.0.1:80")))
    assert.equal("bad_address", select(3, a:connect("fd:0")))
  end)

  test("connects, talks to that one only, and disconnects", function(keep)
    local server, other = udp(keep), udp(keep)
    local client = udp(keep)
    assert.equal("EDESTADDRREQ", select(3, client:send("x")))
    assert.is_true(client:connect(server:sockname():gsub("udp://", "")))
    assert.equal(server:sockname(), client:peername())
    assert.equal(("sock %s -> 127.0.0.1:%d (fd %d)"):format(client:sockname(), port_of(server),
      client:fd()), tostring(client))
    assert(other:send("unwanted", "127.0.0.1", port_of(client)))
    assert(client:send("ping"))
    local data, peer = server:recv(5)
    assert.equal("ping", data)
    assert(server:send_to("pong", peer))
    assert.equal("pong", (client:recv(5)))
    assert.is_true(client:disconnect())
    assert.equal("ENOTCONN", select(3, client:peername()))
    assert(other:connect(server:peer("127.0.0.1", port_of(client))))
    assert.equal("udp://127.0.0.1:" .. port_of(client), other:peername())
    assert(other:send("wanted"))
    assert.equal("wanted", (client:recv(5)))
  end)

  test("tells of a peer that is not there, if connected, and goes on", function(keep)
    local sender, receiver = linked(keep)
    local at = receiver:sockname()
    receiver:close()
    assert.is_true(sender:send("lost"))
    assert.same({ nil, "Connection refused", "ECONNREFUSED" }, { sender:recv(5) })
    assert.is_true(sender:send("lost"))
    eventually(function() return select(3, sender:send("lost")) == "ECONNREFUSED" end)
    receiver = udp(keep, at)
    eventually(function() return sender:send("found") and receiver:recv(0) == "found" end)
    local unconnected = udp(keep)
    local port = port_of(receiver)
    receiver:close()
    assert.is_true(unconnected:send("lost", "127.0.0.1", port))
    assert.same({ nil, "timeout", "timeout" }, { unconnected:recv(0.02) })
    assert.is_true(unconnected:send("lost", "127.0.0.1", port))
  end)

  test("sends up to the largest datagram and no more", function(keep)
    local sender, receiver = linked(keep)
    local largest = net.noise(65507)
    assert.is_true(sender:send(largest))
    assert.is_true(net.same(largest, receiver:recv(5)))
    assert.same({ nil, "cannot send 65508 bytes: Message too long", "EMSGSIZE" },
      { sender:send(largest .. "x") })
    assert.is_true(sender:send("after that"))
    assert.equal("after that", (receiver:recv(5)))
  end)

  test("says how large a datagram was that it cut", function(keep)
    local sender, receiver = linked(keep, { max = 10 })
    for _, row in ipairs({
      { "0123456789", "0123456789" }, { "0123456789a", "0123456789", 11 }, { "short", "short" },
      { ("x"):rep(5000), ("x"):rep(10), 5000 },
    }) do
      assert(sender:send(row[1]))
      local data, peer, size = receiver:recv(5)
      assert.same({ row[2], sender:sockname(), row[3] }, { data, tostring(peer), size })
    end
    assert.equal(2, receiver:stats().truncated)
  end)

  test("waits, times out, and does not wait at all", function(keep)
    local sender, receiver = linked(keep)
    assert.same({ nil, "timeout", "timeout" }, { receiver:recv(0) })
    local before = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { receiver:recv(0.03) })
    assert.is_true(grun.now() - before >= 0.03)
    assert.is_true(receiver:settimeout(0.01))
    assert.equal("timeout", select(3, receiver:recv()))
    assert.equal("timeout", select(3, receiver:recv_many()))
    receiver:settimeout()
    local t = net.parked(function() return receiver:recv() end)
    sender:send("late")
    assert.equal("late", (t:get(5)))
  end)

  test("lets one thread receive at a time", function(keep)
    local sender, receiver = linked(keep)
    local t = net.parked(function() return receiver:recv() end)
    for _, method in ipairs({ "recv", "recv_many" }) do
      local _, message, code = receiver[method](receiver)
      assert.equal("busy", code)
      assert.matches("^busy", message)
    end
    assert.equal("busy", select(4, grun.select({ receiver:op_readable() }, 1)))
    sender:send("for the first")
    assert.equal("busy", select(3, receiver:recv(0)))
    assert.equal("for the first", (t:get(5)))
    sender:send("for the second")
    assert.equal("for the second", (receiver:recv(5)))
  end)

  test("closes while another thread receives", function(keep)
    for _, method in ipairs({ "recv", "recv_many" }) do
      local sock = udp(keep)
      local t = net.parked(function() return sock[method](sock) end)
      assert.is_true(sock:close())
      assert.same({ nil, "closed", "closed" }, { t:get(5) })
    end
  end)

  test("says closed for everything once closed", function(keep)
    local sock, peer = udp(keep), udp(keep):peer("127.0.0.1", 9)
    assert.is_false(sock:closed())
    assert.is_true(sock:close())
    assert.is_true(sock:close())
    assert.is_true(sock:closed())
    assert.equal("sock closed", tostring(sock))
    local closed = { nil, "closed", "closed" }
    assert.same(closed, { sock:recv() })
    assert.same(closed, { sock:recv_many() })
    assert.same(closed, { sock:send("x") })
    assert.same(closed, { sock:send("x", "127.0.0.1", 9) })
    assert.same(closed, { sock:send_to("x", peer) })
    assert.same({ nil, "closed", "closed", 0 }, { sock:send_many({ { "x", peer } }) })
    assert.same(closed, { sock:connect(peer) })
    assert.same(closed, { sock:disconnect() })
    assert.same(closed, { sock:join_group("224.0.0.251") })
    assert.same(closed, { sock:sockname() })
    assert.same(closed, { sock:peername() })
    assert.same(closed, { sock:fd() })
    assert.same(closed, { sock:getoption("rcvbuf") })
    assert.same(closed, { sock:setoption("rcvbuf", 1) })
    assert.same({ 1, nil, "closed", "closed" }, { grun.select({ sock:op_readable() }) })
  end)

  test("is cancelled while it receives, and times out with its scope", function(keep)
    local sock = udp(keep)
    local t = net.parked(function() return sock:recv() end)
    t:cancel("enough")
    t:join()
    assert.equal("cancelled", t:status())
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.01, sock.recv, sock) })
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.01, sock.recv_many, sock) })
    assert(sock:send("still works", "127.0.0.1", port_of(sock)))
    assert.equal("still works", (sock:recv(5)))
  end)

  test("works with select and wait", function(keep)
    local sender, receiver = linked(keep)
    assert.same({ nil, "timeout", "timeout" }, { grun.select({ receiver:op_readable() }, 0.01) })
    assert.same({ 1, true }, { grun.select({ sender:op_writable(), receiver:op_readable() }) })
    local t = net.parked(grun.select, { receiver:op_readable() })
    sender:send("x")
    assert.same({ 1, true }, { t:get(5) })
    assert.same({ receiver }, grun.wait({ receiver }, 5))
    assert.equal("x", (receiver:recv(0)))
    t = net.parked(grun.wait, { receiver })
    receiver:close()
    assert.same({ receiver }, t:get(5))
  end)

  test("loses what its buffer does not hold, counts it, and goes on", function(keep)
    local sender, receiver = linked(keep, { rcvbuf = 8192 })
    for _ = 1, 500 do
      assert(sender:send(("x"):rep(1000)))
    end
    local n = 0
    while receiver:recv(0) do
      n = n + 1
    end
    assert.is_true(n > 0 and n < 500)
    assert.equal(500 - n, receiver:stats().dropped)
    assert.equal(n, receiver:stats().received)
    assert.equal(n * 1000, receiver:stats().received_bytes)
    assert.equal(500, sender:stats().sent)
    assert.equal(500000, sender:stats().sent_bytes)
    assert(sender:send("after the flood"))
    assert.equal("after the flood", (receiver:recv(5)))
  end)

  test("does not starve other threads while datagrams keep coming", function(keep)
    local sender, receiver = linked(keep)
    local others, stop = 0, false
    helper.spawn(function()
      while not stop do
        others = others + 1
        grun.yield()
      end
    end)
    local function turns_during(fn)
      local before = others
      fn()
      return others - before
    end
    local list = {}
    assert.is_true(turns_during(function()
      for i = 1, 200 do
        assert(sender:send("x"))
        list[i] = "x"
      end
    end) >= 3)
    assert.is_true(turns_during(function()
      for _ = 1, 200 do
        assert(receiver:recv())
      end
    end) >= 3)
    assert.is_true(turns_during(function()
      for _ = 1, 100 do
        assert(sender:send_many(list))
      end
    end) >= 3)
    stop = true
  end)

  test("has options", function(keep)
    local sock = udp(keep, nil, { broadcast = true, rcvbuf = 20000, sndbuf = 30000, ttl = 7,
      multicast_ttl = 3, multicast_loop = false, multicast_interface = "127.0.0.1" })
    assert.is_true(sock:getoption("broadcast"))
    assert.equal(40000, sock:getoption("rcvbuf")) -- the kernel doubles it
    assert.equal(60000, sock:getoption("sndbuf"))
    assert.is_true(sock:setoption("broadcast", false))
    assert.is_false(sock:getoption("broadcast"))
    assert.is_nil(sock:getoption("nodelay"))
  end)

  test("has options of IPv6", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    udp(keep, "udp://[::1]:0", { ttl = 7, multicast_ttl = 3, multicast_loop = true,
      multicast_interface = "lo" })
  end)

  test("needs the permission to broadcast", function(keep)
    local sock = udp(keep)
    assert.equal("EACCES", select(3, sock:send("x", "255.255.255.255", 9)))
  end)

  test("shares its port only if it was told to", function(keep)
    local first = udp(keep, nil, { reuse_port = true })
    local at = first:sockname()
    assert.same({ nil, "cannot open " .. at .. ": Address already in use", "EADDRINUSE" },
      { grun.udp(at) })
    udp(keep, at, { reuse_port = true })
  end)

  test("takes a descriptor that it was given", function(keep)
    local sender, receiver = linked(keep)
    local copy = keep(assert(grun.udp("fd:" .. sender:fd())))
    assert.equal(sender:fd(), copy:fd())
    assert.is_true(copy:send("by another name"))
    assert.equal("by another name", (receiver:recv(5)))
    assert.equal(sender:peername(), copy:peername())
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    assert.equal("EPROTOTYPE", select(3, grun.udp("fd:" .. listener:fd())))
    assert.is_truthy(listener:fd())
    assert.equal("ENOTSOCK", select(3, grun.udp("fd:0")))
    assert.equal("EBADF", select(3, grun.udp("fd:99999")))
  end)

  test("is closed by the collector", function()
    local sock = assert(grun.udp("udp://127.0.0.1:0"))
    local fd = sock:fd()
    sock = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    assert.is_nil(lfs.symlinkattributes("/proc/self/fd/" .. fd, "target"))
  end)

  test("receives nothing in a finalizer", function(keep)
    local sender, receiver = linked(keep)
    sender:send("x")
    local got
    do
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function()
        got = { receiver:recv(0) }
      end
    end
    collectgarbage()
    collectgarbage()
    assert.same({ nil, "cannot wait in a finalizer", "misuse" }, got)
    assert.equal("x", (receiver:recv(0)))
  end)

  test("fails cleanly when there are no descriptors", function()
    local out, err, status = helper.run_script([[
      local held = {}
      for i = 1, 100 do
        local sock, message, code = grun.udp("udp://127.0.0.1:0")
        if not sock then
          print(code)
          break
        end
        held[i] = sock
      end
      held[1]:close()
      local sock = assert(grun.udp("udp://127.0.0.1:0"))
      assert(sock:send("x", "127.0.0.1", sock:sockname():match("%d+$")))
      print((sock:recv(5)))
    ]], { prefix = "prlimit --nofile=32" })
    assert.same({ "EMFILE\nx\n", "", 0 }, { out, err, status })
  end)

  test("raises for misuse, where it was called", function(keep)
    local sock = udp(keep)
    local peer = sock:peer("127.0.0.1", 9)
    local function raises(message, fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok)
      assert.matches(message, err, 1, true)
    end
    raises("unknown option 'nonsense'", grun.udp, nil, { nonsense = 1 })
    raises("option 'reuse_port': boolean expected, got number", grun.udp, nil, { reuse_port = 1 })
    raises("option 'max' must be 1 to 1048576", grun.udp, nil, { max = 0 })
    raises("option 'ttl' must be 1 to 255", grun.udp, nil, { ttl = 256 })
    raises("option 'rcvbuf': number expected, got string", grun.udp, nil, { rcvbuf = "1" })
    raises("no interface 'nope0'", grun.udp, nil, { multicast_interface = "nope0" })
    raises("table expected", grun.udp, nil, 1)
    raises("string expected, got no value", sock.send, sock)
    raises("string expected, got table", sock.send, sock, {})
    raises("port out of range", sock.send, sock, "x", "127.0.0.1", 0)
    raises("port out of range", sock.send, sock, "x", "127.0.0.1", 65536)
    raises("number expected, got no value", sock.send, sock, "x", "127.0.0.1")
    raises("peer expected, got string", sock.send_to, sock, "x", "127.0.0.1")
    raises("peer expected, got userdata", sock.send_to, sock, "x", io.stdout)
    raises("timeout must be", sock.recv, sock, -1)
    raises("must be 1 or more", sock.recv_many, sock, 0)
    raises("item 2: data as a string expected, got number", sock.send_many, sock,
      { { "x", peer }, { 1, peer } })
    raises("item 1: peer expected, got string", sock.send_many, sock, { { "x", "y" } })
    raises("no interface 'nope0'", sock.join_group, sock, "224.0.0.251", "nope0")
    raises("address of a group expected", sock.join_group, sock, "all")
    raises("sock expected, got table", sock.recv, {})
    assert.same({ nil, "timeout", "timeout" }, { sock:recv(0) })
    assert.equal("bad_address", select(3, grun.udp("tcp://127.0.0.1:0")))
    assert.equal("bad_address", select(3, grun.udp("udp://127.0.0.1")))
  end)
end)

describe("batches of datagrams", function()
  test("come in one list, in order", function(keep)
    local sender, receiver = linked(keep)
    for i = 1, 100 do
      assert(sender:send("datagram " .. i))
    end
    local first, second = receiver:recv_many(), receiver:recv_many(64, 1)
    assert.same({ 64, 36 }, { #first, #second })
    for i = 1, 100 do
      local item = i <= 64 and first[i] or second[i - 64]
      assert.equal("datagram " .. i, item[1])
      assert.equal(sender:sockname(), tostring(item[2]))
      assert.is_nil(item[3])
    end
  end)

  test("are at most what was asked for", function(keep)
    local sender, receiver = linked(keep)
    for i = 1, 5 do
      assert(sender:send(tostring(i)))
    end
    assert.equal(2, #receiver:recv_many(2))
    assert.equal(1, #receiver:recv_many(1))
    assert.equal(2, #receiver:recv_many(1000))
    assert.equal("timeout", select(3, receiver:recv_many(5, 0)))
  end)

  test("fill a list again, whatever it held", function(keep)
    local sender, receiver = linked(keep, { max = 4 })
    for _, data in ipairs({ "a", "too long", "c" }) do
      assert(sender:send(data))
    end
    local list = receiver:recv_many()
    local tables = { list[1], list[2] }
    assert.same({ "a", "too ", 8, "c" }, { list[1][1], list[2][1], list[2][3], list[3][1] })
    assert(sender:send("d"))
    assert(sender:send("e"))
    assert.is_true(rawequal(list, receiver:recv_many(list)))
    assert.same({ 2, "d", "e" }, { #list, list[1][1], list[2][1] })
    assert.is_nil(list[2][3])
    assert.is_true(rawequal(tables[1], list[1]) and rawequal(tables[2], list[2]))
    assert.is_nil(list[3])
  end)

  test("of large datagrams are kept apart", function(keep)
    local sender, receiver = linked(keep, { rcvbuf = 1000000 })
    local sent = {}
    for i = 1, 3 do
      sent[i] = i .. net.noise(60000)
      assert(sender:send(sent[i]))
    end
    local list = receiver:recv_many()
    for i = 1, 3 do
      assert.is_true(net.same(sent[i], list[i][1]))
    end
  end)

  test("go out in one call, to many or to the connected one", function(keep)
    local sender, a, b = udp(keep), udp(keep), udp(keep)
    local to_a, to_b = sender:peer("127.0.0.1", port_of(a)), sender:peer("127.0.0.1", port_of(b))
    assert.equal(3, sender:send_many({ { "1", to_a }, { "2", to_b }, { "3", to_a } }))
    assert.same({ "1", "3", "2" }, { (a:recv(5)), (a:recv(5)), (b:recv(5)) })
    assert.equal(0, sender:send_many({}))
    sender:connect(to_b)
    assert.equal(2, sender:send_many({ "4", { "5" } }))
    assert.same({ "4", "5" }, { (b:recv(5)), (b:recv(5)) })
  end)

  test("longer than a system call takes go out whole, or not at all when an item is bad",
    function(keep)
      local sender, receiver = linked(keep)
      local list = {}
      for i = 1, 200 do
        list[i] = tostring(i)
      end
      assert.equal(200, sender:send_many(list))
      for i = 1, 200 do
        assert.equal(tostring(i), (receiver:recv(5)))
      end
      list[200] = {}
      assert.is_false(pcall(sender.send_many, sender, list))
      assert.equal("timeout", select(3, receiver:recv(0)))
    end)

  test("stop at what cannot be sent and say how far they came", function(keep)
    local sender, receiver = linked(keep)
    local list = { "1", "2", ("x"):rep(70000), "4" }
    assert.same({ nil, "cannot send item 3: Message too long", "EMSGSIZE", 2 },
      { sender:send_many(list) })
    assert.same({ "1", "2" }, { (receiver:recv(5)), (receiver:recv(5)) })
  end)
end)

describe("multicast", function()
  local GROUPS = {
    { "IPv4 by name", "udp://0.0.0.0:0", "239.255.77.1", "lo" },
    { "IPv4 by address", "udp://0.0.0.0:0", "239.255.77.2", "127.0.0.1" },
    { "IPv4 over a dual-stack socket", "udp://:0", "239.255.77.3", "lo" },
    { "IPv6", "udp://:0", "ff01::77:4", "lo" },
  }
  for _, row in ipairs(GROUPS) do
    local name, address, group, interface = unpack(row)
    test("reaches who joined: " .. name, function(keep)
      local a = udp(keep, address, { reuse_addr = true })
      local b = udp(keep, "udp://" .. (address:match("0.0.0.0") or "") .. ":" .. port_of(a),
        { reuse_addr = true })
      local ok, message = a:join_group(group, interface)
      if not ok then
        return pending(message)
      end
      assert(b:join_group(group, interface))
      local sender = udp(keep, address, { multicast_interface = interface })
      ok, message = sender:send("to all", group, port_of(a))
      if not ok then
        return pending(message)
      end
      assert.equal("to all", (a:recv(5)))
      assert.equal("to all", (b:recv(5)))
      assert.is_true(a:leave_group(group, interface))
      assert.same({ nil, group .. ": Cannot assign requested address", "EADDRNOTAVAIL" },
        { a:leave_group(group, interface) })
      assert(sender:send("to the rest", group, port_of(a)))
      assert.equal("to the rest", (b:recv(5)))
    end)
  end

  test("says no to what is no group", function(keep)
    local sock = udp(keep)
    assert.equal("EINVAL", select(3, sock:join_group("127.0.0.1")))
    assert.equal("EAFNOSUPPORT", select(3, sock:join_group("ff01::1")))
  end)
end)

describe("a unix datagram socket", function()
  test("is bound to a path with its permissions, which goes when it closes", function(keep)
    local path = net.unix_path()
    local server = udp(keep, "unixgram:" .. path, { mode = "0600" })
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    assert.equal("unixgram:" .. path, server:sockname())
    local client = udp(keep, "unixgram:@grun-spec-" .. path)
    assert(client:send("hello", path))
    local data, peer = server:recv(5)
    assert.equal("hello", data)
    assert.equal("@grun-spec-" .. path, peer.path)
    assert.is_nil(peer.host)
    assert(server:send_to("back", peer))
    data, peer = client:recv(5)
    assert.same({ "back", path }, { data, peer.path })
    assert.equal("unixgram:" .. path, tostring(peer))
    server:close()
    assert.is_nil(lfs.attributes(path))
  end)

  test("without a name is a peer that cannot be answered", function(keep)
    local path = net.unix_path()
    local server, client = udp(keep, "unixgram:" .. path), udp(keep, "unixgram:")
    assert(client:connect("unixgram:" .. path))
    assert(client:send(""))
    local data, peer = server:recv(5)
    assert.same({ "", nil, nil, "unixgram:" }, { data, peer.path, peer.host, tostring(peer) })
    assert.equal("EDESTADDRREQ", select(3, server:send_to("x", peer)))
    assert.equal("EDESTADDRREQ", select(3, server:send_many({ { "x", peer } })))
    assert.equal("sock unixgram: -> " .. path .. (" (fd %d)"):format(client:fd()), tostring(client))
  end)

  test("replaces a path that was left behind, and nothing else", function(keep)
    local path = net.unix_path()
    local _, _, status = helper.run_script(([[
      require("ffi").cdef("int getpid(void);")
      local sock = grun.udp("unixgram:%s")
      os.execute("kill -9 " .. require("ffi").C.getpid(), sock)
    ]]):format(path))
    assert.equal(137, status)
    assert.equal("socket", lfs.attributes(path, "mode"))
    local server = udp(keep, "unixgram:" .. path)
    assert.equal("EADDRINUSE", select(3, grun.udp("unixgram:" .. path)))
    assert(udp(keep, "unixgram:"):send("x", path))
    assert.equal("x", (server:recv(5)))
    local file = helper.tmpname("text")
    assert.equal("EADDRINUSE", select(3, grun.udp("unixgram:" .. file)))
    local listening = net.unix_path()
    keep(assert(grun.listen("unix:" .. listening)))
    assert.equal("EADDRINUSE", select(3, grun.udp("unixgram:" .. listening)))
    assert.equal("ENOENT", select(3, grun.udp("unixgram:/nonexistent/dir/sock")))
  end)

  test("waits for a receiver who is full, with and without connect", function(keep)
    local path = net.unix_path()
    local server, client = udp(keep, "unixgram:" .. path), udp(keep, "unixgram:")
    for _, connected in ipairs({ false, true }) do
      if connected then
        client:connect("unixgram:" .. path)
      end
      local function send(data)
        if connected then
          return client:send(data)
        end
        return client:send(data, path)
      end
      client:settimeout(0)
      local n, code = 0, nil
      while not code do
        n = n + 1
        code = select(3, send(tostring(n)))
      end
      assert.equal("timeout", code)
      client:settimeout(0.03)
      assert.equal("timeout", select(3, send("x")))
      client:settimeout()
      local a, b = net.parked(send, "late"), net.parked(send, "late")
      local before = core.info(a[1]).switches
      grun.sleep(0.05)
      assert.is_true(core.info(a[1]).switches - before < 100)
      for i = 1, n - 1 do
        assert.equal(tostring(i), (server:recv(5)))
      end
      assert.same({ "late", "late" }, { (server:recv(5)), (server:recv(5)) })
      assert.same({ true, true }, { a:get(5), b:get(5) })
    end
  end)

  test("wakes all who wait for room when it closes", function(keep)
    local path = net.unix_path()
    local server, client = udp(keep, "unixgram:" .. path), udp(keep, "unixgram:")
    assert.is_truthy(server)
    client:connect("unixgram:" .. path)
    local threads = {}
    client:settimeout(0)
    while client:send("x") do -- luacheck: ignore
    end
    client:settimeout()
    for i = 1, 3 do
      threads[i] = net.parked(client.send, client, "x")
    end
    threads[4] = net.parked(client.send_many, client, { "x" })
    threads[1]:kill()
    client:close()
    for i = 2, 4 do
      assert.equal("closed", select(3, threads[i]:get(5)))
    end
  end)

  test("may have the longest path there is", function(keep)
    local dir = net.unix_path()
    assert(lfs.mkdir(dir))
    keep({ close = function() lfs.rmdir(dir) end })
    local path = dir .. "/" .. ("x"):rep(107 - #dir - 1)
    local server, client = udp(keep, "unixgram:" .. dir .. "/s"), udp(keep, "unixgram:" .. path)
    assert(client:send("hello", dir .. "/s"))
    local _, peer = server:recv(5)
    assert.equal(path, peer.path)
    assert(server:send_to("back", peer))
    assert.equal("back", (client:recv(5)))
    assert.equal("bad_address", select(3, grun.udp("unixgram:" .. path .. "y")))
  end)

  test("carries datagrams larger than 64 KiB if max says so", function(keep)
    local path = net.unix_path()
    local server = udp(keep, "unixgram:" .. path, { max = 1048576 })
    local client = udp(keep, "unixgram:", { sndbuf = 400000 })
    local data = net.noise(200000)
    assert(client:send(data, path))
    assert(client:send("small", path))
    local list = server:recv_many()
    assert.equal(2, #list)
    assert.is_true(net.same(data, list[1][1]))
    assert.equal("small", list[2][1])
  end)

  test("times out at once and fails where there is nobody", function(keep)
    local client = udp(keep, "unixgram:")
    assert.equal("ENOENT", select(3, client:send("x", net.unix_path())))
    assert.equal("bad_address", select(3, client:send("x", "")))
    assert.equal("EAFNOSUPPORT", select(3, client:connect("udp://127.0.0.1:9")))
  end)
end)

describe("other programs", function()
  test("nc exchanges datagrams with it", function(keep)
    local sock = udp(keep)
    local stdin, output = start(keep, "nc -u 127.0.0.1 " .. port_of(sock))
    stdin:write("from nc\n")
    local data, peer = sock:recv(5)
    assert.equal("from nc\n", data)
    assert(sock:send_to("to nc\n", peer))
    eventually(function() return output() == "to nc\n" end)
  end)

  -- What socat and we listen on; where socat does.
  for socat, address in pairs({
    ["UDP4-RECVFROM:%s,fork"] = "udp://127.0.0.1:",
    ["UDP6-RECVFROM:%s,fork,ipv6only=1"] = "udp://[::1]:",
    ["UNIX-RECVFROM:%s,fork"] = "unixgram:",
  }) do
    test("socat echoes what it sends: " .. address, function(keep)
      if net.no_ipv6 and address:find("::1", 1, true) then
        return pending(net.no_ipv6)
      end
      local ours, theirs = "0"
      if address == "unixgram:" then
        ours, theirs = net.unix_path(), net.unix_path()
      else
        local probe = udp(keep)
        theirs = port_of(probe)
        probe:close()
      end
      start(keep, ("socat %s EXEC:cat"):format(socat:format(theirs)))
      local sock = udp(keep, address .. ours)
      local answer
      eventually(function()
        if sock:peername() or sock:connect(address .. theirs) then
          sock:send("round trip")
          answer = sock:recv(0.2)
        end
        return answer
      end)
      assert.equal("round trip", answer)
    end)
  end
end)
