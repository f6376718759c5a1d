-- SPDX-License-Identifier: MIT
-- The log: messages with a level, a time and the thread that wrote them. Writing one never waits:
-- what its place does not take at once is queued (1 MiB), what does not fit is dropped and counted,
-- and the count is logged.

local native = require("grun.core.log")

---@class grun.log: a message is a text, or a format and what string.format puts into it
---@field error fun(message: any, ...: any) something failed
---@field warn fun(message: any, ...: any) something is not as it should be
---@field info fun(message: any, ...: any) off unless the level is raised
---@field debug fun(message: any, ...: any) off unless the level is raised further
local M = {}

---@class grun.logger
---@field error fun(self: grun.logger, message: any, ...: any)
---@field warn fun(self: grun.logger, message: any, ...: any)
---@field info fun(self: grun.logger, message: any, ...: any)
---@field debug fun(self: grun.logger, message: any, ...: any)
local Logger = {}
Logger.__index = Logger

local LEVELS = { error = 1, warn = 2, info = 3, debug = 4 }

-- A text for a name=value pair at the end of a message.
local function quote(value)
  local text = tostring(value)
  if text == "" or text:find("[%s\"=]") then
    return ("%q"):format(text):gsub("\\\n", "\\n")
  end
  return text
end

local function write(level, suffix, message, ...)
  if select("#", ...) > 0 then
    local ok, text = pcall(string.format, message, ...)
    if not ok then
      error((text:gsub("^bad argument #(%d+) to '.-'", "log: bad argument #%1")), 3)
    end
    message = text
  end
  native.write(level, suffix and tostring(message) .. suffix or tostring(message))
end

-- Whether a level is on is asked first, so that messages that are off cost little.
local function enabled(level)
  local _, now = native.level()
  return level <= now
end

for name, level in pairs(LEVELS) do
  M[name] = function(message, ...)
    if enabled(level) then
      write(level, nil, message, ...)
    end
  end
  Logger[name] = function(self, message, ...)
    if enabled(level) then
      write(level, self._suffix, message, ...)
    end
  end
end

--- A logger whose messages end in these fields, name=value, in the order of their names. Its
--- methods are error, warn, info and debug.
---@param fields table<string, any>
---@return grun.logger
function M.with(fields)
  if type(fields) ~= "table" then
    error("with: table expected, got " .. type(fields), 2)
  end
  local parts = {}
  for name, value in pairs(fields) do
    parts[#parts + 1] = tostring(name) .. "=" .. quote(value)
  end
  table.sort(parts)
  return setmetatable({ _suffix = " " .. table.concat(parts, " ") }, Logger)
end

--- Messages above this level are dropped from now on: "none", "error", "warn", "info" or "debug".
--- nil changes nothing. Returns the former level; "warn" at start, or what --log said.
---@param name? string
---@return string
function M.level(name)
  local former = native.level(name)
  if not former then
    error("level: none, error, warn, info or debug expected, got " .. tostring(name), 2)
  end
  return (former)
end

---@class grun.log.options
---@field file? string
---@field syslog? string|true
---@field facility? string
---@field ident? string
---@field level? string

--- Says where messages go from now on: to a file (file = path, appended to), to syslog (syslog =
--- true or the path of its socket, facility = "daemon", ident = "grun") or to stderr (nothing of
--- both). level = name sets the level. Returns true, or nil, message, code.
---@param opts grun.log.options
---@return true|nil
---@return string? message
---@return string? code
function M.open(opts)
  if type(opts) ~= "table" then
    error("open: table expected, got " .. type(opts), 2)
  elseif opts.level ~= nil and not native.level(opts.level) then
    error("open: level: none, error, warn, info or debug expected, got "
      .. tostring(opts.level), 2)
  elseif opts.file then
    return native.to_file(opts.file)
  elseif opts.syslog then
    local path = opts.syslog ~= true and opts.syslog or nil
    return native.to_syslog(path, opts.facility or "daemon", opts.ident or "grun")
  end
  return native.to_stderr()
end

--- Opens the log's file again, after somebody renamed it, or connects to syslog again. Returns
--- true, or nil, message, code: then it goes on as before.
---@return true|nil
---@return string? message
---@return string? code
function M.reopen()
  return native.reopen()
end

--- What became of the messages so far.
---@return { written: integer, dropped: integer, queued: integer } queued is in bytes
function M.stats()
  local written, dropped, queued = native.stats()
  return { written = written, dropped = dropped, queued = queued }
end

return M
