-- SPDX-License-Identifier: MIT
-- Servers: a listener, a thread that accepts, and one thread for each connection.

local core = require("grun.core")
local net = require("grun.socket")
local scope = require("grun.scope")
local service = require("grun.service")
local thread = require("grun.thread")

local MAX_ACCEPT = 100 -- connections accepted in a row before others run
local PAUSE_MIN, PAUSE_MAX = 0.01, 1 -- seconds between attempts while no thread can be spawned
local HANDSHAKE = 10 -- seconds for a TLS handshake
local LOOK_AGAIN = 1 -- seconds between looks for handlers that were cancelled before they started

-- Codes of an accept that a listener which was told to `_tell` fails with, and that mean no end.
local SHORTAGE = { EMFILE = true, ENFILE = true, ENOBUFS = true, ENOMEM = true }

local M = { servers = service.servers }

--- A server: it accepts connections and runs a handler for each.
---@class grun.server
local Server = { __name = "grun.server" }
Server.__index = Server
service.extend(Server)

-- ---- What happened ----

-- Wakes the accepting thread if it waits for this, and who waits for the end.
local function changed(self)
  if self._sleeper then
    core.ready(self._sleeper)
  end
  if not self._accepting and self._active == 0 then
    service.forget(self)
  end
  service.notify(self)
end

local function finished(self, conn)
  local received, sent = conn:_bytes()
  self._received, self._sent = self._received + received, self._sent + sent
  conn:close()
  self._threads[conn] = nil
  self._active = self._active - 1
  changed(self)
end

-- A thread that is cancelled before it started leaves its connection to us.
function Server:_sweep()
  for conn, t in pairs(self._threads) do
    if t[1] == false then
      finished(self, conn)
    end
  end
end

-- ---- One connection ----

local function fail(self, conn, err)
  local t, on_error = core.current(), self._on_error
  local cancelled = thread.is_own_cancel(err)
  if cancelled or not on_error then
    t.name = t.name or tostring(conn)
    finished(self, conn)
    self._errors = self._errors + (cancelled and 0 or 1)
    return error(err, 0)
  end
  self._errors = self._errors + 1
  local ok, problem = xpcall(on_error, core.traceback, err, rawget(t, "traceback"), conn)
  finished(self, conn)
  if not ok then
    error(problem, 0)
  end
end

-- Returns whether the handler may be entered: the handshake is complete. Raises when cancelled.
local function secure(self, conn)
  local ok, done = pcall(scope.timeout, self._handshake_timeout, self._handshake, conn, math.huge)
  if ok and done then
    return true
  end
  finished(self, conn)
  if not ok then
    error(done, 0)
  end
  self._handshake_errors = self._handshake_errors + 1
  return false
end

local function handle(self, conn)
  if self._handshake and not secure(self, conn) then
    return
  end
  local ok, err = xpcall(self._handler, core.traceback, conn)
  if ok then
    finished(self, conn)
  else
    fail(self, conn, err)
  end
end

-- ---- Accepting ----

-- Parks the accepting thread until something changed. Returns false when the server is to stop.
local function sleep(self, what, seconds)
  self._sleeper = core.self()
  local result = core.park(what, seconds)
  self._sleeper = nil
  if result == "raise" then
    core.check()
  elseif result == "timeout" then
    self:_sweep()
  end
  return not self._stopping
end

local function wait_for_slot(self)
  while self._active >= self._max do
    if self._http then
      self._http:make_room()
    end
    if not sleep(self, "server (max_connections)", LOOK_AGAIN) then
      return false
    end
  end
  return true
end

-- Called in a pcall; a function of its own, so that reports name a line of this file as the place
-- of the spawn.
local function spawn_one(fn, self, conn)
  local t = core.spawn(fn, self, conn)
  t._server = self
  return t
end

-- At the limit of threads the connection waits until one can be had.
local function spawn(self, conn)
  local pause = PAUSE_MIN
  local ok, t = pcall(spawn_one, handle, self, conn)
  while not ok do
    if not sleep(self, "server (no threads)", pause) then
      return nil
    end
    pause = math.min(pause * 2, PAUSE_MAX)
    ok, t = pcall(spawn_one, handle, self, conn)
  end
  return t
end

local function serve(self, conn)
  if self._idle_timeout then
    conn:settimeout(self._idle_timeout)
  end
  local t = spawn(self, conn)
  if not t then
    conn:close()
    return
  end
  self._threads[conn] = t
  self._active = self._active + 1
  self._accepted = self._accepted + 1
  if service.served and not self._http then
    service.served(1)
  end
end

local function accept_all(self)
  local listener, burst, n = self._listener, self._max_accept, 0
  while wait_for_slot(self) do
    local conn, message, code = listener:accept()
    if conn then
      serve(self, conn)
    elseif code == "closed" then
      return
    elseif self._http and SHORTAGE[code] then
      self._http:make_room()
    else
      error("cannot accept on " .. listener:address() .. ": " .. message, 0)
    end
    n = n + 1
    if n == burst then
      n = 0
      core.yield()
    end
  end
end

local function accept_loop(self)
  local ok, err = xpcall(accept_all, core.traceback, self)
  self._listener:close()
  self._accepting = false
  changed(self)
  if not ok then
    error(err, 0)
  end
end

-- ---- Methods ----

--- The address with the real port, such as "tcp://127.0.0.1:41234".
---@return string
function Server:address()
  local address = self._listener:address()
  return self._http and self._http:address(address) or address
end

-- What clients sent and got, open connections included.
local function bytes(self)
  local received, sent = self._received, self._sent
  for conn in pairs(self._threads) do
    local more_received, more_sent = conn:_bytes()
    received, sent = received + more_received, sent + more_sent
  end
  return received, sent
end

--- Connections accepted so far, connections open now, handlers that failed, bytes from and to
--- clients, and of TLS servers also handshakes that failed.
---@return { accepted: integer, active: integer, errors: integer, received: integer, sent: integer,
--- handshake_errors: integer? }
function Server:stats()
  self:_sweep()
  local received, sent = bytes(self)
  return {
    received = received,
    sent = sent,
    accepted = self._accepted,
    active = self._active,
    errors = self._errors,
    handshake_errors = self._handshake and self._handshake_errors,
  }
end

-- Is nothing left to wait for? A handler that asks does not wait for itself.
function Server:_is_over(own)
  return not self._accepting and self._active <= own
end

function Server:_own()
  local me = core.current()
  for _, t in pairs(self._threads) do
    if t == me then
      return 1
    end
  end
  return 0
end

function Server:_cancel()
  local me = core.current()
  for _, t in pairs(self._threads) do
    if t ~= me then
      t:cancel("server stopped")
    end
  end
end

function Server:_end(grace)
  self._stopping = true
  if grace > 0 and not service.shared[self._listener] then
    self._listener:_stop()
  else
    self._listener:close()
  end
  if self._http then
    self._http:drain(grace)
  end
  changed(self)
end

function Server:__tostring()
  local state = self._accepting and ("%d active"):format(self._active) or "stopped"
  return ("server %s (%s)"):format(self:address(), state)
end

-- ---- Starting ----

-- Name of an option -> its types.
local options = {
  max_connections = "number", max_accept = "number", idle_timeout = "number", on_error = "function",
  handshake_timeout = "number",
}
local listen_options = {
  backlog = "number", reuse_port = "boolean", v6only = "boolean", mode = "string number",
  nodelay = "boolean", keepalive = "boolean", fastopen = "number",
  max_unsent = "number",
}

local function is_datagram(address)
  local scheme = address:match("^(%a+):")
  scheme = scheme and scheme:lower()
  return scheme == "udp" or scheme == "unixgram"
end

local function new_server(listener, handler, opts, tls)
  return setmetatable({
    _listener = listener,
    _handler = handler,
    _on_error = opts.on_error,
    _idle_timeout = opts.idle_timeout,
    _max = opts.max_connections or math.huge,
    _max_accept = opts.max_accept or MAX_ACCEPT,
    _handshake = tls and tls.handshake,
    _handshake_timeout = opts.handshake_timeout or HANDSHAKE,
    _handshake_errors = 0,
    _accepting = true, -- its thread runs
    _stopping = false,
    _sleeper = nil, -- the accepting thread while it waits for us and not for a client
    _threads = {}, -- connection -> its thread
    _active = 0,
    _accepted = 0,
    _errors = 0,
    _received = 0, -- bytes of connections that have ended
    _sent = 0,
    _waiting = {}, -- threads in wait() and stop()
    _nwaiting = 0,
  }, Server)
end

--- Of datagrams also the options of grun.udp, and on_error gets the peer instead of a connection.
---@class grun.server.options
---@field max_connections? integer accepting pauses while so many are open; nobody is dropped. Of
--- datagrams: handlers at once (default 1024); receiving pauses then, and the kernel drops what its
--- buffer does not hold
---@field max_accept? integer connections accepted in a row before other threads run (default 100);
--- datagrams: 32
---@field idle_timeout? number seconds; the default timeout of each connection's calls
---@field on_error? fun(err: any, traceback: string, conn: grun.conn) replaces the report on stderr
---@field handshake_timeout? number seconds for a TLS handshake (default 10)
---@field tls? grun.tls.context|grun.tls.options for "tls:"; its options may also stand here
---@field backlog? integer clients that may wait to be accepted (default 1024)
---@field reuse_port? boolean several listeners on one address share its clients
---@field v6only? boolean
---@field mode? string|integer permissions of a unix path, such as "0660"
---@field nodelay? boolean default true
---@field keepalive? boolean
---@field fastopen? integer clients that may send data with their SYN and are not accepted yet
---@field max_unsent? integer bytes that the kernel takes for a client that reads slowly: see
--- grun.listen; of http and https 65536

--- Listens on the address and runs handler(conn) in a thread of its own for each client, from now
--- on until stop(). The connection is closed when the handler returns or fails. With an address of
--- datagrams runs handler(data, peer, sock) for each, and sends the string that it returns, if any,
--- back to the peer; handlers share threads, but one that waits holds up nobody. Returns nil,
--- message, code when it cannot listen.
---@param address string "tcp://127.0.0.1:8000", "tcp://:8000", "unix:/path", "udp://:53", …
---@param handler fun(conn: grun.conn)|fun(data: string, peer: grun.peer, sock: grun.sock): string?
---@param opts? grun.server.options
---@return grun.server|nil, string?, string?
function M.server(address, handler, opts)
  if type(address) ~= "string" then
    error("server: address expected, got " .. type(address), 2)
  elseif type(handler) ~= "function" and not (getmetatable(handler) or {}).__call then
    error("server: handler must be a function, got " .. type(handler), 2)
  elseif opts ~= nil and type(opts) ~= "table" then
    error("server: table of options expected, got " .. type(opts), 2)
  end
  opts = opts or {}
  if is_datagram(address) then
    local datagrams = require("grun.datagram_server")
    local of_socket = service.check_options(opts, datagrams.options, datagrams.socket_options)
    return datagrams.start(address, handler, opts, of_socket)
  end
  local http = address:find("^https?://") and require("grun.http.server")
  local tls = (address:find("^tls:") or address:find("^https:")) and require("grun.tls")
  local own = http and http.options_and(options) or options
  local of_socket = service.check_options(opts, own, listen_options, tls)
  if http then
    http = http.new(address, handler, opts)
    handler = http.handler
    address = http.listen
    of_socket.max_unsent = of_socket.max_unsent or http.max_unsent
    if tls and not of_socket.tls then
      of_socket.alpn = of_socket.alpn or { "http/1.1", "http/1.0" }
    end
  end
  local message, code
  if address:find("^systemd:") then
    address, message, code = require("grun.systemd").address(address)
    if not address then
      return nil, message, code
    end
  end
  local listener
  listener, message, code = (tls or net).listen(address, of_socket, "server", 4)
  if not listener then
    return nil, message, code
  end
  local self = new_server(listener, handler, opts, tls)
  if http then
    http:attach(self)
  end
  local ok, t = pcall(spawn_one, accept_loop, self)
  if not ok then
    listener:close()
    error(t, 0)
  end
  t.name = "server " .. self:address()
  self._acceptor = t
  service.add(self)
  return self
end

return M
