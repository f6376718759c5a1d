-- SPDX-License-Identifier: MIT
-- Cookie jars of HTTP clients (RFC 6265). There is no list of public suffixes: cookies for names
-- without a dot are taken from that very host only.

local httptext = require("grun.core.httptext")

local MAX, MAX_PER_HOST, MAX_BYTES = 3000, 50, 4096

local MONTHS = {}
for name in ("Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec"):gmatch("%a+") do
  MONTHS[name:lower()] = name
end

---@class grun.http.cookie
---@field name string
---@field value string
---@field domain string in lower case, without a dot before it
---@field path string
---@field host_only boolean only for that very host, not for names below it
---@field secure boolean only for https
---@field http_only boolean
---@field expires? number seconds since 1970; nil: as long as the jar

---@class grun.http.cookies
local Jar = { __name = "grun.http.cookies" }
Jar.__index = Jar

-- ---- Rules ----

local function is_ip(host)
  return host:find("^%d+%.%d+%.%d+%.%d+$") or host:find(":", 1, true)
end

-- RFC 6265 section 5.1.3.
local function domain_matches(host, domain)
  return host == domain
    or host:sub(-#domain - 1) == "." .. domain and not is_ip(host)
end

-- RFC 6265 section 5.1.4.
local function default_path(path)
  return path:match("^(/.*)/[^/]*$") or "/"
end

local function path_matches(path, prefix)
  return path == prefix
    or path:sub(1, #prefix) == prefix
      and (prefix:sub(-1) == "/" or path:sub(#prefix + 1, #prefix + 1) == "/")
end

local function trim(text)
  local from = text:find("%S")
  return from and text:match("^.*%S", from) or ""
end

local function split_pair(text)
  local name, value = text:match("^([^=]*)=(.*)$")
  if name then
    return trim(name), trim(value)
  end
  return trim(text)
end

-- RFC 6265 section 5.2: name and value (nil without "=") of a Set-Cookie field, and its attributes,
-- of which the last of each name counts. Quotes are part of the value.
local function split(text)
  local pair, rest = text:match("^([^;]*)(.*)$")
  local found = {}
  for part in rest:gmatch("[^;]+") do
    local name, value = split_pair(part)
    found[name:lower()] = value or ""
  end
  local name, value = split_pair(pair)
  return name, value, found
end

-- Puts what a word of a date says into `date`, unless that is known already.
local function take_word(date, word)
  local time = word:match("^%d%d?:%d%d?:%d%d?%f[%D]")
  local month = MONTHS[word:sub(1, 3):lower()]
  local digits = word:match("^%d*")
  local n = tonumber(digits)
  if time and not date.time then
    date.time = time:gsub("%d+", function(part) return ("%02d"):format(part) end)
  elseif not date.day and n and #digits <= 2 then
    date.day = n
  elseif not date.month and month then
    date.month = month
  elseif not date.year and (#digits == 2 or #digits == 4) then
    date.year = n + (#digits == 4 and 0 or n >= 70 and 1900 or 2000)
  end
end

-- RFC 6265 section 5.1.1: what browsers understand, in whatever order and with whatever between.
local function parse_date(text, now)
  local date = {}
  for word in text:gmatch("[^\t !-/;-@[-`{-~]+") do
    take_word(date, word)
  end
  if not (date.time and date.day and date.month and date.year) then
    return nil
  end
  return httptext.parse_date(("Sun, %02d %s %04d %s GMT"):format(date.day, date.month, date.year,
    date.time), now)
end

local function expiry(found, now)
  local age = found["max-age"]
  if age and age:find("^%-?%d+$") then
    return tonumber(age) > 0 and now + math.min(tonumber(age), 2 ^ 40) or 0
  end
  return found.expires and parse_date(found.expires, now)
end

-- A dot at the end does not count.
local function has_dot(domain)
  return domain:find("%.[^.]") ~= nil
end

-- The cookie's domain and whether it is for that host only; nil if the host may not set it.
local function scope(host, wanted)
  local domain = (wanted or ""):lower():gsub("^%.", "")
  if domain == "" or domain == host then
    return host, domain == "" or is_ip(host) ~= nil or not has_dot(domain)
  elseif not has_dot(domain) or not domain_matches(host, domain) then
    return nil
  end
  return domain, false
end

-- RFC 6265bis section 4.1.3: names that promise something.
local function keeps_promise(cookie)
  local name = cookie.name:lower()
  if name:find("^__host%-") then
    return cookie.secure and cookie.host_only and cookie.path == "/"
  end
  return not name:find("^__secure%-") or cookie.secure
end

local function parse(url, text, now)
  local name, value, found = split(text)
  if name == "" or not value then
    return nil
  elseif #name + #value > MAX_BYTES or (name .. value):find("[%z\1-\31\127]") then
    return nil
  end
  local domain, host_only = scope(url.host, found.domain)
  local path = found.path
  local cookie = {
    name = name, value = value, domain = domain, host_only = host_only,
    path = path and path:sub(1, 1) == "/" and path or default_path(url.path),
    secure = found.secure ~= nil, http_only = found.httponly ~= nil,
    expires = expiry(found, now),
  }
  if not domain or cookie.secure and url.scheme ~= "https" or not keeps_promise(cookie) then
    return nil
  end
  return cookie
end

-- ---- The jar ----

local function drop_expired(self, now)
  for i = #self._list, 1, -1 do
    local expires = self._list[i].expires
    if expires and expires <= now then
      table.remove(self._list, i)
    end
  end
end

-- Removes the oldest cookies above the limits.
local function make_room(self, domain)
  local count, oldest = 0, nil
  for i, cookie in ipairs(self._list) do
    if cookie.domain == domain then
      count, oldest = count + 1, oldest or i
    end
  end
  if count >= MAX_PER_HOST then
    table.remove(self._list, oldest)
  elseif #self._list >= MAX then
    table.remove(self._list, 1)
  end
end

local function find(self, cookie)
  for i, other in ipairs(self._list) do
    if other.name == cookie.name and other.domain == cookie.domain
      and other.path == cookie.path then
      return i
    end
  end
end

-- A plain response may not replace a cookie that is for https only.
local function is_protected(self, url, cookie)
  for _, other in ipairs(self._list) do
    if other.secure and url.scheme ~= "https" and other.name == cookie.name
      and (domain_matches(other.domain, cookie.domain)
        or domain_matches(cookie.domain, other.domain))
      and path_matches(cookie.path, other.path) then
      return true
    end
  end
end

--- Takes the value of one Set-Cookie field of a response from `url`. Returns whether it was
--- accepted.
---@param url grun.http.url
---@param text string
---@param now? number seconds since 1970
---@return boolean
function Jar:store(url, text, now)
  now = now or os.time()
  local cookie = parse(url, text, now)
  if not cookie or is_protected(self, url, cookie) then
    return false
  end
  local at = find(self, cookie)
  if cookie.expires and cookie.expires <= now then
    if at then
      table.remove(self._list, at)
    end
    return true
  elseif at then
    self._list[at] = cookie -- keeps its place, since the order tells the age
    return true
  end
  drop_expired(self, now)
  make_room(self, cookie.domain)
  self._list[#self._list + 1] = cookie
  return true
end

local function applies(cookie, url)
  if cookie.host_only and cookie.domain ~= url.host then
    return false
  end
  return domain_matches(url.host, cookie.domain) and path_matches(url.path, cookie.path)
    and (not cookie.secure or url.scheme == "https")
end

--- The value of the Cookie field for a request to `url`, nil without one: longer paths first, then
--- older cookies.
---@param url grun.http.url
---@param now? number seconds since 1970
---@return string|nil
function Jar:header(url, now)
  drop_expired(self, now or os.time())
  local chosen = {}
  for i, cookie in ipairs(self._list) do
    if applies(cookie, url) then
      chosen[#chosen + 1] = { cookie = cookie, at = i }
    end
  end
  table.sort(chosen, function(a, b)
    if #a.cookie.path ~= #b.cookie.path then
      return #a.cookie.path > #b.cookie.path
    end
    return a.at < b.at
  end)
  for i, entry in ipairs(chosen) do
    chosen[i] = entry.cookie.name .. "=" .. entry.cookie.value
  end
  return chosen[1] and table.concat(chosen, "; ")
end

--- Copies of the cookies, oldest first.
---@return grun.http.cookie[]
function Jar:list()
  drop_expired(self, os.time())
  local copy = {}
  for i, cookie in ipairs(self._list) do
    copy[i] = {}
    for name, value in pairs(cookie) do
      copy[i][name] = value
    end
  end
  return copy
end

--- Forgets all cookies, or those of one domain.
---@param domain? string
function Jar:clear(domain)
  for i = #self._list, 1, -1 do
    if not domain or self._list[i].domain == domain:lower() then
      table.remove(self._list, i)
    end
  end
end

local M = {}

--- An empty jar: at most 3000 cookies, 50 for one domain, of at most 4096 bytes each; older ones
--- make room.
---@return grun.http.cookies
function M.new()
  return setmetatable({ _list = {} }, Jar)
end

return M
