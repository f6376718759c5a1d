-- SPDX-License-Identifier: MIT
-- 50 threads that run random places of places.lua while others allocate, collect, flush the
-- compiled code, and kill or time out whom they please. Undisturbed runs must come to the expected
-- result; all must end. Usage: LUA_CPATH=…/?.so grun [--seed N] [JIT options] stress.lua SEED
-- SECONDS

local dir = arg[0]:match("^(.*)/") or "."
package.path = dir .. "/?.lua;" .. package.path

local places, trial = require("places"), require("trial")
require("parkmod")
package.path = dir .. "/chunk.lua" -- whatever else is required
CHUNKS = {}
io.stdout:setvbuf("line")

local seed, seconds = tonumber(arg[1]), tonumber(arg[2])
local WORKERS, LIMIT = 50, 10

print("seed " .. seed)
math.randomseed(seed)
collectgarbage("setpause", 50)
collectgarbage("setstepmul", 400)

local function pick(list)
  return list[math.random(#list)]
end

local expected = {}
for _, place in ipairs(places) do
  expected[place] = {}
  for _, mode in ipairs(trial.modes) do
    expected[place][mode] = trial.expected(place, mode)
  end
end

local stop_at = grun.now() + seconds
local runs, disturbed, killed, failures = 0, 0, 0, {}

local function complain(format, ...)
  failures[#failures + 1] = format:format(...)
end

-- ---- Trouble ----

local refused, finalized = 0, 0

local function finalizer()
  finalized = finalized + 1
  local ok, message, code = grun.sleep(0.001)
  if ok == nil and message == "cannot wait in a finalizer" and code == "misuse" then
    refused = refused + 1
  end
end

local function allocate()
  while grun.now() < stop_at do
    local keep = {}
    for i = 1, 300 do
      keep[i % 10] = { tostring(i), { i }, function() return keep end }
    end
    getmetatable(newproxy(true)).__gc = finalizer
    grun.yield()
  end
end

local function collect()
  while grun.now() < stop_at do
    collectgarbage(pick({ "step", "step", "step", "collect" }))
    if math.random(20) == 1 then
      jit.flush()
    end
    grun.sleep(math.random() * 0.002)
  end
end

-- ---- Work ----

local function run(place, mode, kind, limit)
  local way = trial.new_wait(kind)
  local ok, got
  if limit then
    ok, got = pcall(grun.timeout, limit, trial.actual, place, mode, way)
  else
    ok, got = pcall(trial.actual, place, mode, way)
  end
  if way.close then
    way.close()
  end
  return ok, got
end

local function one_run()
  local place, kind, dice = pick(places), pick(trial.kinds), math.random()
  local mode = math.random(2) == 1 and trial.modes[1] or pick(trial.modes)
  local results = {}
  local t = grun.spawn(function()
    results.ok, results.got = run(place, mode, kind, dice < 0.15 and math.random() * 0.001)
  end)
  runs = runs + 1
  if dice < 0.15 then
    disturbed = disturbed + 1
  elseif dice < 0.3 then
    disturbed, killed = disturbed + 1, killed + 1
    grun.sleep(math.random() * 0.001)
    t:cancel("at random")
  end
  if not t:join(LIMIT) then
    complain("%s, %s, %s: did not end: %s", place.name, kind, mode.name, tostring(t))
  elseif dice >= 0.3 and (not results.ok or results.got ~= expected[place][mode]) then
    complain("%s, %s, %s: expected %q, got %q", place.name, kind, mode.name, expected[place][mode],
      tostring(results.got))
  end
end

local function work()
  while grun.now() < stop_at and #failures < 5 do
    one_run()
  end
end

local threads = { grun.spawn(allocate), grun.spawn(allocate), grun.spawn(collect) }
for _ = 1, WORKERS do
  threads[#threads + 1] = grun.spawn(work)
end
local ended = grun.joinall(threads, { timeout = seconds + 2 * LIMIT })
if #ended < #threads then
  complain("%d threads did not end", #threads - #ended)
end
grun.joinall(grun.threads(), { timeout = 1, count = #grun.threads() - 1 })
collectgarbage()
collectgarbage()

for _, failure in ipairs(failures) do
  print("not ok " .. failure)
end
print(("%d runs, %d failed; %d disturbed (%d killed); %d waits; %d of %d finalizers refused; %d threads left"):format(
  runs, #failures, disturbed, killed, trial.waits, refused, finalized, #grun.threads() - 1))
os.exit(#failures == 0)
