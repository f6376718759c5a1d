-- SPDX-License-Identifier: MIT
-- Events: a flag that threads wait for.

local list = require("grun.waitlist")
local select = require("grun.select")
local check_seconds, wait, wake_all = list.check_seconds, list.wait, list.wake_all

--- A flag that threads wait for.
---@class grun.event
local methods = {}
local Event = { __index = methods, __name = "grun.event" }

list.watchable(methods)
methods._sticky = true

--- Sets the flag and wakes everybody who waits. Never parks.
function methods:set()
  self.flag = true
  self.sets = self.sets + 1
  if self.waiters.next ~= self.waiters then
    wake_all(self.waiters, true)
  end
  if self.watchers then
    list.notify(self)
  end
end

--- Clears the flag. Never parks.
function methods:clear()
  self.flag = false
end

--- True while the flag is set.
---@return boolean
function methods:is_set()
  return self.flag
end

--- Waits until the flag is set. Returns true if it was set at any time while waiting, even when
--- cleared again since; nil, "timeout", "timeout" after `seconds`. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function methods:wait(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "wait")
  end
  if self.flag then
    return true
  end
  local sets = self.sets
  local result = wait(self.waiters, "event.wait", seconds)
  -- It may have been set after the time was up, before this thread ran.
  if result == "timeout" and self.sets ~= sets then
    return true
  end
  return list.answer(result)
end

function methods:_poll()
  return self.flag
end

-- ---- For select ----

local Wait = select.list_op(function(op, passed_over)
  return op.event.flag or passed_over, true
end, function(op)
  return op.event.waiters
end, function()
  return true
end)

--- The operation of waiting for the flag, for grun.select; its result is true.
---@return grun.op
function methods:op_wait()
  return setmetatable({ event = self }, Wait)
end

function Event:__tostring()
  return ("event %s, %d waiting"):format(self.flag and "set" or "clear", list.len(self.waiters))
end

local M = {}

--- A new event, not set.
---@return grun.event
function M.event()
  return setmetatable({ flag = false, sets = 0, waiters = list.new(), watchers = false }, Event)
end

return M
