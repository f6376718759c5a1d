-- SPDX-License-Identifier: MIT
-- Locks that one thread holds, conditions on them, barriers and reader-writer locks.
--
-- A lock whose holder ends without a release stays locked, since what it protects may be half done.
-- Then any thread may release it.

local core = require("grun.core")
local list = require("grun.waitlist")
local scope = require("grun.scope")
local check_seconds, wait, current = list.check_seconds, list.wait, core.current
-- The current thread is `here[1] or find()`: no C call as long as no other thread ran meanwhile.
local here, find = core.here, core.find

-- ---- Lock ----

--- A lock for one thread at a time, in the order of asking.
---@class grun.lock
local lock = {}
local Lock = { __index = lock, __name = "grun.lock" }

list.watchable(lock)

local function take_again(self)
  self.depth = self.depth + 1
  return true
end

--- Takes the lock. Returns true; nil, "timeout", "timeout" after `seconds`. Raises when the caller
--- holds it already, unless it is reentrant. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function lock:acquire(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "acquire")
  end
  local me = here[1] or find()
  local holder = self.holder
  if not holder then
    self.holder = me
    return true
  elseif holder == me then
    if not self.reentrant then
      error("acquire: this thread holds the lock already", 2)
    end
    return take_again(self)
  end
  -- release() has made the woken thread the holder.
  local result = wait(self.waiters, "lock.acquire", seconds, me)
  return list.answer(result)
end

--- Takes the lock if it is free; returns whether it did. Never parks.
---@return boolean
function lock:try_acquire()
  local me = here[1] or find()
  if not self.holder then
    self.holder = me
    return true
  elseif self.holder == me and self.reentrant then
    return take_again(self)
  end
  return false
end

-- Hands the lock to the first thread that still waits.
local function pass_on(self)
  local waiters = self.waiters
  local node = waiters.next
  if node == waiters then
    self.holder = false
    if self.watchers then
      list.notify(self)
    end
    return
  end
  local heir = node.value
  list.remove(node)
  if core.ready(node.green, node.token) then
    self.holder = heir
    return
  end
  return pass_on(self)
end

-- Raises at the level of release's caller unless the holder has ended.
local function check_ended(self)
  local holder = self.holder
  if not holder then
    error("release: not held", 3)
  elseif not holder:_poll() then
    error("release: held by " .. tostring(holder), 3)
  end
  self.depth = 0
end

--- Gives the lock back. Raises when nobody holds it, or another thread that has not ended. Never
--- parks.
function lock:release()
  if self.holder ~= (here[1] or find()) then
    check_ended(self)
  end
  if self.depth > 0 then
    self.depth = self.depth - 1
  elseif self.waiters.next == self.waiters and not self.watchers then
    self.holder = false
  else
    pass_on(self)
  end
end

--- The thread that holds it, or nil.
---@return grun.thread|nil
function lock:owner()
  return self.holder or nil
end

--- Runs fn(...) with the lock held and gives it back however fn ends. Returns fn's results. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function lock:with(fn, ...)
  list.check_callable(fn, "with")
  if self.holder and not self.reentrant and self.holder == current() then
    error("with: this thread holds the lock already", 2)
  end
  local ok, message, code = self:acquire()
  if not ok then
    return nil, message, code
  end
  return list.run(self, fn, ...)
end

function lock:_poll()
  return not self.holder
end

function Lock:__tostring()
  local holder, state = self.holder, "free"
  if holder then
    state = "held by thread #" .. holder.id .. (holder:_poll() and ", which has ended" or "")
  end
  return ("lock %s, %d waiting"):format(state, list.len(self.waiters))
end

local M = {}

--- A lock. opts.reentrant: its holder may take it again, and releases it as often.
---@param opts? { reentrant?: boolean }
---@return grun.lock
function M.lock(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("lock: table of options expected, got " .. type(opts), 2)
  end
  for name in pairs(opts or {}) do
    if name ~= "reentrant" then
      error("lock: unknown option '" .. tostring(name) .. "'", 2)
    end
  end
  local reentrant = opts and opts.reentrant and true or false
  return setmetatable({
    holder = false, depth = 0, reentrant = reentrant, waiters = list.new(), watchers = false,
  }, Lock)
end

-- ---- Condition ----

--- A condition: threads that hold its lock wait for each other.
---@class grun.condition
local condition = {}
local Condition = { __index = condition, __name = "grun.condition" }

local function check_held(self, name)
  if self.lock.holder ~= current() then
    error(name .. ": the caller does not hold the condition's lock", 3)
  end
end

--- Gives the lock up, waits for notify and takes the lock again, also when it fails. Returns true;
--- nil, "timeout", "timeout" after `seconds`. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function condition:wait(seconds)
  check_held(self, "wait")
  if seconds ~= nil then
    check_seconds(seconds, "wait")
  end
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  local held, depth = self.lock, self.lock.depth
  held.depth = 0
  held:release()
  local result = wait(self.waiters, "condition.wait", seconds)
  -- Whoever waits for a condition relies on holding the lock afterwards, whatever happened.
  if not held:try_acquire() then
    scope.shield(held.acquire, held)
  end
  held.depth = depth
  return list.answer(result)
end

--- Wakes n (default 1) of the waiting threads, longest wait first. Never parks.
---@param n? integer
function condition:notify(n)
  check_held(self, "notify")
  if n ~= nil and (type(n) ~= "number" or not (n >= 0)) then
    error("notify: a number of threads, 0 or more, expected, got " .. tostring(n), 2)
  end
  for _ = 1, n or 1 do
    if not list.wake(self.waiters, true) then
      return
    end
  end
end

--- Wakes all waiting threads. Never parks.
function condition:notify_all()
  check_held(self, "notify_all")
  list.wake_all(self.waiters, true)
end

--- The lock's acquire. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function condition:acquire(seconds)
  return self.lock:acquire(seconds)
end

--- The lock's release.
function condition:release()
  return self.lock:release()
end

function Condition:__tostring()
  return ("condition, %d waiting"):format(list.len(self.waiters))
end

--- A condition on the lock, or on a new one (field `lock`).
---@param on? grun.lock
---@return grun.condition
function M.condition(on)
  if on ~= nil and getmetatable(on) ~= Lock then
    error("condition: lock expected, got " .. type(on), 2)
  end
  return setmetatable({ lock = on or M.lock(), waiters = list.new() }, Condition)
end

-- ---- Barrier ----

--- A place where a number of threads wait for each other.
---@class grun.barrier
local barrier = {}
local Barrier = { __index = barrier, __name = "grun.barrier" }

--- Waits until n threads have called this; then all go on and the barrier starts anew. Returns
--- true, and for the last one to come a second true; nil, "timeout", "timeout" after `seconds`: the
--- caller does not count any more. Parks.
---@param seconds? number
---@return true|nil, true|string?, string?
---@async
function barrier:wait(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "wait")
  end
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  elseif self.arrived + 1 >= self.n then
    self.arrived = 0
    self.round = self.round + 1
    list.wake_all(self.waiters, true)
    return true, true
  end
  local round = self.round
  self.arrived = self.arrived + 1
  local result = wait(self.waiters, "barrier.wait", seconds)
  -- Whoever was on its way out when the last one came has been counted.
  if result == "ok" or result == "timeout" and self.round ~= round then
    return true
  elseif self.round == round then
    self.arrived = self.arrived - 1
  end
  if result == "timeout" then
    return nil, "timeout", "timeout"
  end
  return core.check()
end

function Barrier:__tostring()
  return ("barrier %d of %d"):format(self.arrived, self.n)
end

--- A barrier for n threads.
---@param n integer
---@return grun.barrier
function M.barrier(n)
  if type(n) ~= "number" or n < 1 or n % 1 ~= 0 then
    error("barrier: a whole number of threads, 1 or more, expected, got " .. tostring(n), 2)
  end
  return setmetatable({ n = n, arrived = 0, round = 0, waiters = list.new() }, Barrier)
end

-- ---- Reader-writer lock ----

--- A lock for one writer or many readers.
---@class grun.rwlock
local rwlock = {}
local Rwlock = { __index = rwlock, __name = "grun.rwlock" }

-- Lets in from the head of the queue: one writer, or every reader up to the next writer.
local function admit(self)
  local waiters = self.waiters
  local node = waiters.next
  while node ~= waiters do
    local writes = node.value == "write"
    if self.writing or (writes and self.readers > 0) then
      return
    end
    list.remove(node)
    if core.ready(node.green, node.token) then
      if writes then
        self.writing = true
      else
        self.readers = self.readers + 1
      end
    end
    node = waiters.next
  end
end

-- Nobody overtakes the queue, so that readers cannot keep a writer out for ever.
local function enter(self, mode)
  local idle = self.waiters.next == self.waiters and not self.writing
  if idle and (mode == "read" or self.readers == 0) then
    if mode == "read" then
      self.readers = self.readers + 1
    else
      self.writing = true
    end
    return true
  end
  local result = wait(self.waiters, "rwlock." .. mode, nil, mode)
  if result == "ok" then
    return true
  end
  admit(self) -- we may have been what the others had to wait for
  return core.check()
end

local function leave_read(self, ok, ...)
  self.readers = self.readers - 1
  admit(self)
  if ok then
    return ...
  end
  return error((...), 0)
end

local function leave_write(self, ok, ...)
  self.writing = false
  admit(self)
  if ok then
    return ...
  end
  return error((...), 0)
end

--- Runs fn(...) while no writer runs; other readers may. Returns fn's results. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function rwlock:read(fn, ...)
  list.check_callable(fn, "read")
  local ok, message, code = enter(self, "read")
  if not ok then
    return nil, message, code
  end
  return leave_read(self, xpcall(fn, core.traceback, ...))
end

--- Runs fn(...) while nobody else reads or writes. Returns fn's results. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function rwlock:write(fn, ...)
  list.check_callable(fn, "write")
  local ok, message, code = enter(self, "write")
  if not ok then
    return nil, message, code
  end
  return leave_write(self, xpcall(fn, core.traceback, ...))
end

function Rwlock:__tostring()
  local state = self.writing and "writing" or self.readers .. " reading"
  return ("rwlock %s, %d waiting"):format(state, list.len(self.waiters))
end

--- A reader-writer lock, fair to both sides.
---@return grun.rwlock
function M.rwlock()
  return setmetatable({ readers = 0, writing = false, waiters = list.new() }, Rwlock)
end

return M
