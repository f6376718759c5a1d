-- SPDX-License-Identifier: MIT
-- grun.offload: Lua in other OS threads.

local grun = require("grun")

local helper = require("spec.helper")
local net = require("spec.net_helper")

local offload = grun.offload

-- What offloaded code raised here.
local function failure(...)
  local ok, err = pcall(offload, ...)
  assert.is_false(ok)
  return err
end

describe("offload", function()
  it("runs a function or a chunk and returns its results", function()
    assert.same({ 3, "x", n = 5 }, { n = select("#", offload(function(a, b)
      return a + b, "x", nil, false, nil
    end, 1, 2)), offload(function(a, b) return a + b, "x" end, 1, 2) })
    assert.equal(7, offload("local a, b = ... return a + b", 3, 4))
    assert.equal(0, select("#", offload("return")))
    assert.equal(3, offload("return select('#', ...)", nil, false, nil))
  end)

  it("copies plain data, tables inside each other and themselves included", function()
    local shared = { "shared" }
    local given = { 1.5, -0, "a\0b", true, [false] = false, deep = { { shared } }, shared = shared }
    given.self = given
    local got = offload(function(t)
      t.self.mark = t.deep[1][1] == t.shared
      return t
    end, given)
    assert.is_nil(given.mark)
    assert.is_true(got.mark)
    assert.is_true(got ~= given and got.self == got and got.deep[1][1] == got.shared)
    assert.same({ 1.5, -0, "a\0b", true }, { got[1], got[2], got[3], got[4] })
    assert.is_false(got[false])
    local text = net.noise(3e6)
    assert.is_true(net.same(text, offload(function(s) return s end, text)))
  end)

  it("refuses what is not plain data, at the caller's line", function()
    local upvalue, cyclic = 1, {}
    for _ = 1, 200 do
      cyclic = { cyclic }
    end
    helper.misuse(function() offload(function() return upvalue end) end, "bad argument #1 to " ..
      "'offload' (the function uses the local variable 'upvalue' of its surroundings; " ..
      "pass it as an argument)")
    helper.misuse(function() offload(print) end,
      "bad argument #1 to 'offload' (a C function cannot be passed to another Lua state)")
    helper.misuse(function() offload(1) end,
      "bad argument #1 to 'offload' (function or chunk expected, got number)")
    helper.misuse(function() offload("return", 1, { { print } }) end,
      "bad argument #3 to 'offload' (a function cannot be passed to another Lua state)")
    helper.misuse(function() offload("return", grun.current()) end,
      "bad argument #2 to 'offload' (a table with a metatable cannot be passed to another Lua state)")
    helper.misuse(function() offload("return", cyclic) end, "bad argument #2 to 'offload' " ..
      "(a table nested so deeply cannot be passed to another Lua state)")
    helper.misuse(function() offload("return", require("ffi").new("int64_t")) end,
      "bad argument #2 to 'offload' (a cdata cannot be passed to another Lua state)")
    helper.misuse(function() offload("1 +") end, "bad argument #1 to 'offload' " ..
      "([string \"1 +\"]:1: unexpected symbol near '1')")
  end)

  it("raises what went wrong there, with the traceback from there", function()
    local err = failure(function() error("oops") end)
    assert.matches("^spec/offload_spec.lua:%d+: oops$", err.message)
    assert.equal(err.message, err.error)
    assert.matches("^stack traceback:\n.*spec/offload_spec.lua:%d+: in function", err.traceback)
    assert.equal(err.message .. "\nin offloaded code:\n" .. err.traceback, tostring(err))
    assert.same({ code = 3, list = { 1 } }, failure("error({ code = 3, list = { 1 } })").error)
    err = failure("error(setmetatable({}, { __tostring = function() return 'text' end }))")
    assert.same({ "text", "text" }, { err.error, err.message })
    err = failure("error(print)")
    assert.equal("(error object is a function)", err.message)
    err = failure("error()")
    assert.same({ nil, "(error object is a nil)" }, { err.error, err.message })
    err = failure("return 1, print")
    assert.equal("result 2: a function cannot be passed to another Lua state", err.message)
    assert.matches("stack overflow", failure("local function f() return 1 + f() end f()").message)
  end)

  it("survives running out of memory there", function()
    if helper.grun:find("asan") then
      return pending("the sanitizer reserves more than the limit")
    end
    local out, err, status = helper.run_script([[
      local ok, e = pcall(grun.offload, "return #('x'):rep(1.5e9)")
      print(ok, e.message)
      print(grun.offload("return 1"))]], { prefix = "prlimit --as=3000000000" })
    assert.same({ "false\tnot enough memory\n1\n", "", 0 }, { out, err, status })
  end)

  it("has Lua's libraries, this state's module path, and says what it has not", function()
    assert.equal("number", offload("return type(require('string').len('x'))"))
    assert.equal(8, offload("return require('ffi').sizeof('double')"))
    assert.equal(package.path, offload("return package.path"))
    assert.matches("grun.sleep is not available in offloaded code", failure("grun.sleep(1)").message)
    assert.matches("grun is not available in offloaded code", failure("require('grun')").message)
    assert.matches("os.exit is not available in offloaded code", failure("os.exit()").message)
  end)

  it("keeps globals apart from job to job", function()
    assert.equal(5, offload("x = 5 return x"))
    for _ = 1, 10 do
      assert.is_nil(offload("return x"))
    end
  end)

  it("does not mix its debug hooks and FFI with ours", function()
    local hooked = 0
    debug.sethook(function() hooked = hooked + 1 end, "", 1000)
    local lines = offload(function()
      local n = 0
      debug.sethook(function() n = n + 1 end, "l")
      for _ = 1, 499 do
        _ = 1
      end
      debug.sethook()
      return n
    end)
    hooked = 0
    local function spin()
      for _ = 1, 1e5 do
        lines = lines + 0
      end
    end
    jit.off(spin) -- compiled code calls no hooks
    spin()
    debug.sethook()
    assert.is_true(hooked > 0)
    assert.is_true(lines >= 499)
    assert.equal(true, offload("collectgarbage() return (collectgarbage('count')) > 0"))
  end)

  it("computes beside a ticker", function()
    local ticks = 0
    local ticker = helper.spawn(function()
      while true do
        grun.sleep(0.001)
        ticks = ticks + 1
      end
    end)
    local threads = {}
    for i = 1, 4 do
      threads[i] = helper.spawn(offload, function()
        local sum = 0
        for k = 1, 1e8 do
          sum = sum + k % 3
        end
        return sum
      end)
    end
    grun.joinall(threads, { raise = true })
    ticker:kill()
    assert.equal(threads[1].error, nil)
    assert.is_true(ticks > 20, ticks) -- a loop that computes itself ticks once per job
  end)

  it("uses several OS threads, up to the limit", function()
    local before = grun.offload_threads()
    finally(function() grun.offload_threads(before) end)
    assert.equal(3, grun.offload_threads(3))
    assert.equal(3, grun.offload_threads())
    local start, threads = grun.now(), {}
    for i = 1, 3 do
      threads[i] = helper.spawn(offload, "os.execute('sleep 0.3')")
    end
    grun.joinall(threads)
    assert.is_true(grun.now() - start < 0.85)
    grun.offload_threads(1)
    start = grun.now()
    for i = 1, 3 do
      threads[i] = helper.spawn(offload, "os.execute('sleep 0.1')")
    end
    grun.joinall(threads)
    assert.is_true(grun.now() - start >= 0.3)
    helper.misuse(function() grun.offload_threads(0) end,
      "bad argument #1 to 'offload_threads' (number of threads from 1 to 1024 expected)")
  end)

  it("is left at once by a cancelled thread; queued work never runs", function()
    local before = grun.offload_threads()
    finally(function() grun.offload_threads(before) end)
    grun.offload_threads(1)
    local name = helper.tmpname()
    local running = net.parked(offload, "os.execute('sleep 0.2')")
    grun.sleep(0.05)
    local queued = net.parked(offload, "io.open(..., 'w'):write('ran'):close()", name)
    local start = grun.now()
    queued:cancel()
    running:cancel()
    grun.joinall({ queued, running })
    assert.same({ "cancelled", "cancelled" }, { queued:status(), running:status() })
    assert.is_nil((grun.timeout(0.01, offload, "return 1")))
    assert.is_true(grun.now() - start < 0.15)
    assert.equal(1, offload("return 1"))
    assert.equal(0, grun.fs.stat(name).size)
  end)

  it("lets the process end while code runs", function()
    local start = grun.now()
    local out, err, status = helper.run_script([[
      grun.spawn(grun.offload, "while true do end")
      grun.sleep(0.1)
      print("end")
      os.exit(3)]])
    assert.same({ "end\n", "", 3 }, { out, err, status })
    out, err, status = helper.run_script([[
      local t = grun.spawn(grun.offload, "while true do end")
      grun.sleep(0.1)
      t:cancel()]])
    assert.same({ "", "", 0 }, { out, err, status })
    assert.is_true(grun.now() - start < 10)
  end)

  it("cannot be waited for in a finalizer", function()
    local out, err, status = helper.run_script([[
      local p = newproxy(true)
      getmetatable(p).__gc = function() print(grun.offload("return 1")) end
      p = nil
      collectgarbage()]])
    assert.same({ "nil\tcannot wait in a finalizer\tmisuse\n", "", 0 }, { out, err, status })
  end)

  it("takes thousands of jobs", function()
    local sum, threads = 0, {}
    for i = 1, 2000 do
      threads[i] = helper.spawn(function()
        local n = offload("return ... * 2", i)
        sum = sum + n
      end)
    end
    grun.joinall(threads, { raise = true })
    assert.equal(2001000 * 2, sum)
  end)
end)
