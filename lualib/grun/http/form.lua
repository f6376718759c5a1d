-- SPDX-License-Identifier: MIT
-- Bodies that are forms: application/x-www-form-urlencoded and multipart/form-data.

local httpd = require("grun.core.httpd")
local options = require("grun.options")

local M = {}

-- Name of an option -> its default.
local limits = {
  max = 1048576, -- bytes of an urlencoded body, and of all multipart fields without a file name
  max_fields = 1000, -- their number
  max_files = 20, -- parts with a file name
  max_file = 10485760, -- bytes of each, when it is kept in memory
  max_files_size = 33554432, -- bytes of all files that are kept in memory
  max_part_header = 8192, -- bytes of a part's fields
}

---@class grun.http.form.options
---@field max? integer bytes of an urlencoded body, or of all multipart fields that are no files
---(1 MiB)
---@field max_fields? integer number of fields that are no files (1000)
---@field max_files? integer number of files (20)
---@field max_file? integer bytes of one file in memory (10 MiB); with `file` of one file at all
---(default there: any number)
---@field max_files_size? integer bytes of all files in memory (32 MiB)
---@field max_part_header? integer bytes of the header of one part (8 KiB)
---@field file? fun(part: grun.http.part): any is called for each file while it arrives; what it
---returns becomes the value in the form. What it does not read is dropped

local types = { file = "function" }
for name in pairs(limits) do
  types[name] = "number"
end

local function configure(who, opts)
  local config = {}
  if opts ~= nil then
    options.check(who, opts, types, 3)
    for name, value in pairs(opts) do
      config[name] = value
    end
  end
  for name, default in pairs(limits) do
    if not config[name] then
      config[name] = name == "max_file" and config.file and math.huge or default
    end
  end
  return config
end

-- ---- Multipart ----

---@class grun.http.part
---@field name string of the field
---@field filename? string as the client calls it: nothing to be trusted, may hold a path
---@field content_type? string
---@field headers table<string, string> lower-case names
local Part = { __name = "grun.http.part" }
Part.__index = Part

local Parts = {}
Parts.__index = Parts

-- Makes the failure the request's: a handler that returns nothing answers with 400 or 413 then.
local function fail(parts, message, code)
  parts.over = { message, code }
  parts.req:_fail(code == "too_large" and 413 or 400)
  return nil, message, code
end

local function wrong_type(req, message)
  req:_fail(415)
  return nil, message, "type"
end

-- The scanner's next event. Parks.
local function next_event(parts)
  while true do
    local event, a, b, c = parts.scanner:next()
    if not event then
      return fail(parts, a, b)
    elseif event ~= "more" then
      return event, a, b, c
    end
    local piece, message, code = parts.req:read()
    if not piece then
      if message then
        parts.over = { message, code }
        return nil, message, code
      end
      return fail(parts, "malformed multipart body", "protocol")
    end
    parts.scanner:add(piece)
  end
end

--- The next piece of the part's data. Returns nil at its end; nil, message, code on failure. Parks.
---@return string|nil, string?, string?
---@async
function Part:read()
  local parts = self._parts
  if self._ended or parts.part ~= self then
    return nil
  elseif parts.over then
    return nil, parts.over[1], parts.over[2]
  end
  local event, data, code = next_event(parts)
  if event == "data" then
    return data
  elseif event == "end" then
    self._ended = true
    return nil
  end
  return nil, data, code
end

--- All of the part's data, at most `max` bytes (default 1 MiB); "too_large" for more. Parks.
---@param max? integer
---@return string|nil, string?, string?
---@async
function Part:body(max)
  local pieces, n = {}, 0
  max = max or 1048576
  while true do
    local piece, message, code = self:read()
    if not piece then
      if message then
        return nil, message, code
      end
      return table.concat(pieces)
    end
    n = n + #piece
    if n > max then
      return fail(self._parts, "part too large", "too_large")
    end
    pieces[#pieces + 1] = piece
  end
end

-- Drops what is left of the present part.
local function finish_part(parts)
  local part = parts.part
  while part and not part._ended do
    local piece, message, code = part:read()
    if not piece and message then
      return nil, message, code
    end
  end
  return true
end

local function next_part(parts)
  if parts.over then
    return nil, parts.over[1], parts.over[2]
  end
  local ok, message, code = finish_part(parts)
  if not ok then
    return nil, message, code
  end
  local event, name, filename, headers = next_event(parts)
  if event == "part" then
    parts.part = setmetatable({
      name = name, filename = filename, content_type = headers["content-type"], headers = headers,
      _parts = parts,
    }, Part)
    return parts.part
  elseif event == "over" then
    parts.over = {}
    return nil
  end
  return nil, name, filename
end

local function open(req, config)
  local kind, params = req:media_type()
  if kind ~= "multipart/form-data" then
    return wrong_type(req, "the body is not multipart/form-data")
  end
  local scanner, message, code = require("grun.core.multipart").new(params.boundary or "",
    config.max_fields + config.max_files, config.max_part_header)
  local parts = setmetatable({ req = req, scanner = scanner }, Parts)
  if not scanner then
    return fail(parts, message, code)
  end
  return parts
end

--- Goes through the parts of a multipart/form-data body, which are read while they arrive: use it
--- as `for part in assert(req:multipart()) do`. The iterator raises what the body's failure is; the
--- answer is 400, 413 or 415 then, unless the handler catches it.
function M.multipart(req, opts)
  local parts, message, code = open(req, configure("multipart", opts))
  if not parts then
    return nil, message, code
  end
  return function()
    local part, problem = next_part(parts)
    if not part and problem then
      error("multipart: " .. problem, 2)
    end
    return part
  end
end

local function read_file(part, config, kept)
  if config.file then
    return config.file(part)
  end
  local most = math.min(config.max_file, config.max_files_size - kept.bytes)
  local data, message, code = part:body(most)
  if not data then
    return nil, message, code
  end
  kept.bytes = kept.bytes + #data
  return {
    name = part.name, filename = part.filename, content_type = part.content_type,
    headers = part.headers, data = data,
  }
end

-- Reads one part into the form. Returns true, or nil, message, code.
local function add_part(form, part, config, kept)
  local is_file = part.filename ~= nil
  local count = is_file and "files" or "fields"
  kept[count] = kept[count] + 1
  if kept[count] > config["max_" .. count] then
    return fail(part._parts, "too many " .. count, "too_large")
  end
  local value, message, code
  if is_file then
    value, message, code = read_file(part, config, kept)
  else
    value, message, code = part:body(config.max - kept.text)
    kept.text = kept.text + #(value or "")
  end
  if value == nil and (message or not config.file) then
    return nil, message, code
  end
  if form[part.name] == nil then
    form[part.name] = value
  end
  return true
end

local function multipart_form(req, config)
  local parts, message, code = open(req, config)
  if not parts then
    return nil, message, code
  end
  local form, kept = {}, { files = 0, fields = 0, bytes = 0, text = 0 }
  while true do
    local part
    part, message, code = next_part(parts)
    if not part then
      if message then
        return nil, message, code
      end
      return form
    end
    local ok
    ok, message, code = add_part(form, part, config, kept)
    if not ok then
      return nil, message, code
    end
  end
end

-- ---- Urlencoded ----

local function urlencoded_form(req, config)
  local body, message, code = req:body(config.max)
  if not body then
    return nil, message, code
  end
  local form, all = httpd.parse_query(body)
  if #all / 2 > config.max_fields then
    req:_fail(413)
    return nil, "too many fields", "too_large"
  end
  return form
end

--- Reads the form that the body is: name -> text, and for multipart files
--- { name =, filename =, content_type =, headers =, data = } or what opts.file returned. Of several
--- with one name the first counts. Returns nil, message, code: "type" when the body is no form,
--- "too_large" (413), "protocol" (400) or as body().
function M.form(req, opts)
  local config = configure("form", opts)
  local kind = req:media_type()
  if kind == "application/x-www-form-urlencoded" then
    return urlencoded_form(req, config)
  elseif kind == "multipart/form-data" then
    return multipart_form(req, config)
  end
  return wrong_type(req, "the body is no form")
end

return M
