-- SPDX-License-Identifier: MIT
-- What exactly a parked thread waits for: the object is found on its Lua stack when somebody looks,
-- so that waiting itself keeps no record of it.

local native = require("grun.core.inspect")

local SHOWN = 4 -- of several objects

local M = {}

-- ---- One object ----

local function call_tostring(object)
  local ok, text = pcall(tostring, object)
  return ok and type(text) == "string" and text or nil
end

local describers = {}

describers["grun.thread"] = function(t)
  return require("grun.inspect").title(t)
end

-- Its own text would say again what it is called.
describers["grun.lock"] = function(lock)
  local holder = lock:owner()
  return holder and "held by " .. require("grun.inspect").title(holder) or "free"
end

local function describe(object, known)
  local text = known[object]
  if not text then
    local mt = debug.getmetatable(object)
    text = (describers[rawget(mt, "__name")] or call_tostring)(object) or false
    known[object] = text
  end
  return text
end

-- Our own objects, and anything of a library's with a text of its own.
local function is_object(value)
  local mt = debug.getmetatable(value)
  if type(mt) ~= "table" then
    return false
  end
  local name = rawget(mt, "__name")
  return type(value) == "userdata" and rawget(mt, "__tostring") ~= nil or
    type(value) == "table" and type(name) == "string" and name:find("^grun%.") ~= nil
end

-- ---- Several of them: grun.wait and grun.select ----

local function join(list)
  if #list > SHOWN then
    local more = #list - SHOWN
    list = { unpack(list, 1, SHOWN) }
    list[#list + 1] = ("%d more"):format(more)
  end
  return table.concat(list, "; ")
end

-- What an operation is about is one of its fields, unless it is a pause.
local function of_operation(op, known)
  for name, value in pairs(op) do
    if name ~= "put" and is_object(value) then
      return describe(value, known)
    end
  end
end

local function of_select(ops, known)
  local list = {}
  for _, op in ipairs(ops) do
    list[#list + 1] = of_operation(op, known) or nil
  end
  return join(list)
end

local function of_wait(pending, known)
  local list = {}
  for object in pairs(pending) do
    list[#list + 1] = is_object(object) and describe(object, known) or nil
  end
  table.sort(list)
  return join(list)
end

-- ---- Among the arguments of its functions ----

local function look(value, what, known)
  if type(value) == "string" then
    return value ~= what and ("%q"):format(value) or nil
  elseif type(value) ~= "table" and type(value) ~= "userdata" then
    return nil
  elseif is_object(value) then
    return describe(value, known) or nil
  elseif type(value) == "table" and what == "select" and rawget(value, "ops") then
    return of_select(rawget(value, "ops"), known)
  elseif type(value) == "table" and what == "wait" and rawget(value, "pending") then
    return of_wait(rawget(value, "pending"), known)
  end
end

--- What to keep from one thread to the next while looking at many: texts of objects, and who waits
--- below libraries.
function M.memory()
  return { texts = {}, libraries = native.library_waits() }
end

-- The first of those values that says something.
local function first(what, known, value, ...)
  local text = value ~= nil and look(value, what, known)
  if text then
    return text
  elseif select("#", ...) > 0 then
    return first(what, known, ...)
  end
end

--- A text about the object that a parked thread waits for, or nil when none is known, as for sleep.
---@param green userdata
---@param what? string the name of the wait
---@param memory table of M.memory()
---@param ... any first arguments of the functions it stands in, innermost first
---@return string?
function M.object(green, what, memory, ...)
  local fds = memory.libraries[green]
  if fds then
    local list = {}
    for i, fd in ipairs(fds) do
      list[i] = native.descriptor(fd)
    end
    return join(list)
  elseif what and what ~= "sleep" then
    return first(what, memory.texts, ...)
  end
end

return M
