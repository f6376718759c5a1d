-- SPDX-License-Identifier: MIT
-- What a thread leaves at the things it waits for.
--
-- Anything can be waited for that has three methods, none of which may wait:
--   obj:_poll()               true when ready now
--   obj:_subscribe(waiter)    obj calls waiter:notify(obj) when it becomes ready, or too often
--   obj:_unsubscribe(waiter)  undoes that; harmless when obj has forgotten the waiter
-- Of objects with _sticky = true a notify is enough, whatever _poll says when the thread runs.
-- Objects that cannot call notify (sockets wake the subscribed thread itself) set _polled = true:
-- they are subscribed to only while parked and asked with _poll after every wake-up. Their
-- _subscribe returns true, or nil, message, code.

local core = require("grun.core")
local park, ready, check, now, green = core.park, core.ready, core.check, core.now, core.self

local Waiter = {}
Waiter.__index = Waiter

local M = {}

--- A waiter for whichever thread parks with it.
function M.new()
  return setmetatable({ green = false, parked = false, n = 0 }, Waiter)
end

function Waiter:notify(obj)
  local n = self.n + 1
  self.n = n
  self[n] = obj
  if self.parked then
    ready(self.green)
  end
end

--- Parks until notified or until the time `limit` (nil: for ever). Returns "ok", "timeout" or
--- "raise" as core.park.
function Waiter:park(what, limit)
  local left
  if limit then
    left = limit - now()
    if left < 0 then
      left = 0
    end
  end
  -- Called as park is: when the Lua stack is full, this raises first and leaves nothing behind.
  self.green = green(what, left)
  self.parked = true
  local result = park(what, left)
  self.parked = false
  return result
end

--- Checks an optional timeout argument; returns the time it ends, or nil. `level` as for error().
function M.limit(seconds, name, level)
  if seconds == nil then
    return nil
  end
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    local message = ": timeout must be a number of seconds, 0 or more, got "
    error(name .. message .. tostring(seconds), (level or 1) + 2)
  end
  return seconds == 0 and 0 or now() + seconds
end

--- Waits for one object. Returns true, or nil, "timeout", "timeout"; raises when the thread is
--- cancelled.
function M.wait_one(obj, what, limit)
  if limit == 0 then
    return nil, "timeout", "timeout"
  end
  local waiter = M.new()
  local result
  obj:_subscribe(waiter)
  repeat
    result = waiter:park(what, limit)
  until result ~= "ok" or obj:_poll()
  obj:_unsubscribe(waiter)
  if result == "raise" then
    return check()
  elseif result == "timeout" and not obj:_poll() then
    return nil, "timeout", "timeout"
  end
  return true
end

return M
