-- SPDX-License-Identifier: MIT
-- Bodies that HTTP clients send: strings, files, iterators, forms. A body is a list of segments: a
-- string, { file =, from =, length = }, { path =, length = }, or a function that gives pieces.

local core = require("grun.core")
local httpc = require("grun.core.httpc")
local httptext = require("grun.core.httptext")

local encode = httptext.percent_encode

local STEP = 65536 -- bytes that are to be taken within the time for one write

local M = {}

---@class grun.http.body
---@field length? integer nil: not known, to be sent chunked
---@field repeatable boolean can be sent once more
---@field type? string for Content-Type

-- ---- Making one ----

-- Bytes of a segment; nil of an iterator, which can be sent only once.
local function length_of(segment)
  if type(segment) == "function" then
    return nil
  end
  return type(segment) == "string" and #segment or segment.length
end

local function new(segments, content_type)
  local total = 0
  for _, segment in ipairs(segments) do
    local length = length_of(segment)
    total = total and length and total + length
  end
  return { segments = segments, length = total, repeatable = total ~= nil, type = content_type }
end

-- What is left of an open file. Of a pipe the length is not known.
local function of_file(file)
  local from = file:seek("cur")
  local size = from and file:seek("end")
  if not size then
    return function()
      return file:read(65536)
    end
  end
  file:seek("set", from)
  return { file = file, from = from, length = math.max(0, size - from) }
end

-- nil, message, code when it cannot be read. Parks.
local function of_path(path)
  local stat, message, code = require("grun.fs").stat(path)
  if not stat then
    return nil, message, code
  elseif stat.type ~= "file" then
    return nil, path .. ": not a regular file", stat.type == "directory" and "EISDIR" or "EINVAL"
  end
  return { path = path, length = stat.size }
end

local function add_pairs(list, name, value)
  if type(value) == "table" then
    for _, one in ipairs(value) do
      add_pairs(list, name, one)
    end
  else
    list[#list + 1] = encode(tostring(name), "form") .. "=" .. encode(tostring(value), "form")
  end
end

--- "a=1&b=x+y" for { a = 1, b = "x y" }, sorted by name; a value can be a list of values.
---@param form table
---@return string
function M.encode_form(form)
  local names, list = {}, {}
  for name in pairs(form) do
    names[#names + 1] = name
  end
  table.sort(names, function(a, b) return tostring(a) < tostring(b) end)
  for _, name in ipairs(names) do
    add_pairs(list, name, form[name])
  end
  return table.concat(list, "&")
end

-- As browsers escape names in Content-Disposition.
local function quoted(text)
  return '"' .. text:gsub('[\r\n"]', { ["\r"] = "%0D", ["\n"] = "%0A", ['"'] = "%22" }) .. '"'
end

-- One part: its head and its content. nil, message, code if a file cannot be read.
local function part_content(part)
  local content = part.file or part.value
  if io.type(content) == "file" then
    return of_file(content)
  elseif part.file then
    return of_path(part.file)
  end
  return tostring(content)
end

local function of_multipart(parts)
  local boundary, segments = httptext.boundary(), {}
  for _, part in ipairs(parts) do
    local content, message, code = part_content(part)
    if not content then
      return nil, message, code
    end
    local filename = part.filename or type(part.file) == "string" and part.file:match("[^/]*$")
    local lines = { "--" .. boundary,
      "Content-Disposition: form-data; name=" .. quoted(part.name)
        .. (filename and "; filename=" .. quoted(filename) or "") }
    if part.type or filename then
      lines[3] = "Content-Type: " .. (part.type or "application/octet-stream")
    end
    segments[#segments + 1] = table.concat(lines, "\r\n") .. "\r\n\r\n"
    segments[#segments + 1] = content
    segments[#segments + 1] = "\r\n"
  end
  segments[#segments + 1] = "--" .. boundary .. "--\r\n"
  return new(segments, "multipart/form-data; boundary=" .. boundary)
end

-- What is wrong with a list of parts.
local function multipart_flaw(parts)
  for i, part in ipairs(parts) do
    local value = type(part) == "table" and (part.file or part.value)
    if not value or type(part.name) ~= "string" then
      return ("option 'multipart': element %d needs a name and a value or file"):format(i)
    elseif tostring(part.type or ""):find("[%c\127]") then
      return ("option 'multipart': element %d has a bad type"):format(i)
    end
  end
end

local makers = {
  form = function(form)
    return new({ M.encode_form(form) }, "application/x-www-form-urlencoded")
  end,
  json = function(value)
    return new({ require("cjson").encode(value) }, "application/json")
  end,
  multipart = of_multipart,
  file = function(path)
    local segment, message, code = of_path(path)
    if not segment then
      return nil, message, code
    end
    return new({ segment })
  end,
  body = function(body)
    if io.type(body) == "file" then
      return new({ (of_file(body)) })
    end
    return new({ body })
  end,
}

--- The body that the options `body`, `file`, `form`, `json` or `multipart` say; an empty list of
--- segments without one. Returns nil, message, code when a file cannot be read, nil, message, true
--- for misuse.
function M.make(opts)
  local name
  for key in pairs(makers) do
    if opts[key] ~= nil then
      if name then
        return nil, ("options '%s' and '%s' exclude each other"):format(name, key), true
      end
      name = key
    end
  end
  if not name then
    return new({})
  end
  local flaw = name == "multipart" and multipart_flaw(opts.multipart)
  if flaw then
    return nil, flaw, true
  end
  return makers[name](opts[name])
end

-- ---- Sending ----

-- Writes, and notes when that was done.
local function write(out, ...)
  out.conn:settimeout(out:left())
  local ok, message, code, n = out.conn:write(...)
  if code == "timeout" and out:excused() then
    return write(out, table.concat({ ... }):sub(n + 1))
  end
  out.moved = core.now()
  return ok, message, code
end

-- Sends a piece as the framing wants it. Returns nil, message, code on failure.
local function send_piece(out, piece)
  out.sent = out.sent + #piece
  if out.length and out.sent > out.length then
    return nil, "the body is longer than its Content-Length", "too_large"
  elseif out.length then
    return write(out, piece)
  end
  return write(out, httpc.chunk(#piece), piece, "\r\n")
end

local function send_string(out, text)
  for at = 1, #text, STEP do
    local ok, message, code = send_piece(out, #text <= STEP and text or text:sub(at, at + STEP - 1))
    if not ok then
      return ok, message, code
    end
  end
  return true
end

local function read_and_send(out, file, from, length)
  file:seek("set", from)
  while length > 0 do
    local piece = file:read(math.min(length, STEP))
    if not piece then
      return nil, "the file became shorter", "ENODATA"
    end
    local ok, message, code = send_piece(out, piece)
    if not ok then
      return ok, message, code
    end
    length = length - #piece
  end
  return true
end

-- A file in a body of unknown length is read piece by piece, else the kernel copies it.
local function send_file(out, file, from, length)
  if not out.length then
    return read_and_send(out, file, from, length)
  end
  while length > 0 do
    out.conn:settimeout(out:left())
    local n, message, code, part = out.conn:sendfile(file, from, math.min(length, 16 * STEP))
    if not n and not (code == "timeout" and (part > 0 or out:excused())) then
      return nil, message, code
    end
    n = n or part
    from, length, out.sent, out.moved = from + n, length - n, out.sent + n, core.now()
  end
  return true
end

local function close_after(file, ok, ...)
  file:close()
  if not ok then
    return error((...), 0)
  end
  return ...
end

local function send_path(out, segment)
  local file, message = io.open(segment.path, "rb") -- it was there a moment ago
  if not file then
    return nil, message, "EACCES"
  end
  return close_after(file, xpcall(send_file, core.traceback, out, file, 0, segment.length))
end

local function send_iterator(out, fn)
  while true do
    out.asking = core.now()
    local piece = fn()
    out.asking = nil
    if piece == nil then
      return true
    elseif type(piece) ~= "string" then
      error("request: the iterator of the body gave a " .. type(piece), 0)
    else
      local ok, message, code = send_string(out, piece)
      if not ok then
        return ok, message, code
      end
    end
  end
end

local function send_segment(out, segment)
  if type(segment) == "string" then
    return send_string(out, segment)
  elseif type(segment) == "function" then
    return send_iterator(out, segment)
  elseif segment.path then
    return send_path(out, segment)
  end
  return send_file(out, segment.file, segment.from, segment.length)
end

--- A body that is short enough to be sent together with the head. nil: send() is to do it.
---@param length? integer what the head says
---@return string|nil
function M.short(self, length)
  local only = #self.segments == 1 and self.segments[1]
  if #self.segments == 0 or length == 0 then
    return ""
  elseif type(only) == "string" and length == #only and #only <= STEP then
    return only
  end
end

--- Sends the body to out.conn, whose head says `out.length` (nil: chunked). out:left() gives the
--- seconds that one write may take, out:excused() whether it may have them again. Updated are
--- out.sent (bytes), out.moved (time of the last write), out.asking (time since when an iterator is
--- asked). Returns true, or nil, message, code. Parks.
---@param out grun.http.upload
---@async
function M.send(self, out)
  for _, segment in ipairs(self.segments) do
    local ok, message, code = send_segment(out, segment)
    if not ok then
      return nil, message, code
    end
  end
  if not out.length then
    return write(out, "0\r\n\r\n")
  elseif out.sent < out.length then
    return nil, "the body is shorter than its Content-Length", "ENODATA"
  end
  return true
end

return M
