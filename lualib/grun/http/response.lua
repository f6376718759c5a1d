-- SPDX-License-Identifier: MIT
-- What responses can do besides (runtime/bind/lib_httpd_response.c): redirects, JSON, cookies,
-- files.

local httpd = require("grun.core.httpd")

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

--- Sets a cookie: path "/", HttpOnly and SameSite=Lax unless opts say otherwise.
function Response:cookie(name, value, opts)
  local given = opts or {}
  for option, text in pairs(given) do
    if type(text) ~= cookie_options[option] then
      error(("cookie: bad option '%s'"):format(tostring(option)), 2)
    end
  end
  local http_only = given.http_only
  local text, problem = require("grun.core.httptext").format_cookie(name, value, {
    domain = given.domain, path = given.path or "/", max_age = given.max_age,
    secure = given.secure, http_only = http_only == nil or http_only,
    same_site = given.same_site or "lax",
  })
  if not text then
    error("cookie: " .. problem, 2)
  end
  return self:header("Set-Cookie", text)
end

--- Sends a file. See grun.http.file.
function Response:sendfile(source, opts)
  return require("grun.http.file").sendfile(self, source, opts)
end

return Response
