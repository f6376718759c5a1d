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
--   arrows, ^R, Tab                         history (in ~/.grun_history), search, completion of
--                                           names; with libedit, which reads ~/.editrc
-- Every chunk runs in a thread of its own.

local core = require("grun.core")
local edit = require("grun.core.edit")
local stop = require("grun.stop")
local waiter = require("grun.waiter")

local HISTORY_LINES = 1000

local M = {}

-- ---- Chunks ----

local function is_incomplete(message)
  return message:sub(-7) == "'<eof>'"
end

-- A text may be expressions or statements. The nil keeps a call from being a tail call, which would
-- take the chunk out of error messages. Returns the chunk and how many of its results to skip; or
-- nil, the message and whether more input could complete it.
local function compile(text)
  local chunk, expression, statement
  chunk, expression = loadstring("return nil, " .. text, "=stdin")
  if chunk then
    return chunk, 1
  end
  chunk, statement = loadstring(" " .. text, "=stdin") -- no # line, no bytecode
  if chunk then
    return chunk, 0
  elseif is_incomplete(expression) then
    return nil, expression, true
  end
  return nil, statement, is_incomplete(statement)
end

local function describe(err)
  local mt = debug.getmetatable(err)
  if type(err) == "string" or type(err) == "table" and type(mt) == "table" and mt.__tostring then
    return tostring(err)
  end
  return ("(error object is a %s value)"):format(type(err))
end

-- The message, and the traceback down to the chunk.
local function traced(err)
  local ok, text = pcall(describe, err)
  text = debug.traceback(ok and text or "(error object whose __tostring failed)", 2)
  return (text:gsub("\n%s*%[C%]: in function 'xpcall'.*", ""))
end

local function report(ok, message)
  if not ok then
    io.stderr:write(message, "\n")
  end
end

local function finish(skip, ok, ...)
  if not ok then
    report(ok, ...)
  elseif select("#", ...) > skip then
    report(xpcall(print, traced, select(skip + 1, ...)))
  end
end

local function run(chunk, skip)
  finish(skip, xpcall(chunk, traced))
end

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
  local thread = core.spawn(run, setfenv(chunk, env), skip)
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

-- ---- Names to complete ----

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}

-- Adds the string keys of a table and of those that its metatables lead to.
local function add_fields(names, value)
  for _ = 1, 10 do
    if type(value) == "table" then
      for key in next, value do
        names[key] = true
      end
    end
    local mt = debug.getmetatable(value)
    value = type(mt) == "table" and rawget(mt, "__index") or nil
  end
end

local function raw_field(value, key)
  for _ = 1, 10 do
    local found = type(value) == "table" and rawget(value, key)
    if found then
      return found
    end
    local mt = debug.getmetatable(value)
    value = type(mt) == "table" and rawget(mt, "__index") or nil
  end
end

local function names_for(path)
  local names, grun = {}, require("grun")
  if path == "" then
    add_fields(names, _G)
    add_fields(names, grun)
    for _, word in ipairs(KEYWORDS) do
      names[word] = true
    end
    return names
  end
  local value
  for name in path:gmatch("[^.:]+") do
    if value == nil then
      value = raw_field(_G, name) or rawget(grun, name)
    else
      value = raw_field(value, name)
    end
  end
  add_fields(names, value)
  return names
end

local function common_start(words)
  local first, last = words[1], words[#words]
  local n = 0
  while n < #first and first:byte(n + 1) == last:byte(n + 1) do
    n = n + 1
  end
  return first:sub(1, n)
end

-- Returns what to insert, and a list of the possibilities when there is nothing to insert.
local function complete(text)
  local path, start = text:match("([%a_][%w_.:]*[.:])([%w_]*)$")
  if not path then
    path, start = "", text:match("[%w_]*$")
  end
  local words = {}
  for name in pairs(names_for(path)) do
    local fits = type(name) == "string" and name:sub(1, #start) == start
    if fits and name:find("^[%a_][%w_]*$") and (start ~= "" or name:sub(1, 1) ~= "_") then
      words[#words + 1] = name
    end
  end
  table.sort(words)
  if #words == 0 then
    return nil
  end
  local insert = common_start(words):sub(#start + 1)
  if insert ~= "" then
    return insert
  end
  return nil, #words > 1 and table.concat(words, "  ") or nil
end

-- ---- History ----

local function load_history(file)
  local lines = {}
  local f = io.open(file, "r")
  if not f then
    return
  end
  for line in f:lines() do
    lines[#lines + 1] = line
  end
  f:close()
  local first = math.max(1, #lines - HISTORY_LINES + 1)
  for i = first, #lines do
    edit.remember(lines[i])
  end
  f = first > 1 and io.open(file, "w")
  if f then
    f:write(table.concat(lines, "\n", first), "\n")
    f:close()
  end
end

-- Returns a function that keeps a line.
local function open_history()
  local home = os.getenv("HOME")
  local file, last = home and home ~= "" and home .. "/.grun_history", nil
  if file then
    load_history(file)
  end
  return function(line)
    if line:find("%S") and line ~= last then
      edit.remember(line)
      last = line
      if file then
        edit.append(file, line)
      end
    end
  end
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

local function keep_line()
  stop.write = beside_line(stop.write)
  core.hooks.failed = beside_line(core.hooks.failed)
  local write = print
  function _G.print(...)
    if edit.hide() then
      write(...)
      io.stdout:flush()
      return edit.show()
    end
    return write(...)
  end
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
local function open_input(terminal)
  if terminal and edit.open(complete) then
    keep_line()
    return edit.read, open_history()
  end
  return read_plain, function() end
end

-- Returns what compile does; or nil at the end of input, or false if there is nothing to run.
local function read_chunk(read, keep)
  local line, text = read(prompt_text("_PROMPT", "> ")), nil
  while line do
    keep(line)
    text = text and text .. "\n" .. line or line:gsub("^=", "")
    local chunk, detail, more = compile(text)
    if chunk then
      return chunk, detail
    elseif not more then
      report(false, detail)
      return false
    end
    line = read(prompt_text("_PROMPT2", ">> "))
    if line == nil then
      report(false, detail)
    end
  end
  return line
end

--- Runs the prompt until the end of input, then begins the orderly stop. env: the chunks' globals.
---@async
function M.run(config, env)
  local read, keep = open_input(config.terminal)
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
    chunk, skip = read_chunk(read, keep)
    if chunk then
      evaluate(chunk, skip, env)
    end
  until chunk == nil
  stop.start("the prompt was closed", 0)
end

return M
