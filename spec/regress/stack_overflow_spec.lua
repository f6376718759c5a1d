-- SPDX-License-Identifier: MIT
-- Too deep on the Lua stack is an error of that thread; too deep on the C stack ends the process
-- before anything is damaged.

local child = require("spec.parking.child")
local helper = require("spec.helper")

describe("endless recursion in Lua", function()
  for _, mode in ipairs(child.jit_modes) do
    it("is an error of that thread alone, " .. mode.name, function()
      local out, err, status = child.run_text([[
        local function deeper(n)
          return 1 + deeper(n + 1)
        end
        local neighbour = grun.spawn(function()
          local t = {}
          for i = 1, 50 do
            t[i] = i
            grun.yield()
          end
          return #t
        end)
        grun.spawn(deeper, 1).name = "deep one"
        local caught = grun.spawn(function()
          local ok, message = pcall(deeper, 1)
          grun.yield()
          return ok, (message:gsub("^.*: ", ""))
        end)
        local waiting = grun.spawn(function()
          local ok = pcall(function()
            local function down(n)
              grun.yield()
              return 1 + down(n + 1)
            end
            grun.timeout(1, down, 1)
          end)
          return ok
        end)
        print(caught:get())
        print(neighbour:get())
        print(waiting:get())]], mode.flags)
      assert.equal("false\tstack overflow\n50\nfalse\n", out)
      assert.equal(0, status)
      assert.is_truthy(err:find('^grun: thread #3 "deep one" failed: .-stack overflow\nstack traceback:\n'), err)
      assert.is_nil(err:find("grun:", 5, true))
    end)
  end

  it("may happen in 1000 threads", function()
    local out, err, status = child.run_text([[
      local function deeper(n)
        return 1 + deeper(n + 1)
      end
      local list, reports = {}, 0
      grun.on_error(function(_, message)
        reports = reports + (message:find("stack overflow", 1, true) and 1 or 0)
      end)
      for i = 1, 1000 do
        list[i] = grun.spawn(function()
          grun.yield()
          deeper(1)
        end)
      end
      grun.joinall(list)
      print(reports)
      list = nil
      for _ = 1, 10 do
        collectgarbage() -- each halves stacks that have become too large
      end
      print(collectgarbage("count") < 4000)]])
    assert.same({ "1000\ntrue\n", "", 0 }, { out, err, status })
  end)
end)

describe("overflow of a C stack", function()
  for name, recursion in pairs({
    ["nested gsub callbacks"] = 'local function nest() ("x"):gsub("x", nest) end nest()',
    ["a C function that calls itself"] = "parkmod.deep(print, 100000)",
    ["coroutines that resume coroutines"] = "local function nest() coroutine.wrap(nest)() end nest()",
  }) do
    it("is reported and ends the process, its neighbours untouched: " .. name, function()
      local script = helper.script([[
        local parkmod = require("parkmod")
        -- As much as a stack holds, so that whatever lies beside the culprit's is watched.
        local function neighbours()
          for _ = 1, 10 do
            grun.spawn(parkmod.deep, function() grun.sleep(60) end, 200)
          end
        end
        neighbours()
        local culprit = grun.spawn(function()
          grun.sleep(0.001)
          ]] .. recursion .. [[

        end)
        culprit.name = "culprit"
        neighbours()
        culprit:join()
        print("went on")]])
      if helper.grun:find("asan") then
        return pending("the sanitizer allows no library before itself, as this test needs")
      end
      local cpath = child.cpath()
      local out, err, status = helper.run_child({ script }, {
        env = { LUA_CPATH = cpath, LD_PRELOAD = cpath:gsub("%?.*", "parkmod") .. ".so" },
      })
      assert.equal("", out)
      local first, second = err:match("^([^\n]*)\n([^\n]*)\n")
      assert.equal(('grun: C stack overflow in thread #12 "culprit", spawned at %s:9'):format(script), first)
      assert.equal("parkmod: all blocks are intact", second)
      assert.equal(134, status)
    end)
  end

  it("does not happen in 20 nested gsub callbacks that wait", function()
    local function nest(depth)
      return (("x"):gsub("x", function()
        grun.yield()
        return depth > 1 and nest(depth - 1) or "deep"
      end))
    end
    assert.equal("deep", grun.spawn(nest, 20):get())
  end)
end)
