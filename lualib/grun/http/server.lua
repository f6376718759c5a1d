-- SPDX-License-Identifier: MIT
-- HTTP servers: what serves one connection of a grun.server with an http:// or https:// address.

local core = require("grun.core")
local httpd = require("grun.core.httpd")
local service = require("grun.service")
local arguments = require("grun.http.handler").arguments
local thread = require("grun.thread")
require("grun.http.request")
require("grun.http.response")

local M = {}

-- Name of an option -> its default; math.huge stands for "no limit".
local defaults = {
  header_timeout = 10, -- seconds for the head of a request
  idle_timeout = 60, -- seconds until the first byte of a request
  body_timeout = 30, -- seconds for each piece of a body
  write_timeout = 30, -- seconds for each write
  max_line = 8192, -- bytes of the request line; then 414
  max_header = 16384, -- bytes of the fields; then 431
  max_headers = 100, -- their number; then 431
  max_body = 1048576, -- bytes of a body read into one string; then 413
  max_requests = 0, -- on one connection; 0: any number
  min_rate = 240, -- bytes per second of bodies; 0: any rate
}

-- Bytes of responses that wait in the kernel for each client. Without a limit, thousands of clients
-- that read slowly use up the memory that the system has for all connections.
local MAX_UNSENT = 65536

-- Under pressure: how many idle connections are closed at a time, seconds between two times, and
-- seconds that a connection must have been idle for.
local ROOM, ROOM_EVERY, ROOM_AGE = 32, 0.1, 5

local LIMITS = {
  max_line = 65535, max_header = 1048576, max_headers = 1024, max_body = 2 ^ 40,
  max_requests = 2 ^ 32 - 1,
}

-- Name of an option -> its types.
local options = {
  header_timeout = "number", idle_timeout = "number", body_timeout = "number",
  write_timeout = "number", max_line = "number", max_header = "number", max_headers = "number",
  max_body = "number", max_requests = "number", server_header = "string boolean",
  access_log = "boolean string function", access_log_file = "string",
  trust_proxy = "number boolean", proxy_protocol = "boolean",
  min_rate = "number", gzip = "boolean table",
}

--- Types of an HTTP server's options: these and those that every server has.
function M.options_and(common)
  return setmetatable(options, { __index = common })
end

---@class grun.http.server.options: grun.server.options
---@field header_timeout? number seconds from a request's first byte to the end of its head (10)
---@field idle_timeout? number seconds that a connection may be silent between requests (60); when
---there are max_connections, or no more descriptors, and others wait, 5: the longest silent first
---@field body_timeout? number seconds for each piece of a request's body (30)
---@field write_timeout? number seconds for each write of a response (30)
---@field max_line? integer bytes of the request line (8192); a longer one gets 414
---@field max_header? integer bytes of a request's header fields (16384); more get 431
---@field max_headers? integer number of header fields (100, at most 1024); more get 431
---@field max_body? integer bytes of a body that req:body() takes (1 MiB); more get 413
---@field min_rate? number bytes per second (240; 0: any): a body that comes slower, its first ten
---seconds not counted, times out, and so does a response of which less is taken in write_timeout
---@field gzip? boolean|grun.http.server.gzip compress responses for clients that like it (false)
---@field max_requests? integer on one connection; then it is closed. 0, the default: any number
---@field server_header? string|false the Server field; none by default
---@field access_log? boolean|string|fun(line: string) true or "combined", "common", or a format
---with gunicorn's atoms such as "%(h)s %(r)s %(s)s %({referer}i)s" (i: the request's fields, o:
---those that the handler sets, e: CGI variables, else the environment's); lines go to stdout, or to
---the function
---@field access_log_file? string where they are appended to instead, even without access_log; what
---processes share; SIGUSR1 opens it anew
---@field trust_proxy? boolean|integer believe X-Forwarded-For, -Proto and -Host of so many proxies
---@field proxy_protocol? boolean every connection begins with a header of the PROXY protocol

---@class grun.http.server.gzip
---@field min? integer bytes from which on a body is worth it (1024)
---@field level? integer 1, fast, to 9, small (5)
---@field types? string[] media types, and beginnings such as "text/" (text/ and those of JSON, XML,
---JavaScript, SVG and WebAssembly)

local GZIP_TYPES = "text/, application/json, application/javascript, application/xml, "
  .. "application/wasm, image/svg+xml"

local function bad_gzip(what)
  error("server: option 'gzip': " .. what, 6)
end

local function configure_gzip(config, option)
  local gzip = option == true and {} or option
  for name in pairs(gzip) do
    if name ~= "min" and name ~= "level" and name ~= "types" then
      bad_gzip("unknown option '" .. tostring(name) .. "'")
    end
  end
  local level, min, types = gzip.level or 5, gzip.min or 1024, gzip.types
  if type(level) ~= "number" or level < 1 or level > 9 then
    bad_gzip("level must be 1 to 9")
  elseif type(min) ~= "number" or min < 0 then
    bad_gzip("min must be a number of bytes")
  elseif types ~= nil and type(types) ~= "table" then
    bad_gzip("types must be a list")
  end
  config.gzip, config.gzip_min = level, min
  config.gzip_types = types and table.concat(types, ", ") or GZIP_TYPES
  if #config.gzip_types > 511 then
    bad_gzip("types are longer than 511 bytes")
  end
end

local CAN_BE_0 = { max_requests = true, min_rate = true, trust_proxy = true }

local function check_range(name, value)
  local least = (CAN_BE_0[name] or name:find("timeout")) and 0 or 1
  if not (value >= least) then
    error(("server: option '%s' must be %d or more"):format(name, least), 5)
  elseif LIMITS[name] and value > LIMITS[name] then
    error(("server: option '%s' must be at most %d"):format(name, LIMITS[name]), 5)
  end
end

-- How many arguments a handler has a use for: others are not made.
local function arguments_of(app)
  local mt = getmetatable(app)
  if type(mt) == "table" and rawget(mt, "_makes_response") then -- a router
    return 1
  end
  return arguments(app)
end

local function configure(app, opts, https)
  local config = { https = https, arguments = arguments_of(app) }
  for name, default in pairs(defaults) do
    local value = opts[name] or default
    check_range(name, value)
    config[name] = value
  end
  if type(opts.server_header) == "string" and opts.server_header:find("[%c\127]") then
    error("server: option 'server_header' has control characters", 4)
  elseif type(opts.server_header) == "string" and #opts.server_header > 63 then
    error("server: option 'server_header' is longer than 63 bytes", 4)
  end
  config.server_header = opts.server_header or nil
  local proxies = opts.trust_proxy
  config.trust_proxy = proxies == true and 1 or proxies or 0
  check_range("trust_proxy", config.trust_proxy)
  config.proxy_protocol = opts.proxy_protocol
  if opts.gzip then
    configure_gzip(config, opts.gzip)
  end
  return httpd.config(config)
end

-- Tells of an error that did not end its thread. `on_error` is the server's own.
local function report(self, err, req)
  local caught = thread.caught(err)
  local what = "a request"
  if req then
    what = ("%s %s of %s"):format(req.method, req.target, req.peer or "?")
  end
  if not self._on_error then
    return thread.report(what, caught)
  end
  local ok, problem = pcall(self._on_error, err, caught.traceback, req)
  if not ok then
    thread.report("on_error for " .. what, { err = problem })
  end
end

local Http = {}
Http.__index = Http

-- Connection -> the WebSocket that it became, while its handler runs.
M.websockets = {}

function httpd.request_methods.websocket(req, opts)
  return require("grun.http.websocket").accept(req, opts)
end

-- Without a code the server closes the connection as it is.
local function end_websocket(conn, code)
  local ws = M.websockets[conn]
  M.websockets[conn] = nil
  if ws and code then
    ws:close(code)
  end
end

local function serve(self, conn, state)
  local log = self.log
  while true do
    local ok, err = xpcall(httpd.run, core.traceback, state, self.app, log)
    if ok then
      return end_websocket(conn, 1000)
    elseif thread.is_own_cancel(err) then
      end_websocket(conn)
      return error(err, 0)
    end
    self.server._errors = self.server._errors + 1
    report(self.server, err, httpd.request(state) or nil)
    if not httpd.fail(state, log, 500) then
      return end_websocket(conn, 1011)
    end
  end
end

local function serve_and_linger(self, conn, state)
  serve(self, conn, state)
  httpd.linger(state)
end

-- The state refers to the connection, so an entry must not be left to a weak table.
local function serve_connection(self, conn)
  local state = httpd.open(conn, self.config)
  self.states[conn] = state
  local ok, err = pcall(serve_and_linger, self, conn, state)
  self.states[conn] = nil
  if not ok then
    httpd.abandon(state)
    error(err, 0)
  end
end

--- Takes the server that it now belongs to.
function Http:attach(server)
  self.server = server
  server._http = self
  server._listener:_tell()
end

--- The server's address for one of its listener.
function Http:address(listening)
  local scheme = self.https and "https://" or "http://"
  return scheme .. listening:gsub("^%a+://", "")
end

local function close_idle(self)
  for conn, state in pairs(self.states) do
    if httpd.is_idle(state) then
      conn:close()
    end
  end
end

--- From now on each response is its connection's last, and connections between two requests end,
--- in a worker process a little later: what their clients are just sending is answered. WebSockets
--- are told to go away.
function Http:drain(grace)
  httpd.stop(self.config)
  for conn in pairs(self.states) do
    local ws = M.websockets[conn]
    if ws then
      core.spawn(ws.close, ws, 1001)
    end
  end
  if not service.linger or grace == 0 then
    close_idle(self)
  else
    local t = core.spawn_later(math.min(service.linger, grace / 2), close_idle, self)
    core.daemon(t[1])
  end
end

-- Open connections that wait for a request since `age` seconds or longer, the longest first.
local function idle_connections(self, age)
  local latest, list, begun = core.now() - age, {}, {}
  for conn, state in pairs(self.states) do
    local since = httpd.idle_since(state)
    if since and since <= latest then
      list[#list + 1] = conn
      begun[conn] = since
    end
  end
  table.sort(list, function(a, b) return begun[a] < begun[b] end)
  return list
end

--- Others wait to be served and cannot: closes connections that were idle for 5 seconds, some of
--- them, the longest idle first. At most ten times a second.
function Http:make_room()
  local now = core.now()
  if now - self.made_room < ROOM_EVERY then
    return
  end
  self.made_room = now
  local list = idle_connections(self, ROOM_AGE)
  for i = 1, math.min(#list, ROOM, math.ceil(#list / 8)) do
    if httpd.is_idle(self.states[list[i]]) then
      list[i]:close()
    end
  end
end

-- The listener's address: "http://host:port", "http://unix:/path", "http://fd:3".
local function listen_address(https, rest)
  rest = rest:gsub("/$", "")
  if rest:find("^unix:") or rest:find("^fd:") or rest:find("^systemd:") then
    return rest
  elseif not rest:find(":", 1, true) or rest:find("^%[.*%]$") then
    rest = rest .. (https and ":443" or ":80")
  end
  return (https and "tls://" or "tcp://") .. rest
end

-- In a worker that counts its requests.
local function counted(app)
  return function(...)
    service.served(1)
    return app(...)
  end
end

local function new_log(opts)
  local format, path = opts.access_log, opts.access_log_file
  if format or path and format == nil then
    return require("grun.http.access_log").new(format, path)
  end
end

--- Makes what a grun.server with such an address needs: `handler` for its connections, `listen`,
--- the address of its listener. Raises for bad options, as if its caller's caller did.
function M.new(address, app, opts)
  local https = address:find("^https") ~= nil
  local self = setmetatable({
    app = service.served and counted(app) or app,
    https = https,
    listen = listen_address(https, address:match("^https?://(.*)$")),
    max_unsent = MAX_UNSENT,
    config = configure(app, opts, https),
    log = new_log(opts),
    states = {}, -- open connection -> its state
    made_room = 0, -- when
  }, Http)
  function self.handler(conn)
    return serve_connection(self, conn)
  end
  return self
end

return M
