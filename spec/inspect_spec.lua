-- SPDX-License-Identifier: MIT
-- Looking at threads: what each waits for, where it stands in Lua and in C, what it has used.

local control = require("grun.control")
local core = require("grun.core")
local grun = require("grun")
local helper = require("spec.helper")
local inspect = require("grun.inspect")
local net_helper = require("spec.net_helper")
local waiting = require("grun.waiting")

local it = net_helper.test(it, function(...) finally(...) end) -- luacheck: ignore

-- Runs fn in a thread until it waits; returns its row.
local function row_of(fn)
  local t = helper.spawn(fn)
  for _ = 1, 2000 do
    if t:status() == "waiting" then
      break
    end
    assert(t[1], "the thread ended instead of waiting")
    grun.sleep(0.001)
  end
  return inspect.row(t, waiting.memory()), t
end

-- What is waited for -> function(keep), which returns a function that waits, and patterns of the
-- wait's name and its object.
local kinds = {
  sleep = function()
    return function() grun.sleep(50) end, "^sleep$", nil
  end,
  ["queue.get"] = function()
    local q = grun.queue(10)
    return function() q:get() end, "^queue%.get$", "^queue 0 of 10, 1 getting"
  end,
  ["queue.put"] = function()
    local q = grun.queue(1)
    q:put(1)
    return function() q:put(2) end, "^queue%.put$", "^queue 1 of 1, 0 getting, 1 putting"
  end,
  ["lock.acquire"] = function()
    local lock = grun.lock()
    lock:acquire()
    return function() lock:acquire() end, "^lock%.acquire$", "^held by thread #%d+"
  end,
  ["semaphore.acquire"] = function()
    local s = grun.semaphore(0)
    return function() s:acquire() end, "^semaphore%.acquire$", "^semaphore 0 free, 1 waiting$"
  end,
  ["event.wait"] = function()
    local e = grun.event()
    return function() e:wait() end, "^event%.wait$", "^event clear, 1 waiting$"
  end,
  ["result.get"] = function()
    local r = grun.result()
    return function() r:get() end, "^result%.get$", "^result pending, 1 waiting$"
  end,
  ["condition.wait"] = function()
    local lock = grun.lock()
    local c = grun.condition(lock)
    return function() lock:acquire() c:wait() end, "^condition%.wait$", "^condition"
  end,
  ["barrier.wait"] = function()
    local b = grun.barrier(2)
    return function() b:wait() end, "^barrier%.wait$", "^barrier 1 of 2$"
  end,
  ["rwlock"] = function()
    local l = grun.rwlock()
    local holder = helper.spawn(l.write, l, grun.sleep, 50)
    while holder:status() ~= "waiting" do
      grun.yield()
    end
    return function() l:read(print) end, "^rwlock%.read$", "^rwlock"
  end,
  ["thread.join"] = function()
    local t = helper.spawn(grun.sleep, 50)
    t.name = "other"
    return function() t:join() end, "^thread%.join$", "^thread #%d+ \"other\"$"
  end,
  ["group.join"] = function()
    local g = grun.group()
    return function() g:spawn(grun.sleep, 50) g:join() end, "^group%.join$", "^group of 1 thread$",
      function() g:kill() end
  end,
  ["pool.spawn"] = function()
    local p = grun.pool(1)
    p:spawn(grun.sleep, 50)
    return function() p:spawn(grun.sleep, 50) end, "^pool%.spawn$", "^pool of 1",
      function() p:kill() end
  end,
  ["wait"] = function()
    local e, t = grun.event(), helper.spawn(grun.sleep, 50)
    return function() grun.wait({ e, t }) end, "^wait$", "^event clear, 0 waiting; thread #%d+$"
  end,
  ["wait for many"] = function()
    local list = {}
    for i = 1, 6 do
      list[i] = grun.event()
    end
    return function() grun.wait(list) end, "^wait$", "; 2 more$"
  end,
  ["select"] = function()
    local q, e = grun.queue(), grun.event()
    return function() grun.select({ q:op_get(), e:op_wait(), grun.op_sleep(50) }) end, "^select$",
      "^queue 0 of inf, 1 getting.*; event clear"
  end,
  ["conn.read"] = function(keep)
    local client = net_helper.connected(keep, "tcp://127.0.0.1:0")
    return function() client:read("*l") end, "^conn%.read$",
      "^conn tcp 127%.0%.0%.1:%d+ %-> 127%.0%.0%.1:%d+ %(fd %d+%)$"
  end,
  ["conn.write"] = function(keep)
    local a = keep(grun.pair())
    return function() a:write(("x"):rep(2 ^ 22)) end, "^conn%.write$", "^conn unix.*%(fd %d+%)$"
  end,
  ["conn.read in a callback"] = function(keep)
    local a = keep(grun.pair())
    return function() ("x"):gsub("x", function() a:read("*l") end) end, "^conn%.read$",
      "^conn unix"
  end,
  ["conn.read in a coroutine"] = function(keep)
    local a = keep(grun.pair())
    return function() coroutine.wrap(function() a:read("*l") end)() end, "^conn%.read$",
      "^conn unix"
  end,
  ["accept"] = function(keep)
    local l = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    return function() l:accept() end, "^accept$", "^listener tcp://127%.0%.0%.1:%d+ %(fd %d+%)$"
  end,
  ["sock.recv"] = function(keep)
    local s = keep(assert(grun.udp("udp://127.0.0.1:0")))
    return function() s:recv() end, "^sock%.recv$", "^sock udp://127%.0%.0%.1:%d+"
  end,
  ["a file descriptor"] = function(keep)
    local a = keep(grun.pair())
    return function() grun.wait_readable(a:fd()) end, "readable", nil
  end,
  ["process.wait"] = function()
    local p = assert(grun.process.spawn({ "sleep", "50" }))
    return function() p:wait() end, "^process%.wait$", "^process %d+ %(sleep%)$",
      function() p:kill("KILL") p:wait() end
  end,
  ["a library"] = function(keep)
    local socket = require("socket")
    local l = keep(assert(socket.bind("127.0.0.1", 0)))
    return function() l:accept() end, "^poll$", "^tcp 127%.0%.0%.1:%d+ %(fd %d+%)$"
  end,
}

describe("a thread's wait", function()
  for name, make in pairs(kinds) do
    it("is described: " .. name, function(keep)
      local body, what, object, clean = make(keep)
      local row, t = row_of(body)
      assert.equal("waiting", row.state)
      assert.matches(what, row.what)
      if object then
        assert.matches(object, row.object)
      end
      assert.matches("inspect_spec%.lua:%d+$", row.at or row.spawned_at)
      t:kill()
      if clean then
        clean()
      end
    end)
  end

  it("has the time that is left", function(keep)
    keep()
    local row = row_of(function() grun.sleep(50) end)
    assert.is_true(row.left > 40 and row.left <= 50)
    local q = grun.queue()
    row = row_of(function() q:get(30) end)
    assert.is_true(row.left > 20 and row.left <= 30)
    row = row_of(function() q:get() end)
    assert.is_nil(row.left)
  end)

  it("may be for an object whose text fails", function(keep)
    keep()
    local q = setmetatable({}, { __name = "grun.odd", __tostring = error })
    local row = row_of(function()
      local e = grun.event()
      e.wait(setmetatable({ waiters = e.waiters }, getmetatable(q)))
    end)
    assert.is_nil(row.object)
  end)
end)

describe("a row", function()
  it("tells of a thread that has not begun", function(keep)
    keep()
    local t = grun.spawn_later(50, print)
    local row = inspect.row(t, waiting.memory())
    t:kill()
    assert.equal("new", row.state)
    assert.equal(0, row.switches)
    assert.is_true(row.left > 40)
    assert.is_nil(row.object)
    assert.matches("inspect_spec%.lua:%d+$", row.spawned_at)
  end)

  it("tells of the running thread", function(keep)
    keep()
    local row = inspect.row(grun.current(), waiting.memory())
    assert.equal("running", row.state)
    assert.matches("%.lua:%d+$", row.at)
    assert.is_nil(row.what)
  end)

  it("is nil for a thread that has ended", function(keep)
    keep()
    local t = grun.spawn(print)
    t:kill()
    assert.is_nil(inspect.row(t, waiting.memory()))
    assert.same({ {}, {} }, { inspect.traceback(t) })
  end)

  it("counts switches, age and memory", function(keep)
    keep()
    local row, t = row_of(function()
      for _ = 1, 5 do
        grun.sleep(0.0001)
      end
      grun.sleep(50)
    end)
    while t:status() == "ready" or row.left < 1 do
      grun.sleep(0.001)
      row = inspect.row(t, waiting.memory())
    end
    assert.equal(6, row.switches)
    assert.is_true(row.age >= 0 and row.age < 20)
    assert.is_true(row.stack > 100 and row.stack < 2 ^ 16)
    assert.equal(core.current().id, row.parent)
    local memory = require("grun.core.inspect").memory(t[1])
    assert.is_true(memory >= 4096 and memory < 2 ^ 20)
    grun.sleep(0.05)
    assert.is_true(inspect.row(t, waiting.memory()).age >= row.age + 0.04)
  end)

  it("says that it is cancelled, or a daemon", function(keep)
    keep()
    local go = grun.event()
    local row, t = row_of(function()
      pcall(grun.sleep, 50)
      grun.shield(go.wait, go)
    end)
    assert.is_false(row.cancelled or row.daemon)
    t:cancel()
    core.daemon(t[1])
    grun.sleep(0.01)
    row = inspect.row(t, waiting.memory())
    go:set()
    t:join()
    assert.is_true(row.cancelled and row.daemon)
  end)

  it("has the processor time of each thread", function(keep)
    keep()
    while not control.fd() do -- counting begins with the control socket
      grun.sleep(0.05)
    end
    local lazy = helper.spawn(grun.sleep, 50)
    local busy = helper.spawn(function()
      local start = os.clock()
      repeat
        local slice = os.clock()
        while os.clock() - slice < 0.005 do end -- luacheck: ignore
        grun.yield()
      until os.clock() - start > 0.3
      grun.sleep(50)
    end)
    repeat
      grun.sleep(0.01)
    until busy:status() == "waiting"
    local memory = waiting.memory()
    local cpu = inspect.row(busy, memory).cpu
    assert.is_true(cpu > 0.15 and cpu < 0.45, cpu)
    assert.is_true(inspect.row(lazy, memory).cpu < 0.05)
  end)
end)

describe("a traceback", function()
  it("has the functions of Lua and of C below them", function(keep)
    local socket = require("socket")
    local l = keep(assert(socket.bind("127.0.0.1", 0)))
    local _, t = row_of(function() l:accept() end)
    local in_lua, in_c = inspect.traceback(t)
    assert.equal("[C]: in function 'accept'", in_lua[1])
    assert.matches("inspect_spec%.lua:%d+: in function", in_lua[2])
    local text = table.concat(in_c, "\n")
    assert.matches("^grun: [%w_]+ %+ %d+\n", text)
    assert.matches("\ncore%.so: socket_accept %+ %d+\n", text)
    assert.matches("\nlibluajit[^\n]*: lua_pcall %+ %d+\n", text)
    assert.matches("\ngrun: main_loop %+ %d+\n", text)
  end)

  it("goes through callbacks in callbacks", function(keep)
    keep()
    local function nest(n)
      if n == 0 then
        grun.sleep(50)
      end
      ("x"):gsub("x", function() nest(n - 1) end)
    end
    local _, t = row_of(function() nest(20) end)
    local _, in_c = inspect.traceback(t)
    assert.is_true(#in_c > 40 and #in_c <= 64, #in_c)
    t:kill()
  end)

  it("can be taken of every thread over and over, and they go on", function(keep)
    keep()
    local n, threads = 0, {}
    for i = 1, 50 do
      threads[i] = helper.spawn(function()
        for _ = 1, 20 do
          ("x"):gsub("x", function() grun.sleep(0.001) end)
          n = n + 1
        end
      end)
    end
    repeat
      for _, t in ipairs(threads) do
        inspect.traceback(t)
      end
      grun.sleep(0.002)
    until n == 1000
    assert.equal(1000, n)
  end)
end)

describe("the tree", function()
  local function list_of(wanted)
    local list = {}
    for t, depth in inspect.each() do
      if wanted[t] then
        list[#list + 1] = ("%d%s"):format(depth - wanted.depth, t.name)
      end
    end
    return table.concat(list, " ")
  end

  it("puts threads below their spawners, oldest first", function(keep)
    keep()
    local wanted = { depth = 0 }
    local function start(name, fn, ...)
      local t = helper.spawn(fn, ...)
      t.name = name
      wanted[t] = true
      return t
    end
    for t, depth in inspect.each() do
      wanted.depth = t == grun.current() and depth + 1 or wanted.depth
    end
    start("a", function() start("b", grun.sleep, 50) start("c", grun.sleep, 50) grun.sleep(50) end)
    start("d", grun.sleep, 50)
    grun.sleep(0.001)
    assert.equal("0a 1b 1c 0d", list_of(wanted))
  end)

  it("lists a thousand in the order of their numbers, whatever their places", function(keep)
    keep()
    local threads = {}
    for i = 1, 3000 do
      threads[i] = grun.spawn(grun.sleep, 50)
    end
    for i = 3000, 1, -2 do
      threads[i]:kill()
    end
    for i = 2, 3000, 2 do
      threads[i] = grun.spawn(grun.sleep, 50)
    end
    local last, n = 0, 0
    for t in inspect.each() do
      if t.spawned_at == threads[2].spawned_at or t.spawned_at == threads[1].spawned_at then
        assert.is_true(t.id > last)
        last, n = t.id, n + 1
      end
    end
    grun.killall(threads)
    assert.equal(3000, n)
  end)

  it("leaves out one thread, and keeps its children", function(keep)
    keep()
    local child
    local parent = helper.spawn(function()
      child = helper.spawn(grun.sleep, 50)
      grun.sleep(50)
    end)
    grun.yield()
    local seen = {}
    for t in inspect.each(parent) do
      seen[t] = true
    end
    assert.is_nil(seen[parent])
    assert.is_true(seen[child])
  end)
end)
