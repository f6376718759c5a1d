-- SPDX-License-Identifier: MIT
-- The sampling profiler.

local grun = require("grun")
local child = require("spec.cli.child")
local helper = require("spec.helper")

local WORK = [[
local function cold() local s = 0 for i = 1, 1e6 do s = s + i % 7 end return s end
local function hot() local s = 0 for i = 1, 1e7 do s = s + i % 7 end return s end
local function work() for i = 1, 12 do cold() hot() grun.yield() end end
local function match() local s = ("a"):rep(30) local at = s:find(("a*"):rep(6) .. "c") return at end
]]

-- Lines of folded stacks: { { frames =, n = }, … } and their sum.
local function parse(text)
  local stacks, sum = {}, 0
  for line in text:gmatch("[^\n]+") do
    local frames, n = line:match("^(.*) (%d+)$")
    assert.truthy(frames, line)
    stacks[#stacks + 1] = { frames = frames, n = tonumber(n) }
    sum = sum + tonumber(n)
  end
  return stacks, sum
end

-- Samples in stacks that contain a pattern.
local function share(stacks, pattern)
  local n = 0
  for _, stack in ipairs(stacks) do
    n = n + (stack.frames:find(pattern) and stack.n or 0)
  end
  return n
end

describe("--profile", function()
  local function profile(source, ...)
    local name = helper.tmpname()
    local args = { "--profile=" .. name, "--profile-interval=2", ... }
    args[#args + 1] = helper.script(WORK .. source)
    local _, _, status = helper.run_child(args, { env = { GRUN_BLOCK_WARN_MS = "0" } })
    assert.equal(0, status)
    return parse(helper.contents(name))
  end

  for _, jit in ipairs({ "on", "off" }) do
    it("finds the hot function of a thread, with -j" .. jit, function()
      local stacks, sum = profile("local t = grun.spawn(work) t.name = 'worker' t:join() match()", "-j" .. jit)
      assert.is_true(sum > 20, sum)
      local hot = share(stacks, "^worker;.*hot [^;]*%.lua:2;%[%a+%]$")
      local cold = share(stacks, "^worker;.*cold [^;]*%.lua:1;")
      assert.is_true(hot > 4 * cold and hot > sum / 3, hot .. " " .. cold .. " of " .. sum)
      assert.is_true(share(stacks, ";match [^;]*%.lua:4;%[C%]$") > 0)
    end)
  end

  it("calls a thread without a name by where it was spawned", function()
    local stacks = profile("grun.spawn(work)\ngrun.spawn(work)")
    assert.is_true(share(stacks, "^spawned at [^;]*%.lua:5;function [^;]*%.lua:3;hot ") > 0)
    assert.is_true(share(stacks, "^spawned at [^;]*%.lua:6;") > 0)
  end)

  it("writes at the orderly stop as well, with the process's id for %p", function()
    local name = helper.tmpname()
    local c = child.start({ "--profile", name .. ".%p", "--profile-interval", "2", helper.script(WORK .. [[
      io.stdout:setvbuf("no") print("ready")
      while true do hot() grun.sleep(0) end]]) })
    finally(function()
      c:destroy()
      os.remove(name .. "." .. c.pid)
    end)
    c:expect("ready")
    grun.sleep(0.2)
    c:signal("TERM")
    assert.equal(0, c:wait())
    assert.is_true(share(parse(helper.contents(name .. "." .. c.pid)), "hot ") > 0)
  end)

  it("tells at the start when it cannot write, and runs nothing", function()
    for path, why in pairs({ ["/nowhere/x"] = "No such file or directory", ["/tmp"] = "Is a directory" }) do
      local out, err, status = helper.run_child({ "--profile=" .. path, "-e", "print('runs')" })
      assert.equal(1, status)
      assert.equal(("grun: cannot write the profile %s: %s\n"):format(path, why), err)
      assert.equal("", out)
    end
  end)

  it("leaves what is in the file alone until the end", function()
    local name = helper.tmpname("earlier 1\n")
    local out = helper.run_child({ "--profile=" .. name, "-e", ("io.write(io.open(%q):read('*a'))"):format(name) })
    assert.equal("earlier 1\n", out)
    assert.equal("", helper.contents(name))
  end)

  it("writes to the directory it was started in", function()
    local name = helper.tmpname()
    local result = grun.process.run({ assert(grun.fs.realpath(helper.grun)), "--profile=" .. name:match("[^/]+$"),
      "--profile-interval=2", "--chdir=/", helper.script(WORK .. "work()"), cwd = name:match("^(.*)/") })
    assert.equal(0, result.code, result.stderr)
    assert.is_true(share(parse(helper.contents(name)), "hot ") > 0)
  end)

  it("lets a pipe's reader wait until the end", function()
    local name = helper.tmpname()
    os.remove(name)
    assert.equal(0, os.execute("mkfifo " .. name))
    local reader = grun.process.spawn({ "cat", name, stdout = "pipe" })
    local args = { "--profile=" .. name, "--profile-interval=2", helper.script(WORK .. "work()") }
    local _, _, status = helper.run_child(args, { env = { GRUN_BLOCK_WARN_MS = "0" } })
    assert.equal(0, status)
    assert.is_true(share(parse(reader.stdout:read("*a")), "hot ") > 0)
    reader:wait()
    reader.stdout:close()
  end)

  it("has a file for each worker, and one for their master", function()
    local name = helper.tmpname()
    local out, err, status = helper.run_child({ "--profile", name, "--profile-interval=2", "-w", "2",
      helper.script(WORK .. "work() print(require('grun.core.worker').pid())") },
      { env = { GRUN_BLOCK_WARN_MS = "0" } })
    assert.equal(0, status, err)
    assert.equal(0, share(parse(helper.contents(name)), "hot "))
    local shares = {}
    for pid in out:gmatch("%d+") do
      shares[#shares + 1] = share(parse(helper.contents(name .. "." .. pid)), "hot ")
      os.remove(name .. "." .. pid)
    end
    assert.is_true(#shares == 2 and math.min(unpack(shares)) > 0)
  end)

  it("refuses bad intervals", function()
    local _, message, status = helper.run_child({ "--profile=x", "--profile-interval=0", "-e", "" })
    assert.equal(1, status)
    assert.truthy(message:find("--profile-interval needs a whole number from 1 to 10000", 1, true), message)
  end)
end)

describe("grun.profile", function()
  it("starts, shows and stops", function()
    local out = helper.run_script(WORK .. [[
      grun.profile.start({ interval = 1 })
      local text, samples = grun.profile.stop()
      grun.profile.start({ interval = 1 })
      print(pcall(grun.profile.start))
      for i = 1, 20 do hot() end
      text, samples = grun.profile.dump()
      local again, total = grun.profile.stop()
      print(samples > 10, total >= samples, text:find("hot ", 1, true) ~= nil, #again >= #text)
      for i = 1, 20 do hot() end
      print(select(2, grun.profile.dump()) == total, grun.profile.write())]],
      { env = { GRUN_BLOCK_WARN_MS = "0" } })
    assert.equal("false\tstart: the profiler runs already\ntrue\ttrue\ttrue\ttrue\ntrue\ttrue\n", out)
  end)

  it("writes on demand", function()
    local name = helper.tmpname()
    local out = helper.run_script(WORK .. ([[
      grun.profile.start({ interval = 1, file = %q })
      for i = 1, 10 do hot() end
      print(grun.profile.write())
      io.write(io.open(%q):read("*a"))]]):format(name, name))
    assert.truthy(out:find("^true\n.*hot [^;]*%.lua:2;"), out)
  end)

  it("says when it cannot write to the file, and does not start", function()
    local out = helper.run_script([[
      print(grun.profile.start({ file = "/nowhere/x" }))
      print(grun.profile.start())
      grun.profile.stop()]])
    assert.equal("nil\t/nowhere/x: No such file or directory\tENOENT\ntrue\n", out)
  end)

  it("refuses bad options", function()
    for _, case in ipairs({
      { { interval = 0 }, "start: interval: milliseconds from 1 to 10000 expected, got 0" },
      { { interval = "x" }, "start: interval: milliseconds" },
      { { file = 1 }, "start: file: string expected, got number" },
    }) do
      assert.error_matches(function()
        grun.profile.start(case[1])
      end, case[2])
    end
  end)
end)
