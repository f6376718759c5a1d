-- SPDX-License-Identifier: MIT
-- Results: one outcome, values or an error, for any number of threads to wait for.

local core = require("grun.core")
local list = require("grun.waitlist")

--- An outcome that comes later: values or an error, set once.
---@class grun.result
local methods = {}
local Result = { __index = methods, __name = "grun.result" }

list.watchable(methods)

local function settle(self, state)
  if self.state then
    error("a result can be set only once", 3)
  end
  self.state = state
  list.wake_all(self.waiters, true)
  if self.watchers then
    list.notify(self)
  end
end

--- Sets the values. Raises when it was set before. Never parks.
---@param ... any
function methods:set(...)
  settle(self, "set")
  self.n = select("#", ...)
  self.values = { ... }
end

--- Makes every get() raise `err`, any value. Raises when it was set before. Never parks.
---@param err any
function methods:fail(err)
  settle(self, "failed")
  self.err = err
end

--- True once set or failed.
---@return boolean
function methods:ready()
  return self.state ~= false
end

--- Waits for the outcome: returns the values or raises the error; nil, "timeout", "timeout" after
--- `seconds`. Parks.
---@param seconds? number
---@return any ...
---@async
function methods:get(seconds)
  if seconds ~= nil then
    list.check_seconds(seconds, "get")
  end
  if not self.state then
    local result = list.wait(self.waiters, "result.get", seconds)
    if result == "raise" then
      return core.check()
    elseif not self.state then
      return nil, "timeout", "timeout"
    end
  end
  if self.state == "failed" then
    error(self.err, 0)
  end
  return unpack(self.values, 1, self.n)
end

function methods:_poll()
  return self.state ~= false
end

function Result:__tostring()
  return ("result %s, %d waiting"):format(self.state or "pending", list.len(self.waiters))
end

local M = {}

--- A new result without an outcome.
---@return grun.result
function M.result()
  return setmetatable({ state = false, waiters = list.new(), watchers = false }, Result)
end

return M
