-- SPDX-License-Identifier: MIT
-- Groups of threads, and scopes that wait for what they started.

local core = require("grun.core")
local list = require("grun.waitlist")
local scopes = require("grun.scope")
local thread = require("grun.thread")
local waiters = require("grun.waiter")
local check_callable, wait = list.check_callable, list.wait

-- ---- Group ----

--- Threads that are waited for, and cancelled, together.
---@class grun.group
---@field private members table<grun.thread, true> those that have not ended
---@field private n integer number of members; a pool counts a place kept for somebody, too
---@field private killers integer while above 0 new members are cancelled at once
---@field private on_end false|fun(self: grun.group, t: grun.thread) called at each member's end
local group = {}
local Group = { __index = group, __name = "grun.group" }

list.watchable(group)

local M = { methods = group }

--- A group's fields; for pools.
---@return table
function M.new()
  local self = core.current()
  local scope = self and rawget(self, "_scope")
  local deadline = scope and scope.near.deadline or math.huge
  return {
    members = {}, n = 0, joiners = list.new(), watchers = false, killers = 0, on_end = false,
    closed = false, deadline = deadline < math.huge and deadline,
  }
end

--- Makes a new thread a member. Returns it.
---@param self grun.group
---@param t grun.thread
---@return grun.thread
function M.enter(self, t)
  t:_subscribe(self)
  self.members[t] = true
  self.n = self.n + 1
  if self.deadline then
    scopes.inherit(t, self.deadline)
  end
  if self.killers > 0 then
    t:cancel("killed")
  end
  return t
end
local enter = M.enter

-- What a member calls at its end, since the group itself is what is subscribed. It is called again
-- when an error in somebody's finalizer breaks it off.
---@private
function group:notify(t)
  if self.members[t] then
    self.members[t] = nil
    self.n = self.n - 1
  end
  if self.on_end then
    self:on_end(t)
  end
  if self.n == 0 then
    list.wake_all(self.joiners, true)
    if self.watchers then
      list.notify(self)
    end
  end
end

--- Spawns fn(...) as a member. Returns the thread.
---@param fn fun(...): ...
---@param ... any
---@return grun.thread
function group:spawn(fn, ...)
  check_callable(fn, "spawn")
  if self.closed then
    error("spawn: the scope has ended", 2)
  end
  return enter(self, core.spawn_for(fn, ...))
end

--- Number of members that have not ended.
---@return integer
function group:count()
  return self.n
end

--- The members that have not ended, oldest first.
---@return grun.thread[]
function group:threads()
  local all = {}
  for t in pairs(self.members) do
    all[#all + 1] = t
  end
  table.sort(all, function(a, b)
    return a.id < b.id
  end)
  return all
end

-- Waits until there are no members, whoever joins them meanwhile. Returns as core.park.
local function drain(self, what, limit)
  local outcome = "ok"
  while self.n > 0 and outcome == "ok" do
    outcome = wait(self.joiners, what, limit and math.max(0, limit - core.now()))
  end
  return outcome
end

local function answer(outcome)
  if outcome == "ok" then
    return true
  elseif outcome == "timeout" then
    return nil, "timeout", "timeout"
  end
  return core.check()
end

--- Waits until there are no members. Returns true; nil, "timeout", "timeout" after `seconds`.
--- Parks.
---@param seconds? number
---@return true|nil ok
---@return string? message
---@return string? code
---@async
function group:join(seconds)
  local limit = waiters.limit(seconds, "join")
  if self.members[core.current()] then
    error("join: a member cannot wait for the end of its group", 2)
  end
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  elseif self.n == 0 then
    return true
  end
  return answer((wait(self.joiners, "group.join", limit and math.max(0, limit - core.now()))))
end

--- Cancels all members. Returns at once; the first reason a thread is given stays.
---@param reason any
function group:cancel(reason)
  for _, t in ipairs(self:threads()) do
    t:cancel(reason)
  end
end

--- Cancels all members, also those that are spawned before it returns, and waits until there are
--- none. Returns true; nil, "timeout", "timeout" after `seconds`. A member that calls it ends
--- itself and does not wait. Parks.
---@param seconds? number
---@return true|nil ok
---@return string? message
---@return string? code
---@async
function group:kill(seconds)
  local limit = waiters.limit(seconds, "kill")
  self:cancel("killed")
  local ok, message, code = core.check()
  if message or self.members[core.current()] then
    return ok, message, code
  end
  self.killers = self.killers + 1
  local outcome = drain(self, "group.kill", limit)
  self.killers = self.killers - 1
  return answer(outcome)
end

---@private
function group:_poll()
  return self.n == 0
end

function Group:__tostring()
  return ("group of %d thread%s"):format(self.n, self.n == 1 and "" or "s")
end

--- An empty group. Its members inherit the deadline in force where it is made.
---@return grun.group
function M.group()
  return setmetatable(M.new(), Group)
end

-- ---- Scope ----

-- The first error is the scope's outcome and cancels every member, new ones as well.
local function fail(g, failure)
  if not g.failure then
    g.failure, g.killers = failure, g.killers + 1
  end
  g:cancel("scope")
end

-- Members must have ended before the scope does, whatever happens to the caller meanwhile.
local function close(self, scope, g, ok, ...)
  if not ok then
    fail(g, thread.caught((...)))
  end
  if drain(g, "scope") == "raise" then
    local _, err = pcall(core.check)
    fail(g, thread.caught(err))
    scopes.shield(drain, g, "scope")
  end
  g.closed = true
  scopes.leave(self, scope)
  if g.failure then
    return thread.rethrow(g.failure)
  end
  return ...
end

--- Runs fn(group) with a new group and waits until all its members have ended. The first error, of
--- fn or of a member, cancels the rest and is raised here: fn's next wait raises, too. Returns fn's
--- results. Parks.
---@param fn fun(group: grun.group): ...
---@return any ...
---@async
function M.scope(fn)
  check_callable(fn, "scope")
  local self, g = core.current(), M.group()
  local scope = scopes.enter(self, math.huge)
  function g.on_end(_, t)
    if t:status() == "failed" and (not g.failure or g.failure.of == t) then
      thread.pass_on(t)
      fail(g, { err = t.error, traceback = t.traceback, of = t })
      scopes.expire(self, scope, "scope")
    end
  end
  return close(self, scope, g, xpcall(fn, core.traceback, g))
end

return M
