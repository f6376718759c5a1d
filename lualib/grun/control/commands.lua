-- SPDX-License-Identifier: MIT
-- The commands that every process answers on its control socket, unless it has one of that name of
-- its own.

local core = require("grun.core")
local native = require("grun.core.control")
local facts = require("grun.core.inspect")
local control = require("grun.control")
local inspect = require("grun.inspect")
local json = require("grun.json")
local service = require("grun.service")
local waiting = require("grun.waiting")

local PIECE = 2 ^ 15 -- bytes of text sent at once

local M = {} -- name -> fn, as for control.command()

-- ---- The process ----

local function servers()
  local list = json.list({})
  for i, server in ipairs(service.servers()) do
    local stats = server:stats()
    list[i] = {
      address = server:address(), accepted = stats.accepted, active = stats.active,
      errors = stats.errors,
    }
  end
  return list
end

local function process()
  local found = facts.process()
  local about = {
    pid = native.pid(),
    script = _G.arg and _G.arg[0],
    uptime = found.uptime,
    cpu = found.cpu_user + found.cpu_system,
    resident = found.resident,
    fds = found.fds,
    threads = found.threads.total - control.clients(),
    switches = found.switches,
    servers = servers(),
  }
  for name, value in pairs(control.facts) do
    if type(value) == "function" then
      value = value()
    end
    about[name] = value
  end
  return about
end

function M.ping()
  return { pid = native.pid() }
end

M.process = process

-- ---- Threads ----

-- Collects lines and returns them in pieces: next_line() -> line or nil.
local function pieces(next_line)
  local ended = false
  return function()
    local lines, size = {}, 0
    while size < PIECE and not ended do
      local line = next_line()
      if line then
        lines[#lines + 1] = line
        size = size + #line
      else
        ended = true
      end
    end
    return lines[1] and table.concat(lines) or nil
  end
end

-- Rows of all threads but this command's: row, depth, thread. Threads that end meanwhile are left
-- out. `row`: a table that is used for all of them, or nil.
local function rows(memory, reused)
  local each = inspect.each(core.current())
  return function()
    for t, depth in each do
      local row = inspect.row(t, memory, reused)
      if row then
        return row, depth, t
      end
    end
  end
end

local function bytes(n)
  if n >= 2 ^ 30 then
    return ("%.1fG"):format(n / 2 ^ 30)
  elseif n >= 2 ^ 20 then
    return ("%.1fM"):format(n / 2 ^ 20)
  end
  return ("%dK"):format(n / 2 ^ 10)
end

local function text_of(row, depth)
  local doing = row.state
  if row.what then
    doing = row.object and row.what .. " " .. row.object or row.what
  end
  return ("%7d %-7s %8s %8.2f %9d %6s  %s%s%s%s%s%s%s\n"):format(row.id, row.state,
    inspect.duration(row.age), row.cpu, row.switches, bytes(row.memory),
    ("  "):rep(math.min(depth, 20)),
    row.name and "\"" .. row.name .. "\" " or "",
    doing, row.left and (", %s left"):format(inspect.duration(row.left)) or "",
    row.cancelled and ", cancelled" or "",
    row.at and " at " .. row.at or "",
    row.spawned_at and " from " .. row.spawned_at or "")
end

local COLUMNS = "     ID STATE        AGE  CPU (s)  SWITCHES    MEM  THREAD\n"

-- JSON of one row; by hand, since there may be very many. Most have some of their texts in common,
-- which are quoted once: `known` is a table that is used for all of them.
local function quoted(known, name, value)
  if not value then
    return ""
  end
  local texts = known[name]
  if not texts then
    texts = {}
    known[name] = texts
  end
  local text = texts[value]
  if not text then
    text = (",\"%s\":%s"):format(name, json.quote(value))
    texts[value] = text
  end
  return text
end

local ROW = [["id":%d,"parent":%d,"state":"%s","age":%.3f,"cpu":%.4f,"switches":%d]] ..
  ("%s"):rep(10)

local function members(row, known)
  return ROW:format(row.id, row.parent, row.state, row.age, row.cpu, row.switches,
      quoted(known, "what", row.what), quoted(known, "object", row.object),
      quoted(known, "name", row.name), quoted(known, "at", row.at),
      quoted(known, "spawned_at", row.spawned_at),
      row.left and (",\"left\":%.3f"):format(row.left) or "",
      row.stack and (",\"stack\":%d"):format(row.stack) or "",
      row.memory and (",\"memory\":%d"):format(row.memory) or "",
      row.daemon and ",\"daemon\":true" or "", row.cancelled and ",\"cancelled\":true" or "")
end

-- The lines {"process":…,"threads":[ … ]}; line_of(row, known, thread) is what is in the braces.
local function json_lines(next_row, line_of)
  local state, first, known = "begin", true, {}
  return function()
    if state == "begin" then
      state = "rows"
      return ("{\"process\":%s,\"threads\":[\n"):format(json.encode(process()))
    elseif state == "rows" then
      local row, _, t = next_row()
      if row then
        local comma = first and "" or ",\n"
        first = false
        return ("%s{%s}"):format(comma, line_of(row, known, t))
      end
      state = "end"
      return "\n]}\n"
    end
  end
end

local function header()
  local p = process()
  local lines = { ("process %d%s%s: up %s, cpu %.2f s, %s resident, %d fds, %d threads\n"):format(
    p.pid, p.script and " " .. p.script or "", p.role and " (" .. p.role .. ")" or "",
    inspect.duration(p.uptime), p.cpu, bytes(p.resident), p.fds, p.threads) }
  for _, server in ipairs(p.servers) do
    lines[#lines + 1] = ("server %s: %d active, %d accepted, %d errors\n"):format(server.address,
      server.active, server.accepted, server.errors)
  end
  return table.concat(lines)
end

function M.ps(args)
  local next_row = rows(waiting.memory(), {})
  if args.format == "json" then
    return pieces(json_lines(next_row, members))
  end
  local begun = false
  return pieces(function()
    if not begun then
      begun = true
      return header() .. COLUMNS
    end
    local row, depth = next_row()
    return row and text_of(row, depth)
  end)
end

-- ---- Tracebacks ----

local function find(id)
  for _, t in ipairs(core.list()) do
    if t[2] == id then
      return t
    end
  end
end

local function only(wanted, memory)
  local done = false
  return function()
    if not done then
      done = true
      return inspect.row(wanted, memory), 0, wanted
    end
  end
end

local function with_frames(row, known, t)
  local in_lua, in_c = inspect.traceback(t)
  return ("%s,\"lua\":%s,\"c\":%s"):format(members(row, known), json.encode(json.list(in_lua)),
    json.encode(json.list(in_c)))
end

function M.trace(args)
  local memory = waiting.memory()
  local next_row
  if args.thread then
    local t = find(args.thread)
    if not t then
      return nil, ("there is no thread #%s"):format(tostring(args.thread))
    end
    next_row = only(t, memory)
  else
    next_row = rows(memory, {})
  end
  if args.format == "json" then
    return pieces(json_lines(next_row, with_frames))
  end
  return pieces(function()
    local row, depth, t = next_row()
    if row then
      local lines = {}
      inspect.add_lines(lines, t, depth, memory, true)
      return table.concat(lines, "\n") .. "\n"
    end
  end)
end

-- ---- The busiest threads ----

local orders = {
  cpu = function(a, b) return a.cpu > b.cpu end,
  switches = function(a, b) return a.switches > b.switches end,
  age = function(a, b) return a.age > b.age end,
  memory = function(a, b) return a.memory > b.memory end,
  id = function(a, b) return a.id < b.id end,
}

-- Puts a row into a sorted list of at most `limit`. Returns whether it is among those.
local function insert(list, row, before, limit)
  local n = #list
  if n >= limit and not before(row, list[n]) then
    return false
  end
  local i = n
  while i > 0 and before(row, list[i]) do
    list[i + 1] = list[i]
    i = i - 1
  end
  list[i + 1] = row
  list[limit + 1] = nil
  return true
end

function M.top(args)
  local before, limit = orders[args.sort or "cpu"], args.limit or 50
  if not before or type(limit) ~= "number" or limit < 1 or limit > 1000 then
    return nil, "bad order or limit"
  end
  local list, counts, threads, row = json.list({}), {}, {}, nil
  for t in inspect.each(core.current()) do
    row = inspect.facts(t, row)
    if row then
      counts[row.state] = (counts[row.state] or 0) + 1
      if insert(list, row, before, limit) then
        threads[row.id], row = t, nil
      end
    end
  end
  local memory = waiting.memory()
  for _, shown in ipairs(list) do
    inspect.look(threads[shown.id], shown, memory)
  end
  return { process = process(), states = counts, threads = list }
end

-- ---- Doing something to it ----

function M.kill(args)
  local t = find(args.thread)
  if not t then
    return nil, ("there is no thread #%s"):format(tostring(args.thread))
  end
  t:cancel("grun kill")
  return { thread = inspect.title(t) }
end

function M.stop()
  require("grun.stop").ask("grun stop")
  return { pid = native.pid() }
end

function M.reopen()
  require("grun.worker").reopen()
  return { pid = native.pid() }
end

local function only_master()
  return nil, "this process is no master of workers"
end

M.scale, M.upgrade = only_master, only_master

-- Is a signal handled? The default action of SIGHUP would end the process.
local function catches_hup()
  local file = io.open("/proc/self/status")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  local last = text:match("\nSigCgt:%s+%x*(%x)")
  return last ~= nil and tonumber(last, 16) % 2 == 1
end

function M.reload()
  if not catches_hup() then
    return nil, "nothing in this process handles a reload (SIGHUP)"
  end
  native.kill(native.pid(), "HUP")
  return { pid = native.pid() }
end

return M
