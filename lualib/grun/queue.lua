-- SPDX-License-Identifier: MIT
-- Queues between threads: bounded or not, rendezvous, last-in first-out, by priority.
--
-- put and get are written for the JIT compiler: no varargs, closures or C calls unless they wait.
--
-- A value is in one of three places: stored, with a putter that waits for room, or handed to a
-- getter that was woken. Nobody waits to get while there is a value, nor to put while there is
-- room, so that who comes late cannot overtake.

local bit = require("bit")
local core = require("grun.core")
local list = require("grun.waitlist")
local select = require("grun.select")
local band = bit.band
local check_seconds, wait, remove, ready = list.check_seconds, list.wait, list.remove, core.ready
local wake, wake_now = list.wake, list.wake_now

-- What close() hands to those who wait.
local CLOSED = {}

-- Metatable of what a putter is handed whose value could not be stored: the error, in `err`.
local Refused = {}

-- A ring that has grown beyond this is given back when it runs empty.
local BIG_RING = 4096

--- A queue between threads; closing it ends those who read from it.
---@class grun.queue
local methods = {}
list.watchable(methods)

-- ---- Storage: one class per order, with _push, _pop and _peek ----

-- First-in first-out: a ring whose size is a power of two; the oldest item is at `head`.
local function grow(self)
  local old, head, mask = self.ring, self.head, self.mask
  local items = {}
  for i = 0, self.n - 1 do
    items[i] = old[band(head + i, mask)]
  end
  for i = self.n, 2 * mask + 1 do
    items[i] = false
  end
  self.ring, self.head, self.mask = items, 0, 2 * mask + 1
end

local function fifo_push(self, value)
  local n = self.n
  if n > self.mask then
    grow(self)
  end
  self.ring[band(self.head + n, self.mask)] = value
  self.n = n + 1
end

local function fifo_pop(self)
  local head, items = self.head, self.ring
  local value = items[head]
  items[head] = false
  local n, mask = self.n - 1, self.mask
  self.head = band(head + 1, mask)
  self.n = n
  if n == 0 and mask >= BIG_RING then
    self.ring, self.head, self.mask = { [0] = false }, 0, 0
  end
  return value
end

local function fifo_peek(self)
  return self.ring[self.head]
end

-- The other two use the ring as an array from 1 on; `mask` is the most it has held.
local function grown(self, n)
  if n > self.mask then
    self.mask = n
  end
  self.n = n
end

local function shrunk(self, n)
  self.n = n
  if n == 0 and self.mask >= BIG_RING then
    self.ring, self.mask = {}, 0
  end
end

local function lifo_push(self, value)
  local n = self.n + 1
  self.ring[n] = value
  grown(self, n)
end

local function lifo_pop(self)
  local n = self.n
  local value = self.ring[n]
  self.ring[n] = nil
  shrunk(self, n - 1)
  return value
end

local function lifo_peek(self)
  return self.ring[self.n]
end

-- Priority: a binary heap; among equals the order is as put, by a running number. When less()
-- raises the heap is as it was.
local function before(self, a, b)
  local less = self.less
  if less(a.value, b.value) then
    return true
  elseif less(b.value, a.value) then
    return false
  end
  return a.number < b.number
end

local function heap_push(self, value)
  local items, i = self.ring, self.n + 1
  local entry = { value = value, number = self.number }
  self.number = self.number + 1
  while i > 1 do
    local up = (i - i % 2) / 2
    if not before(self, entry, items[up]) then
      break
    end
    items[i] = items[up]
    i = up
  end
  items[i] = entry
  grown(self, self.n + 1)
end

-- Where an entry belongs if the root is taken out of the first n and all above it move up.
local function place_below_root(self, entry, n)
  local items, i = self.ring, 1
  while true do
    local down = 2 * i
    if down < n and before(self, items[down + 1], items[down]) then
      down = down + 1
    end
    if down > n or not before(self, items[down], entry) then
      return i
    end
    i = down
  end
end

local function heap_pop(self)
  local items, n = self.ring, self.n - 1
  local entry = items[n + 1]
  if n > 0 then
    local i = place_below_root(self, entry, n)
    while i > 0 do
      items[i], entry = entry, items[i]
      i = (i - i % 2) / 2
    end
  end
  items[n + 1] = nil
  shrunk(self, n)
  return entry.value
end

local function heap_peek(self)
  return self.ring[1].value
end

-- ---- Putting ----

-- What put returns once its value was taken, or cannot be any more.
local function putter_results(answer)
  if answer == true then
    return true
  elseif answer == CLOSED then
    return nil, "closed", "closed"
  end
  return error(answer.err, 0)
end

local function put_waiting(self, value, seconds)
  if self.watchers then
    list.notify(self)
  end
  local result, answer = wait(self.putters, "queue.put", seconds, value)
  if result == "ok" then
    return putter_results(answer)
  elseif result == "timeout" then
    return nil, "timeout", "timeout"
  end
  return core.check()
end

-- Hands the value to a waiting getter or stores it; false when there is no room.
local function accept(self, value)
  local getters = self.getters
  if getters.next ~= getters then
    self.unfinished = self.unfinished + 1
    if self.handoff and wake_now(getters, value) or not self.handoff and wake(getters, value) then
      return true
    end
    self.unfinished = self.unfinished - 1
  end
  if self.n < self.capacity then
    self:_push(value)
    self.unfinished = self.unfinished + 1
    if self.watchers then
      list.notify(self)
    end
    return true
  end
  return false
end

--- Puts a value, anything but nil, waiting for room. Returns true; nil, "timeout", "timeout" after
--- `seconds`; nil, "closed", "closed". Does not switch to a waiting getter, unless the queue was
--- made with handoff. Parks.
---@param value any
---@param seconds? number
---@return true|nil, string?, string?
---@async
function methods:put(value, seconds)
  if value == nil then
    error("put: nil cannot be put into a queue", 2)
  elseif seconds ~= nil then
    check_seconds(seconds, "put")
  end
  if self.closed then
    return nil, "closed", "closed"
  elseif accept(self, value) then
    return true
  end
  return put_waiting(self, value, seconds)
end

--- Puts a value if there is room. Returns true, or nil, "full", "full", or nil, "closed", "closed".
---@param value any
---@return true|nil, string?, string?
function methods:try_put(value)
  if value == nil then
    error("try_put: nil cannot be put into a queue", 2)
  elseif self.closed then
    return nil, "closed", "closed"
  elseif accept(self, value) then
    return true
  end
  return nil, "full", "full"
end

-- ---- Getting ----

-- The first putter that still waits is told that its value is taken. Returns the value and the
-- putter's node; nil when there is none.
local function from_putter(self)
  local putters = self.putters
  local node = putters.next
  if node == putters then
    return nil
  end
  local value = node.value
  remove(node)
  if ready(node.green, node.token) then
    self.unfinished = self.unfinished + 1
    node.value, node.fired = true, true
    return value, node
  end
  return from_putter(self)
end

-- Stores the value of the first waiting putter. When less() raises, that putter is to blame.
local function refill(self)
  local value, node = from_putter(self)
  if value == nil then
    return
  elseif not self.less then
    return self:_push(value)
  end
  local ok, err = pcall(self._push, self, value)
  if not ok then
    node.value = setmetatable({ err = err }, Refused)
    self.unfinished = self.unfinished - 1
    return refill(self)
  end
end

-- The next value, or nil: there is none.
local function take(self)
  local putters = self.putters
  if self.n > 0 then
    local value = self:_pop()
    if putters.next ~= putters then
      refill(self)
    end
    return value
  elseif putters.next ~= putters then
    return (from_putter(self))
  end
  return nil
end

local function get_waiting(self, seconds)
  if self.closed then
    return nil, "closed", "closed"
  end
  local result, value = wait(self.getters, "queue.get", seconds)
  if result == "ok" then
    if value == CLOSED then
      return nil, "closed", "closed"
    end
    return value
  elseif result == "timeout" then
    return nil, "timeout", "timeout"
  end
  return core.check()
end

--- Gets the next value, waiting for one. nil, "timeout", "timeout" after `seconds`; nil, "closed",
--- "closed" once the queue is closed and empty. Parks.
---@param seconds? number
---@return any|nil, string?, string?
---@async
function methods:get(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "get")
  end
  local value = take(self)
  if value ~= nil then
    return value
  end
  return get_waiting(self, seconds)
end

--- Gets the next value if there is one; nil, "empty", "empty" or nil, "closed", "closed" if not.
---@return any|nil, string?, string?
function methods:try_get()
  local value = take(self)
  if value ~= nil then
    return value
  elseif self.closed then
    return nil, "closed", "closed"
  end
  return nil, "empty", "empty"
end

--- The next value, which stays in the queue; nil if there is none.
---@return any|nil
function methods:peek()
  if self.n > 0 then
    return self:_peek()
  end
  local node = list.first(self.putters)
  if not node then
    return nil
  end
  return node.value
end

local function next_item(self)
  return (self:get())
end

--- Iterates over the values until the queue is closed and empty: for v in q:items() do … end. Each
--- step may park.
---@return fun(self: grun.queue): any
---@return grun.queue
---@async
function methods:items()
  return next_item, self
end

-- ---- State ----

--- Number of stored values.
---@return integer
function methods:len()
  return self.n
end

--- True if put would have to wait.
---@return boolean
function methods:full()
  return self.n >= self.capacity
end

--- True if nothing is stored; a thread may be waiting to put nevertheless.
---@return boolean
function methods:empty()
  return self.n == 0
end

--- No value can be put any more; getters get what is there, then nil, "closed", "closed". Threads
--- waiting to put or get are woken with that. Harmless when closed already. Never parks.
function methods:close()
  if self.closed then
    return
  end
  self.closed = true
  list.wake_all(self.getters, CLOSED)
  list.wake_all(self.putters, CLOSED)
  if self.watchers then
    list.notify(self)
  end
end

--- Says that a value got from the queue is dealt with. Raises when said more often than values were
--- put. Never parks.
function methods:task_done()
  local left = self.unfinished - 1
  if left < 0 then
    error("task_done: called more often than values were put", 2)
  end
  self.unfinished = left
  if left == 0 then
    list.wake_all(self.joiners, true)
  end
end

--- Waits until task_done was called for every value put. Returns true; nil, "timeout", "timeout"
--- after `seconds`. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function methods:join(seconds)
  if seconds ~= nil then
    check_seconds(seconds, "join")
  end
  if self.unfinished == 0 then
    return true
  end
  local result = wait(self.joiners, "queue.join", seconds)
  if result == "timeout" and self.unfinished == 0 then
    return true
  end
  return list.answer(result)
end

function methods:_poll()
  return self.n > 0 or self.closed or list.first(self.putters) ~= nil
end

-- ---- For select ----

local function got(_, value)
  if value == CLOSED then
    return nil, "closed", "closed"
  end
  return value
end

local Get = select.list_op(function(op)
  local value = take(op.queue)
  if value ~= nil then
    return true, value
  elseif op.queue.closed then
    return true, nil, "closed", "closed"
  end
  return false
end, function(op)
  return op.queue.getters
end, got)

--- The operation of getting a value, for grun.select; its results are those of get().
---@return grun.op
function methods:op_get()
  return setmetatable({ queue = self }, Get)
end

local Put = select.list_op(function(op)
  if op.queue.closed then
    return true, nil, "closed", "closed"
  end
  return accept(op.queue, op.put), true
end, function(op)
  if op.queue.watchers then
    list.notify(op.queue)
  end
  return op.queue.putters
end, function(_, answer)
  return putter_results(answer)
end)

--- The operation of putting a value, for grun.select; its results are those of put().
---@param value any
---@return grun.op
function methods:op_put(value)
  if value == nil then
    error("op_put: nil cannot be put into a queue", 2)
  end
  return setmetatable({ queue = self, put = value }, Put)
end

local function describe(self)
  return ("queue %d of %s%s, %d getting, %d putting"):format(self.n, tostring(self.capacity),
    self.closed and ", closed" or "", list.len(self.getters), list.len(self.putters))
end

-- ---- Construction ----

local function class(push, pop, peek)
  local own = { _push = push, _pop = pop, _peek = peek }
  -- Copied, not inherited: one table look-up less on the hot path.
  for key, fn in pairs(methods) do
    own[key] = fn
  end
  return { __index = own, __name = "grun.queue", __tostring = describe }
end

local classes = {
  fifo = class(fifo_push, fifo_pop, fifo_peek),
  lifo = class(lifo_push, lifo_pop, lifo_peek),
  priority = class(heap_push, heap_pop, heap_peek),
}

local function natural(a, b)
  return a < b
end

local options = { capacity = true, order = true, less = true, handoff = true }

local function check_options(opts)
  for name in pairs(opts) do
    if not options[name] then
      error("queue: unknown option '" .. tostring(name) .. "'", 3)
    end
  end
  local capacity, order, less = opts.capacity, opts.order or "fifo", opts.less
  local whole = type(capacity) == "number" and capacity >= 0 and capacity % 1 == 0
  if capacity ~= nil and not whole and capacity ~= math.huge then
    error("queue: capacity must be a whole number, 0 or more, got " .. tostring(capacity), 3)
  elseif not classes[order] then
    error("queue: order must be fifo, lifo or priority, got " .. tostring(order), 3)
  elseif less ~= nil and (type(less) ~= "function" or order ~= "priority") then
    error("queue: less must be a function, of a priority queue, got " .. tostring(less), 3)
  end
  return capacity or math.huge, order, order == "priority" and (less or natural)
end

local M = {}

--- A queue. `opts`: its capacity (nil: unbounded, 0: rendezvous), or a table with capacity, order
--- ("fifo", "lifo", "priority": least first), less(a, b) for priorities, handoff (put switches to
--- a waiting getter at once).
---@param opts? integer|grun.queue.options
---@return grun.queue
function M.queue(opts)
  if type(opts) ~= "table" then
    opts = { capacity = opts }
  end
  local capacity, order, less = check_options(opts)
  return setmetatable({
    capacity = capacity, n = 0, head = 0, mask = 0, ring = { [0] = false }, number = 0,
    less = less, handoff = opts.handoff and true or false, closed = false, unfinished = 0,
    getters = list.new(), putters = list.new(), joiners = list.new(), watchers = false,
  }, classes[order])
end

return M
