-- SPDX-License-Identifier: MIT
-- What requests can do besides (runtime/bind/lib_httpd_request.c): forms, JSON, cookies.

local httpd = require("grun.core.httpd")

-- Methods of a request. Those that read the body park.
local Request = httpd.request_methods

local function texts()
  return require("grun.core.httptext")
end

--- The media type of the body in lower case, and its parameters by name; nil without a
--- well-formed Content-Type.
function Request:media_type()
  local value = self:header("content-type")
  if value then
    return texts().media_type(value)
  end
end

--- The cookies: name -> value; of several with one name the first.
function Request:cookies()
  local cookies = self._cookies
  if not cookies then
    cookies = texts().parse_cookies(self:header("cookie") or "")
    self._cookies = cookies
  end
  return cookies
end

--- The value that the body is in JSON. Returns nil, message, code: "type" when the body is not said
--- to be JSON, "protocol" when it is none, or as body().
function Request:json(max)
  local kind = self:media_type()
  if kind ~= "application/json" and not (kind and kind:find("%+json$")) then
    self:_fail(415)
    return nil, "the body is not application/json", "type"
  end
  local body, message, code = self:body(max)
  if not body then
    return nil, message, code
  end
  local value, problem = require("grun.http.json").decode(body)
  if value == nil then
    self:_fail(400)
    return nil, problem, "protocol"
  end
  return value
end

--- Goes through the parts of a multipart body. See grun.http.form.
function Request:multipart(opts)
  return require("grun.http.form").multipart(self, opts)
end

--- Reads a form. See grun.http.form.
function Request:form(opts)
  return require("grun.http.form").form(self, opts)
end

return Request
