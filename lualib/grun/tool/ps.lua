-- SPDX-License-Identifier: MIT
-- `grun ps`: the processes that run under grun, or the threads of one.

local control = require("grun.control")
local inspect = require("grun.inspect")
local json = require("grun.json")
local common = require("grun.tool.common")

local HELP = [[
usage: grun ps [--json] [--timeout S] [pid]

Without a process: all of yours that run under grun (root sees everybody's), workers below their
master. With one: its threads as a tree of who spawned whom, what each waits for, how long it will,
where it stands and where it was spawned.
      --json        as JSON
      --timeout S   seconds for an answer (5)
Status 1: there is no such process, or it does not answer.
]]

local M = {}

-- ---- All processes ----

-- Asks all at once: one that hangs must not hold up the others.
local function ask_all(pids, seconds)
  local grun, threads, list = require("grun"), {}, {}
  for i, pid in ipairs(pids) do
    threads[i] = grun.spawn(control.call, pid, "process", {}, seconds)
  end
  for i, pid in ipairs(pids) do
    local outside = common.from_outside(pid)
    local about, message, code = threads[i]:get()
    if outside and not about and code ~= "ESRCH" then
      about = { pid = pid, problem = code == "timeout" and "does not answer" or message }
    end
    if outside and about then
      about.ppid, about.command = outside.ppid, outside.command
      list[#list + 1] = about
    end
  end
  return list
end

local function connections(about)
  local texts = {}
  for _, server in ipairs(about.servers) do
    texts[#texts + 1] = ("%s (%d)"):format(server.address, server.active)
  end
  return table.concat(texts, " ")
end

local function print_one(about, depth)
  local what = ("  "):rep(depth) .. about.command
  if about.role then
    what = what .. (" [%s%s]"):format(about.role, about.worker and " " .. about.worker or "")
  end
  if about.problem then
    print(common.plain(("%7d %8s %8s %7s %7s  %s: %s"):format(about.pid, "?", "?", "?", "?", what,
      about.problem)))
    return
  end
  print(common.plain(("%7d %8s %8.2f %6.1fM %7d  %s  %s"):format(about.pid,
    inspect.duration(about.uptime), about.cpu, about.resident / 2 ^ 20, about.threads, what,
    connections(about))))
end

local function print_tree(list)
  local known, children = {}, {}
  for _, about in ipairs(list) do
    known[about.pid] = true
  end
  for _, about in ipairs(list) do
    local parent = known[about.ppid] and about.ppid or 0
    children[parent] = children[parent] or {}
    table.insert(children[parent], about)
  end
  local function print_below(pid, depth)
    for _, about in ipairs(children[pid] or {}) do
      print_one(about, depth)
      print_below(about.pid, depth + 1)
    end
  end
  print("    PID       UP  CPU (s)     RSS THREADS  COMMAND  SERVERS (CONNECTIONS)")
  print_below(0, 0)
end

local function all(given)
  local list = ask_all(common.processes(), given["--timeout"] or 5)
  if given["--json"] then
    print(json.encode(json.list(list)))
  else
    print_tree(list)
  end
end

-- ---- One ----

--- Runs the command with the words from config.first on.
function M.run(config)
  local given, operands = common.parse("ps", config, HELP,
    { ["--json"] = true, ["--timeout"] = "number" })
  if #operands > 1 then
    common.fail("ps", "one process at a time", 2)
  elseif not operands[1] then
    return all(given)
  end
  local pid = common.number("ps", operands[1], "process id")
  common.call("ps", pid, "ps", { format = given["--json"] and "json" or "text" },
    given["--timeout"], function(text)
      io.stdout:write(common.plain(text))
    end)
end

return M
