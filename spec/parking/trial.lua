-- SPDX-License-Identifier: MIT
-- Runs one of places.lua with a way to wait and a way to fail, and compares what came out with a
-- run that did not wait.

local grun = require("grun")

local M = { waits = 0, inside = 0, most_inside = 0 }

local OBJECT, CUT = { "an error object" }, { "stands for a cancel or a timeout" }

-- ---- Ways to wait: new() -> { wait = function(v) that returns v, hang = one that ends by being raised out of } ----

M.kinds = { "sleep", "yield", "read", "join", "wait", "event", "queue" }

local makers = {}

function makers.sleep()
  return {
    wait = function(v)
      grun.sleep(0.0001 * (v % 3))
      return v
    end,
    hang = function() grun.sleep(60) end,
  }
end

function makers.yield()
  return {
    wait = function(v)
      grun.yield()
      return v
    end,
    hang = function()
      repeat
        grun.yield()
      until false
    end,
  }
end

-- The echo ends with the connection.
function makers.read()
  local near, far = grun.pair()
  grun.spawn(function()
    local line = far:read()
    while line do
      grun.yield()
      far:write(line, "\n")
      line = far:read()
    end
    far:close()
  end)
  return {
    wait = function(v)
      assert(near:write(v, "\n"))
      return assert(near:read("n", "l"))
    end,
    hang = function() near:read() end,
    close = function() near:close() end,
  }
end

local function echo(v)
  grun.yield()
  return v
end

function makers.join()
  local never = grun.spawn(grun.sleep, 60)
  return {
    wait = function(v)
      return grun.spawn(echo, v):get()
    end,
    hang = function() never:join() end,
    close = function() never:cancel() end,
  }
end

function makers.wait()
  local never = { grun.spawn(grun.sleep, 60), grun.spawn(grun.sleep, 60) }
  return {
    wait = function(v)
      local a, b = grun.spawn(echo, 1), grun.spawn(echo, v)
      local ended = grun.wait({ b, a })
      return ended[1] == b and b:get() or #ended == 2 and b:get() or error("wait returned too early")
    end,
    hang = function() grun.wait(never) end,
    close = function()
      never[1]:cancel()
      never[2]:cancel()
    end,
  }
end

function makers.event()
  local event, never = grun.event(), grun.event()
  return {
    wait = function(v)
      event:clear()
      grun.spawn(event.set, event)
      event:wait()
      return v
    end,
    hang = function() never:wait() end,
  }
end

function makers.queue()
  local queue = grun.queue(0)
  return {
    wait = function(v)
      grun.spawn(queue.put, queue, v)
      return queue:get()
    end,
    hang = function() queue:get() end,
    close = function() queue:close() end,
  }
end

function M.new_wait(kind)
  return makers[kind]()
end

-- ---- Ways to fail: at the k-th wait, right after it or out of it ----

M.modes = {
  { name = "no error", fail = "none", at = 0 },
  { name = "a string after wait 1", fail = "string", at = 1 },
  { name = "a string after wait 2", fail = "string", at = 2 },
  { name = "an object after wait 1", fail = "object", at = 1 },
  { name = "a cancel in wait 1", fail = "cancel", at = 1 },
  { name = "a cancel in wait 2", fail = "cancel", at = 2 },
  { name = "a timeout in wait 1", fail = "timeout", at = 1 },
}

-- Cancels and timeouts stay: every later wait raises as well.
local function lasts(mode)
  return mode.fail == "cancel" or mode.fail == "timeout"
end

local function raise(mode, count)
  if mode.fail == "string" and count == mode.at then
    error("failed on purpose", 0)
  elseif mode.fail == "object" and count == mode.at then
    error(OBJECT, 0)
  end
end

-- The w of places.lua that does not wait.
local function pretend(mode)
  local count = 0
  return function(v)
    count = count + 1
    if lasts(mode) and count >= mode.at then
      error(CUT, 0)
    end
    raise(mode, count)
    return v
  end
end

local function cancel_soon(thread)
  grun.spawn(thread.cancel, thread, "cut")
end

-- Counts threads that are inside a wait, so that the report can say whether they really took turns.
-- No pcall here: an error caught below an xpcall handler makes LuaJIT call the handler again for
-- the next one, without end.
local function counted(fn, v)
  M.waits = M.waits + 1
  M.inside = M.inside + 1
  M.most_inside = math.max(M.most_inside, M.inside)
  local result = fn(v)
  M.inside = M.inside - 1
  return result
end

local function really(mode, way)
  local count = 0
  return function(v)
    count = count + 1
    if lasts(mode) and count >= mode.at then
      if mode.fail == "cancel" and count == mode.at then
        cancel_soon(grun.current())
      end
      way.hang()
      error("the wait was not ended", 0)
    end
    local result = counted(way.wait, v)
    if result ~= v then
      error("the wait returned " .. tostring(result) .. " instead of " .. tostring(v), 0)
    end
    raise(mode, count)
    return result
  end
end

-- ---- One run ----

local function outcome(ok, v, message)
  if ok then
    return v == nil and message == "timeout" and "cut" or "returned " .. tostring(v)
  elseif v == CUT or grun.is_cancel(v) then
    return "cut"
  end
  return "raised " .. (v == OBJECT and "the object" or tostring(v))
end

local function number_for(place)
  return #place.name % 5 + 2
end

--- What the place comes to without waiting.
function M.expected(place, mode)
  return outcome(pcall(place.run, pretend(mode), number_for(place)))
end

local numbers = { 1, 2, 3, 4, 5, 6, 7, 8 }

-- No call in it, so that its trace is entered and left without any C function that would mend the
-- state.
local function hot_loop()
  local sum, boxes = 0, nil
  for i = 1, 200 do
    sum = sum + numbers[i % 8 + 1]
    boxes = { i, boxes }
    if i % 50 == 0 then
      boxes = nil
    end
  end
  return sum
end

--- What it comes to with real waits; then checks that compiled code still works.
function M.actual(place, mode, way)
  local w, n = really(mode, way), number_for(place)
  local result
  if mode.fail == "timeout" then
    result = outcome(pcall(grun.timeout, 0.0005, place.run, w, n))
  else
    result = outcome(pcall(place.run, w, n))
  end
  if hot_loop() ~= 900 then
    return "a loop afterwards that computed wrongly"
  end
  return result
end

return M
