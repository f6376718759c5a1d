-- SPDX-License-Identifier: MIT
-- For editors: the grun table, thread handles, and grun.core, which runtime/bind/lib_thread.c
-- defines. Never loaded. spec/meta_spec.lua compares it with what is there.

---@meta grun
-- luacheck: no unused, globals grun

-- Times are seconds, fractions allowed. A timeout is the last, optional argument: nil is for ever,
-- 0 does not wait. What parks lets other threads run meanwhile; it raises when the calling thread
-- is cancelled or the deadline of a surrounding grun.timeout has passed.

---@class grun
grun = {}

-- ---- Threads ----

--- Starts fn(...) in a new thread, which runs once the caller parks. Raises when no more threads
--- can be made.
---@param fn fun(...): ...
---@param ... any
---@return grun.thread
function grun.spawn(fn, ...) end

--- Starts fn(...) in a new thread after so many seconds.
---@param seconds number
---@param fn fun(...): ...
---@param ... any
---@return grun.thread
function grun.spawn_later(seconds, fn, ...) end

--- The running thread.
---@return grun.thread
function grun.current() end

--- Waits so many seconds, never less; 0 or less is yield(). Parks.
---@param seconds number
---@async
function grun.sleep(seconds) end

--- Lets every other ready thread run once. Parks.
---@async
function grun.yield() end

--- Waits until no other thread is ready and no event is pending. Parks.
---@async
function grun.idle() end

--- A thread that has been parked for so many seconds (at the latest after twice that time)
--- hibernates: the memory of its C stack is given back until it wakes. Changes nothing that a
--- script can see.
---@param seconds? number 10 at the start, or what GRUN_HIBERNATE_AFTER says; 0: no more of it
---@return number before what was set so far
function grun.hibernate_after(seconds) end

--- Seconds on a clock that never goes back; only differences mean something.
---@return number
function grun.now() end

--- All threads that have not ended, oldest first.
---@return grun.thread[]
function grun.threads() end

--- Makes fn(thread, err, traceback) replace the report of uncaught errors in the log; nil restores
--- that. Returns the previous one.
---@param fn? fun(thread: grun.thread, err: any, traceback?: string)
---@return function|nil
function grun.on_error(fn) end

--- A green thread: a function that runs beside others, on a C stack of its own.
---@class grun.thread
---@field id integer unique in the process, never used again
---@field name? string for reports; may be set
---@field error any what a failed or cancelled thread raised
---@field traceback? string of a failed thread, taken where the error was thrown
---@field locals table anything, for this thread
---@field spawned_at? string "file:line" of the call that spawned it
local thread = {}

--- What it is doing; the last three once it has ended.
---@return "new"|"ready"|"running"|"waiting"|"done"|"failed"|"cancelled"
function thread:status() end

--- True if it ended by returning.
---@return boolean
function thread:successful() end

--- Waits for the end. Returns nil, "timeout", "timeout" after so many seconds. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function thread:join(seconds) end

--- Waits for the end and returns the body's results; raises its error object if it failed or was
--- cancelled. Returns nil, "timeout", "timeout" after so many seconds. Parks.
---@param seconds? number
---@return any ...
---@async
function thread:get(seconds) end

--- Makes each of its waits raise from now on; returns at once. One that has not started never runs.
--- The first reason stays.
---@param reason? any for grun.is_cancel; default "cancelled"
function thread:cancel(reason) end

--- Cancels it and waits for the end. Returns nil, "timeout", "timeout" after so many seconds. A
--- thread that kills itself ends here. Parks.
---@param seconds? number
---@return true|nil, string?, string?
---@async
function thread:kill(seconds) end

--- Calls fn(thread) in a new thread once this one has ended, also if it has already.
---@param fn fun(thread: grun.thread)
---@param which? "ok"|"error" only if it returned; only if it failed or was cancelled
function thread:link(fn, which) end

--- Removes every link to fn.
---@param fn function
function thread:unlink(fn) end

--- An operation for grun.select that happens when the thread has ended; its result is true.
---@return grun.op
function thread:op_join() end

-- ---- Waiting for many ----

---@class grun.joinall.options
---@field timeout? number seconds
---@field count? integer so many are enough
---@field raise? boolean raise the error of the first that failed, as soon as it did

--- Waits until `count` (default: all) of the objects are ready. Returns the ready ones in the order
--- in which they became ready, after so many seconds those so far; nil, message, "busy" when
--- another thread reads from one of the sockets. Parks.
---@param list table[] threads, events, results, semaphores, queues, sockets, …
---@param seconds? number
---@param count? integer
---@return table[]|nil, string?, string?
---@async
function grun.wait(list, seconds, count) end

--- Iterates over the objects as they become ready; ends when all were, or after so many seconds.
--- Each step parks.
---@param list table[]
---@param seconds? number
---@return fun(): table|nil
function grun.iwait(list, seconds) end

--- Waits for the ends of all threads of the list. Returns the ended ones in the order of their
--- ends, after the timeout those so far. Parks.
---@param list grun.thread[]
---@param opts? grun.joinall.options
---@return grun.thread[]
---@async
function grun.joinall(list, opts) end

--- Cancels all threads of the list, then waits for their ends. Returns nil, "timeout", "timeout"
--- after so many seconds. Parks.
---@param list grun.thread[]
---@param seconds? number
---@return true|nil, string?, string?
---@async
function grun.killall(list, seconds) end

--- Something that grun.select can let happen: made by op_ methods, such as queue:op_get().
---@class grun.op

--- Lets exactly one of the operations happen, the first of those that can. Returns its index and
--- its results; nil, "timeout", "timeout" after so many seconds. Parks.
---@param ops grun.op[]
---@param seconds? number
---@return integer|nil, any ...
---@async
function grun.select(ops, seconds) end

--- An operation for grun.select that happens after so many seconds.
---@param seconds number
---@return grun.op
function grun.op_sleep(seconds) end

-- ---- Cancel and deadlines ----

--- Runs fn(...) and returns its results. After so many seconds everything that parks inside raises
--- until fn has ended; then returns nil, "timeout", "timeout". nil: no limit. Parks.
---@param seconds number|nil
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function grun.timeout(seconds, fn, ...) end

--- Runs fn(...) with a cancel and the deadlines outside held back, and returns its results. Parks.
---@param fn fun(...): ...
---@param ... any
---@return any ...
---@async
function grun.shield(fn, ...) end

--- Seconds until the nearest deadline around the caller, 0 when it has passed; nil without one.
---@return number|nil
function grun.deadline() end

--- The reason if err is what a cancelled thread's wait raised, "timeout" if a deadline raised it,
--- else nil.
---@param err any
---@return any
function grun.is_cancel(err) end

-- ---- Made elsewhere ----

--- A new event, not set.
---@return grun.event
function grun.event() end

--- A new result, without an outcome.
---@return grun.result
function grun.result() end

--- A semaphore of n permits; giving back more than `max` raises.
---@param n integer
---@param max? integer default: no limit
---@return grun.semaphore
function grun.semaphore(n, max) end

--- A lock; a reentrant one may be taken again by its holder, who releases it as often.
---@param opts? { reentrant?: boolean }
---@return grun.lock
function grun.lock(opts) end

--- A condition on that lock, or on a new one (its field `lock`).
---@param lock? grun.lock
---@return grun.condition
function grun.condition(lock) end

--- A barrier for n threads.
---@param n integer
---@return grun.barrier
function grun.barrier(n) end

--- A reader-writer lock, fair to both sides.
---@return grun.rwlock
function grun.rwlock() end

---@class grun.queue.options
---@field capacity? integer nil: unbounded, 0: rendezvous
---@field order? "fifo"|"lifo"|"priority" priority: least first
---@field less? fun(a: any, b: any): boolean for priorities
---@field handoff? boolean put runs a waiting getter at once

--- A queue of that capacity, or with those options.
---@param opts? integer|grun.queue.options
---@return grun.queue
function grun.queue(opts) end

--- An empty group of threads; its members inherit the deadline in force here.
---@return grun.group
function grun.group() end

--- Runs fn(group) with a new group and waits until its members have ended. The first error cancels
--- the rest and is raised. Returns fn's results. Parks.
---@param fn fun(group: grun.group): ...
---@return any ...
---@async
function grun.scope(fn) end

--- A group with at most n members at a time.
---@param n integer
---@return grun.pool
function grun.pool(n) end

--- A symmetric coroutine that will run fn; its outcome goes to the parent.
---@param fn fun(...): ...
---@param parent? grun.greenlet default: the running one
---@return grun.greenlet
function grun.greenlet(fn, parent) end

--- The running greenlet.
---@return grun.greenlet
function grun.greenlet_current() end

grun.connect = require("grun.socket").connect
grun.listen = require("grun.socket").listen
grun.pair = require("grun.core.net").pair
grun.udp = require("grun.core.dgram").udp
grun.wait_readable = require("grun.core.net").wait_readable
grun.wait_writable = require("grun.core.net").wait_writable
grun.resolve = require("grun.core.dns").resolve
grun.dns = require("grun.dns")
grun.server = require("grun.server").server
grun.servers = require("grun.server").servers
grun.process = require("grun.process").process
grun.fs = require("grun.fs").fs
grun.http = require("grun.http").http
grun.offload = require("grun.offload").offload
grun.offload_threads = require("grun.offload").offload_threads
grun.signal = require("grun.signal").signal
grun.signal_wait = require("grun.signal").signal_wait
grun.watch = require("grun.watch").watch
grun.tls = require("grun.tls").tls
grun.coop = require("grun.coop")
grun.stats = require("grun.stats").stats
grun.backdoor = require("grun.backdoor").backdoor
grun.log = require("grun.log")
grun.profile = require("grun.profile")
grun.block_warn = require("grun.loop").block_warn
grun.seed = require("grun.loop").seed
grun.worker = require("grun.worker")

-- ---- grun.core: for grun's own modules. A green is a handle's first slot. ----

---@alias grun.green lightuserdata|false false once the thread has ended

---@class grun.core
---@field thread table the metatable of thread handles
---@field traceback fun(err: any): any message handler that keeps the traceback in the thread
---@field hooks table<string, function> called from C: tell(thread), failed(thread), deadlock(),
--- signal(name), arrived(number as text), control("start" or "client")
local core = {}

core.spawn = grun.spawn
core.spawn_later = grun.spawn_later
core.current = grun.current
core.sleep = grun.sleep
core.yield = grun.yield
core.idle = grun.idle
core.now = grun.now

--- As sleep, for threads that only tidy up: nothing that others wait for comes of it, so that it
--- hides no deadlock. Parks.
---@param seconds number
---@async
function core.nap(seconds) end

--- For a daemon thread that waits for one thing at a time: from now on that is no reason to hope
--- that other threads will be woken, so that it hides no deadlock; false: it is again.
---@param on boolean
function core.overlook(on) end

--- As spawn, with the caller's caller as the place where the thread was spawned.
---@param fn fun(...): ...
---@param ... any
---@return grun.thread
function core.spawn_for(fn, ...) end

--- Waits until made ready. Never raises: after "raise" undo what you registered, then call check().
--- "timeout" after so many seconds. Parks.
---@param what string for reports; a literal, since its bytes are kept by reference
---@param seconds? number
---@param token? table that who wakes it has to name
---@return "ok"|"timeout"|"raise"
---@async
function core.park(what, seconds, token) end

--- Raises what a wait would raise now. Returns nil, message, "misuse" in a finalizer, else nothing.
--- Parks before it raises.
---@return nil, string?, string?
---@async
function core.check() end

--- Makes a parked thread ready; returns whether it was parked.
---@param green grun.green
---@param token? table|false what it must be parked with
---@return boolean
function core.ready(green, token) end

--- As ready, but it runs before all others when the caller parks.
---@param green grun.green
---@return boolean
function core.ready_next(green) end

--- As current(); until the next switch `core.here[1]` is that thread, too, for code that the JIT
--- compiler is to take in whole. Otherwise it is false.
---@return grun.thread|nil
function core.find() end

--- As ready, but it runs at once, and the caller right after it. Parks.
---@param green grun.green
---@param token? table|false what it must be parked with
---@return boolean
---@async
function core.handoff(green, token) end

--- Makes every wait of the thread raise from now on.
---@param green grun.green
function core.cancel(green) end

--- Sets the time of now() at which waits of the thread begin to raise; math.huge: never.
---@param green grun.green
---@param at number
function core.set_deadline(green, at) end

--- Holds a cancel of the running thread back, or no longer. Returns whether it was held back.
---@param on boolean
---@return boolean
function core.shield(on) end

--- The running thread's green.
---@return grun.green
function core.self() end

---@param green grun.green
---@return "new"|"ready"|"running"|"waiting"|"done" state what it is doing
function core.state(green) end

--- Makes hooks.ended be called at the thread's end in any case, not only if it fails.
---@param green grun.green
function core.watch(green) end

--- The thread no longer keeps the process alive.
---@param green grun.green
function core.daemon(green) end

--- Sets the name that reports from C show, of at most 63 bytes.
---@param green grun.green
---@param name? string
function core.set_name(green, name) end

--- The handles of all threads that have not ended, in any order.
---@return grun.thread[]
function core.list() end

---@class grun.core.info
---@field id integer
---@field parent integer id of the spawner
---@field name? string
---@field what? string what it waits for
---@field left? number seconds until its wait ends, or until it starts
---@field switches integer how often it was given the processor
---@field daemon boolean
---@field cancelled boolean
---@field hibernates boolean its C stack is packed away (see grun.hibernate_after)

--- What is known about a thread; nothing once it has ended.
---@param green grun.green
---@return grun.core.info|nil
function core.info(green) end

--- The coroutine to look at for a parked thread's traceback; nothing when it is not parked.
---@param green grun.green
---@return thread|nil
function core.stack(green) end

core.hibernate_after = grun.hibernate_after

---@class grun.core.hibernated
---@field threads integer that hibernate now
---@field bytes integer of memory that their packed stacks take
---@field unfit integer long-parked threads that the last sweep had to leave alone
---@field put integer how often a thread was put away since the start
---@field woken integer how often one was woken

--- Figures about hibernation.
---@return grun.core.hibernated
function core.hibernated() end

--- Sets the exit status of the process, unless os.exit says otherwise.
---@param status integer
function core.set_status(status) end

return grun
