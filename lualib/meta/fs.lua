-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_fs.c defines. Never loaded.

---@meta grun.core.fs
-- luacheck: no unused

local M = {}

--- The content of a file. Returns nil, message, "too_large" if it has more than `max` bytes. Parks.
---@param path string
---@param max? integer
---@return string|nil, string?, string?
---@async
function M.read_file(path, max) end

---@class grun.fs.write_options
---@field append? boolean behind what is there
---@field mode? string|integer permissions of a new file, such as "0600" (default "0666" less umask)
---@field atomic? boolean by way of a new file that is synced and renamed: readers and crashes see
--- the old content or the new one, never a part; keeps the permissions

--- Replaces the content of a file, which is created if need be. Parks.
---@param path string
---@param data string
---@param opts? grun.fs.write_options
---@return true|nil, string?, string?
---@async
function M.write_file(path, data, opts) end

--- Copies a file's content, and its permissions if it is new. Not directories. Parks.
---@param from string
---@param to string
---@return true|nil, string?, string?
---@async
function M.copy(from, to) end

---@class grun.fs.stat
---@field type "file"|"directory"|"link"|"pipe"|"socket"|"char"|"block"|"other"
---@field mode integer permissions
---@field size integer
---@field mtime number seconds since 1970, as atime and ctime
---@field atime number
---@field ctime number
---@field uid integer
---@field gid integer
---@field nlink integer
---@field ino integer
---@field dev integer
---@field blocks integer of 512 bytes

--- What is known of a file, or of what a link leads to. Parks.
---@param path string
---@return grun.fs.stat|nil, string?, string?
---@async
function M.stat(path) end

--- The same, of a link itself. Parks.
---@param path string
---@return grun.fs.stat|nil, string?, string?
---@async
function M.lstat(path) end

--- Whether there is something of that name; nil, message, code when that cannot be known. Parks.
---@param path string
---@return boolean|nil, string?, string?
---@async
function M.exists(path) end

--- The entries of a directory in no order. See grun.fs.list. Parks.
---@param path string
---@return { name: string, type: string }[]|nil, string?, string?
---@async
function M.list(path) end

--- The path without links, dots and relative parts. Parks.
---@param path string
---@return string|nil, string?, string?
---@async
function M.realpath(path) end

--- What a link says. Parks.
---@param path string
---@return string|nil, string?, string?
---@async
function M.readlink(path) end

--- Makes a directory. opts: mode ("0700"), parents (true: with those above, and an existing one is
--- no error). Parks.
---@param path string
---@param opts? { parents?: boolean, mode?: string|integer }
---@return true|nil, string?, string?
---@async
function M.mkdir(path, opts) end

--- Removes a file, a link or an empty directory. opts.recursive: with all that is below; links are
--- not followed; refuses "/" and paths that end in "." or "..". Parks.
---@param path string
---@param opts? { recursive?: boolean }
---@return true|nil, string?, string?
---@async
function M.remove(path, opts) end

--- Renames; what is at `to` is replaced. Parks.
---@param from string
---@param to string
---@return true|nil, string?, string?
---@async
function M.rename(from, to) end

--- Makes a link at `path` that says `target`. Parks.
---@param target string
---@param path string
---@return true|nil, string?, string?
---@async
function M.symlink(target, path) end

--- Sets permissions, such as "0644" or a number. Parks.
---@param path string
---@param mode string|integer
---@return true|nil, string?, string?
---@async
function M.chmod(path, mode) end

--- Makes an empty file of a new name, which it returns: `prefix` (default "grun-" in $TMPDIR or
--- /tmp) and six random characters. Only its owner may read it. Parks.
---@param prefix? string
---@return string|nil, string?, string?
---@async
function M.tmpname(prefix) end

--- The same with a directory. Parks.
---@param prefix? string
---@return string|nil, string?, string?
---@async
function M.tempdir(prefix) end

return M
