-- SPDX-License-Identifier: MIT
-- 10^5 threads leave nothing behind, also when each let its lua_State out so that it cannot be used
-- again.

local child = require("spec.parking.child")

local SCRIPT = [[
local function run(n, body)
  local list = {}
  for _ = 1, n / 100 do
    for j = 1, 100 do
      list[j] = grun.spawn(body)
    end
    for j = 1, 100 do
      list[j]:join()
    end
  end
end
local function measure()
  collectgarbage()
  collectgarbage()
  return collectgarbage("count")
end
local function body()
  %s
  grun.yield()
end
run(1000, body)
local before = measure()
run(100000, body)
local after = measure()
print(after - before < 200 or ("%%.0f KiB before, %%.0f after"):format(before, after))]]

local BODIES = {
  ["do nothing"] = "",
  ["call coroutine.running"] = "coroutine.running()",
  ["call coroutine.running while the FFI is loaded"] = [[
    local ffi = require("ffi")
    coroutine.running()
    local x = ffi.new("int[4]")
    x[0] = 1]],
  ["have coroutines that never end"] = "coroutine.wrap(function() coroutine.yield() end)()",
}

describe("10^5 threads", function()
  for what, body in pairs(BODIES) do
    it("that " .. what .. " are all collected", function()
      local out, err, status = child.run_text(SCRIPT:format(body))
      assert.same({ "true\n", "", 0 }, { out, err, status })
    end)
  end

  it("that fail are all collected", function()
    local body = "if grun.current().id % 10 == 0 then error({}) end"
    local out, err, status = child.run_text("grun.on_error(function() end)\n" .. SCRIPT:format(body))
    assert.same({ "true\n", "", 0 }, { out, err, status })
  end)
end)
