-- SPDX-License-Identifier: MIT
-- What a master has to do, one thing after the other, and what it says about it.

local core = require("grun.core")

local LINES = 1000 -- that wait to be written; what comes then is dropped
local PATIENCE = 1 -- seconds at the end for lines that are not written yet

local M = {}

local events, lines, writer, quiet

function M.spawn_daemon(name, fn, ...)
  local t = core.spawn(fn, ...)
  t.name = name
  core.daemon(t[1])
  return t
end

-- ---- What is said ----

local function write_lines()
  for line in lines:items() do
    io.stderr:write(line)
  end
end

--- Says something on stderr. A pipe that nobody reads does not stop the master.
function M.log(format, ...)
  lines:try_put(("grun: " .. format .. "\n"):format(...))
end

--- The same, unless it is to be quiet.
function M.info(...)
  if not quiet then
    M.log(...)
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
  local queue = require("grun.queue").queue
  events, lines, quiet = queue(), queue(LINES), be_quiet
  writer = M.spawn_daemon("log", write_lines)
end

--- Does what there is to do until finish() is called. One thing that fails does not stop the rest.
function M.work()
  for fn in events:items() do
    local ok, err = xpcall(fn, debug.traceback)
    if not ok then
      M.log("the master failed: %s", tostring(err))
    end
  end
  lines:close()
  writer:join(PATIENCE)
end

function M.finish()
  events:close()
end

return M
