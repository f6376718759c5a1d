-- SPDX-License-Identifier: MIT
-- The backdoor: a prompt for each connection, inside the running process.
--
--   nc -U PATH, socat - UNIX-CONNECT:PATH, telnet HOST PORT     open one
--   quit() or the end of input                                  closes it
--   a line that ends in a tab                                   shows how it could go on
--   ^C (of telnet, or the byte 3)                               cancels the running chunk
--
-- What is typed has globals of its own, per connection, that read through to the option locals, to
-- _G and to grun's functions; print, io.write, io.stdout and io.read there mean the connection.
-- What functions of the program print while such a chunk calls them goes there too. A chunk whose
-- client has gone goes on until it prints.

local completion = require("grun.completion")
local console = require("grun.console")
local core = require("grun.core")
local event = require("grun.event")
local ffi = require("ffi")
local grun = require("grun")
local scope = require("grun.scope")
local server = require("grun.server")

ffi.cdef("int getpid(void); unsigned geteuid(void);")

local MAX_CONNECTIONS, MAX_LINE = 8, 65536

-- ---- Output of functions that a chunk calls ----

local owner = setmetatable({}, { __mode = "k" }) -- thread -> the session that it runs a chunk for
local running, replaced = 0, nil -- chunks; what stood in print and io.write before the first

-- fn, or in threads of a chunk what writes to its connection.
local function divided(fn, name)
  return function(...)
    local session = owner[core.current()]
    return (session and session.env_io[name] or fn)(...)
  end
end

local function enter(session, thread)
  owner[thread] = session
  running = running + 1
  if running == 1 then
    replaced = { print = print, write = io.write }
    replaced.our_print, replaced.our_write = divided(print, "print"), divided(io.write, "write")
    _G.print = replaced.our_print
    rawset(io, "write", replaced.our_write)
  end
end

-- What somebody else put there meanwhile stays.
local function leave(thread)
  owner[thread] = nil
  running = running - 1
  if running == 0 then
    _G.print = _G.print == replaced.our_print and replaced.print or _G.print
    rawset(io, "write", io.write == replaced.our_write and replaced.write or io.write)
  end
end

-- ---- A session's input ----

local Session = {}
Session.__index = Session

local IAC, SE, INTERRUPT, SB, WILL, DO, DONT = 255, 240, 244, 250, 251, 253, 254
local TIMING_MARK = 6 -- telnet discards output until it is answered

-- Returns where the telnet command (RFC 854) at `at` ends, or nil if that has not come yet.
local function command_end(text, at)
  local command = text:byte(at + 1)
  if command == SB then
    local _, last = text:find(string.char(IAC, SE), at, true)
    return last
  elseif command and command >= WILL and command <= DONT then
    return text:byte(at + 2) and at + 2
  end
  return command and at + 1
end

-- Takes telnet's commands and ^C out of what came. Returns whether the chunk is to be interrupted.
function Session:_filter(data)
  local text, interrupted, from = self.raw .. data, false, 1
  local at = text:find("[\3\255]")
  while at do
    local last = text:byte(at) == 3 and at or command_end(text, at)
    if not last and #text - at < self.max_line then
      break
    end
    last = last or #text
    self.text = self.text .. text:sub(from, at - 1)
    interrupted = interrupted or last == at or text:byte(at + 1) == INTERRUPT
    if text:byte(at + 1) == DO and text:byte(at + 2) == TIMING_MARK then
      self.conn:write(string.char(IAC, WILL + 1, TIMING_MARK))
    end
    from = last + 1
    at = text:find("[\3\255]", from)
  end
  self.text = self.text .. text:sub(from, (at or 0) - 1)
  self.raw = at and text:sub(at) or ""
  return interrupted
end

-- Receives more. Returns "end", "interrupted" or "more".
function Session:_receive()
  local data, interrupted = self.conn:recv(4096), false
  if data then
    interrupted = self:_filter(data)
  end
  self.ended = not data
  self.arrived:set()
  return self.ended and "end" or interrupted and "interrupted" or "more"
end

-- The same in a chunk: the session's thread receives meanwhile.
function Session:_await()
  self.arrived:clear()
  self.arrived:wait()
  return "more"
end

-- A line without its end; nil at the end of input, false after ^C. receive: _receive or _await.
function Session:read_line(receive)
  local at = self.text:find("\n", 1, true)
  while not at do
    if #self.text > self.max_line then
      self:write(("line longer than %d bytes\n"):format(self.max_line))
      return nil
    end
    local what = not self.ended and receive(self) or "end"
    if what == "interrupted" then
      self.text = ""
      self:write("\n")
      return false
    elseif what == "end" then
      break
    end
    at = self.text:find("\n", 1, true)
  end
  local line = self.text:sub(1, (at or 0) - 1)
  self.text = at and self.text:sub(at + 1) or ""
  return (at or line ~= "") and line:gsub("\r$", "") or nil
end

-- For console.read.
function Session:read_more(more)
  while true do
    if self.quit or not self:write(more and ">> " or "> ") then
      return nil
    end
    local line = self:read_line(self._receive)
    local start = line and line:match("^(.*)\t$")
    if not start then
      return line
    end
    local insert, list = completion.complete(start, { self.env, _G, grun })
    self:write(insert and start .. insert or list or start, "\n")
  end
end

-- ---- A session's output ----

function Session:write(...)
  return self.conn:write(...)
end

local function write_or_raise(session, ...)
  local ok, message = session:write(...)
  if not ok then
    error("the backdoor's connection: " .. message, 0)
  end
end

local function text_of(...)
  local words = { ... }
  for i = 1, select("#", ...) do
    words[i] = tostring(words[i])
  end
  return table.concat(words, "\t") .. "\n"
end

local function new_stdout(session)
  local stdout = {}
  function stdout:write(...)
    write_or_raise(session, ...)
    return self
  end
  function stdout.flush()
    return true
  end
  stdout.setvbuf = stdout.flush
  return setmetatable(stdout, { __tostring = function()
    return "file (" .. tostring(session.conn) .. ")"
  end })
end

-- print, and what stands for the table io.
local function new_io(session)
  local own = { stdout = new_stdout(session) }
  function own.print(...)
    write_or_raise(session, text_of(...))
  end
  function own.write(...)
    return own.stdout:write(...)
  end
  function own.read(format)
    if format ~= nil and format ~= "*l" and format ~= "l" then
      error("io.read: only lines can be read in the backdoor", 2)
    end
    return session:read_line(session._await) or nil
  end
  return own
end

local function new_env(session, locals)
  local own = session.env_io
  local own_io = { stdout = own.stdout, write = own.write, read = own.read }
  local env = {
    print = own.print,
    io = setmetatable(own_io, { __index = io }),
    quit = function()
      session.quit = true
    end,
  }
  return setmetatable(env, { __index = function(_, key)
    local value = locals[key]
    if value == nil then
      value = _G[key]
    end
    if value == nil then
      value = grun[key]
    end
    return value
  end, __names = { locals } })
end

-- ---- Chunks ----

local function run(session, chunk, skip)
  local me = core.current()
  core.daemon(core.self())
  enter(session, me)
  pcall(console.run, session.out, chunk, skip) -- fails only when nobody is there to read that
  leave(me)
end

-- Waits for the chunk; what comes meanwhile is kept, and ^C obeyed.
local function attend(session, thread)
  while not thread:_poll() do
    if session.ended or #session.text > session.max_line then
      thread:join()
    elseif grun.select({ thread:op_join(), session.conn:op_readable() }) == 2 and
           session:_receive() == "interrupted" then
      if rawget(thread, "_cancel") then
        session:write(tostring(thread), " goes on in the background\n")
        return
      end
      thread:cancel("interrupted")
    end
  end
end

local function evaluate(session, chunk, skip)
  local thread = core.spawn(run, session, setfenv(chunk, session.env), skip)
  thread.name = "backdoor chunk"
  local ok, err = pcall(attend, session, thread)
  if not ok then
    thread:cancel("the backdoor was closed")
    error(err, 0)
  end
end

local function new_session(conn, opts)
  local session = setmetatable({
    conn = conn, raw = "", text = "", max_line = opts.max_line or MAX_LINE,
    ended = false, quit = false, arrived = event.event(),
  }, Session)
  session.env_io = new_io(session)
  session.env = new_env(session, opts.locals or {})
  session.out = {
    report = function(message) -- of a cancelled chunk, too
      scope.shield(write_or_raise, session, message, "\n")
    end,
    print = function()
      return session.env.print
    end,
  }
  return session
end

local function talk(session, banner)
  session:write(banner)
  local chunk, skip
  local function read(more)
    return session:read_more(more)
  end
  repeat
    chunk, skip = console.read(read, session.out.report)
    if chunk then
      evaluate(session, chunk, skip)
    end
  until chunk == nil
end

-- ---- Who may come in ----

-- Why the other side is refused, or nil.
local function refusal(conn, active, opts)
  local limit, peer = opts.max_connections or MAX_CONNECTIONS, conn:peercred()
  if peer and peer.uid ~= ffi.C.geteuid() and peer.uid ~= 0 then
    return "not for this user"
  elseif active > limit then
    return ("there are %d sessions already"):format(limit)
  end
end

local function default_banner()
  return ("grun: process %d; quit() ends this session\n"):format(ffi.C.getpid())
end

local function new_handler(opts)
  local active = 0
  local banner = opts.banner
  if banner == nil then
    banner = default_banner()
  end
  return function(conn)
    core.daemon(core.self())
    core.current().name = "backdoor"
    active = active + 1
    local why = refusal(conn, active, opts)
    local ok, err = true, nil
    if why then
      conn:write("grun: ", why, "\n")
    else
      ok, err = pcall(talk, new_session(conn, opts), banner or "")
    end
    active = active - 1
    if not ok and scope.is_cancel(err) then
      error(err, 0)
    end
  end
end

-- ---- Where it listens ----

-- Can only this machine reach it?
local function is_private(address)
  local host = address:match("^unix:.") and "localhost" or address:match("^tcp://(.+):%d+$")
  return host == "localhost" or host == "[::1]" or (host or ""):find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local options = {
  locals = "table", banner = "string boolean", public = "boolean", max_connections = "number",
  max_line = "number", mode = "string number",
}

local function check(address, opts)
  if address ~= nil and type(address) ~= "string" then
    error("backdoor: address expected, got " .. type(address), 3)
  elseif opts ~= nil and type(opts) ~= "table" then
    error("backdoor: table of options expected, got " .. type(opts), 3)
  end
  for name, value in pairs(opts or {}) do
    local types = options[name]
    if not types then
      error(("backdoor: unknown option '%s'"):format(tostring(name)), 3)
    elseif not types:find(type(value), 1, true) or (types == "number" and not (value >= 1)) then
      error(("backdoor: option '%s': %s expected, got %s"):format(name, types:gsub(" ", " or "),
        type(value) == "number" and tostring(value) or type(value)), 3)
    end
  end
  local scheme = address and address:match("^(%a+):")
  if address and scheme ~= "unix" and scheme ~= "tcp" and scheme ~= "fd" then
    error("backdoor: unix:, tcp: or fd: address expected, got '" .. address .. "'", 3)
  elseif address and not is_private(address) and not (opts and opts.public) then
    error(("backdoor: others than this machine might reach %s, and could run any code; " ..
      "with public = true they may"):format(address), 3)
  end
end

local function default_address()
  local control = require("grun.control")
  local dir, message, code = control.runtime_dir()
  if not dir then
    return nil, message, code
  end
  control.owners(dir, "backdoor")
  return ("unix:%s/%d.backdoor"):format(dir, ffi.C.getpid())
end

local M = {}

---@class grun.backdoor.options
---@field locals? table further names for what is typed there
---@field banner? string|false the first thing that is sent
---@field public? boolean other addresses than unix: and those of the loopback interface are allowed
---@field max_connections? integer sessions at a time (default 8); more are refused
---@field max_line? integer bytes of a line (default 65536)
---@field mode? string|integer permissions of the unix path (default "0600")

--- Listens for connections and gives each a prompt inside this process: whoever connects can run
--- any code in it. On unix sockets processes of other users (but root) are refused; on TCP, which
--- is allowed on the loopback interface only, nobody is. It does not keep the process alive, but
--- while it listens a deadlock is not reported, since it can be ended from there. Returns nil,
--- message, code when it cannot listen. Parks.
---@param address? string default: a unix socket PID.backdoor in $XDG_RUNTIME_DIR/grun, or in
--- /tmp/grun-UID (root: /run/grun) where the former is not there or others can use it; those of
--- dead processes are removed there
---@param opts? grun.backdoor.options
---@return grun.server|nil, string?, string?
---@async
function M.backdoor(address, opts)
  check(address, opts)
  opts = opts or {}
  if not address then
    local message, code
    address, message, code = default_address()
    if not address then
      return nil, message, code
    end
  end
  local is_unix = address:find("^unix:") and not address:find("^unix:@")
  local started, message, code = server.server(address, new_handler(opts), {
    mode = is_unix and (opts.mode or "0600") or nil,
  })
  if not started then
    return nil, message, code
  end
  started._acceptor.name = "backdoor " .. started:address()
  core.daemon(started._acceptor[1])
  return started
end

return M
