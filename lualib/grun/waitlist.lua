-- SPDX-License-Identifier: MIT
-- First-in first-out lists of parked threads: what every synchronisation object is made of.
--
-- A list is a ring of nodes through `next` and `prev` with the list itself as its seat. Who wakes a
-- thread takes its node out; who stops waiting for another reason takes its own node out. A thread
-- that was woken by its timeout or a cancel, but has not run yet, is still in the list: core.ready
-- then returns false and the next one is tried, so nothing is ever handed to a thread that left.
-- The same goes for a node that an error left behind: its token is not what its thread parks with.

local core = require("grun.core")
local park, ready, handoff, green = core.park, core.ready, core.handoff, core.self
local state = core.state

local M = {}

-- Nodes that nobody uses, linked through `next`: a wait allocates nothing. So many are kept.
local MAX_SPARE = 1000
local spare, spares = nil, 0

--- A new empty list.
function M.new()
  local list = { green = false, value = false, fired = false }
  list.next, list.prev = list, list
  return list
end

--- A node for the current thread, in no list.
function M.node()
  local node = spare
  if node then
    spare, spares = node.next, spares - 1
    node.next = false
  else
    node = { green = false, value = false, fired = false, token = false }
    node.next, node.prev = false, false
  end
  node.green = green()
  return node
end

--- Gives a node back that is in no list.
function M.free(node)
  node.value, node.fired, node.prev, node.green = false, false, false, false
  node.token = false
  if spares < MAX_SPARE then
    node.next = spare
    spare, spares = node, spares + 1
  end
end

function M.append(list, node)
  local last = list.prev
  node.prev, node.next = last, list
  last.next, list.prev = node, node
end

--- Puts a node before all others: one that was passed over, back to its place.
function M.prepend(list, node)
  M.append(list.next, node)
end

--- Takes a node out of its list; nothing when it is in none.
function M.remove(node)
  local nxt, prev = node.next, node.prev
  if prev then
    prev.next, nxt.prev = nxt, prev
    node.next, node.prev = false, false
  end
end
local remove = M.remove

function M.empty(list)
  return list.next == list
end

--- Number of waiting threads.
function M.len(list)
  local n, node = 0, list.next
  while node ~= list do
    n, node = n + 1, node.next
  end
  return n
end

-- Passing over nodes of leaving threads is rare. It is done by tail calls, since a loop that nearly
-- always ends in its first round cannot be compiled.

--- Wakes the first thread that still waits and hands it the value. Returns whether there was one.
function M.wake(list, value)
  local node = list.next
  if node == list then
    return false
  end
  remove(node)
  if ready(node.green, node.token) then
    node.value, node.fired = value, true
    return true
  end
  return M.wake(list, value)
end
local wake = M.wake

--- The same, and runs it at once, before the caller goes on.
function M.wake_now(list, value)
  local node = list.next
  if node == list then
    return false
  end
  remove(node)
  node.value, node.fired = value, true
  if handoff(node.green, node.token) then
    return true
  end
  node.value, node.fired = false, false
  return M.wake_now(list, value)
end

--- Wakes all.
function M.wake_all(list, value)
  if wake(list, value) and list.next ~= list then
    return M.wake_all(list, value)
  end
end

--- The first node whose thread still waits, without waking it; nil when there is none.
function M.first(list)
  local node = list.next
  while node ~= list and state(node.green) ~= "waiting" do
    node = node.next
  end
  return node ~= list and node or nil
end

--- Waits in the list, at most `seconds`. Returns "ok" and the value handed over, or "timeout", or
--- "raise": then the caller undoes what it has to and calls core.check().
function M.wait(list, what, seconds, value)
  local node = M.node()
  node.value, node.token = value, node
  M.append(list, node)
  local result = park(what, seconds, node)
  remove(node)
  value = node.value
  M.free(node)
  return result, value
end

--- What a method returns after a wait that ended like this: true, or nil, "timeout", "timeout"; or
--- raises what ended it.
function M.answer(result)
  if result == "ok" then
    return true
  elseif result == "timeout" then
    return nil, "timeout", "timeout"
  end
  return core.check()
end

local function release(self, ok, ...)
  self:release()
  if ok then
    return ...
  end
  return error((...), 0)
end

--- Runs fn(...) and calls self:release() however fn ends. Returns fn's results.
function M.run(self, fn, ...)
  return release(self, xpcall(fn, core.traceback, ...))
end

--- Objects that grun.wait can wait for: adds _subscribe and _unsubscribe to the methods. The object
--- calls M.notify(self) when it becomes ready.
function M.watchable(methods)
  function methods:_subscribe(waiter)
    local watchers = self.watchers
    if not watchers then
      watchers = {}
      self.watchers = watchers
    end
    watchers[#watchers + 1] = waiter
  end

  function methods:_unsubscribe(waiter)
    local watchers = self.watchers
    if not watchers then
      return
    end
    for i = #watchers, 1, -1 do
      if watchers[i] == waiter then
        table.remove(watchers, i)
        break
      end
    end
    if #watchers == 0 then
      self.watchers = false
    end
  end
end

--- Tells those who wait with grun.wait. Cheap to ask first: `if self.watchers then`.
function M.notify(obj)
  local watchers = obj.watchers
  for i = 1, #watchers do
    watchers[i]:notify(obj)
  end
end

--- Checks the function argument of a method; `name` is the method's.
function M.check_callable(fn, name)
  if type(fn) ~= "function" and not (debug.getmetatable(fn) or {}).__call then
    error(name .. ": function expected, got " .. type(fn), 3)
  end
end

--- Checks an optional timeout argument; `name` is the function's.
function M.check_seconds(seconds, name)
  if seconds ~= nil and (type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds) then
    local message = ": timeout must be a number of seconds, 0 or more, got "
    error(name .. message .. tostring(seconds), 3)
  end
end

return M
