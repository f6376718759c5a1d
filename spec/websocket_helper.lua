-- SPDX-License-Identifier: MIT
-- What the specs about WebSockets share: servers, and raw frames that no right peer would send.

local assert = require("luassert")
local bit = require("bit")
local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")
local net = require("spec.net_helper")

local M = {}

M.KEY = "dGhlIHNhbXBsZSBub25jZQ=="

-- ---- Frames ----

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

--- What recv tells of a peer that the close code blames.
M.BLAME = { [1002] = "protocol", [1007] = "protocol", [1009] = "too_large" }

--- A text as a list of its bytes.
function M.bytes_of(text)
  local bytes = {}
  for i = 1, #text do
    bytes[i] = text:sub(i, i)
  end
  return bytes
end

--- Writes pieces so that each arrives by itself.
function M.write_pieces(conn, pieces)
  for _, piece in ipairs(pieces) do
    conn:write(piece)
    if #pieces > 1 then
      grun.idle()
    end
  end
end

-- The code in the payload of a close frame, if there is one.
function M.code_of(payload)
  return payload ~= "" and payload:byte(1) * 256 + payload:byte(2) or nil
end

-- Reads a frame of a server, or of a client if it is to be masked: opcode, payload; nil at the end.
-- A compressed one has 64 + its opcode.
function M.read_frame(conn, mask)
  local head = conn:read(2)
  if not head or #head < 2 then
    return nil
  end
  local first, len = head:byte(1, 2)
  assert(len >= 128 == (mask or false), "masked, or not")
  len = len % 128
  if len == 126 then
    local a, b = conn:read(2):byte(1, 2)
    len = a * 256 + b
  elseif len == 127 then
    local a, b, c, d = conn:read(8):byte(5, 8)
    len = ((a * 256 + b) * 256 + c) * 256 + d
  end
  assert(first >= 128, "not final")
  mask = mask and conn:read(4)
  local payload = len > 0 and conn:read(len) or ""
  return first - 128, mask and M.masked(payload, mask) or payload
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

-- ---- Servers ----

--- Starts a server. Returns its port and itself.
function M.serve(keep, handler, opts)
  local server = assert(grun.server("http://127.0.0.1:0", handler, opts))
  keep({ close = function() server:stop(0) end })
  return tonumber(server:address():match("%d+$")), server
end

--- Starts a server that echoes. Returns its port; a list that gets what recv returned at the end of
--- each WebSocket, its code and reason, and as `open` the WebSockets; and itself.
function M.echo(keep, opts)
  local ends = { open = {} }
  local port, server = M.serve(keep, function(req)
    local ws = req:websocket(opts)
    if not ws then
      return
    end
    ends.open[#ends.open + 1] = ws
    local message, kind, code
    repeat
      message, kind, code = ws:recv()
      if message then
        ws:send(message, kind)
      end
    until not message
    ends[#ends + 1] = { kind, code, ws.close_code, ws.close_reason }
  end)
  return port, ends, server
end

function M.url(port, path)
  return "ws://127.0.0.1:" .. port .. (path or "/")
end

function M.dial(keep, port, opts)
  return keep(assert(grun.http.websocket(M.url(port), opts)))
end

--- Waits until a condition holds.
function M.eventually(condition)
  local limit = grun.now() + 10
  while not condition() do
    assert(grun.now() < limit, "it did not happen")
    grun.sleep(0.002)
  end
end

--- Starts a server whose handler waits until the test is over. Returns its port and a function that
--- waits for its next WebSocket.
function M.waiting(keep, opts)
  local list, over, given = {}, grun.event(), 0
  local port = M.serve(keep, function(req)
    list[#list + 1] = assert(req:websocket(opts))
    over:wait()
  end)
  return port, function()
    given = given + 1
    keep({ close = function() over:set() end }) -- before the client's end closes
    M.eventually(function() return list[given] end)
    return list[given]
  end
end

--- A pair: the client's and the server's.
function M.pair(keep, opts, client_opts)
  local port, next_one = M.waiting(keep, opts)
  local here = M.dial(keep, port, client_opts)
  return here, next_one()
end

--- A connection that has become a WebSocket by hand, and the response.
function M.raw(keep, port, fields)
  local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. port)))
  conn:settimeout(10)
  conn:write(M.request(fields))
  local res = http.response(conn)
  assert.equal(101, res.status)
  return conn, res
end

--- The server's end of a connection that becomes a WebSocket for our client: handler(conn) does
--- what is to be done by hand. It agrees to whatever `extensions`, a list. Returns the port.
function M.raw_server(keep, handler, extensions)
  return (M.serve(keep, function(req, res)
    local accept = select(2, require("grun.core.websocket").request(req))
    res:header("Upgrade", "websocket"):header("Connection", "Upgrade")
    res:header("Sec-WebSocket-Accept", accept)
    for _, value in ipairs(extensions or {}) do
      res:header("Sec-WebSocket-Extensions", value)
    end
    local conn = assert(res:upgrade())
    conn:settimeout(10)
    handler(conn)
  end))
end

--- Several threads send messages that grow, and receive(timeout) gets them, those of each in order.
function M.check_order(send, receive)
  local n, per = 8, 20
  for i = 1, n do
    helper.spawn(function()
      for j = 1, per do
        assert(send((string.char(64 + i)):rep(1000 * j), "binary"))
      end
    end)
  end
  local next_size = {}
  for _ = 1, n * per do
    local message = assert(receive(20))
    local c = message:sub(1, 1)
    next_size[c] = (next_size[c] or 0) + 1000
    assert.is_true(net.same(c:rep(next_size[c]), message))
  end
end

-- ---- python3-websockets ----

local PYTHON = "/usr/bin/python3"

--- As test, which net_helper.test has made with this `it`; pending without python3-websockets.
function M.foreign(it, test)
  if os.execute(PYTHON .. " -c 'import websockets' 2>/dev/null") == 0 then
    return test
  end
  return function(name)
    it(name, function() pending("python3-websockets is not installed") end)
  end
end

--- Starts spec/websocket_peer.py as a server, runs body(port), and stops it.
function M.with_python_server(options, body)
  local child = assert(grun.process.spawn({ PYTHON, "spec/websocket_peer.py", "server", options,
    stdin = "pipe", stdout = "pipe" }))
  body(assert(child.stdout:read("l")))
  child.stdin:close()
  child.stdout:close()
  assert.equal(0, child:wait(20))
end

--- Lets its client talk with a server of ours. Returns what it was compressed with.
function M.visit_by_python(keep, options, deflate)
  local agreed
  local port = M.serve(keep, function(req)
    local ws = assert(req:websocket({ protocols = { "echo" }, deflate = deflate }))
    agreed = ws.deflate
    for message, kind in ws do
      local code = kind == "text" and message:match("^close (%d+)$")
      if code then
        return ws:close(tonumber(code), "as wished")
      end
      ws:send(message, kind)
    end
  end)
  local child = assert(grun.process.spawn({ PYTHON, "spec/websocket_peer.py", "client", M.url(port),
    options, stdout = "pipe" }))
  local out = child.stdout:read("a")
  assert.equal(0, child:wait(20))
  child.stdout:close()
  assert.equal("protocol echo\nsame\nsame\nsame\nsame\nsame\nin three pieces\npong\n" ..
    "closed 4321 as wished\n", out)
  return agreed
end

return M
