-- SPDX-License-Identifier: MIT
-- The options of the process model, which `grun` and `grun serve` share, and how values of options
-- are read.

local core = require("grun.core.worker")

local M = {}

M.MAX_WORKERS = 256

local UNITS = { k = 2 ^ 10, m = 2 ^ 20, g = 2 ^ 30 }

local function number(name, text, pattern, fail)
  local digits, unit = text:match(pattern)
  local value = tonumber(digits)
  if not value then
    fail("%s: number expected, got '%s'", name, text)
  end
  return value * (UNITS[unit] or 1)
end

local function count(name, text, fail)
  return number(name, text, "^(%d+)()$", fail)
end

--- Name of a type -> fn(name of the option, its text, fail) that returns the value. fail(format,
--- ...) does not return.
M.types = {
  text = function(name, text, fail)
    return text ~= "" and text or fail("%s: the value is empty", name)
  end,
  seconds = function(name, text, fail)
    return number(name, text, "^(%d*%.?%d*)()$", fail)
  end,
  count = count,
  bytes = function(name, text, fail)
    return number(name, text:lower(), "^(%d+)([kmg]?)$", fail)
  end,
  workers = function(name, text, fail)
    local value = text == "auto" and core.processors() or count(name, text, fail)
    if value < 1 or value > M.MAX_WORKERS then
      fail("%s: 1 to %d workers, or auto, not %s", name, M.MAX_WORKERS, text)
    end
    return value
  end,
  octal = function(name, text, fail)
    local value = text:find("^[0-7]+$") and tonumber(text, 8)
    return value and value <= 511 and value
      or fail("%s: octal number up to 777 expected, got '%s'", name, text)
  end,
}

--- Name of an option -> its type; "yes": it takes no value; those called "list" may come several
--- times.
M.options = {
  ["workers"] = "workers",
  ["graceful-timeout"] = "seconds",
  ["max-requests"] = "count",
  ["max-requests-jitter"] = "count",
  ["worker-timeout"] = "seconds",
  ["bind-before-fork"] = "list",
  ["reuse-port"] = "yes",
  ["pid"] = "text",
  ["user"] = "text",
  ["group"] = "text",
  ["umask"] = "octal",
  ["chdir"] = "text",
  ["reload"] = "yes",
  ["preload"] = "yes",
}

-- What only a master can do; without --workers there is one worker then.
local NEED_MASTER = {
  "max-requests", "max-requests-jitter", "worker-timeout", "bind-before-fork", "pid", "user",
  "group", "reload", "preload",
}

--- Options and values of those in the list `settings` that are of this table.
function M.read(settings, fail)
  local given = {}
  for _, setting in ipairs(settings) do
    local name, text = setting[1], setting[2]
    local kind = M.options[name]
    if kind == "yes" then
      given[name] = true
    elseif kind == "list" then
      given[name] = given[name] or {}
      table.insert(given[name], M.types.text("--" .. name, text, fail))
    elseif kind then
      given[name] = M.types[kind]("--" .. name, text, fail)
    end
  end
  return given
end

local GRACE, TIMEOUT = 30, 30 -- seconds

--- What a master is to do, or nil when the options ask for none. `given.addresses` are what it
--- binds if it is there, with given.socket_options.
function M.plan(given)
  local workers = given.workers
  for _, name in ipairs(NEED_MASTER) do
    workers = workers or given[name] and 1
  end
  return workers and {
    workers = workers,
    grace = given["graceful-timeout"] or GRACE,
    max_requests = given["max-requests"] or 0,
    jitter = given["max-requests-jitter"] or 0,
    timeout = given["worker-timeout"] or TIMEOUT,
    bind = given["bind-before-fork"] or given.addresses or {},
    socket_options = given.socket_options or {},
    reuse_port = given["reuse-port"],
    pid = given.pid,
    user = given.user,
    group = given.group,
    umask = given.umask,
    chdir = given.chdir,
    reload = given.reload,
    preload = given.preload,
  }
end

--- Whether several processes can have a socket of their own on this address.
function M.can_reuse_port(address)
  return not (address:find("^unix") or address:find("^fd:") or address:find("^systemd:")
    or address:find(":0$"))
end

--- Does in this process what of the options is done before anything else.
function M.prepare(given, fail)
  if given.chdir then
    local ok, message = core.chdir(given.chdir)
    if not ok then
      fail("--chdir %s: %s", given.chdir, message)
    end
  end
  if given.umask then
    core.umask(given.umask)
  end
end

--- Looks up the user and the group of the options: { uid =, gid =, name = }, or nil without them.
function M.identity(given, fail)
  if not (given.user or given.group) then
    return nil
  end
  local who = {}
  if given.user then
    who.uid, who.gid, who.name = core.user(given.user)
    if not who.uid then
      fail("--user: there is no user '%s'", given.user)
    end
  end
  if given.group then
    who.gid = core.group(given.group) or fail("--group: there is no group '%s'", given.group)
  end
  local uid, gid = core.ids()
  if uid ~= 0 and ((who.uid or uid) ~= uid or (who.gid or gid) ~= gid) then
    fail("--%s: only root can run workers as somebody else", who.uid and "user" or "group")
  end
  return uid == 0 and who or nil
end

-- A process without a master.
local function go_alone(given, fail)
  M.prepare(given, fail)
  require("grun").grace = given["graceful-timeout"]
  if os.getenv("NOTIFY_SOCKET") then
    require("grun.worker").tell_manager()
  end
end

--- Does what the options in `config.settings` say, and those in `given`, which count for more.
--- `files` are what is run. Returns true when this process was a master, and all of its workers
--- have ended; otherwise it goes on, as a worker or alone.
function M.act(config, given, fail, files)
  for name, value in pairs(M.read(config.settings, fail)) do
    if given[name] == nil then
      given[name] = value
    end
  end
  local plan, worker = M.plan(given), os.getenv("GRUN_WORKER")
  if plan then
    plan.files = files
  end
  if plan and worker and worker:find("^preload ") then
    require("grun.preload").start(worker, plan, M.identity(given, fail))
  elseif plan and worker then
    require("grun.worker").start(worker, plan, M.identity(given, fail))
  elseif plan then
    local master = require("grun.master")
    M.identity(given, fail)
    if config.check then
      master.check(plan)
    else
      master.run(config, plan, given)
    end
    return true
  elseif not config.check then
    go_alone(given, fail)
  end
  return false
end

return M
