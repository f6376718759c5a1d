-- SPDX-License-Identifier: MIT
-- Tells when a file of this program has changed: its scripts and the modules that it loads.

local core = require("grun.core")
local native = require("grun.core.watch")

local SETTLE = 0.05 -- seconds: editors write a file in several steps

local M = {}

local CHANGES = { closed_write = true, move_in = true, create = true, delete = true }

local notify
local directories = {} -- number of a watch -> { path =, names = set }

local function note(path)
  local dir, name = path:match("^(.*/)([^/]+)$")
  local number = notify:add(dir or ".")
  if number then
    local entry = directories[number] or { path = dir or "", names = {} }
    directories[number] = entry
    entry.names[name or path] = true
  end
end

-- Modules are noted before they run, since that is when they are loaded.
local function watch_modules()
  local load = package.loaders[2]
  package.loaders[2] = function(name)
    local chunk = load(name)
    local path = type(chunk) == "function" and package.searchpath(name, package.path)
    if path then
      note(path)
    end
    return chunk
  end
end

local function next_change()
  while true do
    local number, kind, name = notify:next()
    if not number then
      return nil
    end
    local entry = directories[number]
    if entry and CHANGES[kind] and entry.names[name] then
      return entry.path .. name
    end
  end
end

--- Notes the files and what is loaded from now on. Returns a function that calls fn(path) whenever
--- one of them has changed, and does not return.
function M.watch(files, fn)
  local message
  notify, message = native.open()
  if not notify then
    io.stderr:write("grun: --reload: ", message, "\n")
    return function() end
  end
  for _, path in ipairs(files) do
    note(path)
  end
  watch_modules()
  return function()
    local path = next_change()
    while path do
      core.sleep(SETTLE)
      fn(path)
      path = next_change()
    end
  end
end

return M
