-- SPDX-License-Identifier: MIT
-- The control socket: how grun ps, top, trace and others talk to a running process, and both ends
-- of what is spoken there.
--
-- The socket is PID.sock, mode 0600, in a directory of mode 0700: $XDG_RUNTIME_DIR/grun, or
-- /run/grun for root, or /tmp/grun-UID. A process makes it once it has lived for half a second.
-- Spoken are lines of JSON: {"command":…,"args":{…}} is answered by {"ok":true,"answer":{…}}, by
-- {"ok":false,"message":…}, or by {"ok":true,"stream":true} and pieces of text, each after a line
-- with its length; the last one has length 0. A length below 0 begins a message of failure.

local core = require("grun.core")
local native = require("grun.core.control")
local json = require("grun.json")

local MAX_CLIENTS = 16
local MAX_ANSWER = 2 ^ 26 -- bytes; a request is a line of at most 64 KiB
local IDLE = 30 -- seconds that a client may be silent, or not read
local PROBE = 1 -- seconds to find out whether somebody listens
local TIMEOUT = 5 -- seconds for an answer, unless told otherwise

local M = {}

--- What else processes say of themselves: name -> value, or function that returns it. Known names:
--- role ("master" or "worker"), worker (its number), generation.
M.facts = {}

-- ---- Commands ----

local commands = {}

--- Makes fn(args) answer that command: it returns a table; nil and a message; or a function that
--- returns pieces of text one after the other, then nil. It runs in a thread of its own, which does
--- not keep the process alive, and may park. A second call replaces the first function; nil removes
--- it. So long it also stands for what all processes answer (control/commands.lua).
---@param name string
---@param fn? fun(args: table): table|function|nil, string?
function M.command(name, fn)
  if type(name) ~= "string" then
    error("command: name expected, got " .. type(name), 2)
  elseif fn ~= nil and type(fn) ~= "function" then
    error("command: function expected, got " .. type(fn), 2)
  end
  commands[name] = fn
end

-- ---- The serving end ----

local clients = 0

local function send(conn, value)
  return conn:write(json.encode(value), "\n")
end

local function send_pieces(conn, next_piece)
  local ok, message, code = send(conn, { ok = true, stream = true })
  while ok do
    local called, piece = xpcall(next_piece, core.traceback)
    if not called then
      piece = tostring(piece)
      return conn:write(-#piece, "\n", piece)
    elseif not piece then
      return conn:write("0\n")
    elseif piece ~= "" then
      ok, message, code = conn:write(#piece, "\n", piece)
    end
  end
  return ok, message, code
end

local function run(request)
  local name = type(request) == "table" and request.command
  local fn = commands[name] or require("grun.control.commands")[name]
  local args = fn and request.args or {}
  if not fn or type(args) ~= "table" then
    return nil, fn and "arguments expected" or "unknown command"
  end
  local ok, answer, message = xpcall(fn, core.traceback, args)
  if not ok then
    return nil, tostring(answer)
  end
  return answer, message
end

local function answer_to(conn, line)
  local request, problem = json.decode(line)
  if problem then
    return send(conn, { ok = false, message = problem })
  end
  local answer, message = run(request)
  if type(answer) == "function" then
    return send_pieces(conn, answer)
  elseif not answer then
    return send(conn, { ok = false, message = message or "failed" })
  end
  return send(conn, { ok = true, answer = answer })
end

local function serve(conn)
  conn:settimeout(IDLE)
  local line, message, code
  repeat
    line, message, code = conn:read("*l")
  until not line or not answer_to(conn, line)
  if code == "too_large" then
    send(conn, { ok = false, message = message })
  end
end

local function serve_client(conn)
  local ok, err = xpcall(serve, core.traceback, conn)
  conn:close()
  clients = clients - 1
  if not ok then
    error(err, 0)
  end
end

local function take_client()
  require("grun.socket") -- makes the class of connections
  if clients >= MAX_CLIENTS then
    return
  end
  require("grun.thread").spawn_daemon("control", serve_client, native.take())
  clients = clients + 1
end

-- ---- Where ----

-- Directories in which processes of a user may have their sockets, the preferred one first.
local function directories(uid)
  local own = uid == native.uid()
  local runtime = own and os.getenv("XDG_RUNTIME_DIR") or "/run/user/" .. uid
  local list = {}
  if runtime:find("^/") then
    list[1] = runtime .. "/grun"
  end
  list[#list + 1] = uid == 0 and "/run/grun" or "/tmp/grun-" .. uid
  return list
end

local function owner(pid)
  local file = io.open("/proc/" .. pid .. "/status")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return tonumber(text:match("\nUid:%s+%d+%s+(%d+)")) or native.uid()
end

--- The directory for sockets of this process, made if need be: the first that only its user can
--- use. nil, message, code if there is none.
---@return string|nil, string?, string?
function M.runtime_dir()
  local ok, message, code
  for _, dir in ipairs(directories(native.uid())) do
    ok, message, code = native.directory(dir, true)
    if ok then
      return dir
    end
  end
  return nil, message, code
end

local function listen()
  local message
  for _, dir in ipairs(directories(native.uid())) do
    local ok, done, problem = native.directory(dir, true), nil, nil
    if ok then
      ok, done, problem = pcall(native.listen, ("%s/%d.sock"):format(dir, native.pid()))
      if ok and done then
        return true
      end
    end
    message = problem or done
  end
  return nil, message
end

--- Makes the process listen now, if it does not yet. Returns true, or nil, message.
function M.start()
  if native.fd() then
    return true
  end
  return listen()
end

--- Ends that and removes the socket.
M.stop = native.close

--- How many clients are being served, each by a thread.
function M.clients()
  return clients
end

--- The descriptor of the listening socket, or nil.
M.fd = native.fd

--- In a forked child that goes on running threads: it gets a socket of its own in half a second.
function M.forked()
  local listens = native.fd() ~= nil
  native.close()
  clients = 0
  if listens then
    native.later()
  end
end

--- Called in the hub: it is time to listen, or a client came.
function M.hook(what)
  if what == "start" then
    M.start()
  else
    take_client()
  end
end

-- ---- The asking end ----

--- The paths at which the socket of a process may be, the likely one first.
---@param pid integer
---@return string[]
function M.paths(pid)
  local list = directories(owner(pid))
  for i, dir in ipairs(list) do
    list[i] = ("%s/%d.sock"):format(dir, pid)
  end
  return list
end

--- The path of a process's socket: the one that is there, or that would be. Parks.
---@param pid integer
---@return string
---@async
function M.path(pid)
  local list = M.paths(pid)
  for _, path in ipairs(list) do
    if require("grun.fs").stat(path) then
      return path
    end
  end
  return list[1]
end

-- Of /run/user and /tmp.
local function names_in(dir)
  local names = {}
  for i, entry in ipairs(require("grun.fs").list(dir) or {}) do
    names[i] = entry.name
  end
  return names
end

--- The directories in which sockets of this user's processes may be; for root those of all users.
---@return string[]
---@async
function M.directories()
  local list = directories(native.uid())
  if native.uid() == 0 then
    for _, name in ipairs(names_in("/run/user")) do
      list[#list + 1] = "/run/user/" .. name .. "/grun"
    end
    for _, name in ipairs(names_in("/tmp")) do
      list[#list + 1] = name:find("^grun%-%d+$") and "/tmp/" .. name or nil
    end
  end
  local usable = {}
  for _, dir in ipairs(list) do
    usable[#usable + 1] = native.directory(dir) and dir or nil
  end
  return usable
end

local function is_alive(pid)
  local there, _, code = native.kill(pid, "0")
  return there or code == "EPERM"
end

-- A fork of that process may serve what was its socket, or it lives in a container of its own.
local function is_abandoned(path)
  local conn, _, code = require("grun.socket").connect("unix:" .. path, { timeout = PROBE })
  if conn then
    conn:close()
  end
  return code == "ECONNREFUSED"
end

--- The processes that have sockets PID.kind in a directory of directories(). Those that dead ones
--- have left there are removed.
---@param dir string
---@param kind string "sock" or "backdoor"
---@return integer[]
---@async
function M.owners(dir, kind)
  local list = {}
  for _, entry in ipairs(require("grun.fs").list(dir) or {}) do
    local number, suffix = entry.name:match("^(%d+)%.(%a+)$")
    local pid = suffix == kind and entry.type == "socket" and tonumber(number)
    if pid and is_alive(pid) then
      list[#list + 1] = pid
    elseif pid and is_abandoned(dir .. "/" .. entry.name) then
      os.remove(dir .. "/" .. entry.name)
    end
  end
  return list
end

-- Only in a directory that nobody else can write to, and only the process itself.
local function connect_to(path, pid)
  local conn
  local ok, message, code = native.directory(path:match("^(.*)/"))
  if ok then
    conn, message, code = require("grun.socket").connect("unix:" .. path)
  end
  if conn and conn:peercred().pid ~= pid then
    conn:close()
    return nil, ("%s is not the socket of process %d"):format(path, pid), "EPERM"
  end
  return conn, message, code
end

local function connect(pid)
  local conn, message, code
  for _, path in ipairs(M.paths(pid)) do
    conn, message, code = connect_to(path, pid)
    if conn then
      return conn
    end
  end
  if code == "ENOENT" or code == "ECONNREFUSED" then
    if not native.kill(pid, "0") then
      return nil, ("there is no process %d"):format(pid), "ESRCH"
    end
    message = ("process %d has no control socket"):format(pid)
  end
  return nil, message, code
end

local function read_pieces(conn, write)
  while true do
    local length = conn:read("*l")
    local n = tonumber(length)
    if not n or math.abs(n) > MAX_ANSWER then
      return nil, "closed", "closed"
    elseif n == 0 then
      return true
    end
    local piece = conn:read(math.abs(n))
    if not piece or #piece < math.abs(n) then
      return nil, "closed", "closed"
    elseif n < 0 then
      return nil, piece
    end
    write(piece)
  end
end

local function talk(conn, name, args, write)
  send(conn, { command = name, args = args })
  local line, message, code = conn:read_until("\n", { max = MAX_ANSWER })
  local answer = line and json.decode(line)
  if type(answer) ~= "table" then
    return nil, message or "no answer", code or "protocol"
  elseif answer.stream then
    return read_pieces(conn, write)
  end
  return answer.ok and answer.answer or nil, answer.message
end

local function finish(conn, ok, ...)
  conn:close()
  if not ok then
    error((...), 0)
  end
  return ...
end

local function exchange(pid, name, args, write)
  local conn, message, code = connect(pid)
  if not conn then
    return nil, message, code
  end
  return finish(conn, pcall(talk, conn, name, args, write))
end

--- Has a process run a command. Returns its answer, a table, or true when that came in pieces,
--- which write(text) was called with (default: they are dropped). nil, message, code when it failed
--- or there is no such process; nil, "timeout", "timeout" after `seconds` (default 5). Parks.
---@param pid integer
---@param name string
---@param args? table
---@param seconds? number
---@param write? fun(text: string)
---@return table|true|nil, string?, string?
---@async
function M.call(pid, name, args, seconds, write)
  return require("grun.scope").timeout(seconds or TIMEOUT, exchange, pid, name, args, write or type)
end

return M
