-- SPDX-License-Identifier: MIT
-- What can serve requests: functions, and objects that are called like one.

local M = {}

---@param value any
---@return boolean
function M.is_callable(value)
  local mt = getmetatable(value)
  return type(value) == "function" or type(mt) == "table" and mt.__call ~= nil
end

--- How many of the two arguments, request and response, it has a use for. Of objects, and of
--- functions with "...", that is not known.
---@param handler any
---@return integer
function M.arguments(handler)
  local info = type(handler) == "function" and debug.getinfo(handler, "u")
  return info and not info.isvararg and math.min(info.nparams, 2) or 2
end

return M
