-- SPDX-License-Identifier: MIT
-- conn:sendfile.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local connected, unix_path, parked = net.connected, net.unix_path, net.parked
local noise, same = net.noise, net.same

local KIB, MIB = 1024, 1024 * 1024

local transports = {
  tcp = function(keep)
    return connected(keep, "tcp://127.0.0.1:0")
  end,
  unix = function(keep)
    return connected(keep, "unix:" .. unix_path())
  end,
}

-- Runs conn:sendfile(...) while the peer reads up to the end; returns what came, then the results.
local function transfer(keep, ...)
  local a, b = keep(assert(grun.pair()))
  local reader = grun.spawn(b.read, b, "a")
  local results = { a:sendfile(...) }
  a:close()
  return reader:get(), unpack(results)
end

local function fails(keep, ...)
  return { select(2, transfer(keep, ...)) }
end

describe("sendfile", function()
  for name, open in pairs(transports) do
    for _, size in ipairs({ 0, 1, 64 * KIB - 1, 64 * KIB + 1, 9 * MIB + 3 }) do
      test(("sends a file of %d bytes: %s"):format(size, name), function(keep)
        local a, b = open(keep)
        local data = noise(size)
        local path = helper.tmpname(data)
        local reader = grun.spawn(b.read, b, "a")
        assert.equal(size, a:sendfile(path))
        assert.equal(size, a:stats().sent)
        a:close()
        assert.is_true(same(data, reader:get()))
      end)
    end
  end

  test("sends a part of a file", function(keep)
    local path = helper.tmpname("0123456789")
    local parts = {
      { 0, 10, "0123456789" }, { 3, 4, "3456" }, { 3, nil, "3456789" }, { nil, 2, "01" },
      { 9, 1, "9" }, { 10, nil, "" }, { 99, nil, "" }, { 4, 0, "" },
    }
    for _, part in ipairs(parts) do
      local from, len, text = part[1], part[2], part[3]
      assert.same({ text, #text }, { transfer(keep, path, from, len) })
    end
  end)

  test("sends a file of Lua's from where it stands, like a read", function(keep)
    local file = keep(assert(io.open(helper.tmpname("line\n0123456789"))))
    file:read()
    assert.same({ "0123", 4 }, { transfer(keep, file, nil, 4) })
    assert.equal("45", file:read(2))
    assert.same({ "6789", 4 }, { transfer(keep, file) })
    assert.is_nil(file:read(1))
    assert.same({ "", 0 }, { transfer(keep, file) })
  end)

  test("with an offset leaves the file where it stands", function(keep)
    local file = keep(assert(io.open(helper.tmpname("0123456789"))))
    file:read(2)
    assert.same({ "567", 3 }, { transfer(keep, file, 5, 3) })
    assert.same({ "0123456789", 10 }, { transfer(keep, file, 0) })
    assert.equal("2", file:read(1))
  end)

  test("sends what was written to the file and not flushed", function(keep)
    local file = keep(assert(io.tmpfile()))
    file:write("fresh")
    assert.same({ "fresh", 5 }, { transfer(keep, file, 0) })
  end)

  test("sends what comes from a pipe, what was read ahead first", function(keep)
    local pipe = keep(assert(io.popen("echo one; echo two; sleep 0.1; echo three")))
    assert.equal("one", pipe:read())
    assert.same({ "two\nthree\n", 10 }, { transfer(keep, pipe) })
    local other = keep(assert(io.popen("echo 0123456789; echo x")))
    assert.same({ "01234", 5 }, { transfer(keep, other, nil, 5) })
  end)

  test("sends files of the kernel, whose size is unknown", function(keep)
    local file = assert(io.open("/proc/self/cmdline"))
    local expected = file:read("*a")
    file:close()
    assert.same({ expected, #expected }, { transfer(keep, "/proc/self/cmdline") })
    local zeros = ("\0"):rep(100000)
    local got, n = transfer(keep, "/dev/zero", nil, #zeros)
    assert.is_true(same(zeros, got))
    assert.equal(#zeros, n)
  end)

  test("says what it cannot send", function(keep)
    local directory = helper.tmpname()
    os.remove(directory)
    assert.same({ nil, "cannot send " .. directory .. ": No such file or directory", "ENOENT", 0 },
      fails(keep, directory))
    assert.same({ nil, "cannot send /tmp: Is a directory", "EISDIR", 0 }, fails(keep, "/tmp"))
    local pipe = keep(assert(io.popen("sleep 0.1")))
    assert.same({ nil, "cannot send the file: Illegal seek", "ESPIPE", 0 }, fails(keep, pipe, 1))
    local file = keep(assert(io.open(helper.tmpname(), "w")))
    file:write("x")
    assert.equal("EBADF", fails(keep, file, 0)[3])
  end)

  test("checks its arguments", function(keep)
    local a = keep(assert(grun.pair()))
    local closed = io.tmpfile()
    closed:close()
    local wrong = {
      { { 3 }, "#1 to 'sendfile' (path or file expected, got number)" },
      { {}, "#1 to 'sendfile' (path or file expected, got nil)" },
      { { a }, "#1 to 'sendfile' (FILE* expected, got userdata)" },
      { { closed }, "#1 to 'sendfile' (closed file)" },
      { { "a\0b" }, "#1 to 'sendfile' (path with a zero byte)" },
      { { "x", -1 }, "#2 to 'sendfile' (out of range)" },
      { { "x", 0, -1 }, "#3 to 'sendfile' (out of range)" },
      { { "x", 0 / 0 }, "#2 to 'sendfile' (out of range)" },
      { { "x", true }, "#2 to 'sendfile' (number expected, got boolean)" },
    }
    for _, case in ipairs(wrong) do
      assert.has_error(function() a:sendfile(unpack(case[1], 1, 3)) end, "bad argument " .. case[2])
    end
  end)
end)

describe("a file that ends early", function()
  test("is an error with the count", function(keep)
    local path = helper.tmpname("0123456789")
    assert.same({ nil, "the file ended early", "ENODATA", 4 }, fails(keep, path, 6, 5))
    assert.same({ nil, "the file ended early", "ENODATA", 0 }, fails(keep, path, 20, 5))
    local pipe = keep(assert(io.popen("echo 123")))
    assert.same({ nil, "the file ended early", "ENODATA", 4 }, fails(keep, pipe, nil, 5))
  end)

  test("since it was truncated meanwhile, too", function(keep)
    local a, b = transports.tcp(keep)
    local path = helper.tmpname(noise(32 * MIB))
    local t = parked(a.sendfile, a, path)
    assert.equal(0, os.execute("truncate -s 1000000 " .. path))
    local reader = grun.spawn(b.read, b, "a")
    local ok, message, code, n = t:get()
    a:close()
    assert.same({ nil, "the file ended early", "ENODATA" }, { ok, message, code })
    assert.equal(n, #reader:get())
    assert.is_true(n >= 1000000 and n < 32 * MIB)
  end)
end)

describe("sendfile under way", function()
  local big
  setup(function()
    big = os.tmpname()
    local file = assert(io.open(big, "w"))
    file:write(noise(32 * MIB))
    file:close()
  end)
  teardown(function()
    os.remove(big)
  end)

  test("ends when the peer goes away", function(keep)
    local a, b = transports.tcp(keep)
    local t = parked(a.sendfile, a, big)
    b:setoption("linger", 0)
    b:close()
    local ok, _, code, n = t:get()
    assert.is_nil(ok)
    assert.is_true(code == "ECONNRESET" or code == "EPIPE", code)
    assert.is_true(n > 0 and n < 32 * MIB)
  end)

  test("ends when another thread closes the connection", function(keep)
    local a = transports.tcp(keep)
    local t = parked(a.sendfile, a, big)
    a:close()
    local ok, message, code, n = t:get()
    assert.same({ nil, "closed", "closed" }, { ok, message, code })
    assert.is_true(n > 0)
    assert.same({ nil, "closed", "closed", 0 }, { a:sendfile(big) })
  end)

  test("ends so as well while it waits for a pipe", function(keep)
    local a, b = keep(assert(grun.pair()))
    local silent = keep(assert(io.popen("sleep 1")))
    local t = parked(a.sendfile, a, silent)
    a:close()
    assert.same({ nil, "closed", "closed", 0 }, { t:get() })
    assert.same({ nil, "closed", "closed" }, { b:read() })
  end)

  test("times out, with a pipe as well", function(keep)
    local a = transports.tcp(keep)
    a:settimeout(0.05)
    local ok, message, code, n = a:sendfile(big)
    assert.same({ nil, "timeout", "timeout" }, { ok, message, code })
    assert.equal(a:stats().sent, n)
    local c = keep(assert(grun.pair()))
    c:settimeout(0.05)
    assert.same({ nil, "timeout", "timeout", 0 },
      { c:sendfile(keep(assert(io.popen("sleep 0.3")))) })
  end)

  test("can be cancelled", function(keep)
    local a, b = transports.tcp(keep)
    local t = parked(a.sendfile, a, big)
    local other = keep(assert(grun.pair()))
    local waiting = parked(other.sendfile, other, keep(assert(io.popen("sleep 0.3"))))
    t:kill()
    waiting:kill()
    assert.equal("cancelled", t:status())
    assert.equal("cancelled", waiting:status())
    a:shutdown("w")
    assert.is_true(#b:read("a") < 32 * MIB)
  end)

  test("moves a file of Lua's by what was sent", function(keep)
    local a = transports.tcp(keep)
    local file = keep(assert(io.open(big)))
    a:settimeout(0.05)
    assert.equal(select(4, a:sendfile(file)), file:seek())
  end)

  test("survives that the file is closed", function(keep)
    local a, b = transports.tcp(keep)
    local file = assert(io.open(big))
    local t = parked(a.sendfile, a, file)
    file:close()
    assert.equal(32 * MIB, #b:read(32 * MIB))
    assert.equal(32 * MIB, t:get())
  end)

  test("is one turn among writers", function(keep)
    local a, b = transports.tcp(keep)
    local first = parked(a.write, a, ("x"):rep(8 * MIB))
    local file, last = parked(a.sendfile, a, big), parked(a.write, a, "end")
    assert.equal(("x"):rep(8 * MIB), b:read(8 * MIB))
    assert.is_true(same(helper.contents(big), b:read(32 * MIB)))
    assert.equal("end", b:read(3))
    assert.same({ true, 32 * MIB, true }, { first:get(), file:get(), last:get() })
  end)

  test("lets other threads run", function(keep)
    local a, b = transports.tcp(keep)
    local turns, over = 0, false
    local reader = grun.spawn(function()
      while b:recv(MIB) do end
    end)
    local other = grun.spawn(function()
      while not over do
        turns = turns + 1
        grun.yield()
      end
    end)
    a:sendfile(big)
    over = true
    a:close()
    grun.joinall({ other, reader })
    assert.is_true(turns > 1)
  end)
end)

describe("sendfile in a process of its own", function()
  -- Prints whether all came, and the growth of memory in KiB.
  local script = [[
    local MIB = 2 ^ 20
    local path = os.tmpname()
    os.execute("head -c 64M /dev/zero >" .. path)
    local function memory()
      for line in io.lines("/proc/self/status") do
        local kib = line:match("^VmHWM:%s*(%d+)")
        if kib then return tonumber(kib) end
      end
    end
    local listener = grun.listen("tcp://127.0.0.1:0")
    local a, b = assert(grun.connect(listener:address())), nil
    b = listener:accept()
    local reader = grun.spawn(function()
      local n = 0
      while true do
        local text = b:recv()
        if not text then return n end
        n = n + #text
      end
    end)
    collectgarbage("setpause", 100)
    a:sendfile(path, 0, MIB)
    local before = memory()
    local n = a:sendfile(path)
    os.remove(path)
    a:close()
    print(n == 64 * MIB and reader:get() == 65 * MIB, memory() - before)
  ]]

  local function check(prefix)
    local out, err = helper.run_script(script, { prefix = prefix, timeout = 60 })
    assert.equal("", err)
    local ok, growth = out:match("^(%w+)\t(%-?%d+)\n$")
    assert.equal("true", ok)
    -- A sanitizer keeps freed memory.
    assert.is_true(tonumber(growth) < 8 * KIB or helper.grun:find("asan") ~= nil, growth)
  end

  it("needs constant memory", function()
    check()
  end)

  it("copies what the kernel cannot send, in constant memory too", function()
    local trace = helper.tmpname()
    local strace = ("strace -qq -o %s -e trace=sendfile -e inject=sendfile:error=EINVAL"):format(trace)
    if os.execute(strace .. " true >/dev/null 2>&1") ~= 0 then
      return pending("strace does not run here")
    end
    check(strace)
    local calls = select(2, helper.contents(trace):gsub("sendfile%(", ""))
    assert.equal(2, calls) -- one for each file
  end)
end)
