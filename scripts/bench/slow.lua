-- SPDX-License-Identifier: MIT
-- Slow clients: slowhttptest opens thousands of connections to an example's server that send their
-- heads or bodies, or read the answer, as slowly as they can. Meanwhile a normal client asks 50
-- times a second over new connections, and a few slow clients of ours see when they are cut off.
--
-- Alone: ./grun scripts/bench/slow.lua [seconds [connections [attack...]]]
-- Prints for each attack: p50_ms, p99_ms and max_ms of the normal client, its requests and
-- failures; open: the most connections that the server had; cut_min_s and cut_max_s: when ours were
-- cut off; left: connections that were open at the end although their time was over; rss_mib: the
-- server's.
local grun = require("grun")

local seconds = tonumber(arg[1]) or 60
local connections = tonumber(arg[2]) or 5000
local wanted = { unpack(arg, 3) }

local directory = arg[0]:match("^(.*)/[^/]*$") or "."
local program = os.getenv("GRUN") or directory .. "/../../grun"

-- Seconds after which the server cuts off who is slow: header_timeout, the time in which min_rate
-- does not count, write_timeout.
local HEADER_TIMEOUT, SLOW_FIRST, WRITE_TIMEOUT = 10, 10, 30
local FILE_SIZE = 8 * 2 ^ 20

-- ---- The server ----

local function start_server(words)
  local command = { program, unpack(words) }
  command.stdout = "pipe"
  local server = assert(grun.process.spawn(command))
  local address = server.stdout:read("l"):match("(http://%S+)")
  grun.spawn(function()
    while server.stdout:read(65536) do end -- some examples log
  end)
  return server, address
end

-- What /proc says: open descriptors, which are the connections and a few more, and memory.
local function descriptors(pid)
  return #assert(grun.fs.list(("/proc/%d/fd"):format(pid)))
end

local function memory(pid)
  for line in io.lines(("/proc/%d/status"):format(pid)) do
    local kib = line:match("^VmHWM:%s*(%d+) kB")
    if kib then
      return kib / 1024
    end
  end
end

-- ---- Slow clients of ours ----

-- Seconds until the server closes or answers, when `drip` is sent each second after `head`.
local function time_to_answer(address, head, drip)
  local conn = assert(grun.connect((address:gsub("http:", "tcp:"))))
  local started = grun.now()
  conn:write(head)
  while true do
    conn:settimeout(0.5)
    local _, _, code = conn:read(1)
    if code ~= "timeout" then
      conn:close()
      return grun.now() - started
    end
    conn:write(drip)
  end
end

-- Seconds until the server resets a connection that reads nothing. A byte now and then, which the
-- server does not read, tells.
local function time_to_reset(address, head)
  local conn = assert(grun.connect((address:gsub("http:", "tcp:"))))
  conn:setoption("rcvbuf", 4096)
  local started = grun.now()
  conn:write(head)
  repeat
    grun.sleep(0.1)
  until not conn:write("G")
  conn:close()
  return grun.now() - started
end

local POST = "POST /notes HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
  .. "Content-Length: 4096\r\n\r\n"

local attacks = {
  headers = {
    server = { directory .. "/../examples/hello_http.lua", "http://127.0.0.1:0" },
    path = "/",
    options = { "-H", "-i", "2" },
    limit = HEADER_TIMEOUT,
    cut = function(address)
      return time_to_answer(address, "GET / HTTP/1.1\r\nHost: a\r\n", "X: y\r\n")
    end,
  },
  bodies = {
    server = { directory .. "/../examples/rest_api.lua", "http://127.0.0.1:0" },
    path = "/notes",
    options = { "-B", "-i", "2", "-s", "4096", "-f", "application/json" },
    limit = SLOW_FIRST,
    cut = function(address)
      return time_to_answer(address, POST, "x")
    end,
  },
  reads = {
    server = { directory .. "/../examples/static_site.lua", nil, "http://127.0.0.1:0" },
    path = "/small",
    large = "/large",
    options = { "-X", "-n", "2", "-z", "5", "-w", "512", "-y", "1024", "-k", "1" },
    limit = WRITE_TIMEOUT,
    cut = function(address)
      return time_to_reset(address, "GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
    end,
  },
}

-- ---- The normal client ----

local function ask(address, path, seen)
  local started = grun.now()
  local res = grun.http.get(address .. path, { keep_alive = false, timeout = 5 })
  seen.requests = seen.requests + 1
  if not res or res.status ~= 200 then
    seen.failures = seen.failures + 1
  end
  table.insert(seen.latencies, grun.now() - started)
end

local function percentile(list, part)
  return list[math.max(1, math.ceil(#list * part))] * 1000
end

-- ---- One attack ----

local function run_slowhttptest(attack, address, until_time)
  while grun.now() < until_time do
    local command = { "slowhttptest", "-v", "0", "-c", connections,
      "-r", math.ceil(connections / 5),
      "-l", math.max(1, math.floor(until_time - grun.now())), "-x", "8", "-p", "5",
      "-u", address .. (attack.large or attack.path) }
    for _, word in ipairs(attack.options) do
      table.insert(command, word)
    end
    assert(grun.process.run(command))
  end
end

local function measure(name)
  local attack = attacks[name]
  local server, address = start_server(attack.server)
  local before = descriptors(server.pid)
  local stop = grun.now() + seconds
  local seen = { requests = 0, failures = 0, latencies = {}, cuts = {}, open = 0 }
  local group = grun.group()
  group:spawn(run_slowhttptest, attack, address, stop)
  group:spawn(function()
    while grun.now() < stop do
      group:spawn(ask, address, attack.path, seen)
      seen.open = math.max(seen.open, descriptors(server.pid) - before)
      grun.sleep(0.02)
    end
  end)
  for i = 1, 8 do
    group:spawn(function()
      grun.sleep(i / 4 + seconds / 20)
      table.insert(seen.cuts, attack.cut(address))
    end)
  end
  group:join()
  grun.sleep(attack.limit + 5 - math.min(attack.limit, grun.now() - stop))
  seen.left = descriptors(server.pid) - before
  seen.rss = memory(server.pid)
  server:kill("TERM")
  server:wait()
  return seen
end

local function report(name, seen)
  table.sort(seen.latencies)
  table.sort(seen.cuts)
  print(("%s: p50_ms=%.1f p99_ms=%.1f max_ms=%.1f requests=%d failures=%d open=%d cut_min_s=%.1f "
    .. "cut_max_s=%.1f left=%d rss_mib=%.0f"):format(name, percentile(seen.latencies, 0.5),
    percentile(seen.latencies, 0.99), percentile(seen.latencies, 1), seen.requests, seen.failures,
    seen.open, seen.cuts[1], seen.cuts[#seen.cuts], seen.left, seen.rss))
  io.stdout:flush()
end

-- A directory with what the reading clients ask for.
local function make_site()
  local dir = assert(grun.fs.tempdir())
  assert(grun.fs.write_file(dir .. "/small", ("x"):rep(100)))
  assert(grun.fs.write_file(dir .. "/large", ("x"):rep(FILE_SIZE)))
  return dir
end

if not grun.process.run({ "slowhttptest", "-h" }) then
  io.stderr:write("slow.lua: slowhttptest is not installed\n")
  os.exit(1)
end
local site = make_site()
attacks.reads.server[2] = site
local ok, err = pcall(function()
  for _, name in ipairs(#wanted > 0 and wanted or { "headers", "bodies", "reads" }) do
    report(name, measure(name))
  end
end)
grun.fs.remove(site, { recursive = true })
assert(ok, err)
