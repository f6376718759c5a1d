-- SPDX-License-Identifier: MIT
-- The process that is forked into workers (--preload): it loads what they are to share, then waits
-- for its master's orders, and does nothing else. The other side is zygote.lua.
--
-- The master sends two descriptors, one byte with each, and a line that describes the worker, see
-- grun.worker's join(). Back come lines: "ready", and for each order "pid <number>" or "failed
-- <message>". When the master is gone, so is this process.

local core = require("grun.core")
local native = require("grun.core.worker")

local CHANNEL = 3 -- descriptor from the master
local QUIET = 3 -- seconds for threads that still run
local STEP = 0.005

local M = {}

local waiting_for_fork = false
local wants_control -- a socket for grun ps and others

local function fail(message)
  io.stderr:write("grun: --preload: ", message, "\n")
  os.exit(1)
end

--- Makes this process one that is to be forked. To be called first of all. `text` is "preload
--- <generation>", the others as for grun.worker's start().
function M.start(text, plan, who)
  waiting_for_fork = true
  wants_control = require("grun.core.control").later(false)
  require("grun.worker").prepare(plan, who, tonumber(text:match("%d+")))
  core.current():link(function(script)
    if waiting_for_fork and not script:successful() then
      os.exit(1)
    end
  end)
end

-- What HTTP requests left: copies may not share connections.
local function close_connections()
  local pools = package.loaded["grun.http.pool"]
  if pools then
    pools.close_idle()
    core.yield() -- their threads end
  end
end

-- In a copy every thread would run a second time.
local function refuse_threads()
  for _, t in ipairs(core.list()) do
    if t ~= core.current() then
      local info = core.info(t[1])
      fail(("a thread was started before the workers are forked: #%d%s%s"):format(info.id,
        info.name and " " .. info.name or "", info.what and ", waiting in " .. info.what or "")
        .. "; start it in grun.worker.on_start()")
    end
  end
end

-- Threads may also come of signals.
local function try_to_fork()
  if #core.list() > 1 then
    return nil, "other threads run", "EBUSY"
  end
  return native.fork()
end

-- Returns the new process's id, and 0 there; or nil and a message.
local function fork()
  local limit = core.now() + QUIET
  local pid, message, code = try_to_fork()
  while code == "EBUSY" and core.now() < limit do
    core.sleep(STEP)
    pid, message, code = try_to_fork()
  end
  return pid, message
end

local function become_worker(channel, about, words, sockets)
  waiting_for_fork = false
  channel:close()
  math.randomseed(native.random())
  if wants_control then
    require("grun.core.control").later()
  end
  require("grun.worker").join(about, words, sockets)
end

-- The next order, or nothing when there will be none.
local function receive(channel)
  local words = channel:recv_fd()
  local sockets = words and channel:recv_fd()
  local about = sockets and channel:read("l")
  if about then
    return about, words, sockets
  end
end

--- To be called when all that is to be shared is loaded: returns in each worker. In a process that
--- is not to be forked, at once.
function M.wait()
  if not waiting_for_fork then
    return
  end
  close_connections()
  refuse_threads()
  local socket = require("grun.socket")
  local channel = assert(socket.connect("fd:" .. CHANNEL))
  collectgarbage()
  collectgarbage()
  channel:write("ready\n")
  for about, words, sockets in receive, channel do
    local pid, message = fork()
    if pid == 0 then
      return become_worker(channel, about, words, sockets)
    end
    socket.connect("fd:" .. words):close()
    socket.connect("fd:" .. sockets):close()
    channel:write(pid and "pid " .. pid or "failed " .. message, "\n")
  end
  os.exit(0)
end

return M
