-- SPDX-License-Identifier: MIT
-- Random programs, see spec/fuzz/sync.lua. GRUN_FUZZ_SEED=n repeats one of them, GRUN_FUZZ_ROUNDS=n
-- runs so many.

local helper = require("spec.helper")
local fuzz = require("spec.fuzz.sync")

local STEPS = 1000
local given = tonumber(os.getenv("GRUN_FUZZ_SEED"))
local seed = given or os.time() % 1e6 * 1000
local rounds = tonumber(os.getenv("GRUN_FUZZ_ROUNDS")) or given and 1 or 100

describe("random programs over queues, events, semaphores, locks and select", function()
  it("keep what the model says", function()
    print(("fuzz: seeds %d to %d"):format(seed, seed + rounds - 1))
    for i = 0, rounds - 1 do
      fuzz.run(seed + i, STEPS)
    end
  end)

  for name, options in pairs({
    ["with threads in random order"] = { "--seed", tostring(seed + 1) },
    ["compiled at once"] = { "-Ohotloop=1", "-Ohotexit=1" },
    ["not compiled"] = { "-joff" },
  }) do
    it("keep it " .. name, function()
      options[#options + 1] = helper.script(([[
        local fuzz = require("spec.fuzz.sync")
        for seed = %d, %d do
          fuzz.run(seed, %d)
        end
        print("kept")
      ]]):format(seed, seed + math.min(rounds, 20) - 1, STEPS))
      local out, err, status = helper.run_child(options, { timeout = 60 })
      assert.same({ "kept\n", "", 0 }, { out, err, status })
    end)
  end
end)
