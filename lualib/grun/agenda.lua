-- SPDX-License-Identifier: MIT
-- What a master has to do, one thing after the other, and what it says about it.

local core = require("grun.core")
local report = require("grun.core.log").report

local WARN = 2 -- level of the log: what is in order is to be seen, too

local M = {}

local events, quiet

-- ---- What is said ----

--- Says something in the log, on stderr unless the command line says otherwise.
function M.log(format, ...)
  report(format:format(...))
end

--- The same of what is in order, unless the master is to be quiet.
function M.info(format, ...)
  if not quiet then
    report(format:format(...), WARN)
  end
end

-- ---- What is to be done ----

--- Calls fn() when its turn comes.
function M.put(fn)
  events:put(fn)
end

--- Calls fn() after so many seconds. Returns what cancel() takes.
function M.after(seconds, fn)
  local timer = {}
  timer.thread = core.spawn_later(seconds, function()
    timer.thread = nil
    events:put(fn)
  end)
  core.daemon(timer.thread[1])
  return timer
end

--- The function of an after() is not called any more, if it has not been.
function M.cancel(timer)
  if timer and timer.thread then
    timer.thread:cancel("not needed")
    timer.thread = nil
  end
end

function M.start(be_quiet)
  events, quiet = require("grun.queue").queue(), be_quiet
end

--- Does what there is to do until finish() is called. One thing that fails does not stop the rest.
function M.work()
  for fn in events:items() do
    local ok, err = xpcall(fn, debug.traceback)
    if not ok then
      M.log("the master failed: %s", tostring(err))
    end
  end
end

function M.finish()
  events:close()
end

return M
