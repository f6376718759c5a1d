-- SPDX-License-Identifier: MIT
-- grun.stats: figures of the process, as a table or in Prometheus's text format.

local facts = require("grun.core.inspect")
local control = require("grun.control")
local service = require("grun.service")

local M = {}

-- ---- The table ----

local function servers()
  local list = {}
  for i, server in ipairs(service.servers()) do
    local stats = server:stats()
    stats.address = server:address()
    list[i] = stats
  end
  return list
end

local function fact(name)
  local value = control.facts[name]
  if type(value) == "function" then
    return value()
  end
  return value
end

local function collect()
  local found = facts.process()
  local threads = found.threads
  return {
    pid = require("grun.core.control").pid(),
    worker = fact("worker"),
    uptime = found.uptime,
    cpu = { user = found.cpu_user, system = found.cpu_system },
    resident = found.resident,
    lua_memory = collectgarbage("count") * 1024,
    fds = found.fds,
    threads = threads,
    stacks = {
      used = threads.total, free = found.free_stacks, size = found.stack_size,
      hibernated = found.hibernated,
    },
    loop = {
      switches = found.switches, turns = found.turns, busy = found.turn_seconds,
      latency = found.turns > 0 and found.turn_seconds / found.turns or 0,
      longest = found.turn_longest,
    },
    servers = servers(),
    dns = { cached = found.dns_cache },
    coop = require("grun.coop").stats().calls,
  }
end

-- ---- Prometheus ----

local function escape(value)
  return (tostring(value):gsub("[\\\"\n]", { ["\\"] = "\\\\", ["\""] = "\\\"", ["\n"] = "\\n" }))
end

local function number(value)
  if value % 1 == 0 and math.abs(value) < 2 ^ 53 then
    return ("%d"):format(value)
  end
  return ("%.9g"):format(value)
end

-- { name =, kind =, help =, samples = { { value, label, text, … }, … } }
local function family_text(family, common)
  local lines = {
    ("# HELP %s %s"):format(family.name, family.help),
    ("# TYPE %s %s"):format(family.name, family.kind),
  }
  for _, sample in ipairs(family.samples) do
    local labels = { common }
    for i = 2, #sample, 2 do
      labels[#labels + 1] = ("%s=\"%s\""):format(sample[i], escape(sample[i + 1]))
    end
    local text = labels[1] and "{" .. table.concat(labels, ",") .. "}" or ""
    lines[#lines + 1] = ("%s%s %s"):format(family.name, text, number(sample[1]))
  end
  return table.concat(lines, "\n")
end

-- Servers may share an address, a sample must be there only once.
local function add_samples(samples, list, key, ...)
  local by_address = {}
  for _, server in ipairs(list) do
    local sample, value = by_address[server.address], server[key]
    if sample and value then
      sample[1] = sample[1] + value
    elseif value then
      sample = { value, "server", server.address, ... }
      by_address[server.address] = sample
      samples[#samples + 1] = sample
    end
  end
  return samples
end

local function by_server(list, key)
  return add_samples({}, list, key)
end

local function server_bytes(list)
  local samples = add_samples({}, list, "received", "direction", "received")
  return add_samples(samples, list, "sent", "direction", "sent")
end

local function by_call(calls, key)
  local names, samples = {}, {}
  for name in pairs(calls) do
    names[#names + 1] = name
  end
  table.sort(names)
  for _, name in ipairs(names) do
    samples[#samples + 1] = { calls[name][key], "call", name }
  end
  return samples
end

local STATES = { "new", "ready", "running", "waiting" }

local function by_state(threads)
  local samples = {}
  for i, state in ipairs(STATES) do
    samples[i] = { threads[state], "state", state }
  end
  return samples
end

local function families(s)
  local function one(value)
    return { { value } }
  end
  local list = {
    { "process_cpu_seconds_total", "counter", "Processor time of the process, in seconds.",
      one(s.cpu.user + s.cpu.system) },
    { "process_resident_memory_bytes", "gauge", "Memory of the process that is in RAM.",
      one(s.resident) },
    { "process_open_fds", "gauge", "Open file descriptors.", one(s.fds) },
    { "grun_uptime_seconds", "gauge", "Seconds since the start.", one(s.uptime) },
    { "grun_threads", "gauge", "Green threads by state.", by_state(s.threads) },
    { "grun_threads_spawned_total", "counter", "Green threads spawned.", one(s.threads.spawned) },
    { "grun_stacks_free", "gauge", "Stacks kept for threads to come.", one(s.stacks.free) },
    { "grun_switches_total", "counter", "Switches between green threads and the loop.",
      one(s.loop.switches) },
    { "grun_turns_total", "counter", "Turns of the loop.", one(s.loop.turns) },
    { "grun_busy_seconds_total", "counter", "Seconds in which the loop did not wait for events.",
      one(s.loop.busy) },
    { "grun_turn_seconds_max", "gauge", "The longest turn so far, in seconds.",
      one(s.loop.longest) },
    { "grun_lua_memory_bytes", "gauge", "Memory of the Lua heap.", one(s.lua_memory) },
    { "grun_dns_cache_entries", "gauge", "Answers in the DNS cache.", one(s.dns.cached) },
    { "grun_server_accepted_total", "counter", "Clients accepted.",
      by_server(s.servers, "accepted") },
    { "grun_server_active", "gauge", "Clients being served.", by_server(s.servers, "active") },
    { "grun_server_errors_total", "counter", "Handlers that failed.",
      by_server(s.servers, "errors") },
    { "grun_server_bytes_total", "counter", "Bytes from (received) and to (sent) clients.",
      server_bytes(s.servers) },
    { "grun_coop_parked_total", "counter", "Waits of green threads in calls of libc.",
      by_call(s.coop, "parked") },
    { "grun_coop_blocked_total", "counter", "Calls of libc that made the whole process wait.",
      by_call(s.coop, "blocked") },
    { "grun_coop_blocked_seconds_total", "counter", "How long those took, in seconds.",
      by_call(s.coop, "seconds") },
    { "grun_stacks_hibernated", "gauge", "Threads whose stacks were put aside.",
      one(s.stacks.hibernated) },
  }
  return list
end

local function prometheus(s)
  local common = s.worker and ("worker=\"%s\""):format(escape(s.worker)) or nil
  local texts = {}
  for _, family in ipairs(families(s)) do
    if family[4][1] then
      texts[#texts + 1] = family_text({
        name = family[1], kind = family[2], help = family[3], samples = family[4],
      }, common)
    end
  end
  return table.concat(texts, "\n") .. "\n"
end

---@class grun.stats
---@field pid integer
---@field worker? integer number of this worker, under -w
---@field uptime number seconds since the start
---@field cpu { user: number, system: number } seconds of processor time
---@field resident integer bytes of memory in RAM
---@field lua_memory integer bytes of the Lua heap
---@field fds integer open descriptors
---@field threads { new: integer, ready: integer, running: integer, waiting: integer,
--- total: integer, daemons: integer, spawned: integer } threads by state; those that do not keep
--- the process alive; all so far
---@field stacks { used: integer, free: integer, size: integer, hibernated: integer } C stacks:
--- free ones are kept for threads to come; size is bytes of address space of one
---@field loop { switches: integer, turns: integer, busy: number, latency: number, longest: number }
--- of the event loop: switches between threads; turns that ended in a look for events; seconds that
--- all of them took, one on average and the longest: so long new events and ready threads waited
---@field servers table[] as server:stats(), with the address
---@field dns { cached: integer } answers in the cache
---@field coop table<string, table> as grun.coop.stats().calls

--- Figures of this process: a table, or with "prometheus" a text in Prometheus's exposition format,
--- to be served as text/plain; version=0.0.4. Does not park, so any handler may call it.
---@param format? "prometheus"
---@return grun.stats|string
function M.stats(format)
  if format ~= nil and format ~= "prometheus" then
    error("stats: \"prometheus\" or nothing expected, got " .. tostring(format), 2)
  end
  local stats = collect()
  return format and prometheus(stats) or stats
end

return M
