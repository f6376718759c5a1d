-- SPDX-License-Identifier: MIT
-- Choice: of several operations exactly one happens.
--
-- An operation is a table with
--   op:_try(passed_over)   does it if that needs no waiting: true and its results, else false
--   op:_enter(waiter)      registers the caller: returns a node in a list of grun.waitlist, whose
--                          wake-up is the operation happening; or true after a subscription, which
--                          makes _try be asked again; or nil, message, code, its results then
--   op:_leave(waiter, node)   undoes that; harmless when the operation happened
--   op:_back(node)         puts a node back that was passed over
--   op:_results(value)     the results from what the waker handed over
-- A pause has `seconds` instead of the last four. Operations hold no state, so that one may be in
-- several selects at once.
--
-- A waker passes over nodes of a thread that is on its way out of its wait. Should that thread have
-- to wait on after all, because it was woken for nothing, such nodes go back to their places.

local core = require("grun.core")
local list = require("grun.waitlist")
local waiters = require("grun.waiter")

local M = {}

local function check_ops(ops)
  if type(ops) ~= "table" then
    error("select: list of operations expected, got " .. type(ops), 3)
  elseif #ops == 0 then
    error("select: no operations", 3)
  end
  for i = 1, #ops do
    local op = ops[i]
    if type(op) ~= "table" or not op._try then
      error(("select: item %d is not an operation (a %s)"):format(i, type(op)), 3)
    end
  end
end

-- Whether a waker passed over the node of operation i.
local function passed_over(nodes, i)
  local node = nodes and nodes[i]
  return node and node ~= true and not node.prev
end

-- Tries the operations after the index, in order. Returns the index of the one that happened and
-- its results, or nil.
local function try(ops, nodes, index, happened, ...)
  if happened then
    return index, ...
  end
  index = index + 1
  local op = ops[index]
  if op then
    return try(ops, nodes, index, op:_try(passed_over(nodes, index)))
  end
end

-- The nearest pause among the operations: its time and its index.
local function nearest_pause(ops)
  local at, index = math.huge, nil
  for i = 1, #ops do
    if ops[i].seconds then
      local t = core.now() + ops[i].seconds
      if t < at then
        at, index = t, i
      end
    end
  end
  return at, index
end

-- ---- Waiting ----
-- A wait has ops, nodes (by the operations' indices), waiter, limit and pause, the index of the
-- operation that the limit belongs to.

local function leave(self)
  local ops, nodes = self.ops, self.nodes
  for i = 1, #ops do
    if nodes[i] then
      ops[i]:_leave(self.waiter, nodes[i])
    end
  end
end

-- Returns nil, or the index of an operation that cannot be waited for, and why.
local function enter(self)
  local ops, nodes = self.ops, self.nodes
  for i = 1, #ops do
    nodes[i] = false
    if ops[i]._enter then
      local node, message, code = ops[i]:_enter(self.waiter)
      if message then
        return i, message, code
      end
      nodes[i] = node
    end
  end
end

local function put_back(self)
  for i = 1, #self.ops do
    if passed_over(self.nodes, i) then
      self.ops[i]:_back(self.nodes[i])
    end
  end
end

-- The index of the operation that a waker carried out, and what it handed over.
local function fired(nodes)
  for i = 1, #nodes do
    local node = nodes[i]
    if node and node ~= true and node.fired then
      return i, node.value
    end
  end
end

local wait

-- After another try of the operations.
local function tried(self, result, ok, index, ...)
  if ok and not index and result == "ok" then
    put_back(self)
    self.waiter.n = 0
    return wait(self)
  end
  leave(self)
  if not ok then
    return error(index, 0)
  elseif index then
    return index, ...
  elseif self.pause then
    return self.pause
  end
  return nil, "timeout", "timeout"
end

function wait(self)
  local result = self.waiter:park("select", self.limit)
  local index, value = fired(self.nodes)
  if index then
    leave(self)
    return index, self.ops[index]:_results(value)
  elseif result == "raise" then
    leave(self)
    return core.check()
  end
  return tried(self, result, pcall(try, self.ops, self.nodes, 0))
end

-- After the first try.
local function begin(ops, limit, index, ...)
  if index then
    return index, ...
  elseif limit == 0 then
    return nil, "timeout", "timeout"
  end
  local at, pause = nearest_pause(ops)
  if at < (limit or math.huge) then
    limit = at
  else
    pause = nil
  end
  local self = { ops = {}, nodes = {}, waiter = waiters.new(), limit = limit, pause = pause }
  -- A copy, since the caller's list may be changed meanwhile.
  for i = 1, #ops do
    self.ops[i] = ops[i]
  end
  local failed, message, code = enter(self)
  if failed then
    leave(self)
    return failed, nil, message, code
  end
  return wait(self)
end

--- Waits until one of the operations can happen and lets exactly that one happen; of several that
--- can, the first in the list. Returns its index and its results; nil, "timeout", "timeout" after
--- `seconds`. Parks.
---@param ops grun.op[]
---@param seconds? number
---@return integer|nil, any ...
---@async
function M.select(ops, seconds)
  local limit = waiters.limit(seconds, "select")
  check_ops(ops)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  return begin(ops, limit, try(ops, nil, 0))
end

local Pause = {}
Pause.__index = Pause

function Pause._try()
  return false
end

--- An operation that happens after `seconds`.
---@param seconds number
---@return grun.op
function M.op_sleep(seconds)
  if type(seconds) ~= "number" or seconds < 0 or seconds ~= seconds then
    error("op_sleep: number of seconds, 0 or more, expected, got " .. tostring(seconds), 2)
  end
  return setmetatable({ seconds = seconds }, Pause)
end

-- ---- The two kinds of operations ----

--- A class of operations that wait in a list: `try` and `results` as above, `where(op)` gives the
--- list, op.put what the node carries.
function M.list_op(try_fn, where, results)
  local class = { _try = try_fn, _results = results }
  class.__index = class

  function class:_enter()
    local node = list.node()
    if self.put ~= nil then
      node.value = self.put
    end
    list.append(where(self), node)
    return node
  end

  function class:_back(node)
    list.prepend(where(self), node)
  end

  function class._leave(_, _, node)
    list.remove(node)
    list.free(node)
  end

  return class
end

--- A class of operations on op.obj, which grun.wait can wait for: `try` asks whether it is ready.
--- op.how, if given, is passed to the object's methods in place of the waiter.
function M.poll_op(try_fn)
  local class = { _try = try_fn }
  class.__index = class

  function class:_enter(waiter)
    local ok, message, code = self.obj:_subscribe(self.how or waiter)
    return not message and true or ok, message, code
  end

  function class:_leave(waiter)
    self.obj:_unsubscribe(self.how or waiter)
  end

  return class
end

return M
