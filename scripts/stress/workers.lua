-- SPDX-License-Identifier: MIT
-- Storms against `grun serve -w`: a client that checks every answer, while workers are killed,
-- reloaded, stopped or the program is upgraded.
--
--   ./grun scripts/stress/workers.lua [--preload] [kill|hup|term|upgrade|signals] [rounds]
--
-- Default: all, 200. --preload: the workers are forked from a process that has loaded the program.
-- Prints key=value; status 1 when a request was lost that must not be.
-- lost: fully sent and not answered. dead: the same, but of a worker that was killed (allowed).
-- refused: connections that were refused.

local GRUN = os.getenv("GRUN") or arg[-1]
local VERBOSE = os.getenv("VERBOSE")
local KEEP_ALIVE, SHORT = 16, 4 -- clients that keep their connection, and that make one each time

local preload = arg[1] == "--preload"
if preload then
  table.remove(arg, 1)
end

local app = os.tmpname() .. ".lua"
local loaders = app .. ".pids" -- of the processes that have loaded it
local file = assert(io.open(app, "w"))
file:write(([[
local pid = require("grun.core.worker").pid
local file = assert(io.open(%q, "a"))
file:write(pid(), "\n")
file:close()
return function() return tostring(pid()) end
]]):format(loaders))
file:close()

local function clean_up()
  os.remove(app)
  os.remove(loaders)
end

local function fail(...)
  io.stderr:write(string.format(...), "\n")
  clean_up()
  os.exit(1)
end

-- ---- The master ----

local function free_port()
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local port = listener:address():match("%d+$")
  listener:close()
  return port
end

local function start(port)
  local master = assert(grun.process.spawn({
    GRUN, VERBOSE and "--log=info" or "-q", "serve", "-w", "2", "-b", "127.0.0.1:" .. port,
    "--graceful-timeout", "3", preload and "--preload" or app, preload and app or nil,
    stderr = not VERBOSE and "null" or nil,
  }))
  local limit = grun.now() + 10
  repeat
    local conn = grun.connect("tcp://127.0.0.1:" .. port)
    if conn then
      conn:close()
      return master
    end
    grun.sleep(0.01)
  until grun.now() > limit
  fail("the master does not serve")
end

-- What workers are forked from.
local function is_loader(pid)
  local found = preload and io.open(loaders)
  local text = found and found:read("*a") or ""
  if found then
    found:close()
  end
  return ("\n" .. text):find("\n" .. pid .. "\n", 1, true) ~= nil
end

-- Workers, and the next master.
local function children(pid)
  local list = {}
  local found = io.open(("/proc/%d/task/%d/children"):format(pid, pid))
  for child in (found and found:read("*a") or ""):gmatch("%d+") do
    list[#list + 1] = not is_loader(child) and tonumber(child) or nil
  end
  if found then
    found:close()
  end
  return list
end

local function is_zombie(pid)
  local stat = io.open(("/proc/%d/stat"):format(pid))
  local text = stat and stat:read("*a") or ") Z "
  if stat then
    stat:close()
  end
  return text:find(") Z ", 1, true) ~= nil
end

local function kill(signal, pid)
  os.execute(("kill -%s %d 2>/dev/null"):format(signal, pid))
end

-- ---- Clients ----

local figures, killed, running
local over = false -- refused connections are to be expected

local function reset()
  figures = { requests = 0, lost = 0, dead = 0, refused = 0 }
  killed, running, over = {}, true, false
end

local REQUEST = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
local LAST = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

-- Returns the body, and whether the connection goes on; or nil, message.
local function read_answer(conn)
  local status, message = conn:read("l")
  if not status then
    return nil, message
  end
  local length, closes = 0, false
  for line in conn:lines() do
    line = line:gsub("\r", ""):lower()
    if line == "" then
      break
    end
    length = tonumber(line:match("^content%-length: (%d+)")) or length
    closes = closes or line == "connection: close"
  end
  local body = conn:read(length)
  if not status:find("^HTTP/1.1 200") or not body or #body ~= length then
    return nil, "bad answer: " .. status
  end
  return body, not closes
end

-- Whose connection it was is known from its first answer on; before that, whoever was killed last.
local function count_lost(pid, message)
  local was_killed = pid and killed[pid] or not pid and next(killed) ~= nil
  local kind = was_killed and "dead" or "lost"
  figures[kind] = figures[kind] + 1
  if kind == "lost" then
    io.stderr:write("lost: worker ", tostring(pid), ": ", tostring(message), "\n")
  end
end

local function client(port, keep_alive)
  while running do
    local conn, message, code = grun.connect("tcp://127.0.0.1:" .. port)
    if not conn then
      if not over then
        figures.refused = figures.refused + 1
        io.stderr:write("refused: ", message, " ", code, "\n")
      end
      grun.sleep(0.05)
    else
      conn:settimeout(10)
      local pid, goes_on = nil, true
      while running and goes_on do
        if not conn:write(keep_alive and REQUEST or LAST) then
          break -- it was closed before: not fully sent
        end
        local body
        body, goes_on = read_answer(conn)
        if not body then
          count_lost(pid, goes_on)
          break
        end
        pid = tonumber(body)
        figures.requests = figures.requests + 1
        grun.sleep(0.001)
      end
      conn:close()
    end
  end
end

local function start_clients(port)
  local group = grun.group()
  for _ = 1, KEEP_ALIVE do
    group:spawn(client, port, true)
  end
  for _ = 1, SHORT do
    group:spawn(client, port, false)
  end
  return group
end

local function report(name, rounds, more)
  local line = ("storm=%s rounds=%d requests=%d lost=%d dead=%d refused=%d"):format(name, rounds,
    figures.requests, figures.lost, figures.dead, figures.refused)
  for key, value in pairs(more or {}) do
    line = line .. (" %s=%s"):format(key, value)
  end
  print(line)
  io.stdout:flush()
  if figures.lost > 0 or figures.refused > 0 then
    fail("FAILED")
  end
end

local function memory(pid)
  local text = io.open(("/proc/%d/status"):format(pid))
  local kib = text and tonumber(text:read("*a"):match("VmRSS:%s+(%d+)")) or 0
  if text then
    text:close()
  end
  return kib
end

-- Waits until the master has two workers, none of `old`. Returns the seconds it took.
local function await_workers(pid, old)
  local from = grun.now()
  repeat
    grun.sleep(0.002)
    local list, stale = children(pid), false
    for _, child in ipairs(list) do
      stale = stale or old[child]
    end
    if #list == 2 and not stale then
      return grun.now() - from
    end
  until grun.now() > from + 20
  fail("the workers do not come back")
end

local function set(list)
  local found = {}
  for _, item in ipairs(list) do
    found[item] = true
  end
  return found
end

-- Runs rounds of fn(master, i) under load.
local function under_load(rounds, fn)
  reset()
  local port = free_port()
  local master = start(port)
  local clients = start_clients(port)
  grun.sleep(0.2)
  for i = 1, rounds do
    fn(master, i)
  end
  running = false
  clients:join(15)
  return master
end

local function finish(master)
  master:kill("TERM")
  local code = master:wait(10)
  if code ~= 0 then
    fail("the master ended with %s", tostring(code))
  end
end

-- ---- Storms ----

local storms = {}

function storms.kill(rounds)
  local worst = 0
  local master = under_load(rounds, function(master)
    -- Longer than what counts as a short life, or the master slows down.
    grun.sleep(1.1)
    local list = children(master.pid)
    local victim = list[math.random(#list)]
    killed[victim] = true
    kill("KILL", victim)
    worst = math.max(worst, await_workers(master.pid, { [victim] = true }))
  end)
  finish(master)
  report("kill", rounds, { worst_ms = math.ceil(worst * 1000) })
end

function storms.hup(rounds)
  local first
  local master = under_load(rounds, function(master)
    local old = set(children(master.pid))
    first = first or memory(master.pid)
    kill("HUP", master.pid)
    await_workers(master.pid, old)
  end)
  local last = memory(master.pid)
  finish(master)
  report("hup", rounds, { master_rss_first = first, master_rss_last = last })
end

function storms.term(rounds)
  reset()
  local worst = 0
  for _ = 1, rounds do
    local port = free_port()
    local master = start(port)
    running, over = true, false
    local clients = start_clients(port)
    grun.sleep(0.15)
    over = true
    local from = grun.now()
    master:kill("TERM")
    local code = master:wait(10)
    worst = math.max(worst, grun.now() - from)
    if code ~= 0 then
      fail("the master ended with %s", tostring(code))
    end
    running = false
    clients:join(15)
  end
  report("term", rounds, { worst_s = ("%.2f"):format(worst) })
end

-- Upgrades in place; each time another process is the master.
function storms.upgrade(rounds)
  local master, pid
  reset()
  local port = free_port()
  master = start(port)
  pid = master.pid
  local clients = start_clients(port)
  grun.sleep(0.2)
  for _ = 1, rounds do
    local workers = set(children(pid))
    kill("USR2", pid)
    local limit, new = grun.now() + 20, nil
    -- The old one is soon gone.
    repeat
      grun.sleep(0.001)
      for _, child in ipairs(children(pid)) do
        new = new or not workers[child] and child or nil
      end
    until is_zombie(pid) or grun.now() > limit
    if not new or not is_zombie(pid) then
      fail("no other master takes over from %d", pid)
    end
    pid = new
  end
  running = false
  clients:join(15)
  kill("TERM", pid)
  local limit = grun.now() + 10
  repeat
    grun.sleep(0.01)
  until is_zombie(pid) or grun.now() > limit
  report("upgrade", rounds)
end

-- Signals of all kinds, many at once, without load; then all must be in order.
function storms.signals(rounds)
  reset()
  local port = free_port()
  local master = start(port)
  local names = { "HUP", "USR1", "TTIN", "TTOU", "CHLD", "WINCH", "CONT" }
  for i = 1, rounds do
    kill(names[i % #names + 1], master.pid)
    if i % 10 == 0 then
      local list = children(master.pid)
      if list[1] then
        kill("KILL", list[1])
      end
      grun.sleep(0.05)
    end
  end
  grun.sleep(3)
  local zombies = 0
  for _, pid in ipairs(children(master.pid)) do
    zombies = zombies + (is_zombie(pid) and 1 or 0)
  end
  local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
  conn:write(LAST)
  local body = read_answer(conn)
  conn:close()
  finish(master)
  report("signals", rounds, { zombies = zombies, serves = tostring(body ~= nil) })
  if zombies > 0 or not body then
    fail("FAILED")
  end
end

-- ---- Main ----

math.randomseed(os.time())
local which, rounds = arg[1], tonumber(arg[2] or arg[1]) or 200
for _, name in ipairs({ "kill", "hup", "term", "upgrade", "signals" }) do
  if storms[name] and (not storms[which] or which == name) then
    storms[name](rounds)
  end
end
clean_up()
