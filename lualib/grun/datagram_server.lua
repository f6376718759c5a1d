-- SPDX-License-Identifier: MIT
-- Servers of datagrams: a few threads take turns at leading.
--
-- The leader receives a batch and runs the handler for each datagram itself. Before that it makes
-- the standby ready, so that the standby runs as soon as the leader waits for anything, be it
-- inside a handler, and takes over the rest of the batch; the former leader goes on with that one
-- handler only. A leader who did not have to wait resigns after a burst and becomes the standby.
-- So a datagram whose handler does not wait costs no switch, a handler that waits holds up nobody,
-- and other threads get their turn between bursts.

local core = require("grun.core")
local datagram = require("grun.datagram")
local service = require("grun.service")
local thread = require("grun.thread")

local BURST = 32 -- datagrams in a row before other threads run
local HANDLERS = 1024 -- at once
local PAUSE = 0.01 -- seconds until another attempt after a failure of the system
local REPLY_TIMEOUT = 1 -- seconds for a reply to a unix client who does not take it

local xpcall, type, rawget, rawset, min = xpcall, type, rawget, rawset, math.min
local traceback = core.traceback

---@class grun.datagram_server: grun.server
local Server = { __name = "grun.server" }
Server.__index = Server
service.extend(Server)

-- ---- Threads ----
-- One is the leader, at most one the standby; all others are inside a handler that had to wait.

local work

-- Called in a pcall; a function of its own, so that reports name a line of this file as the place
-- of the spawn.
local function spawn_one(self)
  local t = core.spawn(work, self)
  t._server = self
  self._threads[t] = true
  self._nthreads = self._nthreads + 1
  return t
end

local function remove(self, t)
  self._threads[t] = nil
  self._nthreads = self._nthreads - 1
  if self._nthreads == 0 then
    self._sock:close()
    service.forget(self)
  end
  service.notify(self)
end

-- The standby, unless it was cancelled before it started and so never will.
local function find_standby(self)
  local t = self._standby
  if t and rawget(t, "_cancel") and (not t[1] or core.state(t[1]) == "new") then
    self._standby = nil
    remove(self, t)
    return nil
  end
  return t
end

-- Makes the standby run next, a new one if there is none. Returns it, or nil if none can be had.
local function alert(self)
  local standby = find_standby(self)
  if standby then
    core.ready(standby[1])
    return standby
  end
  local ok, t = pcall(spawn_one, self)
  self._standby = ok and t or nil
  return self._standby
end

-- The leader is gone: the standby leads. Returns false if there is none and none can be made.
local function promote(self)
  self._leader, self._inside = nil, false
  if self._standby or not self._over or self._next <= self._last then
    self._leader = alert(self)
    self._standby = nil
    return self._leader ~= nil
  end
  return true
end

-- A thread that is cancelled before it started cannot say so itself.
function Server:_sweep()
  local dead = {}
  for t in pairs(self._threads) do
    dead[#dead + 1] = t[1] == false and t or nil
  end
  for _, t in ipairs(dead) do
    if self._leader == t then
      promote(self)
    elseif self._standby == t then
      self._standby = nil
    end
    remove(self, t)
  end
end

-- A handler that had to wait has ended.
local function free_slot(self)
  self._active = self._active - 1
  if self._sleeper then
    core.ready(self._sleeper)
  end
end

local function drop_batch(self)
  self._next = self._last + 1
  if self._sleeper then
    core.ready(self._sleeper)
  end
end

-- ---- One datagram ----

-- Raises what is to end this thread.
local function fail(self, err, peer)
  local t, on_error = core.current(), self._on_error
  local cancelled = thread.is_own_cancel(err)
  self._errors = self._errors + (cancelled and 0 or 1)
  if cancelled or not on_error then
    if t.name == nil or t.name == self._name then
      t.name = ("%s for %s"):format(self._name, tostring(peer))
    end
    error(err, 0)
  end
  local ok, problem = xpcall(on_error, traceback, err, rawget(t, "traceback"), peer)
  rawset(t, "traceback", nil)
  if not ok then
    error(problem, 0)
  end
end

-- What the handler returned, as the data of a reply, or nil.
local function check_reply(self, ok, reply, peer)
  if not ok then
    return fail(self, reply, peer)
  elseif type(reply) == "number" then
    return tostring(reply)
  elseif reply and type(reply) ~= "string" then
    return fail(self, "the handler must return a string or nothing, got " .. type(reply), peer)
  end
  return reply or nil
end

-- Whatever a handler did to its thread must not reach the next one. Returns false if the thread is
-- of no more use, since it was cancelled.
local function is_reusable(t)
  if rawget(t, "locals") then
    rawset(t, "locals", nil)
  end
  return not rawget(t, "_cancel")
end

-- Sends the replies collected so far. Only the leader does, outside handlers.
local function flush(self)
  local n, at = self._nreplies, 0
  while at < n do
    local ok, _, code, done = self._sock:_send_lists(self._replies, self._to, at, n, self._patience)
    if ok then
      break
    end
    self._unsent = self._unsent + 1
    at = code == "closed" and n or done + 1
  end
  self._nreplies = 0
end

-- ---- Leading ----

-- Runs the handler for up to a burst of the batch. Returns "led", "retire", or, when another thread
-- has taken over meanwhile, "detached" and what the handler returned, with its peer.
local function run_burst(self, me)
  local datas, peers, replies, to = self._datas, self._peers, self._replies, self._to
  local sock, handler = self._sock, self._handler
  local i = self._next
  local last = min(self._last, i + self._burst - 1)
  self._inside = true
  while i <= last do
    local data, peer = datas[i], peers[i]
    datas[i] = false
    i = i + 1
    self._next = i
    local ok, reply = xpcall(handler, traceback, data, peer, sock)
    if self._leader ~= me then
      return "detached", ok, reply, peer
    end
    if not ok or reply and type(reply) ~= "string" then
      reply = check_reply(self, ok, reply, peer)
      if self._leader ~= me then
        return "detached", true, reply, peer
      end
    end
    if reply then
      local n = self._nreplies + 1
      replies[n], to[n], self._nreplies = reply, peer, n
    end
    if not is_reusable(me) then
      return "retire"
    end
  end
  self._inside = false
  return "led"
end

-- Returns false when nothing more will come.
local function receive(self)
  while not self._over do
    local n, _, code = self._sock:_recv_lists(self._datas, self._peers)
    if n then
      self._next, self._last, self._accepted = 1, n, self._accepted + n
      if service.served then
        service.served(n)
      end
      return true
    elseif code == "closed" then
      self._over = true
    else
      core.sleep(PAUSE)
    end
  end
  return false
end

local function wait_for_slot(self)
  self._sleeper = core.self()
  local result = core.park("server (max_connections)")
  self._sleeper = nil
  if result == "raise" then
    core.check()
  end
end

-- Leads for a burst. Returns "over" when nothing more will come, or as run_burst.
local function lead(self, me)
  while self._next > self._last or self._active >= self._max do
    flush(self)
    if self._next <= self._last then
      wait_for_slot(self)
    elseif not receive(self) then
      return "over"
    end
  end
  alert(self)
  return run_burst(self, me)
end

-- Returns once it is this thread's turn to lead.
local function stand_by(self, me)
  while self._leader and self._leader ~= me and not self._inside do
    if core.park("server (standby)") == "raise" then
      core.check()
    end
  end
  if self._leader and self._leader ~= me then
    self._active = self._active + 1 -- the leader so far waits inside its handler
  end
  self._leader, self._inside = me, false
  if self._standby == me then
    self._standby = nil
  end
end

-- The standby and the leader change places.
local function resign(self, me)
  flush(self)
  local standby = find_standby(self)
  if standby then
    self._leader, self._standby = standby, me
    core.ready(standby[1])
  else
    core.yield()
  end
end

-- The end of a handler that had to wait.
local function finish_alone(self, ok, reply, peer)
  reply = check_reply(self, ok, reply, peer)
  if reply and not self._sock:send_to(reply, peer) then
    self._unsent = self._unsent + 1
  end
end

local function serve(self, me)
  while true do
    stand_by(self, me)
    local how, ok, reply, peer = lead(self, me)
    if how == "led" then
      resign(self, me)
    elseif how == "detached" then
      finish_alone(self, ok, reply, peer)
      if not is_reusable(me) or self._over or find_standby(self) then
        return
      end
      free_slot(self)
      self._standby = me
    else
      return
    end
  end
end

-- Whoever cancels a thread that is not inside a handler means the server.
local function was_cancelled_outside(self, me, err)
  local waits = self._standby == me or self._leader == me and not self._inside
  return waits and thread.is_own_cancel(err)
end

local function leave(self, me)
  if self._leader == me then
    local led = promote(self)
    while not led and core.park("server (no threads)", PAUSE) ~= "raise" do
      led = promote(self)
    end
  elseif self._standby == me then
    self._standby = nil
  else
    free_slot(self)
  end
  remove(self, me)
end

function work(self)
  local me = core.current()
  local ok, err = pcall(serve, self, me)
  if not ok and was_cancelled_outside(self, me, err) then
    self:_abandon()
  end
  leave(self, me)
  if not ok then
    error(err, 0)
  end
end

-- ---- Methods ----

--- The address with the real port, such as "udp://127.0.0.1:41234".
---@return string
function Server:address()
  return self._address
end

---@class grun.datagram_server.stats
---@field accepted integer datagrams received so far
---@field active integer handlers running now
---@field errors integer handlers that failed
---@field unsent integer replies that could not be sent
---@field dropped integer datagrams that the kernel has dropped because its buffer was full

---@return grun.datagram_server.stats counts since its start
function Server:stats()
  self:_sweep()
  return {
    accepted = self._accepted,
    active = self._active + (self._inside and 1 or 0),
    errors = self._errors,
    unsent = self._unsent,
    dropped = self._sock:stats().dropped,
  }
end

function Server:_is_over(own)
  return self._nthreads <= own
end

function Server:_own()
  return self._threads[core.current()] and 1 or 0
end

function Server:_end(grace)
  self._sock:_stop()
  if grace == 0 then
    drop_batch(self)
  end
end

-- Receives nothing more and handles nothing more of what has been received.
function Server:_abandon()
  self._over = true
  self:_end(0)
end

function Server:_cancel()
  self:_abandon()
  local me = core.current()
  for t in pairs(self._threads) do
    if t ~= me then
      t:cancel("server stopped")
    end
  end
end

function Server:__tostring()
  local state = self._sock:closed() and "stopped" or ("%d active"):format(self:stats().active)
  return ("%s (%s)"):format(self._name, state)
end

-- ---- Starting ----

local function new_server(sock, handler, opts)
  local address = sock:sockname()
  return setmetatable({
    _sock = sock,
    _address = address,
    _name = "server " .. address,
    _handler = handler,
    _on_error = opts.on_error,
    _max = opts.max_connections or HANDLERS,
    _burst = math.max(1, opts.max_accept or BURST),
    -- A unix client who takes no replies must not keep the others waiting for theirs.
    _patience = address:find("^unixgram:") and 0 or nil,
    _datas = {}, -- the batch, and where it goes on
    _peers = {},
    _next = 1,
    _last = 0,
    _replies = {}, -- not sent yet
    _to = {},
    _nreplies = 0,
    _leader = nil,
    _inside = false, -- the leader runs a handler, or waits in it
    _standby = nil,
    _sleeper = nil, -- the leader's green while it waits for the end of a handler
    _over = false, -- nothing more is received
    _threads = {}, -- set of them
    _nthreads = 0,
    _active = 0, -- those that are neither leader nor standby
    _accepted = 0,
    _errors = 0,
    _unsent = 0,
    _waiting = {}, -- threads in wait() and stop()
    _nwaiting = 0,
  }, Server)
end

local M = {
  -- Name of an option -> its types.
  options = { max_connections = "number", max_accept = "number", on_error = "function" },
  socket_options = {
    reuse_port = "boolean", reuse_addr = "boolean", v6only = "boolean", broadcast = "boolean",
    mode = "string number", rcvbuf = "number", sndbuf = "number", ttl = "number", max = "number",
    multicast_ttl = "number", multicast_loop = "boolean number",
    multicast_interface = "string number",
  },
}

--- For grun.server, which has checked everything.
---@return grun.datagram_server|nil, string?, string?
function M.start(address, handler, opts, of_socket)
  local sock, message, code = (service.udp or datagram.udp)(address, of_socket)
  if not sock then
    return nil, message, code
  end
  if address:find("^[uU][nN]") then
    sock:settimeout(REPLY_TIMEOUT)
  end
  local self = new_server(sock, handler, opts)
  local ok, t = pcall(spawn_one, self)
  if not ok then
    sock:close()
    error(t, 0)
  end
  self._leader = t
  t.name = self._name
  service.add(self)
  return self
end

return M
