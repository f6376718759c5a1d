-- SPDX-License-Identifier: MIT
-- Hibernation: whatever a thread waits for and wherever it does, it can be put away and comes back.

local grun = require("grun")
local core = require("grun.core")
local helper = require("spec.helper")

local SOON = 0.01 -- seconds

local before

before_each(function()
  before = grun.hibernate_after(SOON)
end)

after_each(function()
  grun.hibernate_after(before)
end)

local function hibernates(t)
  return t[1] and core.info(t[1]).hibernates or false
end

-- Waits until the thread hibernates.
local function rest(t)
  local give_up = grun.now() + 5
  while not hibernates(t) do
    assert(t[1], "the thread has ended")
    assert(grun.now() < give_up, "it does not hibernate: " .. tostring(t))
    grun.sleep(SOON)
  end
end

-- What a thread is made to wait with, and how it is woken: wait(state) returns what it got, wake(state)
-- ends the wait so that it is "value".
local waits = {
  ["queue.get"] = {
    make = function() return grun.queue() end,
    wait = function(q) return q:get() end,
    wake = function(q) q:put("value") end,
  },
  ["queue.put"] = {
    make = function() local q = grun.queue(1) q:put("first") return q end,
    wait = function(q) q:put("value") return "value" end,
    wake = function(q) q:get() end,
  },
  ["event.wait"] = {
    make = function() return grun.event() end,
    wait = function(e) e:wait() return "value" end,
    wake = function(e) e:set() end,
  },
  ["lock"] = {
    make = function() local l = grun.lock() l:acquire() return l end,
    wait = function(l) l:acquire() l:release() return "value" end,
    wake = function(l) l:release() end,
  },
  ["semaphore"] = {
    make = function() return grun.semaphore(0) end,
    wait = function(s) s:acquire() return "value" end,
    wake = function(s) s:release() end,
  },
  ["result.get"] = {
    make = function() return grun.result() end,
    wait = function(r) return r:get() end,
    wake = function(r) r:set("value") end,
  },
  ["join"] = {
    make = function()
      local e = grun.event()
      return { e = e, t = grun.spawn(function() e:wait() return "value" end) }
    end,
    wait = function(s) return s.t:get() end,
    wake = function(s) s.e:set() end,
  },
  ["select"] = {
    make = function() return { grun.queue(), grun.queue() } end,
    wait = function(qs)
      local _, value = grun.select({ qs[1]:op_get(), qs[2]:op_get() })
      return value
    end,
    wake = function(qs) qs[2]:put("value") end,
  },
  ["conn.read"] = {
    make = function() local a, b = grun.pair() return { a, b } end,
    wait = function(c) return (c[1]:read(5)) end,
    wake = function(c) c[2]:write("value") end,
    done = function(c) c[1]:close() c[2]:close() end,
  },
  ["conn.write"] = {
    make = function() local a, b = grun.pair() return { a, b } end,
    wait = function(c) c[1]:write(("x"):rep(8e6)) c[1]:close() return "value" end,
    wake = function(c) repeat until not c[2]:recv() end,
    done = function(c) c[1]:close() c[2]:close() end,
  },
  ["accept"] = {
    make = function() return assert(grun.listen("tcp://127.0.0.1:0")) end,
    wait = function(l) local c = assert(l:accept()) return (c:read(5)), c:close() end,
    wake = function(l) local c = assert(grun.connect(l:address())) c:write("value") c:close() end,
    done = function(l) l:close() end,
  },
  ["udp recv"] = {
    make = function() return assert(grun.udp("udp://127.0.0.1:0")) end,
    wait = function(u) return (u:recv()) end,
    wake = function(u) assert(u:send("value", "127.0.0.1", tonumber(u:sockname():match(":(%d+)$")))) end,
    done = function(u) u:close() end,
  },
  ["process.wait"] = {
    make = function() return assert(grun.process.spawn({ "cat", stdin = "pipe" })) end,
    wait = function(p) p:wait() return "value" end,
    wake = function(p) p.stdin:close() end,
    done = function(p) p:wait() end,
  },
}

describe("a hibernating thread", function()
  for name, way in pairs(waits) do
    local function started()
      local state = way.make()
      finally(function()
        if way.done then
          way.done(state)
        end
      end)
      local t = helper.spawn(function()
        return way.wait(state)
      end)
      rest(t)
      return state, t
    end

    it("is woken by what it waits for: " .. name, function()
      local state, t = started()
      way.wake(state)
      assert.equal("value", t:get())
    end)

    it("is cancelled: " .. name, function()
      local state, t = started()
      t:kill(5)
      assert.equal("cancelled", t:status())
      if name ~= "conn.write" then
        way.wake(state)
      end
    end)
  end

  it("ends its sleep in time", function()
    local from = grun.now()
    local t = helper.spawn(function()
      grun.sleep(0.4)
      return grun.now() - from
    end)
    rest(t)
    local took = t:get()
    assert.is_true(took >= 0.4 and took < 2, took)
  end)

  it("is ended by the timeout of its wait, of a scope and by a late start", function()
    local q = grun.queue()
    local a = helper.spawn(function() return q:get(0.4) end)
    local b = helper.spawn(function() return grun.timeout(0.4, function() q:get() end) end)
    local c = grun.spawn_later(0.4, function() return "late" end)
    rest(a)
    rest(b)
    rest(c)
    assert.same({ nil, "timeout", "timeout" }, { a:get() })
    assert.same({ nil, "timeout", "timeout" }, { b:get() })
    assert.equal("late", c:get())
  end)

  it("can be killed before its late start", function()
    local t = grun.spawn_later(100, error)
    rest(t)
    t:kill(5)
    assert.equal("cancelled", t:status())
  end)

  it("is not woken by a look at its facts, but by one at where it stands", function()
    local inspect, waiting = require("grun.inspect"), require("grun.waiting")
    local queue = grun.queue()
    local t = helper.spawn(function()
      local value = queue:get()
      return value
    end)
    rest(t)
    local row = inspect.facts(t)
    assert.is_true(hibernates(t))
    assert.same({ "waiting", "queue.get", 0 }, { row.state, row.what, row.memory })
    inspect.look(t, row, waiting.memory())
    assert.is_false(hibernates(t))
    assert.matches("hibernate_spec%.lua:%d+$", row.at)
    assert.matches("^queue 0 of inf", row.object)
    assert.equal(0, row.memory)
    queue:put(1)
    t:get()
  end)

  it("can hibernate again and again", function()
    local q, out = grun.queue(), {}
    local t = helper.spawn(function()
      for item in function() return q:get() end do
        out[#out + 1] = item
      end
    end)
    for i = 1, 5 do
      rest(t)
      q:put(i)
      grun.yield()
    end
    assert.same({ 1, 2, 3, 4, 5 }, out)
  end)
end)

-- Where a thread waits: place(wait) calls it there and returns "value" when all is well.
local places = {
  pcall = function(wait) local _, v = pcall(wait) return v end,
  ["pcall, then an error"] = function(wait)
    local ok, err = pcall(function() error({ wait() }) end)
    return not ok and err[1]
  end,
  xpcall = function(wait) local _, v = xpcall(wait, print) return v end,
  ["an xpcall handler"] = function(wait) return select(2, xpcall(error, wait)) end,
  ["coroutine.wrap"] = function(wait) return coroutine.wrap(wait)() end,
  ["nested coroutines"] = function(wait)
    return coroutine.wrap(function()
      return coroutine.wrap(function() coroutine.yield(wait()) end)()
    end)()
  end,
  __index = function(wait) return setmetatable({}, { __index = function() return wait() end }).x end,
  __call = function(wait) return setmetatable({}, { __call = function() return (wait()) end })() end,
  __concat = function(wait)
    return setmetatable({}, { __concat = function() return wait() end }) .. ""
  end,
  ["an iterator"] = function(wait)
    local last
    for v in function(_, n) return n < 2 and wait() and n + 1 or nil end, nil, 0 do
      last = v
    end
    return last == 2 and "value"
  end,
  ["a load reader"] = function(wait)
    local n = 0
    return load(function()
      n = n + 1
      return n == 1 and "return '" .. wait() .. "'" or nil
    end)()
  end,
  ["a sort comparator"] = function(wait)
    local value
    table.sort({ 2, 1 }, function(a, b) value = value or wait() return a < b end)
    return value
  end,
  ["a module's body"] = function(wait)
    package.preload["hibernate.module"] = function() return wait() end
    finally(function()
      package.preload["hibernate.module"], package.loaded["hibernate.module"] = nil, nil
    end)
    return require("hibernate.module")
  end,
}

describe("a thread hibernates in", function()
  for name, place in pairs(places) do
    it(name, function()
      local q = grun.queue()
      local function wait()
        return (q:get())
      end
      local t = helper.spawn(function() return place(wait) end)
      rest(t)
      q:put("value")
      q:put("value")
      assert.equal("value", t:get())
    end)
  end

  it("a gsub callback, with its buffer on the stack", function()
    local q = grun.queue()
    local t = helper.spawn(function()
      return (("a-b"):gsub("%a", function(letter) return letter .. q:get() end))
    end)
    rest(t)
    q:put("1")
    grun.yield()
    rest(t)
    q:put("2")
    assert.equal("a1-b2", t:get())
  end)
end)

describe("looking at a hibernating thread", function()
  local q

  local function waiting_deep()
    local value = q:get()
    return value
  end

  -- Where the failing function stands is known to the C stack alone.
  local function fail_and_wait()
    local _, value = xpcall(function()
      local nothing = false
      return nothing.field
    end, waiting_deep)
    return value
  end

  -- A thread that waits in a coroutine, both at its base and there known to this one.
  local function start()
    local known = {}
    q = grun.queue()
    local t = helper.spawn(function()
      known.base = coroutine.running()
      known.inner = coroutine.create(fail_and_wait)
      return select(2, coroutine.resume(known.inner))
    end)
    grun.yield()
    return t, known
  end

  it("shows what it does when awake", function()
    grun.hibernate_after(0)
    local t, known = start()
    local shown = { tostring(t), debug.traceback(known.base), debug.traceback(known.inner) }
    local line, variable = debug.getinfo(known.inner, 1, "l").currentline,
      debug.getlocal(known.inner, 1, 1)
    assert.matches("hibernate_spec.lua:%d+: in function", shown[3])
    local function rested()
      rest(t)
      return t
    end
    grun.hibernate_after(SOON)
    assert.equal(shown[1], tostring(rested()))
    assert.equal(shown[2], debug.traceback(rested() and known.base))
    assert.equal(shown[3], debug.traceback(rested() and known.inner))
    rest(t)
    assert.equal(line, debug.getinfo(known.inner, 1, "l").currentline)
    rest(t)
    assert.equal(variable, (debug.getlocal(known.inner, 1, 1)))
    q:put("value")
    assert.equal("value", t:get())
  end)

  it("shows the same for one without a coroutine", function()
    q = grun.queue()
    local t = helper.spawn(function() return (fail_and_wait()) end)
    grun.hibernate_after(0)
    grun.yield()
    local shown = debug.traceback(core.stack(t[1]))
    grun.hibernate_after(SOON)
    rest(t)
    assert.equal(shown, debug.traceback(core.stack(t[1])))
    rest(t)
    assert.matches("hibernate_spec", tostring(t))
    assert.is_false(hibernates(t))
    q:put("value")
    assert.equal("value", t:get())
  end)

  it("wakes it, but does not make it go on", function()
    local t = start()
    rest(t)
    local woken = core.hibernated().woken
    assert.matches("waiting", tostring(t))
    assert.is_false(hibernates(t))
    assert.is_true(core.hibernated().woken > woken)
    assert.equal("waiting", t:status())
    rest(t)
    q:put("value")
    assert.equal("value", t:get())
  end)

  it("leaves alone those that nobody looks at", function()
    local plain = helper.spawn(function() grun.sleep(100) end)
    rest(plain)
    assert.matches("hibernate_spec", debug.traceback(coroutine.create(function() end)) ..
      debug.traceback())
    assert.is_true(hibernates(plain))
    plain:kill(5)
  end)
end)

describe("hibernation", function()
  it("tells and takes the time", function()
    assert.equal(SOON, grun.hibernate_after())
    assert.equal(SOON, grun.hibernate_after(3))
    assert.equal(3, grun.hibernate_after(0))
    assert.equal(0, grun.hibernate_after(math.huge))
    assert.equal(0, grun.hibernate_after(SOON))
    assert.has_error(function() grun.hibernate_after(-1) end,
      "bad argument #1 to 'hibernate_after' (seconds must be 0 or more)")
    assert.has_error(function() grun.hibernate_after("soon") end,
      "bad argument #1 to 'hibernate_after' (number expected, got string)")
  end)

  it("takes no NaN", function()
    assert.has_error(function() grun.hibernate_after(0 / 0) end)
  end)

  it("is set by the environment", function()
    for text, seconds in pairs({ ["2.5"] = "2.5", ["0"] = "0", off = "0", [""] = "10" }) do
      local out, err = helper.run_script("print(grun.hibernate_after())",
        { env = { GRUN_HIBERNATE_AFTER = text } })
      assert.same({ seconds .. "\n", "" }, { out, err })
    end
    local out, err = helper.run_script("print(grun.hibernate_after())",
      { env = { GRUN_HIBERNATE_AFTER = "-3" } })
    assert.same({ "10\n", "grun: GRUN_HIBERNATE_AFTER is neither seconds nor off: -3\n" }, { out, err })
  end)

  it("gives memory back, and counts", function()
    local out, err = helper.run_script([[
      local core = require("grun.core")
      local n = 20000
      local function rss()
        for line in io.lines("/proc/self/status") do
          local kib = line:match("^VmRSS:%s*(%d+)")
          if kib then return tonumber(kib) end
        end
      end
      local before, q, woken = rss(), grun.queue(), 0
      local soon = grun.hibernate_after(0)
      for i = 1, n do
        grun.spawn(function() q:get() woken = woken + 1 end)
        if i % 1000 == 0 then grun.yield() end
      end
      grun.hibernate_after(soon)
      while core.hibernated().threads < n do grun.sleep(0.05) end
      local asleep, bytes = rss(), core.hibernated().bytes
      grun.hibernate_after(0)
      for _ = 1, n do q:put(true) end
      grun.sleep(0)
      while woken < n do grun.sleep(0) end
      local after = core.hibernated()
      print((asleep - before) / n, bytes / n, after.threads, after.bytes)
    ]], { env = { GRUN_HIBERNATE_AFTER = "0.02" } })
    assert.equal("", err)
    local kib, bytes, threads, rest_bytes = out:match("(%S+)%s(%S+)%s(%S+)%s(%S+)")
    if not helper.grun:find("asan") then
      assert.is_true(tonumber(kib) < 2.2, kib)
      assert.is_true(tonumber(bytes) < 400, bytes)
    end
    assert.equal("0", threads)
    assert.is_true(tonumber(rest_bytes) < 1e6, rest_bytes)
  end)

  it("ends: a process that sleeps does not wake up for it", function()
    local out = helper.run_script([[
      local function switches()
        for line in io.lines("/proc/self/status") do
          local n = line:match("^voluntary_ctxt_switches:%s*(%d+)")
          if n then return tonumber(n) end
        end
      end
      for _ = 1, 10 do grun.spawn(function() grun.sleep(1) end) end
      local before = switches()
      grun.sleep(1)
      print(switches() - before)
    ]], { env = { GRUN_HIBERNATE_AFTER = "0.005" } })
    assert.is_true(tonumber(out) < 50, out)
  end)

  it("changes nothing for a deadlock and its report", function()
    local script = [[
      local q = grun.queue()
      local function stuck() q:get() end
      grun.spawn(stuck)
      grun.sleep(0.2)
      stuck()
    ]]
    local _, err, status = helper.run_script(script, { env = { GRUN_HIBERNATE_AFTER = "0.01" } })
    local _, awake = helper.run_script(script, { env = { GRUN_HIBERNATE_AFTER = "off" } })
    local function without_names(text)
      return (text:gsub("/tmp/lua_%w+%.lua", "x.lua"):gsub("age %d+ ms", "age"))
    end
    assert.equal(2, status)
    assert.equal(without_names(awake), without_names(err))
    assert.matches("in function 'stuck'", err)
  end)

  it("does not keep a process of daemons alive", function()
    local _, _, status = helper.run_script([[
      local t = grun.spawn(function() grun.sleep(100) end)
      require("grun.core").daemon(t[1])
      grun.sleep(0.1)
    ]], { env = { GRUN_HIBERNATE_AFTER = "0.01" }, timeout = 10 })
    assert.equal(0, status)
  end)

  for _, flags in ipairs({ {}, { "-joff" }, { "-Ohotloop=1", "-Ohotexit=1" } }) do
    it("under stress loses and mixes up nothing " .. table.concat(flags, " "), function()
      local args = { unpack(flags) }
      args[#args + 1] = "spec/parking/hibernate.lua"
      local out, err, status = helper.run_child(args,
        { env = { GRUN_HIBERNATE_AFTER = "0.001" }, timeout = 60 })
      assert.same({ "", 0 }, { err, status })
      assert.is_true(tonumber(out:match("(%d+) times put away")) > 100, out)
    end)
  end
end)
