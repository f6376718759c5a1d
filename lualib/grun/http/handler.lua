-- SPDX-License-Identifier: MIT
-- What can serve requests: functions, and objects that are called like one.

local M = {}

---@param value any
---@return boolean
function M.is_callable(value)
  local mt = getmetatable(value)
  return type(value) == "function" or type(mt) == "table" and mt.__call ~= nil
end

--- Whether it has no use for a response object. Of objects, and of functions with "...", that is
--- not known.
---@param handler any
---@return boolean
function M.takes_request_only(handler)
  local info = type(handler) == "function" and debug.getinfo(handler, "u")
  return info and info.nparams < 2 and not info.isvararg or false
end

return M
