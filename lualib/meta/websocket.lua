-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_websocket.c defines. Never loaded.

---@meta grun.core.websocket
-- luacheck: no unused

local M = {}

--- A WebSocket on a connection whose handshake is done; `limits` holds all numbers of
--- grun.http.websocket.options, and those of compression if `deflate` says that there is some.
---@param conn grun.conn
---@param client boolean whether this side is the client
---@param limits table
---@param protocol? string the subprotocol
---@param deflate? grun.http.websocket.deflate what was agreed on
---@return grun.http.websocket
function M.open(conn, client, limits, protocol, deflate) end

--- Looks at a request for a WebSocket. Returns its response and what to put into
--- Sec-WebSocket-Accept; or the response, nil and the status that answers it: 426 when it asks for
--- no WebSocket of version 13, else 400.
---@param req table
---@return table, string|nil, integer?
function M.request(req) end

--- Sends a client's request and reads the response. Returns true and the fields
--- Sec-WebSocket-Protocol and -Extensions; or nil, message, code and perhaps the response's status.
--- Parks.
---@param conn grun.conn
---@param host string
---@param target string
---@param fields string[] further fields: name, value, name, value …
---@param seconds? number
---@return true|nil, string?, string?, integer?
---@async
function M.connect(conn, host, target, fields, seconds) end

--- A WebSocket: of a server by req:websocket(), of a client by grun.http.websocket(). As an
--- iterator, `for message, kind in ws do`, it gives messages until the end.
---@class grun.http.websocket
---@field protocol string|nil the subprotocol that was agreed on
---@field deflate grun.http.websocket.deflate|nil how messages are compressed: what was agreed on,
---and our level and threshold; nil: they are not
---@field close_code integer|nil once it has ended: the code of the peer's close frame, 1005 if that
---had none, 1006 without a close frame; or what we found wrong: 1002 (protocol), 1007 (text that is
---not UTF-8, bad compressed data), 1009 (message too large)
---@field close_reason string|nil the text with it, maybe empty
local ws = {}

--- Sends a message; waits while the peer takes no more. Any number of threads may send: their
--- messages follow one another. Text has to be UTF-8. Returns nil, "closed", "closed" after the end
--- and once a close frame was sent; nil, "timeout", "timeout" after write_timeout, which ends the
--- WebSocket if a part of the message went out, as a cancel then does. Parks.
---@param data string
---@param kind? "text"|"binary" default "text"
---@return true|nil, string?, string?
---@async
function ws:send(data, kind) end

--- Waits for the next message, at most so many seconds. Answers the peer's pings meanwhile, behind
--- the message that another thread may be sending, and asks for a sign of life after a silence:
--- both happen only while some thread receives. Returns nil, message, code: "closed" at the end,
--- which close_code explains, and which is waited for while another thread closes; "protocol" or
--- "too_large" when the peer has broken the rules; "busy" when another thread receives. A timeout
--- or a cancel loses nothing: the next recv goes on. Parks.
---@param seconds? number
---@return string|nil, "text"|"binary"|string, string?
---@async
function ws:recv(seconds) end

--- Sends a ping with at most 125 bytes; the pong is not reported. Parks.
---@param data? string
---@return true|nil, string?, string?
---@async
function ws:ping(data) end

--- Ends the WebSocket: sends a close frame, waits for the peer's, at most close_timeout, and closes
--- the connection in any case. Messages that still come are dropped, unless another thread receives
--- them. While another thread closes, waits for that.
--- Returns true when both close frames were exchanged, also by an earlier call or the peer's; nil,
--- "closed", "closed" when the connection ended otherwise. Parks.
---@param code? integer 1000-1003, 1007-1014 or 3000-4999; default 1000
---@param reason? string UTF-8, at most 123 bytes
---@return true|nil, string?, string?
---@async
function ws:close(code, reason) end

--- Whether it has ended.
---@return boolean
function ws:closed() end

return M
