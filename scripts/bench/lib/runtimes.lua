-- SPDX-License-Identifier: MIT
-- The runtimes that are compared: how each runs a file of this directory, whether it is installed,
-- and its version. Another peer is one entry here, one small file, and one line in a row.

local process = require("scripts.bench.lib.process")

local M = {}

local env -- set by M.configure

---@param settings {bench_dir: string, build_dir: string, grun: string}
function M.configure(settings)
  env = settings
end

local function source(file)
  return env.bench_dir .. "/" .. file
end

-- Runs a command that makes `binary` from files unless it is newer than all of them.
local function make(binary, files, command)
  local newer = {}
  for _, file in ipairs(files) do
    newer[#newer + 1] = ("[ %s -nt %s ]"):format(binary, source(file))
  end
  if not process.succeeds(table.concat(newer, " && ")) then
    local text = process.output(("mkdir -p %s && %s"):format(env.build_dir, command))
    if not process.succeeds(table.concat(newer, " && ")) then
      error(("cannot build: %s\n%s"):format(command, text), 0)
    end
  end
  return binary
end

--- Compiles a C file of this directory; returns the binary's path. With "module" it becomes a Lua
--- module, with "lua" a program that links libluajit.
---@param file string
---@param kind? "module"|"lua"
---@return string
function M.compile(file, kind)
  local name = file:match("^(.*)%.c$")
  local binary = env.build_dir .. "/" .. (kind == "module" and name .. ".so" or name)
  local flags = name:find("^tls_") and "-lssl -lcrypto" or
    kind == "module" and "-shared -fPIC $(pkg-config --cflags luajit)" or
    kind == "lua" and "$(pkg-config --cflags --libs luajit)" or ""
  return make(binary, { file, "bench.h" }, ("${CC:-cc} -O2 -std=gnu11 -Wall -Wextra -o %s %s %s")
    :format(binary, source(file), flags))
end

local function build_go(file)
  local binary = env.build_dir .. "/" .. file:gsub("%.go$", "")
  return make(binary, { file }, ("go build -o %s %s"):format(binary, source(file)))
end

-- A runtime: `command(file)` starts a file; `has` is a command that succeeds when it is installed;
-- `package` is what Debian calls it; `version` is a command that prints it, or something near it.
local function interpreted(program, package, has, version)
  return {
    command = function(file) return program .. " " .. source(file) end,
    has = has,
    package = package,
    version = version,
  }
end

local function lua(package, module, version)
  return interpreted("luajit", package, ("luajit -e 'require %q'"):format(module),
    version or ("dpkg-query -W -f '${Version}' " .. package))
end

-- The python3 of Debian's packages, whatever another one is found first.
local function python(package, modules, version)
  local import = ("/usr/bin/python3 -c 'import %s%%s'"):format(modules)
  return interpreted("/usr/bin/python3", package, import:format(""),
    import:format(("; import sys; print(%s, \"Python\", sys.version.split()[0])"):format(version)))
end

local runtimes = {
  grun = {
    command = function(file) return env.grun .. " " .. source(file) end,
    version = function() return process.output(env.grun .. " -v") end,
  },
  c = { command = M.compile, version = "${CC:-cc} --version | head -n 1" },
  luajit = interpreted("luajit", "luajit", "luajit -v", "luajit -v"),
  libluajit = {
    command = function(file) return M.compile("host.c", "lua") .. " " .. source(file) end,
    version = "pkg-config --modversion luajit",
  },
  go = { command = build_go, has = "go version", package = "golang-go", version = "go version" },
  gevent = python("python3-gevent", "gevent", "gevent.__version__"),
  asyncio = python("python3-uvloop", "uvloop", '"uvloop", uvloop.__version__'),
  fastapi = python("python3-fastapi python3-uvicorn", "fastapi, uvicorn",
    '"FastAPI", fastapi.__version__, "uvicorn", uvicorn.__version__'),
  node = interpreted("node", "nodejs", "node --version",
    "echo $(node --version), package $(dpkg-query -W -f '${Version}' nodejs)"),
  tarantool = interpreted("tarantool", "tarantool", "tarantool --version",
    "tarantool --version | head -n 1"),
  nginx = {
    command = function(file) return ("%s %s/nginx"):format(source(file), env.build_dir) end,
    has = "command -v nginx",
    package = "nginx-light",
    version = "nginx -v",
  },
  cqueues = lua("lua-cqueues", "cqueues"),
  ["lua-http"] = lua("lua-http", "http.server"),
  copas = lua("lua-copas", "copas"),
  luv = lua("lua-luv", "luv"),
}

local reasons, versions = {}, {}

--- Why a runtime cannot take part; nil when it can.
---@param name string
---@return string?
function M.missing(name)
  local runtime = assert(runtimes[name], name)
  if reasons[name] == nil then
    reasons[name] = runtime.has and not process.succeeds(runtime.has) and
      ("Debian's %s is not installed (scripts/setup --bench)"):format(runtime.package)
  end
  return reasons[name] or nil
end

--- The command that runs "file arguments" of this directory; builds what has to be built.
---@param name string
---@param text string
---@return string
function M.command(name, text)
  local file, arguments = text:match("^(%S+)(.*)$")
  return runtimes[name].command(file) .. arguments
end

---@param name string
---@return string
function M.version(name)
  if not versions[name] then
    local version = runtimes[name].version
    versions[name] = (type(version) == "function" and version() or process.output(version))
      :match("[^\n]*"):gsub("^nginx version: ", "")
  end
  return versions[name]
end

return M
