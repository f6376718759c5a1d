-- SPDX-License-Identifier: MIT
-- The orderly stop: servers stop accepting and drain, other threads are cancelled, all within a
-- grace period.
--
-- grun.grace = seconds sets it (default 10): so long connections may go on by themselves before
-- they are cancelled too. What then does not end within another second is reported and abandoned.

local core = require("grun.core")
local grun = require("grun")
local spawn_daemon = require("grun.thread").spawn_daemon

local WARN = 2 -- level of the log
local GRACE, UNWIND = 10, 1 -- seconds
local SLICE = 500 -- threads cancelled before others run
local SAY_AFTER = 1 -- seconds until it is said what is waited for ...
local WORTH_SAYING = 2 -- ... if it may take so many more
local LOOK_AGAIN = 0.25 -- seconds until threads that came since are cancelled as well

local M = {}
local status -- the exit status, once the stop has begun
local began, drained -- when it did, and when the grace period ends
local first_steps = {} -- functions

local function grace_period()
  local grace = rawget(grun, "grace")
  return type(grace) == "number" and grace >= 0 and grace or GRACE
end

local function servers()
  return require("grun.service").servers()
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

-- Within the grace period what serves connections is left to the servers' stop().
local function cancel(list, reason)
  local by_id, early = {}, core.now() < drained
  local draining = early and #servers() > 0
  for _, t in ipairs(list) do
    by_id[t.id] = t
  end
  for i, t in ipairs(list) do
    if not (draining and serves(t, by_id) or early and rawget(t, "_first_step")) then
      t:cancel(reason)
    end
    if i % SLICE == 0 then
      core.yield()
    end
  end
end

local function abandon(list, seconds)
  M.write(("grun: %d %s not end within %.3g s and %s abandoned\n%s\n"):format(
    #list, #list == 1 and "thread did" or "threads did", seconds, #list == 1 and "is" or "are",
    require("grun.inspect").tree(core.current())))
  os.exit(status)
end

-- `told`: set of those that know already.
local function stop_servers(grace, told)
  for _, server in ipairs(servers()) do
    if not told[server] then
      told[server] = true
      spawn_daemon("stop " .. tostring(server), server.stop, server, grace)
    end
  end
end

local function join(list, limit)
  for _, t in ipairs(list) do
    t:join(math.max(0, limit - core.now()))
  end
end

local function say(reason, list)
  local left = math.ceil(drained - core.now())
  if left >= WORTH_SAYING then
    local text = "%s: waiting up to %d s for %d %s; another signal ends that"
    require("grun.core.log").report(text:format(
      reason, left, #list, #list == 1 and "thread" or "threads"), WARN)
  end
end

local function stop(reason)
  for _, fn in ipairs(first_steps) do
    rawset(core.spawn(fn), "_first_step", true)
  end
  local list, told, said = remaining(), {}, M.of_worker ~= nil
  while #list > 0 and core.now() < drained + UNWIND do
    -- Threads that do not heed a cancel may start servers still.
    stop_servers(math.max(0, drained - core.now()), told)
    cancel(list, reason)
    join(list, math.min(core.now() + LOOK_AGAIN, drained + UNWIND))
    list = remaining()
    if not said and #list > 0 and core.now() - began >= SAY_AFTER then
      said = true
      say(reason, list)
    end
  end
  if #list > 0 then
    abandon(list, drained + UNWIND - began)
  end
  -- A script that failed on its way out has set another one.
  core.set_status(status)
end

--- Begins the orderly stop; `reason` is what threads are cancelled with, then the process ends with
--- that exit status. Returns at once. During a stop a second one does nothing, unless it gives
--- less `grace` (seconds; default grun.grace) than is left.
function M.start(reason, exit_status, grace)
  grace = grace or grace_period()
  if not status then
    status = exit_status
    began = core.now()
    drained = began + grace
    core.set_status(status)
    spawn_daemon("stop", stop, reason)
  elseif core.now() + grace < drained then
    drained = core.now() + grace
    stop_servers(grace, {})
  end
end

--- Runs fn() in a thread when the stop begins; it may take the grace period.
function M.first(fn)
  first_steps[#first_steps + 1] = fn
end

function M.begun()
  return status ~= nil
end

--- Writes a report of this module. The prompt replaces it, and the next one.
function M.write(text)
  io.stderr:write(text)
end

--- Set by the prompt: called in the hub instead of the stop for ^C.
M.interrupt = nil

--- Set in workers: called in the hub instead of the stop for INT and TERM.
M.of_worker = nil

--- Somebody wants this process to end: begins the orderly stop as SIGTERM does, but for a second
--- time does nothing.
function M.ask(reason)
  if status then
    return
  elseif M.of_worker then
    M.of_worker("TERM")
  else
    M.start(reason, 0)
  end
end

--- A signal arrived. Called in the hub. Returns true if it was not a reason to stop.
function M.signal(name)
  if name == "QUIT" then
    spawn_daemon("SIGQUIT", function()
      local tree = require("grun.inspect").tree(core.current())
      M.write("grun: SIGQUIT: all threads\n" .. tree .. "\n")
    end)
  elseif M.of_worker then
    M.of_worker(name)
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
