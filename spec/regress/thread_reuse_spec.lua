-- SPDX-License-Identifier: MIT
-- A thread gets stack, lua_State and place in the registry of one that has ended. What scripts can
-- see of that is in thread_spec.lua; here is what others may still hold of the old one.

local grun = require("grun")
local child = require("spec.parking.child")

local function ended(fn, ...)
  local t = grun.spawn(fn, ...)
  t:join()
  return t
end

-- Its sleep must end neither early nor by somebody else's hand.
local function sleeps_well(meddle)
  local t = grun.spawn(function()
    local from = grun.now()
    grun.sleep(0.01)
    return grun.now() - from
  end)
  grun.yield()
  meddle()
  return t:get() >= 0.01
end

describe("a thread on the stack of an ended one", function()
  it("has a lua_State of its own when the script holds the other one", function()
    local seen, list = {}, {}
    for i = 1, 20 do
      local co = ended(coroutine.running):get()
      assert.equal("thread", type(co))
      assert.is_nil(seen[co])
      seen[co], list[i] = true, co
    end
    for _, co in ipairs(list) do
      assert.equal("dead", coroutine.status(co))
      assert.is_false(coroutine.resume(co))
    end
  end)

  it("has the environment of its spawner", function()
    for _ = 1, 20 do
      ended(function()
        setfenv(0, setmetatable({ foreign = true }, { __index = _G }))
        assert(loadstring("return foreign")())
        loadstring("leaked = 1")()
      end)
      local t = ended(function() return loadstring("return foreign, leaked")() end)
      assert.same({ nil, nil }, { t:get() })
    end
    local env = setmetatable({ mine = 7 }, { __index = _G })
    local inherited = ended(function()
      setfenv(0, env)
      return grun.spawn(function() return loadstring("return mine")() end):get()
    end)
    assert.equal(7, inherited:get())
  end)

  it("does not share the upvalues of the other one's functions", function()
    local functions = {}
    for i = 1, 20 do
      local t = ended(function()
        local x = i
        grun.yield()
        return function() x = x + 100 return x end
      end)
      functions[i] = t:get()
    end
    for i = 1, 20 do
      assert.equal(i + 100, functions[i]())
    end
  end)

  for name, left in pairs({
    ["a join that timed out"] = function(event)
      local other = grun.spawn(event.wait, event)
      ended(function() other:join(0.001) end)
    end,
    ["an event's wait that timed out"] = function(event)
      ended(event.wait, event, 0.001)
    end,
    ["an event's wait that was cancelled"] = function(event)
      local t = grun.spawn(event.wait, event)
      grun.yield()
      t:kill()
    end,
    ["an event's wait that was cut by a deadline"] = function(event)
      ended(grun.timeout, 0.001, event.wait, event)
    end,
    ["a wait for several things that timed out"] = function(event)
      local other = grun.spawn(event.wait, event)
      ended(grun.wait, { other, event }, 0.001)
    end,
  }) do
    it("is not woken by what ended " .. name, function()
      for _ = 1, 3 do
        local event = grun.event()
        left(event)
        assert.is_true(sleeps_well(function() event:set() end))
      end
    end)
  end

  it("is not woken by data for the other one", function()
    local near, far = grun.pair()
    finally(function()
      near:close()
      far:close()
    end)
    for _ = 1, 3 do
      near:settimeout(0.001)
      assert.equal("timeout", select(2, ended(near.read, near, 5):get()))
      assert.is_true(sleeps_well(function() far:write("x") end))
    end
    assert.equal("xxx", near:read(3))
  end)

  it("is not cancelled through the other one's handle", function()
    for _ = 1, 5 do
      local old = ended(function() end)
      assert.is_true(sleeps_well(function()
        old:cancel()
        old:kill()
        old.name = "old"
      end))
    end
  end)

  it("does not keep the other one's lua_State for the FFI, which remembers who used it last", function()
    local out, err, status = child.run_text([[
      local ffi = require("ffi")
      local kept = setmetatable({}, { __mode = "k" })
      for i = 1, 2000 do
        grun.spawn(function()
          kept[coroutine.running()] = true
          local callback = ffi.cast("int (*)(int)", function(n) return n + 1 end)
          assert(callback(1) == 2)
          callback:free()
          if i % 3 == 0 then
            grun.yield()
          end
        end):join()
        if i % 200 == 0 then
          collectgarbage()
        end
      end
      collectgarbage()
      collectgarbage()
      local left = 0
      for _ in pairs(kept) do
        left = left + 1
      end
      print(left < 10)]])
    assert.same({ "true\n", "", 0 }, { out, err, status })
  end)
end)
