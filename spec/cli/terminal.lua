-- SPDX-License-Identifier: MIT
-- A grun at a terminal of its own, made by socat: what is sent counts as typed.

local grun = require("grun")
local helper = require("spec.helper")

local LIMIT = 10 -- seconds until what has to happen counts as not happening

-- Tells the process id, then whether grun left the terminal's modes as they were, and its status.
local SCRIPT = [[#!/bin/sh
trap '' INT QUIT TSTP
stty rows 24 cols 80
before=$(stty -g)
%s env --default-signal=INT,QUIT,TSTP sh -c 'echo "pid $$."; exec "$0" "$@"' %s
status=$?
after=$(stty -g)
modes=changed
[ "$before" = "$after" ] && modes=same
echo "status $status, modes $modes."
]]

local Terminal = {}
Terminal.__index = Terminal

local M = {}

local function words(args)
  local list = { helper.quote(helper.grun) }
  for _, word in ipairs(args) do
    list[#list + 1] = helper.quote(word)
  end
  return table.concat(list, " ")
end

local function assignments(env)
  local list = {}
  for name, value in pairs(env) do
    list[#list + 1] = name .. "=" .. helper.quote(value)
  end
  return table.concat(list, " ")
end

local function accept(command)
  local path = helper.tmpname()
  os.remove(path)
  local listener = assert(grun.listen("unix:" .. path))
  os.execute(("socat EXEC:%s,pty,setsid,ctty,stderr UNIX-CONNECT:%s </dev/null >/dev/null 2>&1 &")
    :format(command, path))
  local conn, message = listener:accept(LIMIT)
  listener:close()
  os.remove(path)
  return assert(conn, message)
end

--- Starts grun with a list of arguments. home: its $HOME (nil: none). env: more variables.
function M.open(args, home, env)
  env = env or {}
  env.TERM = env.TERM or "xterm"
  env.HOME = home or "/nonexistent"
  local command = helper.tmpname(SCRIPT:format(assignments(env), words(args)))
  os.execute("chmod +x " .. command)
  local self = setmetatable({ _conn = accept(command), _text = "" }, Terminal)
  self.pid = tonumber(self:expect("pid [0-9]+%."):match("pid (%d+)%.$"))
  return self
end

--- Types a text.
function Terminal:send(text)
  assert(self._conn:write(text))
end

--- Waits for a pattern on the screen; returns everything new up to its end.
function Terminal:expect(pattern)
  local limit = grun.now() + LIMIT
  while not self._text:find(pattern) do
    local data, message = self._conn:recv(4096, math.max(0, limit - grun.now()))
    if not data then
      error(("%s: no %s in %q"):format(message, pattern, self._text), 2)
    end
    self._text = self._text .. data
  end
  local _, last = self._text:find(pattern)
  local seen = self._text:sub(1, last)
  self._text = self._text:sub(last + 1)
  return seen
end

--- Types a text and waits for a pattern.
function Terminal:type(text, pattern)
  self:send(text)
  return self:expect(pattern)
end

--- Waits for grun's end; returns its status. The terminal's modes must be as they were.
function Terminal:finish()
  local status, modes = self:expect("status %d+, modes %a+%."):match("status (%d+), modes (%a+)")
  assert(modes == "same", "grun left other terminal modes")
  return tonumber(status)
end

function Terminal:signal(name)
  os.execute(("kill -%s %d"):format(name, self.pid))
end

--- For finally(): hangs up.
function Terminal:destroy()
  self._conn:close()
  os.execute(("kill -KILL %d 2>/dev/null"):format(self.pid))
end

return M
