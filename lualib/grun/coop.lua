-- SPDX-License-Identifier: MIT
-- The cooperative libc, seen from Lua: figures, a way around it, and a way for the FFI into it.
--
-- What libraries see: a thread that waits in a call of libc lets others run, which may then be in
-- the same library. So a connection to a database is for one thread at a time. Cancel and deadline
-- end a waiting call with ECANCELED and are raised when the library has returned; close the
-- connection then, since nobody knows what its next answer belongs to. A signal does not interrupt
-- a call that parks: it never fails with EINTR.

local core = require("grun.core.coop")
local check_callable = require("grun.waitlist").check_callable

---@class grun.coop
local M = {}

--- What the cooperative libc has done so far: { enabled =, calls = { [name] = { parked =,
--- blocked =, seconds =, refused =, foreign = } }, sites = { { where =, call =, count =,
--- seconds = }, ... } }.
--- parked counts waits of a thread; blocked the calls that made all of them wait because parking
--- was not possible there, seconds how long; refused those that failed because the thread was
--- cancelled; foreign those from other OS threads, which go straight to the kernel. sites says
--- which places blocked, the costliest first: at most 64, later ones share an entry "elsewhere".
--- system and pclose count as waitpid.
---@return table
function M.stats()
  local stats = core.stats()
  table.sort(stats.sites, function(a, b)
    return a.seconds > b.seconds
  end)
  return stats
end

--- Runs fn(...) and returns its results. Blocking calls of C libraries in this thread meanwhile
--- really block, as they do with --no-coop.
---@param fn fun(...): ...
---@param ... any
function M.original(fn, ...)
  check_callable(fn, "original")
  return core.original(fn, ...)
end

--- A function that calls `fn`, a C function of the FFI (ffi.C.poll, or a function pointer), so that
--- blocking calls of libc below it let other threads run. Called plainly it would stop them all.
---@param fn ffi.cdata*
---@return fun(...): ...
function M.wrap(fn)
  -- As LuaJIT writes them: ctype<int ()>, ctype<int (*)()>.
  if type(fn) ~= "cdata" or not tostring(require("ffi").typeof(fn)):find("%(%)>$") then
    error("wrap: function of the FFI expected, got " .. type(fn), 2)
  end
  return core.wrap(fn)
end

return M
