-- SPDX-License-Identifier: MIT
-- Semaphores: a number of permits that threads take and give back, first come first served.

local list = require("grun.waitlist")
local select = require("grun.select")
local check_seconds, wait, wake = list.check_seconds, list.wait, list.wake

--- A number of permits; who waits longest gets the next one.
---@class grun.semaphore
local methods = {}
local Semaphore = { __index = methods, __name = "grun.semaphore" }

list.watchable(methods)

--- Takes a permit. Returns true; nil, "timeout", "timeout" after `seconds`. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function methods:acquire(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "acquire")
  end
  local permits = self.permits
  if permits > 0 then
    self.permits = permits - 1
    return true
  end
  -- A permit given back while others wait goes straight to the first of them.
  local result = wait(self.waiters, "semaphore.acquire", seconds)
  return list.answer(result)
end

--- Takes a permit if there is one; returns whether it did. Never parks.
---@return boolean
function methods:try_acquire()
  local permits = self.permits
  if permits > 0 then
    self.permits = permits - 1
    return true
  end
  return false
end

--- Gives k (default 1) permits back. Raises, giving none, when that made more than the maximum.
--- Never parks.
---@param k? integer
function methods:release(k)
  if k == nil then
    k = 1
  elseif type(k) ~= "number" or k < 1 or k % 1 ~= 0 then
    error("release: a whole number of permits, 1 or more, expected, got " .. tostring(k), 2)
  end
  if self.permits + k > self.max then
    error(("release: more permits than the maximum of %d"):format(self.max), 2)
  end
  local waiters = self.waiters
  while waiters.next ~= waiters and wake(waiters, true) do
    k = k - 1
    if k == 0 then
      return
    end
  end
  self.permits = self.permits + k
  if self.watchers then
    list.notify(self)
  end
end

--- Permits left.
---@return integer
function methods:count()
  return self.permits
end

--- Runs fn(...) with a permit and gives it back however fn ends. Returns fn's results. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function methods:with(fn, ...)
  list.check_callable(fn, "with")
  local ok, message, code = self:acquire()
  if not ok then
    return nil, message, code
  end
  return list.run(self, fn, ...)
end

function methods:_poll()
  return self.permits > 0
end

-- ---- For select ----

local Acquire = select.list_op(function(op)
  return op.semaphore:try_acquire(), true
end, function(op)
  return op.semaphore.waiters
end, function()
  return true
end)

--- The operation of taking a permit, for grun.select; its result is true.
---@return grun.op
function methods:op_acquire()
  return setmetatable({ semaphore = self }, Acquire)
end

function Semaphore:__tostring()
  return ("semaphore %d free, %d waiting"):format(self.permits, list.len(self.waiters))
end

local M = {}

--- A semaphore of n permits, never more than max (default: no limit).
---@param n integer
---@param max? integer
---@return grun.semaphore
function M.semaphore(n, max)
  if type(n) ~= "number" or n < 0 or n % 1 ~= 0 then
    error("semaphore: a whole number of permits, 0 or more, expected, got " .. tostring(n), 2)
  end
  local whole = type(max) == "number" and (max % 1 == 0 or max == math.huge)
  if max ~= nil and not (whole and max >= n and max >= 1) then
    local message = "semaphore: maximum of permits, 1 or more and not below n, expected, got "
    error(message .. tostring(max), 2)
  end
  local self = { permits = n, max = max or math.huge, waiters = list.new(), watchers = false }
  return setmetatable(self, Semaphore)
end

return M
