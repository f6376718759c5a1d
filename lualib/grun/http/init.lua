-- SPDX-License-Identifier: MIT
-- The table grun.http. Its parts load at their first use.

-- Name of a function -> the module it comes from.
local later = {
  router = "grun.http.router",
  request = "grun.http.client",
  get = "grun.http.client",
  post = "grun.http.client",
  put = "grun.http.client",
  patch = "grun.http.client",
  delete = "grun.http.client",
  head = "grun.http.client",
  session = "grun.http.client",
  close_idle = "grun.http.client",
  static = "grun.http.static",
  websocket = "grun.http.websocket",
  wsapi = "grun.http.wsapi",
}

local M = setmetatable({}, {
  __names = { later }, -- for completion
  __index = function(self, key)
    local module = later[key]
    if not module then
      return nil
    end
    local value = require(module)[key]
    rawset(self, key, value)
    return value
  end,
})
M.http = M

return M
