-- SPDX-License-Identifier: MIT
-- Where access logs go: files that they are appended to, and stdout. Several servers and processes
-- may share one: each write to a file is of whole lines. Nobody waits for the disk, or for who
-- reads stdout: a thread of its own writes what has come meanwhile.

local core = require("grun.core")
local log = require("grun.log")
local scope = require("grun.scope")

local ROOM = 2 ^ 20 -- bytes that may wait to be written; lines that come then are dropped

local M = {}

local open = {} -- path, or "" for stdout -> LogFile

local LogFile = {}
LogFile.__index = LogFile

local function append_to(path)
  local file, message, number = io.open(path, "a")
  if not file then
    return nil, message, number
  end
  file:setvbuf("no") -- one write for all that is given at once
  return file
end

function LogFile:_reopen()
  local file, message = append_to(self.path)
  if file then
    self.file:close()
    self.file = file
  else
    log.error("the access log: %s; it goes on in the file so far", message)
  end
end

function LogFile:_write()
  local text, dropped = table.concat(self.lines), self.dropped
  self.lines, self.size, self.dropped = {}, 0, 0
  local ok, message = self.file:write(text)
  if ok then
    ok, message = self.file:flush()
  end
  if not ok and not self.failed then
    log.error("the access log: %s: %s", self.name, message)
  end
  self.failed = not ok
  if dropped > 0 then
    log.warn("the access log: %s: %d lines were dropped, it is too slow", self.name, dropped)
  end
end

function LogFile:_work()
  while self.stale or self.size > 0 do
    if self.stale then
      self.stale = false
      self:_reopen()
    else
      self:_write()
    end
  end
  self.working = false
end

-- What is left to do is done by one thread, which a stop of the process waits for.
function LogFile:_wake()
  if not self.working then
    self.working = true
    core.spawn(scope.shield, self._work, self).name = "access log"
  end
end

function LogFile:put(line)
  if self.size > ROOM then
    self.dropped = self.dropped + 1
    return
  end
  self.lines[#self.lines + 1] = line .. "\n"
  self.size = self.size + #line + 1
  self:_wake()
end

local function new(name, path, file)
  return setmetatable({
    name = name, path = path, file = file, lines = {}, size = 0, dropped = 0, failed = false,
    stale = false, working = false,
  }, LogFile)
end

local function sink(self)
  return function(line)
    self:put(line)
  end
end

--- Opens the file, once for all who name it so, and anew when log files are to be reopened. Returns
--- fn(line) that logs one, or nil and a message.
function M.open(path)
  local self = open[path]
  if not self then
    local file, message = append_to(path)
    if not file then
      return nil, message
    end
    self = new(path, path, file)
    open[path] = self
    require("grun.worker").on_reopen(function()
      self.stale = true
      self:_wake()
    end)
  end
  return sink(self)
end

--- The same for stdout.
function M.stdout()
  open[""] = open[""] or new("stdout", nil, io.stdout)
  return sink(open[""])
end

return M
