-- SPDX-License-Identifier: MIT
-- Real database servers for the specs and the benches, each on a free port of 127.0.0.1 and a unix
-- socket, with its files in a directory of its own. No service of the machine is used or needed.
-- root's servers run as another user. They end with their starter, whatever happens to that.

local grun = require("grun")

local START_LIMIT, STOP_LIMIT = 30, 10 -- seconds

local Server = {}
Server.__index = Server

local M = {}

-- ---- Programs, users, directories ----

-- Runs a program to its end; returns its output, or nil and what it says.
local function run(words)
  words.timeout = START_LIMIT
  local result, message = grun.process.run(words)
  if not result or result.code ~= 0 then
    return nil, ("%s: %s"):format(words[1], result and result.stderr or message)
  end
  return result.stdout
end

-- The path of the first of these programs that is there.
local function find(...)
  for _, name in ipairs({ ... }) do
    for dir in (os.getenv("PATH") .. ":/usr/sbin:/usr/lib/postgresql/*/bin"):gmatch("[^:]+") do
      local path = run({ "sh", "-c", ("ls -d %s/%s 2>/dev/null | tail -n 1"):format(dir, name) })
      if path and path ~= "" then
        return (path:gsub("\n", ""))
      end
    end
  end
end

-- What a command of a server starts with: another user for root, and its end with ours.
local function prefix()
  local words = { "setpriv", "--pdeathsig", "KILL" }
  if run({ "id", "-u" }) == "0\n" then
    for _, word in ipairs({ "--reuid=nobody", "--regid=nogroup", "--clear-groups" }) do
      words[#words + 1] = word
    end
  end
  return words
end

local function add(words, more)
  for _, word in ipairs(more) do
    words[#words + 1] = word
  end
  return words
end

-- A directory that the server's user may write to.
local function make_dir()
  local dir = assert(run({ "mktemp", "-d" })):gsub("\n", "")
  if run({ "id", "-u" }) == "0\n" then
    assert(run({ "chown", "nobody:nogroup", dir }))
  end
  return dir
end

local function free_port()
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local port = listener:address():match(":(%d+)$")
  listener:close()
  return tonumber(port)
end

local function contents(name)
  local file = io.open(name, "rb")
  local text = file and file:read("*a")
  if file then
    file:close()
  end
  return text
end

-- ---- Start and stop ----

local function has_ended(self, seconds)
  return select(2, self.process:wait(seconds)) ~= "timeout"
end

--- Ends the server and removes its files.
function Server:stop()
  self.process:kill(self.stop_signal)
  if not has_ended(self, STOP_LIMIT) then
    self.process:kill("KILL")
    has_ended(self, STOP_LIMIT)
  end
  run({ "rm", "-rf", self.dir })
end

-- Waits for ready() of a server that was just started; stops it if that takes too long.
local function await(self, ready)
  local limit = grun.now() + START_LIMIT
  repeat
    if ready() then
      return self
    end
  until has_ended(self, 0.01) or grun.now() > limit
  local log = contents(self.dir .. "/log")
  self:stop()
  return nil, "the server does not start: " .. tostring(log)
end

-- Starts a server with its output in the directory's file "log".
local function start(self, words, ready)
  local log = assert(io.open(self.dir .. "/log", "w"))
  self.process = assert(grun.process.spawn(add(add({ stdin = "null", stdout = log, stderr = log,
    cwd = "/" }, prefix()), words)))
  log:close()
  return await(self, ready)
end

local function new(stop_signal)
  return setmetatable({ dir = make_dir(), port = free_port(), stop_signal = stop_signal }, Server)
end

local function listens(self)
  return function()
    local conn = grun.connect("tcp://127.0.0.1:" .. self.port)
    if conn then
      conn:close()
    end
    return conn ~= nil
  end
end

-- ---- The servers; each returns { port =, dir =, socket =, process = }, or nil and why not ----

--- PostgreSQL: database and user "postgres", no password.
function M.postgres()
  local initdb, postgres = find("initdb"), find("postgres")
  if not (initdb and postgres) then
    return nil, "PostgreSQL is not installed"
  end
  local self = new("INT")
  local data = self.dir .. "/data"
  local ok, message = run(add(prefix(), { initdb, "-D", data, "-A", "trust", "-U", "postgres", "-N",
    "--no-locale" }))
  if not ok then
    run({ "rm", "-rf", self.dir })
    return nil, message
  end
  self.socket = self.dir
  return start(self, { postgres, "-D", data, "-k", self.dir, "-h", "127.0.0.1", "-p", self.port, "-F",
    "-c", "max_connections=100" }, function()
    local state = contents(data .. "/postmaster.pid")
    return state and state:find("\nready")
  end)
end

--- Redis, without a password.
function M.redis()
  -- One program with two names; Debian has the second one without the service, too.
  local program = find("redis-server", "redis-check-rdb")
  if not program then
    return nil, "Redis is not installed"
  end
  local self = new("TERM")
  self.socket = self.dir .. "/redis.sock"
  return start(self, { "bash", "-c", [[exec -a redis-server "$0" "$@"]], program, "--port", self.port,
    "--bind", "127.0.0.1", "--unixsocket", self.socket, "--save", "", "--dir", self.dir },
    listens(self))
end

--- MariaDB: any user, no password, no databases.
function M.mariadb()
  local program = find("mariadbd")
  if not program then
    return nil, "MariaDB is not installed"
  end
  local self = new("TERM")
  self.socket = self.dir .. "/mariadb.sock"
  return start(self, { program, "--no-defaults", "--datadir=" .. self.dir, "--skip-grant-tables",
    "--innodb-log-file-size=4M", "--socket=" .. self.socket, "--port=" .. self.port,
    "--bind-address=127.0.0.1", "--pid-file=" .. self.dir .. "/pid" }, listens(self))
end

local SLAPD = [[
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=example"
rootdn "cn=admin,dc=example"
rootpw secret
directory %s
]]

--- OpenLDAP's server: an empty "dc=example" with "cn=admin,dc=example", password "secret".
function M.slapd()
  local program = find("slapd")
  if not program then
    return nil, "slapd is not installed"
  end
  local self = new("INT")
  local name = self.dir .. "/slapd.conf"
  local file = assert(io.open(name, "w"))
  file:write(SLAPD:format(self.dir))
  file:close()
  assert(run({ "chmod", "644", name }))
  self.socket = self.dir .. "/ldapi"
  return start(self, { program, "-d", "0", "-f", name, "-h",
    ("ldap://127.0.0.1:%d ldapi://%s"):format(self.port, (self.socket:gsub("/", "%%2F"))) },
    listens(self))
end

return M
