-- SPDX-License-Identifier: MIT
-- HTTP clients: requests, redirects, proxies, sessions. What of it scripts call is described in
-- lualib/meta/http_client.lua.

local core = require("grun.core")
local httpc = require("grun.core.httpc")
local urls = require("grun.http.url")
local pools = require("grun.http.pool")
local bodies = require("grun.http.body")
local auth = require("grun.http.auth")
local proxies = require("grun.http.proxy")
local responses = require("grun.http.client_response")
local uploads = require("grun.http.upload")

local MISUSE = {} -- as the code of a failure: the caller is to raise it

local MAX_BODY = 67108864
local EXPECT_WAIT = 1 -- seconds for "100 Continue", since not all servers send it

-- Name of an option of a request -> its types.
local OPTIONS = {
  url = "string", method = "string", headers = "table", query = "table", auth = "table boolean",
  body = "string function userdata", file = "string", form = "table", multipart = "table",
  json = "table string number boolean", stream = "boolean", gzip = "boolean",
  keep_alive = "boolean", expect = "boolean", timeout = "number", connect_timeout = "number",
  read_timeout = "number",
  max_body = "number", max_header = "number", max_headers = "number", redirects = "number boolean",
  insecure_redirects = "boolean", proxy = "string boolean", tls = "table",
}

-- Of a session beyond those, and what a session cannot preset.
local SESSION_OPTIONS = {
  cookies = "boolean", max_per_host = "number", max_idle = "number", idle_timeout = "number",
}
local PER_REQUEST = {
  url = true, method = true, body = true, file = true, form = true, multipart = true, json = true,
}

local DEFAULTS = {
  method = "GET", connect_timeout = 30, read_timeout = 60, max_header = 65536, max_headers = 100,
  redirects = 10, gzip = true, keep_alive = true,
}

local IDEMPOTENT = {
  GET = true, HEAD = true, PUT = true, DELETE = true, OPTIONS = true, TRACE = true,
}
local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

-- ---- Options ----

local function flaw_of(name, value, types)
  if not types then
    return ("unknown option '%s'"):format(tostring(name))
  elseif not types:find(type(value), 1, true) then
    return ("option '%s': %s expected, got %s"):format(name, (types:gsub(" ", " or ")), type(value))
  elseif type(value) == "number" and not (value >= 0) and name ~= "json" then
    return ("option '%s': number of 0 or more expected"):format(name)
  end
end

-- What is wrong with options, or nil.
local function find_flaw(opts, session)
  for name, value in pairs(opts) do
    local types = OPTIONS[name]
    if session then
      types = not PER_REQUEST[name] and types or SESSION_OPTIONS[name]
    end
    local flaw = flaw_of(name, value, types)
    if flaw then
      return flaw
    end
  end
  if type(opts.body) == "userdata" and io.type(opts.body) ~= "file" then
    return "option 'body': string, iterator or open file expected"
  end
  return auth.flaw(opts.auth)
end

-- ---- Header fields: a list of { name, value } ----

local function has_field(fields, name)
  for _, field in ipairs(fields) do
    if field[1]:lower() == name then
      return true
    end
  end
end

local function without(fields, names)
  local left = {}
  for _, field in ipairs(fields) do
    if not names[field[1]:lower()] then
      left[#left + 1] = field
    end
  end
  return left
end

local function add_default(fields, headers, name, value)
  if not has_field(fields, name:lower()) and value and headers[name] ~= false
    and headers[name:lower()] ~= false then
    fields[#fields + 1] = { name, value }
  end
end

local function add_values(fields, name, value)
  if type(value) == "table" then
    for _, one in ipairs(value) do
      local flaw = add_values(fields, name, one)
      if flaw then
        return flaw
      end
    end
  elseif type(value) == "string" or type(value) == "number" then
    fields[#fields + 1] = { name, tostring(value) }
  elseif value ~= false then
    return ("option 'headers': '%s' is a %s"):format(name, type(value))
  end
end

-- The fields that the options say, sorted by name. nil and what is wrong.
local function make_fields(headers)
  local names, fields = {}, {}
  for name in pairs(headers) do
    if type(name) ~= "string" then
      return nil, "option 'headers': names expected, got a " .. type(name)
    end
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    local flaw = add_values(fields, name, headers[name])
    if flaw then
      return nil, flaw
    end
  end
  return fields
end

-- ---- Preparing a request ----

local function set_query(url, query)
  local text = bodies.encode_form(query)
  if text ~= "" then
    url.query = (url.query or "") ~= "" and url.query .. "&" .. text or text
    url.target = url.path .. "?" .. url.query
  end
end

-- Options, those of the session below them, headers merged.
local function merge(session, opts)
  local req = {}
  for name, value in pairs(DEFAULTS) do
    req[name] = value
  end
  for _, from in ipairs({ session._defaults, opts }) do
    for name, value in pairs(from) do
      req[name] = value
    end
  end
  req.headers = {}
  for _, from in ipairs({ session._defaults, opts }) do
    for name, value in pairs(from.headers or {}) do
      req.headers[type(name) == "string" and name:lower() or name] = value
    end
  end
  return req
end

-- What a request is made of, or nil, message, code.
local function prepare(session, opts)
  local flaw = find_flaw(opts)
  if not flaw and not opts.url then
    flaw = "option 'url' is missing"
  elseif not flaw and opts.method and opts.method:upper() == "CONNECT" then
    flaw = "option 'method': CONNECT is for proxies"
  end
  if flaw then
    return nil, flaw, MISUSE
  end
  local req = merge(session, opts)
  local message, code
  req.url, message, code = urls.check(req.url)
  if not req.url then
    return nil, message, code
  end
  set_query(req.url, req.query or {})
  req.max_body = req.max_body or (req.stream and math.huge or MAX_BODY)
  req.redirects = req.redirects == true and DEFAULTS.redirects or req.redirects or 0
  req.body, message, code = bodies.make(opts)
  if not req.body then
    return nil, message, code == true and MISUSE or code
  end
  req.fields, message = make_fields(req.headers)
  if not req.fields then
    return nil, message, MISUSE
  end
  req.limit = req.timeout and core.now() + req.timeout
  req.authorization = auth.credentials(req.auth, req.url)
  return req
end

-- ---- One exchange ----

-- Whether the server is asked before the body is sent.
local function expects(req)
  return req.expect and req.body.length ~= 0
end

local function fields_for(req, session, url, proxy)
  local fields = without(req.fields, {})
  add_default(fields, req.headers, "User-Agent", "grun")
  add_default(fields, req.headers, "Accept", "*/*")
  if req.gzip and not has_field(fields, "accept-encoding") and not has_field(fields, "range") then
    fields[#fields + 1] = { "Accept-Encoding", "gzip" }
  end
  add_default(fields, req.headers, "Content-Type", req.body.type)
  add_default(fields, req.headers, "Expect", expects(req) and "100-continue")
  add_default(fields, req.headers, "Authorization", req.authorization)
  add_default(fields, req.headers, "Cookie", session.cookies and session.cookies:header(url))
  if proxy and url.scheme == "http" then
    add_default(fields, req.headers, "Proxy-Authorization", proxy.authorization)
  end
  local flat = {}
  for _, field in ipairs(fields) do
    flat[#flat + 1] = field[1]
    flat[#flat + 1] = field[2]
  end
  return flat
end

-- The head as it is sent, and the length it tells. nil, message, code.
local function make_head(req, session, url, proxy)
  local target = url.target
  if proxy and url.scheme == "http" then
    target = urls.format(url)
  end
  local head, length = httpc.head(req.method, target, url.authority,
    fields_for(req, session, url, proxy), req.body.length, req.keep_alive)
  if not head then
    return nil, length, MISUSE
  end
  return head, length
end

-- Sends the head, and with it a short body; of others the sending begins. Returns true; false when
-- the server does not want the body that it was asked about; or nil, message, code.
local function send(req, lease, head, length)
  local conn, asks = lease.conn, expects(req) and length ~= 0
  local text = not asks and bodies.short(req.body, length)
  conn:settimeout(uploads.left(req))
  local ok, message, code = conn:write(head, text or "")
  if not ok or text then
    return ok, message, code
  elseif asks and httpc.early(conn, math.min(uploads.left(req), EXPECT_WAIT)) == "answer" then
    return false
  end
  lease.upload = uploads.start(req, conn, length)
  return lease.upload:await_head()
end

-- Sends the request and reads the head of the response. Returns the response with its body unread;
-- or nil, message, code and whether the request may be sent again, since no server has seen it.
local function talk(req, lease, url, head, length)
  local sent, message, code = send(req, lease, head, length)
  if sent == nil and (code ~= "EPIPE" and code ~= "ECONNRESET") then
    return nil, message, code, false
  end
  -- A server that refuses a body may close before it has read it all: its answer is there, maybe.
  local options = { read_timeout = uploads.left(req), max_header = req.max_header,
    max_headers = req.max_headers, ["until"] = req.limit }
  local status, reason, headers, keep, incoming, minor =
    httpc.receive(lease.conn, req.method, options)
  local upload = lease.upload
  if not status then
    local began, why = keep, headers
    local again = not began and why ~= "timeout" and why ~= "protocol"
    if upload then
      reason, why, again = upload:blame(reason, why, again)
    end
    return nil, reason, why, again
  elseif upload then
    upload:answer(status)
  end
  local answer = { status = status, reason = reason, headers = headers, version = "1." .. minor,
    url = urls.format(url) }
  return responses.new(answer, req, lease, keep and req.keep_alive and sent, incoming)
end

-- Ends a request that failed. Its body is not used any more then.
local function drop(lease)
  lease:give_back(false)
  if lease.upload then
    lease.upload:kill()
  end
end

local function store_cookies(session, url, res)
  local text = session.cookies and res.headers["set-cookie"]
  for line in (text or ""):gmatch("[^\n]+") do
    session.cookies:store(url, line)
  end
end

-- One request and its response, whose body is unread. On a connection that was used before, the
-- server may have closed it meanwhile: then once more on a new one, if that cannot do harm.
local function exchange(req, session, url)
  local proxy, message, code = proxies.choose(req.proxy, url)
  if proxy == nil then
    return nil, message, code
  end
  local how = { url = url, proxy = proxy or nil, tls = req.tls,
    connect_timeout = req.connect_timeout }
  local head, length, misuse = make_head(req, session, url, proxy)
  if not head then
    return nil, length, misuse
  end
  local res, again
  for attempt = 1, 2 do
    req.lease, message, code = session._pool:acquire(how, req.limit, attempt == 2)
    if not req.lease then
      return nil, message, code
    end
    local reused = req.lease.reused
    res, message, code, again = talk(req, req.lease, url, head, length)
    if res or not (again and reused and IDEMPOTENT[req.method] and req.body.repeatable) then
      break
    end
    drop(req.lease)
  end
  if res then
    store_cookies(session, url, res)
  end
  return res, message, code
end

-- ---- Redirects ----

local function to_get(req)
  req.method = "GET"
  req.body = bodies.make({})
  req.fields = without(req.fields, { ["content-type"] = true, ["content-length"] = true,
    ["content-encoding"] = true, ["content-language"] = true, ["content-location"] = true })
end

-- Changes the request to what the redirect asks for. Returns its URL, or nil, message, code.
local function follow(req, url, res)
  local text = urls.resolve(url, (res.headers.location:gsub("^%s+", "")))
  local next_url, message, code = urls.check(text)
  if not next_url then
    return nil, message, code
  elseif url.scheme == "https" and next_url.scheme == "http" and not req.insecure_redirects then
    return nil, "redirect from https to http refused", "redirect"
  end
  local status, method = res.status, req.method
  if status == 303 and method ~= "HEAD" or status <= 302 and method == "POST" then
    to_get(req)
  elseif not req.body.repeatable then
    return nil, "the body cannot be sent again after a redirect", "redirect"
  end
  if next_url.origin ~= url.origin then
    req.authorization = nil
    req.fields = without(req.fields, { authorization = true, cookie = true, host = true,
      ["proxy-authorization"] = true })
  end
  return next_url
end

-- Does the request with all redirects.
local function perform(session, req)
  local url, hops = req.url, 0
  while true do
    local res, message, code = exchange(req, session, url)
    if res and res.status == 417 and expects(req) and req.body.repeatable then
      req.expect = false
      responses.discard(res)
      res, message, code = exchange(req, session, url)
    end
    if not res then
      return nil, message, code
    end
    if not (REDIRECTS[res.status] and res.headers.location and req.redirects > 0) then
      if req.stream then
        return responses.stream(res)
      end
      return responses.load(res)
    elseif hops == req.redirects then
      return nil, "too many redirects", "redirect"
    end
    hops = hops + 1
    local next_url
    next_url, message, code = follow(req, url, res)
    if not next_url then
      return nil, message, code
    end
    responses.discard(res)
    url = next_url
  end
end

-- However it failed, its connection is closed.
local function guarded(req, ok, res, message, code)
  if not ok then
    if req.lease then
      req.lease:give_back(false)
    end
    return error(res, 0)
  elseif not res and req.lease then
    drop(req.lease)
  end
  return res, message, code
end

local function run(session, opts)
  core.check()
  local req, message, code = prepare(session, opts)
  if not req then
    return nil, message, code
  end
  return guarded(req, xpcall(perform, core.traceback, session, req))
end

-- Called in tail position, so that its caller's caller is who has to know.
local function checked(name, res, message, code)
  if code == MISUSE then
    error(name .. ": " .. message, 2)
  end
  return res, message, code
end

local function options_of(url, opts, method)
  if type(url) ~= "string" or opts ~= nil and type(opts) ~= "table" then
    return nil
  end
  local all = {}
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  all.url, all.method = url, method
  return all
end

-- ---- Sessions ----

local Session = { __name = "grun.http.session" }
Session.__index = Session

function Session:request(opts)
  if type(opts) ~= "table" then
    error("request: table of options expected, got " .. type(opts), 2)
  end
  return checked("request", run(self, opts))
end

-- Adds get, post …; `to` is the session class or the module.
local function add_methods(to, session_of)
  for _, method in ipairs({ "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD" }) do
    local name = method:lower()
    to[name] = session_of(function(session, url, opts)
      local all = options_of(url, opts, method)
      if not all then
        return checked(name, nil, "URL and maybe a table of options expected", MISUSE)
      end
      return checked(name, run(session, all))
    end)
  end
end

add_methods(Session, function(fn)
  return fn
end)

function Session:close()
  self._pool:close()
end

local function new_session(opts)
  local defaults = {}
  for name, value in pairs(opts) do
    defaults[name] = OPTIONS[name] and value or nil
  end
  return setmetatable({
    _defaults = defaults,
    _pool = pools.new(opts),
    cookies = opts.cookies ~= false and require("grun.http.cookies").new() or nil,
  }, Session)
end

local M = {}

function M.session(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("session: table of options expected, got " .. type(opts), 2)
  end
  opts = opts or {}
  local flaw = find_flaw(opts, true)
  if flaw then
    error("session: " .. flaw, 2)
  elseif opts.max_per_host == 0 then
    error("session: option 'max_per_host' must be 1 or more", 2)
  end
  return new_session(opts)
end

local common = new_session({ cookies = false })

function M.request(opts)
  if type(opts) ~= "table" then
    error("request: table of options expected, got " .. type(opts), 2)
  end
  return checked("request", run(common, opts))
end

add_methods(M, function(fn)
  return function(url, opts)
    return fn(common, url, opts)
  end
end)

function M.close_idle()
  common._pool:close_idle()
end

return M
