-- SPDX-License-Identifier: MIT
-- `grun serve`: serves the application of a file over HTTP.

local grun = require("grun")
local is_callable = require("grun.http.handler").is_callable
local settings = require("grun.settings")

local HELP = [[
usage: grun serve [options] app.lua [args...]

Serves an application over HTTP until ^C or SIGTERM, which let requests end first. The file returns
  a handler       function(req, res), a router, or anything else that can be called
  a WSAPI app     a table with a function `run`, such as an Orbit application; files called *.wsapi
                  and *.ws return WSAPI applications only, and with --wsapi so does every file
  a table         { handler = one of these, opts = options of grun.server }
Instead of a file the name of a module can be given, which require() finds. Modules beside the file
are found too. The file gets the arguments in the table `arg`, and as ... its module's name, like
every module. Options may also come after app.lua; what begins with "-" and is meant for the
application comes after "--".

Where:
  -b, --bind ADDR          host:port, :port (all interfaces), unix:/path, fd:3, systemd:name, http://...,
                           https://...;
                           may be given several times; default 127.0.0.1:8000
      --certfile FILE      certificate for https; addresses without a scheme are https then
      --keyfile FILE       its key; default: in the same file
      --client-ca FILE     clients must have a certificate of this authority
      --mode MODE          permissions of unix sockets, such as 0660
      --backlog N          clients that may wait to be accepted (1024)
Limits:                    seconds; bytes, also as 64K, 10M, 1G
      --header-timeout S   for the head of a request (10)
      --idle-timeout S     of a connection between two requests (60)
      --body-timeout S     for each piece of a request's body (30)
      --write-timeout S    for each write of a response (30)
      --handshake-timeout S   of TLS (10)
      --max-line N         request line (8K)
      --max-header N       header fields together (16K)
      --max-headers N      their number (100)
      --max-body N         body read into memory (1M)
      --max-connections N  more wait to be accepted
      --keepalive-requests N  requests on one connection
Other:
      --access-log[=FORMAT]   a line for each request on stdout: combined (default), common, or a format
                           with atoms such as '%(h)s "%(r)s" %(s)s %(L)s'
      --access-log-file FILE  append them to a file, which SIGUSR1 opens anew
      --gzip               compress responses for clients that accept it
      --trust-proxy[=N]    believe X-Forwarded-* of N proxies (1)
      --proxy-protocol     connections begin with a header of the PROXY protocol
      --server-header TEXT the Server field of responses
      --wsapi              the file returns a WSAPI application
      --check              load the application, say what would be served, and end
      --help               show this text
Worker processes, kept running by a master:
  -w, --workers N          serve in N processes that share the addresses; auto: one per processor; default
                           $WEB_CONCURRENCY, or no master
      --graceful-timeout S    for requests that run when told to stop (10; with workers 30)
      --worker-timeout S   kill a worker whose loop has not turned for so long (30; 0: never)
      --max-requests N     replace a worker after so many requests
      --max-requests-jitter N   and up to so many more
      --reuse-port         each process has its own listening sockets (SO_REUSEPORT)
      --reload             replace the workers when a file that they have loaded changes
      --preload            load the application once and fork the workers from that: they share memory and
                           start fast; HUP loads it anew
      --pid FILE           write the master's process id there
      --user NAME, --group NAME   whom workers run as (needs root)
      --umask OCTAL, --chdir DIR  set before anything is loaded
Signals are described in grun --help.
]]

local function fail(format, ...)
  io.stderr:write("grun serve: ", format:format(...), "\n")
  os.exit(1)
end

-- ---- Options ----

local types = setmetatable({}, { __index = settings.types })
function types.text(_, text)
  return text
end
types["yes or text"] = types.text
types["yes or count"] = types.count

-- Option -> type, and name of the server's option; options without that are this file's own.
local options = {
  ["--bind"] = { "text" },
  ["--certfile"] = { "text", "cert" },
  ["--keyfile"] = { "text", "key" },
  ["--client-ca"] = { "text", "client_ca" },
  ["--mode"] = { "text", "mode" },
  ["--backlog"] = { "count", "backlog" },
  ["--header-timeout"] = { "seconds", "header_timeout" },
  ["--idle-timeout"] = { "seconds", "idle_timeout" },
  ["--body-timeout"] = { "seconds", "body_timeout" },
  ["--write-timeout"] = { "seconds", "write_timeout" },
  ["--handshake-timeout"] = { "seconds", "handshake_timeout" },
  ["--max-line"] = { "bytes", "max_line" },
  ["--max-header"] = { "bytes", "max_header" },
  ["--max-headers"] = { "count", "max_headers" },
  ["--max-body"] = { "bytes", "max_body" },
  ["--max-connections"] = { "count", "max_connections" },
  ["--keepalive-requests"] = { "count", "max_requests" },
  ["--access-log"] = { "yes or text", "access_log" },
  ["--access-log-file"] = { "text", "access_log_file" },
  ["--gzip"] = { "yes", "gzip" },
  ["--trust-proxy"] = { "yes or count", "trust_proxy" },
  ["--proxy-protocol"] = { "yes", "proxy_protocol" },
  ["--server-header"] = { "text", "server_header" },
  ["--wsapi"] = { "yes" },
  ["--check"] = { "yes" },
  ["--help"] = { "yes" },
}
for name, kind in pairs(settings.options) do
  if name ~= "bind-before-fork" then -- that is what --bind does
    options["--" .. name] = { kind, name == "reuse-port" and "reuse_port" or nil }
  end
end
local short = { b = "--bind", w = "--workers" }

-- Name and value of the option in a word; the value is nil if it may be the next word.
local function split(word)
  local letter, rest = word:match("^%-(%a)(.*)$")
  if letter then
    return short[letter] or word, rest ~= "" and rest:gsub("^=", "") or nil
  end
  local name, value = word:match("^(%-%-[^=]+)=(.*)$")
  return name or word, value
end

-- Reads the option at words[i] into `given`; returns the index of the next word.
local function read_option(words, i, given)
  local name, value = split(words[i])
  local option = options[name]
  local kind = option and option[1]
  if not option then
    fail("unknown option '%s'; see grun serve --help", words[i])
  elseif kind == "yes" and value then
    fail("%s takes no value", name)
  elseif kind:find("^yes") then
    value = value and types[kind](name, value, fail) or true
  else
    if not value then
      i = i + 1
      value = words[i] or fail("missing value after %s", name)
    end
    value = types[kind](name, value, fail)
  end
  if name == "--bind" then
    table.insert(given.bind, value)
  else
    given[name] = value
  end
  return i + 1
end

-- Returns the options, the application's name and its arguments.
local function parse(words, i)
  local given, operands = { bind = {} }, {}
  while words[i] do
    if words[i] == "--" then
      for k = i + 1, #words do
        operands[#operands + 1] = words[k]
      end
      break
    elseif words[i]:find("^%-.") then
      i = read_option(words, i, given)
    else
      operands[#operands + 1] = words[i]
      i = i + 1
    end
  end
  return given, table.remove(operands, 1), operands
end

-- The server's options.
local function server_options(given)
  local opts = {}
  for name, option in pairs(options) do
    if option[2] then
      opts[option[2]] = given[name]
    end
  end
  if opts.access_log == "-" then
    opts.access_log = true
  end
  if opts.mode and not opts.mode:find("^[0-7]+$") then
    fail("--mode: octal number expected, got '%s'", opts.mode)
  end
  return opts
end

-- ---- Addresses ----

local function address_of(text, secure)
  local rest = text:gsub("^tcp://", "")
  if not rest:find("^https?://") then
    rest = rest:gsub("^fd://", "fd:"):gsub("^unix:///", "unix:/")
    if not rest:find("^unix:.") and not rest:find("^fd:%d+$")
        and not rest:find("^systemd:.") and not rest:find("^[^/]*:%d+$") then
      fail("-b %s: host:port, :port, unix:/path, fd:number or systemd:name expected", text)
    end
    rest = (secure and "https://" or "http://") .. rest
  end
  if rest:find("^https:") and not secure then
    fail("-b %s: --certfile is missing", text)
  end
  return rest
end

local function addresses(given, opts)
  local secure = opts.cert ~= nil or opts.tls ~= nil
  local list = {}
  for i, text in ipairs(given.bind[1] and given.bind or { "127.0.0.1:8000" }) do
    list[i] = address_of(text, secure)
  end
  for _, name in ipairs({ "--keyfile", "--client-ca" }) do
    if given[name] and not secure then
      fail("%s without --certfile", name)
    end
  end
  return list
end

-- What a server with that address listens on.
local function socket_of(address)
  local rest = address:gsub("^https?://", "")
  local is_whole = rest:find("^unix:") or rest:find("^fd:") or rest:find("^systemd:")
  return is_whole and rest or "tcp://" .. rest
end

-- ---- The application ----

local function exists(name)
  local file = io.open(name)
  return file and file:close()
end

-- Tells what looks for modules and files where the application is.
local function announce(dir)
  if dir ~= "." then
    package.path = ("%s/?.lua;%s/?/init.lua;%s"):format(dir, dir, package.path)
  end
  local ok, wsapi = pcall(require, "wsapi")
  if ok and type(wsapi) == "table" then
    wsapi.app_path = dir
  end
end

-- Runs a file as require() would: what it returns counts, or the module that it defined itself.
local function run_file(filename)
  local chunk, message = loadfile(filename)
  if not chunk then
    fail("%s", message)
  end
  local name = filename:match("([^/]+)$"):gsub("%.%w+$", "")
  local before = package.loaded[name]
  local value = chunk(name)
  if value == nil and package.loaded[name] ~= before then
    value = package.loaded[name]
  elseif value ~= nil and before == nil then
    package.loaded[name] = value
  end
  return value
end

-- Loads the application; returns what it is and its file.
local function load(name)
  local is_module = not exists(name) and not name:find("/") and not name:find("%.lua$")
  local filename = name
  if is_module then
    filename = package.searchpath(name, package.path)
      or fail("there is no file '%s', and no module of this name", name)
  end
  announce(filename:match("^(.+)/") or ".")
  if is_module then
    return require(name), filename
  end
  return run_file(filename), filename
end

local function is_wsapi(value)
  return type(value) == "table" and type(value.run) == "function" and not is_callable(value)
end

-- The handler in what a file returned, and what it is, for people.
local function handler_of(value, about, name, force)
  local got = value == nil and "nothing" or "a " .. type(value)
  if force or is_wsapi(value) then
    local ok, handler = pcall(grun.http.wsapi, value, about)
    if not ok then
      fail("%s returned %s: a WSAPI application is a function or a table with 'run'", name, got)
    end
    return handler, "WSAPI application"
  elseif is_callable(value) then
    return value, "handler"
  end
  return fail("%s returned %s: a handler function, a router, a WSAPI application or a table with" ..
    " 'handler' expected", name, got)
end

local function prepare(name, given, opts)
  local value, filename = load(name)
  -- An application's modules may well have a function `handler` of their own.
  if type(value) == "table" and not is_callable(value) and not is_wsapi(value)
    and value.handler ~= nil then
    if value.opts ~= nil and type(value.opts) ~= "table" then
      fail("%s: table of options expected in 'opts', got %s", name, type(value.opts))
    end
    for option, set in pairs(value.opts or {}) do
      if opts[option] == nil then
        opts[option] = set
      end
    end
    value = value.handler
  end
  local about = {
    app_path = filename:match("^(.+)/") or ".", filename = filename, max_body = opts.max_body,
  }
  local is_wsapi_file = filename:find("%.wsapi$") or filename:find("%.ws$")
  return handler_of(value, about, name, given["--wsapi"] or is_wsapi_file ~= nil)
end

-- ---- Serving ----

local tls_only = {
  cert = true, key = true, client_ca = true, tls = true, handshake_timeout = true,
}

-- The options for one address: without TLS servers know none of it.
local function options_for(address, opts)
  local own = {}
  for name, value in pairs(opts) do
    if address:find("^https:") or not tls_only[name] then
      own[name] = value
    end
  end
  return own
end

-- What the server says about one of its options, in our words; or in its own, with the file's name,
-- when that is where the option must come from.
local function explain(message, file)
  message = tostring(message):gsub("^.-server: ", "")
  for option, about in pairs(options) do
    if about[2] and message:find("option '" .. about[2] .. "'", 1, true) then
      return (message:gsub("option '[%w_]+'", option, 1))
    end
  end
  return file .. ": " .. message
end

local function start(list, handler, opts, name, quiet)
  local lines = {}
  for _, address in ipairs(list) do
    local ok, server, message = pcall(grun.server, address, handler, options_for(address, opts))
    if not ok then
      fail("%s", explain(server, name))
    elseif not server then
      fail("%s", message)
    end
    lines[#lines + 1] = ("grun: serving %s on %s\n"):format(name, server:address())
  end
  if not quiet then
    io.stderr:write(table.concat(lines))
  end
end

-- What of the options is about processes.
local function process_options(given, list, opts)
  local found = { socket_options = { mode = opts.mode, backlog = opts.backlog } }
  for name in pairs(settings.options) do
    found[name] = given["--" .. name]
  end
  local workers = os.getenv("WEB_CONCURRENCY")
  if workers and not found.workers then
    found.workers = settings.types.workers("WEB_CONCURRENCY", workers, fail)
  end
  found.addresses = {}
  for i, address in ipairs(list) do
    found.addresses[i] = socket_of(address)
  end
  return found
end

local M = {}

--- Runs `grun serve` with the command line's words from the first one on. Returns once it serves,
--- or, as a master, when all workers have ended. Calls prelude() before it loads the application.
---@param config { words: string[], first: integer, check: boolean, quiet: boolean }
---@param prelude fun()
function M.run(config, prelude)
  local given, name, args = parse(config.words, config.first)
  if given["--help"] then
    io.stdout:write(HELP)
    return
  elseif not name then
    fail("the application is missing; see grun serve --help")
  end
  config.check = config.check or given["--check"]
  local opts = server_options(given)
  local list = addresses(given, opts)
  local about = process_options(given, list, opts)
  if settings.act(config, about, fail, { name }) and not config.check then
    return
  end
  args[0] = name
  _G.arg = args
  prelude()
  local handler, kind = prepare(name, given, opts)
  if config.check then
    print(("%s: %s, to be served on %s"):format(name, kind, table.concat(list, " ")))
    os.exit(0)
  end
  local preload = package.loaded["grun.preload"]
  if preload then
    preload.wait()
  end
  if opts.access_log and not opts.access_log_file then
    io.stdout:setvbuf("line")
  end
  -- One worker speaks for all.
  local worker = package.loaded["grun.worker"]
  local mute = worker and worker.id() and (worker.id() > 1 or worker.generation() > 1)
  start(list, handler, opts, name, config.quiet or mute)
end

return M
