-- SPDX-License-Identifier: MIT
-- Signals that scripts handle. All that runs on a signal's arrival is here; handlers are threads.
-- For other signals see grun/stop.lua.

local core = require("grun.core")
local native = require("grun.core.signal")
local waiters = require("grun.waiter")

-- These have grun's own meaning whenever no handler is set and nobody waits.
local STOPS = { [2] = true, [3] = true, [15] = true } -- INT, QUIT, TERM

local M = {}

-- Number -> { handlers = list, waiters = set, waiting = number of threads, pending = it arrived and
-- nobody was there, kept = it was waited for }
local taken = {}

-- Raises at the caller of the function `fn`.
local function check(name, fn)
  if type(name) ~= "string" then
    error(fn .. ": name of a signal expected, got " .. type(name), 3)
  end
  local number = native.number(name)
  if not number then
    error(("%s: unknown signal '%s'"):format(fn, name), 3)
  end
  return number
end

local function take(number, name, fn)
  local entry = taken[number]
  if not entry then
    if not native.take(number) then
      error(("%s: %s cannot be handled"):format(fn, name), 3)
    end
    entry = { handlers = {}, waiters = {}, waiting = 0, pending = false }
    taken[number] = entry
  end
  return entry
end

-- A signal that was waited for once stays taken, so that one that comes between two waits does not
-- end the process; except those that are there to end it.
local function release(number, entry)
  if #entry.handlers == 0 and entry.waiting == 0 and (STOPS[number] or not entry.kept) then
    taken[number] = nil
    native.give(number)
  end
end

-- Called in the hub.
core.hooks.arrived = function(text)
  local entry = taken[tonumber(text)]
  if not entry then
    return
  end
  for _, handler in ipairs(entry.handlers) do
    local t = core.spawn(handler.fn, handler.name)
    t.name = "signal " .. handler.name
  end
  entry.pending = #entry.handlers == 0
  for waiter in pairs(entry.waiters) do
    entry.pending = false
    waiter:notify(text)
  end
end

-- ---- Handlers ----

--- A function that is called when a signal arrives.
---@class grun.signal_handler
---@field name string as given
local Handler = { __name = "grun.signal_handler" }
Handler.__index = Handler

function Handler:__tostring()
  return "signal handler for " .. self.name .. (self._number and "" or " (stopped)")
end

--- Takes the handler away; with the last one of a signal everything is as before. Threads that run
--- it go on. Idempotent.
function Handler:stop()
  local number = self._number
  if not number then
    return
  end
  self._number = false
  local entry = taken[number]
  for i, handler in ipairs(entry.handlers) do
    if handler == self then
      table.remove(entry.handlers, i)
      break
    end
  end
  release(number, entry)
end

--- Calls fn(name) in a new thread whenever the signal arrives; several arrivals at once may count
--- as one. Several handlers of one signal all run. A handler of "INT", "TERM" or "QUIT" replaces
--- what grun does on them as long as it is set. It does not keep the process alive. Raises for
--- signals that cannot be caught ("KILL", "STOP") or that tell of a fault ("SEGV" and others).
---@param name string such as "HUP", "SIGUSR1", "RTMIN+1"
---@param fn fun(name: string)
---@return grun.signal_handler
function M.signal(name, fn)
  local number = check(name, "signal")
  if type(fn) ~= "function" then
    error("signal: function expected, got " .. type(fn), 2)
  end
  local entry = take(number, name, "signal")
  local handler = setmetatable({ name = name, fn = fn, _number = number }, Handler)
  entry.handlers[#entry.handlers + 1] = handler
  entry.pending = false
  return handler
end

-- ---- Waiting ----

local function read_arguments(...)
  local n = select("#", ...)
  local last, limit = n > 0 and select(n, ...)
  if n > 1 and (type(last) == "number" or last == nil) then
    limit = waiters.limit(last, "signal_wait", 2)
    n = n - 1
  end
  local names = {}
  for i = 1, math.max(n, 1) do
    local name = n > 0 and select(i, ...) or nil
    if type(name) ~= "string" then
      error("signal_wait: name of a signal expected, got " .. type(name), 3)
    elseif not native.number(name) then
      error(("signal_wait: unknown signal '%s'"):format(name), 3)
    end
    names[i] = { name = name, number = native.number(name) }
  end
  return names, limit
end

-- The name of the first of them that came when nobody waited.
local function pending(names)
  for _, signal in ipairs(names) do
    local entry = taken[signal.number]
    if entry.pending then
      entry.pending = false
      return signal.name
    end
  end
end

local function enter(names, waiter)
  for i, signal in ipairs(names) do
    local entry = taken[signal.number]
    entry.waiters[waiter] = true
    names[i].entry = entry
  end
  native.hold(true)
end

local function leave(names, waiter)
  native.hold(false)
  for _, signal in ipairs(names) do
    signal.entry.waiters[waiter] = nil
  end
end

local function reserve(names)
  for _, signal in ipairs(names) do
    local ok, entry = pcall(take, signal.number, signal.name, "signal_wait")
    if not ok then
      error(("signal_wait: %s cannot be handled"):format(signal.name), 3)
    end
    entry.kept = true
  end
  for _, signal in ipairs(names) do
    local entry = taken[signal.number]
    entry.waiting = entry.waiting + 1
  end
end

local function unreserve(names)
  for _, signal in ipairs(names) do
    local entry = taken[signal.number]
    entry.waiting = entry.waiting - 1
    release(signal.number, entry)
  end
end

local function name_of(names, number)
  for _, signal in ipairs(names) do
    if signal.number == number then
      return signal.name
    end
  end
end

local function await(names, limit)
  local waiter = waiters.new()
  enter(names, waiter)
  local result
  repeat
    result = waiter:park("signal_wait", limit)
  until result ~= "ok" or waiter.n > 0
  leave(names, waiter)
  return result, name_of(names, tonumber(waiter[1]))
end

--- Waits for one of the signals and returns its name as given. Returns nil, "timeout", "timeout"
--- after so many seconds (the last argument, if it is a number). Meanwhile they do nothing else,
--- except that handlers of grun.signal run too. One that was waited for once never ends the process
--- any more: when it comes while nobody waits, the next wait returns at once. "INT", "TERM" and
--- "QUIT" mean what they always do between waits. Parks.
---@param ... string|number
---@return string|nil, string?, string?
---@async
function M.signal_wait(...)
  local names, limit = read_arguments(...)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  reserve(names)
  local result, name = "ok", pending(names)
  if not name and limit == 0 then
    result = "timeout"
  elseif not name then
    result, name = await(names, limit)
  end
  unreserve(names)
  if name then
    return name
  elseif result == "raise" then
    return core.check()
  end
  return nil, "timeout", "timeout"
end

return M
