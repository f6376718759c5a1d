-- SPDX-License-Identifier: MIT
-- Waiting in every place where Lua code can run; the places are in spec/parking/places.lua.

local child = require("spec.parking.child")

local SUMMARY = "(%d+) places passed, 0 failed; (%d+) waits, up to (%d+) threads in one at once, (%d+) threads left"

describe("a wait", function()
  for _, mode in ipairs(child.jit_modes) do
    it("may happen in any place, also when an error follows, " .. mode.name, function()
      local out, err, status = child.run("spec/parking/acceptance.lua", mode.flags)
      assert.is_nil(out:match("not ok[^\n]*"))
      assert.equal("", err)
      assert.equal(0, status)
      local passed, waits, at_once, left = out:match(SUMMARY)
      assert.is_true(tonumber(passed) > 80, out)
      assert.is_true(tonumber(waits) > 1000 and tonumber(at_once) > 10, out)
      assert.equal("0", left)
    end)
  end
end)
