-- SPDX-License-Identifier: MIT
-- libc's blocking calls as a C module sees them: other threads run meanwhile, the results are the kernel's.

local coop = require("spec.coop.helper")
local grun = require("grun")
local helper = require("spec.helper")

local c = coop.libc()

local open = {}

local function keep(...)
  for _, fd in ipairs({ ... }) do
    open[#open + 1] = fd
  end
  return ...
end

local function pair(...)
  return keep(c.pair(...))
end

local function pipe()
  return keep(c.pipe())
end

local function close_all()
  for i = #open, 1, -1 do
    c.close(table.remove(open, i))
  end
end

-- A test after which what it opened is closed.
local function case(name, fn)
  it(name, function()
    finally(close_all)
    fn()
  end)
end

-- Reads until so many bytes have come.
local function read_all(fd, n)
  local parts, have = {}, 0
  while have < n do
    local part = assert(c.read(fd, 65536))
    if part == "" then
      break
    end
    parts[#parts + 1], have = part, have + #part
  end
  return table.concat(parts)
end

local BIG = ("0123456789abcdef"):rep(2 ^ 16) -- 1 MiB

describe("reading", function()
  for _, name in ipairs({ "read", "readv", "recv", "recvmsg" }) do
    case("parks only the calling thread: " .. name, function()
      local a, b = pair()
      helper.spawn(function()
        grun.sleep(0.03)
        c.write(b, "hello")
      end)
      local ticks, data = coop.ticks(c[name], a, 100)
      assert.equal("hello", data)
      assert.is_true(ticks >= 2, ticks)
    end)

    case("gives EAGAIN on a descriptor that a library made non-blocking: " .. name, function()
      local a = pair()
      c.nonblock(a, true)
      assert.equal(c.EAGAIN, select(3, c[name](a, 100)))
    end)

    case("gives EAGAIN when SO_RCVTIMEO has passed: " .. name, function()
      local a = pair()
      c.timeouts(a, 0.03)
      local start = grun.now()
      local ticks, _, _, errno = coop.ticks(c[name], a, 100)
      assert.equal(c.EAGAIN, errno)
      assert.is_true(grun.now() - start >= 0.03 and ticks >= 2)
    end)

    case("sees the end of the stream: " .. name, function()
      local a, b = pair()
      helper.spawn(function()
        grun.sleep(0.01)
        c.close(b)
        open[2] = nil
      end)
      assert.equal("", c[name](a, 100))
    end)
  end

  case("knows O_NONBLOCK when it was set through a duplicate", function()
    local a = pair()
    local other = keep(c.dup(a))
    c.nonblock(other, true)
    assert.equal(c.EAGAIN, select(3, c.read(a, 1)))
  end)

  case("takes a number for what it is now, not for what it was", function()
    local a, b = pair()
    c.write(b, "x")
    c.read(a, 10)
    c.fclose(a)
    local name = helper.tmpname("contents")
    local file = io.open(name)
    assert.equal(a, require("posix.stdio").fileno(file))
    assert.equal("contents", c.read(a, 100))
    file:close()
    open[1] = b
    open[2] = nil
  end)

  case("leaves MSG_DONTWAIT and MSG_PEEK as they are", function()
    local a, b = pair()
    assert.equal(c.EAGAIN, select(3, c.recv(a, 1, c.MSG_DONTWAIT)))
    c.write(b, "xy")
    assert.equal("x", c.recv(a, 1, c.MSG_PEEK))
    assert.equal("xy", c.recv(a, 9))
  end)

  for _, name in ipairs({ "recv", "recvmsg" }) do
    case("collects all of it with MSG_WAITALL: " .. name, function()
      local a, b = pair()
      helper.spawn(function()
        for i = 1, 5 do
          c.write(b, ("%d"):format(i):rep(2))
          grun.sleep(0.003)
        end
      end)
      assert.equal("1122334455", c[name](a, 10, c.MSG_WAITALL))
    end)
  end

  case("gives what MSG_WAITALL has when the stream ends or SO_RCVTIMEO passes", function()
    local a, b = pair()
    c.timeouts(a, 0.02)
    c.write(b, "abc")
    assert.equal("abc", c.recv(a, 10, c.MSG_WAITALL))
    c.write(b, "de")
    c.close(b)
    open[2] = nil
    assert.equal("de", c.recv(a, 10, c.MSG_WAITALL))
  end)

  case("waits for the first of several messages with MSG_WAITFORONE, else for all", function()
    local a, b = pair(c.SOCK_DGRAM)
    helper.spawn(function()
      for i = 1, 5 do
        grun.sleep(0.002)
        c.send(b, "m" .. i)
      end
    end)
    assert.same({ "m1", "m2", "m3" }, { c.recvmmsg(a, 3) })
    assert.same({ "m4" }, { c.recvmmsg(a, 3, c.MSG_WAITFORONE) })
    assert.equal("m5", c.recv(a, 10))
  end)

  case("reads files to the end asked for", function()
    local name = helper.tmpname(BIG)
    local file = io.open(name)
    local fd = require("posix.stdio").fileno(file)
    assert.is_true(c.read(fd, 2 ^ 21) == BIG)
    assert.equal("", c.read(fd, 10))
    file:close()
  end)

  case("reports a bad descriptor", function()
    for _, name in ipairs({ "read", "readv", "recv", "recvmsg" }) do
      assert.equal(c.EBADF, select(3, c[name](999, 1)), name)
    end
    assert.equal(c.EBADF, select(3, c.write(999, "x")))
    assert.equal(c.EBADF, select(3, c.send(999, "x")))
    assert.equal(c.EBADF, select(3, c.accept(999)))
  end)
end)

describe("writing", function()
  for _, way in ipairs({ { "write", "pipe" }, { "writev", "pipe" }, { "write", "pair" }, { "writev", "pair" },
                          { "send", "pair" }, { "sendmsg", "pair" } }) do
    local name, kind = way[1], way[2]
    case(("transfers everything: %s to a %s"):format(name, kind), function()
      local a, b
      if kind == "pipe" then
        a, b = pipe()
      else
        a, b = pair()
      end
      local reader = helper.spawn(function()
        grun.sleep(0.05)
        return read_all(a, #BIG)
      end)
      local ticks, n = coop.ticks(c[name], b, BIG)
      assert.equal(#BIG, n)
      assert.is_true(ticks >= 2, ticks)
      assert.is_true(reader:get() == BIG)
    end)
  end

  case("writes a part, then EAGAIN, when non-blocking", function()
    local _, b = pipe()
    c.nonblock(b, true)
    local n = c.write(b, BIG)
    assert.is_true(n > 0 and n < #BIG)
    assert.equal(c.EAGAIN, select(3, c.write(b, BIG)))
  end)

  case("gives the part that was written when SO_SNDTIMEO passes", function()
    local _, b = pair()
    c.timeouts(b, 0.02)
    local n = c.send(b, BIG)
    assert.is_true(n > 0 and n < #BIG)
    assert.equal(c.EAGAIN, select(3, c.send(b, BIG)))
  end)

  case("gives EPIPE", function()
    local a, b = pipe()
    c.close(a)
    open[1] = b
    open[2] = nil
    assert.equal(c.EPIPE, select(3, c.write(b, "x")))
  end)

  case("keeps short lines of several writers whole", function()
    local a, b = pipe()
    local line = ("x"):rep(99)
    for i = 1, 4 do
      helper.spawn(function()
        for _ = 1, 1000 do
          assert(c.write(b, i .. line .. "\n"))
        end
      end)
    end
    local count = 0
    for whole in read_all(a, 4 * 1000 * 101):gmatch("([^\n]*)\n") do
      assert.truthy(whole:find("^%d" .. line .. "$"))
      count = count + 1
    end
    assert.equal(4000, count)
  end)

  case("sends whole files", function()
    local a, b = pair()
    local name = helper.tmpname(BIG)
    local file = io.open(name)
    local reader = helper.spawn(read_all, a, #BIG)
    assert.equal(#BIG, c.sendfile(b, require("posix.stdio").fileno(file), #BIG + 10))
    assert.is_true(reader:get() == BIG)
    file:close()
  end)
end)

describe("poll", function()
  case("returns at once what is ready, files and bad descriptors included", function()
    local a, b = pair()
    c.write(b, "x")
    local change = coop.counted("poll", function()
      assert.same({ 1, c.POLLIN }, { c.poll({ a, c.POLLIN }, -1) })
      assert.same({ 1, c.POLLNVAL }, { c.poll({ 999, c.POLLIN }, -1) })
      assert.same({ 1, c.POLLOUT, 0 }, { c.poll({ b, c.POLLOUT, -1, c.POLLIN }, 1000) })
    end)
    assert.equal(0, change.parked)
  end)

  case("does not wait with a time-out of 0, and so long with another", function()
    local a = pair()
    assert.same({ 0, 0 }, { c.poll({ a, c.POLLIN }, 0) })
    for _, how in ipairs({ "poll", "ppoll" }) do
      local start = grun.now()
      local ticks, n = coop.ticks(c.poll, { a, c.POLLIN }, 30, how)
      assert.equal(0, n)
      assert.is_true(grun.now() - start >= 0.03 and ticks >= 2, how)
    end
  end)

  case("only waits without descriptors", function()
    local start = grun.now()
    assert.equal(0, (c.poll({}, 20)))
    assert.is_true(grun.now() - start >= 0.02)
  end)

  for n = 1, 10, 3 do
    case(("waits for %d descriptors, one of them twice"):format(n), function()
      local set, last, peer = {}, nil, nil
      for _ = 1, n do
        last, peer = pair()
        set[#set + 1], set[#set + 2] = last, c.POLLIN
      end
      set[#set + 1], set[#set + 2] = last, c.POLLIN + c.POLLPRI * (n % 2)
      helper.spawn(function()
        grun.sleep(0.01)
        c.write(peer, "x")
      end)
      local results = { c.poll(set, 5000) }
      assert.equal(2, results[1])
      assert.equal(c.POLLIN, results[#results])
      assert.equal(c.POLLIN, results[#results - 1])
    end)
  end

  case("does not spin when data is there that nobody asked for", function()
    local a, b = pair()
    c.write(b, "x")
    local change = coop.counted("poll", function()
      assert.same({ 0, 0 }, { c.poll({ a, c.POLLPRI }, 50) })
    end)
    assert.is_true(change.parked < 5, change.parked)
  end)

  case("wakes for a hang-up without any event asked for", function()
    local a, b = pair()
    helper.spawn(function()
      grun.sleep(0.01)
      c.close(b)
      open[2] = nil
    end)
    local start = grun.now()
    assert.same({ 1, c.POLLHUP }, { c.poll({ a, 0 }, 5000) })
    assert.is_true(grun.now() - start < 1)
  end)

  case("really blocks with a signal mask, and says so", function()
    local change = coop.counted("poll", function()
      assert.equal(0, (coop.ticks(c.poll, {}, 20, "mask")))
    end)
    assert.equal(1, change.blocked)
    assert.is_true(change.seconds >= 0.015)
  end)
end)

describe("select", function()
  case("waits for reading, and leaves the rest of the time", function()
    local a, b = pair()
    helper.spawn(function()
      grun.sleep(0.03)
      c.write(b, "x")
    end)
    local ticks, n, bits, left = coop.ticks(c.select, a, nil, nil, 5)
    assert.same({ 1, 1 }, { n, bits })
    assert.is_true(left > 3 and left < 4.98 and ticks >= 2)
  end)

  case("gives nothing when the time is over, and at once for 0", function()
    local a, b = pair()
    assert.same({ 0, 0, 0 }, { c.select(a, nil, nil, 0) })
    assert.same({ 0, 0, 0 }, { c.select(a, nil, nil, 0.02) })
    assert.same({ 1, 2, 0 }, { c.select(a, b, a, 0) })
  end)

  case("does not spin for a hang-up that was not asked for", function()
    local a, b = pair()
    c.close(b)
    open[2] = nil
    local change = coop.counted("select", function()
      assert.same({ 0, 0, 0 }, { c.select(nil, nil, a, 0.1) })
    end)
    assert.is_true(change.parked < 50, change.parked)
  end)

  case("reports bad descriptors", function()
    assert.equal(c.EBADF, select(3, c.select(999, nil, nil, 1)))
  end)
end)

describe("epoll_wait", function()
  case("parks, and ends with its time-out", function()
    local a, b = pair()
    assert.equal(0, c.epoll(a, 20))
    helper.spawn(function()
      grun.sleep(0.02)
      c.write(b, "x")
    end)
    local ticks, n = coop.ticks(c.epoll, a, -1)
    assert.equal(1, n)
    assert.is_true(ticks >= 2)
  end)
end)

describe("connect and accept", function()
  case("park", function()
    local path = helper.tmpname()
    os.remove(path)
    local server = keep(c.listen(path, 1))
    helper.spawn(function()
      grun.sleep(0.03)
      keep(c.connect(path))
    end)
    local ticks, fd = coop.ticks(c.accept, server)
    keep(fd)
    assert.is_true(ticks >= 2)
    assert.equal(c.ENOENT, select(3, c.connect(path .. ".none")))
  end)

  case("wait for a local server whose backlog is full", function()
    local path = helper.tmpname()
    os.remove(path)
    local server = keep(c.listen(path, 0))
    keep(c.connect(path))
    helper.spawn(function()
      grun.sleep(0.03)
      keep(c.accept(server))
    end)
    local ticks, fd = coop.ticks(c.connect, path)
    keep(fd)
    assert.is_true(ticks >= 2)
  end)

  case("obey SO_RCVTIMEO, and leave the descriptor blocking", function()
    local path = helper.tmpname()
    os.remove(path)
    local server = keep(c.listen(path, 1))
    c.timeouts(server, 0.02)
    assert.equal(c.EAGAIN, select(3, c.accept(server)))
    assert.equal(c.EAGAIN, select(3, c.accept(server)))
    local flags = require("posix.fcntl").fcntl(server, require("posix.fcntl").F_GETFL)
    assert.equal(0, bit.band(flags, require("posix.fcntl").O_NONBLOCK))
  end)
end)

describe("sleeping", function()
  for _, how in ipairs({ "nanosleep", "usleep", "relative", "absolute" }) do
    case("parks and is never too short: " .. how, function()
      local start = grun.now()
      local ticks, rc = coop.ticks(c.sleep, 0.03, how)
      assert.equal(0, rc)
      assert.is_true(grun.now() - start >= 0.03 and ticks >= 2)
    end)

    case("reports success when cancelled: " .. how, function()
      local rc
      local t = helper.spawn(function()
        rc = c.call(function()
          local result = { pcall(c.sleep, 10, how) }
          return grun.is_cancel(result[2])
        end)
      end)
      grun.sleep(0.01)
      t:cancel("enough")
      t:join()
      assert.equal("enough", rc)
    end)
  end

  case("lets others run when it has no length", function()
    local ran
    helper.spawn(function()
      ran = true
    end)
    c.sleep(0, "nanosleep")
    assert.is_true(ran)
  end)
end)

describe("waiting for children", function()
  case("parks, and gives the status", function()
    local pid = c.child(30, 7)
    local ticks, got, status = coop.ticks(c.waitpid, pid)
    assert.same({ pid, 7 }, { got, status })
    assert.is_true(ticks >= 2)
    assert.equal(c.ECHILD, select(3, c.waitpid(pid)))
  end)

  case("takes any child, and reports that there is none", function()
    local pid = c.child(20, 3)
    assert.same({ 0, 0 }, { c.waitpid(-1, c.WNOHANG) })
    local ticks, got, status = coop.ticks(c.waitpid, -1)
    assert.same({ pid, 3 }, { got, status })
    assert.is_true(ticks >= 2)
    assert.equal(c.ECHILD, select(3, c.waitpid(-1)))
  end)

  case("works through waitid, too", function()
    local pid = c.child(20, 5)
    assert.same({ 0, 0, 0 }, { c.waitid(pid, c.WNOHANG) })
    assert.same({ 0, pid, 5 }, { c.waitid(pid) })
    pid = c.child(20, 6)
    assert.same({ 0, pid, 6 }, { c.waitid(0) })
  end)

  case("never takes the child that another thread waits for", function()
    local _, results = coop.parallel(10, function(i)
      local pid = c.child(10 + i % 3 * 5, i)
      local got, status = c.waitpid(pid)
      return pid == got, status
    end)
    for i, result in ipairs(results) do
      assert.equal(i, result[#result])
    end
  end)
end)

describe("locks of files", function()
  for _, name in ipairs({ "flock", "lockf" }) do
    case("park until another process gives it back: " .. name, function()
      local path = helper.tmpname()
      local fcntl = require("posix.fcntl")
      local first = fcntl.open(path, fcntl.O_RDWR)
      local lock, unlock = c.LOCK_EX, c.LOCK_UN
      if name == "lockf" then
        lock, unlock = c.F_LOCK, c.F_ULOCK
      end
      local pid = c.fork()
      if pid == 0 then
        local own = fcntl.open(path, fcntl.O_RDWR)
        c[name](own, lock)
        c.sleep(0.1, "nanosleep")
        c[name](own, unlock)
        c.exit(0)
      end
      grun.sleep(0.05)
      local ticks, rc = coop.ticks(c[name], first, lock)
      assert.equal(0, rc)
      assert.is_true(ticks >= 2, ticks)
      c.waitpid(pid)
      c.close(first)
    end)
  end
end)

describe("closing a descriptor", function()
  for _, name in ipairs({ "read", "recv", "poll", "epoll" }) do
    case("ends the waits for it with EBADF: " .. name, function()
      local a, b = pair()
      local result
      local t = helper.spawn(function()
        if name == "poll" then
          result = { c.poll({ b, c.POLLIN, a, c.POLLIN }, -1) }
        elseif name == "epoll" then
          result = { c.epoll(a, 100) }
        else
          result = { c[name](a, 1) }
        end
      end)
      grun.sleep(0.005)
      c.close(a)
      open[1] = b
      open[2] = nil
      -- The number is used again before that thread runs.
      local again, other = c.pair()
      keep(again, other)
      c.write(other, "not yours")
      t:join()
      if name == "poll" then
        assert.same({ 2, c.POLLIN + c.POLLHUP, c.POLLNVAL }, result)
      elseif name ~= "epoll" then
        assert.equal(c.EBADF, result[3])
      end
      assert.equal("not yours", c.read(again, 100))
    end)
  end

  case("is noticed when it happened behind our back and the number means something else", function()
    local a = pair()
    local result
    local t = helper.spawn(function()
      result = { c.recv(a, 1) }
    end)
    grun.sleep(0.005)
    local fresh, other = pair()
    c.dup(fresh, a)
    local reader = helper.spawn(c.read, a, 100)
    grun.sleep(0.005)
    c.write(other, "for the second")
    grun.sleep(0.005)
    assert.equal("for the second", reader:get())
    t:kill()
    assert.equal(c.EBADF, result and result[3])
  end)
end)

describe("a cancelled thread", function()
  for _, name in ipairs({ "read", "recv", "recvmsg", "poll", "select", "epoll", "accept", "waitpid", "flock" }) do
    case("gets an error in C and the cancel in Lua: " .. name, function()
      local a = pair()
      local path = helper.tmpname()
      os.remove(path)
      local fcntl = require("posix.fcntl")
      local arguments = { read = { a, 1 }, recv = { a, 1 }, recvmsg = { a, 1 }, poll = { { a, c.POLLIN }, -1 },
        select = { a }, epoll = { a, -1 } }
      local pid
      if name == "accept" then
        arguments.accept = { keep(c.listen(path, 1)) }
      elseif name == "waitpid" then
        pid = c.child(200, 0)
        arguments.waitpid = { pid }
      elseif name == "flock" then
        local file = helper.tmpname()
        c.flock(keep(fcntl.open(file, fcntl.O_RDWR)), c.LOCK_EX)
        arguments.flock = { keep(fcntl.open(file, fcntl.O_RDWR)), c.LOCK_EX }
      end
      local reason
      local t = helper.spawn(function()
        local _, err = pcall(c[name], unpack(arguments[name]))
        reason = grun.is_cancel(err)
      end)
      grun.sleep(0.01)
      local start = grun.now()
      t:cancel("stop")
      t:join()
      assert.equal("stop", reason)
      assert.is_true(grun.now() - start < 0.1)
      if pid then
        assert.equal(pid, (c.waitpid(pid)))
      end
    end)
  end

  case("still can do what need not wait", function()
    local a, b = pair()
    local sent, got
    local t = helper.spawn(function()
      pcall(grun.sleep, 10)
      sent, got = c.write(a, "QUIT"), c.read(a, 10)
    end)
    c.write(b, "there")
    grun.sleep(0.01)
    t:kill()
    assert.same({ 4, "there", "QUIT" }, { sent, got, c.read(b, 10) })
  end)

  case("is held to a deadline in the same way", function()
    local a = pair()
    local start = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.02, c.read, a, 1) })
    assert.is_true(grun.now() - start < 1)
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.02, c.sleep, 5, "usleep") })
  end)

  case("really waits once a library has repeated its call too often", function()
    local out, err, status = coop.child.run_text([[
      local c = require("cooplibc")
      local failures
      local t = grun.spawn(function()
        local start = grun.now()
        local n = c.call(function() return select(2, pcall(c.retry, 0.5)) end)
        print(grun.is_cancel(n), grun.now() - start >= 0.5)
      end)
      grun.sleep(0.01)
      t:cancel("over")
      t:join()
      local poll = grun.coop.stats().calls.poll
      print(poll.refused == 1000, poll.parked > 1000 and poll.parked < 2000)
    ]])
    assert.equal("over\ttrue\ntrue\ttrue\n", out)
    assert.truthy(err:find("has repeated its call 1000 times", 1, true))
    assert.equal(0, status)
  end)
end)

describe("another OS thread", function()
  case("goes straight to the kernel, and is counted", function()
    local a, b = pair()
    local change = coop.counted("read", function()
      local thread = c.thread(a)
      c.write(b, "a")
      assert.equal("b", c.read(b, 1))
      c.join(thread)
    end)
    assert.equal(1, change.foreign)
  end)
end)

describe("two threads waiting for one connection", function()
  case("are reported once", function()
    local _, err = coop.child.run_text([[
      local c = require("cooplibc")
      for _ = 1, 2 do
        local a, b = c.pair()
        local first, second = grun.spawn(c.read, a, 1), grun.spawn(c.read, a, 1)
        grun.sleep(0.01)
        c.write(b, "xy")
        first:join()
        second:join()
      end
    ]])
    local _, n = err:gsub("wait for the same connection", "")
    assert.equal(1, n, err)
  end)
end)

describe("grun.coop", function()
  case("lets a function's calls really block", function()
    assert.equal(0, (coop.ticks(grun.coop.original, c.sleep, 0.02, "usleep")))
    assert.is_true((coop.ticks(c.sleep, 0.02, "usleep")) > 3)
    assert.same({ 1, 2 }, { grun.coop.original(function(...) return ... end, 1, 2) })
    local ok, err = pcall(grun.coop.original, function() error("x", 0) end)
    assert.same({ false, "x" }, { ok, err })
    assert.is_true((coop.ticks(c.sleep, 0.02, "usleep")) > 3)
  end)

  case("says where the process had to wait", function()
    c.poll({}, 20, "mask")
    local top
    for _, site in ipairs(grun.coop.stats().sites) do
      top = top or site.where:find("coop_spec.lua:%d+$") and site
    end
    assert.equal("poll", top.call)
    assert.is_true(top.count >= 1 and top.seconds >= 0.015)
  end)

  case("knows the place in a coroutine, too", function()
    local line
    coroutine.wrap(function()
      line = debug.getinfo(1, "l").currentline + 1
      c.poll({}, 5, "mask")
    end)()
    local found
    for _, site in ipairs(grun.coop.stats().sites) do
      found = found or site.where:find("coop_spec.lua:" .. line .. "$")
    end
    assert.truthy(found)
  end)

  case("is switched off by --no-coop", function()
    local out = coop.child.run_text([[
      local c = require("cooplibc")
      local n = 0
      grun.spawn(function() n = 1 end)
      c.sleep(0.01, "usleep")
      print(n, grun.coop.stats().enabled, grun.coop.stats().calls.sleep.parked)
    ]], { "--no-coop" })
    assert.equal("0\tfalse\t0\n", out)
  end)

  case("checks its arguments", function()
    helper.misuse(function() grun.coop.original(1) end, "original: function expected, got number")
    helper.misuse(function() grun.coop.wrap(print) end, "wrap: function of the FFI expected, got function")
  end)
end)

describe("the executable", function()
  case("exports what the list says, and nothing else", function()
    local exported, listed = {}, {}
    local nm = assert(io.popen("nm -D --defined-only " .. helper.quote(helper.grun)))
    for line in nm:lines() do
      local kind, name = line:match("^%x+ (%a) (%S+)$")
      if kind:find("[TWi]") then
        exported[#exported + 1] = name
      end
    end
    nm:close()
    for line in io.lines("runtime/posix/export.list") do
      listed[#listed + 1] = line:match("^\t([%w_]+);$")
    end
    table.sort(exported)
    table.sort(listed)
    assert.same(listed, exported)
  end)
end)
