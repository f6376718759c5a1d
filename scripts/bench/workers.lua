-- SPDX-License-Identifier: MIT
-- How requests per second grow from one worker to two, and how evenly connections are divided.
--
--   ./grun scripts/bench/workers.lua [rounds [seconds]]      default: 5 rounds of 1 s
--
-- The client is light: it sends 32 requests in one write and only counts bytes, while each request
-- costs the server some 50 us. So the workers are the limit, not the client, whose share of a
-- processor is printed too. One and two workers take turns; the figures are the medians of the
-- rounds, the best ones beside them, since other load on the machine only takes away.
-- scaling_by_cpu is what the processor time per request allows for on two idle processors.

local GRUN = os.getenv("GRUN") or arg[-1]
local ROUNDS, SECONDS = tonumber(arg[1]) or 5, tonumber(arg[2]) or 1
local CONNECTIONS, PIPELINED = 16, 32
local TICKS = 100 -- per second, in /proc/PID/stat

local app = os.tmpname() .. ".lua"
local file = assert(io.open(app, "w"))
file:write([[
return function()
  local n = 0
  for i = 1, 12000 do
    n = (n * 31 + i) % 65521
  end
  return ("%010d"):format(n)
end
]])
file:close()

local function read(path)
  local f = io.open(path)
  local text = f and f:read("*a") or ""
  if f then
    f:close()
  end
  return text
end

local function workers_of(pid)
  local list = {}
  for child in read(("/proc/%d/task/%d/children"):format(pid, pid)):gmatch("%d+") do
    list[#list + 1] = tonumber(child)
  end
  return list
end

-- Processor seconds of a process so far.
local function processor_time(pid)
  local fields = {}
  for field in (read(("/proc/%d/stat"):format(pid)):match("%) (.*)$") or ""):gmatch("%S+") do
    fields[#fields + 1] = field
  end
  return ((tonumber(fields[12]) or 0) + (tonumber(fields[13]) or 0)) / TICKS
end

local function sum_of_times(list)
  local sum = 0
  for _, pid in ipairs(list) do
    sum = sum + processor_time(pid)
  end
  return sum
end

local BATCH = ("GET / HTTP/1.1\r\nHost: x\r\n\r\n"):rep(PIPELINED)

-- The length of one answer.
local function learn(address)
  local conn = assert(grun.connect(address))
  conn:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
  local length = #conn:read_until("\r\n\r\n", { include = true }) + 10
  conn:close()
  return length
end

local function measure(n)
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local address = listener:address()
  listener:close()
  local master = assert(grun.process.spawn({
    GRUN, "-q", "serve", "-w", n, "-b", (address:gsub("^tcp://", "")), app,
  }))
  repeat
    grun.sleep(0.02)
    local conn = grun.connect(address)
    if conn then
      conn:close()
    end
  until conn
  grun.sleep(0.2)
  local length, bytes, running = learn(address), 0, true
  local group = grun.group()
  for _ = 1, CONNECTIONS do
    group:spawn(function()
      local conn = assert(grun.connect(address))
      while running do
        conn:write(BATCH)
        conn:read(length * PIPELINED)
        bytes = bytes + length * PIPELINED
      end
      conn:close()
    end)
  end
  grun.sleep(0.2)
  local workers, self = workers_of(master.pid), require("grun.core.worker").pid()
  local from, first = grun.now(), bytes
  local spent, own = sum_of_times(workers), processor_time(self)
  grun.sleep(SECONDS)
  local seconds, requests = grun.now() - from, (bytes - first) / length
  spent, own = sum_of_times(workers) - spent, processor_time(self) - own
  running = false
  group:join(10)
  master:kill("TERM")
  master:wait(10)
  return {
    rate = requests / seconds, cpu = spent / requests * 1e6, client = own / seconds,
    used = spent / seconds,
  }
end

local function median(list)
  table.sort(list)
  return list[math.floor(#list / 2) + 1]
end

local one, two, ratios, cpu_one, cpu_two, client, used = {}, {}, {}, {}, {}, {}, {}
for i = 1, ROUNDS do
  local a, b = measure(1), measure(2)
  one[i], two[i], ratios[i] = a.rate, b.rate, b.rate / a.rate
  cpu_one[i], cpu_two[i], client[i], used[i] = a.cpu, b.cpu, b.client, b.used
end
os.remove(app)
print(("one_rps=%.0f two_rps=%.0f scaling=%.2f"):format(median(one), median(two), median(ratios)))
print(("best_scaling=%.2f"):format(math.max(unpack(two)) / math.max(unpack(one))))
local cost_one, cost_two = median(cpu_one), median(cpu_two)
print(("one_cpu_us=%.1f two_cpu_us=%.1f scaling_by_cpu=%.2f"):format(cost_one, cost_two,
  2 * cost_one / cost_two))
print(("two_workers_processors=%.2f client_processors=%.2f"):format(median(used), median(client)))
