-- SPDX-License-Identifier: MIT
-- conn:send_fd, conn:recv_fd and conn:peercred.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local connected, parked = net.connected, net.parked

local no_descriptor = { nil, "data instead of a descriptor", "EBADMSG" }

-- Takes a raw descriptor over; closing it is keep's.
local function take(keep, fd)
  return keep(assert(grun.connect("fd:" .. assert(fd))))
end

-- Runs a python3 script whose `sock` is connected to the socket returned, while others stand still.
local function from_python(keep, script)
  local listener = keep(assert(grun.listen("unix:" .. net.unix_path())))
  local source = helper.tmpname(([[
import array, os, socket, sys
sock = socket.socket(socket.AF_UNIX)
sock.connect(%q)
%s]]):format(listener:address():sub(6), script))
  assert.equal(0, os.execute("python3 " .. source))
  return keep(assert(listener:accept()))
end

describe("a descriptor", function()
  test("is passed on and stays with the sender", function(keep)
    local a, b = keep(assert(grun.pair()))
    local c, d = keep(assert(grun.pair()))
    assert.is_true(a:send_fd(c:fd()))
    local e = take(keep, b:recv_fd())
    assert.not_equal(c:fd(), e:fd())
    e:write("through the copy\n")
    assert.equal("through the copy", d:read())
    c:write("still open\n")
    assert.equal("still open", d:read())
  end)

  test("is waited for", function(keep)
    local a, b = keep(assert(grun.pair()))
    local t = parked(b.recv_fd, b)
    assert.equal("busy", select(3, b:recv_fd()))
    assert.equal("busy", select(3, b:read()))
    a:send_fd(a:fd())
    take(keep, t:get())
    assert.same({ nil, "timeout", "timeout" }, { b:recv_fd(0.01) })
    b:settimeout(0.01)
    assert.same({ nil, "timeout", "timeout" }, { b:recv_fd() })
    t = parked(b.recv_fd, b, 60)
    b:close()
    assert.same({ nil, "closed", "closed" }, { t:get() })
  end)

  test("is not inherited by child processes", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:send_fd(a:fd())
    local c = take(keep, b:recv_fd())
    assert.not_equal(0, os.execute(("[ -e /proc/self/fd/%d ]"):format(c:fd())))
  end)

  test("comes after what was written before, and before what is written later", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("x")
      a:send_fd(a:fd())
      a:write("after\n")
    end)
    assert.same(no_descriptor, { b:recv_fd() })
    assert.equal("x", b:recv(1))
    take(keep, b:recv_fd())
    assert.equal("after", b:read())
    assert.equal(a:stats().sent, b:stats().received)
  end)

  test("is not taken out of the middle of data that was read already", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:write("one\ntwo\n")
    assert.equal("one", b:read())
    a:send_fd(a:fd())
    assert.same(no_descriptor, { b:recv_fd() })
    assert.equal("two", b:read())
    take(keep, b:recv_fd())
  end)

  test("that a read came across is gone, and its byte is data", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:send_fd(a:fd())
    assert.equal("\0", b:recv())
    a:close()
    assert.same({ nil, "closed", "closed" }, { b:recv_fd() })
  end)

  test("can be many in a row", function(keep)
    local a, b = keep(assert(grun.pair()))
    local sender = grun.spawn(function()
      for _ = 1, 500 do
        assert(a:send_fd(a:fd()))
      end
    end)
    for _ = 1, 500 do
      take(keep, b:recv_fd()):close()
    end
    sender:get()
  end)

  test("waits for room on the way", function(keep)
    local a, b = keep(assert(grun.pair()))
    local first = parked(a.write, a, ("x"):rep(4194304))
    local second = parked(a.send_fd, a, a:fd())
    assert.equal(("x"):rep(4194304) .. "\0", b:read(4194305))
    assert.is_true(first:get())
    assert.is_true(second:get())
  end)

  test("needs a unix connection and an open number", function(keep)
    local a = connected(keep, "tcp://127.0.0.1:0")
    for _, call in ipairs({ "send_fd", "recv_fd", "peercred" }) do
      assert.equal("EOPNOTSUPP", select(3, a[call](a, 0)), call)
    end
    local b, c = keep(assert(grun.pair()))
    assert.same({ nil, "Bad file descriptor", "EBADF" }, { b:send_fd(99999) })
    assert.same({ nil, "Bad file descriptor", "EBADF" }, { b:send_fd(-1) })
    assert.has_error(function() b:send_fd("x") end)
    b:close()
    assert.same({ nil, "closed", "closed" }, { c:recv_fd() })
    assert.same({ nil, "Broken pipe", "EPIPE" }, { c:send_fd(c:fd()) })
  end)
end)

describe("another program's message", function()
  test("with a descriptor", function(keep)
    local conn = from_python(keep, [[
a, b = socket.socketpair()
a.send(b"hello\n")
socket.send_fds(sock, [b"!"], [b.fileno()])
sock.send(b"rest")]])
    assert.equal("hello", take(keep, conn:recv_fd()):read())
    assert.equal("rest", conn:read("a"))
  end)

  for _, n in ipairs({ 2, 253 }) do
    test(("with %d descriptors leaves one"):format(n), function(keep)
      local conn = from_python(keep, ("socket.send_fds(sock, [b'!'], [sock.fileno()] * %d)"):format(n))
      take(keep, conn:recv_fd()):close() -- the other end of conn
      assert.same({ nil, "closed", "closed" }, { conn:recv_fd() })
    end)
  end

  test("of many bytes with a descriptor leaves all but the first to be read", function(keep)
    local conn = from_python(keep, "socket.send_fds(sock, [b'!text'], [sock.fileno()])")
    take(keep, conn:recv_fd()):close() -- the other end of conn
    assert.equal("text", conn:read("a"))
  end)

  test("without one is data", function(keep)
    local conn = from_python(keep, "sock.send(b'text')")
    assert.same(no_descriptor, { conn:recv_fd() })
    assert.same(no_descriptor, { conn:recv_fd() })
    assert.equal("text", conn:read("a"))
    assert.same({ nil, "closed", "closed" }, { conn:recv_fd() })
  end)

  it("to a process without free descriptors is lost", function()
    local out = helper.run_script([[
      local a, b = grun.pair()
      local files = {}
      repeat
        files[#files + 1] = io.open("/dev/null")
      until #files > 100 or not io.open("/dev/null")
      assert(a:send_fd(0))
      a:write("x\n")
      print(b:recv_fd())
      print(b:read())
    ]], { prefix = "prlimit --nofile=30" })
    assert.equal("nil\tToo many open files\tEMFILE\nx\n", out)
  end)
end)

describe("peercred", function()
  test("tells who is at the other end", function(keep)
    local stat = assert(io.open("/proc/self/stat"))
    local pid = stat:read("*n")
    stat:close()
    local a = keep(assert(grun.pair()))
    local cred = a:peercred()
    assert.equal(pid, cred.pid)
    local id = assert(io.popen("id -u; id -g"))
    assert.same({ cred.uid, cred.gid }, { id:read("*n", "*n") })
    id:close()
    local other = from_python(keep, "sock.send(b'%d' % os.getpid())")
    assert.equal(other:read("n"), other:peercred().pid)
    other:close()
    assert.same({ nil, "closed", "closed" }, { other:peercred() })
  end)
end)
