-- SPDX-License-Identifier: MIT
-- What responses can do besides (runtime/bind/lib_httpd_response.c): redirects, JSON, cookies,
-- files.

local httpd = require("grun.core.httpd")
local options = require("grun.options")

-- Methods of a response. Those that send park.
local Response = httpd.response_methods

local REDIRECTS = { [301] = true, [302] = true, [303] = true, [307] = true, [308] = true }

--- Sends the client elsewhere. The location is an absolute URL or a path; what may not stand in one
--- is escaped, a line end raises.
function Response:redirect(location, status)
  if type(location) ~= "string" or location == "" then
    error("redirect: location expected, got " .. tostring(location), 2)
  elseif location:find("[%z\1-\31\127]") then
    error("redirect: control character in the location", 2)
  end
  status = status or 302
  if not REDIRECTS[status] then
    error("redirect: status must be 301, 302, 303, 307 or 308, got " .. tostring(status), 2)
  end
  location = location:gsub('[ "<>\\^`{|}\128-\255]', function(c)
    return ("%%%02X"):format(c:byte())
  end)
  self:status(status):header("Location", location)
  return self:finish()
end

--- Sends a value as JSON.
function Response:json(value, status)
  if status ~= nil and type(status) ~= "number" then
    error("json: status expected, got " .. type(status), 2)
  end
  local text = require("grun.http.json").encode(value)
  if status then
    self:status(status)
  end
  if not self:header("Content-Type") then
    self:header("Content-Type", "application/json")
  end
  return self:finish(text)
end

-- Name of an option of a cookie -> its type.
local cookie_options = {
  domain = "string", path = "string", max_age = "number", secure = "boolean",
  http_only = "boolean", same_site = "string",
}

-- Why there is no such cookie. The fault is looked for by trying one part at a time.
local function fault(format, name, value, opts)
  if opts.same_site == "none" and not opts.secure then
    return "option 'same_site': \"none\" needs 'secure'"
  elseif not format(name, "", {}) then
    return ("bad name %q"):format(name)
  elseif not format("name", value, {}) then
    return ("the value of %q has a character that may not stand there, or is too long"):format(name)
  end
  return "'domain' or 'path' has a character that may not stand there, or is too long"
end

--- Sets a cookie: path "/", HttpOnly and SameSite=Lax unless opts say otherwise.
function Response:cookie(name, value, opts)
  local given = opts == nil and {} or opts
  if type(name) ~= "string" or type(value) ~= "string" and type(value) ~= "number" then
    error(("cookie: name and value expected, got %s and %s"):format(type(name), type(value)), 2)
  end
  options.check("cookie", given, cookie_options, 2)
  local same_site, http_only = given.same_site, given.http_only
  if same_site and same_site ~= "lax" and same_site ~= "strict" and same_site ~= "none" then
    error("cookie: option 'same_site' must be \"lax\", \"strict\" or \"none\"", 2)
  end
  local format = require("grun.core.httptext").format_cookie
  local text = format(name, value, {
    domain = given.domain, path = given.path or "/", max_age = given.max_age,
    secure = given.secure, http_only = http_only == nil or http_only,
    same_site = same_site or "lax",
  })
  if not text then
    error("cookie: " .. fault(format, name, value, given), 2)
  end
  return self:header("Set-Cookie", text)
end

--- Sends a file. See grun.http.file.
function Response:sendfile(source, opts)
  return require("grun.http.file").sendfile(self, source, opts)
end

return Response
