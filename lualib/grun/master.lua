-- SPDX-License-Identifier: MIT
-- The master of worker processes: starts them, starts others when they end, stops and replaces them
-- in order.
--
-- A worker is this program executed anew with the same command line (so it is always clean, and a
-- reload takes new code); it finds its master on the descriptors 3 and 5 (see worker.lua) and the
-- board, memory that both see, on 4. All that happens (signals, words and ends of workers, times) is a function in one queue,
-- which the main thread calls one by one; between them the master sleeps.

local core = require("grun.core")
local inherit = require("grun.inherit")
local native = require("grun.core.worker")
local net = require("grun.socket")
local pidfile = require("grun.pidfile")
local process = require("grun.process")
local settings = require("grun.settings")
local systemd = require("grun.systemd")
local upgrade = require("grun.upgrade")

local SHORT = 1 -- seconds: who ends sooner after its start is started again only after a delay
local DELAY_MIN, DELAY_MAX = 0.1, 5 -- seconds, doubling
local QUICK = 1 -- seconds for a quick stop
local KILL_AFTER = 0.95 -- seconds after the grace period
local GONE = 0.5 -- seconds in which a dead worker's last words arrive
local INTERRUPTED = 130 -- exit status
local ENTRIES = 1024 -- of the board

local M = {}

local config, plan -- from run()
local board -- descriptor
local events -- functions to call
local slots = {} -- number -> { id =, worker = who serves, next = who will, delay =, timer = }
local workers = {} -- set of those whose process runs
local generation = 1
local reloading = false -- a new generation is on its way
local reload_again = false
local was_ready = false -- every worker of the first generation has served
local stopping -- nil, "graceful", "quick" or "kill"
local successor -- the process of the master that is to take our place
local handed_over = false -- it serves
local status = 0

-- ---- What is said ----

-- A pipe that nobody reads must not stop the master.
local lines

local function write_lines()
  for line in lines:items() do
    io.stderr:write(line)
  end
end

local function log(format, ...)
  lines:try_put(("grun: " .. format .. "\n"):format(...))
end

local function info(...)
  if not config.quiet then
    log(...)
  end
end

local function fail(format, ...)
  io.stderr:write("grun: ", format:format(...), "\n")
  os.exit(1)
end

local function spawn_daemon(name, fn, ...)
  local t = core.spawn(fn, ...)
  t.name = name
  core.daemon(t[1])
  return t
end

-- ---- Times ----

-- Returns what cancel() takes.
local function after(seconds, fn)
  local timer = {}
  local t = core.spawn_later(seconds, function()
    timer.thread = nil
    events:put(fn)
  end)
  core.daemon(t[1])
  timer.thread = t
  return timer
end

local function cancel(timer)
  if timer and timer.thread then
    timer.thread:cancel("not needed")
    timer.thread = nil
  end
end

-- ---- Workers ----

---@class grun.master.worker
---@field id integer
---@field generation integer
---@field entry integer of the board
---@field process grun.process
---@field conn grun.conn words
---@field sockets grun.conn descriptors of sockets
---@field started number
---@field ready boolean
---@field asked boolean it was told to stop
---@field listened boolean
local Worker = {}
Worker.__index = Worker

function Worker:name()
  return ("worker %d (pid %d)"):format(self.id, self.process.pid)
end

function Worker:say(line)
  self.conn:write(line, "\n")
end

-- Tells it to stop; kills it if it has not done so in time.
function Worker:stop(how, seconds)
  self.asked = true
  core.spawn(self.say, self, how)
  cancel(self.deadline)
  self.deadline = after(seconds, function()
    if workers[self] then
      log("%s did not stop within %g s and is killed", self:name(), seconds)
      self:kill()
    end
  end)
end

function Worker:kill()
  self.killed = true
  self.process:kill("KILL")
end

function Worker:retire()
  if not self.asked then
    self:stop("retire", plan.grace + KILL_AFTER)
  end
end

local function free_entry()
  local used = {}
  for w in pairs(workers) do
    used[w.entry] = true
  end
  for i = 0, ENTRIES - 1 do
    if not used[i] then
      native.clear(i)
      return i
    end
  end
end

local function environment(id, entry)
  local env = process.process.environ()
  env.GRUN_WORKER = ("%d %d %d %d"):format(id, #slots, generation, entry)
  return env
end

local function command()
  local words = {}
  for i = 0, #config.words do
    words[i + 1] = config.words[i]
  end
  return words
end

local function unescape(text)
  return (text:gsub("\\(.)", { n = "\n", t = "\t", ["\\"] = "\\" }))
end

local readers = {
  s = function(text) return text end,
  n = tonumber,
  b = function(text) return text == "true" end,
}

-- Answers a request for a socket; the reverse of worker.lua's encode().
local function give_socket(worker, line)
  local conn = worker.sockets
  local fields = {}
  for field in line:gmatch("[^\t]+") do
    fields[#fields + 1] = unescape(field)
  end
  local opts = {}
  for i = 5, #fields do
    local name, letter, value = fields[i]:match("^([^=]*)=(.)(.*)$")
    opts[name] = readers[letter] and readers[letter](value)
  end
  if stopping then
    return conn:write("ECANCELED the master is stopping\n")
  end
  worker.listened = true
  local fd, message, code = inherit.open(fields[2], fields[4], fields[3], opts, worker.generation)
  if fd then
    conn:send_fd(fd)
  else
    conn:write(code or "unknown", " ", (message:gsub("\n.*", "")), "\n")
  end
end

local on_word, on_end

local function each_line(conn, fn, worker)
  local line = conn:read("l")
  while line do
    fn(worker, line)
    line = conn:read("l")
  end
end

local function take_word(worker, line)
  events:put(function()
    on_word(worker, line)
  end)
end

local function attend(worker)
  local listening = spawn_daemon("words of " .. worker:name(), each_line, worker.conn, take_word,
    worker)
  spawn_daemon("sockets for " .. worker:name(), each_line, worker.sockets, give_socket,
    worker)
  local code, what, signal = worker.process:wait()
  if not listening:join(GONE) then
    listening:cancel("the worker has ended")
  end
  worker.conn:close()
  worker.sockets:close()
  events:put(function()
    on_end(worker, code, what == "signal" and signal)
  end)
end

-- Starts a worker for the slot. Returns it, or nil and why it cannot be.
local function start(slot)
  local entry = free_entry()
  local ours, theirs = net.pair()
  local to_send, to_receive = net.pair()
  local words = command()
  words.program = "/proc/self/exe"
  words.env = environment(slot.id, entry)
  words.fds = { theirs:fd(), board, to_receive:fd() }
  local p, message = process.spawn(words)
  theirs:close()
  to_receive:close()
  if not p then
    ours:close()
    to_send:close()
    return nil, message
  end
  local worker = setmetatable({
    id = slot.id, generation = generation, entry = entry, process = p, conn = ours,
    sockets = to_send,
    started = core.now(), ready = false, asked = false, listened = false,
  }, Worker)
  workers[worker] = true
  spawn_daemon(worker:name(), attend, worker)
  return worker
end

local fill

-- Tries again after a while that grows.
local function fill_later(slot)
  slot.delay = slot.delay and math.min(slot.delay * 2, DELAY_MAX) or DELAY_MIN
  local timer
  timer = after(slot.delay, function()
    if slot.timer == timer then
      slot.timer = nil
      fill(slot)
    end
  end)
  slot.timer = timer
end

-- Sees to it that somebody serves.
function fill(slot)
  if stopping or slot.worker or slot.timer or slots[slot.id] ~= slot then
    return
  end
  if slot.next then
    if not reloading then
      slot.worker, slot.next = slot.next, nil
    end
    return
  end
  local message
  slot.worker, message = start(slot)
  if not slot.worker then
    log("cannot start worker %d: %s", slot.id, message)
    fill_later(slot)
  end
end

-- ---- The end of the master ----

local function tell_status()
  local n = 0
  for _, slot in ipairs(slots) do
    n = n + (slot.worker and slot.worker.ready and 1 or 0)
  end
  systemd.notify(("STATUS=%d of %d workers serve"):format(n, #slots))
end

local function kill_all()
  stopping = "kill"
  for worker in pairs(workers) do
    worker:kill()
  end
end

-- While two masters run, the old one's file has another name.
local function old_pidfile()
  return plan.pid .. ".oldbin"
end

local function forget_pidfile()
  if plan.pid then
    os.remove(old_pidfile())
  end
end

local function end_if_alone()
  if next(workers) == nil and stopping then
    if handed_over then
      forget_pidfile()
    else
      inherit.refuse_and_close()
      if plan.pid then
        pidfile.remove(plan.pid)
      end
    end
    events:close()
  end
end

-- Stops all workers; asked again, sooner.
local function stop(how, reason)
  if successor and not handed_over then
    successor:kill("TERM")
  end
  if how == "graceful" and not stopping then
    info("%s: stopping", reason)
    systemd.notify("STOPPING=1")
    inherit.refuse_and_close()
    stopping = how
    for worker in pairs(workers) do
      worker:stop("drain", plan.grace + KILL_AFTER)
    end
  elseif how == "quick" and stopping ~= "quick" and stopping ~= "kill"
      or stopping == "graceful" then
    systemd.notify("STOPPING=1")
    inherit.refuse_and_close()
    stopping = "quick"
    for worker in pairs(workers) do
      worker:stop("quick", QUICK + KILL_AFTER)
    end
  else
    kill_all()
  end
  end_if_alone()
end

-- ---- Upgrading: a new master first, then this one goes ----

-- It has said that it serves, or has ended.
local function on_successor(serves, code, signal)
  if serves then
    info("process %d has taken over", successor.pid)
    systemd.notify("MAINPID=" .. successor.pid)
    handed_over = true
    stopping = stopping or "graceful"
    for worker in pairs(workers) do
      worker:retire()
    end
    return end_if_alone()
  elseif handed_over then
    return
  end
  log("the upgrade has failed (%s); this process goes on", code or signal or "unknown")
  successor = nil
  if plan.pid then
    os.rename(old_pidfile(), plan.pid)
  end
end

local function await_successor(p, conn)
  local serves = conn:read("l") == "ready"
  conn:close()
  if serves then
    events:put(function()
      on_successor(true)
    end)
  end
  local code, _, signal = p:wait()
  events:put(function()
    on_successor(false, code, signal)
  end)
end

local function start_successor()
  if successor or stopping or not was_ready then
    return
  end
  info("upgrading")
  if plan.pid then
    os.rename(plan.pid, old_pidfile())
  end
  local p, conn = upgrade.start(command())
  successor = p
  if not p then
    on_successor(false, conn)
  else
    spawn_daemon("successor", await_successor, p, conn)
  end
end

-- ---- Reloading: a new generation first, then the old one goes ----

local function all_slots(test)
  for _, slot in ipairs(slots) do
    if not test(slot) then
      return false
    end
  end
  return true
end

local function end_reload()
  reloading = false
  systemd.notify("READY=1")
  tell_status()
  if reload_again then
    reload_again = false
    M.commands.reload()
  end
end

local function commit()
  for _, slot in ipairs(slots) do
    local old = slot.worker
    slot.worker, slot.next, slot.delay = slot.next, nil, nil
    if old then
      old:retire()
    end
  end
  info("generation %d serves", generation)
  end_reload()
end

local function abort_reload(worker, why)
  log("%s %s; the reload is given up, the workers so far go on", worker:name(), why)
  for _, slot in ipairs(slots) do
    local new = slot.next
    slot.next = nil
    if new and new ~= worker then
      new:stop("quick", QUICK)
    end
    fill(slot)
  end
  end_reload()
end

local function start_next(slot)
  local message
  slot.next, message = start(slot)
  if not slot.next then
    log("cannot start worker %d: %s", slot.id, message)
  end
  return slot.next
end

local function reload()
  if stopping then
    return
  elseif reloading or not was_ready then
    reload_again = was_ready
    return
  end
  info("reloading")
  systemd.notify("RELOADING=1", systemd.monotonic())
  generation = generation + 1
  reloading = true
  for _, slot in ipairs(slots) do
    if slot.next then
      slot.next:retire()
    end
    slot.timer = nil
    if not start_next(slot) then
      return abort_reload({ name = function() return "a worker" end }, "could not be started")
    end
  end
end

-- ---- What workers say ----

local function count_changed()
  for worker in pairs(workers) do
    core.spawn(worker.say, worker, "count " .. #slots)
  end
  tell_status()
end

local function on_all_ready()
  was_ready = true
  systemd.notify("READY=1", "MAINPID=" .. native.pid())
  info("%d %s", #slots, #slots == 1 and "worker serves" or "workers serve")
  inherit.forget_given()
  upgrade.done()
  for _, fn in ipairs(M.when_ready) do
    fn()
  end
end

local words = {}

function words.ready(worker, slot)
  worker.ready = true
  if slot.next == worker and not reloading then
    local old = slot.worker
    slot.worker, slot.next = worker, nil
    if old then
      old:retire()
    end
  elseif reloading and all_slots(function(s) return s.next and s.next.ready end) then
    commit()
  end
  if not was_ready and all_slots(function(s) return s.worker and s.worker.ready end) then
    on_all_ready()
  end
  tell_status()
end

-- Its successor first.
function words.retire(worker, slot)
  if slot.worker == worker and not slot.next and not stopping then
    start_next(slot)
  end
end

-- By itself, or told by somebody else.
function words.stopping(worker, slot)
  if not worker.asked and slot.worker == worker then
    slot.worker = nil
    fill(slot)
  end
end

function words.changed(_, _, file)
  info("%s has changed", unescape(file))
  M.commands.reload()
end

function on_word(worker, line)
  local word, rest = line:match("^(%S+) ?(.*)$")
  local slot = slots[worker.id] or {}
  if words[word] and workers[worker] then
    words[word](worker, slot, rest)
  end
end

-- ---- The ends of workers ----

local function reason_of(worker, code, signal)
  local _, silent = native.entry(worker.entry)
  if code then
    return ("ended with status %d"):format(code)
  elseif plan.timeout > 0 and silent and silent >= plan.timeout
      and (signal == "SIGABRT" or signal == "SIGKILL") then
    return ("was stuck for %.1f s and ended by %s"):format(silent, signal)
  elseif signal == "SIGKILL" then
    return "was killed by SIGKILL, perhaps out of memory"
  end
  return ("was killed by %s"):format(signal or "somebody")
end

-- Everybody has ended by itself: scripts that serve nothing.
local function end_if_finished()
  if all_slots(function(slot) return slot.finished end) and next(workers) == nil then
    stopping = "graceful"
    end_if_alone()
  end
end

local function fail_at_start(worker, why)
  log("%s %s before it served: stopping", worker:name(), why)
  status = 1
  stop("quick", "a worker failed")
end

local function replace(worker, slot, why, clean)
  local short = core.now() - worker.started < SHORT
  if clean and not worker.listened then
    slot.finished = true
    end_if_finished()
    return
  end
  if short then
    fill_later(slot)
    log("%s %s; starting another in %g s", worker:name(), why, slot.delay)
  else
    slot.delay = nil
    log("%s %s; starting another", worker:name(), why)
    fill(slot)
  end
end

function on_end(worker, code, signal)
  workers[worker] = nil
  cancel(worker.deadline)
  local slot = slots[worker.id] or {}
  local why = reason_of(worker, code, signal)
  local clean = code == 0
  if stopping then
    if not clean and not worker.killed and worker.ready then
      log("%s %s", worker:name(), why)
    end
    return end_if_alone()
  elseif slot.worker == worker then
    slot.worker = nil
    if not was_ready and not clean and not worker.ready then
      return fail_at_start(worker, why)
    end
    replace(worker, slot, why, clean)
  elseif slot.next == worker then
    slot.next = nil
    if reloading then
      return abort_reload(worker, why)
    end
    log("%s %s before it served", worker:name(), why)
  elseif not clean and not worker.killed then
    log("%s %s", worker:name(), why)
  end
  if not reloading then
    inherit.forget_before(M.oldest())
  end
end

--- The generation of the oldest worker that runs.
function M.oldest()
  local oldest = generation
  for worker in pairs(workers) do
    oldest = math.min(oldest, worker.generation)
  end
  return oldest
end

-- ---- Orders ----

local function add_slot()
  local slot = { id = #slots + 1 }
  slots[slot.id] = slot
  return slot
end

local function scale(n)
  n = math.max(1, math.min(n, 256))
  if stopping or reloading then
    return nil, "busy"
  end
  while #slots < n do
    fill(add_slot())
  end
  while #slots > n do
    local slot = table.remove(slots)
    for _, worker in ipairs({ slot.worker, slot.next }) do
      worker:retire()
    end
  end
  info("%d %s", n, n == 1 and "worker" or "workers")
  count_changed()
  return true
end

local function reopen()
  for worker in pairs(workers) do
    core.spawn(worker.say, worker, "reopen")
  end
  require("grun.worker").reopen()
end

--- What can be asked of a master, by signals and by who controls it. Each returns at once.
M.commands = {
  reload = function()
    events:put(reload)
  end,
  stop = function(how)
    events:put(function()
      stop(how or "graceful", "told to")
    end)
  end,
  scale = function(n)
    events:put(function()
      scale(n)
    end)
  end,
  reopen = function()
    events:put(reopen)
  end,
  upgrade = function()
    events:put(start_successor)
  end,
  --- A list of { id =, pid =, generation =, ready =, uptime =, connections =, retiring = }.
  workers = function()
    local list = {}
    for worker in pairs(workers) do
      list[#list + 1] = {
        id = worker.id, pid = worker.process.pid, generation = worker.generation,
        ready = worker.ready, uptime = core.now() - worker.started,
        connections = native.entry(worker.entry), retiring = worker.asked,
      }
    end
    table.sort(list, function(a, b)
      return a.id < b.id or a.id == b.id and a.generation < b.generation
    end)
    return list
  end,
}

--- Functions that are called once all workers serve.
M.when_ready = {}

local function on_signals()
  local signal = require("grun.signal").signal
  local function on(name, fn)
    signal(name, function()
      events:put(fn)
    end)
  end
  on("TERM", function() stop("graceful", "SIGTERM") end)
  on("INT", function()
    status = INTERRUPTED
    stop("quick", "SIGINT")
  end)
  on("HUP", reload)
  on("USR1", reopen)
  on("USR2", start_successor)
  on("TTIN", function() scale(#slots + 1) end)
  on("TTOU", function() scale(#slots - 1) end)
end

-- ---- Running ----

local function take_sockets()
  local ok, message = inherit.take(systemd.descriptors())
  if not ok then
    fail("a socket of the service manager: %s", message)
  end
  for _, address in ipairs(plan.bind) do
    local kind = address:find("^udp:") or address:find("^unixgram:")
    local fd
    fd, message = inherit.open(kind and "datagram" or "stream", address, 1, {}, 1)
    if not fd then
      fail("--bind-before-fork %s: %s", address, message)
    end
  end
end

local function call(fn)
  local ok, err = xpcall(fn, debug.traceback)
  if not ok then
    log("the master failed: %s", tostring(err))
  end
end

--- Prints what would be run.
function M.check(what)
  local files = table.concat(what.files, " ")
  print(("%s: %d %s, grace %g s, worker timeout %g s"):format(files, what.workers,
    what.workers == 1 and "worker" or "workers", what.grace, what.timeout))
  for _, name in ipairs({ "bind", "max_requests", "pid", "user", "group", "reload", "preload" }) do
    local value = what[name]
    if value and value ~= 0 and (type(value) ~= "table" or value[1]) then
      value = type(value) == "table" and table.concat(value, " ") or tostring(value)
      print(("  %s: %s"):format(name:gsub("_", "-"), value))
    end
  end
end

--- Runs the master: `about` is the command line's config, `what` the plan from settings.plan(),
--- `given` the options that it was made of. Returns when all workers have ended.
function M.run(about, what, given)
  config, plan = about, what
  upgrade.remember()
  settings.prepare(given, fail)
  local message
  if plan.pid then
    local ok
    ok, message = pidfile.write(plan.pid)
    if not ok then
      fail("--pid: %s", message)
    end
  end
  local queue = require("grun.queue").queue
  events, lines = queue(), queue(1000)
  local writer = spawn_daemon("log", write_lines)
  on_signals()
  systemd.start()
  upgrade.take_over()
  take_sockets()
  board, message = native.create_board()
  if not board then
    fail("cannot make the board: %s", message)
  end
  core.current().name = "master"
  for _ = 1, plan.workers do
    add_slot()
  end
  for _, slot in ipairs(slots) do
    fill(slot)
  end
  for fn in events:items() do
    call(fn)
  end
  lines:close()
  writer:join(1)
  core.set_status(status)
  if handed_over then
    -- Without closing the sockets one by one, which removes the paths of unix ones.
    os.exit(status)
  end
end

return M
