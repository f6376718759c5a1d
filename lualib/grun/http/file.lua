-- SPDX-License-Identifier: MIT
-- Files as responses: ranges, conditions, constant memory.

local options = require("grun.options")
local text = require("grun.core.httptext")

local M = {}

local MAX_RANGES = 16 -- more in one request: the whole file is sent

--- Sets the fields that name a file's content, and looks at the request's conditions (RFC 9110
--- section 13.2.2, steps 1 to 4). Returns the status that is the answer then, 412 or 304, or nil.
function M.condition(req, res, etag, mtime)
  -- A time in the future would be a promise (section 8.8.2.1).
  res:header("ETag", etag):header("Last-Modified", text.date(math.min(mtime, os.time())))
  if text.precondition_failed(req:header("if-match"), req:header("if-unmodified-since"), etag,
    mtime) then
    return 412
  elseif text.not_modified(req:header("if-none-match"), req:header("if-modified-since"), etag,
    mtime) then
    return 304
  end
end

-- The ranges that are to be sent: a list of first, last, ...; nil: the whole; false: none is there.
local function ranges_of(req, file)
  local range = req:header("range")
  if not range or req.method ~= "GET" then
    return nil
  end
  local condition = req:header("if-range")
  if condition and not text.if_range(condition, file.etag, file.mtime) then
    return nil
  end
  return text.ranges(range, file.size, MAX_RANGES)
end

local function set_type(res, file)
  if not res:header("Content-Type") then
    res:header("Content-Type", file.kind)
  end
  if file.coding then
    res:header("Content-Encoding", file.coding)
  end
end

local function send_range(res, file, first, last)
  res:status(206):header("Content-Range", ("bytes %d-%d/%d"):format(first, last, file.size))
  set_type(res, file)
  local length = last - first + 1
  if res:_start(length) then
    return res:_send(file.handle, first, length)
  end
  return true
end

local function send_ranges(res, file, ranges)
  local boundary = text.boundary()
  local heads, length = {}, 0
  local last_line = ("\r\n--%s--\r\n"):format(boundary)
  for i = 1, #ranges, 2 do
    heads[i] = ("%s--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n"):format(
      i > 1 and "\r\n" or "", boundary, file.kind, ranges[i], ranges[i + 1], file.size)
    length = length + #heads[i] + ranges[i + 1] - ranges[i] + 1
  end
  res:status(206):header("Content-Type", "multipart/byteranges; boundary=" .. boundary)
  if not res:_start(length + #last_line) then
    return true
  end
  for i = 1, #ranges, 2 do
    local ok, message, code = res:write(heads[i])
    if ok then
      ok, message, code = res:_send(file.handle, ranges[i], ranges[i + 1] - ranges[i] + 1)
    end
    if not ok then
      return nil, message, code
    end
  end
  return res:finish(last_line)
end

local function send_whole(res, file)
  set_type(res, file)
  if res:_start(file.size) then
    return res:_send(file.handle, 0, file.size)
  end
  return true
end

--- Answers with a file { handle =, size =, mtime =, etag =, kind = its media type, coding = nil or
--- its Content-Encoding }: all of it, the ranges that are asked for, 304 when the client has it,
--- 412, 416. Its other fields are set already. The caller closes the handle. Returns true, or
--- nil, message, code when the client has gone or the file has become shorter, which ends the
--- connection. Parks.
function M.serve(req, res, file)
  local status = M.condition(req, res, file.etag, file.mtime)
  if status then
    return res:status(status):finish()
  end
  res:header("Accept-Ranges", "bytes")
  local ranges = ranges_of(req, file)
  if ranges == nil then
    return send_whole(res, file)
  elseif ranges == false then
    res:status(416):header("Content-Range", ("bytes */%d"):format(file.size))
    return res:finish("416 Range Not Satisfiable\n")
  elseif #ranges == 2 then
    return send_range(res, file, ranges[1], ranges[2])
  elseif res:header("Content-Type") or file.coding then -- the parts', and could not be the whole's
    return send_whole(res, file)
  end
  return send_ranges(res, file, ranges)
end

--- Runs fn(...) and closes the handle, whatever happens.
function M.closing(handle, fn, ...)
  local ok, a, b, c = pcall(fn, ...)
  handle:close()
  if not ok then
    error(a, 0)
  end
  return a, b, c
end

-- ---- res:sendfile ----

local OPTIONS = { type = "string", filename = "string", from = "number", length = "number" }

local function check_whole(opts, name)
  local value = opts[name]
  if value and not (value >= 0 and value % 1 == 0) then
    error(("sendfile: option '%s': a number of bytes expected, got %s"):format(name, value), 4)
  end
end

-- Raises where the handler called res:sendfile.
local function check(source, opts)
  if type(source) ~= "string" and io.type(source) ~= "file" then
    local got = io.type(source) or type(source)
    error("sendfile: path or open file expected, got " .. got, 3)
  end
  options.check("sendfile", opts, OPTIONS, 3)
  check_whole(opts, "from")
  check_whole(opts, "length")
end

-- The value of Content-Disposition that has it saved under that name (RFC 6266).
local function disposition(name)
  local plain = name:gsub('[%c"\\\128-\255/]', "_")
  local value = ('attachment; filename="%s"'):format(plain)
  if plain ~= name then
    value = value .. "; filename*=UTF-8''" .. text.percent_encode(name)
  end
  return value
end

local function part_of(file, opts)
  local from = opts.from or 0
  local length = opts.length or file.size - from
  if from > file.size or from + length > file.size then
    error("sendfile: the file has no such bytes", 0)
  end
  return from, length
end

local function send(res, file, opts)
  if opts.filename then
    res:header("Content-Disposition", disposition(opts.filename))
  end
  local plain = not opts.from and not opts.length and res:status() == 200
  if plain then
    return M.serve(res:_request(), res, file)
  end
  local from, length = part_of(file, opts)
  set_type(res, file)
  if res:_start(length) then
    return res:_send(file.handle, from, length)
  end
  return true
end

--- What res:sendfile is.
function M.sendfile(res, source, opts)
  if opts == nil then
    opts = {}
  end
  check(source, opts)
  local handle, size, mtime, etag = require("grun.core.httpfile").open(source)
  if not handle then
    return nil, size, mtime
  end
  local name = opts.filename or type(source) == "string" and source or ""
  local kind = res:header("Content-Type") or opts.type
    or require("grun.http.mime").type_of(name)
  local file = { handle = handle, size = size, mtime = mtime, etag = etag, kind = kind }
  return M.closing(handle, send, res, file, opts)
end

return M
