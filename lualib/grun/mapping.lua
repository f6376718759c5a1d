-- SPDX-License-Identifier: MIT
-- One function for many items, called by members of a pool: what map and imap have in common.
--
-- A run starts workers, as many as it has items for and the pool has places. Each takes item after
-- item, so that an item costs no thread, and ends when there is none; it gives its place up when
-- somebody else waits for one. An iterator is read by a thread of its own, which may wait there
-- without holding a place. Neither ever waits for the results to be read: when too many are not, it
-- ends, and reading starts it again. So an iteration that is given up leaves no thread behind.
--
-- Slots count items in the order in which their outcomes are read.

local core = require("grun.core")
local list = require("grun.waitlist")
local scopes = require("grun.scope")
local thread = require("grun.thread")
local enter, wait = require("grun.group").enter, list.wait

---@class grun.run
---@field pool grun.pool
---@field fn function
---@field name string of the method, for reports
---@field ordered boolean
---@field window number so many items may be begun and not read
---@field items table the list; read from an iterator, tables of arguments with n
---@field count integer items known of
---@field begun integer
---@field delivered integer outcomes
---@field read integer outcomes read
---@field workers integer
---@field threads table<grun.thread, true> the workers
---@field starting grun.thread|false the worker that has no item yet; there is only one at a time
---@field iterator function|false where more items come from
---@field feeder grun.thread|false the thread that reads it
---@field values table slot -> first result
---@field errors table slot -> what thread.caught returned
---@field waiters table who waits for an outcome or the end
---@field stopped boolean no more items are begun
---@field failure table|false what map raises
local Run = {}
Run.__index = Run

-- ---- State ----

local function has_item(run)
  return run.begun < run.count and not run.stopped and run.begun - run.read < run.window
end

local function over(run)
  return run.workers == 0 and not run.feeder and (run.stopped or
    run.begun == run.count and not run.iterator)
end

-- Ends the run: nothing begins any more, and what has begun is cancelled.
local function stop(run, failure)
  run.failure = run.failure or failure
  run.stopped = true
  list.remove(run)
  for t in pairs(run.threads) do
    t:cancel(run.name)
  end
  if run.feeder then
    run.feeder:cancel(run.name)
  end
end

local function deliver(run, index, ok, value)
  local failure = not ok and thread.caught(value)
  if run.name == "map" then
    if ok then
      run.values[index] = value
    else
      stop(run, failure)
    end
    return
  end
  local slot = run.ordered and index or run.delivered + 1
  if failure then
    run.errors[slot] = failure
  elseif value == nil then
    run.values[slot] = false
  else
    run.values[slot] = value
  end
  run.delivered = run.delivered + 1
  list.wake_all(run.waiters, true)
end

-- ---- Workers ----

local grow

local function do_item(run)
  local index = run.begun + 1
  run.begun = index
  grow(run)
  local item = run.items[index]
  if run.packed then
    run.items[index] = nil
    return deliver(run, index, xpcall(run.fn, core.traceback, unpack(item, 1, item.n)))
  end
  return deliver(run, index, xpcall(run.fn, core.traceback, item))
end

-- Does anybody else wait for the place of this run's worker?
local function wanted_by_others(run)
  local waiting = run.pool.waiting
  local first = waiting.next
  return first ~= waiting and (first ~= run or run.next ~= waiting)
end

local function work(run)
  run.starting = false
  while has_item(run) do
    do_item(run)
    if wanted_by_others(run) then
      return
    end
    -- Lets others run even if fn never waits, and ends a worker that was cancelled.
    core.yield()
  end
end

-- The next item will not get the worker that was meant for it.
local function lose_item(run, err)
  if has_item(run) then
    deliver(run, run.begun + 1, false, err)
    run.begun = run.begun + 1
  end
end

--- The pool has a place for the run.
function Run:start(pool)
  if not has_item(self) then
    return
  end
  local ok, t = pcall(core.spawn, work, self)
  if not ok then
    return lose_item(self, t)
  end
  t.name = self.name
  self.workers = self.workers + 1
  self.threads[t] = true
  self.starting = t
  enter(pool, t):_subscribe(self)
end

--- A worker or the feeder has ended. May be called again, see group:notify.
function Run:notify(t)
  if t == self.feeder then
    if not t:successful() and not self.stopped then
      self:end_of_items(true, t.error)
    end
    self.feeder = false
  elseif self.threads[t] then
    self.threads[t] = nil
    self.workers = self.workers - 1
  end
  if t == self.starting then
    lose_item(self, t.error)
    self.starting = false
  end
  grow(self)
  if over(self) then
    list.wake_all(self.waiters, true)
  end
end

-- ---- Items from an iterator ----

function Run:end_of_items(failed, err)
  if failed and self.iterator then
    deliver(self, self.count + 1, false, err)
  end
  self.iterator = false
end

local function take_in(run, ok, ...)
  local item = ...
  if not ok or item == nil then
    return run:end_of_items(not ok, item)
  end
  run.control = item
  run.count = run.count + 1
  run.items[run.count] = { n = select("#", ...), ... }
  grow(run)
  list.wake_all(run.waiters, true)
end

local function wants_items(run)
  return run.iterator and not run.stopped and run.count - run.read < run.window
end

local function feed(run)
  while wants_items(run) do
    take_in(run, xpcall(run.iterator, core.traceback, run.state, run.control))
    core.yield()
  end
end

-- Starts what there is work for: one worker, which starts the next once it has its item, and the
-- feeder.
function grow(run)
  local pool = run.pool
  if has_item(run) and not run.starting and run.workers < pool.limit and not run.prev then
    if pool.n < pool.limit then
      run:start(pool)
    else
      list.append(pool.waiting, run)
    end
  end
  if not run.feeder and wants_items(run) then
    run.feeder = core.spawn(feed, run)
    run.feeder.name = run.name
    core.daemon(run.feeder[1])
    run.feeder:_subscribe(run)
  end
end

-- ---- Reading ----

-- What the caller does when there is nothing to read. As a member it works itself, since it could
-- wait for its own place.
local function step(run)
  if run.pool.members[core.current()] and has_item(run) then
    do_item(run)
    return "ok"
  end
  return wait(run.waiters, run.what)
end

local function finish(run)
  local outcome = "ok"
  while outcome == "ok" and not over(run) do
    outcome = step(run)
  end
  return outcome
end

local function new_run(pool, name, fn, items, state, control)
  local packed = type(items) == "function"
  return setmetatable({
    pool = pool, fn = fn, name = name, what = "pool." .. name, ordered = name == "imap",
    window = name == "map" and math.huge or 2 * pool.limit, packed = packed,
    items = packed and {} or items, count = packed and 0 or #items,
    iterator = packed and items, state = state, control = control, feeder = false,
    begun = 0, delivered = 0, read = 0, workers = 0, threads = {}, starting = false,
    values = {}, errors = {}, waiters = list.new(), stopped = false, failure = false,
    next = false, prev = false,
  }, Run)
end

-- When the user has dropped the iterator, nothing must wait for its items any more.
local function stop_feeding_with(sentinel, run)
  getmetatable(sentinel).__gc = function()
    run.iterator = false
    if run.feeder then
      run.feeder:cancel("given up")
    end
  end
end

local M = {}

--- What pool:map does.
---@async
function M.map(pool, ...)
  local run = new_run(pool, "map", ...)
  grow(run)
  if finish(run) == "raise" then
    local _, err = pcall(core.check)
    stop(run, thread.caught(err))
    scopes.shield(finish, run)
  end
  if run.failure then
    return thread.rethrow(run.failure)
  end
  return run.values
end

local function next_value(run)
  local value, failure
  repeat
    local slot = run.read + 1
    value, failure = run.values[slot], run.errors[slot]
    if value ~= nil or failure then
      run.values[slot], run.errors[slot] = nil, nil
      run.read = slot
      grow(run)
    elseif over(run) then
      return nil
    elseif step(run) ~= "ok" then
      return core.check()
    end
  until value ~= nil or failure
  if failure then
    return thread.rethrow(failure)
  end
  return value
end

--- What pool:imap and pool:imap_unordered do; `name` is the method's.
function M.iterate(pool, name, ...)
  local run = new_run(pool, name, ...)
  local sentinel = run.iterator and newproxy(true)
  if sentinel then
    stop_feeding_with(sentinel, run)
  end
  grow(run)
  return function()
    return next_value(run, sentinel)
  end
end

--- Checks the items of a method of that name.
function M.check_items(items, name)
  if type(items) ~= "table" and type(items) ~= "function" then
    error(name .. ": list or iterator expected, got " .. type(items), 3)
  end
end

return M
