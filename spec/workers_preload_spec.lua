-- SPDX-License-Identifier: MIT
-- grun -w --preload: workers that are forked from a process that has loaded what they share.

local grun = require("grun")
local helper = require("spec.helper")
local workers = require("spec.workers_helper")
local native = require("grun.core.worker")

local children_of, eventually, kill = workers.children_of, workers.eventually, workers.kill
local start, state_of = workers.start, workers.state_of

-- Loaded before the fork; each line from a client is Lua whose value is the answer.
local MODULE = [[
local M = { words = {}, loaded_by = require("grun.core.worker").pid(), id = grun.worker.id() }
for i = 1, 1000 do M.words[i] = "word " .. i end
math.randomseed(1)
grun.worker.on_start(function(id) M.started = id end)
require("grun.fs").stat("/") -- starts helper threads
grun.sleep(0.001)
function M.serve()
  local s = assert(grun.server("tcp://127.0.0.1:0", function(conn)
    for line in conn:lines() do
      conn:write(tostring((assert(loadstring("local M = ... return " .. line))(M))), "\n")
    end
  end))
  if grun.worker.id() == 1 then
    io.stdout:write("at ", s:address(), "\n")
    io.stdout:flush()
  end
end
return M
]]

local directories = {}

local function write(path, text)
  local file = assert(io.open(path, "w"))
  file:write(text)
  file:close()
end

-- A directory with app.lua in it.
local function directory(module)
  local dir = helper.tmpname()
  os.remove(dir)
  assert(grun.fs.mkdir(dir))
  directories[#directories + 1] = dir
  write(dir .. "/app.lua", "local grun = require('grun')\n" .. (module or MODULE))
  return dir
end

local function serve(options, dir, source)
  local args = { "--preload", "--chdir", dir }
  for _, option in ipairs(options) do
    args[#args + 1] = option
  end
  args[#args + 1] = "-l"
  args[#args + 1] = "app"
  args[#args + 1] = helper.script(source or "require('app').serve()")
  local child = start(args)
  eventually("a server", function()
    return child:err():find("workers? serves?\n") or child:ended()
  end)
  return child, assert(child:out():match("at (%S+)"), child:err())
end

local function evaluate(address, expression)
  local conn, message = grun.connect(address)
  if not conn then
    return nil, message
  end
  conn:settimeout(5)
  conn:write(expression, "\n")
  local answer
  answer, message = conn:read("l")
  conn:close()
  return answer, message
end

local PID = "require('grun.core.worker').pid()"

-- Asks until each of n workers has answered: id -> answer.
local function of_each(address, n, expression)
  local answers, count = {}, 0
  eventually("answers of " .. n .. " workers", function()
    local id, answer = (evaluate(address, "grun.worker.id() .. ' ' .. " .. expression) or "")
      :match("^(%d+) (.*)$")
    count = count + (id and not answers[id] and 1 or 0)
    answers[id or 0] = answer
    return count == n
  end)
  answers[0] = nil
  return answers
end

local function loader(address)
  return tonumber(evaluate(address, "M.loaded_by"))
end

describe("workers with --preload", function()
  local it = workers.test(it, function(fn) finally(fn) end, function()
    for _, dir in ipairs(directories) do
      os.remove(dir .. "/app.lua")
      os.remove(dir)
    end
    directories = {}
  end)

  it("share what was loaded once, and are children of the master", function()
    local child, address = serve({ "-w", "2" }, directory())
    local zygote = loader(address)
    local pids = of_each(address, 2, PID)
    local parents = of_each(address, 2, "M.loaded_by .. ' ' .. #M.words .. ' ' .. tostring(M.id)")
    local expected = { [zygote] = true }
    for id, pid in pairs(pids) do
      assert.equal(zygote .. " 1000 nil", parents[id])
      expected[tonumber(pid)] = true
    end
    local found = {}
    for _, pid in ipairs(children_of(child.pid)) do
      found[pid] = true
    end
    assert.same(expected, found)
    child:signal("TERM")
    assert.equal(0, child:wait())
    for pid in pairs(expected) do
      assert.is_nil(state_of(pid))
    end
  end)

  it("have random numbers of their own and no descriptor of the other process", function()
    local child, address = serve({ "-w", "2" }, directory())
    local numbers = of_each(address, 2, "math.random()")
    assert.is_true(numbers["1"] ~= numbers["2"])
    local zygote = loader(address)
    local function sockets(pid)
      local list = {}
      for _, entry in ipairs(grun.fs.list(("/proc/%d/fd"):format(pid))) do
        local target = grun.fs.readlink(("/proc/%d/fd/%s"):format(pid, entry.name)) or ""
        if target:find("^socket:") then
          list[target] = true
        end
      end
      return list
    end
    local channel = next(sockets(zygote))
    assert.is_truthy(channel)
    for _, pid in pairs(of_each(address, 2, PID)) do
      assert.is_nil(sockets(pid)[channel])
    end
    assert.is_false(child:ended())
  end)

  it("share no HTTP connections that loading left open", function()
    local server = assert(grun.server("http://127.0.0.1:0", function() return "word" end))
    local ask = ("grun.http.get('%s').body"):format(server:address())
    local child, address = serve({ "-w", "2" }, directory(([[
      local session = grun.http.session()
      assert(%s == "word" and session:get("%s").body == "word")
    ]]):format(ask, server:address()) .. MODULE))
    assert.same({ ["1"] = "word", ["2"] = "word" }, of_each(address, 2, ask))
    assert.equal(4, server:stats().accepted)
    child:signal("TERM")
    child:wait()
    server:stop(0)
  end)

  it("let the process that they were forked from sleep", function()
    local _, address = serve({ "-w", "1" }, directory())
    local zygote = loader(address)
    local function wakeups()
      return tonumber(helper.contents(("/proc/%d/status"):format(zygote))
        :match("\nvoluntary_ctxt_switches:%s+(%d+)"))
    end
    grun.sleep(0.1)
    local before = wakeups()
    for _ = 1, 100 do
      evaluate(address, "grun.sleep(0.0001)")
    end
    assert.is_true(wakeups() - before < 10, wakeups() - before)
  end)

  it("can do all that others can", function()
    local _, address = serve({ "-w", "1" }, directory())
    for expression, expected in pairs({
      ["grun.sleep(0.01)"] = "nil",
      ["M.started"] = "1",
      ["grun.fs.stat('/').type"] = "directory",
      ["grun.offload(function() return 6 * 7 end)"] = "42",
      ["grun.resolve('localhost')[1] ~= nil"] = "true",
      ["grun.timeout(0.01, grun.sleep, 5)"] = "nil",
      ["io.popen('echo hello'):read('*l')"] = "hello",
      ["grun.process.run({'echo', 'hi'}).stdout:sub(1, 2)"] = "hi",
      ["os.execute('sleep 0.01; exit 3') % 255"] = "3",
      ["require('grun.queue').queue(1):try_put(1)"] = "true",
      ["grun.spawn(function() grun.sleep(0.01) return 5 end):get()"] = "5",
      ["grun.worker.count() + grun.worker.generation()"] = "2",
    }) do
      assert.equal(expected, evaluate(address, expression), expression)
    end
  end)

  it("are watched, traced and killed like others", function()
    local child, address = serve({ "-w", "1", "--worker-timeout", "1" },
      directory("grun.block_warn(100)\n" .. MODULE))
    local pid = tonumber((evaluate(address, PID)))
    local control = require("grun.control")
    eventually("a control socket", function()
      local answer = control.call(pid, "ps")
      return answer
    end)
    local zygote = loader(address)
    assert.is_nil((control.call(zygote, "ps")))
    -- The watchdog reports first, then the switch ends the process.
    assert.is_nil((evaluate(address, "(function() while os.clock() do end end)()")))
    child:expect_err("was stuck for")
    assert.is_truthy(child:err():find("keeps all others waiting", 1, true), child:err())
    eventually("another worker", function()
      local other = tonumber((evaluate(address, PID)))
      return other and other ~= pid
    end)
  end)

  it("are replaced at once when they are killed", function()
    local child, address = serve({ "-w", "2" }, directory())
    grun.sleep(1.05) -- not a short life any more
    local worst = 0
    for _ = 1, 3 do
      local pids = of_each(address, 2, PID)
      local from = grun.now()
      kill("KILL", tonumber(pids["1"]))
      eventually("another one", function()
        local list = children_of(child.pid)
        return #list == 3 and not state_of(tonumber(pids["1"]))
      end)
      worst = math.max(worst, grun.now() - from)
      grun.sleep(0.4)
    end
    assert.is_true(worst < 1, worst)
  end)

  it("get new code by HUP", function()
    local dir = directory()
    local child, address = serve({ "-w", "2" }, dir)
    local zygote = loader(address)
    write(dir .. "/app.lua", (MODULE:gsub("local M = {", "local grun = require('grun') local M = { new = true,")))
    assert.equal("nil", evaluate(address, "M.new"))
    child:signal("HUP")
    child:expect_err("generation 2 serves")
    eventually("only new ones", function()
      return #children_of(child.pid) == 3
    end)
    assert.same({ ["1"] = "2 true", ["2"] = "2 true" },
      of_each(address, 2, "grun.worker.generation() .. ' ' .. tostring(M.new)"))
    assert.is_true(loader(address) ~= zygote)
    assert.is_nil(state_of(zygote))
  end)

  it("go on when a reload cannot be loaded", function()
    local dir = directory()
    local child, address = serve({ "-w", "2" }, dir)
    local zygote = loader(address)
    write(dir .. "/app.lua", "error('boom')")
    child:signal("HUP")
    child:expect_err("the reload is given up")
    assert.is_truthy(child:err():find("boom", 1, true))
    local pids = of_each(address, 2, PID)
    grun.sleep(1.05)
    -- Who ends now is replaced from the old code.
    kill("KILL", tonumber(pids["2"]))
    eventually("another one", function()
      local pid = evaluate(address, "grun.worker.id() == 2 and " .. PID)
      return tonumber(pid) and pid ~= pids["2"]
    end)
    assert.equal(zygote, loader(address))
  end)

  it("survive the process that they were forked from, which is replaced", function()
    local child, address = serve({ "-w", "2" }, directory())
    local pids, zygote = of_each(address, 2, PID), loader(address)
    kill("KILL", zygote)
    child:expect_err("was killed by SIGKILL")
    assert.same(pids, of_each(address, 2, PID))
    eventually("another one", function()
      return #children_of(child.pid) == 3
    end)
    kill("KILL", tonumber(pids["1"]))
    eventually("another worker", function()
      local other = loader(address)
      return other and other ~= zygote
    end)
    -- Before it has loaded: there is nothing to fork from then.
    child:signal("TERM")
    assert.equal(0, child:wait())
  end)

  it("are stopped and reloaded in time while what they were forked from does not answer", function()
    local child, address = serve({ "-w", "2" }, directory())
    local pids, zygote = of_each(address, 2, PID), loader(address)
    local function silence(pid)
      kill("STOP", pid)
      kill("KILL", tonumber(pids["1"]))
      child:expect_err("was killed by SIGKILL, perhaps out of memory")
      grun.sleep(0.2) -- the order to fork is on its way
    end
    local begun = grun.now()
    silence(zygote)
    child:signal("HUP")
    child:expect_err("grun: reloading")
    assert.is_true(grun.now() - begun < 4)
    child:expect_err("generation 2 serves")
    pids = of_each(address, 2, PID)
    begun = grun.now()
    silence(loader(address))
    child:signal("TERM")
    assert.equal(0, child:wait())
    assert.is_true(grun.now() - begun < 4)
  end)

  it("come and go by TTIN, TTOU and --max-requests", function()
    local child, address = serve({ "-w", "1", "--max-requests", "3" }, directory())
    local zygote = loader(address)
    local first = evaluate(address, PID)
    eventually("a successor", function()
      local pid = evaluate(address, PID)
      return pid and pid ~= first
    end)
    child:signal("TTIN")
    child:expect_err("2 workers\n")
    of_each(address, 2, PID)
    child:signal("TTOU")
    child:expect_err("1 worker\n")
    assert.equal(zygote, loader(address))
  end)

  it("are forked by the next master after USR2", function()
    local child, address = serve({ "-w", "1" }, directory())
    local zygote = loader(address)
    child:signal("USR2")
    child:expect_err("has taken over")
    assert.equal(0, child:wait())
    local other = loader(address)
    assert.is_true(other ~= zygote)
    local master = tonumber(helper.contents(("/proc/%d/stat"):format(other)):match("%) %a (%d+)"))
    kill("TERM", master)
    eventually("the end of the second master", function()
      return not state_of(master) or state_of(master) == "Z"
    end)
    eventually("the end of its zygote", function()
      return not state_of(other) or state_of(other) == "Z"
    end)
  end)

  it("end when their master is killed, and so does what they were forked from", function()
    local child, address = serve({ "-w", "2" }, directory())
    local list = children_of(child.pid)
    assert.equal(3, #list)
    assert.is_truthy(loader(address))
    child:signal("KILL")
    for _, pid in ipairs(list) do
      eventually("the end of " .. pid, function()
        local state = state_of(pid)
        return not state or state == "Z"
      end)
    end
  end)

  it("are refused with a message when loading fails", function()
    for module, message in pairs({
      ["error('boom')"] = "boom",
      ["this is no Lua"] = "'=' expected near 'is'",
      ["os.exit(7)"] = "ended with status 7 before it had loaded: stopping",
      ["assert(grun.server('tcp://127.0.0.1:0', print))"] =
        "cannot listen on tcp://127.0.0.1:0 before the workers are forked (--preload)",
      ["assert(grun.server('udp://127.0.0.1:0', print))"] =
        "before the workers are forked (--preload)",
      ["grun.spawn(grun.sleep, 60).name = 'nap'"] =
        "--preload: a thread was started before the workers are forked: #2 nap",
    }) do
      local dir = directory(module)
      local _, err, status = helper.run_child({ "-w", "2", "--preload", "--chdir", dir, "-l", "app",
        helper.script("grun.sleep(60)") })
      assert.equal(1, status)
      assert.is_truthy(err:find(message, 1, true), err)
    end
  end)

  it("serve an application whose file was loaded once", function()
    local file = helper.tmpname([[
      local id = grun.worker.id()
      local pid = require("grun.core.worker").pid
      local by = pid()
      return function(req, res)
        res:write(("%d %d %s %d\n"):format(by, pid(), tostring(id), grun.worker.id()))
      end]])
    local child = start({ "serve", "-w", "2", "--preload", "-b", "127.0.0.1:0", file })
    child:expect_err("2 workers serve")
    local url = child:err():match("on (http://%S+)")
    local seen = {}
    eventually("both", function()
      local res = assert(grun.http.get(url .. "/", { headers = { connection = "close" } }))
      local by, pid, id, number = res.body:match("(%d+) (%d+) (%S+) (%d+)")
      assert.equal("nil", id)
      assert.is_true(by ~= pid)
      seen[number] = by
      return seen["1"] and seen["2"]
    end)
    assert.equal(seen["1"], seen["2"])
    child:signal("TERM")
    assert.equal(0, child:wait())
    os.remove(file)
  end)

  it("leave no zombie and lose nobody in a storm", function()
    local child, address = serve({ "-w", "2", "--max-requests", "5" }, directory())
    for i = 1, 60 do
      assert.is_truthy(evaluate(address, PID))
      if i % 20 == 0 then
        child:signal("HUP")
      end
    end
    eventually("rest", function()
      local list = children_of(child.pid)
      for _, pid in ipairs(list) do
        if state_of(pid) == "Z" then
          return false
        end
      end
      return #list == 3
    end)
    assert.is_true(native.alive(child.pid))
  end)
end)
