-- SPDX-License-Identifier: MIT
-- A task "class" with its own run method, and one that inherits from it, in plain Lua: a metatable
-- is all it takes. start() spawns a thread that runs the method; the rest is the thread's own.
-- Run: ./grun scripts/examples/task_class.lua
-- Prints:
--   task hello: starting
--   countdown go: starting
--   hello, once
--   go in 3
--   task hello: done, result 5
--   go in 2
--   go in 1
--   countdown go: done, result lift-off
--   countdown long: starting
--   long in 1000
--   countdown long: cancelled, result nil

local Task = { kind = "task" }
Task.__index = Task

function Task.new(class, fields)
  return setmetatable(fields, class)
end

function Task:run()
  print(self.name .. ", once")
  return #self.name
end

function Task:start()
  print(self:describe() .. ": starting")
  self.thread = grun.spawn(self.run, self)
  self.thread.name = self.name
  return self
end

function Task:stop()
  self.thread:kill()
  return self
end

function Task:describe()
  return self.kind .. " " .. self.name
end

function Task:report()
  self.thread:join()
  local result = self.thread:successful() and self.thread:get() or nil
  print(("%s: %s, result %s"):format(self:describe(), self.thread:status(), tostring(result)))
end

local Countdown = setmetatable({ kind = "countdown" }, Task)
Countdown.__index = Countdown

function Countdown:run()
  for i = self.from, 1, -1 do
    print(self.name .. " in " .. i)
    grun.sleep(self.pause or 0)
  end
  return "lift-off"
end

local hello = Task:new({ name = "hello" }):start()
local go = Countdown:new({ name = "go", from = 3 }):start()
hello:report()
go:report()

local long = Countdown:new({ name = "long", from = 1000, pause = 1 }):start()
grun.yield()
long:stop():report()
