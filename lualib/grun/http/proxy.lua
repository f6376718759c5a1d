-- SPDX-License-Identifier: MIT
-- Which proxy an HTTP client uses.

local auth = require("grun.http.auth")
local urls = require("grun.http.url")

local M = {}

local function env(name)
  local value = os.getenv(name)
  return value and value ~= "" and value or nil
end

-- The name or address of an item of no_proxy, and its port, nil without one.
local function split_item(item)
  local name, port = item:match("^%[(.*)%]:?(%d*)$")
  if not name and not item:find(":.*:") then -- else an IPv6 address
    name, port = item:match("^(.*):(%d+)$")
  end
  return (name or item):gsub("^%*?%.", ""), tonumber(port)
end

-- Is the host in no_proxy? That lists names, which stand for all names below them too, and
-- addresses, each perhaps with a port; or "*".
local function is_exempt(url)
  for item in (env("no_proxy") or env("NO_PROXY") or ""):gmatch("[^,%s]+") do
    local name, port = split_item(item:lower())
    if item == "*" or (port == nil or port == url.port)
      and (url.host == name or url.host:sub(-#name - 1) == "." .. name) then
      return true
    end
  end
  return false
end

-- HTTP_PROXY in capitals is not looked at: in CGI programs it is what a client sent.
local function from_environment(url)
  if is_exempt(url) then
    return nil
  elseif url.scheme == "https" then
    return env("https_proxy") or env("HTTPS_PROXY")
  end
  return env("http_proxy")
end

--- The proxy for a URL by a request's option `proxy`: its URL, with `authorization` if there is a
--- password in it; false for none. Returns nil, message, code for one that cannot be used.
---@param text? string|false
---@param url grun.http.url
---@return grun.http.url|false|nil, string?, string?
function M.choose(text, url)
  if text == "env" then
    text = from_environment(url)
  end
  if not text then
    return false
  end
  text = text:find("://", 1, true) and text or "http://" .. text
  local proxy, message, code = urls.check(text)
  if proxy and proxy.scheme ~= "http" then
    return nil, ('bad proxy "%s": only http'):format(urls.mask(text)), "bad_address"
  elseif not proxy then
    return nil, message, code
  end
  proxy.authorization = auth.of_url(proxy)
  return proxy
end

return M
