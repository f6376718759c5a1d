-- SPDX-License-Identifier: MIT
-- Routes: which handler serves which path, with parameters and middleware.

local M = {}

--- A handler that chooses another by method and path.
---@class grun.http.router
local Router = { __name = "grun.http.router" }
Router.__index = Router

-- For servers: the response object is made here, for those routes that take one.
Router._makes_response = true

local httpd = require("grun.core.httpd")
local texts = require("grun.core.httptext")
local new_table = require("table.new")

local is_callable = require("grun.http.handler").is_callable
local arguments = require("grun.http.handler").arguments

-- A node of the tree, one for each segment of the paths: `literal` children by text, one child for
-- a parameter, one for the rest of the path, and handlers by method.
local function new_node()
  return { literal = {}, param = nil, rest = nil, handlers = nil }
end

local function check_path(who, path, level)
  if type(path) ~= "string" or path:sub(1, 1) ~= "/" then
    error(who .. ": path beginning with \"/\" expected, got " .. tostring(path), level)
  end
end

local function child(node, segment, names, level)
  local kind, name = segment:match("^([:*])(.*)$")
  if not kind then
    node.literal[segment] = node.literal[segment] or new_node()
    return node.literal[segment]
  elseif not name:find("^[%a_][%w_]*$") then
    error("route: bad name of a parameter in \"" .. segment .. "\"", level)
  elseif names[name] then
    error("route: parameter \"" .. name .. "\" stands there twice", level)
  end
  names[name] = true
  names[#names + 1] = name
  local slot = kind == ":" and "param" or "rest"
  node[slot] = node[slot] or new_node()
  return node[slot]
end

-- The node for a path, made if it is not there; and the names of its parameters in order.
local function make(self, path, level)
  local node, names = self._root, {}
  for segment in path:gmatch("/([^/]*)") do
    if names.over then
      error("route: \"*\" must be the last segment of \"" .. path .. "\"", level)
    end
    node = child(node, segment, names, level + 1)
    names.over = segment:sub(1, 1) == "*"
  end
  return node, names
end

local function chain(middleware, handler)
  for i = #middleware, 1, -1 do
    local fn, inner = middleware[i], handler
    handler = function(req, res)
      return fn(req, res, inner)
    end
  end
  return handler
end

local function add(self, method, path, handler, level)
  check_path("route", path, level + 1)
  if not is_callable(handler) then
    error("route: handler must be a function, got " .. type(handler), level)
  end
  local full = self._prefix .. (path == "/" and self._prefix ~= "" and "" or path)
  local node, names = make(self, full, level + 1)
  node.handlers = node.handlers or {}
  if #names == 0 then
    self._exact[full] = node
  end
  if node.handlers[method] then
    error(("route: %s %s is there already"):format(method, path), level)
  end
  node.handlers[method] = {
    fn = chain(self._middleware, handler),
    alone = #self._middleware == 0 and arguments(handler) < 2,
    names = #names > 0 and names or nil,
    rest = names.over,
  }
  return self
end

--- Adds a route. Segments ":name" match any one segment, a last segment "*name" any rest of the
--- path, also an empty one; what they matched is in req.params, without escapes, and the rest with
--- them and its "/" in req.rest_path. Plain segments win over ":name", that over "*name", unless
--- only the other has a route for the method. The method "*" is for all that have no route of their
--- own.
---@param method string such as "GET"
---@param path string such as "/users/:id"
---@param handler fun(req: grun.http.request, res: grun.http.response): any ...
---@return grun.http.router itself
function Router:route(method, path, handler)
  if type(method) ~= "string" or not method:find("^[%w*!#$&'.^_`|~+-]+$") then
    error("route: method expected, got " .. tostring(method), 2)
  end
  return add(self, method, path, handler, 2)
end

for _, method in ipairs({ "GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS" }) do
  Router[method:lower()] = function(self, path, handler)
    return add(self, method, path, handler, 2)
  end
end

--- Adds a route for all methods.
function Router:any(path, handler)
  return add(self, "*", path, handler, 2)
end

--- Adds a middleware fn(req, res, next) for the routes that are added from now on. It returns what
--- next(req, res) returned, or a response of its own.
---@param fn fun(req: grun.http.request, res: grun.http.response, next: function): any ...
---@return grun.http.router itself
function Router:use(fn)
  if not is_callable(fn) then
    error("use: function expected, got " .. type(fn), 2)
  end
  self._middleware[#self._middleware + 1] = fn
  return self
end

--- A router for the paths below a prefix, with the middleware so far and its own. What is added
--- there is served here.
---@param prefix string such as "/api"
---@return grun.http.router
function Router:group(prefix)
  check_path("group", prefix, 3)
  return setmetatable({
    _root = self._root,
    _exact = self._exact,
    _prefix = self._prefix .. prefix:gsub("/$", ""),
    _middleware = { unpack(self._middleware) },
    _top = self._top or self,
  }, Router)
end

--- Sets what serves paths without a route (404 by default).
function Router:not_found(handler)
  if not is_callable(handler) then
    error("not_found: function expected, got " .. type(handler), 2)
  end
  local top = self._top or self
  top._not_found = chain(self._middleware, handler)
  return self
end

-- ---- Serving ----

-- Wrong escapes stay as they are.
local function decode(segment)
  if segment:find("%", 1, true) then
    return (texts.percent_decode(segment)) or segment
  end
  return segment
end

local function pick(handlers, method)
  return handlers[method] or method == "HEAD" and handlers.GET or handlers["*"]
end

-- What `find` is told and has found. One for all requests, since nothing waits while it is in use.
local match = {
  method = "", -- of the request
  others = nil, -- methods that the path has routes for, when its own has none
  rest = nil, -- what a "*name" matched, as it was sent
  -- and the parameters' values from 1 on
}

-- Looks for the route that serves the path from byte `at` (a "/") on; fills `match`. Goes back when
-- a plain segment leads nowhere. Returns the route and how many values there are.
local find

-- The same for a path that ends at this node.
local function take(node, n)
  local handlers = node.handlers
  if not handlers then
    return nil
  end
  local route = pick(handlers, match.method)
  if route then
    return route, n
  end
  match.others = match.others or {}
  for method in pairs(handlers) do
    match.others[method] = true
  end
end

local function take_rest(node, path, at, n)
  local route, count = take(node, n + 1)
  if route then
    match[n + 1] = decode(path:sub(at + 1))
    match.rest = at <= #path and path:sub(at) or "/"
  end
  return route, count
end

function find(node, path, at, n)
  local route, count
  if at > #path then
    route, count = take(node, n)
    if not route and node.rest then
      route, count = take_rest(node.rest, path, at, n)
    end
    return route, count
  end
  local stop = path:find("/", at + 1, true) or #path + 1
  local segment = path:sub(at + 1, stop - 1)
  local next_node = node.literal[segment] or node.literal[decode(segment)]
  if next_node then
    route, count = find(next_node, path, stop, n)
  end
  if not route and node.param and segment ~= "" then
    route, count = find(node.param, path, stop, n + 1)
    if route then
      match[n + 1] = decode(segment)
    end
  end
  if not route and node.rest then
    route, count = take_rest(node.rest, path, at, n)
  end
  return route, count
end

local function allowed(others)
  local methods = {}
  others.HEAD = others.HEAD or others.GET
  others.OPTIONS = true
  for method in pairs(others) do
    methods[#methods + 1] = method
  end
  table.sort(methods)
  return table.concat(methods, ", ")
end

-- Answers when there is no route: 405 when there are some for other methods.
local function refuse(self, method, req, res)
  res = res or httpd.response(req)
  if match.others then
    res:header("Allow", allowed(match.others))
    return method == "OPTIONS" and 204 or 405
  end
  local not_found = (self._top or self)._not_found
  if not_found then
    return not_found(req, res)
  end
  return 404
end

local function serve(route, req, res)
  if not res and not route.alone then
    res = httpd.response(req)
  end
  return route.fn(req, res)
end

--- Serves a request: a router is a handler.
function Router:__call(req, res)
  local path, method = req.raw_path, req.method
  local node = self._exact[path]
  local route = node and pick(node.handlers, method)
  if route then
    return serve(route, req, res)
  end
  if path == "*" then -- OPTIONS of the server as a whole
    return 204
  elseif path == "" then -- "http://host"
    path = "/"
  end
  match.method, match.others = method, nil
  route = find(self._root, path, 1, 0)
  if not route then
    return refuse(self, method, req, res)
  end
  local names = route.names
  if names then
    local params = new_table(0, #names)
    for i = 1, #names do
      params[names[i]] = match[i]
    end
    req.params = params
    if route.rest then
      req.rest_path = match.rest
    end
  end
  return serve(route, req, res)
end

--- A new router: a handler for grun.server that looks at method and path. A path without a route
--- gets 404, one with routes for other methods only 405, HEAD is served by the route for GET.
---@return grun.http.router
function M.router()
  return setmetatable({
    _root = new_node(),
    _exact = {}, -- nodes of the paths without parameters
    _prefix = "",
    _middleware = {},
  }, Router)
end

return M
