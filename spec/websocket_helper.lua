-- SPDX-License-Identifier: MIT
-- Raw frames of WebSockets, for specs that send what no right peer would.

local bit = require("bit")

local M = {}

M.KEY = "dGhlIHNhbXBsZSBub25jZQ=="

function M.masked(data, mask)
  local bytes = {}
  for i = 1, #data do
    bytes[i] = string.char(bit.bxor(data:byte(i), mask:byte((i - 1) % 4 + 1)))
  end
  return table.concat(bytes)
end

-- One frame. opts: fin (default true), rsv, mask (default true), len (what it says)
function M.frame(opcode, data, opts)
  opts = opts or {}
  data = data or ""
  local fin = opts.fin == false and 0 or 128
  local mask, len = opts.mask ~= false, opts.len or #data
  local head = string.char(fin + (opts.rsv or 0) * 16 + opcode)
  local m = mask and 128 or 0
  if opts.long then
    head = head .. string.char(m + (#opts.long == 8 and 127 or 126)) .. opts.long
  elseif len > 65535 then
    head = head .. string.char(m + 127, 0, 0, 0, 0, math.floor(len / 2 ^ 24),
      math.floor(len / 65536) % 256, math.floor(len / 256) % 256, len % 256)
  elseif len > 125 then
    head = head .. string.char(m + 126, math.floor(len / 256), len % 256)
  else
    head = head .. string.char(m + len)
  end
  return mask and head .. "\1\2\3\4" .. M.masked(data, "\1\2\3\4") or head .. data
end

function M.text(data, opts)
  return M.frame(1, data, opts)
end

function M.close(code, reason)
  return M.frame(8, string.char(math.floor(code / 256), code % 256) .. (reason or ""))
end

-- Reads a frame of a server: opcode, payload; nil at the end. A compressed one has 64 + its opcode.
function M.read_frame(conn)
  local head = conn:read(2)
  if not head or #head < 2 then
    return nil
  end
  local first, len = head:byte(1, 2)
  if len == 126 then
    local a, b = conn:read(2):byte(1, 2)
    len = a * 256 + b
  elseif len == 127 then
    local a, b, c, d = conn:read(8):byte(5, 8)
    len = ((a * 256 + b) * 256 + c) * 256 + d
  end
  assert(first >= 128, "not final")
  return first - 128, len > 0 and conn:read(len) or ""
end

function M.request(fields)
  local lines = { "GET /chat HTTP/1.1\r\nHost: there.test\r\nUpgrade: websocket\r\n" ..
    "Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: " .. M.KEY .. "\r\n" ..
    "Sec-WebSocket-Version: 13\r\n" }
  for name, value in pairs(fields or {}) do
    lines[#lines + 1] = name .. ": " .. value .. "\r\n"
  end
  return table.concat(lines) .. "\r\n"
end

return M
