-- SPDX-License-Identifier: MIT
-- Agreeing on compressed WebSocket messages: permessage-deflate (RFC 7692 sections 5 and 7.1).

local M = {}

local NAME = "permessage-deflate"
local TOKEN = "^([%w!#$%%&'*+.^_`|~-]+)[ \t]*()"

-- Name of a parameter -> what its value may be.
local kinds = {
  server_no_context_takeover = "flag", client_no_context_takeover = "flag",
  server_max_window_bits = "bits", client_max_window_bits = "bits or flag",
}

---@class grun.http.websocket.deflate
---@field server_no_context_takeover? boolean each message of the server is compressed by itself:
---larger, but its memory is given back after it (false)
---@field client_no_context_takeover? boolean the same of the client's messages (false)
---@field server_max_window_bits? integer 9 to 15: the server compresses with 2^n bytes of the past
---(15)
---@field client_max_window_bits? integer the same of the client (15), if it can do that
---@field level? integer of our compression: 0, none, 1, fast, to 9, small (6)
---@field threshold? integer bytes of a message from which on we compress it (64)

-- ---- Options ----

local ranges = { -- name of an option -> default, least and most
  server_max_window_bits = { 15, 9, 15 }, client_max_window_bits = { 15, 9, 15 },
  level = { 6, 0, 9 }, threshold = { 64, 0, 2 ^ 40 },
}

-- What is wrong with an option, or nil.
local function flaw(name, value)
  local range = ranges[name]
  if kinds[name] == "flag" then
    return type(value) ~= "boolean" and ("'deflate.%s': boolean expected"):format(name) or nil
  elseif not range then
    return ("'deflate': unknown option '%s'"):format(tostring(name))
  elseif type(value) ~= "number" or value % 1 ~= 0 or value < range[2] or value > range[3] then
    return ("'deflate.%s': integer from %d to %d expected"):format(name, range[2], range[3])
  end
end

--- Checks the option `deflate`. Returns it with all defaults, nil for "no"; or false and what is
--- wrong. Loads libz, raises without it.
function M.check(value)
  if value == nil or value == false then
    return nil
  elseif value ~= true and type(value) ~= "table" then
    return false, "'deflate': boolean or table expected, got " .. type(value)
  end
  require("grun.core.zlib")
  local own = { server_no_context_takeover = false, client_no_context_takeover = false }
  for name, range in pairs(ranges) do
    own[name] = range[1]
  end
  for name, given in pairs(value == true and {} or value) do
    local problem = flaw(name, given)
    if problem then
      return false, problem
    end
    own[name] = given
  end
  return own
end

-- ---- Fields ----

-- Reads the value behind "=". Returns it unquoted and where it ends, or nil.
local function read_value(text, at)
  local value, after = text:match(TOKEN, at)
  if not value then
    value, after = text:match('^"([^"\\]*)"[ \t]*()', at)
  end
  return value and value:find(TOKEN .. "$") and value, after
end

-- Reads the parameters of an element: at `at` stands ";" or the element's end. Returns a list of
-- { name, value or true } and where they end, or nil.
local function read_params(text, at)
  local list = {}
  while text:sub(at, at) == ";" do
    local name, value
    name, at = text:match(TOKEN, text:match("^[ \t]*()", at + 1))
    if not name then
      return nil
    end
    value = true
    if text:sub(at, at) == "=" then
      value, at = read_value(text, text:match("^[ \t]*()", at + 1))
    end
    if not value then
      return nil
    end
    list[#list + 1] = { name, value }
  end
  return list, at
end

-- Parses Sec-WebSocket-Extensions. Returns a list of { name =, params = { { name, value }, … } },
-- nil if it is malformed.
local function parse(text)
  local list, at = {}, 1
  while true do
    at = text:match("^[ \t,]*()", at)
    if at > #text then
      return list
    end
    local name, params
    name, at = text:match(TOKEN, at)
    if not name then
      return nil
    end
    params, at = read_params(text, at)
    if not params or (at <= #text and text:sub(at, at) ~= ",") then
      return nil
    end
    list[#list + 1] = { name = name, params = params }
  end
end

--- Whether a field's value follows the grammar. Who sends another one has to be refused (RFC 6455
--- section 9.1).
function M.is_valid(value)
  return parse(value) ~= nil
end

-- The number that stands for a window's size, or nil.
local function window_bits(value)
  return value ~= true and value:find("^%d%d?$") and not value:find("^0")
    and tonumber(value) >= 8 and tonumber(value) <= 15 and tonumber(value) or nil
end

-- Returns name -> true or a number; nil for parameters that are unknown, double, or of bad values.
local function read_deflate(params)
  local set = {}
  for _, param in ipairs(params) do
    local name, value = param[1], param[2]
    local kind = kinds[name]
    if not kind or set[name] ~= nil then
      return nil
    elseif value == true and kind == "bits" or value ~= true and kind == "flag" then
      return nil
    end
    set[name] = value == true or window_bits(value)
    if not set[name] then
      return nil
    end
  end
  return set
end

-- What both want, but for the client's window.
local function agreed(opts, set)
  local theirs = set.server_max_window_bits or 15
  return {
    server_no_context_takeover = set.server_no_context_takeover or opts.server_no_context_takeover,
    client_no_context_takeover = set.client_no_context_takeover or opts.client_no_context_takeover,
    server_max_window_bits = math.min(opts.server_max_window_bits, theirs),
    client_max_window_bits = 15,
    level = opts.level, threshold = opts.threshold,
  }
end

-- What is asked for or agreed on as a field's value. `offer`: a client's, whose server may want a
-- smaller window of it.
local function write(deflate, offer)
  local parts = { NAME }
  for _, side in ipairs({ "server", "client" }) do
    if deflate[side .. "_no_context_takeover"] then
      parts[#parts + 1] = side .. "_no_context_takeover"
    end
    local bits = deflate[side .. "_max_window_bits"]
    if bits < 15 then
      parts[#parts + 1] = ("%s_max_window_bits=%d"):format(side, bits)
    elseif offer and side == "client" then
      parts[#parts + 1] = "client_max_window_bits"
    end
  end
  return table.concat(parts, "; ")
end

-- ---- Servers ----

-- What a server answers to an offer, or nil to decline it: libz cannot compress with 2^8 bytes.
-- Smaller windows can be asked only of clients that offer them.
local function answer(opts, set)
  local deflate = agreed(opts, set)
  if deflate.server_max_window_bits < 9 then
    return nil
  end
  if set.client_max_window_bits then
    local most = set.client_max_window_bits == true and 15 or set.client_max_window_bits
    deflate.client_max_window_bits = math.min(opts.client_max_window_bits, most)
  end
  return write(deflate), deflate
end

--- A server's choice among a client's offers. Returns the value of the field that answers them, and
--- what is agreed on then; nil without an offer that it can take.
function M.accept(opts, offers)
  for _, offer in ipairs(opts and offers and parse(offers) or {}) do
    local set = offer.name == NAME and read_deflate(offer.params)
    if set then
      local value, deflate = answer(opts, set)
      if value then
        return value, deflate
      end
    end
  end
end

-- ---- Clients ----

--- The value of the field by which a client offers it.
function M.offer(opts)
  return write(opts, true)
end

-- Whether a server's answer keeps to what was asked for.
local function is_fair(opts, set)
  local bits = set.client_max_window_bits
  return (set.server_no_context_takeover or not opts.server_no_context_takeover)
    and (set.server_max_window_bits or 15) <= opts.server_max_window_bits
    and bits ~= true and (bits or 15) >= 9
    and (not bits or bits <= opts.client_max_window_bits)
end

--- What a client makes of the server's answer: what is agreed on, nil if nothing is; false if the
--- answer is wrong.
function M.confirm(opts, value)
  if not value then
    return nil
  end
  local list = parse(value)
  if not list or #list ~= 1 or list[1].name ~= NAME then
    return false
  end
  local set = read_deflate(list[1].params)
  if not set or not is_fair(opts, set) then
    return false
  end
  local deflate = agreed(opts, set)
  deflate.client_max_window_bits =
    math.min(opts.client_max_window_bits, set.client_max_window_bits or 15)
  return deflate
end

-- ---- Both ----

--- Adds to the options of grun.core.websocket's open what is agreed on, seen by one side.
function M.apply(limits, deflate, client)
  if not deflate then
    return
  end
  local us, peer = client and "client" or "server", client and "server" or "client"
  limits.deflate_bits = deflate[us .. "_max_window_bits"]
  limits.deflate_takeover = deflate[us .. "_no_context_takeover"] and 0 or 1
  limits.deflate_level, limits.deflate_threshold = deflate.level, deflate.threshold
  limits.inflate_bits = deflate[peer .. "_max_window_bits"]
  limits.inflate_takeover = deflate[peer .. "_no_context_takeover"] and 0 or 1
end

return M
