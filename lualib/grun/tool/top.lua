-- SPDX-License-Identifier: MIT
-- `grun top`: what the threads of a process do, anew every few seconds.

local core = require("grun.core")
local grun = require("grun")
local control = require("grun.control")
local inspect = require("grun.inspect")
local json = require("grun.json")
local terminal = require("grun.core.terminal")
local common = require("grun.tool.common")

local HELP = [[
usage: grun top [options] [pid]

Shows the busiest threads of a process, or the processes that run under grun, and refreshes that
until q. CPU is the share of one processor since the last look. Without a terminal: once, with the
figures since the start of each thread.
  -d S, --delay S      seconds between two looks (2)
      --sort KEY       cpu (default), switches, memory, age or id
      --lines N        threads at most; default: as many as fit, 30 without a terminal
      --json           one look, as JSON
Keys: c s m a i order by CPU, switches, memory, age, id; space looks at once; q ends.
]]

local ORDERS = { c = "cpu", s = "switches", m = "memory", a = "age", i = "id" }
local TOO_MANY = 1000 -- threads that a process sends at once, at most

local M = {}

-- ---- What is shown ----

-- The part of one processor since the last look; `seen`: id -> { cpu, switches, time }.
local function rates(rows, seen, now)
  local fresh = {}
  for _, row in ipairs(rows) do
    local before = seen[row.id]
    local passed = before and now - before.time or row.age
    local cpu = row.cpu - (before and before.cpu or 0)
    local switches = row.switches - (before and before.switches or 0)
    row.share = passed > 0 and math.min(cpu / passed * 100, 100) or 0
    row.rate = passed > 0 and switches % 2 ^ 32 / passed or 0
    fresh[row.id] = { cpu = row.cpu, switches = row.switches, time = now }
  end
  return fresh
end

local function thread_line(row)
  local doing = row.state
  if row.what then
    doing = row.object and row.what .. " " .. row.object or row.what
  end
  return ("%7d %-7s %6.1f %8.2f %9.0f %7d  %s%s%s"):format(row.id, row.state, row.share, row.cpu,
    row.rate, (row.memory or 0) / 1024, row.name and "\"" .. row.name .. "\" " or "", doing,
    row.at and " at " .. row.at or "")
end

local function states_text(states)
  local list = {}
  for _, name in ipairs({ "running", "ready", "waiting", "new" }) do
    list[#list + 1] = states[name] and ("%d %s"):format(states[name], name)
  end
  return table.concat(list, ", ")
end

-- Lines for one process; the first three are its head.
local function of_process(pid, look)
  local answer, message, code = control.call(pid, "top",
    { sort = look.sort, limit = math.min(look.limit, TOO_MANY) })
  if not answer then
    return nil, message, code
  end
  local p, now = answer.process, core.now()
  local used = look.cpu and math.max(0, p.cpu - look.cpu) / (now - look.at) or p.cpu / p.uptime
  look.seen = rates(answer.threads, look.seen, now)
  look.cpu, look.at = p.cpu, now
  if look.sort == "cpu" then
    table.sort(answer.threads, function(a, b)
      if a.share ~= b.share then
        return a.share > b.share
      end
      return a.id < b.id
    end)
  end
  local lines = {
    ("grun top: process %d %s  up %s  cpu %.1f %%  %.1f MiB  %d fds"):format(pid, p.script or "",
      inspect.duration(p.uptime), used * 100, p.resident / 2 ^ 20, p.fds),
    ("%d threads: %s"):format(p.threads, states_text(answer.states)),
    "     ID STATE    CPU %  CPU (s)  SWITCH/S   KiB  THREAD",
  }
  for _, row in ipairs(answer.threads) do
    lines[#lines + 1] = thread_line(row)
  end
  return lines, answer
end

local function of_all(look)
  local list, lines = {}, {}
  for _, pid in ipairs(common.processes()) do
    local p = control.call(pid, "process", {}, 1)
    if p then
      p.share = p.cpu - (look.seen[pid] or 0)
      look.seen[pid] = p.cpu
      list[#list + 1] = p
    end
  end
  table.sort(list, function(a, b)
    return a.share > b.share
  end)
  lines[1] = ("grun top: %d processes"):format(#list)
  lines[2] = ""
  lines[3] = "    PID       UP  CPU (s)      MiB THREADS    FDS  PROCESS"
  for _, p in ipairs(list) do
    lines[#lines + 1] = ("%7d %8s %8.2f %8.1f %7d %6d  %s"):format(p.pid,
      inspect.duration(p.uptime), p.cpu, p.resident / 2 ^ 20, p.threads, p.fds, p.script or "")
  end
  return lines, list
end

local function take_a_look(pid, look)
  if pid then
    return of_process(pid, look)
  end
  return of_all(look)
end

-- ---- On a terminal ----

local function draw(lines, rows, columns)
  local out = { "\27[H" }
  for i = 1, math.min(#lines, rows) do
    local text = common.plain(lines[i]):sub(1, columns)
    out[#out + 1] = (i == 3 and "\27[7m%s\27[0m" or "%s"):format(text) .. "\27[K" ..
      (i < rows and "\r\n" or "")
  end
  out[#out + 1] = "\27[J"
  io.stdout:write(table.concat(out))
  io.stdout:flush()
end

-- A thread that puts keys into a queue, and a handler that does so when the window's size changes.
local function watch_keys()
  local keys = grun.queue()
  local reader = grun.spawn(function()
    while true do
      local key = io.stdin:read(1)
      keys:put(key or "q")
      if not key then
        return
      end
    end
  end)
  local handle = grun.signal("WINCH", function()
    keys:put(" ")
  end)
  return keys, function()
    handle:stop()
    reader:cancel()
  end
end

local function interact(pid, look, delay, keys)
  while true do
    local rows, columns = terminal.size()
    look.limit = look.lines or math.max(rows - 3, 1)
    local lines, message, code = take_a_look(pid, look)
    if not lines and code ~= "timeout" then
      return message
    end
    draw(lines or { common.explain(pid, message, code) }, rows, columns)
    local key = keys:get(delay)
    if key == "q" or key == "\4" then
      return nil
    end
    look.sort = ORDERS[key] or look.sort
  end
end

local function on_terminal(pid, look, delay)
  assert(terminal.take())
  local keys, stop = watch_keys()
  local ok, problem = pcall(interact, pid, look, delay, keys)
  stop()
  terminal.give_back()
  if not ok then
    error(problem, 0)
  elseif problem then
    common.fail("top", problem)
  end
end

-- ---- The command ----

local function once(pid, look, as_json)
  local lines, answer, code = take_a_look(pid, look)
  if not lines then
    common.fail("top", common.explain(pid, answer, code))
  elseif as_json then
    print(json.encode(answer))
  else
    print(common.plain(table.concat(lines, "\n")))
  end
end

-- The short option in the words of a long one.
local function lengthen(config)
  for i = config.first, #config.words do
    local attached = config.words[i]:match("^%-d(.*)$")
    if attached then
      config.words[i] = attached == "" and "--delay" or "--delay=" .. attached
    end
  end
end

--- Runs the command with the words from config.first on.
function M.run(config)
  lengthen(config)
  local given, operands = common.parse("top", config, HELP, {
    ["--json"] = true, ["--delay"] = "number", ["--sort"] = "text", ["--lines"] = "number",
  })
  local pid = operands[1] and common.number("top", operands[1], "process id")
  local sort, delay, valid = given["--sort"] or "cpu", given["--delay"] or 2, false
  for _, order in pairs(ORDERS) do
    valid = valid or order == sort
  end
  if not valid then
    common.fail("top", "--sort: cpu, switches, memory, age or id expected", 2)
  elseif not (delay >= 0.1 and delay <= 86400) then
    common.fail("top", "--delay: 0.1 to 86400 seconds expected", 2)
  elseif given["--lines"] and not (given["--lines"] >= 1) then
    common.fail("top", "--lines: 1 or more expected", 2)
  end
  local look = { sort = sort, seen = {}, lines = given["--lines"], limit = given["--lines"] or 30 }
  if given["--json"] or not terminal.is_terminal() then
    return once(pid, look, given["--json"])
  end
  on_terminal(pid, look, delay)
end

return M
