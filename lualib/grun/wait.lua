-- SPDX-License-Identifier: MIT
-- Waiting for many things at once. What an object needs for it is said in grun/waiter.lua.

local core = require("grun.core")
local thread = require("grun.thread")
local waiters = require("grun.waiter")

local M = {}

local function check_list(list, name, metatable)
  if type(list) ~= "table" then
    error(name .. ": list expected, got " .. type(list), 3)
  end
  for i = 1, #list do
    local obj = list[i]
    local kind = type(obj)
    if (kind ~= "table" and kind ~= "userdata") or not obj._subscribe then
      error(name .. ": item " .. i .. " cannot be waited for (a " .. kind .. ")", 3)
    elseif metatable and getmetatable(obj) ~= metatable then
      error(name .. ": item " .. i .. " is not a thread", 3)
    end
  end
end

-- The state of one wait: `pending` objects with a subscription, `order` those that became ready, in
-- that order.
local Set = {}
Set.__index = Set

local function new_set(list)
  local set, seen = { waiter = waiters.new(), pending = {}, left = 0, order = {}, polled = {} }, {}
  for i = 1, #list do
    local obj = list[i]
    if seen[obj] then -- luacheck: ignore
    elseif obj:_poll() then
      set.order[#set.order + 1] = obj
    else
      set.pending[obj] = true
      set.left = set.left + 1
      if obj._polled then
        set.polled[#set.polled + 1] = obj
      end
    end
    seen[obj] = true
  end
  return setmetatable(set, Set)
end

function Set:subscribe()
  self.subscribed = true
  for obj in pairs(self.pending) do
    if not obj._polled then
      obj:_subscribe(self.waiter)
    end
  end
end

function Set:close()
  if self.subscribed then
    for obj in pairs(self.pending) do
      obj:_unsubscribe(self.waiter)
    end
    self.subscribed = false
  end
end

function Set:take(obj)
  if self.pending[obj] and (obj._sticky or obj:_poll()) then
    obj:_unsubscribe(self.waiter)
    self.pending[obj] = nil
    self.left = self.left - 1
    self.order[#self.order + 1] = obj
  end
end

function Set:collect()
  local waiter = self.waiter
  for i = 1, waiter.n do
    local obj = waiter[i]
    waiter[i] = nil
    self:take(obj)
  end
  waiter.n = 0
  for _, obj in ipairs(self.polled) do
    self:take(obj)
  end
end

function Set:enter_polled()
  for _, obj in ipairs(self.polled) do
    if self.pending[obj] then
      local ok, message, code = obj:_subscribe(self.waiter)
      if not ok then
        return nil, message, code
      end
    end
  end
  return true
end

-- Returns what waiter:park does, or nil, message, code of an object that cannot be waited for now.
function Set:park(limit)
  local ok, message, code = self:enter_polled()
  local result = ok and self.waiter:park("wait", limit)
  for _, obj in ipairs(self.polled) do
    obj:_unsubscribe(self.waiter)
  end
  return result, message, code
end

-- Waits until `count` objects are ready. Returns "ok", "timeout" or "raise", or nil, message, code.
-- The subscriptions to objects that notify stay.
function Set:wait(count, limit)
  if not self.subscribed and self.left > 0 and #self.order < count then
    self:subscribe()
  end
  self:collect()
  while #self.order < count and self.left > 0 do
    if limit == 0 then
      return "timeout"
    end
    local result, message, code = self:park(limit)
    self:collect()
    if result ~= "ok" then
      return result, message, code
    end
  end
  return "ok"
end

local function check_count(count, name)
  if count ~= nil and (type(count) ~= "number" or count ~= count) then
    error(name .. ": count must be a number, got " .. tostring(count), 3)
  end
  return count or math.huge
end

--- Waits until `count` (default: all) of the objects are ready, at most `seconds`. Returns the
--- ready ones in the order in which they became ready; after the timeout those so far. nil,
--- message, "busy" when another thread reads from one of the sockets. Parks.
---@async
function M.wait(list, seconds, count)
  local limit = waiters.limit(seconds, "wait")
  check_list(list, "wait")
  count = check_count(count, "wait")
  local set = new_set(list)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  local result
  result, message, code = set:wait(count, limit)
  set:close()
  if result == "raise" then
    return core.check()
  elseif not result then
    return nil, message, code
  end
  return set.order
end

--- Iterates over the objects as they become ready; ends when all were or `seconds` have passed.
--- Each step may park.
---@async
function M.iwait(list, seconds)
  local limit = waiters.limit(seconds, "iwait")
  check_list(list, "iwait")
  local set, n = new_set(list), 0
  return function()
    core.check()
    n = n + 1
    local result, message = set:wait(n, limit)
    if result ~= "ok" or set.left == 0 then
      set:close()
    end
    if result == "raise" then
      core.check()
    elseif not result then
      error("iwait: " .. message, 2)
    end
    return set.order[n]
  end
end

--- Waits for the end of all threads of the list. opts: timeout (seconds), count (so many are
--- enough), raise (true: raise the error of the first that failed, as soon as it did). Returns the
--- ended ones in the order of their ends. Parks.
---@async
function M.joinall(list, opts)
  opts = opts or {}
  if type(opts) ~= "table" then
    error("joinall: table of options expected, got " .. type(opts), 2)
  end
  waiters.limit(opts.timeout, "joinall")
  local ended, count = {}, check_count(opts.count, "joinall")
  check_list(list, "joinall", core.thread)
  if not opts.raise then
    return M.wait(list, opts.timeout, count)
  elseif count <= 0 then
    return ended
  end
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  for t in M.iwait(list, opts.timeout) do
    if not t:successful() then
      thread.adopt(t, core.current())
      error(t.error, 0)
    end
    ended[#ended + 1] = t
    if #ended >= count then
      break
    end
  end
  return ended
end

--- Cancels all threads of the list, then waits for their ends. Returns true, or nil, "timeout",
--- "timeout". Parks.
---@async
function M.killall(list, seconds)
  local limit = waiters.limit(seconds, "killall")
  check_list(list, "killall", core.thread)
  local others, self, me = {}, core.current(), false
  for _, t in ipairs(list) do
    t:cancel("killed")
    if t == self then
      me = true
    else
      others[#others + 1] = t
    end
  end
  if me then
    return core.check()
  end
  local ended, message, code = M.wait(others, limit and math.max(0, limit - core.now()))
  if not ended then
    return nil, message, code
  end
  for _, t in ipairs(others) do
    if not t:_poll() then
      return nil, "timeout", "timeout"
    end
  end
  return true
end

return M
