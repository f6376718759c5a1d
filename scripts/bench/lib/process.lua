-- SPDX-License-Identifier: MIT
-- Commands: run to their end for what they print, or started as servers. Every one is bounded in
-- time. Servers and loads are pinned to different cores.

local ffi = require("ffi")

ffi.cdef [[
  struct bench_time { long seconds, nanoseconds; };
  int clock_getcpuclockid(int pid, int *clock);
  int clock_gettime(int clock, struct bench_time *time);
]]

local M = {
  LIMIT = 60, -- seconds that a command may take unless the caller says otherwise
  SERVER_CORE = 1,
  LOAD_CORE = 0,
  verbose = false,
}

---@param command string of the shell
---@return boolean
function M.succeeds(command)
  local status = os.execute("{ " .. command .. "; } >/dev/null 2>&1")
  return status == 0 or status == true
end

--- What a command prints, stderr too, without the end of its last line.
---@param command string
---@return string
function M.output(command)
  local pipe = io.popen("{ " .. command .. "; } 2>&1")
  local text = pipe:read("*a")
  pipe:close()
  return (text:gsub("%s+$", ""))
end

--- The text of a file; an empty one when there is none.
---@param path string
---@return string
function M.contents(path)
  local file = io.open(path)
  if not file then
    return ""
  end
  local text = file:read("*a")
  file:close()
  return text
end

--- The word quoted for the shell.
---@param word string
---@return string
function M.quote(word)
  return "'" .. word:gsub("'", "'\\''") .. "'"
end

local can_pin

---@param core integer
---@param command string
---@return string
function M.on_core(core, command)
  if can_pin == nil then
    can_pin = M.succeeds("taskset -c 0,1 true")
  end
  return can_pin and ("taskset -c %d %s"):format(core, command) or command
end

--- Whether servers and loads really have a core of their own.
---@return boolean
function M.pins()
  M.on_core(0, "")
  return can_pin
end

--- The numbers of every key=number that the text holds.
---@param text string
---@return table<string, number>
function M.parse(text)
  local found = {}
  for key, value in text:gmatch("([%w_]+)=(%-?[%d.]+)") do
    found[key] = tonumber(value)
  end
  return found
end

--- Runs a command to its end on the load's core. Raises what it printed when it fails.
---@param command string
---@param limit? number seconds
---@param everywhere? boolean on all cores, since it has servers or workers of its own
---@return string output
function M.complete(command, limit, everywhere)
  command = everywhere and command or M.on_core(M.LOAD_CORE, command)
  local pipe = io.popen(("timeout -k 1 %g %s 2>&1; echo exit=$?"):format(limit or M.LIMIT, command))
  local output, status = pipe:read("*a"):match("^(.*)exit=(%d+)\n$")
  pipe:close()
  if M.verbose then
    io.stderr:write("+ ", command, "\n", output)
  end
  if status ~= "0" then
    error(("%s: %s\n%s"):format(command, status == "124" and "out of time" or "status " .. status,
      output), 0)
  end
  return output
end

--- The figures that a command reports.
---@param command string
---@param limit? number seconds
---@param everywhere? boolean
---@return table<string, number>
function M.figures(command, limit, everywhere)
  return M.parse(M.complete(command, limit, everywhere))
end

---@class bench.server
---@field pid string
---@field port string
---@field pipe file*

--- Starts a server whose first line of output ends in its port. It runs below timeout, which reaps
--- it and bounds its life. What it complains of is shown when it does not start, or with -v.
---@param command string
---@return bench.server
function M.start(command)
  local complaints = os.tmpname()
  local pipe = io.popen(("exec timeout --foreground -k 1 %d sh -c %s 2>%s"):format(M.LIMIT * 5,
    M.quote("echo $$; exec " .. M.on_core(M.SERVER_CORE, command)),
    M.verbose and "&2" or complaints))
  local pid, line = pipe:read("*l"), pipe:read("*l")
  local port = line and line:match(":(%d+)$")
  local why = M.contents(complaints)
  os.remove(complaints)
  if not port then
    M.stop({ pid = pid, pipe = pipe })
    error(("%s did not start: %s\n%s"):format(command, line or "", why), 0)
  end
  if M.verbose then
    io.stderr:write("+ ", command, " &   (", line, ")\n")
  end
  return { pid = pid, port = port, pipe = pipe }
end

--- SIGTERM, and SIGKILL for who has not gone within 5 s. Returns when its output is complete.
---@param server bench.server
function M.stop(server)
  os.execute(([[
    kill -TERM PID 2>/dev/null
    for i in $(seq 100); do kill -0 PID 2>/dev/null || exit; sleep 0.05; done
    kill -KILL PID 2>/dev/null]]):gsub("PID", server.pid))
  server.pipe:read("*a")
  server.pipe:close()
end

--- Runs use(server) with a fresh server, which is stopped afterwards.
---@generic T
---@param command string
---@param use fun(server: bench.server): T
---@return T
function M.with_server(command, use)
  local server = M.start(command)
  local ok, result = pcall(use, server)
  M.stop(server)
  return ok and result or error(result, 0)
end

local function children(pid)
  return M.contents(("/proc/%s/task/%s/children"):format(pid, pid)):gmatch("%d+")
end

--- CPU time of a process with its threads and its children, in nanoseconds.
---@param pid string|integer
---@return number
function M.cpu(pid)
  local clock, time = ffi.new("int[1]"), ffi.new("struct bench_time")
  if ffi.C.clock_getcpuclockid(tonumber(pid), clock) ~= 0 or
      ffi.C.clock_gettime(clock[0], time) ~= 0 then
    error(("process %s has ended"):format(pid), 0)
  end
  local used = tonumber(time.seconds) * 1e9 + tonumber(time.nanoseconds)
  for child in children(pid) do
    local ok, more = pcall(M.cpu, child)
    used = used + (ok and more or 0) -- it may have ended meanwhile
  end
  return used
end

--- Seconds of a clock that only goes forward.
---@return number
function M.now()
  local time = ffi.new("struct bench_time")
  ffi.C.clock_gettime(1, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

return M
