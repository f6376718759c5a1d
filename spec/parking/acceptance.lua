-- SPDX-License-Identifier: MIT
-- Every place of places.lua × every way to wait × every way to fail, as threads that take turns.
-- Prints a line for each place and a summary; status 1 if anything differs from a run that does not
-- wait. Usage: LUA_CPATH=…/?.so grun [JIT options] acceptance.lua [text: only places with it in
-- their names]

local dir = arg[0]:match("^(.*)/") or "."
package.path = dir .. "/?.lua;" .. package.path

local places, trial = require("places"), require("trial")
require("parkmod")
package.path = dir .. "/chunk.lua" -- whatever else is required
CHUNKS = {}
io.stdout:setvbuf("line") -- an abort must not lose lines

local ROUNDS, LIMIT = 2, 10

local function each_round(place, mode, kind, expected, complain)
  local way = trial.new_wait(kind)
  local ok, got = pcall(trial.actual, place, mode, way)
  if way.close then
    way.close()
  end
  if not ok or got ~= expected then
    complain(("%s, %s: expected %q, got %q"):format(kind, mode.name, expected, tostring(got)))
  end
end

-- A cancelled thread stays cancelled, so each round has its own.
local function run_place(place)
  local threads, problem = {}, nil
  local function complain(text)
    problem = problem or text
  end
  for _, mode in ipairs(trial.modes) do
    local expected = trial.expected(place, mode)
    if mode.fail == "none" and not expected:find("^returned") then
      complain("without waiting it " .. expected)
    end
    for _, kind in ipairs(trial.kinds) do
      threads[#threads + 1] = grun.spawn(function()
        for _ = 1, ROUNDS do
          grun.spawn(each_round, place, mode, kind, expected, complain):join()
        end
      end)
    end
  end
  if #grun.joinall(threads, { timeout = LIMIT }) < #threads then
    grun.killall(grun.threads(), 1)
    complain("some threads did not end")
  end
  print(problem and "not ok " .. place.name .. ": " .. problem or "ok " .. place.name)
  return not problem
end

collectgarbage("setpause", 50)
collectgarbage("setstepmul", 400)

local collector = grun.spawn(function()
  while true do
    collectgarbage()
    grun.sleep(0.002)
  end
end)

local passed, failed = 0, 0
for _, place in ipairs(places) do
  if place.name:find(arg[1] or "", 1, true) then
    if run_place(place) then
      passed = passed + 1
    else
      failed = failed + 1
    end
  end
end
collector:kill()
grun.joinall(grun.threads(), { timeout = 1, count = #grun.threads() - 1 })
print(("%d places passed, %d failed; %d waits, up to %d threads in one at once, %d threads left"):format(
  passed, failed, trial.waits, trial.most_inside, #grun.threads() - 1))
os.exit(failed == 0 and passed > 0)
