-- SPDX-License-Identifier: MIT
-- The master of worker processes: starts them, starts others when they end, stops and replaces them
-- in order.
--
-- A worker is this program executed anew with the same command line, so it is always clean, and a
-- reload takes new code. With --preload it is forked from such a process (zygote.lua). What is
-- known of each is in crew.lua. All that happens (signals, words and ends of workers, times) is a
-- function on the agenda, done one after the other.

local agenda = require("grun.agenda")
local core = require("grun.core")
local crew = require("grun.crew")
local inherit = require("grun.inherit")
local native = require("grun.core.worker")
local pidfile = require("grun.pidfile")
local settings = require("grun.settings")
local systemd = require("grun.systemd")
local upgrade = require("grun.upgrade")
local zygotes = require("grun.zygote")

local SHORT = 1 -- seconds: who ends sooner after its start is started again only after a delay
local DELAY_MIN, DELAY_MAX = 0.1, 5 -- seconds, doubling
local QUICK = 1 -- seconds for a quick stop
local DEADLOCK, INTERRUPTED = 2, 130 -- exit status

local M = {}

local config, plan -- from run()
local slots = {} -- number -> { id =, worker = who serves, next = who will, delay =, timer = }
local workers = crew.workers
local generation = 1
local reloading = false -- a new generation is on its way
local reload_again = false
local was_ready = false -- every worker of the first generation has served
local stopping -- nil, "graceful", "quick" or "kill"
local successor -- the process of the master that is to take our place
local handed_over = false -- it serves
local status = 0

local log, info, after = agenda.log, agenda.info, agenda.after
local spawn_daemon = require("grun.thread").spawn_daemon

local function fail(format, ...)
  io.stderr:write("grun: ", format:format(...), "\n")
  os.exit(1)
end

-- ---- Slots ----

local function can_start()
  return not plan.preload or zygotes.current ~= nil
end

-- Of the generation that serves, or of that of `zygote`.
local function start(slot, zygote)
  zygote = zygote or zygotes.current
  return crew.start(slot.id, #slots, zygote and zygote.generation or generation, zygote)
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
  if not can_start() then
    return -- fill_all() comes
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
  if next(workers) == nil and stopping and zygotes.none() then
    if handed_over then
      forget_pidfile()
    else
      inherit.refuse_and_close()
      if plan.pid then
        pidfile.remove(plan.pid)
      end
    end
    agenda.finish()
  end
end

local function abandon_upgrade()
  if plan.pid then
    os.rename(old_pidfile(), plan.pid)
  end
  successor:kill("TERM")
  successor = nil
end

local function stop_all(how, order, seconds)
  stopping = how
  zygotes.stop()
  if successor and not handed_over then
    abandon_upgrade()
  end
  -- What a successor has taken over is its business.
  if not handed_over then
    systemd.notify("STOPPING=1")
    crew.refuse = true
    inherit.refuse_and_close()
  end
  for worker in pairs(workers) do
    worker:stop(order, seconds)
  end
end

-- Stops all workers; asked again, sooner.
local function stop(how, reason)
  if how == "graceful" and not stopping then
    info("%s: stopping within %g s", reason, plan.grace)
    stop_all("graceful", "drain", plan.grace)
  elseif how == "quick" and not stopping or stopping == "graceful" then
    stop_all("quick", "quick", QUICK)
  else
    kill_all()
  end
  end_if_alone()
end

-- ---- Upgrading: a new master first, then this one goes ----

-- It has said that it serves, or has ended.
local function on_successor(p, serves, code, signal)
  if p ~= successor then
    return
  elseif serves then
    info("process %d has taken over", successor.pid)
    systemd.notify("MAINPID=" .. successor.pid)
    handed_over = true
    stopping = stopping or "graceful"
    zygotes.stop()
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
    agenda.put(function()
      on_successor(p, true)
    end)
  end
  local code, _, signal = p:wait()
  agenda.put(function()
    zygotes.others[p.pid] = nil
    on_successor(p, false, code, signal)
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
  local p, conn = upgrade.start(crew.command())
  successor = p
  if not p then
    on_successor(p, false, conn)
  else
    zygotes.others[p.pid] = true
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

local function reload_once_more()
  if reload_again then
    reload_again = false
    M.commands.reload()
  end
end

local function end_reload()
  reloading = false
  systemd.notify("READY=1")
  tell_status()
  reload_once_more()
end

local function commit()
  zygotes.commit()
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

local SOME_WORKER = { name = function() return "a worker" end }

local function abort_reload(worker, why)
  log("%s %s; the reload is given up, the workers so far go on", worker:name(), why)
  zygotes.abandon()
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

local function start_next(slot, zygote)
  local message
  slot.next, message = start(slot, zygote)
  if not slot.next then
    log("cannot start worker %d: %s", slot.id, message)
  end
  return slot.next
end

local function start_generation(zygote)
  for _, slot in ipairs(slots) do
    if slot.next then
      slot.next:retire()
    end
    slot.timer = nil
    if not start_next(slot, zygote) then
      return abort_reload(SOME_WORKER, "could not be started")
    end
  end
end

local function reload()
  if stopping then
    return
  elseif reloading or not was_ready then
    reload_again = true
    return
  end
  info("reloading")
  systemd.notify("RELOADING=1", systemd.monotonic())
  generation = generation + 1
  reloading = true
  if not plan.preload then
    return start_generation()
  end
  zygotes.load(generation, start_generation, function(why)
    abort_reload({ name = function() return "the process to fork workers from" end }, why)
  end)
end

-- ---- What workers say ----

local function count_changed()
  for worker in pairs(workers) do
    worker:say("count " .. #slots)
  end
  tell_status()
end

local function on_all_ready()
  was_ready = true
  systemd.notify("READY=1", "MAINPID=" .. native.pid())
  info("%d %s", #slots, #slots == 1 and "worker serves" or "workers serve")
  inherit.forget_given()
  upgrade.done()
  reload_once_more()
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
local function succeed(slot)
  if slot.outworn and slot.worker == slot.outworn and not slot.next and not stopping then
    start_next(slot)
  end
  slot.outworn = nil
end

function words.retire(worker, slot)
  slot.outworn = worker
  if can_start() then
    succeed(slot)
  end
end

-- By itself, or told by somebody else.
function words.stopping(worker, slot)
  if not worker.asked and slot.worker == worker then
    slot.worker = nil
    fill(slot)
  end
end

function words.deadlock(worker)
  worker.deadlocked = true
end

function words.changed(_, _, file)
  info("%s has changed", crew.unescape(file))
  M.commands.reload()
end

function crew.on_word(worker, line)
  local word, rest = line:match("^(%S+) ?(.*)$")
  local slot = slots[worker.id] or {}
  if words[word] and workers[worker] then
    words[word](worker, slot, rest)
  end
end

-- ---- The ends of workers ----

-- Everybody has ended by itself: scripts that serve nothing.
local function end_if_finished()
  if all_slots(function(slot) return slot.finished end) and next(workers) == nil then
    stopping = "graceful"
    end_if_alone()
  end
end

local function fail_at_start(worker, why)
  log("%s %s before it served: stopping", worker:name(), why)
  status = worker.deadlocked and DEADLOCK or 1
  stop("quick", "a worker failed")
end

local function replace(worker, slot, why, clean)
  local short = core.now() - worker.started < SHORT
  if clean and not worker.listened then
    slot.finished = true
    end_if_finished()
    return
  end
  if short or worker.deadlocked then
    fill_later(slot)
    log("%s %s; starting another in %g s", worker:name(), why, slot.delay)
  else
    slot.delay = nil
    log("%s %s; starting another", worker:name(), why)
    fill(slot)
  end
end

function crew.on_stillborn(worker, message)
  local slot = slots[worker.id] or {}
  if stopping then
    return end_if_alone()
  elseif slot.worker == worker then
    slot.worker = nil
    log("cannot start worker %d: %s", worker.id, message)
    fill_later(slot)
  elseif slot.next == worker then
    slot.next = nil
    log("cannot start worker %d: %s", worker.id, message)
    if reloading then
      abort_reload(SOME_WORKER, "could not be started")
    end
  end
end

function crew.on_end(worker, code, signal)
  local slot = slots[worker.id] or {}
  local why = worker:reason(code, signal)
  local clean = code == 0
  if stopping then
    if not clean and not worker.killed and worker.ready then
      log("%s %s", worker:name(), why)
    end
    return end_if_alone()
  elseif slot.worker == worker then
    slot.worker = nil
    if not was_ready and code and not clean and not worker.ready then
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
  local oldest = zygotes.current and zygotes.current.generation or generation
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

local function remove_slot()
  local slot = table.remove(slots)
  if slot.worker then
    slot.worker:retire()
  end
  if slot.next then
    slot.next:retire()
  end
end

local function scale(n)
  n = math.max(1, math.min(n, settings.MAX_WORKERS))
  if stopping then
    return
  elseif reloading then
    return log("a reload is on its way: the number of workers stays")
  end
  while #slots < n do
    fill(add_slot())
  end
  while #slots > n do
    remove_slot()
  end
  info("%d %s", n, n == 1 and "worker" or "workers")
  count_changed()
end

local function reopen()
  for worker in pairs(workers) do
    worker:say("reopen")
  end
  require("grun.worker").reopen()
end

--- What can be asked of a master, by signals and by who controls it. Each returns at once.
M.commands = {
  reload = function()
    agenda.put(reload)
  end,
  stop = function(how)
    agenda.put(function()
      stop(how or "graceful", "grun stop")
    end)
  end,
  scale = function(n)
    agenda.put(function()
      scale(tonumber(n) or #slots)
    end)
  end,
  reopen = function()
    agenda.put(reopen)
  end,
  upgrade = function()
    agenda.put(start_successor)
  end,
  --- A list of { id =, pid =, generation =, ready =, uptime =, connections =, retiring = }.
  workers = function()
    local list = {}
    for worker in pairs(workers) do
      list[#list + 1] = {
        id = worker.id, pid = worker.process and worker.process.pid, generation = worker.generation,
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

-- The same for `grun ps` and its like.
local function offer_commands()
  local control = require("grun.control")
  control.facts.role = "master"
  for _, name in ipairs({ "reload", "reopen", "upgrade", "stop" }) do
    control.command(name, function()
      M.commands[name]()
      return { pid = native.pid() }
    end)
  end
  control.command("scale", function(args)
    local n = args.workers
    if type(n) ~= "number" or not (n >= 1 and n <= settings.MAX_WORKERS) or n % 1 ~= 0 then
      return nil, ("1 to %d workers expected"):format(settings.MAX_WORKERS)
    end
    M.commands.scale(n)
    return { pid = native.pid(), workers = n }
  end)
  control.command("workers", function()
    return { workers = M.commands.workers() }
  end)
end

local function on_signals()
  local signal = require("grun.signal").signal
  local function on(name, fn)
    signal(name, function()
      agenda.put(fn)
    end)
  end
  on("TERM", function() stop("graceful", "SIGTERM") end)
  on("INT", function()
    status = INTERRUPTED
    if not stopping then
      info("SIGINT: stopping within %g s", QUICK)
    end
    stop("quick", "SIGINT")
  end)
  on("HUP", reload)
  on("USR1", reopen)
  on("USR2", start_successor)
  on("TTIN", function() scale(#slots + 1) end)
  on("TTOU", function() scale(#slots - 1) end)
end

-- ---- Running ----

local function fill_all()
  for _, slot in ipairs(slots) do
    fill(slot)
    succeed(slot)
  end
end

local function load_first()
  zygotes.load(generation, function()
    zygotes.commit()
    fill_all()
  end, function(why)
    log("the process to fork workers from %s before it had loaded: stopping", why)
    status = 1
    stop("quick", "nothing could be loaded")
  end)
end

local function bind(address)
  local kind = address:find("^udp:") or address:find("^unixgram:")
  local fd, message = inherit.open(kind and "datagram" or "stream", address, 1,
    plan.socket_options, generation)
  if not fd then
    fail("--bind-before-fork %s: %s", address, message)
  end
end

local function take_sockets()
  local ok, message = inherit.take(systemd.descriptors())
  if not ok then
    fail("a socket of the service manager: %s", message)
  end
  for _, address in ipairs(plan.bind) do
    if not (plan.reuse_port and settings.can_reuse_port(address)) then
      bind(address)
    end
  end
end

--- Prints what would be run.
function M.check(what)
  local files = table.concat(what.files, " ")
  print(("%s: %d %s, grace %g s, worker timeout %g s"):format(files, what.workers,
    what.workers == 1 and "worker" or "workers", what.grace, what.timeout))
  for _, name in ipairs({ "bind", "max_requests", "pid", "user", "group", "reload",
      "preload" }) do
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
  agenda.start(config.quiet)
  on_signals()
  offer_commands()
  systemd.start()
  upgrade.take_over()
  take_sockets()
  local ok
  ok, message = crew.prepare(config, plan)
  if not ok then
    fail("cannot make the board: %s", message)
  end
  core.current().name = "master"
  for _ = 1, plan.workers do
    add_slot()
  end
  zygotes.on_return, zygotes.on_gone = fill_all, end_if_alone
  if plan.preload then
    load_first()
  else
    fill_all()
  end
  agenda.work()
  core.set_status(status)
  if handed_over then
    -- Without closing the sockets one by one, which removes the paths of unix ones.
    os.exit(status)
  end
end

return M
