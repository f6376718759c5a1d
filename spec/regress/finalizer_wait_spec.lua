-- SPDX-License-Identifier: MIT
-- A finalizer that waits would let another one begin before it ends: the collector and the compiler
-- then stay off for ever. And an error in a finalizer crashes LuaJIT. So a wait there returns nil,
-- "cannot wait in a finalizer", "misuse".

local child = require("spec.parking.child")

local REFUSED = { nil, "cannot wait in a finalizer", "misuse" }

-- Each is called in a finalizer with a thread and a connection that would make it wait.
local WAITS = {
  "grun.sleep(0.01)", "grun.sleep(0)", "grun.yield()", "grun.idle()", "other:join()", "other:join(1)", "other:get()",
  "other:kill()", "me:join()", "me:get()", "me:kill()", "grun.wait({ other })", "grun.joinall({ other })",
  "grun.joinall({ other }, { raise = true })", "grun.killall({ other })", "grun.timeout(1, grun.sleep, 0.01)",
  "grun.timeout(0, grun.sleep, 0.01)", "grun.shield(grun.sleep, 0.01)", "conn:read()", "conn:write(('x'):rep(2^22))",
  "grun.wait_readable(conn:fd())", "grun.event():wait()", "grun.queue():get()", "grun.queue(0):put(1)",
  "grun.semaphore(0):acquire()", "after(pcall, error)", "after(collectgarbage)", "after(collectgarbage, 'step')",
  "after(collectgarbage, 'restart')",
}

local SCRIPT = [[
local other = grun.spawn(grun.sleep, 60)
local conn = grun.pair()
local me = grun.current()
function after(fn, ...)
  fn(...)
  return grun.sleep(0.01)
end
local results = { n = 0 }

local function finalize(fn)
  getmetatable(newproxy(true)).__gc = function()
    results = { n = results.n + 1, fn() }
  end
end

for line in io.lines(arg[1]) do
  finalize(setfenv(assert(loadstring("return " .. line)), setmetatable({ other = other, conn = conn, me = me },
    { __index = _G })))
  collectgarbage()
  print(line, tostring(results[1]), tostring(results[2]), tostring(results[3]))
end
assert(grun.current() == me)
os.exit(0)]]

local AFTERWARDS = [[
local traces = 0
local waited, finalized = 0, 0

-- A finalizer of each kind, many, overlapping if any of them waited.
local function litter()
  local ffi = require("ffi")
  for _ = 1, 50 do
    getmetatable(newproxy(true)).__gc = function()
      finalized = finalized + 1
      if grun.sleep(0.001) ~= nil then waited = waited + 1 end
    end
    ffi.gc(ffi.new("int[1]"), function()
      finalized = finalized + 1
      if grun.sleep(0.001) ~= nil then waited = waited + 1 end
    end)
  end
end

local list = {}
for i = 1, 5 do
  list[i] = grun.spawn(function()
    for _ = 1, 10 do
      litter()
      collectgarbage(i % 2 == 0 and "step" or "collect")
      grun.yield()
    end
  end)
end
grun.joinall(list, { raise = true })
collectgarbage()
collectgarbage()
print(finalized, waited)

-- The collector keeps up, …
local base = collectgarbage("count")
for i = 1, 300000 do
  local _ = { i }
end
print("garbage is collected", collectgarbage("count") - base < 4000)

-- … new code is compiled, hooks work.
local function count(what)
  traces = traces + (what == "stop" and 1 or 0)
end
jit.attach(count, "trace")
loadstring("local sum = 0 for i = 1, 1000 do sum = sum + i end")()
jit.attach(count)
print("code is compiled", traces > 0 or not jit.status())
local hooked = false
jit.off()
debug.sethook(function() hooked = true end, "", 10)
for i = 1, 100 do
  local _ = i
end
debug.sethook()
print("hooks are called", hooked)]]

describe("a finalizer", function()
  for _, mode in ipairs(child.jit_modes) do
    it("is refused every wait, without an error, " .. mode.name, function()
      local list = require("spec.helper").tmpname(table.concat(WAITS, "\n") .. "\n")
      local out, err, status = child.run_text(SCRIPT, mode.flags, { list })
      assert.equal("", err)
      local lines = {}
      for line in out:gmatch("[^\n]+") do
        lines[#lines + 1] = line
      end
      for i, wait in ipairs(WAITS) do
        assert.equal(("%s\tnil\t%s\t%s"):format(wait, REFUSED[2], REFUSED[3]), lines[i])
      end
      assert.equal(0, status)
    end)

    it("that tries to wait leaves collector, compiler and hooks in order, " .. mode.name, function()
      local out, err, status = child.run_text(AFTERWARDS, mode.flags)
      assert.same({ [[
5000	0
garbage is collected	true
code is compiled	true
hooks are called	true
]], "", 0 }, { out, err, status })
    end)
  end

  it("is refused waits at the end of the process as well", function()
    local out, err, status = child.run_text([[
      KEPT = newproxy(true)
      getmetatable(KEPT).__gc = function() print("finalizer", grun.sleep(1)) end]])
    assert.same({ "finalizer\tnil\tcannot wait in a finalizer\tmisuse\n", "", 0 }, { out, err, status })
  end)
end)
