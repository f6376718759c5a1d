-- SPDX-License-Identifier: MIT
-- Replacing a running master by a new program with the same sockets: the old master starts the new
-- one, and goes once that says that its workers serve.

local inherit = require("grun.inherit")
local native = require("grun.core.worker")
local net = require("grun.socket")
local process = require("grun.process")
local systemd = require("grun.systemd")

local FIRST = 3 -- descriptor: to the old master; sockets follow

local M = {}

-- Where the program is now, and where it was started: the same path may hold another one later.
local program, directory

--- To be called at the start, before anything changes the directory.
function M.remember()
  program, directory = native.realpath("/proc/self/exe"), native.realpath(".")
end

-- ---- The old master ----

--- Starts the new master with the words of the command line. Returns its process and the
--- connection to it, or nil and why it cannot be started. Parks.
function M.start(words)
  local fds, keys = inherit.export()
  local ours, theirs = net.pair()
  table.insert(fds, 1, theirs:fd())
  words.program, words.cwd, words.fds = program, directory, fds
  words.env = process.process.environ()
  words.env.GRUN_UPGRADE = keys
  for name, value in pairs(systemd.variables()) do
    words.env[name] = value
  end
  local p, message = process.spawn(words)
  theirs:close()
  if not p then
    ours:close()
    return nil, message
  end
  return p, ours
end

-- ---- The new master ----

local old

--- Takes the sockets over, if this process was started to replace another.
function M.take_over()
  local keys = os.getenv("GRUN_UPGRADE")
  if keys then
    native.setenv("GRUN_UPGRADE", nil)
    old = assert(net.connect("fd:" .. FIRST))
    inherit.import(FIRST + 1, keys)
  end
end

--- This process serves now: the old master may go.
function M.done()
  if old then
    old:write("ready\n")
    old:close()
    old = nil
  end
end

return M
