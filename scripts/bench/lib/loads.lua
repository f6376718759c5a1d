-- SPDX-License-Identifier: MIT
-- Ways to measure a subject of a row. Each function returns one that takes the subject, which has a
-- `command`, and returns a table of figures.

local process = require("scripts.bench.lib.process")
local runtimes = require("scripts.bench.lib.runtimes")
local statistics = require("scripts.bench.lib.statistics")

local M = {
  seconds = 1.5, -- how long one load goes on
  bench_dir = nil, -- this directory
  build_dir = nil, -- for files
}

--- The subject is a script that prints its figures.
---@param limit? number seconds
---@param everywhere? boolean not on one core, since it has servers or workers of its own
function M.script(limit, everywhere)
  return function(subject)
    return process.figures(subject.command, limit, everywhere)
  end
end

--- The subject is a server; `source` is a load of this directory. In options, which may be the
--- subject's own, @ is the number of seconds and PORT the server's; that stands at the end if
--- nowhere. Answers that the load counts as errors are a failure.
---@param source string
---@param options? string
function M.load(source, options)
  return function(subject)
    local load = runtimes.compile(source)
    return process.with_server(subject.command, function(server)
      local words = (subject.options or options or "-d @"):gsub("@", M.seconds)
      words = words:find("PORT") and words:gsub("PORT", server.port) or words .. " " .. server.port
      local found = process.figures(("%s -p %s %s"):format(load, server.pid, words))
      return (found.errors or 0) == 0 and found or error(found.errors .. " wrong answers", 0)
    end)
  end
end

-- Milliseconds of wrk's "1.23ms".
local function in_ms(text)
  local number, unit = text:match("^([%d.]+)(%a+)$")
  return tonumber(number) * ({ us = 1e-3, ms = 1, s = 1e3, m = 6e4 })[unit]
end

-- Runs use() and returns the CPU time that the server needed meanwhile.
local function cpu_during(server, use)
  local before = process.cpu(server.pid)
  local result = use()
  return process.cpu(server.pid) - before, result
end

local WARM_UP = 0.4 -- seconds

-- Options of wrk: so many header fields, those that http_load sends.
local function fields(n)
  local words = {}
  for i = 1, n do
    words[i] = (' -H "X-Field-%d: the value of field number %d"'):format(i, i)
  end
  return table.concat(words)
end

--- The subject is an HTTP server. Its options: { path =, fields = number of header fields more }.
function M.wrk()
  return function(subject)
    return process.with_server(subject.command, function(server)
      local options = subject.options or {}
      local wrk = ("wrk -t1 -c64 --latency -d%%d%s http://127.0.0.1:%s%s"):format(
        fields(options.fields or 0), server.port, options.path or "/")
      process.complete(("sh -c 'timeout -s INT %g %s || true'"):format(WARM_UP,
        wrk:format(1)))
      local cpu, output = cpu_during(server, function()
        return process.complete(wrk:format(math.max(1, math.ceil(M.seconds))))
      end)
      local requests = output:match("(%d+) requests in")
      local rate = output:match("Requests/sec: +([%d.]+)")
      if not rate or output:find("Non-2xx", 1, true) or output:find("Socket errors", 1, true) then
        error(wrk .. ":\n" .. output, 0)
      end
      return {
        requests_per_s = tonumber(rate),
        cpu_ns = cpu / requests,
        busy = cpu / requests * rate / 1e9,
        p50_ms = in_ms(output:match("\n +50%%%s+(%S+)")),
        p99_ms = in_ms(output:match("\n +99%%%s+(%S+)")),
      }
    end)
  end
end

local AB_REQUESTS, AB_RUNS = 1000, 5

--- The subject is an HTTP server, asked by ab as people do: a fresh server, ab -c 100 -n 1000
--- several times. The rate is the median of these, the CPU time is all of it.
---@param options string
function M.ab(options)
  return function(subject)
    return process.with_server(subject.command, function(server)
      local times = M.build_dir .. "/ab.csv"
      local ab = ("ab -q -c 100 -n %d -e %s %s http://127.0.0.1:%s/"):format(AB_REQUESTS, times,
        options, server.port)
      process.complete(ab)
      local lists = { requests_per_s = {}, p50_ms = {}, p99_ms = {}, kept = {} }
      local cpu = cpu_during(server, function()
        for _ = 1, AB_RUNS do
          local output = process.complete(ab)
          if not output:find("Failed requests: +0\n") or output:find("Non-2xx", 1, true) then
            error(ab .. ":\n" .. output, 0)
          end
          local function add(key, text, pattern)
            table.insert(lists[key], tonumber(text:match(pattern) or 0))
          end
          add("requests_per_s", output, "Requests per second: +([%d.]+)")
          add("kept", output, "Keep%-Alive requests: +(%d+)")
          local percentiles = process.contents(times)
          add("p50_ms", percentiles, "\n50,([%d.]+)")
          add("p99_ms", percentiles, "\n99,([%d.]+)")
        end
      end)
      local found = { cpu_ns = cpu / (AB_REQUESTS * AB_RUNS) }
      for key, list in pairs(lists) do
        found[key] = statistics.median(list)
      end
      return found
    end)
  end
end

M.IDLE = 15000 -- connections

local LIMITED = ("prlimit --nofile=%d "):format(M.IDLE + 5000)

--- Why there cannot be so many connections; nil when there can.
---@return string?
function M.too_few_descriptors()
  return not process.succeeds(LIMITED .. "true") and "too few descriptors are allowed" or nil
end

--- What an idle connection weighs in the server. The subject's options: how many seconds it is
--- idle.
---@param kind "tcp"|"http"
function M.idle(kind)
  return function(subject)
    local load = runtimes.compile("idle_load.c")
    return process.with_server(LIMITED .. subject.command, function(server)
      return process.figures(("%s%s %s %s %d %s %d"):format(LIMITED, load, server.port, server.pid,
        M.IDLE, kind, subject.options or 1))
    end)
  end
end

--- The same of a TLS connection; fewer, since each takes a millisecond.
---@param connections integer
function M.idle_tls(connections)
  return function(subject)
    local load = runtimes.compile("tls_load.c")
    return process.with_server(LIMITED .. subject.command, function(server)
      return process.figures(("%s%s -p %s -c %d -i %s"):format(LIMITED, load, server.pid,
        connections, server.port))
    end)
  end
end

--- Certificate and key of the TLS benches.
---@return string
function M.certificate()
  local cert, key = M.build_dir .. "/tls.pem", M.build_dir .. "/tls.key"
  local make = ("mkdir -p %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1"
    .. " -nodes -days 365 -subj /CN=localhost -keyout %s -out %s"):format(M.build_dir, key, cert)
  if not process.succeeds(("[ -s %s ] || { %s; }"):format(cert, make)) then
    error("cannot make a certificate: " .. make, 0)
  end
  return cert .. " " .. key
end

--- How long the subject's command takes from start to end.
---@param runs integer
function M.start_up(runs)
  return function(subject)
    return process.figures(("%s %d %s"):format(runtimes.compile("startup.c"), runs,
      subject.command))
  end
end

local SYSCALL_KIND = {
  read = "reads", readv = "reads", recvfrom = "reads", recvmsg = "reads",
  write = "writes", writev = "writes", sendto = "writes", sendmsg = "writes",
  epoll_wait = "waits", epoll_pwait = "waits", epoll_pwait2 = "waits", epoll_ctl = "changes",
}

-- Counts a server's system calls by kind, from its first connection on, and those of them that
-- failed with EAGAIN. A call that strace shows in two halves is counted at the first.
local function count_syscalls(trace)
  local counts = { reads = 0, writes = 0, waits = 0, changes = 0, eagains = 0 }
  local serving = false
  for line in io.lines(trace) do
    local started = line:match("^%d+%s+([%w_]+)%(")
    local kind = SYSCALL_KIND[started or line:match("<%.%.%. ([%w_]+) resumed>")]
    serving = serving or line:find("accept4?[ (].*= %d+$") ~= nil
    if serving and kind then
      counts[kind] = counts[kind] + (started and 1 or 0)
      counts.eagains = counts.eagains + (line:find("EAGAIN", 1, true) and 1 or 0)
    end
  end
  return counts
end

--- System calls of an echo server for each request; EAGAINs in all.
---@param connections integer
function M.syscalls(connections)
  local requests = 16000
  return function(subject)
    local trace = M.build_dir .. "/strace.out"
    M.load("echo_load.c", ("-c %d -w 0 -d 30 -n %d"):format(connections, requests))({
      command = ("strace -D -f -q -o %s %s"):format(trace, subject.command),
    })
    local counts = count_syscalls(trace)
    os.remove(trace)
    for _, kind in ipairs({ "reads", "writes", "waits", "changes" }) do
      counts[kind] = counts[kind] / requests
    end
    return counts
  end
end

--- A file of random bytes is sent `times` times over one connection.
---@param mib integer
---@param times integer
function M.sendfile(mib, times)
  return function(subject)
    local peer, file = runtimes.compile("sendfile_peer.c"), M.build_dir .. "/sendfile.data"
    local write = ("[ -s %s ] || dd if=/dev/urandom of=%s bs=1M count=%d"):format(file, file, mib)
    if not process.succeeds(write) then
      error("cannot write " .. file, 0)
    end
    return process.with_server(("%s %s %d"):format(subject.command, file, times), function(server)
      local found = process.figures(("%s read -p %s %s"):format(peer, server.pid, server.port))
      return found.bytes == mib * times * 2 ^ 20 and found or error("not all was sent", 0)
    end)
  end
end

return M
