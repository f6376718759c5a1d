-- SPDX-License-Identifier: MIT
-- The prompt: as that of lua(1), while the other threads go on.
--
--   an expression, or = and an expression   prints its values
--   an incomplete chunk                     goes on after the second prompt
--   _PROMPT, _PROMPT2                       replace "> " and ">> "
--   ^D, the end of input                    stops servers and threads in order, then the process
--                                           ends
-- On a terminal:
--   ^C at the prompt                        drops what was typed
--   ^C while a chunk runs                   cancels it: its waits raise. If it goes on all the
--                                           same, another ^C leaves it to the background. A loop
--                                           that never waits notices nothing; there the second ^C
--                                           ends the process, as it does without a prompt
--   arrows, ^R, Tab                         history (see history.lua), search, completion of
--                                           names; with libedit, which reads ~/.editrc
-- Every chunk runs in a thread of its own. Tables are shown with what is in them.

local completion = require("grun.completion")
local console = require("grun.console")
local core = require("grun.core")
local edit = require("grun.core.edit")
local stop = require("grun.stop")
local waiter = require("grun.waiter")

local M = {}

local out = {
  report = function(message)
    io.stderr:write(message, "\n")
  end,
  print = function()
    return print
  end,
}

-- ---- Running one, and ^C ----

local running -- the chunk's thread and the prompt's waiter, while it is waited for

-- Called in the hub.
local function interrupt()
  if not running then
    edit.interrupt()
  elseif not rawget(running.thread, "_cancel") then
    running.thread:cancel("interrupted")
  else
    running.abandoned = true
    running.waiter:notify(running.thread)
  end
end

local function wait_for(thread)
  running = { thread = thread, waiter = waiter.new() }
  thread:_subscribe(running.waiter)
  local result
  repeat
    result = running.waiter:park("chunk")
  until result ~= "ok" or thread:_poll() or running.abandoned
  thread:_unsubscribe(running.waiter)
  if running.abandoned and not thread:_poll() then
    io.stderr:write("grun: ", tostring(thread), " goes on in the background\n")
  end
  running = nil
  core.check()
end

local function evaluate(chunk, skip, env)
  local thread = core.spawn(console.run, out, setfenv(chunk, env), skip)
  thread.name = "chunk"
  wait_for(thread)
end

-- A chunk that can never go on is cancelled; the prompt stays.
local function deadlock()
  if not running then
    return false
  end
  require("grun.inspect").deadlock()
  interrupt()
  if running.thread:status() == "waiting" then -- shielded
    interrupt()
  end
  return true
end

-- ---- The line while others write ----

local function shown(ok, ...)
  edit.show()
  if ok then
    return ...
  end
  return error((...), 0)
end

-- fn, with the line that is being typed off the screen meanwhile.
local function beside_line(fn)
  return function(...)
    if edit.hide() then
      return shown(pcall(fn, ...))
    end
    return fn(...)
  end
end

-- As shown, after a text that ended in `last`.
local function shown_after(last, ...)
  if last:sub(-1) ~= "\n" then
    io.stdout:write("\n") -- else the next one to hide the line would take this off the screen too
  end
  io.stdout:flush()
  return shown(...)
end

-- A function that writes to a file of Lua's: io.write, or the method (`is_method`).
local function file_writer(write, is_method)
  return function(...)
    local file = is_method and (...) or io.output()
    local n = select("#", ...)
    if (file == io.stdout or file == io.stderr) and n > (is_method and 1 or 0) and edit.hide() then
      return shown_after(tostring((select(n, ...))), pcall(write, ...))
    end
    return write(...)
  end
end

local function keep_line()
  stop.write = beside_line(stop.write)
  core.hooks.failed = beside_line(core.hooks.failed)
  local write, methods = print, debug.getmetatable(io.stdout).__index
  function _G.print(...)
    if edit.hide() then
      write(...)
      io.stdout:flush()
      return edit.show()
    end
    return write(...)
  end
  rawset(io, "write", file_writer(io.write, false))
  methods.write = file_writer(methods.write, true)
end

-- ---- Reading ----

local function prompt_text(name, default)
  local ok, text = pcall(tostring, _G[name])
  return _G[name] ~= nil and ok and text or default
end

local function read_plain(prompt)
  io.stdout:write(prompt)
  io.stdout:flush()
  local line = edit.read_plain()
  if not line then
    io.stdout:write("\n")
  end
  return line
end

-- Returns read(prompt) -> line, nil at the end of input, false after ^C; and a function that keeps
-- a line in the history.
local function open_input(terminal, env)
  local function complete(text)
    return completion.complete(text, { env, _G, require("grun") })
  end
  if terminal and edit.open(complete) then
    keep_line()
    return edit.read, require("grun.history").open()
  end
  return read_plain, function() end
end

-- Returns a function for console.read.
local function open_lines(terminal, env)
  local read, keep = open_input(terminal, env)
  return function(more)
    local line = read(more and prompt_text("_PROMPT2", ">> ") or prompt_text("_PROMPT", "> "))
    if line then
      keep(line)
    end
    return line
  end
end

--- Runs the prompt until the end of input, then begins the orderly stop. env: the chunks' globals.
---@async
function M.run(config, env)
  local read = open_lines(config.terminal, env)
  core.current().name = "prompt"
  core.hooks.deadlock = beside_line(deadlock)
  if config.terminal then
    stop.interrupt = interrupt
  end
  if not config.quiet then
    print("grun " .. config.version .. " (" .. jit.version .. ")")
  end
  local chunk, skip
  repeat
    chunk, skip = console.read(read, out.report)
    if chunk then
      evaluate(chunk, skip, env)
    end
  until chunk == nil
  stop.start("the prompt was closed", 0)
end

return M
