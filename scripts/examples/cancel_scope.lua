-- SPDX-License-Identifier: MIT
-- A scope ends with everything it has started: when its deadline passes, when its thread is
-- cancelled, or when one of its members fails. It returns once the last member has cleaned up.
-- Run: ./grun scripts/examples/cancel_scope.lua
-- Prints:
--   -- a timeout around a scope
--   worker 1 stops: timeout
--   worker 2 stops: timeout
--   the scope: nil, timeout
--   -- its thread is cancelled
--   worker 1 stops: scope
--   worker 2 stops: scope
--   the thread: cancelled, no longer needed
--   -- a member fails
--   worker 1 stops: scope
--   worker 2 stops: scope
--   the scope: false, out of paper

local function worker(i)
  local _, err = pcall(grun.sleep, 60)
  -- Every wait would raise now, so clean-up that has to wait needs a shield.
  grun.shield(grun.sleep, 0.01 * i)
  print(("worker %d stops: %s"):format(i, grun.is_cancel(err)))
  error(err, 0)
end

local function start_workers(group)
  group:spawn(worker, 1)
  group:spawn(worker, 2)
end

print("-- a timeout around a scope")
local result, message = grun.timeout(0.05, grun.scope, start_workers)
print(("the scope: %s, %s"):format(tostring(result), message))

print("-- its thread is cancelled")
local thread = grun.spawn(grun.scope, start_workers)
grun.sleep(0.05)
thread:cancel("no longer needed")
thread:join()
print(("the thread: %s, %s"):format(thread:status(), grun.is_cancel(thread.error)))

print("-- a member fails")
local ok, err = pcall(grun.scope, function(group)
  start_workers(group)
  grun.sleep(0.05)
  group:spawn(error, "out of paper", 0)
end)
print(("the scope: %s, %s"):format(tostring(ok), err))
