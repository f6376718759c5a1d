-- SPDX-License-Identifier: MIT
-- Access logs: lines made of gunicorn's atoms (its manual, "access_log_format").

local core = require("grun.core")
local httpd = require("grun.core.httpd")
local log_file = require("grun.http.log_file")
local thread = require("grun.thread")

local M = {}

local COMBINED = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
local named = { combined = COMBINED, common = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s' }

-- What clients send must not break lines or hide in them.
local function clean(text)
  return (text:gsub('[%c"\\\127-\255]', function(c)
    return ("\\x%02x"):format(c:byte())
  end))
end

-- Stands for the request that a client did not make.
local Refused = { method = "-", raw_path = "-", query_string = "", version = "-" }
Refused.__index = Refused

function Refused.header()
  return nil
end

-- The line of what was no request may have a password where none belongs: "GET http://u:p@host/".
local function masked(line)
  return line:find("^%S* /") and line or require("grun.core.httptext").mask_password(line)
end

local function refused(peer, line)
  return setmetatable({ peer = peer, line = line ~= "" and masked(line) or "-" }, Refused)
end

local function host(req)
  local peer = req.peer
  if not peer then
    return "-"
  end
  return peer:match("^%a+://%[?(.-)%]?:%d+$") or peer
end

local function user(req)
  local encoded = (req:header("authorization") or ""):match("^[Bb]asic%s+([%w+/=]+)$")
  local decoded = encoded and require("grun.core.httptext").base64_decode(encoded)
  return decoded and decoded:match("^([^:]*):") or "-"
end

local function request_line(req)
  return req.line or ("%s %s HTTP/%s"):format(req.method, req.target, req.version)
end

-- Name of an atom -> fn(req, status, bytes, seconds, state).
local atoms = {
  h = host,
  l = function() return "-" end,
  u = user,
  t = function() return os.date("[%d/%b/%Y:%H:%M:%S %z]") end,
  r = request_line,
  m = function(req) return req.method end,
  U = function(req) return req.raw_path end,
  q = function(req) return req.query_string end,
  H = function(req) return "HTTP/" .. req.version end,
  s = function(_, status) return tostring(status) end,
  b = function(_, _, bytes) return bytes > 0 and ("%d"):format(bytes) or "-" end,
  B = function(_, _, bytes) return ("%d"):format(bytes) end,
  f = function(req) return req:header("referer") or "-" end,
  a = function(req) return req:header("user-agent") or "-" end,
  T = function(_, _, _, seconds) return ("%d"):format(seconds) end,
  M = function(_, _, _, seconds) return ("%d"):format(seconds * 1e3) end,
  D = function(_, _, _, seconds) return ("%d"):format(seconds * 1e6) end,
  L = function(_, _, _, seconds) return ("%.6f"):format(seconds) end,
  p = function() return tostring(require("grun.core.worker").pid()) end,
}

-- Letter behind "%({name}" -> fn(name), which makes such a function for it.
local named_atoms = {
  i = function(name) -- a field of the request
    return function(req)
      return req:header(name) or "-"
    end
  end,
  o = function(name) -- a field that the handler has set of the response
    return function(_, _, _, _, state)
      return httpd.field(state, name) or "-"
    end
  end,
  e = function(name) -- a CGI variable of the request, else one of the process's environment
    local variable = require("grun.http.wsapi").variable
    return function(req)
      return variable(req, name) or os.getenv(name) or "-"
    end
  end,
}

-- The function of an atom; nil for an unknown one.
local function find_atom(atom)
  local name, letter = atom:match("^{(.+)}(%a)$")
  if name then
    return named_atoms[letter] and named_atoms[letter](name)
  end
  return atoms[atom]
end

-- A list of texts and functions.
local function compile(format)
  local pieces, at = {}, 1
  while true do
    local from, to, atom = format:find("%%%((.-)%)s", at)
    if not from then
      break
    end
    pieces[#pieces + 1] = format:sub(at, from - 1)
    pieces[#pieces + 1] = find_atom(atom)
      or error("server: option 'access_log': unknown atom %(" .. atom .. ")s", 5)
    at = to + 1
  end
  pieces[#pieces + 1] = format:sub(at)
  return pieces
end

local function format_line(pieces, ...)
  local out = {}
  for i, piece in ipairs(pieces) do
    out[i] = type(piece) == "string" and piece or clean(piece(...))
  end
  return table.concat(out)
end

-- A file that cannot be opened is as bad as a bad option.
local function to_file(path)
  local sink, message = log_file.open(path)
  return sink or error("server: option 'access_log_file': " .. message, 5)
end

--- Makes fn(state, req, status, bytes, seconds [, peer, line]) that writes a line, as the option
--- says: true, the name of a format, a format, or a function that gets lines in the combined
--- format. With a `path` lines are appended to that file instead. What is no request has the
--- client's address and the first line that came instead of `req`.
function M.new(option, path)
  local sink, format = path and to_file(path) or log_file.stdout(), COMBINED
  if type(option) == "function" then
    sink = option
  elseif type(option) == "string" then
    format = named[option] or option
  end
  local pieces = compile(format)
  local function log(state, req, status, bytes, seconds, peer, line)
    return sink(format_line(pieces, req or refused(peer, line), status, bytes, seconds, state))
  end
  -- A log that fails must not end connections. What cancels the thread is not the log's failure.
  return function(...)
    local ok, err = xpcall(log, core.traceback, ...)
    if not ok and not thread.is_own_cancel(err) then
      thread.report("the access log", thread.caught(err))
    end
  end
end

return M
