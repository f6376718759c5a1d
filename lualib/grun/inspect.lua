-- SPDX-License-Identifier: MIT
-- Looking at threads from outside: one line each, or all of them as a tree with tracebacks.

local core = require("grun.core")

local M = {}

local function is_ours(source)
  return source:find("^=grun/") or source:find("^@.*lualib/grun/")
end

--- "file:line" of the script's innermost function in a parked thread, or nil.
local function where(stack)
  for level = 0, 50 do
    local info
    if stack then
      info = debug.getinfo(stack, level, "Sl")
    else
      info = debug.getinfo(level + 2, "Sl")
    end
    if not info then
      return nil
    elseif info.what ~= "C" and info.currentline > 0 and not is_ours(info.source) then
      return info.short_src .. ":" .. info.currentline
    end
  end
end

local function title(t)
  return t.name and ("thread #%d \"%s\""):format(t.id, t.name) or ("thread #%d"):format(t.id)
end

--- One line: thread #7 "name" waiting on queue.get (script.lua:12)
function M.describe(t)
  local green = t[1]
  if not green then
    return title(t) .. " " .. t:status()
  end
  local info, status = core.info(green), t:status()
  local at
  if status == "new" then
    at = t.spawned_at and "spawned at " .. t.spawned_at
  else
    at = t == core.current() and where() or where(core.stack(green) or nil)
  end
  if info.what then
    status = status .. " on " .. info.what
  end
  if info.cancelled then
    status = status .. ", cancelled"
  end
  return title(t) .. " " .. status .. (at and " (" .. at .. ")" or "")
end

local function traceback(t)
  local stack = core.stack(t[1])
  if not stack then
    return nil
  end
  return (debug.traceback(stack):gsub("^stack traceback:\n", ""))
end

-- A thread whose on_error function is still at work has ended, so there is less to know.
local function info_of(t)
  return core.info(t[1]) or { id = t.id }
end

local function add(lines, t, depth, children)
  local indent, info = ("  "):rep(depth), info_of(t)
  local line = indent .. M.describe(t)
  if info.left then
    line = ("%s, %.3f s left"):format(line, math.max(0, info.left))
  end
  lines[#lines + 1] = line
  for frame in (traceback(t) or ""):gmatch("[^\n]+") do
    lines[#lines + 1] = indent .. "    " .. frame:gsub("^%s+", "")
  end
  for _, child in ipairs(children[info.id] or {}) do
    add(lines, child, depth + 1, children)
  end
end

--- All threads as a tree: who spawned whom, what each waits on, and where it stands. Not `without`.
function M.tree(without)
  local list, known, children, roots, lines = require("grun.thread").threads(), {}, {}, {}, {}
  for i = #list, 1, -1 do
    known[list[i].id] = true
    if list[i] == without then
      table.remove(list, i)
    end
  end
  for _, t in ipairs(list) do
    local parent = info_of(t).parent
    if known[parent] then
      children[parent] = children[parent] or {}
      table.insert(children[parent], t)
    else
      roots[#roots + 1] = t
    end
  end
  for _, t in ipairs(roots) do
    add(lines, t, 0, children)
  end
  return table.concat(lines, "\n")
end

--- The report for threads that nothing can wake.
function M.deadlock()
  local n = 0
  for _, t in ipairs(core.list()) do
    n = n + (info_of(t).daemon and 0 or 1)
  end
  local text = ("deadlock: %d thread%s wait%s for what can never happen\n%s"):format(
    n, n == 1 and "" or "s", n == 1 and "s" or "", M.tree())
  require("grun.core.log").report(text)
  return false
end

return M
