-- SPDX-License-Identifier: MIT
-- Looking at threads from outside: one line each, all of them as a tree, with what they wait for
-- and tracebacks. Looking at many lets other threads run now and then.

local core = require("grun.core")
local native = require("grun.core.inspect")
local waiting = require("grun.waiting")

local SLICE, PAUSE = 0.004, 1e-5 -- seconds of looking before others run, and of leaving them to it
local INDENT_MAX = 20 -- levels of the tree that are shown as such

local M = {}

--- A thread's number and name.
function M.title(t)
  return t.name and ("thread #%d \"%s\""):format(t.id, t.name) or ("thread #%d"):format(t.id)
end
local title = M.title

--- One line: thread #7 "name" waiting on queue.get (script.lua:12)
function M.describe(t)
  local green = t[1]
  if not green then
    return title(t) .. " " .. t:status()
  end
  local info, status = core.info(green), t:status()
  local at, spawned_at = native.place(green)
  if status == "new" then
    at = spawned_at and "spawned at " .. spawned_at
  end
  if info.what then
    status = status .. " on " .. info.what
  end
  if info.cancelled then
    status = status .. ", cancelled"
  end
  return title(t) .. " " .. status .. (at and " (" .. at .. ")" or "")
end

-- ---- Facts ----

---@class grun.inspect.row
---@field id integer
---@field parent integer the id of its spawner, which may have ended; 0: none
---@field state "new"|"ready"|"running"|"waiting"
---@field what? string the name of its wait
---@field object? string what exactly it waits for
---@field left? number seconds of its wait, or to its start
---@field name? string
---@field at? string where it stands in the script
---@field spawned_at? string
---@field age number seconds
---@field cpu number seconds
---@field switches integer
---@field stack? integer bytes of C stack in use
---@field memory? integer bytes of C stack that are in memory; before anything was looked at that a
---hibernating thread is woken for
---@field daemon boolean does not keep the process alive
---@field cancelled boolean

-- Tail of what native.place returns.
local function fill_place(row, green, memory, at, spawned_at, ...)
  row.at, row.spawned_at = at, spawned_at
  row.object = row.state == "waiting" and waiting.object(green, row.what, memory, ...) or nil
  return row
end

--- What is known of a thread without a look at its stack, for which hibernating ones are woken; nil
--- if it has ended. `row`: a table to use again.
---@return grun.inspect.row?
function M.facts(t, row)
  local green = t[1]
  if not green then
    return nil
  end
  row = row or {}
  row.memory = native.memory(green)
  row.id, row.parent, row.state, row.what, row.left, row.name, row.age, row.cpu, row.switches,
    row.stack, row.daemon, row.cancelled = native.facts(green)
  return row
end

--- Adds to a row what a look at the stack tells: where the thread stands, and what exactly it waits
--- for. `memory`: of waiting.memory().
---@return grun.inspect.row
function M.look(t, row, memory)
  return t[1] and fill_place(row, t[1], memory, native.place(t[1])) or row
end

--- Both.
---@return grun.inspect.row?
function M.row(t, memory, row)
  row = M.facts(t, row)
  return row and M.look(t, row, memory)
end

local function lua_traceback(t)
  local stack = core.stack(t[1])
  if not stack then
    return {}
  end
  local list = {}
  for frame in debug.traceback(stack):gsub("^stack traceback:\n", ""):gmatch("[^\n]+") do
    list[#list + 1] = frame:gsub("^%s+", "")
  end
  return list
end

--- The functions a thread stands in, innermost first: two lists of texts, Lua's and C's. Empty for
--- the running thread and one that has not begun.
---@return string[], string[]
function M.traceback(t)
  if not t[1] then
    return {}, {}
  end
  return lua_traceback(t), native.backtrace(t[1])
end

-- ---- All of them ----

-- Lets others run when this slice is over, unless this is the hub, where nobody can wait. Not by a
-- yield, of which the hub may take many before it looks for events.
local function breather()
  local start = core.now()
  return function()
    if core.current() and core.now() - start > SLICE then
      core.sleep(PAUSE)
      start = core.now()
    end
  end
end

local function by_id(a, b)
  return a[2] < b[2]
end

-- Threads are mostly in order already; else they are sorted in pieces, which are merged.
local function merge(a, b, breathe)
  local list, i, k = {}, 1, 1
  for n = 1, #a + #b do
    if k > #b or i <= #a and a[i][2] < b[k][2] then
      list[n], i = a[i], i + 1
    else
      list[n], k = b[k], k + 1
    end
    if n % 1000 == 0 then
      breathe()
    end
  end
  return list
end

local function sort(list, first, last, breathe)
  if last - first < 1000 then
    local piece = { unpack(list, first, last) }
    table.sort(piece, by_id)
    breathe()
    return piece
  end
  local middle = math.floor((first + last) / 2)
  return merge(sort(list, first, middle, breathe), sort(list, middle + 1, last, breathe), breathe)
end

local function is_sorted(list)
  for i = 2, #list do
    if list[i][2] < list[i - 1][2] then
      return false
    end
  end
  return true
end

local function all_threads(breathe)
  local list = core.list()
  return is_sorted(list) and list or sort(list, 1, #list, breathe)
end

local function parent_of(t)
  if t[1] then
    local _, parent = native.facts(t[1])
    return parent
  end
end

-- The threads without a living parent, and id -> list of children.
local function family(list, without, breathe)
  local known, children, roots = {}, {}, {}
  for _, t in ipairs(list) do
    known[t[2]] = t ~= without or nil
  end
  for i, t in ipairs(list) do
    local parent = parent_of(t)
    local siblings = known[parent] and (children[parent] or {}) or roots
    if siblings ~= roots then
      children[parent] = siblings
    end
    siblings[#siblings + 1] = t ~= without and t or nil
    if i % 500 == 0 then
      breathe()
    end
  end
  return roots, children
end

--- Iterates over all threads but `without` in the order of their tree: thread and depth. Lets
--- others run now and then, so threads may end meanwhile.
---@param without? grun.thread
---@return fun(): grun.thread?, integer?
function M.each(without)
  local breathe = breather()
  local roots, children = family(all_threads(breathe), without, breathe)
  local lists, places, n = { roots }, { 0 }, 1
  return function()
    breathe()
    while n > 0 do
      places[n] = places[n] + 1
      local t = lists[n][places[n]]
      if t then
        local depth, below = n - 1, children[t[2]]
        if below then
          n = n + 1
          lists[n], places[n] = below, 0
        end
        return t, depth
      end
      n = n - 1
    end
  end
end

-- ---- Texts ----

--- A duration in few letters: 350 ms, 12.3 s, 5:07, 3:05:07, 12d 3h.
function M.duration(seconds)
  if seconds < 1 then
    return ("%d ms"):format(seconds * 1000)
  elseif seconds < 60 then
    return ("%.1f s"):format(seconds)
  elseif seconds < 3600 then
    return ("%d:%02d"):format(math.floor(seconds / 60), math.floor(seconds % 60))
  elseif seconds < 86400 then
    return ("%d:%02d:%02d"):format(math.floor(seconds / 3600), math.floor(seconds / 60) % 60,
      math.floor(seconds % 60))
  end
  return ("%dd %dh"):format(math.floor(seconds / 86400), math.floor(seconds / 3600) % 24)
end

local function details(row)
  local list = { row.object }
  list[#list + 1] = "age " .. M.duration(row.age)
  list[#list + 1] = ("cpu %.2f s"):format(row.cpu)
  list[#list + 1] = row.switches == 1 and "1 switch" or ("%d switches"):format(row.switches)
  list[#list + 1] = row.spawned_at and "spawned at " .. row.spawned_at
  return table.concat(list, "; ")
end

-- Frames of the runtime and of LuaJIT are below every thread.
local function is_foreign(frame)
  return not frame:find("^grun[:%s]") and not frame:find("^libluajit") and
    not frame:find("^libc%.so")
end

local function has_foreign(frames)
  for _, frame in ipairs(frames) do
    if is_foreign(frame) then
      return true
    end
  end
  return false
end

--- Adds the lines about one thread to a list. C functions: always, or only where a library's are
--- among them.
function M.add_lines(lines, t, depth, memory, all_frames)
  local indent = ("  "):rep(math.min(depth, INDENT_MAX))
  local line, row = indent .. M.describe(t), M.row(t, memory)
  if not row then
    lines[#lines + 1] = line
    return
  end
  if row.left then
    line = ("%s, %.3f s left"):format(line, row.left)
  end
  lines[#lines + 1] = line
  lines[#lines + 1] = indent .. "    " .. details(row)
  local in_lua, in_c = M.traceback(t)
  for _, frame in ipairs(in_lua) do
    lines[#lines + 1] = indent .. "    " .. frame
  end
  if #in_c > 0 and (all_frames or has_foreign(in_c)) then
    lines[#lines + 1] = indent .. "    C functions:"
    for _, frame in ipairs(in_c) do
      lines[#lines + 1] = indent .. "      " .. frame
    end
  end
end

--- All threads as a tree: who spawned whom, what each waits on, and where it stands. Not `without`.
function M.tree(without)
  local lines, memory = {}, waiting.memory()
  for t, depth in M.each(without) do
    M.add_lines(lines, t, depth, memory)
  end
  return table.concat(lines, "\n")
end

--- The report for threads that nothing can wake.
function M.deadlock()
  local n = 0
  for _, t in ipairs(core.list()) do
    n = n + (t[1] and core.info(t[1]).daemon and 0 or 1)
  end
  local text = ("deadlock: %d thread%s wait%s for what can never happen\n%s"):format(
    n, n == 1 and "" or "s", n == 1 and "s" or "", M.tree())
  require("grun.core.log").report(text)
  return false
end

return M
