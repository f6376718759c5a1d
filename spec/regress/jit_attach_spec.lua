-- SPDX-License-Identifier: MIT
-- Handlers of jit.attach run while LuaJIT records a trace; a switch of stacks there crashed it.

local child = require("spec.parking.child")

local function run(source, flags)
  local out, err, status = child.run_text([[
local function work()
  for _ = 1, 20 do
    loadstring("local sum = 0 for i = 1, 200 do sum = sum + i end return sum")()
    grun.yield()
  end
end
local function work_in_threads()
  local list = {}
  for i = 1, 5 do
    list[i] = grun.spawn(work)
  end
  grun.joinall(list, { raise = true })
end
]] .. source, flags)
  return out, err, status
end

describe("a jit.attach handler", function()
  for _, event in ipairs({ "trace", "record", "bc", "texit" }) do
    it("may write, and waits raise inside it: " .. event, function()
      local out, err, status = run(([[
        local calls, raised, messages = 0, 0, {}
        local other = grun.spawn(grun.sleep, 60)
        local function join() other:join() end
        local function handler()
          calls = calls + 1
          io.write(".")
          io.stderr:write("")
          for _, wait in ipairs({ grun.yield, grun.sleep, grun.idle, join }) do
            local ok, message = pcall(wait, 0.001)
            raised = raised + (ok and 0 or 1)
            messages[tostring(message):gsub("^.*: ", "")] = true
          end
        end
        jit.attach(handler, %q)
        work_in_threads()
        jit.attach(handler)
        local before = calls
        work_in_threads()
        print("\n" .. tostring(calls > 0), calls == before, raised == 4 * calls, (next(messages)))
        print(next(messages, (next(messages))))
        other:cancel()
      ]]):format(event), { "-Ohotloop=5" })
      assert.equal("", err)
      assert.equal("\ntrue\ttrue\ttrue\tcannot wait in a jit.attach handler\nnil\n", (out:gsub("^%.+", "")))
      assert.equal(0, status)
    end)
  end

  it("that does not catch the error harms nobody", function()
    local out, err, status = run([[
      jit.attach(function() grun.sleep(0.001) end, "trace")
      work_in_threads()
      print("went on")]])
    assert.same({ "went on\n", 0 }, { out, status })
    for line in err:gmatch("[^\n]+") do
      assert.is_truthy(line:find("^VM handler failed: .*cannot wait in a jit.attach handler$"), line)
    end
  end)

  it("that waits lets waits outside of it work at once afterwards", function()
    local out, err, status = run([[
      local handler = function() pcall(grun.sleep, 0) error("fails") end
      jit.attach(handler, "bc")
      loadstring("return 1")
      jit.attach(handler)
      print(pcall(grun.sleep, 0))]])
    assert.same({ "true\n", 0 }, { out, status })
    assert.is_truthy(err:find("fails", 1, true))
  end)

  it("can be one of LuaJIT's own modules", function()
    if not pcall(require, "jit.v") then
      return pending("LuaJIT's modules are not installed")
    end
    local out, err, status = run([[
      require("jit.v").start()
      work_in_threads()
      print("went on")]])
    assert.same({ "went on\n", 0 }, { out, status })
    assert.is_truthy(err:find("[TRACE", 1, true))
  end)
end)
