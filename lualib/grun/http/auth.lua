-- SPDX-License-Identifier: MIT
-- Basic authentication of HTTP clients (RFC 7617).

local M = {}

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

local function base64(text)
  return (text:gsub("..?.?", function(group)
    local a, b, c = group:byte(1, 3)
    local n, out = a * 65536 + (b or 0) * 256 + (c or 0), {}
    for i = 1, 4 do
      local at = math.floor(n / 64 ^ (4 - i)) % 64
      out[i] = i <= #group + 1 and ALPHABET:sub(at + 1, at + 1) or "="
    end
    return table.concat(out)
  end))
end

local function decode(text)
  return (text:gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

--- The value of Authorization; nil without a user.
---@param user? string
---@param password? string
---@return string|nil
function M.basic(user, password)
  return user and "Basic " .. base64(user .. ":" .. (password or ""))
end

--- The same for the user and the password of a URL.
---@param url grun.http.url
---@return string|nil
function M.of_url(url)
  return url.user and M.basic(decode(url.user), decode(url.password))
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
