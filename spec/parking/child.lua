-- SPDX-License-Identifier: MIT
-- Child processes of the specs about waiting: in each way of compiling, with spec/c/parkmod.c at
-- hand.

local helper = require("spec.helper")
local lfs = require("lfs")

local DIR = "build/spec"

local M = {
  jit_modes = {
    { name = "with the compiler on", flags = {} },
    { name = "with everything compiled at once", flags = { "-Ohotloop=1", "-Ohotexit=1" } },
    { name = "with the compiler off", flags = { "-joff" } },
  },
}

local function modified(name)
  return lfs.attributes(name, "modification") or 0
end

-- Under a name of its own until complete, so that two runs at once do not disturb each other.
local function compile(source, target)
  local unfinished = target .. "." .. math.random(1e9)
  local command = ("mkdir -p %s && cc -std=gnu11 -O1 -g -Wall -Wextra -fexceptions -shared -fPIC " ..
    "$(pkg-config --cflags luajit) -o %s %s && mv %s %s"):format(DIR, unfinished, source, unfinished, target)
  if os.execute(command) ~= 0 then
    error("cannot compile " .. source)
  end
end

--- Compiles a C module of that name when needed; returns the pattern for package.cpath that finds it.
function M.build(source, name)
  local target = ("%s/%s.so"):format(DIR, name)
  if modified(target) <= modified(source) then
    compile(source, target)
  end
  return lfs.currentdir() .. "/" .. DIR .. "/?.so"
end

--- Compiles the C modules for waiting when needed; returns the LUA_CPATH that finds them.
function M.cpath()
  M.build("spec/coop/libc.c", "cooplibc")
  return M.build("spec/c/parkmod.c", "parkmod") .. ";;"
end

--- Runs a script with options of grun before it and arguments after it. Returns stdout, stderr,
--- status.
function M.run(script, flags, args)
  local words = { unpack(flags or {}) }
  words[#words + 1] = script
  for _, arg in ipairs(args or {}) do
    words[#words + 1] = arg
  end
  return helper.run_child(words, { timeout = 30, env = { LUA_CPATH = M.cpath() } })
end

--- The same with the text of a script.
function M.run_text(source, flags, args)
  return M.run(helper.script(source), flags, args)
end

return M
