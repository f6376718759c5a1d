-- SPDX-License-Identifier: MIT
-- Sockets: what of them is written in Lua, on top of grun.core.net.

local core = require("grun.core")
local net = require("grun.core.net")
local select = require("grun.select")
local check_callable = require("grun.waitlist").check_callable

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

local function finish(self, corked, ok, ...)
  local sent, message, code, n = true, nil, nil, nil
  if corked then
    sent, message, code, n = self:_uncork(ok)
  end
  if not ok then
    return error((...), 0)
  elseif not sent then
    return nil, message, code, n
  end
  return ...
end

--- Runs fn(conn). What the calling thread writes meanwhile is collected, at most 64 KiB, and sent
--- in one system call when fn has ended, also by an error. Returns fn's results, or nil, message,
--- code and how many of the bytes left at the end went out when these could not be sent; the others
--- are dropped. It nests: the outermost one sends. Other threads' writes are not held back: they
--- first send what was collected. Before waiting for an answer to what was written, flush(). Close
--- and shutdown send what goes out without waiting. Parks.
---@generic T
---@param fn fun(conn: grun.conn): T...
---@return T|nil ...
---@async
function conn:cork(fn)
  check_callable(fn, "cork")
  local corked, message, code = self:_cork()
  if message then
    return nil, message, code
  end
  return finish(self, corked, xpcall(fn, core.traceback, self))
end

return net
