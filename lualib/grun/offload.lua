-- SPDX-License-Identifier: MIT
-- Work for other OS threads: what computes for long, or blocks where grun cannot see it.

local native = require("grun.core.offload")

local M = {}

-- What offloaded code raised, as it arrives here.
---@class grun.offload_error
---@field error any what was raised, if that is plain data; else the message
---@field message string
---@field traceback string of the other thread
local Failure = { __name = "grun.offload_error" }
Failure.__index = Failure

function Failure:__tostring()
  return self.message .. "\nin offloaded code:\n" .. self.traceback
end

local function finish(ok, ...)
  if ok then
    return ...
  elseif ok == nil then
    return nil, ...
  end
  local err, message, traceback = ...
  return error(setmetatable({
    error = err,
    message = message or "not enough memory in offloaded code",
    traceback = traceback or "",
  }, Failure), 0)
end

--- Runs a function, or a chunk of Lua, in another OS thread and returns its results. It has a Lua
--- state of its own with the standard libraries, `require` included, but without grun: it sees no
--- variables of this one, so the function may have no upvalues, and globals that it makes are gone
--- afterwards. Arguments and results are copies of plain data: nil, booleans, numbers, strings and
--- tables of them without metatables. Raises a grun.offload_error when it fails there. When the
--- calling thread is cancelled, a call that waits for a free thread never runs; one that runs is
--- left to end by itself, and its results are dropped. So it is when the process ends meanwhile.
--- Returns nil, message, "EAGAIN" when no thread can be started. Parks.
---@param fn (fun(...): ...)|string
---@param ... any
---@return any ...
---@async
function M.offload(fn, ...)
  return finish(native.run(fn, ...))
end

--- Sets how many OS threads offload uses at most; as many as there are processors if it was never
--- called. Those without work end after ten seconds. Returns the number.
---@param max? integer from 1 to 1024
---@return integer
M.offload_threads = native.threads

return M
