-- SPDX-License-Identifier: MIT
-- Media types by the ends of file names.

local M = {}

local common = {
  html = "text/html", htm = "text/html", css = "text/css", js = "text/javascript",
  mjs = "text/javascript", json = "application/json", map = "application/json",
  txt = "text/plain", md = "text/markdown", csv = "text/csv", xml = "text/xml",
  svg = "image/svg+xml", png = "image/png", jpg = "image/jpeg", jpeg = "image/jpeg",
  gif = "image/gif", webp = "image/webp", avif = "image/avif", ico = "image/vnd.microsoft.icon",
  bmp = "image/bmp", pdf = "application/pdf", wasm = "application/wasm",
  woff = "font/woff", woff2 = "font/woff2", ttf = "font/ttf", otf = "font/otf",
  mp3 = "audio/mpeg", ogg = "audio/ogg", opus = "audio/ogg", wav = "audio/x-wav",
  flac = "audio/flac", mp4 = "video/mp4", webm = "video/webm", ogv = "video/ogg",
  mkv = "video/x-matroska", zip = "application/zip", gz = "application/gzip",
  br = "application/octet-stream", bz2 = "application/x-bzip2", xz = "application/x-xz",
  tar = "application/x-tar", ["7z"] = "application/x-7z-compressed",
  webmanifest = "application/manifest+json", atom = "application/atom+xml",
  rss = "application/rss+xml", lua = "text/x-lua", c = "text/x-csrc", h = "text/x-chdr",
  py = "text/x-python", sh = "text/x-sh", log = "text/plain",
}

-- What is not common: /etc/mime.types, read when it is first needed.
local rare

local function read_rare()
  local found = {}
  local file = io.open("/etc/mime.types")
  if not file then
    return found
  end
  for line in file:lines() do
    local kind, ends = line:match("^([%w.+-]+/[%w.+-]+)%s+(%S.*)$")
    for name in (ends or ""):gmatch("%S+") do
      found[name] = found[name] or kind
    end
  end
  file:close()
  return found
end

--- The media type for a file name, with a charset if it is text.
---@param name string
---@param own? table<string, string> types by lower-case end, which win
---@param charset? string|false default "utf-8"; false: none
---@return string
function M.type_of(name, own, charset)
  local ending = (name:match("%.([^./]+)$") or ""):lower()
  local kind = own and own[ending] or common[ending]
  if not kind and ending ~= "" then
    rare = rare or read_rare()
    kind = rare[ending]
  end
  kind = kind or "application/octet-stream"
  if charset ~= false and not kind:find(";", 1, true) and
     (kind:find("^text/") or kind == "application/json" or kind == "image/svg+xml") then
    return kind .. "; charset=" .. (charset or "utf-8")
  end
  return kind
end

local COMPRESSIBLE = {
  ["application/json"] = true, ["application/javascript"] = true, ["application/xml"] = true,
  ["application/wasm"] = true, ["application/vnd.ms-fontobject"] = true, ["font/ttf"] = true,
  ["font/otf"] = true, ["image/bmp"] = true, ["image/vnd.microsoft.icon"] = true,
}

--- Whether data of that type becomes much shorter by compression.
---@param kind string
---@return boolean
function M.is_compressible(kind)
  kind = kind:match("^[^;]+"):lower()
  return kind:find("^text/") ~= nil or kind:find("%+json$") ~= nil or kind:find("%+xml$") ~= nil
    or COMPRESSIBLE[kind] == true
end

return M
