-- SPDX-License-Identifier: MIT
-- A worker process: what scripts can ask about it, and its side of what it says to its master.
--
-- To the master goes one line each: "ready", "stopping", "retire" (replace me), "changed <file>",
-- "deadlock" (the last).
-- Back come "drain" (stop: nobody goes on), "retire" (stop: others go on), "quick", "reopen",
-- "count N". On a connection of its own, "listen …" is answered by a descriptor, or by a line
-- "<code> <message>": what reads lines would lose a descriptor that comes right after one.

local core = require("grun.core")
local native = require("grun.core.worker")
local spawn_daemon = require("grun.thread").spawn_daemon

local WORDS, BOARD, SOCKETS = 3, 4, 5 -- descriptors from the master
local READY_AFTER = 5 -- seconds until a worker that opens no socket counts as ready
local BEATS = 3 -- signs of life in one worker timeout
local DEADLOCK = 2 -- exit status
local LINGER = 1 -- seconds that clients of a stopping worker may still send a request

---@class grun.worker
local M = {}

local me -- { id =, count =, generation =, … } in a worker
local starters, reopeners = {}, {}
local announced, alone, heeds_reopen = false, false, false

-- ---- For scripts ----

--- The number of this worker, 1 to count(); one that takes the place of another has its number. nil
--- in a process that is not one of several (no -w), and with --preload in what is loaded before the
--- workers are forked.
---@return integer?
function M.id()
  return me and me.id
end

--- How many workers there are to be; 0 without -w.
---@return integer
function M.count()
  return me and me.count or 0
end

--- Which generation of workers this is: 1, and one more after each reload. nil without -w.
---@return integer?
function M.generation()
  return me and me.generation
end

local function check(fn, name)
  if type(fn) ~= "function" then
    error(name .. ": function expected, got " .. type(fn), 3)
  end
end

-- Without a master: the first listener makes the process one that serves.
local function go_alone()
  if me or alone then
    return
  end
  alone = true
  local net = require("grun.core.net")
  local listen = net.listen
  function net.listen(...)
    local listener, message, code = listen(...)
    if listener then
      spawn_daemon("announce", M.announce)
    end
    return listener, message, code
  end
  core.daemon(core.spawn_later(READY_AFTER, M.announce)[1])
end

--- Runs fn(id) in a thread of its own when this process begins to serve: it listens, or the script
--- has come to its end. At once if that has been. Without -w as well, with no id.
---@param fn fun(id?: integer)
function M.on_start(fn)
  check(fn, "on_start")
  if announced then
    core.spawn(fn, M.id())
  else
    starters[#starters + 1] = fn
    go_alone()
  end
end

--- Runs fn(id) in a thread of its own when this process begins to stop in order; it may take as
--- long as connections may. Without -w as well, with no id.
---@param fn fun(id?: integer)
function M.on_stop(fn)
  check(fn, "on_stop")
  require("grun.stop").first(function()
    fn(M.id())
  end)
end

--- Calls fn() in a thread of its own when log files are to be opened anew: SIGUSR1, sent to the
--- master or to this process, for what has moved them away.
---@param fn fun()
function M.on_reopen(fn)
  check(fn, "on_reopen")
  reopeners[#reopeners + 1] = fn
  M.heed_reopen()
end

--- From now on SIGUSR1 has log files opened anew; before, it ends a process that is no worker.
function M.heed_reopen()
  if not heeds_reopen then
    heeds_reopen = true
    require("grun.signal").signal("USR1", M.reopen)
  end
end

-- ---- Sides of starting that need no master ----

--- The process serves now. Later calls do nothing.
function M.announce()
  if announced then
    return
  end
  announced = true
  for _, fn in ipairs(starters) do
    core.spawn(fn, M.id())
  end
  if me then
    me.say("ready")
  end
end

--- Opens log files anew.
function M.reopen()
  for _, fn in ipairs(reopeners) do
    core.spawn(fn)
  end
  core.spawn(require("grun.log").reopen)
end

--- Tells a service manager what this process, which has no master, does.
function M.tell_manager()
  local systemd = require("grun.systemd")
  systemd.start()
  M.on_start(function()
    systemd.notify("READY=1", "MAINPID=" .. native.pid())
  end)
  M.on_stop(function()
    systemd.notify("STOPPING=1")
  end)
end

-- ---- Listening through the master ----

local escapes = { ["\n"] = "\\n", ["\t"] = "\\t", ["\\"] = "\\\\" }

local function escape(text)
  return (text:gsub("[\n\t\\]", escapes))
end

-- A request's line: kind, ordinal, address, options.
local function encode(kind, ordinal, address, opts)
  local fields = { "listen", kind, ordinal, escape(address) }
  for name, value in pairs(opts) do
    local letter = type(value):sub(1, 1)
    fields[#fields + 1] = ("%s=%s%s"):format(name, letter, escape(tostring(value)))
  end
  return table.concat(fields, "\t")
end

-- Asks the master; only one thread at a time. Returns a descriptor, or nil, message, code.
local function ask(line)
  return me.lock:with(function()
    return require("grun.scope").shield(function()
      me.sockets:write(line, "\n")
      local fd, message, code = me.sockets:recv_fd()
      if not fd and code == "EBADMSG" then
        code, message = (me.sockets:read("l") or ""):match("^(%S+) (.*)$")
      end
      return fd, message, code
    end)
  end)
end

-- The same address may be listened on again once the socket before is closed; a second one at once
-- is another socket (port 0), or refused by the system.
local function take_place(key)
  local places = me.places[key] or {}
  me.places[key] = places
  local i = 1
  while places[i] and not places[i].closed() do
    i = i + 1
  end
  return places, i
end

local function is_own(address, opts)
  local wanted = opts.reuse_port or me.plan.reuse_port
  return wanted and require("grun.settings").can_reuse_port(address)
end

local function copy(opts)
  local all = {}
  for name, value in pairs(opts or {}) do
    all[name] = value
  end
  return all
end

-- After the last of several sockets that are opened together: the thread that opens them waits for
-- something else or has ended.
local function listening()
  native.accept(true)
  spawn_daemon("worker: ready?", function()
    if me.asking == 0 and not require("grun.stop").begun() then
      M.announce()
    end
  end)
end

-- Opens through the master. `adopt(fd)` makes the socket, `plainly(opts)` is how it is done without
-- a master, which also raises what is to be raised.
local function open(kind, address, opts, adopt, plainly)
  if not me.id then
    error("cannot listen on " .. address .. " before the workers are forked (--preload)", 3)
  end
  local all = copy(opts)
  if is_own(address, all) then
    all.reuse_port = true
    local socket, message, code = plainly(all)
    if socket then
      listening()
    end
    return socket, message, code
  end
  me.asking = me.asking + 1
  local places, i = take_place(kind .. address)
  places[i] = { closed = function() return false end }
  local fd, message, code = ask(encode(kind, i, address, all))
  me.asking = me.asking - 1
  places[i] = nil
  if not fd then
    if code == "misuse" then
      return plainly(all)
    end
    return nil, message, code
  end
  local socket
  socket, message, code = adopt("fd:" .. fd, all)
  if socket then
    places[i] = { closed = function() return socket:fd() == nil end }
    listening()
  end
  return socket, message, code
end

local ALSO_LATE = { nodelay = true, keepalive = true, fastopen = true }

local function listen_through_master()
  local net = require("grun.core.net")
  local listen = net.listen
  local service = require("grun.service")
  function net.listen(address, opts, tls)
    if type(address) ~= "string" or opts ~= nil and type(opts) ~= "table" then
      return listen(address, opts, tls)
    end
    return open("stream", address, opts, function(fd, all)
      local late = {}
      for name in pairs(ALSO_LATE) do
        late[name] = all[name]
      end
      local listener, message, code = listen(fd, late, tls)
      if listener then
        service.shared[listener] = true
      end
      return listener, message, code
    end, function(all)
      return listen(address, all, tls)
    end)
  end
  setmetatable(service.shared, { __mode = "k" })
  function service.udp(address, opts)
    local udp = require("grun.datagram").udp
    return open("datagram", address, opts, function(fd, all)
      return udp(fd, { max = all.max })
    end, function(all)
      return udp(address, all)
    end)
  end
end

-- ---- Stopping ----

local function stop(reason, grace)
  native.accept(false)
  me.say("stopping")
  require("grun.stop").start(reason, 0, grace)
end

local orders = {
  retire = function()
    stop("the worker is retired")
  end,
  drain = function()
    local shared = require("grun.service").shared
    for listener in pairs(shared) do
      shared[listener] = nil
    end
    stop("SIGTERM")
  end,
  quick = function()
    stop("SIGINT", 0)
  end,
  reopen = M.reopen,
  count = function(n)
    me.count = tonumber(n)
  end,
}

-- What is yet to be forked leaves the end to its master.
local function on_signal(name)
  if me.id then
    stop("SIG" .. name, name == "INT" and 0 or nil)
  end
end

-- ---- The master ----

local function receive(conn)
  local line = conn:read("l")
  while line do
    local word, rest = line:match("^(%S+) ?(.*)$")
    if orders[word] then
      orders[word](rest)
    end
    line = conn:read("l")
  end
end

-- Without its master nobody would ever end it.
local function obey(conn)
  receive(conn)
  me.sockets:close()
  conn:close()
  if not require("grun.stop").begun() then
    require("grun.core.log").report("worker " .. me.id .. ": the master is gone")
    native.accept(false)
    require("grun.stop").start("the master is gone", 1)
  end
end

local function beat(timeout)
  while true do
    native.beat(timeout)
    core.nap(timeout / BEATS)
  end
end

-- Counts what is served; asks for a successor at the limit.
local function count_requests(plan)
  local limit = plan.max_requests
  if plan.jitter > 0 then
    math.randomseed(native.pid() + core.now() * 1e6)
    limit = limit + math.random(0, plan.jitter)
  end
  local n = 0
  require("grun.service").served = function(more)
    n = n + more
    if n >= limit and n - more < limit then
      me.say("retire")
    end
  end
end

-- ---- Deadlocks ----

-- Runs what waits for the master, or the like, and hides no deadlock of the script's threads.
local function aside(fn, ...)
  core.overlook(true)
  local ok, err = pcall(fn, ...)
  core.overlook(false)
  if not ok then
    error(err, 0)
  end
end

local function announce_in_time()
  core.nap(READY_AFTER)
  M.announce()
end

local function give_up()
  me.say("deadlock")
  os.exit(DEADLOCK)
end

-- Called in the hub. What is to run when this process serves may wake somebody still.
local function on_deadlock()
  if not announced and starters[1] then
    spawn_daemon("announce", M.announce)
  else
    require("grun.inspect").deadlock()
    spawn_daemon("deadlock", give_up)
  end
  return true
end

-- ---- What the options ask for ----

-- From now on; one worker tells the master.
local function watch_files(files)
  return require("grun.reload").watch(files, function(file)
    me.say("changed " .. escape(file))
  end)
end

local function connect(words, sockets)
  local net = require("grun.socket")
  local conn = assert(net.connect("fd:" .. words))
  me.lock, me.sockets = require("grun.lock").lock(), assert(net.connect("fd:" .. sockets))
  me.asking, me.places = 0, {}
  function me.say(line)
    conn:write(line, "\n")
  end
  spawn_daemon("worker: master", aside, obey, conn)
end

--- What a worker does before anything is loaded, or the process that is forked into workers.
--- `plan` is the master's; `who`: as from settings.identity(); only the latter has a generation.
function M.prepare(plan, who, generation)
  me = { plan = plan, generation = generation }
  native.setenv("GRUN_WORKER", nil)
  native.patient()
  if who then
    local ok, message = native.become(who.uid, who.gid, who.name)
    if not ok then
      error("cannot become user " .. tostring(who.name or who.uid) .. ": " .. message, 0)
    end
  end
  listen_through_master()
  require("grun").grace = plan.grace
  require("grun.service").linger = LINGER
  require("grun.stop").of_worker = on_signal
  if plan.reload and generation then
    me.watch = watch_files(plan.files)
  end
end

--- Becomes the worker that `text` describes: its number, how many there are, generation, entry of
--- the board. `words` and `sockets` are the descriptors of its connections to the master.
function M.join(text, words, sockets)
  local id, count, generation, entry = text:match("^(%d+) (%d+) (%d+) (%d+)$")
  local plan = me.plan
  me.id, me.count, me.generation = tonumber(id), tonumber(count), tonumber(generation)
  assert(native.join(BOARD, tonumber(entry)))
  connect(words, sockets)
  local facts = require("grun.control").facts
  facts.role, facts.worker, facts.generation = "worker", me.id, me.generation
  M.heed_reopen()
  if plan.max_requests > 0 then
    count_requests(plan)
  end
  if plan.timeout > 0 then
    spawn_daemon("worker: sign of life", beat, plan.timeout)
  end
  if plan.reload and me.id == 1 then
    spawn_daemon("worker: changed files", aside, me.watch or watch_files(plan.files))
  end
  spawn_daemon("worker: ready?", announce_in_time)
  core.hooks.deadlock = on_deadlock
  core.current():link(function(script)
    if script:successful() then
      M.announce()
    end
  end)
end

--- Becomes the worker that the text of GRUN_WORKER describes, see prepare() and join().
function M.start(text, plan, who)
  M.prepare(plan, who)
  M.join(text, WORDS, SOCKETS)
end

return M
