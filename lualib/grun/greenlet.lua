-- SPDX-License-Identifier: MIT
-- Greenlets: symmetric coroutines, each on a C stack of its own.
--
-- Every thread is the root of a tree of greenlets. One of them is active; the others that have
-- started are parked in their switch. A switch leaves its values at the target, makes that the
-- active one and parks the caller.
--
-- What the user holds is an object around the inner state. A greenlet that is parked in a switch
-- and whose object nobody holds can never be active again, so it is cancelled then: an object is
-- held by whoever has switched to it, until that one is active again, and by the states of its
-- children.

local core = require("grun.core")
local list = require("grun.waitlist")
local thread = require("grun.thread")

--- What throw() without an error raises: the greenlet ends, and its parent gets this as a value.
local Exit = setmetatable({}, {
  __name = "grun.greenlet_exit",
  __grun_signal = true,
  __tostring = function()
    return "greenlet exit"
  end,
})

local M = { greenlet_exit = Exit }

-- ---- Objects ----

--- A symmetric coroutine with a C stack of its own.
---@class grun.greenlet
---@field parent? grun.greenlet gets the outcome; settable; nil for a thread's own greenlet
---@field dead boolean
local methods = {}
local Greenlet = { __name = "grun.greenlet" }

local objects = setmetatable({}, { __mode = "kv" }) -- state -> object

-- The state of an object; nil for anything else.
local function state_of(object)
  return getmetatable(object) == Greenlet and object[1] or nil
end

-- An object refers to its state and to a userdata that is collected with it.
local sentinel = newproxy(true)
getmetatable(sentinel).__gc = function(self)
  local state = debug.getfenv(self)
  -- One that does not wait may be held again before it does; a root has its thread to go on.
  if state.waiting and not objects[state] and state.parent then
    state.thread:cancel("collected")
  end
end

local function new_object(state)
  local object = setmetatable({ state, debug.setfenv(newproxy(sentinel), state) }, Greenlet)
  objects[state] = object
  return object
end

local function object_of(state)
  return objects[state] or new_object(state)
end

-- ---- Trees ----

---@class grun.greenlet.state
---@field fn function|false until it starts
---@field tree table root, active, alive (set of the started states without the root)
---@field parent grun.greenlet.state|nil
---@field above grun.greenlet|nil the parent's object
---@field thread grun.thread|false false until it starts
---@field waiting boolean parked in a switch
---@field target grun.greenlet|false while waiting: what it switched to
---@field dead boolean
---@field strayed boolean runs although another one is active: its outcome is nobody's
---@field kind "values"|"error"|false what has been given to it and not been taken
---@field n integer number of values
---@field values any the value if there is one, else a table of them; what thread.caught returned
local function new_state(tree, parent, fn)
  return {
    fn = fn, tree = tree, parent = parent, above = parent and object_of(parent), thread = false,
    waiting = false, target = false, dead = false, strayed = false, kind = false, n = 0,
    values = false,
  }
end

-- A tree ends with its thread.
local function end_tree(tree)
  tree.root.dead = true
  for state in pairs(tree.alive) do
    state.thread:cancel("the thread of this greenlet has ended")
  end
end

local function current()
  local t = core.current()
  local state = rawget(t, "_greenlet")
  if not state then
    local tree = { alive = {}, notify = end_tree }
    state = new_state(tree, nil, false)
    state.thread = t
    tree.root, tree.active = state, state
    rawset(t, "_greenlet", state)
    t:_subscribe(tree)
  end
  return state
end

-- The state itself, or its nearest parent that is alive; nil if there is none.
local function alive(state)
  while state and state.dead do
    state = state.parent
  end
  return state
end

local function is_above(state, other)
  while other and other ~= state do
    other = other.parent
  end
  return other == state
end

-- ---- Switching ----

-- The collector does not see the stacks of greenlets that nobody holds any more. From MANY started
-- ones on each new one makes it work as if STACK KB had been allocated.
local MANY, STACK = 1000, 8
local started = 0

local function give(state, kind, ...)
  local n = select("#", ...)
  state.kind, state.n = kind, n
  -- Most switches carry one value: those need no table.
  if n == 1 then
    state.values = ...
  else
    state.values = { ... }
  end
end

local function take(state)
  local kind, n, values = state.kind, state.n, state.values
  state.kind, state.values = false, false
  if n == 1 and kind == "values" then
    return values
  elseif kind == "error" then
    return thread.rethrow(values)
  end
  return unpack(values, 1, n)
end

local function is_own_cancel(state, err)
  local cancel = rawget(state.thread, "_cancel")
  return cancel ~= nil and rawequal(err, cancel)
end

-- The greenlet has ended, with what was given to it last as its outcome, which goes to its nearest
-- live parent. Returns whether there was one to take it.
local function hand_over(state)
  local kind, values = state.kind, state.values
  if kind == "error" and (values == Exit or is_own_cancel(state, values)) then
    kind, values = "values", Exit
  elseif kind == "error" then
    values = thread.caught(values)
  end
  state.dead, state.values = true, false
  state.tree.alive[state] = nil
  started = started - 1
  local heir = alive(state.parent)
  if state.strayed or not heir or not heir.waiting then
    return false
  end
  heir.kind, heir.n, heir.values = kind, state.n, values
  heir.waiting = false
  heir.tree.active = heir
  core.ready_next(heir.thread[1])
  return true
end

local function finish(state, ok, ...)
  give(state, ok and "values" or "error", ...)
  if not hand_over(state) and not ok and ... ~= Exit then
    return error((...), 0)
  end
end

local function body(state)
  local fn = state.fn
  state.fn = false
  if state.kind == "error" then
    return finish(state, false, state.values.err)
  end
  return finish(state, xpcall(fn, core.traceback, take(state)))
end

-- Called at the end of its thread, which may have been cancelled before the body ran.
local function thread_ended(state, t)
  if not state.dead then
    give(state, "error", t.error)
    hand_over(state)
  end
end

local function start(state, t)
  started = started + 1
  if started > MANY and collectgarbage("isrunning") then
    collectgarbage("step", STACK)
  end
  t.name = "greenlet"
  core.daemon(t[1])
  rawset(t, "_greenlet", state)
  state.thread, state.notify = t, thread_ended
  state.tree.alive[state] = true
  t:_subscribe(state)
end

-- Its wait in a switch has ended by a cancel or a deadline. Those above the active greenlet wait
-- for it and are active again; others lose their place in the tree.
local function stray(state)
  local tree = state.tree
  if is_above(state, tree.active) then
    tree.active.strayed = true
    tree.active = state
  else
    state.strayed = true
  end
end

local function wait_for_turn(me)
  local outcome = core.park("greenlet.switch")
  me.waiting, me.target = false, false
  if outcome == "ok" then
    return take(me)
  elseif me.kind then
    me.kind, me.values = false, false
  else
    stray(me)
  end
  return core.check()
end

-- The greenlet to activate for an object, which is the caller's argument of the function `name`.
local function target_of(object, me, name)
  local state = state_of(object)
  local target = state and alive(state)
  if not state then
    error(name .. ": greenlet expected, got " .. type(object), 3)
  elseif not target then
    error(name .. ": the greenlet is dead and has no live parent", 3)
  elseif target.tree ~= me.tree then
    error(name .. ": the greenlet belongs to another thread", 3)
  elseif me.strayed then
    error(name .. ": another greenlet of this thread is active", 3)
  elseif target ~= me and target.thread and not target.waiting then
    error(name .. ": the greenlet is waiting for something else", 3)
  end
  return target
end

-- Makes the target active, which gets the values, and waits until the caller is again.
local function activate(me, target, object, kind, ...)
  if target.thread then
    core.ready_next(target.thread[1])
  else
    -- From here, so that the spawn site is the caller of switch.
    start(target, core.spawn_for(body, target))
  end
  give(target, kind, ...)
  target.waiting = false
  me.tree.active = target
  me.waiting, me.target = true, object
  return wait_for_turn(me)
end

--- Activates the greenlet. Its first switch calls its function with the arguments; later ones
--- return them from its pending switch. Returns what the next switch to the caller brings: values
--- of a switch, or of a child that returned; raises the error of a child that failed. In place of a
--- dead greenlet its nearest live parent is activated. Parks.
---@param ... any
---@return any ...
---@async
function methods:switch(...)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  local me = current()
  local target = target_of(self, me, "switch")
  if target == me then
    return ...
  end
  return activate(me, target, object_of(target), "values", ...)
end

--- The same, but raises `err` (default: an exit, which ends the greenlet quietly) in its pending
--- switch. One that has not started ends without running. Parks.
---@param err any
---@return any ...
---@async
function methods:throw(err)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  local me = current()
  local target = target_of(self, me, "throw")
  if err == nil then
    err = Exit
  end
  if self.dead and err == Exit then
    return methods.switch(self, Exit)
  elseif target == me then
    error(err, 0)
  end
  return activate(me, target, object_of(target), "error", { err = err })
end

-- ---- Fields ----

function Greenlet:__index(key)
  local method = methods[key]
  if method then
    return method
  elseif key == "dead" then
    return self[1].dead
  elseif key == "parent" then
    return self[1].above
  end
end

function Greenlet:__newindex(key, value)
  if key ~= "parent" then
    error("field '" .. tostring(key) .. "' of a greenlet cannot be set", 2)
  end
  local state, parent = self[1], state_of(value)
  if not parent then
    error("parent: greenlet expected, got " .. type(value), 2)
  elseif state == state.tree.root then
    error("parent: a thread's own greenlet has none", 2)
  elseif parent.tree ~= state.tree then
    error("parent: the greenlet belongs to another thread", 2)
  elseif is_above(state, parent) then
    error("parent: a greenlet cannot be among its own parents", 2)
  end
  state.parent, state.above = parent, value
end

local function describe(state)
  if state.dead then
    return "dead"
  elseif not state.thread then
    return "new"
  elseif state.waiting then
    return "suspended"
  end
  return state.tree.active == state and "active" or "strayed"
end

function Greenlet:__tostring()
  return "greenlet " .. describe(self[1])
end

--- A greenlet that will run fn. Its outcome goes to `parent` (default: the running one).
---@param fn fun(...): ...
---@param parent? grun.greenlet
---@return grun.greenlet
function M.greenlet(fn, parent)
  list.check_callable(fn, "greenlet")
  local me = current()
  local above = parent == nil and me or state_of(parent)
  if not above then
    error("greenlet: parent must be a greenlet, got " .. type(parent), 2)
  elseif above.tree ~= me.tree then
    error("greenlet: the parent belongs to another thread", 2)
  end
  return object_of(new_state(me.tree, above, fn))
end

--- The running greenlet; every thread is one.
---@return grun.greenlet
function M.greenlet_current()
  return object_of(current())
end

return M
