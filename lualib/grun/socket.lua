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

--- Turns the connection into TLS: as the server if it was accepted by a listener, else as the
--- client, unless opts.server says. What was received and not read yet belongs to the handshake, so
--- that a server can peek first. Returns nil, message, code on failure, after which the connection
--- is of no use, except that a handshake ended by a timeout goes on with the next call. Parks.
---@param opts? grun.starttls.options
---@return true|nil, string?, string?
---@async
function conn:starttls(opts)
  return require("grun.tls").starttls(self, opts)
end

--- What was agreed on: `peer` is the other side's certificate, `verified` whether it was checked,
--- `reused` whether an earlier session goes on. nil without TLS and before its handshake.
---@return grun.conn.tls|nil
function conn:tls()
  return require("grun.core.tls").info(self)
end

local function is_tls(address)
  return type(address) == "string" and address:find("^tls:") ~= nil
end

local connect = net.connect

-- Described, like those below them, in lualib/meta/net.lua.
---@type fun(address: string, opts?: grun.connect.options): grun.conn|nil, string?, string?
local function connect_any(address, opts)
  if is_tls(address) then
    return require("grun.tls").connect(address, opts)
  end
  return connect(address, opts)
end

---@type fun(address: string, opts?: grun.listen.options): grun.listener|nil, string?, string?
local function listen_any(address, opts)
  if type(address) == "string" and address:find("^systemd:") then
    local message, code
    address, message, code = require("grun.systemd").address(address)
    if not address then
      return nil, message, code
    end
  end
  if is_tls(address) then
    return require("grun.tls").listen(address, opts)
  end
  return net.listen(address, opts)
end

return setmetatable({ connect = connect_any, listen = listen_any }, { __index = net })
