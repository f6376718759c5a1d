-- SPDX-License-Identifier: MIT
-- Datagram sockets: what of them is written in Lua, on top of grun.core.dgram.

local core = require("grun.core.dgram")
require("grun.socket")

---@class grun.sock
local sock = core.methods
local conn = debug.getregistry()["grun.conn"].__index

-- These know a socket only by its methods.
sock.op_readable = conn.op_readable
sock.op_writable = conn.op_writable

return core
