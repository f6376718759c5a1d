-- SPDX-License-Identifier: MIT
-- Runs what the command line asks for, in the first thread.

local core = require("grun.core")
local grun = require("grun")

local function fail(message)
  io.stderr:write("grun: ", message, "\n")
  os.exit(1)
end

local function fail_format(format, ...)
  return fail(format:format(...))
end

-- Globals of -e chunks and the prompt: grun's functions besides everybody else's.
local function open_env()
  return setmetatable({}, {
    __index = function(_, key)
      local value = _G[key]
      if value == nil then
        value = grun[key]
      end
      return value
    end,
    __newindex = _G,
  })
end

-- ---- LuaJIT's own options ----

local function jit_option(command)
  local name, rest = command:match("^([^=]*)=?(.*)$")
  if rest == "" and (name == "on" or name == "off" or name == "flush") then
    return jit[name]()
  end
  local ok, module = pcall(require, "jit." .. name)
  if not ok or type(module) ~= "table" or not module.start then
    fail("unknown LuaJIT command '" .. command .. "', or its modules are not installed")
  end
  local args = {}
  for arg in rest:gmatch("[^,]+") do
    args[#args + 1] = arg
  end
  module.start(unpack(args))
end

local function jit_optimise(flags)
  local args = {}
  for flag in flags:gmatch("[^,]+") do
    args[#args + 1] = flag
  end
  local ok, message = pcall(require("jit.opt").start, unpack(args))
  if not ok then
    fail("bad optimisation option '-O" .. flags .. "': " .. tostring(message))
  end
end

-- ---- -e, -l and friends, in their order ----

local function run_chunk(text, name)
  local chunk, message = loadstring(text, name)
  if not chunk then
    fail(message)
  end
  return setfenv(chunk, open_env())()
end

local function require_global(name)
  -- Called by C, require puts no position of this file before its message.
  local ok, module = xpcall(require, core.traceback, name)
  if not ok then
    error(module, 0)
  end
  if _G[name] == nil then
    _G[name] = module
  end
end

local actions = {
  e = function(text)
    run_chunk(text, "=(command line)")
  end,
  l = require_global,
  j = jit_option,
  O = function(flags)
    jit_optimise(flags == true and "" or flags)
  end,
}

local function run_actions(config)
  for _, setting in ipairs(config.settings) do
    local action = actions[setting[1]]
    if action then
      action(setting[2])
    end
  end
end

local function run_init_variable()
  local name = "LUA_INIT"
  local text = os.getenv(name)
  if not text then
    return
  elseif text:sub(1, 1) == "@" then
    return dofile(text:sub(2))
  end
  local chunk, message = loadstring(text, "=" .. name)
  if not chunk then
    fail(message)
  end
  return chunk()
end

-- ---- Scripts ----

local function load_script(name)
  if name == "-" then
    return loadfile()
  end
  return loadfile(name)
end

local function load_scripts(names)
  local chunks = {}
  for i, name in ipairs(names) do
    local chunk, message = load_script(name)
    chunks[i] = chunk or fail(message)
  end
  return chunks
end

local function check_scripts(config, names)
  local status = 0
  for _, name in ipairs(names) do
    local chunk, message = load_script(name)
    if not chunk then
      io.stderr:write("grun: ", message, "\n")
      status = 1
    end
  end
  if status == 0 and #config.settings > 0 then
    require("grun.settings").act(config, {}, fail_format, names)
  end
  os.exit(status)
end

local function is_lua(name)
  return name ~= nil and name:find("%.lua$") ~= nil
end

-- The first operand is a script; while it and the next one end in .lua, the next is one more.
local function split_operands(config)
  local words, scripts, i = config.words, {}, config.first
  if words[i] then
    scripts[1] = words[i]
    i = i + 1
    while not config.separated and is_lua(words[i - 1]) and is_lua(words[i]) do
      scripts[#scripts + 1] = words[i]
      i = i + 1
    end
    if words[i] == "--" and not config.separated then
      i = i + 1
    end
  end
  return scripts, i
end

-- arg as lua(1) has it: [0] the script, positive its arguments, negative what stood before it.
local function make_arg(config, script, first)
  local arg, words = { [0] = script }, config.words
  for i = first, #words do
    arg[i - first + 1] = words[i]
  end
  for i = 0, config.first - 1 do
    arg[i - config.first] = words[i]
  end
  return arg
end

local function spawn_script(chunk, env, arg)
  setfenv(chunk, env)
  local t = core.spawn(function()
    setfenv(0, env)
    return chunk(unpack(arg))
  end)
  rawset(t, "_script", true)
  t.name = arg[0]
end

-- With --preload, workers are forked here.
local function wait_for_fork()
  local preload = package.loaded["grun.preload"]
  if preload then
    preload.wait()
  end
end

local function run_scripts(config, scripts, first)
  local chunks = load_scripts(scripts)
  wait_for_fork()
  for i = 2, #chunks do
    local arg = make_arg(config, scripts[i], first)
    spawn_script(chunks[i], setmetatable({ arg = arg }, { __index = _G }), arg)
  end
  local chunk, arg = chunks[1], make_arg(config, scripts[1], first)
  core.current().name = scripts[1]
  if #chunks > 1 then
    local env = setmetatable({ arg = arg }, { __index = _G })
    setfenv(chunk, env)
    setfenv(0, env)
  else
    _G.arg = arg
  end
  if config.interactive then
    chunk(unpack(arg))
    return require("grun.repl").run(config, open_env())
  end
  return chunk(unpack(arg))
end

-- First operands that are not scripts -> their modules, whose run(config) finds the words after it
-- from config.words[config.first] on.
local commands = {
  serve = "grun.serve",
  ps = "grun.tool.ps",
  top = "grun.tool.top",
  trace = "grun.tool.trace",
  stop = "grun.tool.act",
  reload = "grun.tool.act",
  upgrade = "grun.tool.act",
  scale = "grun.tool.act",
  reopen = "grun.tool.act",
  kill = "grun.tool.act",
  doc = "grun.doc",
}

local function has_process_options(config)
  for _, setting in ipairs(config.settings) do
    if not actions[setting[1]] then
      return true
    end
  end
  return false
end

-- Does what the options say about processes. Returns true when this one was a master, and all of
-- its workers have ended.
local function run_master(config, scripts)
  local asked = os.getenv("GRUN_WORKER") or os.getenv("NOTIFY_SOCKET")
    or has_process_options(config)
  return asked and #scripts > 0 and require("grun.settings").act(config, {}, fail_format, scripts)
end

-- Workers are executed anew with the same words, and could not read the same input again.
local function refuse_master(config)
  local settings = has_process_options(config) and require("grun.settings")
  if settings and settings.plan(settings.read(config.settings, fail_format)) then
    fail("worker processes need a script in a file; -w and its like are for those")
  end
end

local function is_command(config)
  return not config.separated and commands[config.words[config.first]]
end

return function(config)
  rawset(core.current(), "_script", true)
  local scripts, first = split_operands(config)
  local command = is_command(config)
  if #scripts == 0 or scripts[1] == "-" then
    refuse_master(config)
  end
  if not command and not config.check and run_master(config, scripts) then
    return
  end
  local nothing_asked = not config.has_action and not config.show_version
  if config.show_version and not config.interactive then
    print("grun " .. config.version .. " (" .. jit.version .. ")")
  end
  if #scripts == 0 then
    _G.arg = make_arg(config, config.words[0], config.first)
  end
  local function prelude()
    if config.log_file then
      require("grun.worker").heed_reopen()
    end
    if config.environment then
      run_init_variable()
    end
    run_actions(config)
  end
  if command then
    config.first = config.first + 1
    return require(command).run(config, prelude)
  end
  prelude()
  if config.check then
    return #scripts > 0 and check_scripts(config, scripts) or fail("--check needs a script")
  elseif #scripts > 0 then
    return run_scripts(config, scripts, first)
  elseif config.interactive or (config.terminal and nothing_asked) then
    return require("grun.repl").run(config, open_env())
  elseif nothing_asked then
    return run_scripts(config, { "-" }, config.first)
  end
end
