-- SPDX-License-Identifier: MIT
-- Responses that HTTP clients get.

local core = require("grun.core")

local LINE = 1048576 -- bytes that a line of lines() may have
local DRAIN = 65536 -- bytes of an unwanted body that are worth reading to keep the connection
local COMPRESSED = 8192 -- bytes uncompressed at once: they may become a thousand times as many
local TURN = 1048576 -- bytes that may be uncompressed before others run
local GRACE = 1 -- seconds that an iterator may take for its next piece when the response is over

---@class grun.http.client.response
---@field status integer
---@field reason string may be empty
---@field version string "1.1" or "1.0"
---@field headers table<string, string> found in any case; several values of a name are joined with
---  ", ", those of Set-Cookie with a newline
---@field body? string nil with stream = true
---@field url string the request's, or that of the last redirect
---@field uncompressed? true the body was compressed; Content-Encoding and Content-Length are not
---  in `headers`
local Response = { __name = "grun.http.client.response" }
Response.__index = Response

-- Frees the lease of a streaming response that nobody holds any more.
local function watch(lease)
  local guard = newproxy(true)
  getmetatable(guard).__gc = function()
    lease:give_back(false)
  end
  return guard
end

local function give_back(self, reusable)
  if self._guard then
    getmetatable(self._guard).__gc = nil
    self._guard = nil
  end
  self._lease:give_back(reusable)
end

-- The body is over, or will never be read.
local function fail(self, message, code)
  give_back(self, false)
  self._failure = { message, code }
  local upload = self._lease.upload
  if upload then
    message, code = upload:blame(message, code)
    self._failure = { message, code }
  end
  return nil, message, code
end

-- Waits until the request is sent, or no longer. Returns whether that went well.
local function end_upload(self)
  local upload = self._lease.upload
  if not upload then
    return true
  end
  local ok, err = xpcall(upload.settle, core.traceback, upload, self._grace)
  if not ok then
    give_back(self, false)
    return error(err, 0)
  end
  return not upload:failed()
end

-- Ends a body that was read to its end.
local function finish(self)
  local inflate = self._inflate
  self._incoming, self._inflate = nil, nil
  if inflate then
    local last, message, code = inflate:push("", "finish")
    inflate:close()
    if not last then
      return fail(self, message, code)
    end
  end
  if not end_upload(self) then
    return fail(self, "closed", "closed")
  end
  give_back(self, self._keep)
  return nil
end

-- Is the request still being sent?
local function is_sending(self)
  local upload = self._lease.upload
  return upload and not upload.over
end

local function settle(self, ok, piece, message, code)
  if not ok then
    give_back(self, false)
    return error(piece, 0)
  end
  local last = piece and message
  if piece and self._inflate then
    piece, message, code = self._inflate:push(piece)
  end
  if piece then
    self._received, self._turn = self._received + #piece, self._turn + #piece
    if self._received <= self._max then
      self._ended = last
      if last and not is_sending(self) then -- else the end has to wait, but not this piece
        finish(self)
      end
      return piece
    end
    message, code = "body too large", "too_large"
  elseif not message then
    return finish(self)
  end
  return fail(self, message, code)
end

-- Much may come of what few reads of the socket gave.
local function read_compressed(self)
  if self._turn >= TURN then
    self._turn = 0
    core.yield()
  end
  return self._incoming:read(COMPRESSED)
end

-- A server that waits for more of the request has more time.
local function read_while_sending(self)
  local ok, message, code = self._lease.upload:await_piece()
  if not ok then
    return nil, message, code
  elseif not self._incoming then
    return nil, "closed", "closed"
  elseif self._inflate then
    return read_compressed(self)
  end
  return self._incoming:read()
end

-- The next piece as it comes, perhaps empty; nil at the end; or nil, message, code.
local function next_piece(self)
  if self._failure then
    return nil, self._failure[1], self._failure[2]
  elseif not self._incoming then
    return nil
  elseif self._ended then
    return finish(self)
  end
  local read, from = self._incoming.read, self._incoming
  if is_sending(self) then
    read, from = read_while_sending, self
  elseif self._inflate then
    read, from = read_compressed, self
  end
  return settle(self, xpcall(read, core.traceback, from))
end

-- The next piece with something in it, what was put back first.
local function take(self)
  local piece = self._rest
  self._rest = nil
  while not piece or piece == "" do
    local message, code
    piece, message, code = next_piece(self)
    if not piece then
      return nil, message, code
    end
  end
  return piece
end

local function read_all(self)
  local pieces = { self._rest }
  self._rest = nil
  while true do
    local piece, message, code = next_piece(self)
    if not piece then
      if message then
        return nil, message, code
      end
      return table.concat(pieces)
    end
    pieces[#pieces + 1] = piece
  end
end

local function read_count(self, n)
  local pieces, got = {}, 0
  while got < n do
    local piece, message, code = take(self)
    if not piece then
      if message then
        return nil, message, code
      end
      break
    end
    if got + #piece > n then
      self._rest = piece:sub(n - got + 1)
      piece = piece:sub(1, n - got)
    end
    pieces[#pieces + 1], got = piece, got + #piece
  end
  return got > 0 and table.concat(pieces) or nil
end

local function check_stream(self, name)
  if self._lease == nil then
    error(name .. ": the response was not asked for with stream = true", 3)
  end
end

--- Reads the body of a streaming response: without argument what is there, at least a byte; with a
--- count so many bytes, fewer only at the end; with "a" all that is left. Returns nil at the end
--- ("a": ""), nil, message, code on failure: "closed" when the body ends too early. Raises an error
--- of the iterator that gives the request's body. Parks.
---@param format? integer|"a"
---@return string|nil, string?, string?
---@async
function Response:read(format)
  check_stream(self, "read")
  if format == nil then
    return take(self)
  elseif format == "a" or format == "*a" then
    return read_all(self)
  elseif type(format) == "number" and format >= 1 then
    return read_count(self, format)
  end
  error("read: count or \"a\" expected, got " .. tostring(format), 2)
end

-- The next line, its newline removed.
local function read_line(self)
  local pieces, size = {}, 0
  while true do
    local piece, message, code = take(self)
    if not piece then
      if message then
        error(("lines: %s (%s)"):format(message, code), 0)
      end
      return pieces[1] and table.concat(pieces) or nil
    end
    local at = piece:find("\n", 1, true)
    pieces[#pieces + 1], size = at and piece:sub(1, at - 1) or piece, size + (at or #piece)
    if size > LINE then
      error("lines: line too long (too_large)", 0)
    elseif at then
      self._rest = piece:sub(at + 1)
      return table.concat(pieces)
    end
  end
end

--- Iterates over the lines of a streaming response, without their newlines; raises on failure, also
--- for a line of more than 1 MiB. Steps park.
---@return fun(): string|nil
function Response:lines()
  check_stream(self, "lines")
  return function()
    return read_line(self)
  end
end

--- Ends a streaming response, and cancels the iterator of the request's body if that is still being
--- sent. Unless its body was read to the end, the connection is closed. May be repeated. A response
--- that nobody holds any more is closed too, but who knows when.
function Response:close()
  if self._lease then
    self._incoming, self._rest = nil, nil
    give_back(self, false)
  end
end

--- The connection of a response with status 101 (Switching Protocols) to a request with stream =
--- true; it is the caller's from now on.
---@return grun.conn
function Response:upgrade()
  if self.status ~= 101 or not self._lease or self._lease.over then
    error("upgrade: the server does not switch protocols", 2)
  end
  getmetatable(self._guard).__gc = nil
  self._guard = nil
  local conn = self._lease:detach()
  conn:settimeout()
  return conn
end

--- The body as JSON, by the module cjson. Returns nil, message, code when it is none, or could not
--- be read. Parks with stream = true.
---@return any, string?, string?
---@async
function Response:json()
  local text = self.body
  if self._lease then
    local message, code
    text, message, code = read_all(self)
    if not text then
      return nil, message, code
    end
  end
  local ok, value = pcall(require("cjson").decode, text)
  if not ok then
    return nil, tostring(value), "protocol"
  end
  return value
end

function Response:__tostring()
  return ("response %d %s"):format(self.status, self.url)
end

-- ---- For the client ----

local M = {}

local function inflater(self, req)
  local coding = self.headers["content-encoding"]
  if not (req.gzip and self._incoming and coding) or self.status == 206 then -- a part of it
    return nil
  end
  coding = coding:lower()
  if coding ~= "gzip" and coding ~= "x-gzip" then
    return nil
  end
  self.headers["content-encoding"], self.headers["content-length"] = nil, nil
  self.uncompressed = true
  return require("grun.core.zlib").inflate("gzip", self._max < math.huge and self._max or nil)
end

--- A response whose body is still to be read; its lease is given back when that is done.
---@param self table what is known by its head
---@param req table the request
---@param lease table
---@param keep boolean whether the connection may go on after the body
---@param incoming? grun.http.incoming
---@return grun.http.client.response
function M.new(self, req, lease, keep, incoming)
  self._lease, self._incoming, self._keep = lease, incoming, keep
  self._max, self._received, self._turn, self._grace = req.max_body, 0, 0, math.huge
  setmetatable(self, Response)
  self._inflate = inflater(self, req)
  return self
end

-- The whole body. nil, message, code.
local function take_body(self)
  local upload = self._lease.upload
  if not self._incoming then
    local _, message, code = finish(self)
    return not message and "" or nil, message, code
  elseif self._inflate or upload and not upload.complete then
    return read_all(self)
  end
  local body, message, code = self._incoming:gather(self._max)
  self._lease:give_back(body ~= nil and self._keep)
  return body, message, code
end

--- Reads the body into `body`, while the rest of the request is sent. Returns the response, or nil,
--- message, code. Parks.
function M.load(self)
  local message, code
  self.body, message, code = take_body(self)
  self._lease, self._incoming = nil, nil
  if not self.body then
    return nil, message, code
  end
  return self
end

--- Makes it a stream; the rest of the request is sent while it is read. Returns it, or nil,
--- message, code. Parks if there is no body.
function M.stream(self)
  self._grace = self._keep and GRACE or 0 -- a server that is to close takes no more
  if self._incoming or self.status == 101 then
    self._guard = watch(self._lease)
    if self._lease.upload then
      self._lease.upload.streaming = true
    end
    return self
  end
  local _, message, code = finish(self)
  if message then
    return nil, message, code
  end
  return self
end

--- Drops the body, which is read if that is cheaper than a new connection. Parks.
function M.discard(self)
  self._inflate = nil
  self._max = DRAIN
  while self._incoming and next_piece(self) do -- luacheck: ignore 542
  end
  self._lease:give_back(self._keep and not self._failure)
end

return M
