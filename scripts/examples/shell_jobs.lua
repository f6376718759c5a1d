-- SPDX-License-Identifier: MIT
-- Lua's own io.popen, os.execute and io.lines, unchanged, in many threads: shell commands side by
-- side, and a program that is fed by one thread while another reads what comes out.
--
-- Run:  ./grun scripts/examples/shell_jobs.lua
--
-- Prints:
--   10 jobs of 0.2 s took less than 1 s: true
--   job 1: 1
--   job 2: 4
--   job 3: 9
--   exit codes: 1 2 3
--   100000 numbers sorted, the last is 100000
--   the clock went on meanwhile: true

local ticks = 0
local clock = grun.spawn(function()
  while true do
    grun.sleep(0.01)
    ticks = ticks + 1
  end
end)

-- The standard output of a command.
local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- ---- As many as you like at once ----

local started = grun.now()
local jobs = grun.pool(10):map(function(i)
  return output(("sleep 0.2; echo $((%d * %d))"):format(i, i))
end, { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 })
print("10 jobs of 0.2 s took less than 1 s: " .. tostring(grun.now() - started < 1))
for i = 1, 3 do
  io.write("job ", i, ": ", jobs[i])
end

local codes = grun.pool(3):map(function(i)
  return os.execute("sleep 0.1; exit " .. i) / 256
end, { 1, 2, 3 })
print("exit codes: " .. table.concat(codes, " "))

-- ---- A pipeline: io.popen goes one way, so the other end is a file ----

local name = os.tmpname()
local sort = assert(io.popen("sort -n >" .. name, "w"))
grun.spawn(function()
  for i = 100000, 1, -1 do
    sort:write(i, "\n") -- waits while the pipe is full
  end
end):join()
sort:close() -- waits for the end of sort

local count, last = 0, nil
for line in io.lines(name) do
  count, last = count + 1, line
end
os.remove(name)
print(("%d numbers sorted, the last is %s"):format(count, last))

clock:cancel()
print("the clock went on meanwhile: " .. tostring(ticks > 10))
