-- SPDX-License-Identifier: MIT
-- DNS: names to addresses, records of any type, and messages for writing DNS servers.

local core = require("grun.core.dns")

---@class grun.dns
local M = {
  resolve = core.resolve,
  query = core.query,
  reverse = core.reverse,
  configure = core.configure,
  cache_flush = core.cache_flush,
  stats = core.stats,
  message = { parse = core.parse, pack = core.pack },
}

return M
