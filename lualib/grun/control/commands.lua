-- SPDX-License-Identifier: MIT
-- The commands that every process answers on its control socket.

local native = require("grun.core.control")
local control = require("grun.control")

control.command("ping", function()
  return { pid = native.pid() }
end)

return {}
