-- SPDX-License-Identifier: MIT
-- Watching files and directories by inotify. Only directories are watched: a file by way of the one
-- that it is in, so that it may come and go, and be replaced by another of its name.

local core = require("grun.core")
local fs = require("grun.fs")
local native = require("grun.core.watch")

local M = {}

--- Changes of a file or directory, as they happen.
---@class grun.watcher
---@field path string as given
local Watcher = { __name = "grun.watcher" }
Watcher.__index = Watcher

-- self._dirs: number of a watch -> { path =, names = name -> path to report, or nil: all names,
--   root = true for the directory that was asked for }
-- self._numbers: path of a directory -> number of its watch
-- self._events: what is known and not given out, from self._first on
-- self._scan: new directories that are to be looked through

local function push(self, event)
  self._last = self._last + 1
  self._events[self._last] = event
end

local function pop(self)
  local event = self._events[self._first]
  if event then
    self._events[self._first] = nil
    self._first = self._first + 1
  end
  return event
end

local function join(dir, name)
  return dir:sub(-1) == "/" and dir .. name or dir .. "/" .. name
end

-- Returns the entry of that directory, or nil, message, code.
local function add(self, path)
  local number, message, code = self._notify:add(path)
  if not number then
    return nil, message, code
  end
  local entry = self._dirs[number] or { path = path }
  -- The same directory by a new name: it was moved.
  if entry.path ~= path and not entry.names then
    self._numbers[entry.path] = nil
    entry.path = path
  end
  self._dirs[number], self._numbers[path] = entry, number
  return entry
end

-- Forgets a directory that is no longer there, and those below it.
local function forget(self, path)
  for other, number in pairs(self._numbers) do
    if other == path or other:sub(1, #path + 1) == path .. "/" then
      self._numbers[other] = nil
      self._dirs[number] = nil
      self._notify:remove(number)
    end
  end
end

-- A directory came: what is in it may have been there before it was watched.
local function enter(self, path)
  local entry, message, code = add(self, path)
  if entry then
    self._scan[#self._scan + 1] = path
  elseif code ~= "ENOENT" and code ~= "ENOTDIR" then
    push(self, { message = message, code = code })
  end
end

local SELF = { delete_self = "delete", unmount = "delete", move_self = "move_out" }

-- What becomes of an event of the directory itself.
local function handle_self(self, number, entry, kind)
  if kind == "ignored" then
    self._dirs[number], self._numbers[entry.path] = nil, nil
    if not next(self._dirs) then
      self._gone = true
    end
  elseif entry.root then
    push(self, { kind = SELF[kind] or kind, path = entry.path, is_dir = true })
  end
end

local function handle_name(self, entry, kind, name, is_dir, cookie)
  local path = not entry.names and join(entry.path, name) or entry.names[name]
  if not path then
    return
  end
  push(self, {
    kind = kind,
    path = path,
    name = path:match("[^/]*$"),
    is_dir = is_dir,
    cookie = cookie ~= 0 and cookie or nil,
  })
  if self._recursive and is_dir then
    if kind == "create" or kind == "move_in" then
      enter(self, path)
    elseif kind == "move_out" then
      forget(self, path)
    end
  end
end

local function handle(self, number, kind, name, is_dir, cookie)
  local entry = self._dirs[number]
  if kind == "overflow" then
    push(self, { kind = kind, path = self.path })
  elseif entry and name then
    handle_name(self, entry, kind, name, is_dir, cookie)
  elseif entry then
    handle_self(self, number, entry, kind)
  end
end

-- Looks through one new directory. `report`: as if what is in it were created now.
local function scan(self, report)
  local path = self._scan[#self._scan]
  local list = fs.list(path)
  table.remove(self._scan)
  for _, item in ipairs(list or {}) do
    local below, is_dir = join(path, item.name), item.type == "directory"
    if report then
      push(self, { kind = "create", path = below, name = item.name, is_dir = is_dir })
    end
    if is_dir then
      enter(self, below)
    end
  end
end

local function left(limit)
  return limit and math.max(0, limit - core.now())
end

--- Waits for the next event: a table with kind, path, name (the last part of path), is_dir and, for
--- the two halves of a move, the same cookie. Kinds: "create", "modify", "delete", "move_in",
--- "move_out", "attrib" (permissions, times, links), "closed_write" (closed by somebody who could
--- write), "overflow" (events were lost: look yourself). Returns nil, "timeout", "timeout" after
--- `seconds`; nil, "closed", "closed" once it is closed, or what was watched is gone for good; nil,
--- message, code when a new directory cannot be watched, and then goes on. Parks.
---@param seconds? number
---@return grun.watch_event|nil, string?, string?
---@async
function Watcher:next(seconds)
  local limit = require("grun.waiter").limit(seconds, "next")
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  while true do
    local event = pop(self)
    if event then
      if event.message then
        return nil, event.message, event.code
      end
      return event
    elseif self._scan[1] then
      scan(self, true)
    elseif self._gone then
      self:close()
      return nil, "closed", "closed"
    else
      local number, kind, name, is_dir, cookie = self._notify:next(left(limit))
      if not number then
        return nil, kind, name
      end
      handle(self, number, kind, name, is_dir, cookie)
    end
  end
end

Watcher.__call = function(self)
  return self:next()
end

--- Stops watching; a thread in next() gets "closed". Idempotent.
function Watcher:close()
  self._events, self._first, self._last, self._scan = {}, 1, 0, {}
  self._notify:close()
end

function Watcher:__tostring()
  local fd = self._notify:fd()
  return ("watcher %s (%s)"):format(self.path, fd < 0 and "closed" or "fd " .. fd)
end

-- ---- Beginning ----

local function split(path)
  local dir, name = path:match("^(.*/)([^/]+)$")
  if dir then
    return #dir > 1 and dir:sub(1, -2) or dir, name
  end
  return ".", path
end

-- Watches for one name. What happens there is reported as happening to `path`.
local function add_name(self, at, path)
  local dir, name = split(at)
  local entry, message, code = add(self, dir)
  if not entry then
    return nil, message, code
  end
  entry.names = entry.names or {}
  entry.names[name] = path
  return true
end

-- A link's own directory is watched and that of the file behind it.
local function begin_file(self, path)
  local ok, message, code = add_name(self, path, path)
  local real = ok and fs.realpath(path)
  local info = real and fs.lstat(path)
  if info and info.type == "link" then
    add_name(self, real, path)
  end
  return ok, message, code
end

local function begin_directory(self, path)
  local entry, message, code = add(self, path)
  if not entry then
    return nil, message, code
  end
  entry.root = true
  if self._recursive then
    self._scan[1] = path
    while self._scan[1] do
      scan(self, false)
    end
    local failure = pop(self)
    if failure then
      return nil, failure.message, failure.code
    end
  end
  return true
end

local function read_options(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("watch: table of options expected, got " .. type(opts), 3)
  end
  for name in pairs(opts or {}) do
    if name ~= "recursive" then
      error(("watch: unknown option '%s'"):format(tostring(name)), 3)
    end
  end
  return opts and opts.recursive and true or false
end

---@class grun.watch_event
---@field kind string see next()
---@field path string
---@field name? string
---@field is_dir? boolean
---@field cookie? integer

--- Watches a directory for what happens to its entries, or a file, which need not be there yet.
--- With opts.recursive also everything below a directory: new directories are watched as soon as
--- their creation is seen, and what is in them by then is reported as created (perhaps twice, if it
--- came at the same moment). Links are not followed there. Calling the watcher is next(), so that
--- `for event in watcher do` works. Returns nil, message, code on failure. Parks.
---@param path string
---@param opts? { recursive?: boolean }
---@return grun.watcher|nil, string?, string?
---@async
function M.watch(path, opts)
  if type(path) ~= "string" then
    error("watch: path expected, got " .. type(path), 2)
  end
  local recursive = read_options(opts)
  local info, message, code = fs.stat(path)
  if not info and code ~= "ENOENT" then
    return nil, message, code
  end
  local notify
  notify, message, code = native.open()
  if not notify then
    return nil, message, code
  end
  local self = setmetatable({
    path = path, _recursive = recursive, _notify = notify, _dirs = {}, _numbers = {},
    _events = {}, _first = 1, _last = 0, _scan = {},
  }, Watcher)
  local begin = info and info.type == "directory" and begin_directory or begin_file
  local ok
  ok, message, code = begin(self, path)
  if not ok then
    self:close()
    return nil, message, code
  end
  return self
end

return M
