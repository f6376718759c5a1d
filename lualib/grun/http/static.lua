-- SPDX-License-Identifier: MIT
-- Directories of files as a handler of HTTP servers.

local file_module = require("grun.http.file")
local httpfile = require("grun.core.httpfile")
local mime = require("grun.http.mime")
local options = require("grun.options")
local text = require("grun.core.httptext")

local M = {}

local GZIP_MAX = 262144 -- bytes of a file that is compressed while a client waits
local GZIP_MIN = 1024
local CACHE_MAX = 8388608 -- bytes of compressed files that are kept
local LIST_MAX = 10000 -- entries of a listing

---@class grun.http.static.options
---@field prefix? string what stands before the files' paths, such as "/static"; not needed below a
---route "/static/*path"
---@field index? string|false file that is sent for its directory ("index.html")
---@field listing? boolean show directories without an index (false)
---@field hidden? boolean serve names beginning with a dot (false; ".well-known" is always served)
---@field cache_control? string|fun(path: string): string? value of Cache-Control
---@field types? table<string, string> media types by the end of names: { lua = "text/plain" }
---@field charset? string|false of text types ("utf-8")
---@field precompressed? boolean send "x.js.br" or "x.js.gz" for "x.js" to those who accept it
---(true)
---@field gzip? boolean compress text of 1 to 256 KiB for those who accept it; up to 8 MiB of
---results are kept (true)
---@field headers? table<string, string> further header fields of every file

local OPTIONS = {
  prefix = "string", index = "string boolean", listing = "boolean", hidden = "boolean",
  cache_control = "string function", types = "table", charset = "string boolean",
  precompressed = "boolean", gzip = "boolean", headers = "table",
}

local function check_texts(opts, name)
  for key, value in pairs(opts[name] or {}) do
    if type(key) ~= "string" or type(value) ~= "string" then
      error(("static: option '%s': table of strings expected"):format(name), 4)
    end
  end
end

local function check_options(opts)
  options.check("static", opts, OPTIONS, 3)
  check_texts(opts, "types")
  check_texts(opts, "headers")
  if opts.index == true or opts.charset == true then
    local name = opts.index == true and "index" or "charset"
    error(("static: option '%s': string or false expected, got true"):format(name), 3)
  elseif opts.prefix and opts.prefix ~= "" and opts.prefix:sub(1, 1) ~= "/" then
    error("static: option 'prefix' must begin with \"/\"", 3)
  end
end

local STATUS = {
  ENOENT = 404, ENOTDIR = 404, ELOOP = 404, EXDEV = 404, ENAMETOOLONG = 404, EACCES = 403,
  EPERM = 403, ENXIO = 403, EMFILE = 503, ENFILE = 503, ENOMEM = 503,
}

-- ---- Which file ----

local Static = { __name = "grun.http.static" }
Static.__index = Static

-- The path below the root: without "/" at its beginning, "" for the root. nil: there is no such
-- file.
local function relative(self, req)
  local raw = req.rest_path or req.raw_path
  local prefix = self.prefix
  if prefix and not req.rest_path then
    if raw:sub(1, #prefix) ~= prefix then
      return nil
    end
    raw = raw:sub(#prefix + 1)
    if raw ~= "" and raw:sub(1, 1) ~= "/" then
      return nil
    end
  end
  local path = text.resolve_path(raw == "" and "/" or raw)
  if not path or #path > 4096 then
    return nil
  end
  if not self.hidden then
    for segment in path:gmatch("[^/]+") do
      if segment:sub(1, 1) == "." and segment ~= ".well-known" then
        return nil
      end
    end
  end
  return path
end

local function is_accepted(accepted, coding)
  return accepted ~= nil and (text.accept_quality(accepted, coding) or 0) > 0
end

local neighbours = { { "br", ".br" }, { "gzip", ".gz" } }

-- A compressed neighbour of the file, if there is one and the client likes it: it takes its place.
local function compressed_neighbour(self, path, accepted)
  for _, neighbour in ipairs(neighbours) do
    if is_accepted(accepted, neighbour[1]) then
      local handle, size, mtime, etag = self.root:open(path .. neighbour[2])
      if handle then
        return { handle = handle, size = size, mtime = mtime, etag = etag, coding = neighbour[1] }
      end
    end
  end
end

local function refuse(res, status)
  return res:status(status):finish()
end

-- ---- Compressing ----

local function compress(self, file)
  local found = self.cache[file.etag]
  if found then
    return found
  end
  local data = file.handle:read(0, file.size)
  if not data or #data ~= file.size then
    return nil
  end
  local stream = require("grun.core.zlib").deflate(5)
  found = stream:push(data, "finish")
  stream:close()
  if self.cached + #found > CACHE_MAX then
    self.cache, self.cached = {}, 0
  end
  self.cache[file.etag] = found
  self.cached = self.cached + #found
  return found
end

local function send_compressed(self, req, res, file)
  local etag = "W/" .. file.etag
  local status = file_module.condition(req, res, etag, file.mtime)
  if status then
    return refuse(res, status)
  end
  local data = compress(self, file)
  if not data then
    return refuse(res, 500)
  end
  res:header("Content-Type", file.kind):header("Content-Encoding", "gzip")
  return res:finish(data)
end

-- ---- Answers ----

local function add_fields(self, res, path)
  local control = self.cache_control
  if type(control) == "function" then
    control = control(path)
  end
  if control then
    res:header("Cache-Control", control)
  end
  if self.headers then
    for name, value in pairs(self.headers) do
      res:header(name, value)
    end
  end
end

local function serve_file(self, req, res, path, file)
  file.kind = mime.type_of(path, self.types, self.charset)
  add_fields(self, res, path)
  if not mime.is_compressible(file.kind) or not (self.gzip or self.precompressed) then
    return file_module.serve(req, res, file)
  end
  res:header("Vary", "Accept-Encoding")
  local accepted = req:header("accept-encoding")
  local other = accepted and self.precompressed and compressed_neighbour(self, path, accepted)
  if other then
    other.kind = file.kind
    return file_module.closing(other.handle, file_module.serve, req, res, other)
  elseif self.gzip and file.size >= GZIP_MIN and file.size <= GZIP_MAX
    and not req:header("range") and is_accepted(accepted, "gzip") then
    return send_compressed(self, req, res, file)
  end
  return file_module.serve(req, res, file)
end

local function serve_handle(self, req, res, path, handle, size, mtime, etag)
  local file = { handle = handle, size = size, mtime = mtime, etag = etag }
  return file_module.closing(handle, serve_file, self, req, res, path, file)
end

-- The directory's address with a "/" at its end. Never "//host".
local function redirect_to_directory(req, res)
  local target = req.raw_path:gsub("^/+", "/") .. "/"
  if req.query_string ~= "" then
    target = target .. "?" .. req.query_string
  end
  return res:redirect(target, 301)
end

local function html(name)
  return (name:gsub('[&<>"\']', function(c)
    return ("&#%d;"):format(c:byte())
  end))
end

local function by_kind_and_name(a, b)
  if a.directory ~= b.directory then
    return a.directory == true
  end
  return a.name < b.name
end

local PAGE = [[<!DOCTYPE html>
<html><head><meta charset="utf-8"><title>%s</title></head><body>
<h1>%s</h1>
<table>
%s
</table>
</body></html>
]]
local ROW = '<tr><td><a href="%s">%s</a></td><td align="right">%s</td><td>%s</td></tr>'

local function list_directory(self, req, res, path)
  local entries = self.root:list(path, LIST_MAX)
  if not entries then
    return res:status(404):finish("404 Not Found\n")
  end
  table.sort(entries, by_kind_and_name)
  local rows = {}
  if path ~= "" then
    rows[1] = ROW:format("../", "../", "", "")
  end
  for _, entry in ipairs(entries) do
    local name = entry.name
    if self.hidden or name:sub(1, 1) ~= "." then
      local slash = entry.directory and "/" or ""
      rows[#rows + 1] = ROW:format("./" .. text.percent_encode(name) .. slash, html(name) .. slash,
        entry.directory and "" or ("%d"):format(entry.size or 0),
        os.date("!%Y-%m-%d %H:%M", entry.mtime or 0))
    end
  end
  local title = html(req.path)
  res:header("Content-Type", "text/html; charset=utf-8")
  return res:finish(PAGE:format(title, title, table.concat(rows, "\n")))
end

local function serve_directory(self, req, res, path)
  if path ~= "" and path:sub(-1) ~= "/" or path == "" and req.raw_path:sub(-1) ~= "/" then
    return redirect_to_directory(req, res)
  end
  local index = self.index
  if index then
    local handle, size, mtime, etag = self.root:open(path .. index)
    if handle then
      return serve_handle(self, req, res, path .. index, handle, size, mtime, etag)
    end
  end
  if self.listing then
    return list_directory(self, req, res, path)
  end
  return refuse(res, 404)
end

--- Serves a request: it is a handler.
function Static:__call(req, res)
  local method = req.method
  if method ~= "GET" and method ~= "HEAD" then
    res:header("Allow", "GET, HEAD")
    return refuse(res, method == "OPTIONS" and 204 or 405)
  end
  local path = relative(self, req)
  if not path then
    return refuse(res, 404)
  end
  local handle, size, mtime, etag = self.root:open(path)
  if handle then
    return serve_handle(self, req, res, path, handle, size, mtime, etag)
  elseif mtime == "EISDIR" then
    return serve_directory(self, req, res, path)
  end
  return refuse(res, STATUS[mtime] or 500)
end

--- A handler that serves the files of a directory, which it opens now: ranges (at most 16),
--- conditions, types by name, HEAD. Links are followed as long as they stay below the directory;
--- nothing but regular files is served. Raises when there is no such directory.
---@param dir string
---@param opts? grun.http.static.options
---@return fun(req: grun.http.request, res: grun.http.response)
function M.static(dir, opts)
  if type(dir) ~= "string" or dir:find("%z") then
    local got = type(dir) == "string" and "a zero byte" or type(dir)
    error("static: path expected, got " .. got, 2)
  end
  if opts == nil then
    opts = {}
  end
  check_options(opts)
  local root, message = httpfile.root(dir)
  if not root then
    error("static: " .. message, 2)
  end
  local self = { root = root, cache = {}, cached = 0 }
  for name, value in pairs(opts) do
    self[name] = value
  end
  self.prefix = opts.prefix and opts.prefix:gsub("/+$", "")
  self.index = opts.index == nil and "index.html" or opts.index
  self.gzip = opts.gzip ~= false
  self.precompressed = opts.precompressed ~= false
  return setmetatable(self, Static)
end

return M
