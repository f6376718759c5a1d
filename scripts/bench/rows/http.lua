-- SPDX-License-Identifier: MIT
-- Rows about HTTP. lib/suite.lua describes what a row is.

local idle = require("scripts.bench.lib.idle")
local loads = require("scripts.bench.lib.loads")
local process = require("scripts.bench.lib.process")

local function missing_wrk()
  return not process.succeeds("command -v wrk") and "wrk is not installed (scripts/setup --bench)"
end

local function missing_ab()
  return not process.succeeds("command -v ab") and
    "Debian's apache2-utils is not installed (scripts/setup --bench)"
end

-- Those whose name ends in a star have no HTTP server: they find the ends of heads and answer with
-- a fixed text, as the raw loop does. Those that no goal is about take part in two rounds.
local SUBJECTS = {
  { "grun", "http.lua" },
  { "c", "http_epoll.c", as = "raw epoll *" },
  { "nginx", "http_nginx.sh" },
  { "go", "http_go.go" },
  { "node", "http_node.js" },
  { "gevent", "http_gevent.py", as = "gevent WSGIServer" },
  { "gevent", "http_streamserver.py", as = "gevent StreamServer *", rounds = 2 },
  { "fastapi", "http_fastapi.py" },
  { "lua-http", "http_luahttp.lua", rounds = 2 },
  { "tarantool", "http_tarantool.lua", as = "tarantool *", rounds = 2 },
  { "copas", "http_copas.lua", as = "copas *", rounds = 2 },
  { "luv", "http_luv.lua", as = "luv *", rounds = 2 },
}

local STAR = "Those with a star have no HTTP server; they find the ends of heads and answer " ..
  "with a fixed text. gevent's WSGIServer runs with TCP_NODELAY, which is not its default: " ..
  "without it head and body of an answer wait 40 ms for each other"

local FIGURES = {
  { "cpu_ns", "CPU a request" },
  { "requests_per_s", "requests/s" },
  { "p50_ms", "p50" },
  { "p99_ms", "p99" },
  { "busy", "processor in use" },
}

local LOAD = "http_load keeps 64 connections busy and checks every answer; it makes two system " ..
  "calls for one and never sleeps. Every server is one process on one core, logs off. The " ..
  "processor in use is the server's: near 1, the server was the limit and requests/s compare " ..
  "servers; well below, the load or other work was, and only the CPU a request compares them"

local BUSY = "where the processor in use is well below 1, the server was not the limit, and the " ..
  "CPU a request says more"

local AB_FIGURES = { FIGURES[1], FIGURES[2], FIGURES[3], FIGURES[4], { "kept", "kept alive" } }

return {
  {
    name = "http",
    title = "HTTP: hello world on 64 keep-alive connections",
    how = LOAD .. ". " .. STAR,
    budget = 120,
    measure = loads.load("http_load.c"),
    subjects = SUBJECTS,
    figures = FIGURES,
    goals = {
      { "cpu_ns", at_most = 1.10, of = "raw epoll *", why = "the raw loop parses no header, " ..
        "makes no Lua string and switches no thread" },
      { "requests_per_s", at_least = 1, of = "nginx", why = BUSY },
      { "requests_per_s", at_least = 1.7, of = "go", why = BUSY },
      { "requests_per_s", at_least = 10, of = "gevent WSGIServer", why = BUSY },
      { "requests_per_s", at_least = 6, of = "fastapi", why = BUSY .. "; uvicorn runs in its " ..
        "fast form, with uvloop and httptools, in a third of the time that it needs without" },
    },
    readme = {
      { "cpu_ns", "HTTP hello world, keep-alive, CPU a request", yardstick = "raw epoll *" },
      { "requests_per_s", "the same, requests a second", yardstick = "raw epoll *" },
    },
    chart = "cpu_ns",
  },
  {
    name = "http",
    title = "HTTP: 16 pipelined requests at a time on 64 connections",
    how = "as above; a connection sends its next 16 requests when the last of 16 answers has come",
    budget = 80,
    measure = loads.load("http_load.c", "-P 16 -d @"),
    subjects = SUBJECTS,
    leave_out = { "lua-http", "fastapi", "gevent WSGIServer", "gevent StreamServer *",
      "tarantool *", "copas *", "luv *" },
    figures = FIGURES,
    goals = { { "requests_per_s", at_least = 4, of = "nginx", why = BUSY } },
    readme = {
      { "requests_per_s", "HTTP pipelined x16, requests a second", yardstick = "raw epoll *" },
    },
    chart = "requests_per_s",
  },
  {
    name = "http",
    title = "HTTP: a router with 200 routes, 30 header fields, 4 KB of JSON",
    how = "as above, against grun's hello world; the raw loop, with 4 KB of text, shows what " ..
      "the kernel alone takes of that",
    measure = loads.load("http_load.c"),
    subjects = {
      { "grun", "http.lua router", options = "-f 29 -d @ PORT /section77/items/5" },
      { "grun", "http.lua", as = "grun, hello world" },
      { "c", "http_epoll.c 0 4096", as = "raw epoll *", options = "-f 29 -d @" },
      { "c", "http_epoll.c", as = "raw epoll *, hello world" },
    },
    figures = FIGURES,
    goals = {
      { "requests_per_s", at_least = 0.7, of = "grun, hello world", why = "the kernel has more " ..
        "to do as well: the raw loop's two lines say what of it is the kernel's" },
    },
  },
  {
    name = "wrk",
    title = "HTTP: hello world, as wrk sees it",
    how = "wrk -t1 -c64, a second opinion. wrk makes four system calls for a request, twice as " ..
      "many as the fast servers, so that it is the limit of them and not they. grun's handler " ..
      "has no parameters, for which no request object is made; the line below is of one that " ..
      "takes the request",
    missing = missing_wrk,
    measure = loads.wrk(),
    subjects = {
      { "grun", "http.lua" },
      { "grun", "http.lua request", as = "grun, request taken" },
      { "c", "http_epoll.c", as = "raw epoll *" },
      { "nginx", "http_nginx.sh" },
      { "go", "http_go.go", rounds = 2 },
      { "node", "http_node.js", rounds = 2 },
    },
    figures = FIGURES,
    goals = {
      { "cpu_ns", at_most = 1.10, of = "raw epoll *" },
      { "requests_per_s", at_least = 1, of = "nginx", why = BUSY },
    },
  },
  {
    name = "wrk",
    title = "HTTP: a router with 200 routes, 30 header fields, 4 KB of JSON, as wrk sees it",
    how = "as above, against grun's hello world",
    missing = missing_wrk,
    measure = loads.wrk(),
    subjects = {
      { "grun", "http.lua router", options = { fields = 29, path = "/section77/items/5" } },
      { "grun", "http.lua", as = "grun, hello world" },
      { "c", "http_epoll.c 0 4096", as = "raw epoll *", options = { fields = 29 } },
      { "c", "http_epoll.c", as = "raw epoll *, hello world" },
    },
    figures = FIGURES,
    goals = {
      { "requests_per_s", at_least = 0.7, of = "grun, hello world", why = "the kernel has more " ..
        "to do as well: the raw loop's two lines say what of it is the kernel's" },
    },
  },
  {
    name = "ab",
    title = "HTTP: ab -c 100 -n 1000, a connection for each request",
    how = "ab five times after one to warm up, the median; new server each round. ab speaks " ..
      "HTTP/1.0 and is busier than most of the servers. " .. STAR,
    missing = missing_ab,
    measure = loads.ab(""),
    subjects = SUBJECTS,
    leave_out = { "tarantool *", "copas *", "luv *", "gevent StreamServer *" },
    figures = FIGURES,
    readme = { { "cpu_ns", "`ab -c 100 -n 1000`, CPU a request", yardstick = "raw epoll *" } },
    chart = "cpu_ns",
  },
  {
    name = "ab",
    title = "HTTP: ab -k -c 100 -n 1000, connections kept alive where the server does that",
    how = "as above; `kept alive` says how many of the 1000 requests did not end their " ..
      "connection (uvicorn and lua-http close those of HTTP/1.0)",
    missing = missing_ab,
    measure = loads.ab("-k"),
    subjects = SUBJECTS,
    leave_out = { "tarantool *", "copas *", "luv *", "gevent StreamServer *" },
    figures = AB_FIGURES,
    chart = "cpu_ns",
  },
  idle {
    name = "http_idle",
    protocol = "HTTP",
    title = "memory of an idle keep-alive connection",
    how = "each has had one answer",
    server = "http.lua",
    subjects = {
      { "nginx", "http_nginx.sh" },
      { "go", "http_go.go" },
      { "node", "http_node.js" },
      { "gevent", "http_gevent.py", as = "gevent WSGIServer" },
      { "fastapi", "http_fastapi.py" },
    },
    at_most = { 8, 4 },
  },
  {
    name = "slow",
    title = "HTTP: thousands of slow clients, and a normal one beside them",
    how = "slow.lua for 15 s each: slowhttptest with 5,000 connections against an example's server",
    needs = "slow.lua",
    rounds = 1,
    missing = function()
      return not process.succeeds("command -v slowhttptest") and
        "slowhttptest is not installed (scripts/setup --bench)"
    end,
    measure = loads.script(120, true),
    subjects = {
      { "grun", "slow.lua 15 5000 headers", as = "slow headers" },
      { "grun", "slow.lua 15 5000 bodies", as = "slow bodies" },
      { "grun", "slow.lua 15 5000 reads", as = "slow readers" },
    },
    figures = {
      { "p50_ms", "normal client, p50" }, { "p99_ms", "p99" }, { "failures", "failures" },
      { "open", "connections" }, { "cut_max_s", "cut off after" }, { "left", "left over" },
      { "rss_mib", "memory" },
    },
    goals = {
      { "p99_ms", at_most = 50, subject = "slow headers" },
      { "p99_ms", at_most = 50, subject = "slow bodies" },
      { "p99_ms", at_most = 50, subject = "slow readers" },
    },
  },
}
