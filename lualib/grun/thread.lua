-- SPDX-License-Identifier: MIT
-- Threads: the methods and fields of a handle. What its numbered slots hold is said in
-- runtime/bind/lib_thread.h.

local core = require("grun.core")
local waiter = require("grun.waiter")

local GREEN, ID, SPAWNER, LINE, END, FIRST = 1, 2, 3, 4, 5, 6

---@class grun.thread
local methods, Join = {}, nil
local getters = {}

---@class grun.cancel: what a cancelled thread's waits raise
local Cancel = { __name = "grun.cancel", __grun_signal = true }

function Cancel:__tostring()
  local ok, reason = pcall(tostring, self.reason)
  return "cancelled: " .. (ok and reason or "?")
end

local M = { Cancel = Cancel }

-- ---- State ----

--- "new", "ready", "running" or "waiting"; once ended "done", "failed" or "cancelled".
function methods:status()
  local green = self[GREEN]
  if green then
    return core.state(green)
  end
  local how = self[END]
  return type(how) == "string" and how or "done"
end

--- True if it ended by returning.
function methods:successful()
  return self[GREEN] == false and type(self[END]) ~= "string"
end

function getters:id()
  return self[ID]
end

function getters:name()
  return rawget(self, "_name")
end

--- The error object of a thread that failed or was cancelled.
function getters:error()
  local how = self[END]
  if how == "failed" or how == "cancelled" then
    return self[FIRST]
  end
end

--- A table of the user's for this thread.
function getters:locals()
  local locals = {}
  rawset(self, "locals", locals)
  return locals
end

--- "file:line" of the call that spawned it; nil for a script's own thread.
function getters:spawned_at()
  local spawner = self[SPAWNER]
  if spawner then
    return debug.getinfo(spawner, "S").short_src .. ":" .. self[LINE]
  end
end

-- ---- The end ----

function methods:_poll()
  return self[GREEN] == false
end

function methods:_subscribe(w)
  local list = rawget(self, "_watchers")
  if not list then
    list = {}
    rawset(self, "_watchers", list)
    core.watch(self[GREEN])
  end
  list[#list + 1] = w
end

function methods:_unsubscribe(w)
  local list = rawget(self, "_watchers")
  if not list then
    return
  end
  for i = #list, 1, -1 do
    if list[i] == w then
      table.remove(list, i)
      return
    end
  end
end

local function wants(which, self)
  return which == nil or (which == "ok") == self:successful()
end

local function run_links(self)
  local links = rawget(self, "_links")
  while links and links[1] do
    if wants(links[1].which, self) then
      core.spawn(links[1].fn, self)
    end
    table.remove(links, 1)
  end
end

--- Calls fn(thread) in a new thread once this one has ended, also if it has already.
--- `which`: "ok" only if it returned, "error" only if it failed or was cancelled.
function methods:link(fn, which)
  if type(fn) ~= "function" then
    error("link: function expected, got " .. type(fn), 2)
  elseif which ~= nil and which ~= "ok" and which ~= "error" then
    error("link: \"ok\" or \"error\" expected, got " .. tostring(which), 2)
  end
  if self[GREEN] == false then
    if wants(which, self) then
      core.spawn(fn, self)
    end
    return
  end
  local links = rawget(self, "_links") or {}
  rawset(self, "_links", links)
  links[#links + 1] = { fn = fn, which = which }
  core.watch(self[GREEN])
end

--- Removes every link to fn.
function methods:unlink(fn)
  local links = rawget(self, "_links") or {}
  for i = #links, 1, -1 do
    if links[i].fn == fn then
      table.remove(links, i)
    end
  end
end

local function check_other(self, name)
  if self ~= core.current() then
    return
  end
  -- A finalizer may run in any thread and must not raise; the wait itself is refused there.
  local _, refused = core.check()
  if not refused then
    error(name .. ": a thread cannot wait for its own end", 3)
  end
end

local function wait_for_end(self, limit)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  elseif self[GREEN] == false then
    return true
  end
  return waiter.wait_one(self, "thread.join", limit)
end

--- Waits for the end. Returns true, or nil, "timeout", "timeout" after `seconds`. Parks.
---@async
function methods:join(seconds)
  local limit = waiter.limit(seconds, "join")
  check_other(self, "join")
  return wait_for_end(self, limit)
end

--- Waits for the end and returns the body's results; raises its error object if it failed or was
--- cancelled. nil, "timeout", "timeout" after `seconds`. Parks.
---@async
function methods:get(seconds)
  local limit = waiter.limit(seconds, "get")
  check_other(self, "get")
  local ok, message, code = wait_for_end(self, limit)
  if not ok then
    return nil, message, code
  end
  local how = self[END] or 0
  if type(how) == "string" then
    M.adopt(self, core.current())
    error(self[FIRST], 0)
  end
  return unpack(self, FIRST, FIRST + how - 1)
end

--- The operation of waiting for the end, for grun.select; its result is true.
function methods:op_join()
  Join = Join or require("grun.select").poll_op(function(op)
    return op.obj[GREEN] == false, true
  end)
  return setmetatable({ obj = self }, Join)
end

--- Asks the thread to end: each of its waits raises from now on. Returns at once; the first reason
--- stays. A thread that has not started never runs.
function methods:cancel(reason)
  local green = self[GREEN]
  if green and not rawget(self, "_cancel") then
    rawset(self, "_cancel", setmetatable({ reason = reason or "cancelled", thread = self }, Cancel))
    core.cancel(green)
  end
end

--- cancel() and join(seconds). A thread that kills itself ends here. Parks.
---@async
function methods:kill(seconds)
  local limit = waiter.limit(seconds, "kill")
  self:cancel("killed")
  if self == core.current() then
    return core.check()
  end
  return wait_for_end(self, limit)
end

-- ---- Uncaught errors ----

--- The error of thread `from` is about to be raised in thread `to`: its traceback goes with it.
function M.adopt(from, to)
  if to and rawget(from, "traceback") then
    rawset(to, "_traced", from[FIRST])
    rawset(to, "traceback", from.traceback)
  end
end

--- The same, and since somebody takes care of the error now, no report is made of it.
function M.pass_on(from, to)
  M.adopt(from, to)
  rawset(from, "_passed_on", true)
end

--- Is that what the waits of the running thread raise since it was cancelled? Any other value, nil
--- too, is an error.
function M.is_own_cancel(err)
  local cancel = rawget(core.current(), "_cancel")
  return cancel ~= nil and rawequal(err, cancel)
end

--- An error that was caught in the running thread, with the traceback of where it was thrown.
function M.caught(err)
  local me = core.current()
  local traced = rawequal(rawget(me, "_traced"), err)
  return { err = err, traceback = traced and rawget(me, "traceback") or nil }
end

--- Raises such an error in the running thread, perhaps another one; the traceback goes with it.
function M.rethrow(caught)
  if caught.traceback then
    local me = core.current()
    rawset(me, "_traced", caught.err)
    rawset(me, "traceback", caught.traceback)
  end
  return error(caught.err, 0)
end

local handler

--- Makes fn(thread, err, traceback) replace the report in the log; nil restores it. Returns the
--- previous one.
function M.on_error(fn)
  if fn ~= nil and type(fn) ~= "function" then
    error("on_error: function expected, got " .. type(fn), 2)
  end
  local previous = handler
  handler = fn
  return previous
end

local function describe(err)
  if type(err) == "string" or type(err) == "number" then
    return tostring(err)
  end
  local mt = debug.getmetatable(err)
  if type(mt) == "table" and rawget(mt, "__tostring") then
    local ok, text = pcall(tostring, err)
    if ok and type(text) == "string" then
      return text
    end
    return "(error object is a " .. type(err) .. " value; its __tostring failed)"
  end
  return "(error object is a " .. type(err) .. " value)"
end

local function log(text)
  require("grun.core.log").report(text)
end

local function report(self, err, traceback)
  local text = describe(err)
  if not rawget(self, "_script") then
    local name = self.name
    name = name and " \"" .. name .. "\"" or ""
    text = ("thread #%d%s failed: %s"):format(self[ID], name, text)
  end
  if traceback then
    text = text .. "\n" .. traceback
  end
  if self[SPAWNER] then
    text = text .. "\nspawned at " .. self.spawned_at
  end
  log(text)
end

--- Reports an error that did not end the running thread, as M.caught gives it; `what` failed.
function M.report(what, caught)
  if handler and pcall(handler, core.current(), caught.err, caught.traceback) then
    return
  end
  local text = ("%s failed: %s"):format(what, describe(caught.err))
  log(caught.traceback and text .. "\n" .. caught.traceback or text)
end

local function failed(self)
  local err, traceback = self[FIRST], rawget(self, "traceback")
  if rawget(self, "_script") then
    core.set_status(1)
    if err == nil then
      return -- as lua(1): error() ends a script without a word
    end
  end
  if not handler then
    return report(self, err, traceback)
  end
  local ok, problem = pcall(handler, self, err, traceback)
  if not ok then
    report(self, err, traceback)
    log("on_error failed as well: " .. describe(problem))
  end
end

-- Called again when an error in somebody else's finalizer breaks it off, so it goes on where it
-- was.
function core.hooks.tell(self)
  local watchers = rawget(self, "_watchers")
  for i = 1, watchers and #watchers or 0 do
    watchers[i]:notify(self)
  end
  rawset(self, "_watchers", nil)
  rawset(self, "_traced", nil)
  if self[END] ~= "failed" then
    rawset(self, "traceback", nil)
  end
  run_links(self)
end

function core.hooks.failed(self)
  if not rawget(self, "_passed_on") then
    failed(self)
  end
end

-- ---- The handle's metatable ----

local Thread = core.thread
Thread.__name = "grun.thread"
Thread.__names = { methods, getters } -- for completion

function Thread:__index(key)
  local method = methods[key]
  if method ~= nil then
    return method
  end
  local getter = getters[key]
  return getter and getter(self)
end

function Thread:__newindex(key, value)
  if key == "name" then
    if value ~= nil and type(value) ~= "string" then
      error("name: string expected, got " .. type(value), 2)
    end
    rawset(self, "_name", value)
    core.set_name(self[GREEN], value)
  elseif getters[key] or methods[key] or type(key) == "number" then
    error("field '" .. tostring(key) .. "' of a thread cannot be set", 2)
  else
    rawset(self, key, value)
  end
end

function Thread:__tostring()
  return require("grun.inspect").describe(self)
end

--- Spawns a thread that has that name and does not keep the process alive.
function M.spawn_daemon(name, fn, ...)
  local t = core.spawn_for(fn, ...)
  t.name = name
  core.daemon(t[1])
  return t
end

--- All threads that have not ended, oldest first.
function M.threads()
  local list = core.list()
  table.sort(list, function(a, b)
    return a[ID] < b[ID]
  end)
  return list
end

return M
