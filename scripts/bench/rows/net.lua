-- SPDX-License-Identifier: MIT
-- Rows about TCP, UDP and TLS. lib/suite.lua describes what a row is.

local idle = require("scripts.bench.lib.idle")
local loads = require("scripts.bench.lib.loads")
local process = require("scripts.bench.lib.process")

local CPU = { "cpu_ns", "CPU a request" }
local LATENCY = { { "p50_us", "p50" }, { "p99_us", "p99" } }
local TRACED_CONNECTIONS = 8

local ECHO_SUBJECTS = {
  { "grun", "echo.lua" },
  { "c", "echo_epoll.c", as = "raw epoll" },
  { "go", "echo_go.go" },
  { "gevent", "echo_gevent.py" },
  { "node", "echo_node.js" },
  { "tarantool", "echo_tarantool.lua" },
  { "cqueues", "echo_cqueues.lua" },
  { "copas", "echo_copas.lua" },
  { "luv", "echo_luv.lua" },
}

local TLS_SUBJECTS = {
  { "grun", "tls.lua" },
  { "c", "tls_epoll.c", as = "raw OpenSSL" },
  { "go", "tls_go.go" },
  { "gevent", "tls_gevent.py" },
  { "node", "tls_node.js" },
  { "cqueues", "tls_cqueues.lua" },
}

return {
  {
    name = "echo",
    title = "TCP echo: 64 connections, 64 bytes each way",
    how = "echo_load keeps one message on its way on each connection and checks every echo; CPU " ..
      "is the server's",
    budget = 70,
    measure = loads.load("echo_load.c"),
    subjects = ECHO_SUBJECTS,
    figures = { CPU, { "requests_per_s", "requests/s" }, LATENCY[1], LATENCY[2] },
    goals = {
      { "cpu_ns", at_most = 1.10, of = "raw epoll", why = "a thread is switched to and from for " ..
        "each message, and the data becomes a Lua string" },
    },
    readme = {
      { "cpu_ns", "TCP echo, 64 connections, CPU a request", yardstick = "raw epoll" },
    },
    chart = "cpu_ns",
  },
  {
    name = "echo_syscalls",
    title = "TCP echo: system calls a request",
    how = "counted by strace from the first connection on; 16,000 requests over 8 connections",
    rounds = 1,
    missing = function()
      return not process.succeeds("strace -o /dev/null true") and "strace does not run here"
    end,
    measure = loads.syscalls(TRACED_CONNECTIONS),
    subjects = ECHO_SUBJECTS,
    leave_out = { "gevent", "tarantool", "cqueues", "copas", "luv" },
    figures = {
      { "reads", "reads" }, { "writes", "writes" }, { "waits", "waits" },
      { "changes", "epoll_ctl" }, { "eagains", "EAGAINs in all" },
    },
    goals = {
      { "reads", at_most = 1.05 },
      { "reads", at_least = 1 },
      { "writes", at_most = 1.05 },
      { "writes", at_least = 1 },
      -- A connection's first read may come before its first message; no later one may fail.
      { "eagains", at_most = TRACED_CONNECTIONS },
    },
  },
  {
    name = "udp",
    title = "UDP echo: 16 clients, 8 datagrams of 64 bytes on their way each",
    how = "udp_load checks every echo; the rate says something only where the processor in use " ..
      "is near 1, the CPU of the server always",
    budget = 70,
    measure = loads.load("udp_load.c"),
    subjects = {
      { "grun", "udp_echo.lua" },
      { "grun", "udp_echo.lua batch", as = "grun, recv_many" },
      { "c", "udp_echo.c", as = "raw recvmmsg" },
      { "go", "udp_go.go" },
      { "gevent", "udp_gevent.py" },
      { "node", "udp_node.js" },
      { "tarantool", "udp_tarantool.lua" },
      { "luv", "udp_luv.lua" },
    },
    figures = {
      { "cpu_ns", "CPU an echo" }, { "echoes_per_s", "echoes/s" }, { "busy", "processor in use" },
    },
    goals = {
      { "echoes_per_s", at_least = 0.9, of = "raw recvmmsg" },
      { "echoes_per_s", at_least = 0.9, of = "raw recvmmsg", subject = "grun, recv_many" },
    },
    readme = {
      { "echoes_per_s", "UDP echo server, datagrams a second", yardstick = "raw recvmmsg" },
    },
    chart = "cpu_ns",
  },
  {
    name = "tls",
    title = "TLS echo: 64 connections, 64 bytes each way",
    how = "tls_load sends the messages of a turn together and awaits their echoes; each server " ..
      "with its own settings, all take TLS 1.3 with AES-256-GCM or AES-128-GCM",
    measure = loads.load("tls_load.c"),
    arguments = loads.certificate,
    subjects = TLS_SUBJECTS,
    figures = { CPU, { "requests_per_s", "requests/s" }, { "busy", "processor in use" } },
    goals = { { "cpu_ns", at_most = 1.15, of = "raw OpenSSL" } },
    readme = { { "cpu_ns", "TLS echo, CPU a request", yardstick = "raw OpenSSL" } },
    chart = "cpu_ns",
  },
  {
    name = "tls",
    title = "TLS: full handshakes, one after the other",
    how = "tls_load connects, sends one message and hangs up; certificate on the P-256 curve",
    measure = loads.load("tls_load.c", "-f -d @"),
    arguments = loads.certificate,
    subjects = TLS_SUBJECTS,
    figures = {
      { "cpu_ns", "CPU a connection" }, { "handshakes_per_s", "handshakes/s" },
      LATENCY[1], LATENCY[2],
    },
    goals = { { "handshakes_per_s", at_least = 0.9, of = "raw OpenSSL" } },
    readme = {
      { "handshakes_per_s", "full TLS handshakes a second", yardstick = "raw OpenSSL" },
    },
    chart = "cpu_ns",
  },
  {
    name = "tls",
    title = "TLS: memory of an idle connection, of 5,000",
    how = "growth of the server's memory that it shares with nobody (PSS), divided by the " ..
      "connections",
    rounds = 1,
    memory_mib = 1000,
    missing = loads.too_few_descriptors,
    measure = loads.idle_tls(5000),
    arguments = loads.certificate,
    subjects = TLS_SUBJECTS,
    leave_out = { "gevent", "cqueues" },
    figures = { { "pss_kib", "a connection" } },
    goals = { { "pss_kib", at_most = 30 } },
    readme = {
      { "pss_kib", "idle TLS connection and its thread, of 5,000", yardstick = "raw OpenSSL" },
    },
    chart = "pss_kib",
  },
  idle {
    name = "idle",
    protocol = "TCP",
    title = "memory of an idle connection",
    how = "each has exchanged one message",
    server = "idle.lua",
    subjects = {
      { "c", "echo_epoll.c", as = "raw epoll" },
      { "go", "echo_go.go" },
      { "gevent", "echo_gevent.py" },
      { "node", "echo_node.js" },
      { "tarantool", "echo_tarantool.lua" },
      { "cqueues", "echo_cqueues.lua" },
      { "luv", "echo_luv.lua" },
    },
    at_most = { 6, 2.5 },
    yardstick = "raw epoll",
  },
  {
    name = "sendfile",
    title = "sendfile: 1 GiB over one connection",
    how = "a file of 64 MiB is sent 16 times; the growth is that of the server's greatest " ..
      "resident memory",
    measure = loads.sendfile(64, 16),
    subjects = {
      { "grun", "sendfile.lua" },
      { "c", "sendfile_peer.c serve", as = "raw loop" },
    },
    figures = { { "mb_per_s", "speed" }, { "growth_kib", "growth of memory" } },
    goals = {
      { "mb_per_s", at_least = 0.9, of = "raw loop" },
      { "growth_kib", at_most = 8192 },
    },
    readme = { { "mb_per_s", "sendfile of 1 GiB", yardstick = "raw loop" } },
  },
  {
    name = "spinner",
    title = "An echo server beside a thread that is always ready",
    how = "one client, 500 round trips. The quietest run counts, since what else the machine " ..
      "does can only lengthen the worst round trip",
    measure = loads.load("echo_load.c", "-c 1 -w 50 -n 500 -d 30"),
    subjects = {
      { "grun", "spinner.lua" },
      { "c", "echo_epoll.c", as = "raw epoll, no spinner" },
    },
    figures = { { "max_us", "worst of 500" }, LATENCY[2], LATENCY[1] },
    goals = { { "max_us", at_most = 10000, least = true } },
  },
  {
    name = "postgres",
    title = "PostgreSQL: 50 x select pg_sleep(0.5) by LuaSQL, a thread each",
    how = "the example pg_parallel.lua against a server of its own",
    missing = function()
      return not process.succeeds("luajit -e 'require \"luasql.postgres\"'") and
        "no LuaSQL here (scripts/setup)"
    end,
    measure = loads.script(60, true),
    rounds = 3,
    subjects = { { "grun", "postgres.lua" } },
    figures = { { "seconds", "all together" }, { "gap_ms", "worst gap of a ticker" } },
    goals = { { "seconds", at_most = 0.7 }, { "gap_ms", at_most = 20 } },
    readme = { { "seconds", "50 × `select pg_sleep(0.5)` by LuaSQL in 50 threads" } },
  },
}
