-- SPDX-License-Identifier: MIT
-- Deadlines and shields around a piece of code.

local core = require("grun.core")
local thread = require("grun.thread")
local check_callable = require("grun.waitlist").check_callable

local M = {}

--- What waits raise once the deadline of a scope has passed; each scope has its own. A thread's
--- innermost one is its _scope; `outer` is the next one, `near` the one with the nearest deadline
--- from this one outwards.
local Timeout = { __name = "grun.timeout", __grun_signal = true }

function Timeout:__tostring()
  if self.reason then
    return "cancelled: " .. self.reason
  end
  return "timeout: deadline of " .. tostring(self.seconds) .. " s passed"
end

-- A shield is a scope, too: one that hides the deadlines outside.
local function set_near(scope)
  local outer = not scope.shield and scope.outer
  scope.near = outer and outer.near.deadline <= scope.deadline and outer.near or scope
end

local function apply(self)
  local scope = rawget(self, "_scope")
  -- After its end a thread may still be waiting, in an on_error function.
  core.set_deadline(self[1] or core.self(), scope and scope.near.deadline or math.huge)
end

-- Opens a scope in the thread `self`. Its deadline is a time of core.now().
local function enter(self, deadline, seconds, shield)
  local scope = { deadline = deadline, seconds = seconds, shield = shield }
  scope.outer = rawget(self, "_scope")
  set_near(scope)
  rawset(self, "_scope", setmetatable(scope, Timeout))
  apply(self)
  return scope
end

-- Closes it, and what coroutines that never ended left open inside. When one of those ends later
-- after all, its scope is no longer there.
local function leave(self, scope)
  local at = rawget(self, "_scope")
  while at and at ~= scope do
    at = at.outer
  end
  if at then
    rawset(self, "_scope", scope.outer)
    apply(self)
  end
end

M.enter, M.leave = enter, leave

--- Makes every wait inside the scope raise from now on; a present one ends.
function M.expire(self, scope, reason)
  local chain, inner = {}, rawget(self, "_scope")
  scope.reason = reason
  while inner and inner ~= scope do
    chain[#chain + 1] = inner
    inner = inner.outer
  end
  scope.deadline = 0
  set_near(scope)
  for i = #chain, 1, -1 do
    set_near(chain[i])
  end
  if self[1] then
    apply(self)
  end
end

--- Gives a new thread the deadline of the code that opened its group.
function M.inherit(t, deadline)
  rawset(t, "_born", enter(t, deadline, "its group's"))
end

local function finish(self, scope, ok, ...)
  leave(self, scope)
  if ok then
    return ...
  elseif (...) == scope then
    return nil, "timeout", "timeout"
  end
  return error((...), 0)
end

--- Runs fn(...). Once `seconds` have passed every blocking call inside raises, until fn has ended;
--- then returns nil, "timeout", "timeout". Otherwise fn's results. A nearer deadline outside stays
--- in force. nil: no limit. May park.
---@async
function M.timeout(seconds, fn, ...)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds ~= seconds) then
    error("timeout: number of seconds expected, got " .. tostring(seconds), 2)
  end
  check_callable(fn, "timeout")
  if seconds == nil then
    return fn(...)
  end
  local self = core.current()
  local scope = enter(self, core.now() + math.max(0, seconds), seconds)
  return finish(self, scope, xpcall(fn, core.traceback, ...))
end

--- Seconds left until the nearest deadline around the caller, 0 when it has passed; nil without
--- one.
function M.deadline()
  local self = core.current()
  local scope = self and rawget(self, "_scope")
  local at = scope and scope.near.deadline or math.huge
  return at < math.huge and math.max(0, at - core.now()) or nil
end

local function unshield(self, scope, was, ok, ...)
  core.shield(was)
  leave(self, scope)
  if ok then
    return ...
  end
  return error((...), 0)
end

--- Runs fn(...) with a cancel and the deadlines outside held back; they raise at the first blocking
--- call afterwards. A timeout opened inside works as ever. May park.
---@async
function M.shield(fn, ...)
  check_callable(fn, "shield")
  local self = core.current()
  local scope = enter(self, math.huge, nil, true)
  return unshield(self, scope, core.shield(true), xpcall(fn, core.traceback, ...))
end

--- The reason if err is what a cancelled thread's wait raised, "timeout" if a scope's deadline
--- raised it, else nil.
function M.is_cancel(err)
  local mt = getmetatable(err)
  if mt == thread.Cancel then
    return err.reason
  elseif mt == Timeout then
    return err.reason or "timeout"
  end
  return nil
end

return M
