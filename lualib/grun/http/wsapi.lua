-- SPDX-License-Identifier: MIT
-- WSAPI applications (Kepler's interface, version 1.6) as handlers: app(env) returns a status, a
-- table of headers and an iterator over the pieces of the body.
--
-- Every request is a thread of its own, so an application that waits for anything holds up nobody;
-- what it keeps in modules and globals is shared by all requests that run at the same time.

local core = require("grun.core")
local is_callable = require("grun.http.handler").is_callable
local options = require("grun.options")

local MAX_BODY = 1048576 -- bytes; as of servers
local COLLECT = 16384 -- bytes of a body of known length that go out together

local M = {}

-- ---- The environment ----

local function host_and_port(req)
  local host, port = req.host:match("^(.-):(%d*)$")
  if host and port ~= "" then
    return host, port
  elseif req.host ~= "" then
    return host or req.host, req.scheme == "https" and "443" or "80"
  end
  return (req.sockname or ""):match("^%a+://%[?(.-)%]?:(%d+)$")
end

local function peer(req)
  return (req.peer or ""):match("^%a+://%[?(.-)%]?:(%d+)$")
end

-- Name of a variable -> fn(req, app).
local variables = {
  REQUEST_METHOD = function(req) return req.method end,
  QUERY_STRING = function(req) return req.query_string end,
  REQUEST_URI = function(req) return req.target end,
  REQUEST_SCHEME = function(req) return req.scheme end,
  HTTPS = function(req) return req.scheme == "https" and "on" end,
  GATEWAY_INTERFACE = function() return "CGI/1.1" end,
  SERVER_SOFTWARE = function() return "grun" end,
  SERVER_PROTOCOL = function(req) return "HTTP/" .. req.version end,
  SERVER_NAME = function(req) return (host_and_port(req)) end,
  SERVER_PORT = function(req) return (select(2, host_and_port(req))) end,
  REMOTE_ADDR = function(req) return (peer(req)) end,
  REMOTE_PORT = function(req) return (select(2, peer(req))) end,
  CONTENT_TYPE = function(req) return req:header("content-type") end,
  CONTENT_LENGTH = function(req) return req:header("content-length") end,
  SCRIPT_NAME = function(_, app) return app.prefix end,
  APP_PATH = function(_, app) return app.app_path end,
  DOCUMENT_ROOT = function(_, app) return app.doc_root end,
  SCRIPT_FILENAME = function(_, app) return app.filename end,
  PATH_TRANSLATED = function(_, app) return app.filename end,
  -- A client must not choose the proxy of what an application runs.
  HTTP_PROXY = function() return nil end,
  headers = function(req) return req.headers end,
}

local function lookup(req, app, name)
  local variable = variables[name]
  if variable then
    return variable(req, app)
  end
  local field = type(name) == "string" and name:match("^HTTP_([%w_]+)$")
  return field and req:header((field:gsub("_", "-")))
end

local NO_APP = { prefix = "" }

--- The CGI variable of a request, as text, or nil.
---@param req grun.http.request
---@param name string
---@return string?
function M.variable(req, name)
  if name == "PATH_INFO" then
    return req.path
  end
  local value = lookup(req, NO_APP, name)
  return type(value) == "string" and value or nil
end

-- env.input: what is left of the body, `length` bytes. A body that came without a length has been
-- read already and is `text`.
local function new_input(req, length, text)
  local input, at = { length = length }, 1
  function input.read(self, n)
    n = n or self.length
    if n <= 0 then
      return nil
    elseif not text then
      local piece, message, code = req:read(n)
      return piece, message, code
    end
    local piece = text:sub(at, at + n - 1)
    at = at + #piece
    return piece ~= "" and piece or nil
  end
  return input
end

-- The environment of a request, or nothing when its body cannot be had.
local function new_env(req, app, path)
  local length, text = req.content_length or 0, nil
  if length > app.max_body then
    return nil
  elseif req:header("transfer-encoding") then
    text = req:body(app.max_body)
    if not text then
      return nil
    end
    length = #text
  end
  local env = { PATH_INFO = path, input = new_input(req, length, text), error = io.stderr }
  if text then
    env.CONTENT_LENGTH = tostring(length)
  end
  -- As under Kepler's launchers a variable that is not there is "".
  return setmetatable(env, {
    __index = function(self, name)
      local value = lookup(req, app, name) or ""
      rawset(self, name, value)
      return value
    end,
  })
end

-- ---- The response ----

local function invalid(what, value)
  return error(("bad response: %s of a WSAPI application: %s"):format(what, tostring(value)), 0)
end

local function set_status(res, status)
  local digits = type(status) == "string" and status:match("^(%d%d%d) ")
  local number = tonumber(digits or status)
  if not number then
    invalid("status", status)
  end
  res:status(number)
  return number
end

-- The connection is the server's business, not the application's.
local hop_by_hop = { ["transfer-encoding"] = true, ["keep-alive"] = true, ["status"] = true }

-- Returns whether the body's length is among them.
local function set_headers(res, headers)
  local has_length = false
  for name, value in pairs(headers) do
    local lower = tostring(name):lower()
    has_length = has_length or lower == "content-length"
    if hop_by_hop[lower] then -- luacheck: ignore 542
    elseif type(value) == "table" then
      for _, each in ipairs(value) do
        res:header(name, tostring(each))
      end
    else
      res:header(name, tostring(value))
    end
  end
  return has_length
end

-- Pieces of a body of known length go out several at a time; of others each when it comes. After
-- its nil the iterator is not called again: many are coroutines.
local function gather(body)
  local over = false
  return function()
    local pieces, size = {}, 0
    while not over and size < COLLECT do
      local piece = body()
      over = piece == nil
      pieces[#pieces + 1] = piece
      size = size + #tostring(piece or "")
    end
    return pieces[1] and table.concat(pieces) or nil
  end
end

local function send(res, body, is_head)
  -- The first piece comes before the head goes, so that its failure is still a proper 500.
  local piece = not is_head and body()
  while piece do
    if piece ~= "" and not res:write(piece) then
      return -- nobody listens any more
    end
    piece = body()
  end
  if res:begun() then
    return
  elseif is_head then
    res:write("")
  elseif res:status() ~= 204 and res:status() ~= 304 then
    res:finish("")
  end
end

local function respond(req, res, status, headers, body)
  if type(headers) ~= "table" and headers ~= nil then
    invalid("headers", headers)
  elseif body ~= nil and not is_callable(body) then
    invalid("body", "a " .. type(body) .. ", not an iterator")
  end
  set_status(res, status)
  local has_length = set_headers(res, headers or {})
  body = body or function() end
  send(res, has_length and gather(body) or body, req.method == "HEAD")
end

-- ---- Applications ----

local function normalize(app)
  if type(app) == "string" then
    app = require(app)
  end
  if type(app) == "table" and type(app.run) == "function" then
    return app.run
  elseif is_callable(app) then
    return app
  end
end

-- The path below the prefix, which is "/" at least; nil if it is another one.
local function path_info(path, prefix)
  if path:sub(1, #prefix) ~= prefix then
    return nil
  end
  local rest = path:sub(#prefix + 1)
  return rest == "" and "/" or rest:sub(1, 1) == "/" and rest or nil
end

-- Launchers and applications raise { 404, "text" }.
local function answer_error(err)
  if type(err) == "table" and err[1] == 404 then
    return 404, ("404 Not Found\n%s\n"):format(tostring(err[2] or ""))
  end
  return error(err, 0)
end

local OPTIONS = {
  prefix = "string", app_path = "string", doc_root = "string", filename = "string",
  max_body = "number",
}

local function check_options(opts)
  options.check("wsapi", opts, OPTIONS, 3)
  if opts.prefix and opts.prefix ~= "" and opts.prefix:sub(1, 1) ~= "/" then
    error("wsapi: option 'prefix' must begin with \"/\"", 3)
  elseif opts.max_body and not (opts.max_body >= 0) then
    error("wsapi: option 'max_body' must be 0 or more", 3)
  end
end

---@class grun.http.wsapi.options
---@field prefix? string path below which it is served, such as "/app": SCRIPT_NAME
---@field app_path? string directory of the application: APP_PATH
---@field doc_root? string DOCUMENT_ROOT
---@field filename? string file of the application: SCRIPT_FILENAME and PATH_TRANSLATED
---@field max_body? integer bytes of a request's body (1 MiB); more get 413

--- Makes a handler for grun.server of a WSAPI application: its function, a table with `run` (such
--- as an Orbit application), or the name of the module that is one of these. `error({ 404, text })`
--- answers 404, any other error 500 with a report.
---@param app function|table|string
---@param opts? grun.http.wsapi.options
---@return fun(req: grun.http.request, res: grun.http.response): any ...
function M.wsapi(app, opts)
  local run = normalize(app)
  if not run then
    error("wsapi: function, table with 'run' or name of a module expected, got " .. type(app), 2)
  end
  if opts == nil then
    opts = {}
  end
  check_options(opts)
  local about = {
    prefix = (opts.prefix or ""):gsub("/$", ""),
    app_path = opts.app_path, doc_root = opts.doc_root, filename = opts.filename,
    max_body = opts.max_body or MAX_BODY,
  }
  return function(req, res)
    local path = path_info(req.path, about.prefix)
    if not path then
      return 404
    end
    local env = new_env(req, about, path)
    if not env then
      return (req.content_length or 0) > about.max_body and 413 or nil
    end
    local ok, status, headers, body = xpcall(run, core.traceback, env)
    if not ok then
      return answer_error(status)
    end
    respond(req, res, status, headers, body)
  end
end

return M
