-- SPDX-License-Identifier: MIT
-- `grun stop`, `grun reload` and `grun kill`: they have a process do something, and say so.

local json = require("grun.json")
local common = require("grun.tool.common")

local help = {
  stop = [[
usage: grun stop [--json] [--timeout S] pid

Has a process end in order, as SIGTERM does: servers stop accepting and let connections end, threads
are cancelled, all within its grace period. Returns once the process has begun with it.
]],
  reload = [[
usage: grun reload [--json] [--timeout S] pid

Has a master start workers with the present code and let the old ones finish, as SIGHUP does. Other
processes must have a handler for SIGHUP.
]],
  kill = [[
usage: grun kill [--json] [--timeout S] pid thread

Cancels one thread of a process: each of its waits fails from now on. Threads have their numbers from
grun ps pid.
]],
}
local OPTIONS = [[
      --json        the answer as JSON
      --timeout S   seconds for an answer (5)
Status 1: there is no such process or thread, or it does not answer.
]]

local done = { stop = "process %d stops", reload = "process %d reloads", kill = "%s is cancelled" }

local M = {}

local function act(name, config)
  local given, operands = common.parse(name, config, help[name] .. OPTIONS,
    { ["--json"] = true, ["--timeout"] = "number" })
  local pid = common.number(name, operands[1], "process id")
  local thread = name == "kill" and common.number(name, operands[2], "number of a thread")
  if operands[name == "kill" and 3 or 2] then
    common.fail(name, "too many arguments", 2)
  end
  local answer = common.call(name, pid, name, { thread = thread or nil }, given["--timeout"])
  if given["--json"] then
    print(json.encode(answer))
  else
    print(common.plain(done[name]:format(thread and answer.thread or pid)))
  end
end

--- One of the commands, with the words from config.first on.
function M.run(config)
  act(config.words[config.first - 1], config)
end

return M
