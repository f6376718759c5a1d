-- SPDX-License-Identifier: MIT
-- Every script in scripts/examples does what it says.

local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")

local DIR = "scripts/examples/"
local tested = {}

-- The example's path; marks it as tested.
local function example(name)
  tested[name .. ".lua"] = true
  return DIR .. name .. ".lua"
end

local function read(name)
  local file = assert(io.open(name))
  local text = file:read("*a")
  file:close()
  return text
end

-- The lines of the comment after "-- Prints:", or nil.
local function promised(path)
  local block = read(path):match("\n%-%- Prints:\n(.-)\n\n")
  return block and block:gsub("%-%-   ", ""):gsub("%-%-   ", "") .. "\n"
end

local function run(path, ...)
  local out, err, status = helper.run_child({ path, ... })
  assert.equal("", err)
  assert.equal(0, status)
  return out
end

describe("the example", function()
  local scripts = {
    "alternate", "bounded_map", "cancel_scope", "greenlets", "pool_inside", "producer_consumer",
    "task_class", "turns",
  }
  for _, name in ipairs(scripts) do
    it(name .. " prints what it promises", function()
      local path = example(name)
      assert.equal(assert(promised(path), "it promises nothing"), run(path))
    end)
  end

  it("turns takes the number of rounds", function()
    local out = run(example("turns"), "50")
    assert.equal(150, select(2, out:gsub("\n", "")))
    assert.matches("round 50: thread 3\n$", out)
  end)

  it("tasks shows the order of threads", function()
    local out = run(example("tasks"))
    assert.matches("spawned, not yet run:\tnew\tnew\na\t1\na\t2\na\t3\nb\t1\nb\t2\nb\t3\n", out, 1,
      true)
    assert.matches("alternate:\na\t1\nb\t1\na\t2\nb\t2\na\t3\nb\t3\na is done\tb is done\n", out, 1,
      true)
    assert.matches("slow\t1\nfast\t1\n.*fast is done\n.*slow is done\n", out)
    assert.matches("limited\t1\n.*nil\ttimeout\ttimeout\n$", out)
  end)

  it("ring passes its token round", function()
    local path = example("ring")
    local out, err, status = helper.run_child({ path, "20", "5" })
    assert.equal("100 hops through 20 threads\n", out)
    assert.matches("^%d+%.%d µs a hop\n$", err)
    assert.equal(0, status)
  end)
end)

-- A server example, and nc as its client. Both write into files, since nobody may wait for them
-- with a blocking read.
local Process = {}
Process.__index = Process

-- Starts a command. write() goes to its standard input.
local function start(command)
  local self = setmetatable({ out = helper.tmpname(), pid_file = helper.tmpname() }, Process)
  self.stdin = assert(io.popen(("echo $$ >%s; exec %s >%s 2>&1"):format(self.pid_file, command,
    self.out), "w"))
  return self
end

function Process:write(text)
  self.stdin:write(text)
  self.stdin:flush()
end

-- Waits until the output contains what the pattern says; returns its captures.
function Process:expect(pattern)
  local limit = grun.now() + 10
  while not read(self.out):find(pattern) do
    assert(grun.now() < limit, ("no %q in the output:\n%s"):format(pattern, read(self.out)))
    grun.sleep(0.005)
  end
  return read(self.out):match(pattern)
end

-- Ends it by the end of its input, or a signal.
function Process:stop(signal)
  if signal then
    os.execute(("kill -%s %s"):format(signal, read(self.pid_file):match("%d+")))
  end
  self.stdin:close()
  return read(self.out)
end

local function start_server(path)
  local server = start(("timeout 30 %s %s tcp://127.0.0.1:0"):format(helper.grun, path))
  return server, (server:expect("^listening on tcp://127%.0%.0%.1:(%d+)\n"))
end

local function nc(port)
  return start("timeout 30 nc -N 127.0.0.1 " .. port)
end

describe("the server example", function()
  it("echo echoes to several clients of nc at once", function()
    local server, port = start_server(example("echo"))
    local clients = {}
    for i = 1, 3 do
      clients[i] = nc(port)
      clients[i]:write("hello " .. i .. "\n")
    end
    for i = 1, 3 do
      clients[i]:expect("^hello " .. i .. "\n")
    end
    for i = 1, 3 do
      clients[i]:write("no end of line")
      assert.equal("hello " .. i .. "\nno end of line", clients[i]:stop())
    end
    local log = server:stop("TERM")
    assert.equal(3, select(2, log:gsub("open\ttcp://127%.0%.0%.1:%d+\n", "")))
    assert.equal(3, select(2, log:gsub("closed\n", "")))
  end)

  it("chat carries lines between clients of nc", function()
    local server, port = start_server(example("chat"))
    local ann, bob = nc(port), nc(port)
    ann:expect("^Your name%? ")
    ann:write("ann\n")
    ann:expect("Welcome, ann")
    bob:write("bob\n")
    bob:expect("Welcome, bob")
    ann:expect("bob joined\n")
    ann:write("hi\n")
    bob:expect("ann: hi\n")
    bob:write("hello\n")
    ann:expect("bob: hello\n")
    bob:write("/quit\n")
    ann:expect("bob left\n")
    bob:stop()
    assert.equal("Your name? Welcome, ann. Quit with /quit.\nbob joined\nbob: hello\nbob left\n",
      ann:stop())
    assert.matches("^listening on [^\n]*\n$", server:stop("TERM"))
  end)
end)

describe("the TLS example", function()
  it("tls_echo echoes to openssl s_client", function()
    local path = example("tls_echo")
    local server = start(("timeout 30 %s %s tls://127.0.0.1:0"):format(helper.grun, path))
    local port, cert = server:expect("^listening on tls://127%.0%.0%.1:(%d+) with (%S+)\n")
    local client = start(("timeout 30 openssl s_client -connect 127.0.0.1:%s -CAfile %s " ..
      "-verify_return_error -verify_hostname localhost -quiet"):format(port, cert))
    client:write("hello\n")
    client:expect("\nhello\n")
    client:stop("TERM")
    assert.matches("open\ttcp://127%.0%.0%.1:%d+\tTLSv1.3\t", server:stop("TERM"))
    os.remove(cert)
  end)
end)

describe("the examples", function()
  it("are all tested, short, and begin by saying what they show and how to run them", function()
    for name in lfs.dir(DIR) do
      if name:find("^[^.]") then
        assert.is_true(tested[name], name .. " is not tested here")
        local text = read(DIR .. name)
        assert.is_true(select(2, text:gsub("\n", "")) <= 100, name .. " is too long")
        assert.matches("^%-%- SPDX[^\n]*\n%-%- %u", text)
        assert.matches("\n%-%- Run: +./grun scripts/examples/" .. name, text, 1, false)
      end
    end
  end)
end)
