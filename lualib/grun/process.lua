-- SPDX-License-Identifier: MIT
-- Child processes. A child's ends of pipes are ordinary ones; ours are connections. Children are
-- reaped as they end, whether somebody waits for them or not; other libraries' are not touched.

local core = require("grun.core")
local native = require("grun.core.process")
local scope = require("grun.scope")
local select = require("grun.select")
require("grun.socket") -- what connections are

local MAX_OUTPUT = 64 * 2 ^ 20 -- bytes of each of stdout and stderr
local UNWIND = 1 -- seconds for the end of a child that was killed

---@class grun.process
---@field pid integer
---@field command string the first word of the command
---@field stdin? grun.conn our end of the pipe, where one was asked for
---@field stdout? grun.conn
---@field stderr? grun.conn
local process = native.methods

local M = {}
M.process = M

---@class grun.process.options
---@field [integer] string|number the command, looked for in PATH, and its arguments
---@field cwd? string directory to run in
---@field env? table<string, string|number> the whole environment; extend a copy from environ()
---@field stdin? "pipe"|"inherit"|"null"|integer|file*|grun.conn default "inherit"; a connection is
--- handed over: it is closed here
---@field stdout? "pipe"|"inherit"|"null"|integer|file*|grun.conn
---@field stderr? "pipe"|"inherit"|"null"|"stdout"|integer|file*|grun.conn
---@field group? boolean makes it the leader of its own process group, which kill() then reaches
---@field program? string path of what is executed, if it is not the command's first word
---@field fds? integer[] descriptors that become the child's 3, 4, … (at most 64)
---@field session? boolean the same with its own session, without a terminal

--- Starts a program. Returns nil, message, code when it cannot be executed.
---@param how grun.process.options
---@return grun.process|nil, string?, string?
M.spawn = native.spawn

--- A table with this process's environment variables.
---@return table<string, string>
M.environ = native.environ

local Ended = select.poll_op(function(op)
  if not op.obj:_poll() then
    return false
  end
  return true, op.obj:wait(0)
end)

--- The operation of waiting for the end, for grun.select; its results are those of wait().
---@return grun.op
function process:op_wait()
  return setmetatable({ obj = self }, Ended)
end

-- ---- run ----

-- Reads to the end, at most `max` bytes. Returns true, or nil, message, code.
local function drain(job, conn, pieces)
  local left = job.max
  while true do
    local data, message, code = conn:recv()
    if not data then
      return code == "closed" or nil, message, code
    end
    left = left - #data
    if left < 0 then
      job.failure = { job.name .. ": too much output", "too_large" }
      job.process:kill("KILL")
      conn:close()
      return
    end
    pieces[#pieces + 1] = data
  end
end

-- A child that does not want all of its input is no failure.
local function feed(conn, input)
  conn:write(input)
  conn:close()
end

local function start(job, how)
  local p, list = job.process, {}
  if p.stdin then
    list[#list + 1] = core.spawn(feed, p.stdin, how.input)
  end
  for _, name in ipairs({ "stdout", "stderr" }) do
    if p[name] then
      job[name] = {}
      list[#list + 1] = core.spawn(drain, job, p[name], job[name])
    end
  end
  return list
end

local function left(limit)
  return limit and math.max(0, limit - core.now())
end

-- Returns what p:wait() does; nil, "timeout", "timeout" after the time `limit`.
local function finish(job, how, limit)
  for _, t in ipairs(start(job, how)) do
    local ok, message, code = t:join(left(limit))
    if not ok then
      return ok, message, code
    end
  end
  return job.process:wait(left(limit))
end

local function close(job)
  local p = job.process
  for _, name in ipairs({ "stdin", "stdout", "stderr" }) do
    if p[name] then
      p[name]:close()
    end
  end
end

local function text(pieces)
  return pieces and table.concat(pieces)
end

-- Waits for the end, too, so that nothing is left behind; only a hanging disk holds it up.
local function kill(job)
  job.process:kill("KILL")
  scope.shield(process.wait, job.process, UNWIND)
end

local function result(job, ok, code, what, name)
  close(job)
  if not ok then
    kill(job)
    return error(code, 0)
  end
  local output = { stdout = text(job.stdout), stderr = text(job.stderr) }
  if job.failure then
    return nil, job.failure[1], job.failure[2], output
  elseif what and what ~= "signal" then
    kill(job)
    return nil, what, name, output
  end
  output.code, output.signal = code, name
  return output
end

local function check(ok, what, value)
  if not ok then
    error(("process: %s, got %s"):format(what, type(value)), 4)
  end
end

local function is_count(value)
  return value == nil or (type(value) == "number" and value >= 0)
end

-- What spawn gets: the caller's table without what only run knows, with run's defaults.
local function prepare(how)
  check(type(how) == "table", "table expected", how)
  local input = how.input
  check(input == nil or type(input) == "string" or type(input) == "table",
    "input: string or list of strings expected", input)
  check(is_count(how.timeout), "timeout: number of seconds, 0 or more, expected", how.timeout)
  check(is_count(how.max_output), "max_output: number of bytes expected", how.max_output)
  local copy = { group = how.stdin ~= "inherit", stdout = "pipe", stderr = "pipe" }
  copy.stdin = input and "pipe" or "null"
  for key, value in pairs(how) do
    if key ~= "input" and key ~= "timeout" and key ~= "max_output" then
      copy[key] = value
    end
  end
  check(not (input and copy.stdin ~= "pipe"), "input and stdin exclude each other", how.stdin)
  check(copy.stdin ~= "pipe" or input, "stdin: \"pipe\" needs input", how.stdin)
  return copy
end

---@class grun.process.run_options: grun.process.options
---@field input? string|string[] for its stdin, which is a pipe then; without it stdin is "null"
---@field timeout? number seconds for all of it
---@field max_output? integer bytes of stdout, and of stderr, each (default 64 MiB)

---@class grun.process.result
---@field code? integer exit status
---@field signal? string what killed it, such as "SIGKILL"
---@field stdout? string when it is a pipe, as by default
---@field stderr? string

--- Runs a program to its end: feeds its input and collects its output meanwhile, until it has ended
--- and nobody has its output open any more. It gets its own process group, unless its stdin is
--- "inherit". Returns nil, message, code when it cannot be executed; after the timeout, or with
--- "too_large" past max_output, the whole group is killed and the output so far is the fourth
--- result. The same when the calling thread is cancelled, which raises. Parks.
---@param how grun.process.run_options
---@return grun.process.result|nil, string?, string?, grun.process.result?
---@async
function M.run(how)
  local copy = prepare(how)
  local limit = how.timeout and core.now() + how.timeout
  local ok, message, code = core.check()
  if message then
    return ok, message, code
  end
  local p
  p, message, code = native.spawn(copy, 2)
  if not p then
    return nil, message, code
  end
  local job = { process = p, name = p.command, max = how.max_output or MAX_OUTPUT }
  return result(job, pcall(finish, job, how, limit))
end

return M
