-- SPDX-License-Identifier: MIT
-- Values as a prompt shows them: tables with what is in them, to a bounded depth and size.
-- Metatables are not asked, except for __tostring and __name.

local DEPTH = 5 -- tables within tables
local ENTRIES = 100 -- shown of one table
local NODES = 1000 -- values shown in all
local TEXT = 200 -- bytes shown of a string inside a table
local WIDTH = 76 -- columns that a table on one line may take

local M = {}

local length = rawget(_G, "rawlen") or function(value)
  return #value -- which asks no metatable where there is no rawlen
end

local SHORT = { ["\n"] = "\\n", ["\t"] = "\\t", ["\r"] = "\\r", ['"'] = '\\"', ["\\"] = "\\\\" }

local function quote(text)
  local rest = #text - TEXT
  if rest > 0 then
    text = text:sub(1, TEXT)
  end
  text = text:gsub('[%c"\\]', function(char)
    return SHORT[char] or ("\\%d"):format(char:byte())
  end)
  return '"' .. text .. '"' .. (rest > 0 and (" ... (%d bytes more)"):format(rest) or "")
end

local function described(value)
  local ok, text = pcall(tostring, value)
  return ok and text or "(" .. type(value) .. " whose __tostring failed)"
end

-- Is it shown by what is in it?
local function is_open(value)
  local mt = debug.getmetatable(value)
  return type(value) == "table" and not (type(mt) == "table" and rawget(mt, "__tostring"))
end

local RANK = { string = 1, number = 2 }

local function by_key(a, b)
  local ta, tb = type(a), type(b)
  if ta ~= tb then
    return (RANK[ta] or 3) < (RANK[tb] or 3)
  elseif RANK[ta] then
    return a < b
  end
  return false
end

-- The keys that are not of the list part, at most ENTRIES of them, sorted; and how many are left
-- out.
local function other_keys(value, n)
  local keys, left = {}, 0
  for key in next, value do
    local in_list = type(key) == "number" and key >= 1 and key <= n and key % 1 == 0
    if not in_list and #keys < ENTRIES then
      keys[#keys + 1] = key
    elseif not in_list then
      left = left + 1
    end
  end
  table.sort(keys, by_key)
  return keys, left
end

local format

local function key_text(key, state)
  if type(key) == "string" and key:find("^[%a_][%w_]*$") then
    return key
  end
  return "[" .. format(key, DEPTH, state) .. "]"
end

local function entries(value, depth, state)
  local items, n = {}, length(value)
  local shown = math.min(n, ENTRIES)
  for i = 1, shown do
    if state.nodes >= NODES then
      shown = i - 1
      break
    end
    items[i] = format(rawget(value, i), depth + 1, state)
  end
  local keys, left = other_keys(value, n)
  left = left + n - shown
  for i, key in ipairs(keys) do
    if state.nodes >= NODES then
      left = left + #keys - i + 1
      break
    end
    local name = key_text(key, state)
    items[#items + 1] = name .. " = " .. format(rawget(value, key), depth + 1, state)
  end
  if left > 0 then
    items[#items + 1] = ("... (%d more)"):format(left)
  end
  return items
end

local function layout(items, depth)
  local line = "{ " .. table.concat(items, ", ") .. " }"
  if #line + 2 * depth <= WIDTH and not line:find("\n", 1, true) then
    return line
  end
  local indent = ("  "):rep(depth)
  return ("{\n%s  %s\n%s}"):format(indent, table.concat(items, ",\n" .. indent .. "  "), indent)
end

local function format_table(value, depth, state)
  local mt = debug.getmetatable(value)
  local name = type(mt) == "table" and rawget(mt, "__name")
  local prefix = type(name) == "string" and name .. " " or ""
  if state.open[value] then
    return prefix .. "{ <cycle> }"
  elseif next(value) == nil then
    return prefix .. "{}"
  elseif depth >= DEPTH then
    return prefix .. "{ ... }"
  end
  state.open[value] = true
  local text = layout(entries(value, depth, state), depth)
  state.open[value] = nil
  return prefix .. text
end

function format(value, depth, state)
  state.nodes = state.nodes + 1
  if is_open(value) then
    return format_table(value, depth, state)
  elseif type(value) == "string" then
    return quote(value)
  end
  return described(value)
end

--- A table as text, over several lines if it is long; other values as they are.
---@param value any
---@return any
function M.show(value)
  return is_open(value) and format(value, 0, { nodes = 0, open = {} }) or value
end

return M
