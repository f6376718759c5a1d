-- SPDX-License-Identifier: MIT
-- Random programs over everything that synchronises threads, against a model of what must hold.
--
-- A round makes some objects and some threads that do random steps with them: put, get, wait, hold
-- a lock and do more steps, select, cancel each other, run into timeouts and deadlines. What each
-- call reports is compared with the model at once, and all that must balance at the end. The same
-- seed makes the same program; where it waits for the clock its course may differ a little.

local grun = require("grun")
local select_module = require("grun.select")

local M = {}

local THREADS, MAX_DEPTH = 8, 3
local TINY = { 0, 0, 1e-6, 1e-5, 1e-4 } -- seconds

local Round = {}
Round.__index = Round

local function prng(seed)
  local state = seed % 2147483646 + 1
  local function random(n)
    state = state * 16807 % 2147483647
    return math.floor(state / 2147483647 * n) + 1
  end
  for _ = 1, 3 do
    random(1)
  end
  return random
end

local function check(ok, format, ...)
  if not ok then
    error("fuzz: " .. format:format(...), 2)
  end
end

-- Logical time: stamps of the beginnings and ends of calls.
function Round:tick()
  self.now = self.now + 1
  return self.now
end

function Round:pick(list)
  return list[self.random(#list)]
end

-- A thread behind a shield cannot be rescued, so it must not wait for ever.
function Round:seconds()
  if self.shielded[grun.current()] or self.random(4) > 1 then
    return self:pick(TINY)
  end
end

-- Calls fn(...), runs after(true, results…) or after(false), and lets an error pass on.
local function settle(after, ok, ...)
  if not ok then
    after(false)
    return error((...), 0)
  end
  return after(true, ...)
end

local function attempt(after, fn, ...)
  return settle(after, pcall(fn, ...))
end

-- ---- Queues: every item put is got once, or is still there, or its put failed ----

local function new_queues()
  local function by_key(a, b)
    return a % 10 < b % 10
  end
  local all = {}
  for name, opts in pairs({
    unbounded = {}, bounded = { capacity = 2 }, one = { capacity = 1 },
    rendezvous = { capacity = 0 }, meeting = { capacity = 0, handoff = true },
    lifo = { order = "lifo", capacity = 3 }, handoff = { capacity = 1, handoff = true },
    priority = { order = "priority", capacity = 3, less = by_key },
  }) do
    all[#all + 1] = {
      name = name, q = grun.queue(opts), capacity = opts.capacity or math.huge,
      fifo = not opts.order, items = {}, closed = false,
    }
  end
  table.sort(all, function(a, b)
    return a.name < b.name
  end)
  return all
end

function Round:new_item(queue)
  self.ids = self.ids + 1
  local item = { id = self.ids, queue = queue, state = "putting", put_start = self:tick() }
  self.items[item.id] = item
  queue.items[#queue.items + 1] = item
  return item
end

function Round:was_put(item, ok, why)
  item.put_end = self:tick()
  if ok then
    check(ok == true, "put returned %s", tostring(ok))
    item.state = "put"
  else
    check(not item.got, "%s: the put of item %d failed (%s) but it was got", item.queue.name,
      item.id, tostring(why))
    item.state = "failed"
  end
end

function Round:was_got(queue, id, start)
  local item = self.items[id]
  check(item and item.queue == queue, "%s: got %s, which was never put", queue.name, tostring(id))
  check(not item.got, "%s: got item %d twice", queue.name, id)
  check(item.state ~= "failed", "%s: got item %d, whose put failed", queue.name, id)
  item.got, item.get_start, item.get_end = true, start, self:tick()
end

local function check_reason(queue, why)
  check(why == "timeout" or why == "full" or why == "empty" or why == "closed" and queue.closed,
    "%s failed with %s", queue.name, tostring(why))
end

local function check_queue(queue)
  local n = queue.q:len()
  check(n >= 0 and n <= queue.capacity, "%s: %d items", queue.name, n)
  check(queue.q:empty() == (n == 0) and queue.q:full() == (n >= queue.capacity), "full or empty")
end

-- Of two items the one that was put earlier must not be got later, as far as the calls did not
-- overlap in time.
local function check_order(queue)
  local items = {}
  for _, item in ipairs(queue.items) do
    if item.state == "put" then
      items[#items + 1] = item
    end
  end
  table.sort(items, function(a, b)
    return a.get_end < b.get_end
  end)
  -- Backwards: the latest beginning of a put among the items got before.
  local latest, by = {}, nil
  for i, item in ipairs(items) do
    latest[i] = by
    if not by or item.put_start > by.put_start then
      by = item
    end
  end
  for i, item in ipairs(items) do
    -- Only those whose get ended before this one's began count.
    local j = i
    while j > 1 and items[j - 1].get_end > item.get_start do
      j = j - 1
    end
    local before = latest[j]
    check(not before or item.put_end > before.put_start,
      "%s: item %d was put before %d and got after", queue.name, item.id, before and before.id or 0)
  end
end

function Round:check_queue_at_end(queue)
  check(tostring(queue.q):find("0 getting, 0 putting", 1, true), "%s is left as %s", queue.name,
    tostring(queue.q))
  while true do
    local start, id = self:tick(), queue.q:try_get()
    if not id then
      break
    end
    self:was_got(queue, id, start)
  end
  for _, item in ipairs(queue.items) do
    check(item.state ~= "putting", "%s: put of item %d never ended", queue.name, item.id)
    check(item.state == "failed" or item.got, "%s: item %d was lost", queue.name, item.id)
    if item.state == "put" then
      queue.q:task_done()
    end
  end
  check(queue.q:join(0), "%s: not all done", queue.name)
  check(not pcall(queue.q.task_done, queue.q), "%s: done too often", queue.name)
  if queue.fifo then
    check_order(queue)
  end
end

-- ---- Steps ----

local steps = {}

local function step(weight, fn)
  for _ = 1, weight do
    steps[#steps + 1] = fn
  end
end

step(6, function(self)
  local queue = self:pick(self.queues)
  local item, method = self:new_item(queue), self:pick({ "put", "put", "try_put" })
  attempt(function(returned, ok, why)
    self:was_put(item, returned and ok, why)
    if returned and not ok then
      check_reason(queue, why)
    end
  end, queue.q[method], queue.q, item.id, method == "put" and self:seconds() or nil)
  check_queue(queue)
end)

step(6, function(self)
  local queue, start = self:pick(self.queues), self:tick()
  local method = self:pick({ "get", "get", "try_get" })
  attempt(function(returned, id, why)
    if returned and id then
      self:was_got(queue, id, start)
    elseif returned then
      check_reason(queue, why)
    end
  end, queue.q[method], queue.q, method == "get" and self:seconds() or nil)
  check_queue(queue)
end)

step(1, function(self)
  if self.random(40) == 1 then
    local queue = self:pick(self.queues)
    queue.closed = true
    queue.q:close()
  end
end)

-- Events: wait is true if and only if the flag was set at some time during the call.

step(3, function(self)
  local event = self:pick(self.events)
  local set, sets = event.e:is_set(), event.sets
  attempt(function(returned, ok)
    if returned then
      check((ok == true) == (set or event.sets ~= sets), "event.wait returned %s", tostring(ok))
    end
  end, event.e.wait, event.e, self:seconds())
end)

step(3, function(self)
  local event, how = self:pick(self.events), self.random(4)
  if how > 1 then
    event.e:set()
    event.sets = event.sets + 1
  end
  if how < 4 then
    event.e:clear()
  end
end)

-- Semaphores, locks and reader-writer locks: never more inside than there may be.

function Round:more_steps()
  for _ = 1, self.random(3) - 1 do
    self:step()
  end
end

-- Runs some steps between enter and leave, which is called however they end.
function Round:inside(leave)
  local ok, err = pcall(self.more_steps, self)
  leave()
  if not ok then
    error(err, 0)
  end
end

function Round:hold_permit(semaphore)
  semaphore.held = semaphore.held + 1
  check(semaphore.held <= semaphore.n, "%d hold %d permits", semaphore.held, semaphore.n)
  self:inside(function()
    semaphore.held = semaphore.held - 1
    semaphore.s:release()
  end)
end

step(3, function(self)
  local semaphore = self:pick(self.semaphores)
  local method = self:pick({ "acquire", "acquire", "try_acquire" })
  local got = semaphore.s[method](semaphore.s, method == "acquire" and self:seconds() or nil)
  if got then
    self:hold_permit(semaphore)
  end
end)

step(3, function(self)
  local lock = self:pick(self.locks)
  local me = grun.current()
  local mine = lock.l:owner() == me
  if mine and not lock.reentrant or not lock.l:acquire(self:seconds()) then
    return
  end
  check(lock.l:owner() == me and (mine or not lock.holder), "two hold a lock")
  lock.holder = me
  self:inside(function()
    check(lock.l:owner() == me, "a lock was lost")
    if not mine then
      lock.holder = nil
    end
    lock.l:release()
  end)
end)

step(2, function(self)
  local rw, me = self.rw, grun.current()
  if self.shielded[me] or rw.inside[me] then
    return
  end
  local writes = self.random(3) == 1
  rw.lock[writes and "write" or "read"](rw.lock, function()
    check(not rw.writing and (not writes or rw.readers == 0), "a writer is not alone")
    rw.inside[me], rw.writing = true, writes
    rw.readers = rw.readers + (writes and 0 or 1)
    self:inside(function()
      rw.inside[me] = nil
      rw.readers = rw.readers - (writes and 0 or 1)
      rw.writing = false
    end)
  end)
end)

step(2, function(self)
  local condition = self.condition
  local me, l = grun.current(), condition.lock
  if self.shielded[me] or l:owner() == me or not l:acquire(self:seconds()) then
    return
  end
  attempt(function(returned, ...)
    check(l:owner() == me, "condition.wait came back without the lock")
    l:release()
    return returned, ...
  end, function()
    if self.random(2) == 1 then
      condition:notify(self.random(3))
    else
      condition:wait(self:seconds())
    end
  end)
end)

step(2, function(self)
  if not self.shielded[grun.current()] then
    self.barrier:wait(self:seconds())
  end
end)

-- Time.

step(2, function()
  grun.yield()
end)

step(1, function(self)
  grun.sleep(self:pick(TINY))
end)

step(2, function(self)
  grun.timeout(self:pick(TINY), self.more_steps, self)
end)

step(1, function(self)
  local me = grun.current()
  local before = self.shielded[me]
  self.shielded[me] = true
  local ok, err = pcall(grun.shield, self.more_steps, self)
  self.shielded[me] = before
  if not ok then
    error(err, 0)
  end
end)

-- Other threads.

step(1, function(self)
  local t = self:pick(self.threads)
  if self.random(4) == 1 and t ~= grun.current() then
    t:cancel()
  end
end)

step(1, function(self)
  local t = self:pick(self.threads)
  if t ~= grun.current() then
    t:join(self:pick(TINY))
  end
end)

step(1, function(self)
  local list = { self:pick(self.queues).q, self:pick(self.events).e, self:pick(self.semaphores).s,
    self:pick(self.threads) }
  for _, obj in ipairs(grun.wait(list, self:pick(TINY), self.random(4))) do
    check(obj == list[1] or obj == list[2] or obj == list[3] or obj == list[4], "wait")
  end
end)

step(2, function(self)
  self.decoy:notify()
end)

-- Select: one operation happens, the others do not.

local choices = {
  function(self)
    local queue = self:pick(self.queues)
    local item = self:new_item(queue)
    return queue.q:op_put(item.id), function(happened, ok, why)
      self:was_put(item, happened and ok, why)
    end
  end,
  function(self)
    local queue, start = self:pick(self.queues), self:tick()
    return queue.q:op_get(), function(happened, id, why)
      if happened and id then
        self:was_got(queue, id, start)
      elseif happened then
        check(why == "closed" and queue.closed, "select: get failed with %s", tostring(why))
      end
    end
  end,
  function(self)
    local semaphore = self:pick(self.semaphores)
    return semaphore.s:op_acquire(), function(happened)
      if happened then
        self:hold_permit(semaphore)
      end
    end
  end,
  function(self)
    local event = self:pick(self.events)
    local set, sets = event.e:is_set(), event.sets
    return event.e:op_wait(), function(happened, _, _, index)
      local was_set = set or event.sets ~= sets
      check(not happened or was_set, "select: event was not set")
      check(index ~= "timeout" or not was_set, "select: event was missed")
    end
  end,
  function(self)
    local t = self:pick(self.threads)
    return t ~= grun.current() and t:op_join() or grun.op_sleep(1e-6), function() end
  end,
  function(self)
    return self.decoy.op, function(happened)
      check(not happened, "select: the decoy happened")
    end
  end,
  function(self)
    return grun.op_sleep(self:pick(TINY)), function() end
  end,
}

step(8, function(self)
  local ops, afters = {}, {}
  for i = 1, self.random(4) do
    ops[i], afters[i] = self:pick(choices)(self)
  end
  attempt(function(returned, index, ...)
    if not returned then
      index = "raised"
    elseif not index then
      index = ...
      check(index == "timeout", "select failed with %s", tostring(index))
    elseif ops[index].seconds then
      index = "timeout"
    end
    for i, after in ipairs(afters) do
      if i ~= index then
        after(false, nil, nil, index)
      end
    end
    if afters[index] then
      afters[index](true, ...)
    end
  end, grun.select, ops, self:seconds())
end)

function Round:step()
  if self.left <= 0 or self.depth[grun.current()] >= MAX_DEPTH then
    return
  end
  local me = grun.current()
  self.left = self.left - 1
  self.depth[me] = self.depth[me] + 1
  local ok, err = pcall(self:pick(steps), self)
  self.depth[me] = self.depth[me] - 1
  if not ok then
    error(err, 0)
  end
end

-- ---- A round ----

-- Wakes who waits for it, for nothing.
local function new_decoy()
  local decoy, waiting = { obj = {} }, {}
  function decoy.obj._subscribe(_, waiter)
    waiting[waiter] = true
  end
  function decoy.obj._unsubscribe(_, waiter)
    waiting[waiter] = nil
  end
  function decoy.notify()
    for waiter in pairs(waiting) do
      waiter:notify(decoy.obj)
    end
  end
  function decoy.check()
    check(next(waiting) == nil, "the decoy still has subscribers")
  end
  decoy.op = setmetatable({ obj = decoy.obj }, select_module.poll_op(function()
    return false
  end))
  return decoy
end

local function new_round(seed, left)
  local self = setmetatable({
    random = prng(seed), left = left, now = 0, ids = 0, items = {}, threads = {},
    depth = {}, shielded = {}, queues = new_queues(), events = {}, semaphores = {}, locks = {},
    rw = { lock = grun.rwlock(), inside = {}, readers = 0, writing = false },
    condition = grun.condition(), barrier = grun.barrier(3), decoy = new_decoy(),
  }, Round)
  for i = 1, 2 do
    self.events[i] = { e = grun.event(), sets = 0 }
    self.semaphores[i] = { s = grun.semaphore(i, i), n = i, held = 0 }
    self.locks[i] = { l = grun.lock({ reentrant = i == 2 }), reentrant = i == 2 }
  end
  return self
end

function Round:work()
  self.depth[grun.current()] = 0
  while self.left > 0 do
    self:step()
  end
end

function Round:spawn(i)
  self.threads[i] = grun.spawn(self.work, self)
end

-- Puts new threads in the place of ended ones; raises the error of a failed one.
function Round:replace(spawn)
  for i, t in ipairs(self.threads) do
    local status = t:status()
    if status == "failed" then
      error(t.error, 0)
    elseif spawn and (status == "done" or status == "cancelled") then
      self:spawn(i)
    end
  end
end

-- When everybody waits, one of them gets cancelled.
function Round:drive()
  for i = 1, THREADS do
    self:spawn(i)
  end
  while self.left > 0 do
    grun.idle()
    self:replace(true)
    if self.random(2) == 1 then
      grun.sleep(2e-5)
    else
      self:pick(self.threads):cancel()
    end
  end
end

function Round:finish()
  for _, t in ipairs(self.threads) do
    t:cancel()
  end
  grun.joinall(self.threads, { timeout = 10 })
  self:replace(false)
  for _, t in ipairs(self.threads) do
    check(t:status() == "done" or t:status() == "cancelled", "a thread is left: %s", tostring(t))
  end
end

local function check_text(obj, expected)
  check(tostring(obj):find(expected, 1, true), "left behind: %s", tostring(obj))
end

function Round:check_all()
  for _, queue in ipairs(self.queues) do
    self:check_queue_at_end(queue)
  end
  for _, event in ipairs(self.events) do
    check_text(event.e, ", 0 waiting")
  end
  for _, semaphore in ipairs(self.semaphores) do
    check_text(semaphore.s, ("semaphore %d free, 0 waiting"):format(semaphore.n))
  end
  for _, lock in ipairs(self.locks) do
    check_text(lock.l, "lock free, 0 waiting")
  end
  check_text(self.condition, "condition, 0 waiting")
  check_text(self.condition.lock, "lock free, 0 waiting")
  check_text(self.rw.lock, "rwlock 0 reading, 0 waiting")
  check_text(self.barrier, "barrier 0 of 3")
  self.decoy.check()
end

--- Runs a round of about so many steps. Raises when something did not hold.
function M.run(seed, n)
  local self = new_round(seed, n)
  local previous = grun.on_error(function() end)
  local ok, err = pcall(self.drive, self)
  local ended, problem = pcall(self.finish, self)
  grun.on_error(previous)
  if ok and ended then
    ok, err = pcall(self.check_all, self)
  elseif ok then
    ok, err = false, problem
  end
  if not ok then
    error(("%s\nRepeat with GRUN_FUZZ_SEED=%d"):format(tostring(err), seed), 0)
  end
end

return M
