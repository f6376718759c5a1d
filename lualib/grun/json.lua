-- SPDX-License-Identifier: MIT
-- A small strict JSON for grun's own tools, which must work where lua-cjson is not installed.
--
-- Lists and objects are tables; a table is a list when it has an element 1 or was marked with
-- M.list. null is nil, so that in lists it ends them.

local M = {}

local DEPTH = 100

local List = {}

--- Marks a table, perhaps an empty one, as a list.
function M.list(t)
  return setmetatable(t, List)
end

-- ---- Encoding ----

local escapes = {
  ["\""] = "\\\"", ["\\"] = "\\\\", ["\b"] = "\\b", ["\f"] = "\\f", ["\n"] = "\\n", ["\r"] = "\\r",
  ["\t"] = "\\t",
}

local function escape(char)
  return escapes[char] or ("\\u%04x"):format(char:byte())
end

-- Ranges of the second byte after a first one, and how many follow (RFC 3629, section 4).
local function sequence_length(text, i)
  local first, second = text:byte(i, i + 1)
  second = second or 0
  local low, high, n = 0x80, 0xbf, nil
  if first >= 0xc2 and first <= 0xdf then
    n = 2
  elseif first >= 0xe0 and first <= 0xef then
    n, low, high = 3, first == 0xe0 and 0xa0 or low, first == 0xed and 0x9f or high
  elseif first >= 0xf0 and first <= 0xf4 then
    n, low, high = 4, first == 0xf0 and 0x90 or low, first == 0xf4 and 0x8f or high
  end
  if n and second >= low and second <= high and text:find("^[\128-\191]*", i + 2) and
     #text:match("^[\128-\191]*", i + 1) >= n - 1 then
    return n
  end
end

-- What is no UTF-8 becomes U+FFFD, a byte at a time.
local function repair(text)
  local pieces, i = {}, 1
  while i <= #text do
    local plain = text:match("^[%z\1-\127]+", i)
    local n = plain and #plain or sequence_length(text, i)
    pieces[#pieces + 1] = n and text:sub(i, i + n - 1) or "\239\191\189"
    i = i + (n or 1)
  end
  return table.concat(pieces)
end

--- A string as JSON.
---@param text string
---@return string
function M.quote(text)
  if text:find("[\128-\255]") then
    text = repair(text)
  end
  if text:find("[%c\"\\]") then
    text = text:gsub("[%c\"\\]", escape)
  end
  return "\"" .. text .. "\""
end
local quote = M.quote

local function number(value)
  if value % 1 == 0 and value > -2 ^ 53 and value < 2 ^ 53 then
    return ("%d"):format(value)
  elseif value ~= value or value == math.huge or value == -math.huge then
    return "null"
  end
  return ("%.14g"):format(value)
end

local add

local function add_list(out, list, depth)
  out[#out + 1] = "["
  for i, value in ipairs(list) do
    out[#out + 1] = i > 1 and "," or nil
    add(out, value, depth)
  end
  out[#out + 1] = "]"
end

local function add_object(out, object, depth)
  local names = {}
  for name in pairs(object) do
    names[#names + 1] = tostring(name)
  end
  table.sort(names)
  out[#out + 1] = "{"
  for i, name in ipairs(names) do
    local value = object[name]
    out[#out + 1] = (i > 1 and "," or "") .. quote(name) .. ":"
    add(out, value == nil and object[tonumber(name)] or value, depth)
  end
  out[#out + 1] = "}"
end

function add(out, value, depth)
  local kind = type(value)
  if kind == "string" then
    out[#out + 1] = quote(value)
  elseif kind == "number" then
    out[#out + 1] = number(value)
  elseif kind == "boolean" or kind == "nil" then
    out[#out + 1] = kind == "nil" and "null" or tostring(value)
  elseif kind ~= "table" then
    error("json: cannot encode a " .. kind, 0)
  elseif depth == 0 then
    error("json: too deep, or a cycle", 0)
  elseif value[1] ~= nil or getmetatable(value) == List then
    add_list(out, value, depth - 1)
  else
    add_object(out, value, depth - 1)
  end
end

--- The text, on one line; members in the order of their names. Raises for functions and cycles.
--- Numbers that JSON does not know are null.
---@param value any
---@return string
function M.encode(value)
  local out = {}
  add(out, value, DEPTH)
  return table.concat(out)
end

-- ---- Decoding ----

local read

local function fail(text, i, what)
  error({ message = ("%s at byte %d"):format(what, math.min(i, #text + 1)) })
end

local function skip(text, i)
  return text:match("^[ \t\r\n]*()", i)
end

local plain = {
  ["\""] = "\"", ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t",
}

local function utf8(code)
  local char = string.char
  if code < 0x80 then
    return char(code)
  elseif code < 0x800 then
    return char(0xc0 + math.floor(code / 64), 0x80 + code % 64)
  elseif code < 0x10000 then
    return char(0xe0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return char(0xf0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

-- The character of the \u at i, and where the text goes on.
local function read_unicode(text, i)
  local code = tonumber(text:match("^\\u(%x%x%x%x)", i) or "", 16)
  if not code then
    fail(text, i, "bad escape")
  elseif code < 0xd800 or code > 0xdfff then
    return utf8(code), i + 6
  end
  local low = tonumber(text:match("^\\u(%x%x%x%x)", i + 6) or "", 16)
  if code > 0xdbff or not low or low < 0xdc00 or low > 0xdfff then
    fail(text, i, "half of a surrogate pair")
  end
  return utf8(0x10000 + (code - 0xd800) * 1024 + low - 0xdc00), i + 12
end

local function read_string(text, i)
  local pieces, at = {}, i + 1
  while true do
    local run, stop = text:match("^([^%c\"\\]*)()", at)
    pieces[#pieces + 1] = run
    local char = text:sub(stop, stop)
    if char == "\"" then
      return table.concat(pieces), stop + 1
    elseif char ~= "\\" then
      fail(text, stop, char == "" and "string without an end" or "control character in a string")
    end
    local escaped = plain[text:sub(stop + 1, stop + 1)]
    if escaped then
      at = stop + 2
    else
      escaped, at = read_unicode(text, stop)
    end
    pieces[#pieces + 1] = escaped
  end
end

local function read_number(text, i)
  local digits, after = text:match("^(%-?%d+%.?%d*[eE]?[+-]?%d*)()", i)
  local whole, rest = (digits or ""):match("^%-?(%d+)(.*)$")
  if not whole or whole:find("^0%d") or
     not (rest == "" or rest:find("^%.%d+$") or rest:find("^%.?%d*[eE][+-]?%d+$") and
          not rest:find("^%.[eE]")) then
    fail(text, i, "bad number")
  end
  return tonumber(digits), after
end

local function read_list(text, i, depth)
  local list = M.list({})
  i = skip(text, i + 1)
  if text:sub(i, i) == "]" then
    return list, i + 1
  end
  while true do
    list[#list + 1], i = read(text, i, depth)
    i = skip(text, i)
    local char = text:sub(i, i)
    if char == "]" then
      return list, i + 1
    elseif char ~= "," then
      fail(text, i, "',' or ']' expected")
    end
    i = i + 1
  end
end

local function read_object(text, i, depth)
  local object = {}
  i = skip(text, i + 1)
  if text:sub(i, i) == "}" then
    return object, i + 1
  end
  while true do
    i = skip(text, i)
    if text:sub(i, i) ~= "\"" then
      fail(text, i, "name expected")
    end
    local name
    name, i = read_string(text, i)
    i = skip(text, i)
    if text:sub(i, i) ~= ":" then
      fail(text, i, "':' expected")
    end
    object[name], i = read(text, i + 1, depth)
    i = skip(text, i)
    local char = text:sub(i, i)
    if char == "}" then
      return object, i + 1
    elseif char ~= "," then
      fail(text, i, "',' or '}' expected")
    end
    i = i + 1
  end
end

local words = { t = { "true", true }, f = { "false", false }, n = { "null", nil } }

function read(text, i, depth)
  i = skip(text, i)
  local char = text:sub(i, i)
  if depth == 0 then
    fail(text, i, "too deep")
  elseif char == "\"" then
    return read_string(text, i)
  elseif char == "{" then
    return read_object(text, i, depth - 1)
  elseif char == "[" then
    return read_list(text, i, depth - 1)
  end
  local word = words[char]
  if word and text:sub(i, i + #word[1] - 1) == word[1] then
    return word[2], i + #word[1]
  end
  return read_number(text, i)
end

local function read_all(text)
  local value, i = read(text, 1, DEPTH)
  i = skip(text, i)
  if i <= #text then
    fail(text, i, "end expected")
  end
  return value
end

--- The value of a text. Returns nil, message when it is no JSON.
---@param text string
---@return any, string?
function M.decode(text)
  local ok, value = pcall(read_all, text)
  if ok then
    return value
  elseif type(value) ~= "table" then
    return error(value, 0)
  end
  return nil, "no JSON: " .. value.message
end

return M
