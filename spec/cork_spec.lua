-- SPDX-License-Identifier: MIT
-- conn:cork and conn:flush.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local parked, noise, same = net.parked, net.noise, net.same

local KIB, MIB = 1024, 1024 * 1024

local nothing = { nil, "timeout", "timeout" }

-- What has arrived at b by now.
local function arrived(b)
  return (b:recv(nil, 0))
end

describe("cork", function()
  test("holds back what is written until the function ends, and returns its results", function(keep)
    local a, b = keep(assert(grun.pair()))
    local results = { a:cork(function(conn)
      assert.equal(a, conn)
      assert.is_true(conn:write("a", 1, { "b", { "c" } }))
      assert.is_true(conn:write("d"))
      assert.same(nothing, { b:recv(nil, 0) })
      assert.equal(5, a:stats().corked)
      assert.equal(0, a:stats().sent)
      return 1, nil, 3
    end) }
    assert.same({ 1, nil, 3 }, results)
    assert.equal("a1bcd", arrived(b))
    assert.equal(0, a:stats().corked)
    assert.equal(5, a:stats().sent)
  end)

  test("without writes sends nothing", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.is_nil(a:cork(function() a:write("") end))
    assert.is_nil(arrived(b))
  end)

  test("nests; the outermost sends", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("1")
      assert.equal("inner", a:cork(function()
        a:write("2")
        return "inner"
      end))
      assert.is_nil(arrived(b))
      a:write("3")
    end)
    assert.equal("123", arrived(b))
    a:write("4")
    assert.equal("4", arrived(b))
  end)

  test("sends what was written before an error, which goes on", function(keep)
    local a, b = keep(assert(grun.pair()))
    local problem = {}
    local ok, err = pcall(a.cork, a, function()
      a:write("before")
      a:cork(function()
        a:write(" and inside")
        error(problem)
      end)
    end)
    assert.is_false(ok)
    assert.equal(problem, err)
    assert.equal("before and inside", arrived(b))
    a:write("after")
    assert.equal("after", arrived(b))
  end)

  test("collects at most 64 KiB", function(keep)
    local a, b = net.connected(keep, "tcp://127.0.0.1:0")
    local data = noise(3 * MIB)
    local reader = grun.spawn(b.read, b, "a")
    local at, most = 1, 0
    a:cork(function()
      for i = 1, 1000 do
        local n = i * 37 % 9000
        assert(a:write(data:sub(at, at + n - 1)))
        at = at + n
        most = math.max(most, a:stats().corked)
      end
      assert(a:write(data:sub(at)))
    end)
    a:close()
    assert.is_true(same(data, reader:get()))
    assert.is_true(most > 32 * KIB and most <= 64 * KIB, most)
  end)

  for _, n in ipairs({ 64 * KIB - 1, 64 * KIB, 64 * KIB + 1 }) do
    test(("takes one write of %d bytes"):format(n), function(keep)
      local a, b = keep(assert(grun.pair()))
      a:cork(function()
        assert(a:write(("x"):rep(n)))
        assert.equal(n <= 64 * KIB and n or 0, a:stats().corked)
      end)
      assert.equal(n, #b:read(n))
    end)
  end

  test("goes out before a file", function(keep)
    local a, b = keep(assert(grun.pair()))
    local path = helper.tmpname("file")
    a:cork(function()
      a:write("head ")
      assert.equal(4, a:sendfile(path))
      assert.equal("head file", arrived(b))
      a:write(" tail")
    end)
    assert.equal(" tail", arrived(b))
  end)

  test("checks its argument", function(keep)
    local a = keep(assert(grun.pair()))
    helper.misuse(function() local _ = a:cork("x") end, "cork: function expected, got string")
    a:close()
    assert.same({ nil, "closed", "closed" }, { a:cork(error) })
  end)
end)

describe("flush", function()
  test("sends what is collected", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("question\n")
      assert.is_true(a:flush())
      assert.equal("question\n", arrived(b))
      assert.is_true(a:flush())
      b:write("answer\n")
      assert.equal("answer", a:read())
      a:write("thanks\n")
    end)
    assert.equal("thanks\n", arrived(b))
  end)

  test("outside of a cork has nothing to do", function(keep)
    local a = keep(assert(grun.pair()))
    assert.is_true(a:flush())
    a:close()
    assert.equal("closed", select(3, a:flush()))
  end)

  test("keeps what it could not send", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:settimeout(0.01)
    local sent = select(4, a:write(("x"):rep(4 * MIB))) -- no more room
    local _, message = a:cork(function()
      a:write("tail")
      assert.equal("timeout", select(2, a:flush()))
      assert.equal(4, a:stats().corked)
      assert.equal(sent, #b:read(sent))
      assert.is_true(a:flush())
    end)
    assert.is_nil(message)
    assert.equal("tail", arrived(b))
  end)
end)

describe("a cork that cannot be sent", function()
  test("is a failure with the bytes that left, and the rest is dropped", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:settimeout(0.01)
    local sent = select(4, a:write(("x"):rep(4 * MIB)))
    local results = { a:cork(function() a:write("tail") return 1 end) }
    assert.same({ nil, "timeout", "timeout", 0 }, results)
    assert.equal(0, a:stats().corked)
    assert.equal(sent, #b:read(sent))
    assert.is_nil(arrived(b))
  end)

  test("tells that the peer is gone", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:close()
    assert.same({ nil, "Broken pipe", "EPIPE", 0 }, { a:cork(function() a:write("x") end) })
  end)

  test("does not hide the function's error", function(keep)
    local a, b = keep(assert(grun.pair()))
    b:close()
    local ok, err = pcall(a.cork, a, function() a:write("x") error("mine", 0) end)
    assert.same({ false, "mine" }, { ok, err })
  end)

  test("since it was closed sent what it could before", function(keep)
    local a, b = keep(assert(grun.pair()))
    assert.equal("done", a:cork(function()
      a:write("last words")
      a:close()
      return "done"
    end))
    assert.equal("last words", b:read("a"))
  end)

  test("sends before the end of its direction", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("last words")
      assert.is_true(a:shutdown("w"))
    end)
    assert.equal("last words", b:read("a"))
  end)

  test("in a cancelled thread sends what goes out without waiting", function(keep)
    local a, b = keep(assert(grun.pair()))
    local t = parked(a.cork, a, function()
      a:write("written")
      grun.sleep(60)
    end)
    t:kill()
    assert.equal("cancelled", t:status())
    assert.equal("written", arrived(b))
    assert.equal(0, a:stats().corked)
    a:write("usable")
    assert.equal("usable", arrived(b))
  end)

  test("in a cancelled thread does not wait for room", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:settimeout(0.01)
    local sent = select(4, a:write(("x"):rep(4 * MIB)))
    a:settimeout(nil)
    local t = parked(a.cork, a, function()
      a:write("tail")
      grun.sleep(60)
    end)
    t:kill()
    assert.equal("cancelled", t:status())
    assert.equal(sent, #b:read(sent))
    assert.is_nil(arrived(b))
  end)

  test("past a deadline is the deadline's failure", function(keep)
    local a = keep(assert(grun.pair()))
    a:settimeout(0.01)
    a:write(("x"):rep(4 * MIB))
    a:settimeout(nil)
    assert.same(nothing, { grun.timeout(0.02, a.cork, a, function() a:write("tail") end) })
    assert.equal(0, a:stats().corked)
  end)
end)

describe("other threads' writes during a cork", function()
  test("are not held back and come after what was collected", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("1")
      grun.spawn(function()
        assert.is_true(a:write("2"))
        assert.is_true(a:write("3", { "4" }))
      end):join()
      assert.equal("1234", arrived(b))
      a:write("5")
      assert.is_nil(arrived(b))
    end)
    assert.equal("5", arrived(b))
  end)

  test("nor is a cork of theirs", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:cork(function()
      a:write("1")
      assert.equal("theirs", grun.spawn(a.cork, a, function()
        a:write("2")
        assert.equal("12", arrived(b))
        return "theirs"
      end):get())
      a:write("3")
      assert.is_nil(arrived(b))
    end)
    assert.equal("3", arrived(b))
  end)

  test("may still be sending it when it ends", function(keep)
    local a, b = keep(assert(grun.pair()))
    a:settimeout(0.01)
    local sent = select(4, a:write(("x"):rep(4 * MIB)))
    a:settimeout(nil)
    local other
    local results = { a:cork(function()
      a:write("collected")
      other = parked(a.write, a, " and more")
      a:settimeout(0.01)
    end) }
    assert.same({ nil, "timeout", "timeout", 0 }, results)
    assert.equal(sent, #b:read(sent))
    assert.is_true(other:get())
    assert.equal("collected and more", b:read(18))
  end)
end)

describe("system calls", function()
  it("of a cork are one", function()
    if os.execute("strace -o /dev/null true >/dev/null 2>&1") ~= 0 then
      return pending("strace does not run here")
    end
    local trace = helper.tmpname()
    helper.run_script([[
      local a, b = grun.pair()
      for _ = 1, 10 do
        a:cork(function()
          for i = 1, 100 do
            a:write("line ", i, "\n")
          end
        end)
        b:recv()
      end
    ]], { prefix = ("strace -qq -o %s -e trace=sendto,sendmsg,write,writev"):format(trace) })
    assert.equal(10, select(2, helper.contents(trace):gsub("send%w+%(", "")))
  end)
end)

describe("an idle cork", function()
  it("keeps no buffer", function()
    if helper.grun:find("asan") then
      return pending("the sanitizer's memory is not ours")
    end
    local out = helper.run_script([[
      local function memory()
        for line in io.lines("/proc/self/status") do
          local kib = line:match("^VmRSS:%s*(%d+)")
          if kib then return tonumber(kib) end
        end
      end
      local conns = {}
      for i = 1, 200 do
        conns[2 * i - 1], conns[2 * i] = grun.pair()
      end
      local text, before = ("x"):rep(60000), memory()
      for i = 1, 400, 2 do
        grun.spawn(conns[i].cork, conns[i], function(conn)
          conn:write(text)
          conn:flush()
          conns[i + 1]:recv()
          grun.sleep(60)
        end)
      end
      grun.idle()
      print(memory() - before)
      os.exit(0)
    ]])
    assert.is_true(tonumber(out) < 200 * 30, out)
  end)
end)
