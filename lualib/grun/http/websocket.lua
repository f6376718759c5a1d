-- SPDX-License-Identifier: MIT
-- WebSockets (RFC 6455): the handshakes of server and client. The rest is grun.core.websocket's.

local core = require("grun.core")
local connect = require("grun.socket").connect
local http_server = require("grun.http.server")
local native = require("grun.core.websocket")
local permessage = require("grun.http.permessage_deflate")
local urls = require("grun.http.url")

local M = {}

-- Name of an option of both sides -> its default; false stands for "no limit".
local common = {
  max_message = 1048576, -- bytes of a message that comes
  ping_interval = 30, -- seconds of silence before a ping
  ping_timeout = 20, -- seconds until something has to come then
  write_timeout = 30, -- seconds of each send
  close_timeout = 5, -- seconds of the closing handshake
}

---@class grun.http.websocket.options
---@field max_message? integer bytes of a message that comes (1 MiB); a larger one ends it with code
---1009
---@field ping_interval? number|false while recv waits: seconds of silence before a ping (30)
---@field ping_timeout? number|false seconds for the answer (20); then the peer is gone: code 1006.
---Who takes a long message slowly is asked behind it
---@field write_timeout? number|false seconds of each send (30)
---@field close_timeout? number|false seconds of the closing handshake (5)
---@field protocols? string[] subprotocols, the preferred one first
---@field deflate? boolean|grun.http.websocket.deflate compress messages if the peer can do that
---(false). A connection then holds 300 KiB from its first messages on: 262 for what is sent, 39 for
---what comes; 10 and 8 with windows of 9 bits; nothing between messages without context takeover

---@class grun.http.websocket.accept_options: grun.http.websocket.options
---@field origins? string[]|fun(origin: string, req: table): any which pages of a browser may
---connect: a list of origins such as "https://example.org", "*" for all, or a function that returns
---true. Default: pages of the same host and port. Clients that send no Origin are no browsers

---@class grun.http.websocket.connect_options: grun.http.websocket.options, grun.connect.options
---@field headers? table<string, string> further fields of the request
---@field origin? string the field Origin
---@field timeout? number seconds for connecting and the handshake (30)

-- ---- Options ----

local function fail(who, level, text, ...)
  error(("%s: %s"):format(who, text:format(...)), level + 1)
end

local function is_token(value)
  return type(value) == "string" and value:find("^[%w!#$%%&'*+.^_`|~-]+$") ~= nil
end

local function check_origins(origins, who, level)
  if type(origins) ~= "table" and type(origins) ~= "function" then
    fail(who, level, "option 'origins': table or function expected, got %s", type(origins))
  end
  for _, origin in ipairs(type(origins) == "table" and origins or {}) do
    if type(origin) ~= "string" then
      fail(who, level, "option 'origins': a %s is no origin", type(origin))
    end
  end
end

local function check_protocols(list, who, level)
  if type(list) ~= "table" then
    fail(who, level, "option 'protocols': table expected, got %s", type(list))
  end
  for _, name in ipairs(list) do
    if not is_token(name) then
      fail(who, level, "option 'protocols': %s is no name of a protocol", tostring(name))
    end
  end
end

local function check_number(name, value, who, level)
  if value == false then
    return math.huge
  elseif type(value) ~= "number" then
    fail(who, level, "option '%s': number expected, got %s", name, type(value))
  elseif not (value > 0) then
    fail(who, level, "option '%s' must be greater than 0", name)
  end
  return value
end

-- Takes the common options out of `opts`. Returns what grun.core.websocket wants, and what to
-- compress with, if that is wanted.
local function take_common(opts, who, level)
  local limits = {}
  for name, default in pairs(common) do
    local value = opts[name]
    limits[name] = value == nil and default or check_number(name, value, who, level + 1)
    opts[name] = nil
  end
  limits.max_message = math.min(limits.max_message, 2 ^ 40)
  if opts.protocols ~= nil then
    check_protocols(opts.protocols, who, level + 1)
  end
  local deflate, problem = permessage.check(opts.deflate)
  if problem then
    fail(who, level, "option %s", problem)
  end
  opts.deflate = nil
  return limits, deflate
end

local function copy(opts, who, level)
  if opts ~= nil and type(opts) ~= "table" then
    fail(who, level, "options must be a table, got %s", type(opts))
  end
  local own = {}
  for name, value in pairs(opts or {}) do
    own[name] = value
  end
  return own
end

-- Opens a WebSocket whose handshake is done.
local function open(conn, client, limits, protocol, deflate)
  permessage.apply(limits, deflate, client)
  return native.open(conn, client, limits, protocol, deflate)
end

-- ---- Servers ----

-- Host and port of an origin or a Host field, without a port that goes without saying.
local function authority(scheme, host)
  return (host:lower():gsub(scheme == "https" and ":443$" or ":80$", ""))
end

local function is_allowed(origins, origin, req)
  if type(origins) == "function" then
    return origins(origin, req)
  elseif origins then
    for _, allowed in ipairs(origins) do
      if allowed == "*" or allowed:lower() == origin:lower() then
        return true
      end
    end
    return false
  end
  local scheme, host = origin:match("^(https?)://([^/]+)$")
  return scheme and req.host and authority(scheme, host) == authority(scheme, req.host)
end

local function choose(protocols, offered)
  local there = {}
  for name in (offered or ""):gmatch("[^,]+") do
    there[name:match("^[ \t]*(.-)[ \t]*$")] = true
  end
  for _, name in ipairs(protocols or {}) do
    if there[name] then
      return name
    end
  end
end

-- Answers a request that becomes no WebSocket; returns what accept returns then.
local function refuse(res, status, message)
  res:status(status)
  if status == 426 then
    res:header("Upgrade", "websocket"):header("Connection", "Upgrade")
    res:header("Sec-WebSocket-Version", "13")
  end
  local ok, problem, code = res:finish(message .. "\n")
  if not ok then
    return nil, problem, code
  end
  return nil, message, "protocol"
end

local function check_accept(opts, level)
  local limits, deflate = take_common(opts, "websocket", level + 1)
  for name, value in pairs(opts) do
    if name ~= "protocols" and name ~= "origins" then
      fail("websocket", level, "unknown option '%s'", tostring(name))
    elseif name == "origins" then
      check_origins(value, "websocket", level + 1)
    end
  end
  return limits, deflate
end

--- What req:websocket(opts) does: see lualib/meta/websocket.lua.
function M.accept(req, opts)
  opts = copy(opts, "websocket", 3)
  local limits, deflate = check_accept(opts, 3)
  local res, accept, status = native.request(req)
  local extensions = req:header("sec-websocket-extensions")
  if accept and extensions and not permessage.is_valid(extensions) then
    accept, status = nil, 400
  end
  if not accept then
    return refuse(res, status, status == 426 and "this is a WebSocket of version 13" or
      "the WebSocket handshake is wrong")
  end
  local origin = req:header("origin")
  if origin and not is_allowed(opts.origins, origin, req) then
    return refuse(res, 403, "WebSockets from this origin are not allowed")
  end
  local protocol = choose(opts.protocols, req:header("sec-websocket-protocol"))
  res:header("Upgrade", "websocket"):header("Connection", "Upgrade")
  res:header("Sec-WebSocket-Accept", accept)
  if protocol then
    res:header("Sec-WebSocket-Protocol", protocol)
  end
  local extension, agreed = permessage.accept(deflate, extensions)
  if extension then
    res:header("Sec-WebSocket-Extensions", extension)
  end
  local conn, message, code = res:upgrade()
  if not conn then
    return nil, message, code
  end
  local ws = open(conn, false, limits, protocol, agreed)
  http_server.websockets[conn] = ws
  return ws
end

-- ---- Clients ----

local TIMEOUT = 30 -- seconds for connecting and the handshake

-- Takes "ws://host:port/path?query" apart. Returns the address for grun.connect, the Host field and
-- the request's target; or nil, message, code.
local function split(url, level)
  if type(url) ~= "string" then
    fail("websocket", level, "URL expected, got %s", type(url))
  end
  local scheme, rest = url:match("^[wW][sS]([sS]?)(://.*)$")
  if not scheme then
    fail("websocket", level, "URL beginning with ws:// or wss:// expected, got \"%s\"",
      urls.mask(url))
  end
  local parts, problem = urls.parse("http" .. scheme .. rest)
  if parts and parts.user then
    problem = "a user has no place in it"
  end
  if problem then
    return nil, ('bad URL "%s": %s'):format(urls.mask(url), problem), "bad_address"
  end
  local transport = scheme == "" and "tcp://" or "tls://"
  return transport .. parts.address, parts.authority, parts.target
end

local function check_headers(headers, level)
  if type(headers) ~= "table" then
    fail("websocket", level, "option 'headers': table expected, got %s", type(headers))
  end
  for name, value in pairs(headers) do
    if type(name) ~= "string" then
      fail("websocket", level, "option 'headers': names expected, got a %s", type(name))
    elseif type(value) ~= "string" and type(value) ~= "number" then
      fail("websocket", level, "option 'headers': '%s' is a %s", name, type(value))
    end
  end
end

-- The fields of the request as a list name, value, name, value …
local function request_fields(opts, deflate, level)
  local list = {}
  if opts.origin ~= nil and type(opts.origin) ~= "string" then
    fail("websocket", level, "option 'origin': string expected, got %s", type(opts.origin))
  end
  check_headers(opts.headers or {}, level + 1)
  for name, value in pairs(opts.headers or {}) do
    list[#list + 1] = name
    list[#list + 1] = tostring(value)
  end
  if opts.origin then
    list[#list + 1] = "Origin"
    list[#list + 1] = opts.origin
  end
  if opts.protocols and opts.protocols[1] then
    list[#list + 1] = "Sec-WebSocket-Protocol"
    list[#list + 1] = table.concat(opts.protocols, ", ")
  end
  if deflate then
    list[#list + 1] = "Sec-WebSocket-Extensions"
    list[#list + 1] = permessage.offer(deflate)
  end
  opts.headers, opts.origin, opts.protocols = nil, nil, nil
  return list
end

-- What is wrong with the subprotocol that the server has chosen, or nil.
local function flaw(protocols, protocol)
  if not protocol then
    return nil
  end
  for _, name in ipairs(protocols or {}) do
    if name == protocol then
      return nil
    end
  end
  return "the server uses a protocol that was not asked for"
end

-- Returns true, the subprotocol and what is agreed on compression; or nil, message, code, status.
local function shake_hands(conn, host, target, fields, seconds, protocols, deflate)
  local ok, protocol, extensions, status = native.connect(conn, host, target, fields, seconds)
  if not ok then
    return nil, protocol, extensions, status
  elseif extensions and not deflate then
    return nil, "the server uses an extension that was not asked for", "protocol"
  end
  local agreed = permessage.confirm(deflate, extensions)
  if agreed == false then
    return nil, "the server uses extensions in a way that was not asked for", "protocol"
  end
  local problem = flaw(protocols, protocol)
  if problem then
    return nil, problem, "protocol"
  end
  return true, protocol, agreed
end

--- Connects to a WebSocket server, "ws://host:port/path" or "wss://…". Options that are not listed
--- go to grun.connect. Returns nil, message, code on failure ("bad_address": the URL is none); as a
--- fourth value the status if the server answered with another one than 101. Redirects are not
--- followed. Parks.
---@param url string
---@param opts? grun.http.websocket.connect_options
---@return grun.http.websocket|nil, string?, string?, integer?
---@async
function M.websocket(url, opts)
  local address, host, target = split(url, 3)
  if not address then
    return nil, host, target
  end
  opts = copy(opts, "websocket", 3)
  local limits, deflate = take_common(opts, "websocket", 3)
  local protocols = opts.protocols
  local fields = request_fields(opts, deflate, 3)
  local seconds = opts.timeout == nil and TIMEOUT or opts.timeout
  seconds = check_number("timeout", seconds, "websocket", 3)
  local started = core.now()
  opts.timeout = seconds
  local conn, message, code = connect(address, opts)
  if not conn then
    return nil, message, code
  end
  local left = math.max(0, seconds - (core.now() - started))
  local done, ok, protocol, agreed, status =
    pcall(shake_hands, conn, host, target, fields, left, protocols, deflate)
  if done and ok then
    return open(conn, true, limits, protocol, agreed)
  end
  conn:close()
  if not done then
    error(ok, 0)
  end
  return nil, protocol, agreed, status
end

return M
