-- SPDX-License-Identifier: MIT
-- URLs of http and https (RFC 3986): taken apart, and relative references made absolute.

local httptext = require("grun.core.httptext")

local M = {}

local PORTS = { http = 80, https = 443 }

local function hex(c)
  return ("%%%02X"):format(c:byte())
end

-- Escapes what may not stand in a target: blanks, what is not ASCII, some characters that no server
-- expects, and "%" that begins no escape.
local function escape(text)
  text = text:gsub("[^!#-;=?@%w%[%]_~]", hex)
  return (text:gsub("%%(%x?%x?)", function(digits)
    return #digits < 2 and "%25" .. digits or nil
  end))
end

-- The components of a reference, as in RFC 3986 appendix B. Absent ones are nil.
local function split(text)
  text = text:gsub("#.*", "")
  local scheme, rest = text:match("^(%a[%w+.-]*):(.*)$")
  rest = rest or text
  local authority, path = rest:match("^//([^/?]*)(.*)$")
  path = path or rest
  local before, query = path:match("^([^?]*)%?(.*)$")
  return scheme and scheme:lower(), authority, before or path, query
end

local function ipv6(text)
  return text:find("^[%x:.]+$") and text:find(":.*:") and #text <= 45
end

-- Sets user, password, host and port. Returns what is wrong, or nil.
local function set_authority(url, authority)
  local userinfo, host_port = authority:match("^(.*)@([^@]*)$")
  if userinfo and userinfo:find('[%c\\"<>]') then
    return "bad user"
  elseif userinfo then
    url.user, url.password = userinfo:match("^([^:]*):?(.*)$")
  end
  host_port = host_port or authority
  local host, port = host_port:match("^%[(.*)%](.*)$")
  if host then
    url.is_ipv6 = true
  else
    host, port = host_port:match("^([^:]*)(.*)$")
  end
  if host == "" then
    return "no host"
  elseif url.is_ipv6 and not ipv6(host) or not url.is_ipv6 and not host:find("^[%w._~-]+$") then
    return "bad host"
  elseif port ~= "" and not port:find("^:%d*$") then
    return "bad port"
  end
  url.host = host:lower()
  url.port = tonumber(port:match("%d+")) or PORTS[url.scheme]
  return (url.port < 1 or url.port > 65535) and "bad port" or nil
end

---@class grun.http.url
---@field scheme "http"|"https"
---@field host string in lower case, IPv6 addresses without brackets
---@field port integer
---@field authority string host and port as in the Host field: without the scheme's default port
---@field target string path and query, escaped
---@field path string
---@field query? string
---@field user? string as written, with its escapes
---@field password? string

--- Takes an absolute URL apart; its fragment does not count. Returns nil and what is wrong.
---@param text string
---@return grun.http.url|nil, string?
function M.parse(text)
  if text:find("[%c\127]") then
    return nil, "control character"
  end
  local scheme, authority, path, query = split(text:gsub("^%s+", ""):gsub("%s+$", ""))
  if not PORTS[scheme] then
    return nil, scheme and "neither http nor https" or "no scheme"
  end
  local url = { scheme = scheme, query = query and escape(query) }
  local problem = set_authority(url, authority or "")
  if problem then
    return nil, problem
  end
  url.path = path == "" and "/" or escape(path)
  url.target = url.path .. (query and "?" .. url.query or "")
  local host = url.is_ipv6 and "[" .. url.host .. "]" or url.host
  url.authority = host .. (url.port == PORTS[scheme] and "" or ":" .. url.port)
  url.address = host .. ":" .. url.port
  url.origin = scheme .. "://" .. url.address
  return url
end

--- A URL as messages and logs may show it, good or bad: with "***" for its password, and "?" for
--- control characters.
---@param text string
---@return string
function M.mask(text)
  return (httptext.mask_password(text):gsub("[%c\127]", "?"))
end

--- As parse, failing as the client does: nil, message, code.
---@param text string
---@return grun.http.url|nil, string?, string?
function M.check(text)
  local url, problem = M.parse(text)
  if not url then
    return nil, ('bad URL "%s": %s'):format(M.mask(text), problem), "bad_address"
  end
  return url
end

--- The URL as text, without user and password.
---@param url grun.http.url
---@return string
function M.format(url)
  return url.scheme .. "://" .. url.authority .. url.target
end

-- RFC 3986 section 5.2.4.
local function remove_dots(path)
  local out, last = {}, nil
  for segment in path:gmatch("/([^/]*)") do
    last = segment
    if segment == ".." then
      out[#out] = nil
    elseif segment ~= "." then
      out[#out + 1] = segment
    end
  end
  local folder = (last == "." or last == "..") and #out > 0 and "/" or ""
  return "/" .. table.concat(out, "/") .. folder
end

--- The absolute URL of a reference as it stands in a document at `base`, for parse.
---@param base grun.http.url
---@param reference string
---@return string
function M.resolve(base, reference)
  local scheme, authority, path, query = split(reference)
  if scheme then
    return reference
  elseif authority then
    return base.scheme .. ":" .. reference
  elseif path == "" then
    path, query = base.path, query or base.query
  elseif path:sub(1, 1) ~= "/" then
    path = base.path:match("^(.*/)") .. path
  end
  local target = remove_dots(path) .. (query and "?" .. query or "")
  return base.scheme .. "://" .. base.authority .. target
end

return M
