-- SPDX-License-Identifier: MIT
-- A grun that runs beside the spec: its process id is known, so that it can be sent signals.

local grun = require("grun")
local helper = require("spec.helper")

local LIMIT = 10 -- seconds until what has to happen counts as not happening

local Child = {}
Child.__index = Child

local M = {}

--- The text of a file, "" when there is none.
function M.contents(name)
  local file = io.open(name, "rb")
  local text = file and file:read("*a") or ""
  if file then
    file:close()
  end
  return text
end

--- Calls fn until it returns something; fails after the limit, at that level (2: the caller).
function M.eventually(what, fn, level)
  local limit = grun.now() + LIMIT
  repeat
    local value = fn()
    if value then
      return value
    end
    grun.sleep(0.005)
  until grun.now() > limit
  error("not within " .. LIMIT .. " s: " .. what, level or 2)
end

-- A shell's background jobs ignore ^C and SIGQUIT, so that is undone. The status arrives by a
-- rename, since a file that is there must be whole.
local COMMAND = [[
{ env --default-signal=INT,QUIT %s </dev/null >%s 2>%s & echo $! >%s.new; mv %s.new %s
wait $!; echo $? >%s.new; mv %s.new %s; } </dev/null >/dev/null 2>&1 &]]

--- Starts grun with a list of arguments.
function M.start(args)
  local self = setmetatable({ _out = helper.tmpname(), _err = helper.tmpname() }, Child)
  local pid, status = helper.tmpname(), helper.tmpname()
  os.remove(pid)
  os.remove(status)
  self._status = status
  local words = { helper.quote(helper.grun) }
  for _, word in ipairs(args) do
    words[#words + 1] = helper.quote(word)
  end
  os.execute(COMMAND:format(table.concat(words, " "), self._out, self._err, pid, pid, pid, status,
    status, status))
  self.pid = M.eventually("the child's process id", function()
    return tonumber(M.contents(pid))
  end, 3)
  return self
end

--- Starts grun with the text of a script.
function M.start_script(source)
  return M.start({ helper.script(source) })
end

--- What it has written to stdout, and to stderr, so far.
function Child:out()
  return M.contents(self._out)
end

function Child:err()
  return M.contents(self._err)
end

--- Waits until its stdout (or stderr) contains a plain text.
function Child:expect(text)
  M.eventually(text .. " on stdout", function()
    return self:out():find(text, 1, true)
  end, 3)
end

function Child:expect_err(text)
  M.eventually(text .. " on stderr", function()
    return self:err():find(text, 1, true)
  end, 3)
end

--- Sends a signal, such as "INT".
function Child:signal(name)
  os.execute(("kill -%s %d 2>/dev/null"):format(name, self.pid))
end

--- Waits for its end; returns the exit status (128 + n for signal n).
function Child:wait()
  return M.eventually("the end of the child", function()
    return tonumber(M.contents(self._status))
  end, 3)
end

function Child:ended()
  return tonumber(M.contents(self._status)) ~= nil
end

--- For finally(): ends it if it still runs.
function Child:destroy()
  if not self:ended() then
    self:signal("KILL")
    self:wait()
  end
end

return M
