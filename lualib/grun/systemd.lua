-- SPDX-License-Identifier: MIT
-- A service manager's side: sockets that it opened (sd_listen_fds(3)) and what it is told
-- (sd_notify(3)).

local core = require("grun.core")
local native = require("grun.core.worker")

local FIRST = 3
local PATIENCE = 1 -- seconds for a manager that does not read

local M = {}

-- Variables are for this process only, not for those it starts.
local function take(name)
  local value = os.getenv(name)
  if value then
    native.setenv(name, nil)
  end
  return value
end

--- The descriptors that this process was given: a list of { fd =, name = }. Empty at later calls.
---@return { fd: integer, name: string? }[]
function M.descriptors()
  local pid, n, names = take("LISTEN_PID"), take("LISTEN_FDS"), take("LISTEN_FDNAMES")
  local list = {}
  if tonumber(pid) ~= native.pid() then
    return list
  end
  local name = (names or ""):gmatch("([^:]*):?")
  for i = 1, tonumber(n) or 0 do
    list[i] = { fd = FIRST + i - 1, name = name() }
  end
  return list
end

-- ---- Telling ----

local socket, manager
local taken = {} -- what start() took

-- As in sd_notify(3): "READY=1" and others, one in each argument. Does nothing without a manager.
function M.notify(...)
  if socket then
    socket:send_to(table.concat({ ... }, "\n"), socket:peer(manager))
  end
end

-- At half the time within which the manager wants to hear of us.
local function watchdog()
  local usec, pid = take("WATCHDOG_USEC"), take("WATCHDOG_PID")
  local limit = tonumber(usec)
  taken.WATCHDOG_USEC = usec
  if not limit or limit == 0 or pid and tonumber(pid) ~= native.pid() then
    return
  end
  local t = core.spawn(function()
    while true do
      M.notify("WATCHDOG=1")
      core.sleep(limit / 2e6)
    end
  end)
  t.name = "systemd watchdog"
  core.daemon(t[1])
end

--- Begins to talk to the manager, if there is one.
function M.start()
  manager = take("NOTIFY_SOCKET")
  taken.NOTIFY_SOCKET = manager
  if manager and not socket then
    socket = require("grun.datagram").udp("unixgram:")
    socket:settimeout(PATIENCE)
    watchdog()
  end
end

--- The variables that the process which takes this one's place needs.
function M.variables()
  return taken
end

--- Monotonic microseconds, for RELOADING=1.
function M.monotonic()
  return ("MONOTONIC_USEC=%d"):format(core.now() * 1e6)
end

-- ---- Without a master ----

local given

--- What to listen on for "systemd:name": "fd:" and the descriptor with that name, given out once.
--- Returns nil, message, code when there is none. Workers leave that to their master, so there it
--- returns the address itself.
function M.address(address)
  if require("grun.worker").id() then
    return address
  end
  local name = address:match("^systemd:(.*)$")
  given = given or M.descriptors()
  for i, item in ipairs(given) do
    if item.name == name then
      table.remove(given, i)
      return "fd:" .. item.fd
    end
  end
  return nil, ("cannot listen on %s: no such socket was given"):format(address), "ENOENT"
end

return M
