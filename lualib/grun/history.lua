-- SPDX-License-Identifier: MIT
-- The prompt's history: a file that only its owner may read, of at most a thousand lines.
--
-- It is $XDG_STATE_HOME/grun/history, or ~/.local/state/grun/history. GRUN_HISTORY names another
-- file; GRUN_HISTORY=off keeps none.

local edit = require("grun.core.edit")

local LINES = 1000

local M = {}

local function set(name)
  local value = os.getenv(name)
  return value ~= "" and value or nil
end

local function file_name()
  local name, state, home = set("GRUN_HISTORY"), set("XDG_STATE_HOME"), set("HOME")
  if name then
    return name ~= "off" and name or nil
  elseif state and state:sub(1, 1) == "/" then
    return state .. "/grun/history"
  end
  return home and home .. "/.local/state/grun/history"
end

local function load(file)
  local f, lines = io.open(file, "r"), {}
  if not f then
    return
  end
  for line in f:lines() do
    lines[#lines + 1] = line
  end
  f:close()
  local first = math.max(1, #lines - LINES + 1)
  for i = first, #lines do
    edit.remember(lines[i])
  end
  f = first > 1 and io.open(file, "w")
  if f then
    f:write(table.concat(lines, "\n", first), "\n")
    f:close()
  end
end

-- Failures are nobody's concern: then the history ends with the process. A home directory that is
-- not there is not made.
local function append(file, line)
  if not edit.append(file, line) then
    local fs, home, dir = require("grun.fs"), set("HOME"), file:match("^(.*)/[^/]*$")
    local ours = dir and (not home or dir:sub(1, #home) ~= home or fs.exists(home))
    if ours and fs.mkdir(dir, { parents = true, mode = "0700" }) then
      edit.append(file, line)
    end
  end
end

--- Reads the file. Returns a function that keeps a line; it parks.
---@return fun(line: string)
---@async
function M.open()
  local file, last = file_name(), nil
  if file then
    load(file)
  end
  return function(line)
    if line:find("%S") and line ~= last then
      edit.remember(line)
      last = line
      if file then
        append(file, line)
      end
    end
  end
end

return M
