-- SPDX-License-Identifier: MIT
-- Compiled loops of FFI calls, in Lua that was entered through every door there is from C, with
-- waits around them. A switch of stacks inside such a loop (where an interposed libc call must not
-- wait) or a stale lua_State after it crashes.

local child = require("spec.parking.child")

local SCRIPT = [[
local ffi, parkmod = require("ffi"), require("parkmod")
ffi.cdef("int abs(int n); int usleep(unsigned us);")

local function loop(n)
  local sum = 0
  for i = 1, 100 do
    sum = sum + ffi.C.abs(-i)
    if i % 50 == 0 then
      ffi.C.usleep(1)
    end
  end
  assert(sum == 5050)
  return n
end

local function body(n)
  loop(n)
  grun.yield()
  loop(n)
  grun.sleep(0.0001)
  return loop(n)
end

local function object(event)
  return setmetatable({}, { [event] = function() return body(1) end })
end

local function two_objects(event)
  local one = object(event)
  return one, setmetatable({}, getmetatable(one))
end

local doors = {
  ["a plain call"] = function() body(1) end,
  ["gsub"] = function() ("x"):gsub("x", function() body(1) end) end,
  ["sort"] = function() table.sort({ 2, 1 }, function(a, b) body(1) return a < b end) end,
  ["load"] = function() assert(load(function() body(1) end)) end,
  ["tostring"] = function() tostring(setmetatable({}, { __tostring = function() return tostring(body(1)) end })) end,
  ["coroutine"] = function() coroutine.wrap(body)(1) end,
  ["xpcall handler"] = function() xpcall(error, body, 1) end,
  ["lua_call"] = function() parkmod.call(body, 1) end,
  ["lua_pcall"] = function() parkmod.pcall(body, 1) end,
  ["lua_cpcall"] = function() parkmod.cpcall(body) end,
  ["lua_gettable"] = function() parkmod.get(object("__index"), 1) end,
  ["lua_getfield"] = function() parkmod.getfield(object("__index"), "x") end,
  ["lua_settable"] = function() parkmod.set(object("__newindex"), 1, 1) end,
  ["lua_lessthan"] = function() parkmod.less(two_objects("__lt")) end,
  ["lua_equal"] = function() parkmod.equal(two_objects("__eq")) end,
  ["luaL_callmeta"] = function() parkmod.callmeta(object("__custom"), "__custom") end,
  ["lua_resume"] = function() parkmod.resume(coroutine.create(body), 1) end,
  ["lua_load"] = function() parkmod.load(function() body(1) end) end,
  ["handler of luaL_error"] = function() xpcall(parkmod.raise_after, body, function() end, "of C") end,
  ["handler of luaL_argerror"] = function() xpcall(parkmod.argument_error_after, body, function() end) end,
}

local passed = 0
for name, door in pairs(doors) do
  local list = {}
  for i = 1, 6 do
    list[i] = grun.spawn(function()
      for _ = 1, 3 do
        door()
      end
    end)
  end
  if #grun.joinall(list, { raise = true, timeout = 10 }) == 6 then
    passed = passed + 1
  else
    print("did not end: " .. name)
  end
end
print(passed .. " doors")]]

describe("a compiled loop of FFI calls", function()
  for _, mode in ipairs(child.jit_modes) do
    it("works behind every door into Lua, with waits around it, " .. mode.name, function()
      local out, err, status = child.run_text(SCRIPT, mode.flags)
      assert.same({ "20 doors\n", "", 0 }, { out, err, status })
    end)
  end
end)
