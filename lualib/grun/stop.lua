-- SPDX-License-Identifier: MIT
-- The orderly stop: servers stop accepting and drain, other threads are cancelled, all within a
-- grace period.
--
-- grun.grace = seconds sets it (default 10): so long connections may go on by themselves before
-- they are cancelled too. What then does not end within another second is reported and abandoned.

local core = require("grun.core")
local grun = require("grun")

local GRACE, UNWIND = 10, 1 -- seconds
local LOOK_AGAIN = 0.25 -- seconds until threads that came since are cancelled as well

local M = {}
local status -- the exit status, once the stop has begun

local function grace_period()
  local grace = rawget(grun, "grace")
  return type(grace) == "number" and grace >= 0 and grace or GRACE
end

local function servers()
  local loaded = package.loaded["grun.server"]
  return loaded and loaded.servers() or {}
end

local function daemon(name, fn, ...)
  local t = core.spawn(fn, ...)
  t.name = name
  core.daemon(t[1])
end

local function is_ours(t)
  return core.info(t[1]).daemon
end

local function remaining()
  local list = {}
  for _, t in ipairs(core.list()) do
    if not is_ours(t) then
      list[#list + 1] = t
    end
  end
  return list
end

-- Does it serve a connection, or was it spawned by one that does?
local function serves(t, by_id)
  while t do
    if rawget(t, "_server") then
      return true
    end
    t = by_id[core.info(t[1]).parent]
  end
  return false
end

-- While servers drain, what serves their connections is left to their stop().
local function cancel(list, reason, draining)
  local by_id = {}
  for _, t in ipairs(list) do
    by_id[t.id] = t
  end
  for _, t in ipairs(list) do
    if not (draining and serves(t, by_id)) then
      t:cancel(reason)
    end
  end
end

local function abandon(list, seconds)
  M.write(("grun: %d %s not end within %g s and %s abandoned\n%s\n"):format(
    #list, #list == 1 and "thread did" or "threads did", seconds, #list == 1 and "is" or "are",
    require("grun.inspect").tree(core.current())))
  os.exit(status)
end

local function stop(reason)
  local wait = require("grun.wait").wait
  local grace = grace_period()
  local drained = core.now() + grace
  local limit = drained + UNWIND
  for _, server in ipairs(servers()) do
    daemon("stop " .. tostring(server), server.stop, server, grace)
  end
  local list = remaining()
  while #list > 0 and core.now() < limit do
    cancel(list, reason, core.now() < drained and #servers() > 0)
    wait(list, math.max(0, math.min(LOOK_AGAIN, limit - core.now())))
    list = remaining()
  end
  if #list > 0 then
    abandon(list, grace + UNWIND)
  end
  -- A script that failed on its way out has set another one.
  core.set_status(status)
end

--- Begins the orderly stop; `reason` is what threads are cancelled with, then the process ends with
--- that exit status. Returns at once. During a stop a second one does nothing.
function M.start(reason, exit_status)
  if not status then
    status = exit_status
    core.set_status(status)
    daemon("stop", stop, reason)
  end
end

--- Writes a report of this module. The prompt replaces it, and the next one.
function M.write(text)
  io.stderr:write(text)
end

--- Set by the prompt: called in the hub instead of the stop for ^C.
M.interrupt = nil

--- A signal arrived. Called in the hub. Returns true if it was not a reason to stop.
function M.signal(name)
  if name == "QUIT" then
    daemon("SIGQUIT", function()
      local tree = require("grun.inspect").tree(core.current())
      M.write("grun: SIGQUIT: all threads\n" .. tree .. "\n")
    end)
  elseif status then
    os.exit(name == "INT" and 130 or 143)
  elseif name == "INT" and M.interrupt then
    M.interrupt()
  else
    M.start("SIG" .. name, name == "INT" and 130 or 0)
    return false
  end
  return true
end

return M
