-- SPDX-License-Identifier: MIT
-- `grun stop`, `reload`, `upgrade`, `scale`, `reopen` and `kill`: they have a process do something,
-- and say so.

local json = require("grun.json")
local common = require("grun.tool.common")

-- Name -> its help; what its second operand is: its name, in the request and in words; what to say
-- when it is done.
local actions = {
  stop = {
    done = "process %d stops",
    help = [[
usage: grun stop [--json] [--timeout S] pid

Has a process end in order, as SIGTERM does: servers stop accepting and let connections end, threads
are cancelled, all within its grace period. A master has its workers do so. Returns once the process
has begun with it.
]],
  },
  reload = {
    done = "process %d reloads",
    help = [[
usage: grun reload [--json] [--timeout S] pid

Has a master start workers with the present code and let the old ones finish, as SIGHUP does. Other
processes must have a handler for SIGHUP.
]],
  },
  upgrade = {
    done = "process %d starts its successor",
    help = [[
usage: grun upgrade [--json] [--timeout S] pid

Has a master start the present program in its place, as SIGUSR2 does; once that serves, the old one
lets its workers finish and ends.
]],
  },
  scale = {
    key = "workers", operand = "number of workers",
    done = "process %d is told",
    help = [[
usage: grun scale [--json] [--timeout S] pid workers

Has a master run so many workers from now on, 1 to 256.
]],
  },
  reopen = {
    done = "process %d reopens its log files",
    help = [[
usage: grun reopen [--json] [--timeout S] pid

Has a process, and its workers if it is a master, open the files of --log-file and --access-log-file
anew, as SIGUSR1 does, after something has renamed them.
]],
  },
  kill = {
    key = "thread", operand = "number of a thread",
    done = "%s is cancelled",
    help = [[
usage: grun kill [--json] [--timeout S] pid thread

Cancels one thread of a process: each of its waits fails from now on. Threads have their numbers from
grun ps pid.
]],
  },
}
local OPTIONS = [[
      --json        the answer as JSON
      --timeout S   seconds for an answer (5)
Status 1: there is no such process or thread, it does not answer, or cannot do so.
]]

local M = {}

local function act(name, config)
  local action = actions[name]
  local given, operands = common.parse(name, config, action.help .. OPTIONS,
    { ["--json"] = true, ["--timeout"] = "number" })
  local pid, args = common.number(name, operands[1], "process id"), {}
  if action.key then
    args[action.key] = common.number(name, operands[2], action.operand)
  end
  if operands[action.key and 3 or 2] then
    common.fail(name, "too many arguments", 2)
  end
  local answer = common.call(name, pid, name, args, given["--timeout"])
  if given["--json"] then
    print(json.encode(answer))
  else
    print(common.plain(action.done:format(answer.thread or pid)))
  end
end

--- One of the commands, with the words from config.first on.
function M.run(config)
  act(config.words[config.first - 1], config)
end

return M
