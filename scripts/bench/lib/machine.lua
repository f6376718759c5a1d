-- SPDX-License-Identifier: MIT
-- What the report says about the machine, and how busy it was with other things meanwhile.

local process = require("scripts.bench.lib.process")

local M = { NOISE_LIMIT = 0.05 }

local TICKS = 100 -- of /proc/stat in a second

local function first_line(path)
  return process.contents(path):match("[^\n]*")
end

local function cpu_model()
  return process.contents("/proc/cpuinfo"):match("model name%s*:%s*([^\n]*)") or
    process.output("uname -m")
end

--- Facts in order: { name, text }.
---@return string[][]
function M.facts()
  local memory = first_line("/proc/meminfo"):match("%d+")
  return {
    { "Date", os.date("!%Y-%m-%d %H:%M UTC") },
    { "Processor", ("%s, %s cores"):format(cpu_model(), process.output("nproc")) },
    { "Memory", ("%.1f GiB"):format(tonumber(memory or 0) / 2 ^ 20) },
    { "Kernel", process.output("uname -sr") },
    { "System", process.output(". /etc/os-release && echo \"$PRETTY_NAME\"") },
    { "Load before", first_line("/proc/loadavg"):match("^%S+ %S+ %S+") or "unknown" },
    { "Cores", process.pins() and ("servers on %d, loads and single programs on %d")
      :format(process.SERVER_CORE, process.LOAD_CORE) or "not pinned" },
  }
end

-- The words of a file's first line as numbers, 0 for what is none.
local function numbers_of(path)
  local numbers = {}
  for number in first_line(path):gsub("^.*%)", "- -"):gmatch("%S+") do
    numbers[#numbers + 1] = tonumber(number) or 0
  end
  return numbers
end

--- Seconds since boot, and how long in all of them programs other than ours, the host's other
--- guests among them, have used the processors.
---@return number, number
function M.foreign_time()
  local all, own = numbers_of("/proc/stat"), numbers_of("/proc/self/stat")
  local busy = all[2] + all[3] + all[4] + all[9] -- user, nice, system, steal
  return numbers_of("/proc/uptime")[1], (busy - own[14] - own[15] - own[16] - own[17]) / TICKS
end

--- How many processors nobody used during the next so many seconds.
---@param seconds number
---@return number
function M.idle_processors(seconds)
  local function idle()
    local all = numbers_of("/proc/stat")
    return all[5] + all[6] -- idle, waiting for a disk
  end
  local began, before = process.now(), idle()
  os.execute("sleep " .. seconds)
  return (idle() - before) / TICKS / (process.now() - began)
end

--- Starts to watch; the function returned gives the share of one processor that others used since.
---@return fun(): number
function M.watch_noise()
  local began, before = M.foreign_time()
  return function()
    local now, foreign = M.foreign_time()
    return now > began and math.max(0, (foreign - before) / (now - began)) or 0
  end
end

return M
