-- SPDX-License-Identifier: MIT
-- Rows about threads. lib/suite.lua describes what a row is.

local loads = require("scripts.bench.lib.loads")
local machine = require("scripts.bench.lib.machine")
local process = require("scripts.bench.lib.process")
local runtimes = require("scripts.bench.lib.runtimes")

-- A million threads that all become ready are more than a tenth of a second of work for the loop,
-- and so is one look of the collector at them: nothing that the watchdog is to warn of.
local QUIET = "GRUN_BLOCK_WARN_MS=0"

-- Two workers and nothing else need two processors.
local function too_few_processors()
  local free = machine.idle_processors(0.5)
  return free < 1.7 and ("only %.1f processors are free, two are needed"):format(free) or nil
end

local coop_output -- of the last run: it holds the figures of both subjects

local function measure_coop(subject)
  if subject.label == "libc" then
    return process.parse((coop_output:gsub("%w+_ns=%S+ (%w+)_raw", "%1")))
  end
  local path = runtimes.compile("coop.c", "module"):gsub("[^/]+$", "?.so")
  coop_output = process.complete(("env LUA_CPATH=%s %s"):format(process.quote(path),
    subject.command))
  return process.parse(coop_output)
end

return {
  {
    name = "startup",
    title = "Start-up: an empty script, from start to exit",
    how = "the median of 10 starts in each round",
    measure = loads.start_up(10),
    subjects = {
      { "grun", "startup.lua" },
      { "luajit", "startup.lua" },
      { "go", "startup_go.go" },
      { "gevent", "startup_gevent.py" },
      { "fastapi", "startup_fastapi.py" },
      { "node", "startup.js" },
      { "tarantool", "startup.lua" },
    },
    figures = { { "start_us", "start to exit" } },
    goals = { { "start_us", at_most = 2, of = "luajit" } },
    readme = { { "start_us", "start-up", yardstick = "luajit" } },
    chart = "start_us",
  },
  {
    name = "yield",
    title = "Switch: a yield to another thread that is ready",
    how = "two threads yield to each other; CPU time of the process. LuaJIT: one resume and one " ..
      "yield of a bare coroutine; node: an await of null, asyncio: sleep(0)",
    measure = loads.script(),
    subjects = {
      { "grun", "yield.lua" },
      { "luajit", "threads_luajit.lua yield" },
      { "go", "threads_go.go yield" },
      { "gevent", "threads_gevent.py yield" },
      { "asyncio", "threads_asyncio.py yield" },
      { "node", "threads_node.js yield" },
      { "tarantool", "threads_tarantool.lua yield" },
      { "cqueues", "threads_cqueues.lua yield" },
    },
    figures = { { "yield_ns", "a switch" } },
    goals = { { "yield_ns", at_most = 0.75, of = "luajit" } },
    readme = { { "yield_ns", "yield to another thread", yardstick = "luajit" } },
    chart = "yield_ns",
  },
  {
    name = "spawn",
    title = "Spawn: a thread with an empty body, from spawn to its end",
    how = "100 alive at a time, garbage collection included; CPU time of the process. LuaJIT: a " ..
      "bare coroutine made and run to its end",
    measure = loads.script(),
    subjects = {
      { "grun", "spawn.lua" },
      { "luajit", "threads_luajit.lua spawn closure" },
      { "go", "threads_go.go spawn" },
      { "gevent", "threads_gevent.py spawn" },
      { "asyncio", "threads_asyncio.py spawn" },
      { "node", "threads_node.js spawn" },
      { "tarantool", "threads_tarantool.lua spawn" },
      { "cqueues", "threads_cqueues.lua spawn" },
    },
    figures = { { "spawn_ns", "spawn + finish" }, { "closure_ns", "of a new closure each" } },
    goals = {
      { "spawn_ns", at_most = 90, why = "2,100 instructions (callgrind): 730 for the handle, a " ..
        "table (470 to make and collect it, the rest to fill it); 450 to move function, " ..
        "arguments and environment to the thread's lua_State and to register it; 360 to run the " ..
        "body in a protected call and end; 245 to note where it was spawned; the rest to call " ..
        "spawn and to switch. Stack and lua_State are used again (40). Without handle and site " ..
        "it would be 90 ns" },
    },
    readme = { { "spawn_ns", "spawn + finish", yardstick = "luajit" } },
    chart = "spawn_ns",
  },
  {
    name = "memory",
    title = "Memory of a sleeping thread",
    how = "growth of the process's resident memory, divided by the threads that sleep in a " ..
      "function of theirs: 100,000 (grun: as said; for long: 1,000,000 that have slept longer " ..
      "than grun.hibernate_after, set to 1 s; Tarantool: 30,000, since its stacks' guard pages " ..
      "exhaust vm.max_map_count). LuaJIT: a suspended coroutine, no timer",
    measure = loads.script(),
    rounds = 3,
    subjects = {
      { "grun", "memory.lua 40000", as = "grun, 40,000" },
      { "grun", "memory.lua 1000000", as = "grun, 1,000,000", memory_mib = 10000, rounds = 1,
        environment = QUIET .. " GRUN_HIBERNATE_AFTER=off" },
      { "grun", "memory.lua 1000000 long", as = "grun, for long", memory_mib = 10000, rounds = 1,
        environment = QUIET },
      { "luajit", "threads_luajit.lua memory 100000" },
      { "go", "threads_go.go memory 100000" },
      { "gevent", "threads_gevent.py memory 100000" },
      { "asyncio", "threads_asyncio.py memory 100000" },
      { "node", "threads_node.js memory 100000" },
      { "tarantool", "threads_tarantool.lua memory 30000" },
      { "cqueues", "threads_cqueues.lua memory 100000" },
    },
    figures = { { "rss_kib", "resident memory" }, { "pte_kib", "page tables" } },
    goals = {
      { "rss_kib", at_most = 5 },
      { "rss_kib", at_most = 5, subject = "grun, 1,000,000" },
      { "rss_kib", at_most = 1.27, subject = "grun, for long" }, -- 1.3 KB
    },
    readme = {
      { "rss_kib", "memory of a sleeping thread, of a million", subject = "grun, 1,000,000" },
      { "rss_kib", "the same, asleep for long", subject = "grun, for long" },
    },
    chart = "rss_kib",
  },
  {
    name = "hibernate",
    title = "Hibernation: a million threads asleep for long",
    how = "memory of each, what putting it away costs (CPU time), what waking costs: 90,000 at " ..
      "once, of threads that were not put away, and one alone",
    needs = "hibernate.lua",
    memory_mib = 10000,
    rounds = 1,
    measure = loads.script(200),
    subjects = { { "grun", "hibernate.lua", environment = QUIET } },
    figures = {
      { "rss_kib", "resident memory" }, { "pte_kib", "page tables" }, { "put_us", "putting away" },
      { "wake_us", "waking" }, { "awake_us", "one not put away" }, { "single_p50_us", "one alone" },
      { "gap_p99_ms", "worst gap, p99" },
    },
    goals = {
      { "rss_kib", at_most = 1.27 }, -- 1.3 KB
      { "wake_us", at_most = 3 },
      { "single_p50_us", at_most = 3 },
    },
  },
  {
    name = "timers",
    title = "Timers: 100,000 threads sleep for random times of up to 2 s",
    how = "CPU time of the process from the first spawn to the last end, for each; how late the " ..
      "threads woke. Tarantool: 30,000. luv: a coroutine and a timer of libuv each",
    measure = loads.script(),
    rounds = 3,
    subjects = {
      { "grun", "timers.lua" },
      { "go", "threads_go.go timers 100000" },
      { "gevent", "threads_gevent.py timers 100000" },
      { "asyncio", "threads_asyncio.py timers 100000" },
      { "node", "threads_node.js timers 100000" },
      { "tarantool", "threads_tarantool.lua timers 30000" },
      { "cqueues", "threads_cqueues.lua timers 100000" },
      { "luv", "threads_luajit.lua timers 100000" },
    },
    figures = {
      { "timer_ns", "CPU a thread" },
      { "p99_ms", "lateness, p99" },
      { "early", "woke early" },
    },
    goals = { { "early", at_most = 0 } },
    readme = { { "timer_ns", "thread that sleeps once, CPU" } },
    chart = "timer_ns",
  },
  {
    name = "timers",
    title = "Timers: a million sleeping threads",
    how = "what sleeping costs a thread on top of being parked and woken (CPU time, the median " ..
      "of three rounds of sleeping and of yielding in one run); how long it takes to cancel " ..
      "all; no thread hibernates",
    needs = "timers_million.lua",
    memory_mib = 10000,
    rounds = 1,
    measure = loads.script(240),
    subjects = {
      { "grun", "timers_million.lua", environment = QUIET .. " GRUN_HIBERNATE_AFTER=off" },
    },
    figures = {
      { "timer_us", "arming + firing" }, { "sleep_us", "a sleep" }, { "yield_us", "a yield" },
      { "cancel_s", "cancelling all" }, { "early", "woke early" },
    },
    goals = {
      { "early", at_most = 0 },
      { "timer_us", at_most = 1.5 },
      { "cancel_s", at_most = 2, why = "each of the million threads ends by an error that is " ..
        "raised in its sleep: 32,000 instructions, two thirds of them libgcc's unwinder; " ..
        "calling cancel on all of them takes 0.7 s" },
    },
    readme = { { "timer_us", "arming + firing one of a million timers, CPU" } },
  },
  {
    name = "sync",
    title = "Threads that wait for each other",
    how = "two threads, or a pool of 100 (map); CPU time of the process for each item or turn. " ..
      "The queue has 128 places: Go and Tarantool: a channel, asyncio: its Queue",
    measure = loads.script(),
    subjects = {
      { "grun", "sync.lua yield queue rendezvous turns select map" },
      { "go", "threads_go.go yield queue rendezvous select" },
      { "gevent", "threads_gevent.py yield queue rendezvous turns map" },
      { "asyncio", "threads_asyncio.py yield queue turns" },
      { "tarantool", "threads_tarantool.lua yield queue rendezvous" },
    },
    figures = {
      { "queue_ns", "queue, an item" },
      { "rendezvous_ns", "rendezvous" },
      { "turns_ns", "events in turn" },
      { "select_ns", "select of 2" },
      { "map_ns", "pool:map, a job" },
      { "yield_ns", "yield" },
    },
    goals = {
      { "queue_ns", at_most = 0.6, of_figure = "yield_ns" },
      { "rendezvous_ns", at_most = 8, of_figure = "yield_ns" },
      { "map_ns", at_most = 1000 },
    },
    readme = { { "queue_ns", "bounded queue, an item" } },
    chart = "queue_ns",
  },
  {
    name = "sync",
    title = "Events, semaphores and locks that are free",
    how = "nobody has to wait: set + wait + clear, acquire + release; call: an empty function " ..
      "called in a compiled loop",
    measure = loads.script(),
    subjects = {
      { "grun", "sync.lua call event semaphore lock" },
      { "go", "threads_go.go lock" },
      { "gevent", "threads_gevent.py event semaphore lock" },
      { "asyncio", "threads_asyncio.py event semaphore lock" },
    },
    figures = {
      { "event_ns", "event" },
      { "semaphore_ns", "semaphore" },
      { "lock_ns", "lock" },
      { "call_ns", "call" },
    },
    goals = {
      { "event_ns", at_most = 3, of_figure = "call_ns" },
      { "semaphore_ns", at_most = 3, of_figure = "call_ns", why = "an acquire and a release are " ..
        "a nanosecond of checks and stores; the yardstick does nothing, in one cycle" },
      { "lock_ns", at_most = 3, of_figure = "call_ns" },
    },
    readme = { { "lock_ns", "lock, acquire + release" } },
  },
  {
    name = "workers",
    title = "Workers: two against one",
    how = "grun serve with one worker and with two in turn, a handler of 50 µs, 16 connections " ..
      "with 32 pipelined requests; the median of 5 rounds. By CPU: what the processor time of a " ..
      "request would allow for",
    needs = "workers.lua",
    missing = too_few_processors,
    measure = loads.script(120, true),
    rounds = 1,
    subjects = { { "grun", "workers.lua" } },
    figures = {
      { "scaling", "two to one" }, { "best_scaling", "the best of each" },
      { "scaling_by_cpu", "by CPU" }, { "one_rps", "one, requests/s" },
      { "two_rps", "two, requests/s" }, { "one_cpu_us", "one, CPU a request" },
      { "two_cpu_us", "two, CPU a request" },
      { "two_workers_processors", "two, processors in use" },
      { "client_processors", "client's processor in use" },
    },
    goals = { { "scaling", at_least = 1.8 } },
    readme = { { "scaling", "requests a second of two workers to one" } },
  },
  {
    name = "coop",
    title = "Blocking calls of C modules, made cooperative",
    how = "a module's calls through grun's functions, and libc's own behind them, in one " ..
      "process; the best of several runs",
    measure = measure_coop,
    subjects = { { "grun", "coop.lua" }, { "grun", "coop.lua", as = "libc" } },
    figures = {
      { "poll_ns", "poll, ready" },
      { "read_ns", "read of a file" },
      { "socket_ns", "read of a socket" },
      { "eagain_ns", "recv, EAGAIN" },
      { "mutex_ns", "mutex lock+unlock" },
    },
    goals = {
      { "poll_ns", plus = 60, of = "libc" },
      { "read_ns", plus = 60, of = "libc" },
      { "mutex_ns", plus = 10, of = "libc" },
    },
    readme = { { "poll_ns", "poll of a ready descriptor by a C module", yardstick = "libc" } },
  },
  {
    name = "coop",
    title = "A script that only computes",
    how = "the best of 15 runs in each round. libluajit is the shared library that grun uses, " ..
      "in a host that does nothing else; the luajit program has the VM built in",
    measure = loads.script(),
    subjects = {
      { "grun", "cpu.lua" },
      { "libluajit", "cpu.lua" },
      { "luajit", "cpu.lua" },
    },
    figures = { { "script_ms", "the script" } },
    goals = { { "script_ms", at_most = 1.01, of = "libluajit" } },
  },
}
