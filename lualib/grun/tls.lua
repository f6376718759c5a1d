-- SPDX-License-Identifier: MIT
-- TLS: its options, contexts made of them, and connections that use these.

local net = require("grun.core.net")
local core = require("grun.core.tls")
local options = require("grun.options")

local CACHE = 64 -- contexts kept for options that were given inline

local VERIFY = { [false] = 1, optional = 2, required = 3, [true] = 3 } -- as enum gr_tls_verify

-- Of a context: name -> its types.
local OPTIONS = {
  cert = "string", key = "string", password = "string", ca = "string", client_ca = "string",
  verify = "boolean string", alpn = "table", sni = "table function", ciphers = "string",
  min_version = "string number", max_version = "string number", tickets = "boolean",
}
local NAMES = {} -- the same in a fixed order
for name in pairs(OPTIONS) do
  NAMES[#NAMES + 1] = name
end
table.sort(NAMES)

--- Certificate, key and other settings for many TLS connections.
---@class grun.tls.context
local Context = { __name = "grun.tls.context" }
Context.__index = Context

-- ---- Options ----
-- `who` is the function that got them, `level` that of its caller as the called function counts.

local function fail(who, level, text, ...)
  error(("%s: %s"):format(who, text:format(...)), level + 1)
end

local function is_context(value)
  return type(value) == "table" and getmetatable(value) == Context
end

-- The wire form of a list of protocols: each after a byte with its length.
local function pack_alpn(list, who, level)
  local wire = {}
  for i, name in ipairs(list) do
    if type(name) ~= "string" or #name == 0 or #name > 255 then
      fail(who, level, "option 'alpn': list of protocol names expected")
    end
    wire[i] = string.char(#name) .. name
  end
  if #wire == 0 then
    fail(who, level, "option 'alpn': list of protocol names expected")
  end
  return table.concat(wire)
end

local function check_version(name, value, who, level)
  local minor = tostring(value):match("^T?L?S?v?1%.([23])$")
  if not minor then
    fail(who, level, "option '%s': \"1.2\" or \"1.3\" expected, got %s", name, tostring(value))
  end
  return 10 + tonumber(minor)
end

-- Names that begin with TLS_ are of TLS 1.3, which has a list of its own.
local function split_ciphers(text)
  local old, new = {}, {}
  for name in text:gmatch("[^:%s]+") do
    local list = name:find("^TLS_") and new or old
    list[#list + 1] = name
  end
  return old[1] and table.concat(old, ":"), new[1] and table.concat(new, ":")
end

-- Checks the options; returns them as grun.core.tls takes them.
local function prepare(opts, who, level)
  options.check(who, opts, OPTIONS, level)
  if opts.verify ~= nil and not VERIFY[opts.verify] then
    fail(who, level, "option 'verify': true, false, \"required\" or \"optional\" expected")
  elseif opts.key and not opts.cert then
    fail(who, level, "option 'key' without 'cert'")
  end
  local ciphers, suites = split_ciphers(opts.ciphers or "")
  return {
    cert = opts.cert, key = opts.key, password = opts.password, ca = opts.ca,
    client_ca = opts.client_ca, tickets = opts.tickets, verify = VERIFY[opts.verify],
    ciphers = ciphers, ciphersuites = suites,
    alpn = opts.alpn and pack_alpn(opts.alpn, who, level + 1),
    min_version = opts.min_version and check_version("min_version", opts.min_version, who,
      level + 1),
    max_version = opts.max_version and check_version("max_version", opts.max_version, who,
      level + 1),
  }
end

-- ---- Contexts ----

local context_of

-- What grun.core.tls calls with the name that a client asks for.
local function select_by_function(fn)
  return function(name)
    local choice = fn(name)
    if type(choice) ~= "table" then
      return choice
    end
    local context, message = context_of(choice, "sni", 1)
    if not context then
      error(message, 0)
    end
    return context._core
  end
end

local function select_by_table(contexts)
  return function(name)
    local context = contexts[name] or contexts[name:gsub("^[^.]+", "*", 1)]
    return context and context._core
  end
end

-- Contexts by name in lower case, or nil, message, code.
local function contexts_by_name(sni, who, level)
  local contexts = {}
  for name, value in pairs(sni) do
    if type(name) ~= "string" or type(value) ~= "table" then
      fail(who, level, "option 'sni': names with contexts or their options expected")
    end
    local context, message, code = context_of(value, who, level + 1)
    if not context then
      return nil, message, code
    end
    contexts[name:lower()] = context
  end
  return contexts
end

-- A new context, or nil, message, code.
local function new_context(opts, who, level)
  local prepared, select, names = prepare(opts, who, level + 1), nil, nil
  if type(opts.sni) == "function" then
    select = select_by_function(opts.sni)
  elseif opts.sni then
    local message, code
    names, message, code = contexts_by_name(opts.sni, who, level + 1)
    if not names then
      return nil, message, code
    end
    select = select_by_table(names)
  end
  local self, message, code = core.context(prepared, select)
  if not self then
    return nil, message, code
  end
  return setmetatable({
    _core = self,
    _prepared = prepared,
    _names = names or {},
    _asks = prepared.verify and prepared.verify > 1,
  }, Context)
end

-- Key -> context of options that were given inline, and the keys in the order they came.
local cache, keys = {}, {}

local function key_of(opts)
  local parts = {}
  for _, name in ipairs(NAMES) do
    local value = opts[name]
    if name == "alpn" and value then
      value = table.concat(value, "\0")
    end
    if value ~= nil then
      parts[#parts + 1] = ("%s=%s"):format(name, tostring(value))
    end
  end
  return table.concat(parts, "\0\0")
end

-- The context itself, or the one of these options, which is made once: never one per connection.
function context_of(opts, who, level)
  if is_context(opts) then
    return opts
  end
  options.check(who, opts, OPTIONS, level)
  if opts.alpn then
    pack_alpn(opts.alpn, who, level + 1)
  end
  local key = key_of(opts)
  if cache[key] then
    return cache[key]
  end
  local context, message, code = new_context(opts, who, level + 1)
  if not context then
    return nil, message, code
  elseif #keys == CACHE then
    cache[table.remove(keys, 1)] = nil
  end
  keys[#keys + 1] = key
  cache[key] = context
  return context
end

--- Reads the files of the context again: certificate, key, authorities, also those of a table of
--- names. New connections use what they hold now, present ones go on as they are. Returns true, or
--- nil, message, code when something is wrong with them; then the old ones stay in force.
---@return true|nil, string?, string?
function Context:reload()
  for _, context in pairs(self._names) do
    local ok, message, code = core.context(context._prepared)
    if not ok then
      return nil, message, code
    end
  end
  local ok, message, code = self._core:reload()
  for _, context in pairs(ok and self._names or {}) do
    ok, message, code = context:reload()
    if not ok then
      return nil, message, code
    end
  end
  return ok, message, code
end

function Context:__tostring()
  return ("TLS context (%s)"):format(self._prepared.cert and "with certificate" or "for clients")
end

---@class grun.tls.options
---@field cert? string path or PEM text: the certificate, followed by those between it and the root
---@field key? string path or PEM text; default: in the same file as the certificate
---@field password? string of the key
---@field ca? string whom a client trusts: path, directory or PEM text; default: the system's
---@field verify? boolean|"required"|"optional" the peer's certificate. A client checks its chain
---  and that it is for the host; `false` switches both off, so that anybody can be the peer. A
---  server asks for one if there is a client_ca, and "optional" takes clients without one
---@field client_ca? string whom a server trusts: path, directory or PEM text
---@field alpn? string[] protocols, best first. A server takes the first of its own that the client
---  has; with none in common the handshake fails
---@field sni? table|fun(name: string): grun.tls.context|grun.tls.options|false|nil for servers: by
---  the name that a client asks for (lower case; wildcards such as "*.example.org" in a table) a
---  context or its options; nil: the certificate of `cert`; false: the client is refused. May park
---@field min_version? string "1.2" (default) or "1.3"
---@field max_version? string
---@field ciphers? string names with colons between, of TLS 1.2 and 1.3
---@field tickets? boolean whether sessions can be resumed; default true

--- Makes a context, for `tls = context` where TLS options are taken: what is read from files once
--- serves many connections and can be replaced by reload(). Returns nil, message, code when a file
--- cannot be used; the message names it.
---@param opts? grun.tls.options
---@return grun.tls.context|nil, string?, string?
local function context(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("context: table of options expected, got " .. type(opts), 2)
  end
  local made, message, code = new_context(opts or {}, "context", 3)
  return made, message, code
end

-- ---- Connections ----

-- Divides options into those of a context and the others, which are checked elsewhere. Returns the
-- context, or nil, message, code; then the others.
local function divide(opts, who, level)
  local own, others = {}, {}
  for name, value in pairs(opts or {}) do
    (OPTIONS[name] and own or others)[name] = value
  end
  local given = others.tls
  others.tls = nil
  if given == nil then
    given = own
  elseif type(given) ~= "table" then
    fail(who, level, "option 'tls': context or its options expected, got %s", type(given))
  elseif next(own) then
    fail(who, level, "option '%s' has to be in the context", tostring((next(own))))
  end
  local found, message, code = context_of(given, who, level + 1)
  return found, found and others or message, code
end

local function check_server(self, who, level)
  if not self._core:can_serve() then
    fail(who, level, "option 'cert' is missing")
  elseif self._asks and not self._prepared.client_ca then
    fail(who, level, "option 'client_ca' is missing")
  end
end

local function take_hostname(opts, who, level)
  local hostname = opts.hostname
  opts.hostname = nil
  if hostname ~= nil and (type(hostname) ~= "string" or #hostname == 0 or hostname:find("%z")) then
    fail(who, level, "option 'hostname': name or address expected")
  end
  return hostname
end

local M = { tls = { context = context }, handshake = core.handshake, info = core.info }

function M.is_option(name)
  return OPTIONS[name] or name == "tls"
end

-- grun.connect for "tls:".
function M.connect(address, opts)
  if opts ~= nil and type(opts) ~= "table" then
    return net.connect(address, opts)
  end
  local self, others, code = divide(opts, "connect", 3)
  if not self then
    return nil, ("cannot connect to %s: %s"):format(address, others), code
  end
  return net.connect(address, others, self._core, (take_hostname(others, "connect", 3)))
end

-- grun.listen for "tls:". Functions above it that take its options say who they are and at what
-- level their caller is.
function M.listen(address, opts, who, level)
  if opts ~= nil and type(opts) ~= "table" then
    return net.listen(address, opts)
  end
  who, level = who or "listen", level or 3
  local self, others, code = divide(opts, who, level)
  if not self then
    return nil, ("cannot listen on %s: %s"):format(address, others), code
  end
  check_server(self, who, level)
  return net.listen(address, others, self._core)
end

local START_OPTIONS = { server = "boolean", timeout = "number", hostname = "string" }

-- conn:starttls.
function M.starttls(conn, opts)
  if opts ~= nil and type(opts) ~= "table" then
    error("starttls: table of options expected, got " .. type(opts), 2)
  end
  local self, others, code = divide(opts, "starttls", 3)
  if not self then
    return nil, others, code
  end
  options.check("starttls", others, START_OPTIONS, 2)
  local server, hostname = others.server, take_hostname(others, "starttls", 3)
  if server == nil then
    server = core.is_accepted(conn)
  end
  if server then
    check_server(self, "starttls", 3)
  elseif not hostname and self._prepared.verify ~= VERIFY[false] then
    fail("starttls", 2, "option 'hostname' is missing: whom the certificate must be for")
  end
  local ok, message
  ok, message, code = core.start(conn, self._core, server, hostname)
  if not ok then
    return nil, message, code
  end
  return core.handshake(conn, others.timeout)
end

return M
