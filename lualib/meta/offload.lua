-- SPDX-License-Identifier: MIT
-- For editors: what runtime/bind/lib_offload.c, lib_signal.c and lib_watch.c define for grun's own
-- modules offload, signal and watch. Never loaded.

---@meta grun.core.offload
-- luacheck: no unused

local offload = {}

--- Runs a function or a chunk in another OS thread. Returns true and its results; false, the error
--- if it is plain data, its text and its traceback; nil, message, code when it could not be begun.
--- Parks.
---@param fn function|string
---@param ... any
---@return boolean|nil, any ...
---@async
function offload.run(fn, ...) end

--- Sets the number of OS threads; returns it. See grun.offload_threads.
---@param max? integer
---@return integer
function offload.threads(max) end

local signal = {}

--- The number of a signal's name, or nothing.
---@param name string
---@return integer?
function signal.number(name) end

--- From now on grun.core's hook "arrived" is called in the hub with the number, as text, when the
--- signal came. False if it cannot be caught.
---@param number integer
---@return boolean
function signal.take(number) end

--- Undoes take().
---@param number integer
function signal.give(number) end

--- Between hold(true) and hold(false) somebody waits for a signal.
---@param on boolean
function signal.hold(on) end

local watch = {}

--- Opens an inotify instance. Returns nil, message, code on failure.
---@return grun.notify|nil, string?, string?
function watch.open() end

---@class grun.notify
local notify = {}

--- Watches a directory. Returns the number of the watch, the same for the same directory.
---@param path string
---@return integer|nil, string?, string?
function notify:add(path) end

--- Ends a watch.
---@param number integer
function notify:remove(number) end

--- The next event: number of the watch, kind, name or nil, whether it is a directory, cookie.
--- Parks.
---@param seconds? number
---@return integer|nil, string?, string?, boolean?, integer?
---@async
function notify:next(seconds) end

--- Its descriptor, -1 when closed.
---@return integer
function notify:fd() end

--- Closes it; a waiting next() gets "closed".
function notify:close() end

return { offload = offload, signal = signal, watch = watch }
