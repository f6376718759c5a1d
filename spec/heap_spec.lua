-- SPDX-License-Identifier: MIT
-- How often garbage is collected: rarely while the heap is small, as LuaJIT does when it is not.

local helper = require("spec.helper")

-- Defines most(): KiB that the heap has at most while much garbage is made.
local MOST = [[
  collectgarbage()
  local last
  local function most()
    local top = 0
    for i = 1, 1e6 do
      last = { i, last and last[1] }
      top = math.max(top, collectgarbage("count"))
    end
    return top
  end
]]

local function run(source)
  local out, err, status = helper.run_script(MOST .. source)
  assert.equal(0, status, err)
  return out
end

describe("the heap", function()
  it("grows to 2 MiB before garbage is collected", function()
    local top = tonumber(run("print(most())"))
    assert.is_true(top > 1900 and top < 2600, top)
  end)

  it("doubles when it is larger", function()
    local live, top = run([[
      local keep = {}
      for i = 1, 5e4 do
        keep[i] = { i }
      end
      collectgarbage()
      print(collectgarbage("count"), most())
    ]]):match("(%S+)%s+(%S+)")
    assert.is_true(tonumber(live) > 3000, live)
    assert.is_true(top / live > 1.7 and top / live < 2.8, top / live)
  end)

  it("obeys the pause that a script chooses", function()
    local before, again, top = run([[
      local before, again = collectgarbage("setpause", 300), collectgarbage("setpause", 110)
      collectgarbage()
      print(before, again, most())
    ]]):match("(%S+)%s+(%S+)%s+(%S+)")
    assert.same({ "200", "300" }, { before, again })
    assert.is_true(tonumber(top) < 1000, top)
  end)

  it("is closed in order", function()
    assert.equal("closed\n", run([[
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function() print("closed") end
      os.exit(true, true)
    ]]))
  end)
end)
