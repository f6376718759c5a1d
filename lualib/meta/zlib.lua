-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_zlib.c defines. Never loaded.

---@meta grun.core.zlib
-- luacheck: no unused

local M = {}

--- Starts to compress.
---@param level? integer 0 (not at all) to 9 (most); default 6
---@param format? "gzip"|"zlib"|"raw" default "gzip"
---@return grun.deflate
function M.deflate(level, format) end

--- Starts to uncompress. gzip data may have several members.
---@param format? "auto"|"gzip"|"zlib"|"raw" default "auto": gzip or zlib
---@param max? integer bytes that may come out in total; default: any number
---@return grun.inflate
function M.inflate(format, max) end

---@class grun.deflate
local deflate = {}

--- Compresses more. Returns what is ready, maybe nothing. With "flush" the receiver can read all
--- that was pushed, "finish" is the end.
---@param data string
---@param mode? "flush"|"finish"
---@return string
function deflate:push(data, mode) end

--- Gives the memory back at once; the collector does it too.
function deflate:close() end

---@class grun.inflate
local inflate = {}

--- Uncompresses more. Returns what is ready, maybe nothing; or nil, message, code: "too_large" when
--- more would come out than is allowed, "protocol" for data that is none, or with "finish" does not
--- end here. An error is for good.
---@param data string
---@param mode? "finish"
---@return string|nil, string?, string?
function inflate:push(data, mode) end

--- Gives the memory back at once; the collector does it too.
function inflate:close() end

return M
