-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_worker.c defines, for grun's own modules. Never loaded.

---@meta grun.core.worker
-- luacheck: no unused

local M = {}

--- Makes the board, memory that a master and its workers share; a descriptor, or nil, message,
--- code.
---@return integer|nil, string?, string?
function M.create_board() end

--- Makes this process the worker of that entry of the board behind the descriptor, which is closed.
---@param fd integer
---@param entry integer
---@return true|nil, string?, string?
function M.join(fd, entry) end

--- Tells on the board whether this worker takes connections.
---@param on boolean
function M.accept(on) end

--- What an entry says: connections that are open, and seconds since its last sign of life, if there
--- was one.
---@param entry integer
---@return integer, number?
function M.entry(entry) end

--- Empties an entry for another worker.
---@param entry integer
function M.clear(entry) end

--- Gives a sign of life: unless the next one comes within so many seconds, the process is ended.
--- 0: it need not come any more.
---@param seconds number
---@return true|nil, string?, string?
function M.beat(seconds) end

--- Lets no more clients begin to connect to a listening socket.
---@param fd integer
---@return true|nil, string?, string?
function M.refuse(fd) end

--- From now on a second INT or TERM does not end the process at once.
function M.patient() end

--- The number of processors that this process may use.
---@return integer
function M.processors() end

--- Sets a variable of the environment; without a value it is removed.
---@param name string
---@param value? string
---@return true|nil, string?, string?
function M.setenv(name, value) end

--- Changes the working directory.
---@param path string
---@return true|nil, string?, string?
function M.chdir(path) end

--- A path without links. Reads directories at once, in this thread.
---@param path string
---@return string|nil, string?, string?
function M.realpath(path) end

--- Sets the permissions that new files do not get.
---@param mode integer
function M.umask(mode) end

--- The id of this process.
---@return integer
function M.pid() end

--- Makes a copy of this process, in which the current thread goes on; there must be no other one.
--- Returns its id, and 0 in the copy, whose parent is the nearest process above that has called
--- adopt_orphans(true). nil, message, "EBUSY" while helper OS threads work.
---@return integer|nil, string?, string?
function M.fork() end

--- Whether this process becomes the parent of processes below it whose parents have ended.
---@param on boolean
---@return true|nil, string?, string?
function M.adopt_orphans(on) end

--- A whole number below 2^32 that nobody can guess.
---@return integer
function M.random() end

--- Whether there is a process with that id.
---@param pid integer
---@return boolean
function M.alive(pid) end

--- Looks a user up, by name or number: ids of user and group, and the name if there is an entry.
---@param name string
---@return integer? uid, integer? gid, string? name
function M.user(name) end

--- Looks a group up, by name or number.
---@param name string
---@return integer?
function M.group(name) end

--- Becomes another user, for good, with the groups of the user `name`.
---@param uid? integer
---@param gid? integer
---@param name? string
---@return true|nil, string?, string?
function M.become(uid, gid, name) end

--- The effective ids of user and group.
---@return integer uid, integer gid
function M.ids() end

return M
