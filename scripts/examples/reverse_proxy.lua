-- SPDX-License-Identifier: MIT
-- A reverse proxy: requests go to several HTTP servers in turn, bodies are passed on as they come,
-- in both directions at once, and so is what follows the handshake of a WebSocket.
-- Run:  ./grun scripts/examples/reverse_proxy.lua http://:8080 127.0.0.1:9001 127.0.0.1:9002
-- Then: curl -i http://127.0.0.1:8080/  (502: no server can be reached; 504: none in -t 60 seconds)

local timeout = arg[1] == "-t" and table.remove(arg, 1) and tonumber(table.remove(arg, 1)) or 60
local address, servers, turn = arg[1], { unpack(arg, 2) }, 0
assert(#servers > 0, "usage: reverse_proxy.lua [-t SECONDS] LISTEN UPSTREAM...")

-- Nothing has been sent yet when connecting fails, so any request may go to the next one.
local function connect(tries)
  turn = turn % #servers + 1
  local conn, message, code = grun.connect(servers[turn], { timeout = math.min(timeout, 5) })
  if not conn and tries > 1 then return connect(tries - 1) end
  return conn, message, code
end

-- Fields that concern one connection are not passed on.
local function is_private(name, more)
  local list = " connection keep-alive te trailer upgrade expect proxy-connection "
  return (list .. (more or ""):lower():gsub(",", " ") .. " "):find(" " .. name .. " ", 1, true)
end

local function send(conn, req, websocket)
  local fields, lines = req.headers, { req.method .. " " .. req.target .. " HTTP/1.1" }
  local peer = (req.peer or ""):match("//%[?(.-)%]?:%d+$") or "unknown"
  fields["x-forwarded-for"] = (fields["x-forwarded-for"] or ""):gsub(".$", "%0, ") .. peer
  fields["x-forwarded-proto"], fields["x-forwarded-host"] = req.scheme, req.host
  for name, value in pairs(fields) do
    lines[#lines + 1] = not is_private(name, fields.connection) and name .. ": " .. value or nil
  end
  lines[#lines + 1] = "connection: " .. (websocket and "upgrade\r\nupgrade: websocket" or "close")
  conn:write(table.concat(lines, "\r\n"), "\r\n\r\n")
  local chunked, piece, message = fields["transfer-encoding"], req:read()
  while piece and conn:write(chunked and { ("%x\r\n"):format(#piece), piece, "\r\n" } or piece) do
    piece, message = req:read()
  end
  conn:write(chunked and not piece and not message and "0\r\n\r\n" or "")
end

-- Passes on so many bytes, or all that come. Returns whether it did.
local function pass(from, to, left)
  while left > 0 do
    local piece, _, code = from:recv(math.min(left, 65536))
    if not piece or not to:write(piece) then
      return not piece and left == math.huge and code == "closed"
    end
    left = left - #piece
  end
  return true
end

local function pass_chunks(from, to)
  local size
  repeat
    size = tonumber((from:read("l") or ""):match("^%x*"), 16)
  until not size or size == 0 or not pass(from, to, size) or not from:read("l")
  return size == 0
end

local function answer(conn, req, res)
  local head, message, code = conn:read_until("\r\n\r\n", { include = true })
  local status = tonumber((head or ""):match("^HTTP/1%.[01] (%d%d%d).*\r\n\r\n$"))
  if not status then
    io.stderr:write(message or "that is no HTTP response", "\n")
    return code == "timeout" and 504 or 502
  elseif status < 200 and status ~= 101 then
    return answer(conn, req, res)
  end
  for name, value in head:gmatch("\n([^:%s]+):[ \t]*([^\r\n]*)") do
    res = is_private(name:lower(), "transfer-encoding") and res or res:header(name, value)
  end
  if status == 101 then
    local ws = assert(res:header("Connection", "upgrade"):header("Upgrade", "websocket"):upgrade())
    conn:settimeout(nil)
    grun.spawn(pass, conn, ws, math.huge):link(function() ws:close() end)
    return pass(ws, conn, math.huge) and nil
  end
  res:status(status)
  local chunked = head:lower():find("\ntransfer%-encoding:[^\n]*chunked")
  local length = tonumber(head:lower():match("\ncontent%-length:%s*(%d+)")) or math.huge
  if status == 204 or status == 304 then return end
  res:write("") -- the head
  if req.method ~= "HEAD" and not (chunked and pass_chunks or pass)(conn, res, length) then
    req.conn:close() -- so that nobody takes a part for the whole
  end
end

print("listening on " .. assert(grun.server(address, function(req, res)
  local conn, _, code = connect(#servers)
  if not conn then return code == "timeout" and 504 or 502 end
  conn:settimeout(timeout)
  local sender = grun.spawn(send, conn, req, (req:header("upgrade") or ""):lower() == "websocket")
  local ok, status = pcall(answer, conn, req, res)
  sender:kill()
  conn:close()
  return ok and status or not ok and error(status, 0) or nil
end, { access_log = true })):address())
io.stdout:setvbuf("line")
