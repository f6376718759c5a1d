-- SPDX-License-Identifier: MIT
-- An error in a finalizer comes out of whatever code made the collector run. Where a thread ends,
-- or in the hub, that was outside of any protected call and ended the process: "PANIC: unprotected
-- error in call to Lua API".

local child = require("spec.parking.child")

-- With the compiler on such errors crash LuaJIT itself.
local function run(source)
  return child.run_text([[
    grun.on_error(function() end)
    collectgarbage("setpause", 200) -- however small the heap is …
    collectgarbage() -- … from now on
    local raised = 0
    local function litter()
      for _ = 1, 3 do
        getmetatable(newproxy(true)).__gc = function()
          raised = raised + 1
          error("in a finalizer")
        end
      end
    end
    -- The error may strike here as well. A step makes progress or does nothing.
    local function insist(count, step)
      for i = 1, count do
        repeat
          local ok, message = pcall(step, i)
          if not ok and not tostring(message):find("in a finalizer") then
            error(message)
          end
        until ok
      end
    end
    local threads, joined = {}, 0
    for i = 1, 3000 do
      threads[i] = false
    end
    local function spawn_and_join(i, body)
      threads[i] = threads[i] or grun.spawn(body, i)
      joined = joined + (threads[i]:join(5) and 1 or 0)
    end
  ]] .. source, { "-joff" })
end

describe("an error in a finalizer", function()
  it("does not strike where a thread ends, and nobody is left waiting", function()
    local out, err, status = run([[
      local linked = 0
      local function count() linked = linked + 1 end
      local link = grun.current().link
      local function body(i)
        repeat
          local ok = pcall(link, grun.current(), count)
        until ok
        pcall(litter)
        grun.yield()
        if i % 2 == 0 then
          error("on purpose")
        end
        return i, 2, 3, 4
      end
      insist(3000, function(i) spawn_and_join(i, body) end)
      grun.yield()
      print(joined, linked, raised > 100)]])
    assert.same({ "3000\t3000\ttrue\n", 0 }, { out, status })
    for line in err:gmatch("[^\n]+") do
      assert.is_truthy(line:find("could not end in order: .*in a finalizer$"), line)
    end
  end)

  it("does not strike when a thread that let its lua_State out ends while the FFI is loaded", function()
    local out, err, status = run([[
      require("ffi")
      local function body()
        coroutine.running()
        pcall(litter)
      end
      insist(3000, function(i) spawn_and_join(i, body) end)
      print(joined, raised > 100)]])
    assert.same({ "3000\ttrue\n", 0 }, { out, status })
    assert.is_nil(err:find("PANIC", 1, true))
  end)

  it("does not strike in the hub", function()
    local out, err, status = run([[
      require("ffi")
      local event = grun.event()
      insist(500, function(i)
        spawn_and_join(i, function()
          pcall(litter)
          grun.sleep(0.0001)
        end)
      end)
      print(joined, raised > 100)
      repeat
        local over = pcall(event.wait, event)
      until over]])
    assert.same({ "500\ttrue\n", 2 }, { out, status })
    assert.is_truthy(err:find("deadlock", 1, true) or err:find("in a finalizer", 1, true), err)
    assert.is_nil(err:find("PANIC", 1, true))
  end)
end)
