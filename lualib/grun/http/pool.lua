-- SPDX-License-Identifier: MIT
-- Connections of HTTP clients: how they are made, and kept for the next request.

local core = require("grun.core")
local httpc = require("grun.core.httpc")
local socket = require("grun.socket")
local semaphore = require("grun.semaphore").semaphore

---@class grun.http.pool
local Pool = {}
Pool.__index = Pool

-- A connection in use. Its owner ends it with give_back, once; the first call counts. While a body
-- is sent on it, `upload` is that.
local Lease = {}
Lease.__index = Lease

local MAX_IDLE = 256 -- of one pool, whatever the hosts

-- ---- Making connections ----

local function left(until_time)
  return until_time and math.max(0, until_time - core.now())
end

local function nearer(a, b)
  return a and b and math.min(a, b) or a or b
end

local function tls_options(how)
  local opts = how.tls
  if getmetatable(opts) then -- a context
    return { tls = opts }
  end
  local own = { alpn = { "http/1.1" } }
  for name, value in pairs(opts or {}) do
    own[name] = value
  end
  return own
end

-- CONNECT: true, or nil, message, code.
local function open_tunnel(conn, how, limit)
  local target = how.url.address
  local fields = {}
  if how.proxy.authorization then
    fields = { "Proxy-Authorization", how.proxy.authorization }
  end
  conn:settimeout(left(limit))
  local head = assert(httpc.head("CONNECT", target, target, fields, 0, true))
  local ok, message, code = conn:write(head)
  if not ok then
    return nil, message, code
  end
  local options = { max_header = 65536, max_headers = 100, ["until"] = limit }
  local status, reason
  status, reason, code = httpc.receive(conn, "CONNECT", options)
  if not status then
    return nil, reason, code
  elseif status < 200 or status > 299 then
    return nil, ("the proxy refuses: %d %s"):format(status, reason), "proxy"
  end
  return true
end

local function finish_connect(conn, ok, ...)
  if not (ok and ...) then
    conn:close()
  end
  if not ok then
    return error((...), 0)
  end
  return ...
end

-- Makes a connection through a proxy fit for the request.
local function prepare(conn, how, limit)
  return finish_connect(conn, xpcall(function()
    local ok, message, code = open_tunnel(conn, how, limit)
    if not ok then
      return nil, message, code
    end
    local opts = tls_options(how)
    opts.hostname = opts.hostname or how.url.host
    opts.server = false
    opts.timeout = left(limit)
    ok, message, code = conn:starttls(opts)
    if not ok then
      return nil, message, code
    end
    return conn
  end, core.traceback))
end

local function connect(how, limit)
  limit = nearer(limit, how.connect_timeout and core.now() + how.connect_timeout)
  local https = how.url.scheme == "https"
  local opts, address = {}, "tcp://" .. how.url.address
  if how.proxy then
    address = "tcp://" .. how.proxy.address
  elseif https then
    opts, address = tls_options(how), "tls://" .. how.url.address
  end
  opts.timeout = left(limit)
  local conn, message, code = socket.connect(address, opts)
  if conn and how.proxy and https then
    return prepare(conn, how, limit)
  end
  return conn, message, code
end

-- ---- Keeping them ----

local function text_of(opts)
  if getmetatable(opts) then -- a context: rawequal ones only
    return ("%p"):format(opts)
  end
  local parts = {}
  for name, value in pairs(opts) do
    if name == "alpn" and type(value) == "table" then
      value = table.concat(value, ",")
    end
    parts[#parts + 1] = tostring(name) .. "=" .. tostring(value)
  end
  table.sort(parts)
  return table.concat(parts, "\0")
end

-- Requests of the same key may share a connection.
local function key_of(how)
  local parts = { how.url.origin }
  if how.proxy then
    parts[2] = how.proxy.address .. " " .. (how.proxy.authorization or "")
    if how.url.scheme == "http" then -- the proxy's connections serve all hosts
      parts[1] = "http"
    end
  end
  if how.tls and how.url.scheme == "https" then
    parts[3] = text_of(how.tls)
  end
  return ("%s\1%s\1%s"):format(parts[1], parts[2] or "", parts[3] or "")
end

local function host_of(self, how)
  local key = key_of(how)
  local host = self._hosts[key]
  if not host then
    -- `tls` is kept since the key may hold the address of its tables.
    host = { key = key, idle = {}, users = 0, permits = semaphore(self.max_per_host),
      tls = how.tls }
    self._hosts[key] = host
  end
  return host
end

local function forget_if_unused(self, host)
  if host.users == 0 and #host.idle == 0 then
    self._hosts[host.key] = nil
  end
end

-- Closes what is idle since `limit` or longer, or was closed by the server.
local function close_old(self, limit)
  for _, host in pairs(self._hosts) do
    for i = #host.idle, 1, -1 do
      local entry = host.idle[i]
      if entry.since <= limit or not httpc.is_idle(entry.conn) then
        table.remove(host.idle, i)
        entry.conn:close()
        self._nidle = self._nidle - 1
      end
    end
    forget_if_unused(self, host)
  end
end

-- Closes connections that were idle for too long, while there are some. It does not keep the
-- program running.
local function sweep(self)
  while self._nidle > 0 do
    core.nap(math.min(self.idle_timeout, 1))
    close_old(self, core.now() - self.idle_timeout)
  end
end

local function start_sweeper(self)
  if self._sweeper and self._sweeper[1] then
    return
  end
  self._sweeper = require("grun.thread").spawn_daemon("http.pool", sweep, self)
end

-- The connection that was used last, if it is still good.
local function take_idle(self, host)
  while #host.idle > 0 do
    local conn = table.remove(host.idle).conn
    self._nidle = self._nidle - 1
    if httpc.is_idle(conn) then
      return conn
    end
    conn:close()
  end
end

local function new_lease(self, host, conn, reused)
  return setmetatable({ pool = self, host = host, conn = conn, reused = reused }, Lease)
end

local function leave(self, host)
  host.permits:release()
  host.users = host.users - 1
  forget_if_unused(self, host)
end

local function finish_acquire(self, host, ok, ...)
  local conn = ...
  if ok and conn then
    return new_lease(self, host, conn, false)
  end
  leave(self, host)
  if not ok then
    return error(conn, 0)
  end
  return ...
end

local function wait_for_permit(self, host, limit)
  host.users = host.users + 1
  local done, ok, message, code = pcall(host.permits.acquire, host.permits, left(limit))
  if done and ok then
    return true
  end
  host.users = host.users - 1
  forget_if_unused(self, host)
  if not done then
    return error(ok, 0)
  end
  return nil, message, code
end

--- A connection for requests as `how` says (url, proxy, tls, connect_timeout): one that is idle,
--- unless `fresh`, or a new one. Waits while there are max_per_host in use. Returns a lease: its
--- `conn`, and whether it was `reused`; or nil, message, code. Parks.
function Pool:acquire(how, limit, fresh)
  local host = host_of(self, how)
  local ok, message, code = wait_for_permit(self, host, limit)
  if not ok then
    return nil, message, code
  end
  local conn = not fresh and take_idle(self, host)
  if conn then
    return new_lease(self, host, conn, true)
  end
  return finish_acquire(self, host, xpcall(connect, core.traceback, how, limit))
end

local function keep(self, host, conn)
  if #host.idle >= self.max_idle then
    table.remove(host.idle, 1).conn:close()
    self._nidle = self._nidle - 1
  end
  conn:settimeout()
  host.idle[#host.idle + 1] = { conn = conn, since = core.now() }
  self._nidle = self._nidle + 1
  start_sweeper(self)
end

local function may_keep(self, conn)
  return self.open and self.max_idle > 0 and self._nidle < MAX_IDLE and httpc.is_idle(conn)
end

--- Ends the use, and with it the upload; the connection is kept if `reusable` and nothing speaks
--- against it. Never parks; finalizers call it too, with false.
function Lease:give_back(reusable)
  if self.over then
    return
  end
  local upload = self.upload
  if upload then
    upload:stop()
    reusable = reusable and upload.complete
  end
  if reusable and may_keep(self.pool, self.conn) then
    keep(self.pool, self.host, self.conn)
  else
    self.conn:close()
  end
  self:detach()
end

--- Gives the connection away: it is the caller's to close.
function Lease:detach()
  self.over = true
  leave(self.pool, self.host)
  return self.conn
end

--- Closes what is idle.
function Pool:close_idle()
  close_old(self, math.huge)
  if self._sweeper then
    self._sweeper:cancel("no idle connections")
    self._sweeper = nil
  end
end

--- Closes what is idle, now and from now on.
function Pool:close()
  self.open = false
  self:close_idle()
end

---@return integer idle connections
function Pool:idle()
  return self._nidle
end

local M = {}

local pools = setmetatable({}, { __mode = "k" })

--- Closes what is idle in all pools. A process that is to be forked may not keep it, nor the
--- threads that look after it.
function M.close_idle()
  for pool in pairs(pools) do
    pool:close_idle()
  end
end

--- A pool: at most max_per_host connections to one host (100), of which max_idle are kept for
--- idle_timeout seconds (16, 30).
function M.new(opts)
  local pool = setmetatable({
    max_per_host = opts.max_per_host or 100,
    max_idle = opts.max_idle or 16,
    idle_timeout = opts.idle_timeout or 30,
    open = true,
    _hosts = {},
    _nidle = 0,
  }, Pool)
  pools[pool] = true
  return pool
end

return M
