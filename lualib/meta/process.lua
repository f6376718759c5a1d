-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_process.c defines. Never loaded.

---@meta grun.core.process
-- luacheck: no unused

local M = {}

--- Starts a program; `level` as for error(). See grun.process.spawn.
---@param how grun.process.options
---@param level? integer
---@return grun.process|nil, string?, string?
function M.spawn(how, level) end

--- Takes on a child that something else has started. nil, message, "ECHILD": it is none of ours.
---@param pid integer
---@return grun.process|nil, string?, string?
function M.adopt(pid) end

--- A table with this process's environment variables.
---@return table<string, string>
function M.environ() end

--- A child process.
---@class grun.process
local process = {}

--- Waits for the end. Returns the exit status; nil, "signal", name ("SIGKILL") when a signal ended
--- it; nil, "timeout", "timeout" after so many seconds. Any number of threads may wait, also
--- afterwards. nil, message, "ECHILD" when somebody else has taken the status. Parks.
---@param seconds? number
---@return integer|nil, string?, string?
---@async
function process:wait(seconds) end

--- Sends a signal, a number or a name such as "KILL" (default "TERM"): to its whole process group
--- if it was started with `group` or `session`, even after its own end; otherwise to it alone, and
--- then nil, message, "ESRCH" once it has ended.
---@param signal? string|integer
---@return true|nil, string?, string?
function process:kill(signal) end

return M
