-- SPDX-License-Identifier: MIT
-- The sampling profiler: which functions of which threads use the processor. Its text has a line
-- for each stack, "thread;outer;inner;[state] samples": what makers of flame graphs read.

local native = require("grun.core.profile")

---@class grun.profile
local M = {}

local INTERVAL = 10 -- milliseconds

--- Starts to sample. interval: milliseconds of processor time between samples (1 to 10000, default
--- 10); file: where to write at the end of the process (%p in the name is its id), and at write().
--- Raises if it runs already. Returns true, or nil, message, code when the file cannot be written.
---@param opts? { interval?: integer, file?: string }
---@return true|nil
---@return string? message
---@return string? code
function M.start(opts)
  opts = opts or {}
  local interval = opts.interval or INTERVAL
  if type(interval) ~= "number" or not (interval >= 1 and interval <= 10000) then
    error("start: interval: milliseconds from 1 to 10000 expected, got " .. tostring(interval), 2)
  elseif opts.file ~= nil and type(opts.file) ~= "string" then
    error("start: file: string expected, got " .. type(opts.file), 2)
  end
  local ok, message, code = native.start(interval, opts.file)
  if ok then
    return true
  elseif code == "EALREADY" then
    error("start: the profiler runs already", 2)
  end
  return nil, message, code
end

--- Stops. Returns the text of what was sampled and the number of samples, and writes it to the
--- file, if there is one.
---@return string
---@return integer samples
function M.stop()
  if native.stop() then
    native.write()
  end
  return native.dump()
end

--- What was sampled so far.
---@return string
---@return integer samples
function M.dump()
  return native.dump()
end

--- Writes what was sampled so far to the file. Returns true, or nil, message, code.
---@return true|nil
---@return string? message
---@return string? code
function M.write()
  return native.write()
end

return M
