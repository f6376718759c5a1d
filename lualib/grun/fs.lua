-- SPDX-License-Identifier: MIT
-- Files: what may wait for a disk or a network is done by other OS threads (at most eight at once),
-- and only the calling thread waits. All functions return nil, message, code on failure, the
-- message with the path. A thread that is cancelled leaves at once; what had begun is done to its
-- end.

local native = require("grun.core.fs")

---@class grun.fs
local M = {
  read_file = native.read_file,
  write_file = native.write_file,
  copy = native.copy,
  stat = native.stat,
  lstat = native.lstat,
  exists = native.exists,
  realpath = native.realpath,
  readlink = native.readlink,
  mkdir = native.mkdir,
  remove = native.remove,
  rename = native.rename,
  symlink = native.symlink,
  chmod = native.chmod,
  tmpname = native.tmpname,
  tempdir = native.tempdir,
}
M.fs = M

local function by_name(a, b)
  return a.name < b.name
end

--- The entries of a directory by name, without "." and "..": a list of { name =, type = }. Types
--- are as in stat, links not followed. Parks.
---@param path string
---@return { name: string, type: string }[]|nil, string?, string?
---@async
function M.list(path)
  if type(path) ~= "string" then
    error("bad argument #1 to 'list' (string expected, got " .. type(path) .. ")", 2)
  end
  local list, message, code = native.list(path)
  if not list then
    return nil, message, code
  end
  table.sort(list, by_name)
  return list
end

return M
