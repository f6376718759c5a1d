-- SPDX-License-Identifier: MIT
-- Worker processes, as their master sees them: starting one, telling it something, giving it
-- sockets, and its end. The other side is worker.lua.

local agenda = require("grun.agenda")
local core = require("grun.core")
local inherit = require("grun.inherit")
local native = require("grun.core.worker")
local net = require("grun.socket")
local process = require("grun.process")
local spawn_daemon = require("grun.thread").spawn_daemon

local KILL_AFTER = 0.95 -- seconds after the grace period
local GONE = 0.5 -- seconds in which a dead worker's last words arrive
local ENTRIES = 1024 -- of the board

local M = {
  workers = {}, -- set of those whose process runs
  refuse = false, -- no sockets are given any more
  on_word = nil, -- fn(worker, line)
  on_stillborn = nil, -- fn(worker, message): it could not be forked
  on_end = nil, -- fn(worker, exit status or nil, name of a signal)
}

local config, plan
local board -- descriptor of memory that all processes see; workers have it as their 4

--- For all workers from now on. Returns nil and a message on failure.
function M.prepare(of_command_line, of_master)
  config, plan = of_command_line, of_master
  local message
  board, message = native.create_board()
  return board, message
end

---@class grun.master.worker
---@field id integer
---@field generation integer
---@field entry integer of the board
---@field process? grun.process nil until it is forked
---@field words grun.conn
---@field sockets grun.conn over which it gets descriptors
---@field started number
---@field ready boolean it serves
---@field asked boolean it was told to stop
---@field killed boolean by us
---@field listened boolean
---@field deadlocked boolean
local Worker = {}
Worker.__index = Worker

function Worker:name()
  return self.process and ("worker %d (pid %d)"):format(self.id, self.process.pid)
    or ("worker %d (not forked yet)"):format(self.id)
end

function Worker:say(line)
  core.spawn(self.words.write, self.words, line, "\n")
end

--- Tells it to stop; kills it if it has not done so in time.
function Worker:stop(how, seconds)
  self.asked = true
  self:say(how)
  agenda.cancel(self.deadline)
  self.deadline = agenda.after(seconds + KILL_AFTER, function()
    if M.workers[self] then
      agenda.log("%s did not stop within %g s and is killed", self:name(), seconds)
      self:kill()
    end
  end)
end

function Worker:kill()
  self.killed = true
  if self.process then
    self.process:kill("KILL")
  end
end

--- Others go on in its place.
function Worker:retire()
  if not self.asked then
    self:stop("retire", plan.grace)
  end
end

--- Why it has ended, in words.
function Worker:reason(code, signal)
  local _, silent = native.entry(self.entry)
  if self.deadlocked then
    return "was in a deadlock and has ended"
  elseif code then
    return ("ended with status %d"):format(code)
  elseif plan.timeout > 0 and silent and silent >= plan.timeout
      and (signal == "SIGABRT" or signal == "SIGKILL") then
    return ("was stuck for %.1f s and ended by %s"):format(silent, signal)
  elseif signal == "SIGKILL" then
    return "was killed by SIGKILL, perhaps out of memory"
  end
  return ("was killed by %s"):format(signal or "somebody")
end

-- ---- Giving sockets ----

function M.unescape(text)
  return (text:gsub("\\(.)", { n = "\n", t = "\t", ["\\"] = "\\" }))
end

local readers = {
  s = function(text) return text end,
  n = tonumber,
  b = function(text) return text == "true" end,
}

-- The reverse of worker.lua's encode(): kind, address, ordinal, options.
local function decode(line)
  local fields, opts = {}, {}
  for field in line:gmatch("[^\t]+") do
    fields[#fields + 1] = M.unescape(field)
  end
  for i = 5, #fields do
    local name, letter, value = fields[i]:match("^([^=]*)=(.)(.*)$")
    opts[name] = readers[letter] and readers[letter](value)
  end
  return fields[2], fields[4], fields[3], opts
end

local function give_socket(worker, line)
  local conn = worker.sockets
  if M.refuse then
    return conn:write("ECANCELED the master is stopping\n")
  end
  worker.listened = true
  local kind, address, ordinal, opts = decode(line)
  local fd, message, code = inherit.open(kind, address, ordinal, opts, worker.generation)
  if fd then
    conn:send_fd(fd)
  else
    conn:write(code or "unknown", " ", (message:gsub("\n.*", "")), "\n")
  end
end

-- ---- Its life ----

local function each_line(conn, fn, worker)
  local line = conn:read("l")
  while line do
    fn(worker, line)
    line = conn:read("l")
  end
end

local function take_word(worker, line)
  agenda.put(function()
    M.on_word(worker, line)
  end)
end

-- It runs no more, or never did: tell() says so, in the agenda.
local function forget(worker, tell)
  worker.words:close()
  worker.sockets:close()
  agenda.put(function()
    M.workers[worker] = nil
    agenda.cancel(worker.deadline)
    tell()
  end)
end

local function attend(worker)
  local name = worker:name()
  local listening = spawn_daemon("words of " .. name, each_line, worker.words, take_word,
    worker)
  spawn_daemon("sockets for " .. name, each_line, worker.sockets, give_socket, worker)
  local code, what, signal = worker.process:wait()
  if not listening:join(GONE) then
    listening:cancel("the worker has ended")
  end
  forget(worker, function()
    M.on_end(worker, code, what == "signal" and signal)
  end)
end

-- A part of the board that nobody uses.
local function free_entry()
  local used = {}
  for worker in pairs(M.workers) do
    used[worker.entry] = true
  end
  for i = 0, ENTRIES - 1 do
    if not used[i] then
      native.clear(i)
      return i
    end
  end
end

--- The words of the command line.
function M.command()
  local words = {}
  for i = 0, #config.words do
    words[i + 1] = config.words[i]
  end
  return words
end

--- Runs this program anew with `about` in GRUN_WORKER, the connection `conn` as its descriptor 3,
--- the board as 4 and `more`, if given, as 5. Closes both connections. Returns its process, or nil
--- and a message.
function M.execute(about, conn, more)
  local how = M.command()
  how.program = "/proc/self/exe"
  how.env = process.process.environ()
  how.env.GRUN_WORKER = about
  how.fds = { conn:fd(), board, more and more:fd() }
  local p, message = process.spawn(how)
  conn:close()
  if more then
    more:close()
  end
  return p, message
end

-- What it is told until it is there, it reads then.
local function attend_from_fork(worker, zygote, about, words_end, sockets_end)
  local p, message = zygote:fork(about, words_end:fd(), sockets_end:fd())
  words_end:close()
  sockets_end:close()
  if p then
    worker.process, worker.started = p, core.now()
    core.current().name = worker:name()
    if worker.killed then
      worker:kill()
    end
    return attend(worker)
  end
  forget(worker, function()
    M.on_stillborn(worker, message)
  end)
end

--- Starts worker number `id` of `count`. Returns it, or nil and why it cannot be. One that is
--- forked, from `zygote`, comes later, or on_stillborn tells that it does not.
---@return grun.master.worker|nil, string?
function M.start(id, count, generation, zygote)
  local entry = free_entry()
  local words, words_end = net.pair()
  local sockets, sockets_end = net.pair()
  if not (words and sockets) then
    return nil, "no descriptors are left"
  end
  local worker = setmetatable({
    id = id, generation = generation, entry = entry, words = words, sockets = sockets,
    started = core.now(), ready = false, asked = false, killed = false, listened = false,
    deadlocked = false,
  }, Worker)
  local about = ("%d %d %d %d"):format(id, count, generation, entry)
  if zygote then
    spawn_daemon(worker:name(), attend_from_fork, worker, zygote, about, words_end, sockets_end)
  else
    local message
    worker.process, message = M.execute(about, words_end, sockets_end)
    if not worker.process then
      words:close()
      sockets:close()
      return nil, message
    end
    spawn_daemon(worker:name(), attend, worker)
  end
  M.workers[worker] = true
  return worker
end

return M
