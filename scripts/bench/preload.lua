-- SPDX-License-Identifier: MIT
-- Memory of workers, and how soon one is back that was killed, with --preload and without.
--
--   ./grun scripts/bench/preload.lua [MB [kills]]      default: 50 MB of Lua data, 9 kills
--
-- The application holds its data in small tables ("tables") or in strings of 64 KiB ("strings").
-- pss_start, pss_served and pss_collected are the mean MB of two workers' proportional set size
-- (/proc/PID/smaps_rollup; what n processes share counts 1/n in each): at their start, after 1000
-- requests, and after a whole pass of the collector in each, which writes a mark into every object.
-- private_collected is what each then has alone. back_ms is the median time from SIGKILL until the
-- one worker that there is answers again, with back_worst_ms; loading takes most of it without
-- --preload.

local GRUN = os.getenv("GRUN") or arg[-1]
local MEGABYTES, KILLS = tonumber(arg[1]) or 50, tonumber(arg[2]) or 9
local REQUESTS = 1000

local APP = [[
local kind, megabytes = %q, %d
local data = {}
if kind == "tables" then
  for i = 1, megabytes * 2 ^ 20 / 104 do data[i] = { id = i, 1, 2 } end
else
  for i = 1, megabytes * 16 do data[i] = ("%%08d"):format(i):rep(8192) end
end
return function(req)
  if req.path == "/collect" then collectgarbage() collectgarbage() end
  return require("grun.core.worker").pid() .. " " .. #data
end
]]

local function read(path)
  local f = io.open(path)
  local text = f and f:read("*a") or ""
  if f then
    f:close()
  end
  return text
end

local function free_address()
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local address = listener:address():gsub("^tcp://", "")
  listener:close()
  return address
end

local function ask(url)
  local res = grun.http.get(url, { headers = { connection = "close" }, timeout = 5 })
  return res and res.body and tonumber(res.body:match("^(%d+) "))
end

local function start(app, workers, preload)
  local address = free_address()
  local words = { GRUN, "-q", "serve", "-w", workers, "-b", address, app }
  if preload then
    table.insert(words, 4, "--preload")
  end
  local master = assert(grun.process.spawn(words))
  local url = "http://" .. address
  while not ask(url .. "/") do
    grun.sleep(0.01)
  end
  return master, url
end

-- Mean MB of a field of the processes' smaps_rollup.
local function mean(pids, field)
  local sum, n = 0, 0
  for pid in pairs(pids) do
    local text = read(("/proc/%d/smaps_rollup"):format(pid))
    sum = sum + (tonumber(text:match(field .. ":%s+(%d+)")) or 0)
    n = n + 1
  end
  return sum / n / 1024
end

-- Has each of two workers asked; returns the set of their pids.
local function ask_both(url)
  local pids, n = {}, 0
  repeat
    local pid = ask(url)
    n = n + (pid and not pids[pid] and 1 or 0)
    pids[pid or 0] = true
  until n == 2
  pids[0] = nil
  return pids
end

local function memory(app, preload)
  local master, url = start(app, 2, preload)
  grun.sleep(1)
  local pids = ask_both(url .. "/")
  local at_start = mean(pids, "\nPss")
  for _ = 1, REQUESTS do
    ask(url .. "/")
  end
  local served = mean(pids, "\nPss")
  ask_both(url .. "/collect")
  local collected, private = mean(pids, "\nPss"), mean(pids, "\nPrivate_Dirty")
  master:kill("TERM")
  master:wait()
  return at_start, served, collected, private
end

local function restart(app, preload)
  local master, url = start(app, 1, preload)
  local times = {}
  for i = 1, KILLS do
    local pid = ask(url .. "/")
    grun.sleep(1.1) -- not a short life any more
    local from = grun.now()
    grun.process.run({ "kill", "-KILL", pid })
    repeat
      local now = ask(url .. "/")
    until now and now ~= pid
    times[i] = (grun.now() - from) * 1000
  end
  master:kill("TERM")
  master:wait()
  table.sort(times)
  return times[math.ceil(#times / 2)], times[#times]
end

for _, kind in ipairs({ "tables", "strings" }) do
  local app = os.tmpname() .. ".lua"
  local file = assert(io.open(app, "w"))
  file:write(APP:format(kind, MEGABYTES))
  file:close()
  for _, preload in ipairs({ false, true }) do
    local at_start, served, collected, private = memory(app, preload)
    local back, worst = restart(app, preload)
    print(("%s preload=%s pss_start=%.1f pss_served=%.1f pss_collected=%.1f private_collected=%.1f"
      .. " back_ms=%.1f back_worst_ms=%.1f"):format(kind, tostring(preload), at_start, served,
      collected, private, back, worst))
  end
  os.remove(app)
end
