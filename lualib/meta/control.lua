-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_control.c, lib_inspect.c and lib_terminal.c define for grun's
-- own modules control, inspect, stats and tool. Never loaded.

---@meta grun.core.control
-- luacheck: no unused

local control = {}

--- Listens at a path of ours, in place of an earlier one. From then on the hook "control" is called
--- in the hub with "client" for each client of this user or root.
---@param path string
---@return true|nil, string?, string?
function control.listen(path) end

--- Ends that. The path is removed, unless this is a forked child.
function control.close() end

--- Has the hook "control" called with "start" in half a second; false: takes that back. Returns
--- whether it was to be called.
---@param on? boolean
---@return boolean
function control.later(on) end

--- Takes over the client that the hook is called for; only there.
---@return grun.conn
function control.take() end

--- The descriptor of the listening socket, or nothing.
---@return integer?
function control.fd() end

--- True if the path is a directory that is ours, or for root anybody's, and closed to others.
---@param path string
---@param create? boolean makes it first if it is missing
---@return true|nil, string?, string?
function control.directory(path, create) end

--- The number of this process.
---@return integer
function control.pid() end

--- The effective user's number.
---@return integer
function control.uid() end

--- Sends a signal; "0" only asks whether the process is there.
---@param pid integer
---@param signal string
---@return true|nil, string?, string?
function control.kill(pid, signal) end

local inspect = {}

--- The facts of a thread that has not ended: id, parent's id, state, what it waits for, seconds
--- left of that, name, age, processor time, switches, bytes of C stack in use, is a daemon, is
--- cancelled.
---@param green grun.green
---@return integer, integer, string, string?, number?, string?, number, number, integer, integer?,
--- boolean, boolean
function inspect.facts(green) end

--- Where it stands in the script and where it was spawned, both "file:line" or nil, then values of
--- which one may be what it waits for, innermost first.
---@param green grun.green
---@return string?, string?, any ...
function inspect.place(green) end

--- Bytes of its C stack that are in memory.
---@param green grun.green
---@return integer
function inspect.memory(green) end

--- The C functions it stands in, innermost first, at most 64; none for the running thread and one
--- that has not begun.
---@param green grun.green
---@return string[]
function inspect.backtrace(green) end

--- The threads that wait in libc below a library, and for which descriptors.
---@return table<lightuserdata, integer[]>
function inspect.library_waits() end

--- What a descriptor is open on, for people.
---@param fd integer
---@return string
function inspect.descriptor(fd) end

--- Figures of the process, see grun.stats.
---@return table
function inspect.process() end

local terminal = {}

--- Takes the terminal over: keys come one by one and are not shown, the screen is another one,
--- without a cursor. The end of the process undoes it.
---@return true|nil, string?, string?
function terminal.take() end

--- Undoes that.
function terminal.give_back() end

--- Its rows and columns.
---@return integer, integer
function terminal.size() end

--- Are standard input and output both one?
---@return boolean
function terminal.is_terminal() end
