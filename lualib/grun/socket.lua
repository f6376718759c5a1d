-- SPDX-License-Identifier: MIT
-- Sockets: what of them is written in Lua, on top of grun.core.net.

local net = require("grun.core.net")
local select = require("grun.select")

---@class grun.conn
local conn = debug.getregistry()["grun.conn"].__index

local Ready = select.poll_op(function(op)
  if op.obj:closed() then
    return true, nil, "closed", "closed"
  end
  return op.obj:_poll(op.how), true
end)

--- The operation of waiting until there is something to read, an end or an error included, for
--- grun.select; its results are true, or nil, message, code.
---@return grun.op
function conn:op_readable()
  return setmetatable({ obj = self, how = "r" }, Ready)
end

--- The same for room to write.
---@return grun.op
function conn:op_writable()
  return setmetatable({ obj = self, how = "w" }, Ready)
end

return net
