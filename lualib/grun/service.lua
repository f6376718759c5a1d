-- SPDX-License-Identifier: MIT
-- What all kinds of servers share: the list of those that run, stopping and waiting for the end,
-- and how their options are checked.
--
-- A class of servers made complete by M.extend has
--   _waiting, _nwaiting   threads in wait() and stop(), and their number
--   _is_over(own)         whether nothing is left but so many handlers of the caller
--   _own()                how many handlers the calling thread is, 0 or 1
--   _sweep()              forgets handlers that were cancelled before they started
--   _end(grace)           takes no more clients (grace 0: nor those that are waiting already)
--   _cancel()             cancels all handlers but the caller

local core = require("grun.core")

local GRACE, UNWIND = 10, 1 -- seconds for handlers: to end by themselves, and once cancelled

local M = {}

--- Set in worker processes: the listeners that other workers accept on too. When this one stops,
--- what waits there is left to them.
M.shared = {}

--- Set in worker processes that count: called with how many connections, requests or datagrams came
--- now.
M.served = nil

--- The same: seconds that idle connections of HTTP servers that stop may still send a request.
M.linger = nil

--- The same: opens the socket of a server of datagrams.
M.udp = nil

-- Servers that accept or still have handlers, in the order of their start.
local running = {}

function M.add(server)
  running[#running + 1] = server
end

function M.forget(server)
  for i, other in ipairs(running) do
    if other == server then
      table.remove(running, i)
      return
    end
  end
end

--- The servers that accept clients or still have some.
---@return grun.server[]
function M.servers()
  return { unpack(running) }
end

--- Wakes who waits for the end.
function M.notify(server)
  if server._nwaiting > 0 then
    for green in pairs(server._waiting) do
      core.ready(green)
    end
  end
end

-- ---- Stopping ----

-- Waits until the server has ended or the time `limit`. Returns whether it has.
local function wait_over(self, own, limit)
  local green, result = core.self(), "ok"
  self._waiting[green] = true
  self._nwaiting = self._nwaiting + 1
  while result == "ok" and not self:_is_over(own) do
    result = core.park("server.wait", limit and math.max(0, limit - core.now()))
  end
  self._waiting[green] = nil
  self._nwaiting = self._nwaiting - 1
  if result == "raise" then
    core.check()
  end
  self:_sweep()
  return self:_is_over(own)
end

local function check_seconds(seconds, what, default)
  if seconds == nil then
    return default
  elseif type(seconds) ~= "number" or not (seconds >= 0) then
    error(what .. ": number of seconds expected, got " .. tostring(seconds), 3)
  end
  return seconds
end

---@class grun.server
local methods = {}

--- Stops accepting, waits up to `grace` seconds (default 10) for the handlers, then cancels those
--- left and waits a second more. Who is in the backlog is still served, unless grace is 0;
--- datagrams that nobody has received yet are lost. Returns true, or nil, "timeout", "timeout" when
--- handlers go on nevertheless. Called by a handler it does not wait for that one. Parks.
---@param grace? number seconds
---@return true|nil, string?, string?
---@async
function methods:stop(grace)
  grace = check_seconds(grace, "stop", GRACE)
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  self:_end(grace)
  local own = self:_own()
  if not wait_over(self, own, core.now() + grace) then
    self:_cancel()
    core.yield()
    self:_sweep()
    if not wait_over(self, own, core.now() + UNWIND) then
      return nil, "timeout", "timeout"
    end
  end
  return true
end

--- Waits until the server has been stopped and its last handler has ended. Returns true, or nil,
--- "timeout", "timeout" after `seconds`. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function methods:wait(seconds)
  seconds = check_seconds(seconds, "wait")
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  if not wait_over(self, self:_own(), seconds and core.now() + seconds) then
    return nil, "timeout", "timeout"
  end
  return true
end

--- Adds stop and wait to a class.
function M.extend(class)
  class.stop, class.wait = methods.stop, methods.wait
end

-- ---- Options ----

--- Checks a table of options against two from names to types; raises at the caller's caller's
--- caller. Returns those that the second one names, and those of TLS, which grun.tls checks (`tls`:
--- that module, for a server of that kind).
function M.check_options(opts, own, of_socket, tls)
  local found = {}
  for name, value in pairs(opts) do
    local types = own[name] or of_socket[name]
    if tls and tls.is_option(name) then
      types = nil
      found[name] = value
    elseif not types or (name == "handshake_timeout" and not tls) then
      error("server: unknown option '" .. tostring(name) .. "'", 3)
    elseif not types:find(type(value), 1, true) then
      local expected = types:gsub(" ", " or ")
      error(("server: option '%s': %s expected, got %s"):format(name, expected, type(value)), 3)
    elseif types == "number" and not (value >= 0) then
      error(("server: option '%s' must be 0 or more"):format(name), 3)
    end
    if types then
      found[name] = of_socket[name] and value
    end
  end
  return found
end

return M
