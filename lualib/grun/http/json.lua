-- SPDX-License-Identifier: MIT
-- JSON through lua-cjson, when it is installed.

local M = {}

local library

local function load()
  local ok, found = pcall(require, "cjson.safe")
  if not ok then
    error("JSON needs lua-cjson (Debian package lua-cjson): " .. tostring(found), 3)
  end
  library = found.new()
  library.decode_max_depth(100)
  library.encode_max_depth(100)
  return library
end

--- The value; null is cjson.null. Returns nil, message when the text is no JSON.
---@param text string
---@return any, string?
function M.decode(text)
  return (library or load()).decode(text)
end

--- The text. Raises for what JSON cannot say: functions, cycles, NaN.
---@param value any
---@return string
function M.encode(value)
  local text, problem = (library or load()).encode(value)
  if not text then
    error("json: " .. problem, 3)
  end
  return text
end

return M
