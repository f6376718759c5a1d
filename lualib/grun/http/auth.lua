-- SPDX-License-Identifier: MIT
-- Basic authentication of HTTP clients (RFC 7617).

local httptext = require("grun.core.httptext")

local M = {}

local function decode(text)
  return httptext.percent_decode(text) or text
end

--- The value of Authorization; nil without a user.
---@param user? string
---@param password? string
---@return string|nil
function M.basic(user, password)
  return user and "Basic " .. httptext.base64_encode(user .. ":" .. (password or ""))
end

--- The same for the user and the password of a URL.
---@param url grun.http.url
---@return string|nil
function M.of_url(url)
  return url.user and M.basic(decode(url.user), decode(url.password))
end

--- What is wrong with a request's option `auth`, or nil. A user's name has no colon (RFC 7617).
---@param auth any
---@return string|nil
function M.flaw(auth)
  if type(auth) == "table" then
    local user, password = auth.user or auth[1], auth.password or auth[2]
    if type(user) ~= "string" or type(password or "") ~= "string" then
      return "option 'auth': user and password expected"
    elseif user:find(":", 1, true) then
      return "option 'auth': colon in the user"
    end
  end
end

--- The same for a request's option `auth`.
---@param auth? { user: string, password: string }|boolean
---@param url grun.http.url
---@return string|nil
function M.credentials(auth, url)
  if auth == true then
    return M.of_url(url)
  elseif auth then
    return M.basic(auth.user or auth[1], auth.password or auth[2])
  end
end

return M
