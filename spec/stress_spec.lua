-- SPDX-License-Identifier: MIT
-- Many threads in all places at once, disturbed at random. GRUN_SEED repeats a run, GRUN_STRESS
-- sets its seconds.

local child = require("spec.parking.child")

local SUMMARY = "(%d+) runs, 0 failed; (%d+) disturbed %((%d+) killed%); %d+ waits; " ..
  "(%d+) of (%d+) finalizers refused; (%d+) threads left"

describe("many threads that wait everywhere", function()
  local seed = tonumber(os.getenv("GRUN_SEED")) or os.time() % 1e6
  local seconds = os.getenv("GRUN_STRESS") or "2.5"

  for i, mode in ipairs(child.jit_modes) do
    it("survive collections, kills and timeouts, " .. mode.name, function()
      local flags = { "--seed", tostring(seed + i), unpack(mode.flags) }
      local out, err, status = child.run("spec/parking/stress.lua", flags, { seed + i, seconds })
      local story = ("GRUN_SEED=%d\n%s%s"):format(seed, out, err)
      assert.is_nil(out:match("not ok[^\n]*"), story)
      assert.equal("", err, story)
      assert.equal(0, status, story)
      local runs, disturbed, killed, refused, finalized, left = out:match(SUMMARY)
      assert.is_true(tonumber(runs) > 200 and tonumber(disturbed) > 20 and tonumber(killed) > 10, story)
      assert.is_true(tonumber(refused) > 0 and refused == finalized, story)
      assert.equal("0", left, story)
    end)
  end
end)
