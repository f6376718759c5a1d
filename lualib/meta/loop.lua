-- SPDX-License-Identifier: MIT
-- For editors: grun.core.log, loop and profile, which runtime/bind/lib_<name>.c define. Never
-- loaded. Scripts use grun.log, grun.profile, grun.block_warn and grun.seed.

---@meta grun.core.loop
-- luacheck: no unused

local log = {}

--- Writes a message; from the first one on messages are stamped with time, process and thread.
---@param level integer 1 (error) to 4 (debug)
---@param text string
function log.write(level, text) end

--- Writes a message, an error by default, as the runtime's own messages are written.
---@param text string
---@param level? integer 1 (error) to 4 (debug)
function log.report(text, level) end

--- Sets the level, if a name is given. Returns the former one; nothing for an unknown name.
---@param name? string
---@return string? name
---@return integer? number
function log.level(name) end

--- Sends messages to stderr from now on.
---@return true|nil
function log.to_stderr() end

--- Appends messages to a file from now on.
---@param path string
---@return true|nil
---@return string? message
---@return string? code
function log.to_file(path) end

--- Sends messages to syslog from now on.
---@param path? string of the socket
---@param facility string
---@param ident string
---@return true|nil
---@return string? message
---@return string? code
function log.to_syslog(path, facility, ident) end

--- Opens the file again, or connects to syslog again.
---@return true|nil
---@return string? message
---@return string? code
function log.reopen() end

--- Counts the messages.
---@return integer written
---@return integer dropped
---@return integer queued bytes
function log.stats() end

local loop = {}

--- Sets after how many milliseconds a stall is reported; nil changes nothing, 0: never. Returns the
--- former value.
---@param ms? integer
---@return integer
function loop.block_warn(ms) end

--- Stalls of the loop that were seen so far, and how many seconds the longest took.
---@return integer
---@return number longest
function loop.stalls() end

--- Sets the seed of the order of ready threads; 0: first come, first served.
---@param n integer
function loop.seed(n) end

local profile = {}

--- Starts to sample. Returns true, or nil, message, code: "EALREADY" if it runs already.
---@param interval integer milliseconds
---@param path? string
---@return true|nil
---@return string? message
---@return string? code
function profile.start(interval, path) end

--- Stops. Returns whether it was running.
---@return boolean
function profile.stop() end

--- Writes what was sampled to the file, if there is one.
---@return true|nil
---@return string? message
---@return string? code
function profile.write() end

--- What was sampled so far, as folded stacks, and how many samples that are.
---@return string
---@return integer
function profile.dump() end

return loop
