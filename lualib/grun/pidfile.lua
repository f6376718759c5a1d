-- SPDX-License-Identifier: MIT
-- The file that tells a process's id.

local native = require("grun.core.worker")

local M = {}

local function read(path)
  local file = io.open(path)
  local pid = file and tonumber(file:read("*l"))
  if file then
    file:close()
  end
  return pid
end

--- Writes the file. Returns true; or nil and why not: a process that it names already runs. One
--- that is left from a process that is gone is replaced.
function M.write(path)
  local pid = read(path)
  if pid and pid ~= native.pid() and native.alive(pid) then
    return nil, ("%s: process %d runs already"):format(path, pid)
  end
  local temporary = ("%s.%d"):format(path, native.pid())
  local file, message = io.open(temporary, "w")
  if not file then
    return nil, message
  end
  local ok
  ok, message = file:write(native.pid(), "\n")
  file:close()
  if ok then
    ok, message = os.rename(temporary, path)
  end
  if not ok then
    os.remove(temporary)
    return nil, message
  end
  return true
end

--- Removes it, if it is about this process.
function M.remove(path)
  if read(path) == native.pid() then
    os.remove(path)
  end
end

return M
