-- SPDX-License-Identifier: MIT
-- `grun trace`: where the threads of a process stand, in Lua and in C.

local common = require("grun.tool.common")

local HELP = [[
usage: grun trace [--json] [--timeout S] pid [thread]

Prints what each thread, or the one of that number, waits for, and the functions it stands in: Lua's,
then those of C below them, innermost first.
      --json        as JSON
      --timeout S   seconds for an answer (5)
Status 1: there is no such process or thread, or it does not answer.
]]

local M = {}

--- Runs the command with the words from config.first on.
function M.run(config)
  local given, operands = common.parse("trace", config, HELP,
    { ["--json"] = true, ["--timeout"] = "number" })
  local pid = common.number("trace", operands[1], "process id")
  local thread = operands[2] and common.number("trace", operands[2], "number of a thread")
  if operands[3] then
    common.fail("trace", "one thread at a time", 2)
  end
  local args = { thread = thread, format = given["--json"] and "json" or "text" }
  common.call("trace", pid, "trace", args, given["--timeout"], function(text)
    io.stdout:write(common.plain(text))
  end)
end

return M
