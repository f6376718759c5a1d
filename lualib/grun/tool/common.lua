-- SPDX-License-Identifier: MIT
-- What the commands that look at other processes share: reading their words, finding processes, and
-- what to say of one that does not answer.

local native = require("grun.core.control")
local control = require("grun.control")

local M = {}

--- Ends with a message on stderr: status 1, or 2 for a command line that is wrong.
function M.fail(name, message, status)
  io.stderr:write("grun ", name, ": ", message, "\n")
  os.exit(status or 1)
end

--- Reads the words after the command's name. `options`: "--json" -> true, or "number" or "text" if
--- it takes a value. Returns what was given by name, and the other words; acts on --help.
function M.parse(name, config, help, options)
  local given, operands, words = {}, {}, config.words
  native.close()
  local i = config.first
  while words[i] do
    local word = words[i]
    local option, attached = word:match("^(%-%-[%w-]+)=(.*)$")
    option = option or word
    local kind = options[option]
    if option == "--help" then
      io.stdout:write(help)
      os.exit(0)
    elseif not word:find("^%-.") then
      operands[#operands + 1] = word
    elseif not kind or kind == true and attached then
      M.fail(name, ("unknown option '%s'; see grun %s --help"):format(word, name), 2)
    elseif kind == true then
      given[option] = true
    else
      i = attached and i or i + 1
      local value = attached or words[i]
      given[option] = kind == "number" and tonumber(value) or kind == "text" and value or nil
      if given[option] == nil then
        M.fail(name, ("%s: %s expected"):format(option, kind), 2)
      end
    end
    i = i + 1
  end
  return given, operands
end

--- The number in a word, which is a process or a thread.
function M.number(name, word, what)
  local n = word and tonumber(word:match("^#?(%d+)$"))
  if not n or n < 1 or n > 2 ^ 52 then
    M.fail(name, word and ("%s: %s expected"):format(word, what) or what .. " is missing", 2)
  end
  return n
end

local function read(path)
  local file = io.open(path)
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

--- What /proc says of a process: { ppid, state, command, cpu, wchan }; nil if there is none.
function M.from_outside(pid)
  local stat = read(("/proc/%d/stat"):format(pid))
  if not stat then
    return nil
  end
  local fields = {}
  for field in stat:match("^.*%)%s(.*)$"):gmatch("%S+") do
    fields[#fields + 1] = field
  end
  local command = read(("/proc/%d/cmdline"):format(pid)) or ""
  return {
    state = fields[1],
    ppid = tonumber(fields[2]),
    cpu = (tonumber(fields[12]) + tonumber(fields[13])) / 100,
    command = (command:gsub("%z$", ""):gsub("%z", " ")),
    wchan = read(("/proc/%d/wchan"):format(pid)),
  }
end

local states = {
  R = "running: a thread may be in a loop without a wait, or in one long computation",
  S = "sleeping outside of the loop: in a call that blocks the process",
  D = "in an uninterruptible wait, for a disk or a network file system",
  T = "stopped by a signal", t = "stopped by a debugger", Z = "dead, but not waited for",
}

--- Why a process does not answer, as far as can be said from outside.
function M.explain(pid, message, code)
  local about = M.from_outside(pid)
  if code ~= "timeout" or not about then
    return message
  end
  local wchan = about.wchan and about.wchan ~= "" and about.wchan ~= "0" and
    (", in the kernel's " .. about.wchan) or ""
  return ("process %d does not answer; it is %s%s (cpu %.2f s; %s)"):format(pid,
    states[about.state] or "in state " .. about.state, wchan, about.cpu, about.command)
end

--- As control.call, but ends with a message when it fails.
function M.call(name, pid, command, args, seconds, write)
  local answer, message, code = control.call(pid, command, args, seconds, write)
  if not answer then
    M.fail(name, M.explain(pid, message, code))
  end
  return answer
end

--- The ids of processes with a control socket, ours left out. Removes sockets of dead ones.
function M.processes()
  local list = {}
  for _, dir in ipairs(control.directories()) do
    control.owners(dir, "backdoor")
    for _, pid in ipairs(control.owners(dir, "sock")) do
      list[#list + 1] = pid ~= native.pid() and pid or nil
    end
  end
  table.sort(list)
  return list
end

--- Text for a terminal: what would move the cursor is shown as "?".
function M.plain(text)
  return (text:gsub("[%z\1-\8\11-\31\127]", "?"))
end

return M
