-- SPDX-License-Identifier: MIT
-- --trace-switches, and the order of ready threads by a seed.

local grun = require("grun")
local helper = require("spec.helper")

describe("--trace-switches", function()
  local SCRIPT = [[
    local q = grun.queue(1)
    local t = grun.spawn(function() q:put("x") error("no", 0) end)
    t.name = "producer"
    grun.on_error(function() end)
    q:get()
    local sleeper = grun.spawn(grun.sleep, 50)
    grun.yield()
    sleeper:kill()]]

  it("writes who left why and who came why, in order, to a file", function()
    local name = helper.tmpname()
    local _, err, status = helper.run_child({ "--trace-switches=" .. name, helper.script(SCRIPT) })
    assert.equal("", err)
    assert.equal(0, status)
    local text, last = helper.contents(name), 0
    for line in text:gmatch("[^\n]+") do
      local time = tonumber(line:match("^(%d+%.%d%d%d%d%d%d) "))
      assert.is_true(time >= last, line)
      last = time
    end
    local at = 1
    for _, pattern in ipairs({
      "hub %-> #1 starts",
      "#1 \"[^\"]*%.lua\" waits on queue%.get %-> #2 \"producer\" starts",
      "#2 ends %-> #1 \"[^\"]*%.lua\" woken from queue%.get: ok",
      "#1 \"[^\"]*%.lua\" yields %-> #3 starts",
      "#3 waits on sleep %-> #1 \"[^\"]*%.lua\" goes on",
      "#1 \"[^\"]*%.lua\" waits on thread%.join %-> #3 woken from sleep: cancelled",
    }) do
      local _, stop = text:find(" " .. pattern .. "\n", at)
      assert.truthy(stop, pattern .. " in\n" .. text)
      at = stop
    end
  end)

  it("writes to stderr without a file, and tells when it cannot write", function()
    local _, err = helper.run_child({ "--trace-switches", "-e", "grun.sleep(0.01)" })
    assert.truthy(err:find("#1 waits on sleep -> hub waits for events\n", 1, true), err)
    local _, message, status = helper.run_child({ "--trace-switches=/nowhere/x", "-e", "" })
    assert.equal(1, status)
    assert.truthy(message:find("cannot write the trace /nowhere/x: No such file or directory", 1, true), message)
  end)
end)

describe("grun.seed", function()
  -- The order in which threads that only yield come to the end, with that seed.
  local function order(seed)
    local list = {}
    grun.seed(seed)
    finally(grun.seed)
    local group = grun.group()
    for i = 1, 6 do
      group:spawn(function()
        grun.yield()
        grun.yield()
        list[#list + 1] = i
      end)
    end
    group:join()
    grun.seed()
    return table.concat(list)
  end

  it("gives the same order again and another one for another seed", function()
    local seen, different = {}, 0
    for seed = 1, 20 do
      local first = order(seed)
      assert.equal(first, order(seed))
      different = different + (seen[first] and 0 or 1)
      seen[first] = true
    end
    assert.is_true(different >= 15, different)
  end)

  it("of 0 and nil is first come, first served", function()
    assert.equal("123456", order(0))
    assert.equal("123456", order(nil))
  end)

  -- Two withdrawals, each correct alone: the balance is read before and written after a yield.
  local function overdrawn(seed)
    local balance = 100
    local function withdraw()
      if balance >= 100 then
        grun.yield()
        balance = balance - 100
      end
    end
    grun.seed(seed)
    local a = grun.spawn(withdraw)
    grun.yield()
    local b = grun.spawn(withdraw)
    grun.wait({ a, b })
    grun.seed()
    return balance < 0
  end

  it("finds an order that breaks a program, and finds it again", function()
    finally(grun.seed)
    local bad, good
    for seed = 1, 50 do
      if overdrawn(seed) then
        bad = bad or seed
      else
        good = good or seed
      end
    end
    assert.truthy(bad)
    assert.truthy(good)
    for _ = 1, 5 do
      assert.is_true(overdrawn(bad))
      assert.is_false(overdrawn(good))
    end
  end)

  it("is what --seed sets", function()
    local script = helper.script([[
      local list = {}
      for i = 1, 9 do grun.spawn(function() grun.yield() list[#list + 1] = i end) end
      if ... then grun.seed(tonumber((...))) end
      grun.sleep(0.05)
      print(table.concat(list))]])
    local function run(...)
      return (helper.run_child({ ... }))
    end
    assert.equal(run("--seed=7", script), run("--seed=7", script))
    assert.not_equal(run("--seed=7", script), run("--seed=8", script))
    assert.equal(run(script, "7"), run(script, "7"))
  end)

  it("refuses what is no seed", function()
    for _, bad in ipairs({ -1, 1.5, 2 ^ 53, 0 / 0, "x", {} }) do
      assert.error_matches(function()
        grun.seed(bad)
      end, "seed: a whole number from 0 to 2%^53 %- 1 expected")
    end
  end)
end)
