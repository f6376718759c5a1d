-- SPDX-License-Identifier: MIT
-- grun.stats, as a table and for Prometheus.

local control = require("grun.control")
local grun = require("grun")
local helper = require("spec.helper")
local net_helper = require("spec.net_helper")

local it = net_helper.test(it, function(...) finally(...) end) -- luacheck: ignore

local function echo_once(address, keep, opts)
  local server = assert(grun.server(address, function(conn)
    local line = conn:read("*l")
    if line == "fail" then
      error("asked to", 0)
    end
    conn:write(line, " back\n")
    conn:read("*l")
  end, opts))
  keep({ close = function() server:stop(0) end })
  return server
end

local function entry(server)
  for _, one in ipairs(grun.stats().servers) do
    if one.address == server:address() then
      return one
    end
  end
end

describe("grun.stats", function()
  it("counts threads by state", function(keep)
    keep()
    local before = grun.stats().threads
    helper.spawn(grun.sleep, 100)
    grun.yield()
    helper.spawn(grun.sleep, 100)
    local now = grun.stats().threads
    assert.equal(1, now.running)
    assert.is_true(now.waiting >= before.waiting + 1)
    assert.is_true(now.ready + now.new >= 1)
    assert.equal(now.total, now.new + now.ready + now.running + now.waiting)
    assert.is_true(now.spawned >= before.spawned + 2)
  end)

  it("tells of memory, descriptors, processor time and the loop", function(keep)
    local before = grun.stats()
    keep(grun.pair())
    grun.sleep(0.01)
    local now = grun.stats()
    assert.is_true(now.fds >= before.fds + 1)
    assert.is_true(now.resident > 1e6 and now.lua_memory > 1e5)
    assert.is_true(now.uptime > before.uptime)
    assert.is_true(now.cpu.user + now.cpu.system > 0)
    assert.is_true(now.loop.turns > before.loop.turns)
    assert.is_true(now.loop.switches > before.loop.switches)
    assert.is_true(now.loop.longest > 0 and now.loop.latency > 0 and now.loop.busy > 0)
    assert.is_true(now.loop.longest >= now.loop.latency)
    assert.equal("number", type(now.dns.cached))
    assert.equal("number", type(now.coop.poll.parked))
  end)

  it("notices a turn that held up the loop", function(keep)
    keep()
    local start = os.clock()
    while os.clock() - start < 0.15 do end -- luacheck: ignore
    grun.sleep(0.001)
    assert.is_true(grun.stats().loop.longest >= 0.15)
  end)

  it("counts a server's clients, failures and bytes", function(keep)
    local server = echo_once("tcp://127.0.0.1:0", keep)
    local client = keep(assert(grun.connect(server:address())))
    client:write("hello\n")
    client:read("*l")
    local stats = entry(server)
    assert.same({ 1, 1, 0, 6, 11 },
      { stats.accepted, stats.active, stats.errors, stats.received, stats.sent })
    client:write("x\n")
    assert.is_nil(client:read("*l"))
    local reports = helper.reports(function()
      local other = keep(assert(grun.connect(server:address())))
      other:write("fail\n")
      other:read("*l")
      grun.idle()
    end)
    assert.equal(1, #reports)
    stats = entry(server)
    assert.same({ 2, 0, 1, 13, 11 },
      { stats.accepted, stats.active, stats.errors, stats.received, stats.sent })
  end)

  it("refuses other formats", function(keep)
    keep()
    helper.misuse(function() local _ = grun.stats("xml") end,
      "stats: \"prometheus\" or nothing expected, got xml")
  end)
end)

-- Reads the text strictly; returns { [name] = { kind, samples = { [labels] = value } } }.
local function parse(text)
  assert.equal("\n", text:sub(-1))
  local families, current = {}, nil
  for line in text:gmatch("([^\n]*)\n") do
    local help = line:match("^# HELP ([%a_:][%w_:]*) .+$")
    local typed, kind = line:match("^# TYPE ([%a_:][%w_:]*) (%a+)$")
    if help then
      assert.is_nil(families[help], "twice: " .. help)
      current = { name = help, samples = {} }
      families[help] = current
    elseif typed then
      assert.equal(current.name, typed)
      assert.is_true(kind == "counter" or kind == "gauge")
      assert.equal(kind == "counter", typed:find("_total$") ~= nil, typed)
      current.kind = kind
    else
      local name, labels, value = line:match("^([%a_:][%w_:]*)(%b{}) (%S+)$")
      if not name then
        name, value = line:match("^([%a_:][%w_:]*) (%S+)$")
        labels = ""
      end
      assert.equal(current.name, name, line)
      assert.is_truthy(tonumber(value), line)
      local rest = labels:gsub("^{(.*)}$", "%1,"):gsub("[%a_][%w_]*=\"([^\"\\]*)\",", "")
      rest = rest:gsub("[%a_][%w_]*=\"(.-[^\\])\",", "")
      assert.equal("", labels == "" and "" or rest, line)
      assert.is_nil(current.samples[labels], "twice: " .. line)
      current.samples[labels] = tonumber(value)
    end
  end
  return families
end

describe("grun.stats for Prometheus", function()
  it("is a valid exposition", function(keep)
    keep()
    local families = parse(grun.stats("prometheus"))
    for _, name in ipairs({
      "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds",
      "grun_uptime_seconds", "grun_threads_spawned_total", "grun_switches_total",
      "grun_turn_seconds_max", "grun_lua_memory_bytes",
    }) do
      assert.is_truthy(families[name].samples[""], name)
    end
    assert.equal(1, families.grun_threads.samples["{state=\"running\"}"])
    assert.equal(0, families.grun_coop_blocked_total.samples["{call=\"flock\"}"])
  end)

  it("escapes what is in labels", function(keep)
    local path = net_helper.unix_path() .. "a\"b\\c"
    local server = echo_once("unix:" .. path, keep)
    local families = parse(grun.stats("prometheus"))
    local label = server:address():gsub("[\\\"]", "\\%0")
    assert.equal(0, families.grun_server_active.samples["{server=\"" .. label .. "\"}"])
  end)

  it("adds up servers on one address", function(keep)
    local first = echo_once("tcp://127.0.0.1:0", keep, { reuse_port = true })
    echo_once(first:address(), keep, { reuse_port = true })
    local client = keep(assert(grun.connect(first:address())))
    client:write("hello\n")
    client:read("*l")
    local families = parse(grun.stats("prometheus"))
    local label = "{server=\"" .. first:address() .. "\"}"
    assert.equal(1, families.grun_server_accepted_total.samples[label])
  end)

  it("carries the number of the worker", function(keep)
    keep()
    finally(function() control.facts.worker = nil end)
    control.facts.worker = function() return 3 end
    assert.equal(3, grun.stats().worker)
    local families = parse(grun.stats("prometheus"))
    assert.is_truthy(families.grun_uptime_seconds.samples["{worker=\"3\"}"])
    assert.equal(1, families.grun_threads.samples["{worker=\"3\",state=\"running\"}"])
  end)

  it("can be served", function(keep)
    local server = assert(grun.server("http://127.0.0.1:0", function()
      return 200, { ["content-type"] = "text/plain; version=0.0.4" }, grun.stats("prometheus")
    end))
    keep({ close = function() server:stop(0) end })
    local client = keep(assert(grun.connect((server:address():gsub("^http:", "tcp:")))))
    client:write("GET /metrics HTTP/1.0\r\n\r\n")
    local families = parse(client:read("*a"):match("\r\n\r\n(.*)$"))
    local label = "{server=\"" .. server:address() .. "\"}"
    assert.equal(1, families.grun_server_accepted_total.samples[label])
  end)
end)
