-- SPDX-License-Identifier: MIT
-- Pools: groups with a limit.
--
-- Who wants a place in a full pool stands in `waiting`: a thread that parks in spawn, or a node
-- with a `start` method, which takes the place (a job of apply_async, a map). A place that becomes
-- free belongs at once to the first of them, so nobody who comes later can be faster. `n` counts
-- the places taken, `kept` those of them whose thread has been woken but has not spawned yet.

local core = require("grun.core")
local groups = require("grun.group")
local list = require("grun.waitlist")
local mapping = require("grun.mapping")
local result = require("grun.result")
local scopes = require("grun.scope")
local thread = require("grun.thread")
local check_callable, enter, wait = list.check_callable, groups.enter, list.wait

-- What a handle holds once its thread has ended: see runtime/bind/lib_thread.h.
local END, FIRST = 5, 6

--- A group with a limited number of members.
---@class grun.pool: grun.group
---@field private limit integer
---@field private kept integer
local pool = {}
local Pool = { __index = pool, __name = "grun.pool" }

for name, method in pairs(groups.methods) do
  pool[name] = method
end

-- ---- Places ----

-- A member has ended: its place goes to the first who waits.
local function pass_place(self)
  local waiting = self.waiting
  while waiting.next ~= waiting and self.n < self.limit do
    local node = waiting.next
    list.remove(node)
    if node.start then
      node:start(self)
    elseif core.ready(node.green, node.token) then
      self.n, self.kept = self.n + 1, self.kept + 1
    end
  end
end

-- Waits for a place if there is none. Returns nil, or what core.check does.
local function wait_for_place(self)
  local ok, message, code = core.check()
  if message or self.n < self.limit then
    return ok, message, code
  elseif wait(self.waiting, "pool.spawn") ~= "ok" then
    return core.check()
  end
  self.n, self.kept = self.n - 1, self.kept - 1
end

--- Spawns fn(...) as a member, waiting while the pool is full; who came first is served first.
--- Returns the thread. Parks.
---@param fn fun(...): ...
---@param ... any
---@return grun.thread
---@async
function pool:spawn(fn, ...)
  check_callable(fn, "spawn")
  local ok, message, code = wait_for_place(self)
  if message then
    return ok, message, code
  end
  return enter(self, core.spawn_for(fn, ...))
end

--- Spawns fn(...) if there is room. Returns the thread, or nil, "full", "full". Never parks.
---@param fn fun(...): ...
---@param ... any
---@return grun.thread|nil
---@return string? message
---@return string? code
function pool:try_spawn(fn, ...)
  check_callable(fn, "try_spawn")
  if self.n >= self.limit then
    return nil, "full", "full"
  end
  return enter(self, core.spawn_for(fn, ...))
end

--- How many members more there is room for.
---@return integer
function pool:free()
  return self.limit - self.n
end

--- Number of members that have not ended.
---@return integer
function pool:count()
  return self.n - self.kept
end

-- ---- Single calls ----

--- Runs fn(...) as a member and returns its results, or raises its error. A member that calls it
--- runs fn itself, because it could wait for its own place. When the caller is cancelled or past a
--- deadline, fn's thread is cancelled as well. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function pool:apply(fn, ...)
  check_callable(fn, "apply")
  if self.members[core.current()] then
    return fn(...)
  end
  local ok, message, code = wait_for_place(self)
  if message then
    return ok, message, code
  end
  local t = enter(self, core.spawn_for(fn, ...))
  thread.pass_on(t)
  local joined, err = pcall(t.join, t)
  if not joined then
    rawset(t, "_passed_on", nil)
    t:cancel("apply")
    scopes.shield(t.join, t)
    error(err, 0)
  end
  return t:get()
end

---@class grun.pool.job: what apply_async has to do
local Job = {}
Job.__index = Job

-- The member ends.
function Job:notify(t)
  local outcome = self.outcome
  if outcome:ready() then
    return -- set by somebody else
  elseif t:successful() then
    return outcome:set(unpack(t, FIRST, FIRST - 1 + (t[END] or 0)))
  end
  -- An error that somebody waits for is his; others are reported.
  if outcome.watchers or not list.empty(outcome.waiters) then
    thread.pass_on(t)
  end
  return outcome:fail(t.error)
end

-- A place is free.
function Job:start(owner)
  local ok, t = pcall(core.spawn, self.fn, unpack(self, 1, self.n))
  if ok then
    enter(owner, t):_subscribe(self)
  else
    self.outcome:fail(t)
  end
end

--- Spawns fn(...) as soon as there is room. Returns at once a grun.result for its outcome. Never
--- parks.
---@param fn fun(...): ...
---@param ... any
---@return grun.result
function pool:apply_async(fn, ...)
  check_callable(fn, "apply_async")
  local job = setmetatable({ fn = fn, n = select("#", ...), outcome = result.result(), ... }, Job)
  if self.n < self.limit then
    enter(self, core.spawn_for(fn, ...)):_subscribe(job)
  else
    list.append(self.waiting, job)
  end
  return job.outcome
end

-- ---- Many calls ----

--- Calls fn(item) for each item of a list, or fn(...) for what an iterator (as for "for") returns
--- each time, at most as many at once as the pool has room for. Returns the list of fn's first
--- results in the order of the items, nil where fn returned nil. The first error cancels the rest
--- and is raised when all have ended. A member that calls it does the work itself. Parks.
---@generic T, R
---@param fn fun(item: T, ...): R
---@param items T[]|fun(state: any, control: any): T
---@param state? any
---@param control? any
---@return R[]
---@async
function pool:map(fn, items, state, control)
  check_callable(fn, "map")
  mapping.check_items(items, "map")
  return mapping.map(self, fn, items, state, control)
end

--- Returns an iterator over fn's first results in the order of the items; false where fn returned
--- nil. Takes what map takes. An error is raised at its item; the next step goes on after it.
--- Starts at the first step and is at most twice as many items ahead as the pool has places, so an
--- iteration that is given up leaves nothing behind but calls of fn that have begun. Each step may
--- wait.
---@generic T, R
---@param fn fun(item: T, ...): R
---@param items T[]|fun(state: any, control: any): T
---@param state? any
---@param control? any
---@return fun(): R
function pool:imap(fn, items, state, control)
  check_callable(fn, "imap")
  mapping.check_items(items, "imap")
  return mapping.iterate(self, "imap", fn, items, state, control)
end

--- As imap, but each result comes as soon as it is there.
---@generic T, R
---@param fn fun(item: T, ...): R
---@param items T[]|fun(state: any, control: any): T
---@param state? any
---@param control? any
---@return fun(): R
function pool:imap_unordered(fn, items, state, control)
  check_callable(fn, "imap_unordered")
  mapping.check_items(items, "imap_unordered")
  return mapping.iterate(self, "imap_unordered", fn, items, state, control)
end

function Pool:__tostring()
  return ("pool of %d, %d running"):format(self.limit, self:count())
end

local M = {}

--- A group with at most n members at a time.
---@param n integer
---@return grun.pool
function M.pool(n)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
    error("pool: a whole number of threads, 1 or more, expected, got " .. tostring(n), 2)
  end
  local self = groups.new()
  self.limit, self.kept, self.waiting, self.on_end = n, 0, list.new(), pass_place
  return setmetatable(self, Pool)
end

return M
