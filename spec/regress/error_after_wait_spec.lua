-- SPDX-License-Identifier: MIT
-- A C function that waited, or ran another coroutine, and then raised left LuaJIT with the wrong
-- idea of which lua_State runs: the next exit from a compiled loop worked on another thread's
-- stack. state.c repairs it behind every error.

local child = require("spec.parking.child")

-- Nothing in the loop calls C, so nothing but the repair helps.
local PREAMBLE = [[
local parkmod = require("parkmod")
local numbers = { 1, 2, 3, 4, 5, 6, 7, 8 }
local sum, boxes = 0, nil
local function loop()
  sum = 0
  for i = 1, 300 do
    sum = sum + numbers[i % 8 + 1]
    boxes = i % 30 ~= 0 and { i, boxes } or nil
  end
end
local function check(ok, ...)
  loop()
  assert(not ok and sum == 1346, "wrong")
end
local finished = 0
local function each_of_eight(body)
  for _ = 1, 8 do
    grun.spawn(function()
      body()
      finished = finished + 1
    end)
  end
end
]]

local CAUSES = {
  ["a wait of a cancelled thread raised"] = [[
    each_of_eight(function()
      local sleep = grun.sleep
      grun.current():cancel()
      for _ = 1, 300 do
        check(pcall(sleep, 1))
      end
    end)]],
  ["a deadline ended a wait"] = [[
    each_of_eight(function()
      grun.timeout(0.001, function()
        local sleep = grun.sleep
        for _ = 1, 300 do
          check(pcall(sleep, 1))
        end
      end)
    end)]],
  ["a wait inside a coroutine raised"] = [[
    each_of_eight(function()
      local sleep, resume, create = grun.sleep, coroutine.resume, coroutine.create
      local function body()
        check(pcall(sleep, 1))
        sleep(1)
      end
      grun.current():cancel()
      for _ = 1, 200 do
        check(resume(create(body)))
      end
    end)]],
  ["a C module raised after Lua below it had waited"] = [[
    each_of_eight(function()
      local raise, yield = parkmod.raise_after, grun.yield
      for _ = 1, 300 do
        check(pcall(raise, yield, "of C"))
      end
    end)]],
  ["a C module raised after a call of libc's had waited"] = [[
    each_of_eight(function()
      local raise = parkmod.sleep_and_raise
      for _ = 1, 100 do
        check(pcall(raise, 1, "of C"))
      end
    end)]],
  ["the Lua stack overflowed below a C module after a wait"] = [[
    local function deeper(n)
      return 1 + deeper(n + 1)
    end
    local function wait_and_overflow()
      grun.yield()
      return deeper(1)
    end
    each_of_eight(function()
      local call = parkmod.call
      for _ = 1, 20 do
        check(pcall(call, wait_and_overflow))
      end
    end)]],
  ["a C module raised after it had resumed a coroutine, without any wait"] = [[
    each_of_eight(function()
      local raise, create = parkmod.resume_and_raise, coroutine.create
      local function body()
        return {}
      end
      for i = 1, 300 do
        check(pcall(raise, create(body), "of C"))
        if i % 50 == 0 then
          collectgarbage()
        end
      end
    end)]],
}

describe("compiled code", function()
  for cause, source in pairs(CAUSES) do
    for _, mode in ipairs(child.jit_modes) do
      it("goes on after " .. cause .. ", " .. mode.name, function()
        local script = PREAMBLE .. source .. [[

grun.joinall(grun.threads(), { count = 8, timeout = 20 })
print(finished .. " finished")]]
        local out, err, status = child.run_text(script, mode.flags)
        assert.same({ "8 finished\n", "", 0 }, { out, err, status })
      end)
    end
  end
end)
