-- SPDX-License-Identifier: MIT
-- grun.server on addresses of datagrams.

local core = require("grun.core")
local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)

-- A server that is stopped after the test, and a socket connected to it.
local function start(keep, handler, opts, address)
  local server = assert(grun.server(address or "udp://127.0.0.1:0", handler, opts))
  keep({
    close = function()
      server:stop(0)
    end,
  })
  local client = keep(assert(grun.udp(address and address:find("^unix") and "unixgram:@" ..
    net.unix_path() or nil)))
  assert(client:connect((server:address():gsub("%[::%]", "127.0.0.1"))))
  client:settimeout(5)
  return server, client
end

local function echo(data)
  return data
end

local function eventually(fn)
  local limit = grun.now() + 5
  while not fn() do
    assert(grun.now() < limit, "did not happen within 5 s")
    grun.yield()
  end
end

-- How often the server's threads were given the processor.
local function switches(server)
  local n = 0
  for _, t in ipairs(grun.threads()) do
    n = n + (rawget(t, "_server") == server and core.info(t[1]).switches or 0)
  end
  return n
end

-- A handler that waits until event is set, for data "wait", and else answers at once.
local function waiting_for(event, order)
  return function(data)
    if data:find("^wait") then
      event:wait()
    end
    order[#order + 1] = data
    return data
  end
end

describe("a datagram server", function()
  for _, address in ipairs({ "udp://127.0.0.1:0", "udp://:0", "unixgram:", "unixgram:@" }) do
    test("answers on " .. address, function(keep)
      local full = address:find("^unix") and address .. net.unix_path() or address
      local server, client = start(keep, function(data, peer, sock)
        assert(sock:fd())
        return ("%s from %s"):format(data, peer.path and "unix" or peer.host)
      end, nil, full)
      for i = 1, 200 do
        assert(client:send(tostring(i)))
        assert.equal(i .. " from " .. (address:find("^unix") and "unix" or "127.0.0.1"),
          (client:recv()))
      end
      assert.equal(200, server:stats().accepted)
    end)
  end

  test("tells its address and has a readable name", function(keep)
    local server = start(keep, echo)
    assert.matches("^udp://127%.0%.0%.1:%d+$", server:address())
    assert.equal("server " .. server:address() .. " (0 active)", tostring(server))
    assert.same({ server }, grun.servers())
    assert.is_true(server:stop())
    assert.equal("server " .. server:address() .. " (stopped)", tostring(server))
    assert.same({}, grun.servers())
    assert.is_true(server:stop())
    assert.is_true(server:wait())
  end)

  test("answers many in order, batch after batch", function(keep)
    local server, client = start(keep, echo)
    for round = 1, 20 do
      local list = {}
      for i = 1, 100 do
        list[i] = round .. "/" .. i
      end
      assert.equal(100, client:send_many(list))
      for i = 1, 100 do
        assert.equal(list[i], (client:recv()))
      end
    end
    assert.same({ accepted = 2000, active = 0, errors = 0, unsent = 0, dropped = 0 },
      server:stats())
  end)

  test("lets a handler that waits hold up nobody", function(keep)
    local event, order = grun.event(), {}
    local server, client = start(keep, waiting_for(event, order))
    for _, data in ipairs({ "a", "wait 1", "b", "wait 2", "wait 3", "c" }) do
      assert(client:send(data))
    end
    for _, data in ipairs({ "a", "b", "c" }) do
      assert.equal(data, (client:recv()))
    end
    assert.equal(3, server:stats().active)
    assert(client:send("d"))
    assert.equal("d", (client:recv()))
    event:set()
    local late = {}
    for _ = 1, 3 do
      late[client:recv()] = true
    end
    assert.same({ ["wait 1"] = true, ["wait 2"] = true, ["wait 3"] = true }, late)
    eventually(function() return server:stats().active == 0 end)
  end)

  test("sends the answers before one that waits at once", function(keep)
    local event = grun.event()
    local server, client = start(keep, waiting_for(event, {}), { max_connections = 1 })
    client:send_many({ "first", "wait" })
    assert.equal("first", (client:recv()))
    assert.equal(1, server:stats().active)
    event:set()
    assert.equal("wait", (client:recv()))
  end)

  test("answers from the address that it was asked at", function(keep)
    for _, address in ipairs({ "udp://0.0.0.0:0", "udp://:0" }) do
      local server = assert(grun.server(address, function(data, peer, sock)
        if data == "itself" then
          sock:send_to(data, peer)
          return nil
        end
        return data
      end))
      keep({ close = function() server:stop(0) end })
      local port = server:address():match("%d+$")
      for _, host in ipairs({ "127.0.0.2", "127.9.9.9", "127.0.0.1" }) do
        -- A connected socket takes nothing from elsewhere.
        local client = keep(assert(grun.udp()))
        assert(client:connect("udp://" .. host .. ":" .. port))
        assert(client:send("reply"))
        assert.equal("reply", (client:recv(5)))
        assert(client:send("itself"))
        assert.equal("itself", (client:recv(5)))
      end
    end
  end)

  test("runs at most max_connections handlers and loses none that were received", function(keep)
    local active, most = 0, 0
    local server, client = start(keep, function(data)
      active = active + 1
      most = math.max(most, active)
      grun.sleep(0.001)
      active = active - 1
      return data
    end, { max_connections = 3 })
    for i = 1, 100 do
      assert(client:send(tostring(i)))
    end
    local seen = {}
    for _ = 1, 100 do
      seen[tonumber((assert(client:recv())))] = true
    end
    assert.equal(100, #seen)
    assert.equal(3, most)
    assert.equal(0, server:stats().dropped)
  end)

  test("does not receive while all handlers are in use", function(keep)
    local event = grun.event()
    local server, client = start(keep, function() event:wait() end,
      { max_connections = 1, rcvbuf = 8192 })
    client:send("holds the only slot")
    eventually(function() return server:stats().active == 1 end)
    for _ = 1, 300 do
      client:send(("x"):rep(500))
    end
    grun.yield()
    grun.idle()
    assert.is_true(server:stats().accepted <= 65)
    assert.is_true(server:stats().dropped > 0)
    event:set()
    eventually(function() return server:stats().active == 0 end)
  end)

  test("lets others run while handlers never wait", function(keep)
    local others, stop, handled, client = 0, false, 0, nil
    local _
    _, client = start(keep, function()
      handled = handled + 1
      client:send("again")
    end)
    helper.spawn(function()
      while not stop do
        others = others + 1
        grun.yield()
      end
    end)
    for _ = 1, 100 do
      client:send("first")
    end
    eventually(function() return handled >= 5000 end)
    stop = true
    assert.is_true(others >= 50, others .. " turns")
  end)

  test("takes a handler that answers by itself, later, or not at all", function(keep)
    local _, client = start(keep, function(data, peer, sock)
      if data == "later" then
        grun.spawn(function()
          sock:send_to("1", peer)
          sock:send_to("2", peer)
        end)
      elseif data == "number" then
        return 42
      elseif data == "empty" then
        return ""
      end
      return nil
    end)
    for _, data in ipairs({ "ignored", "later", "number", "empty" }) do
      client:send(data)
    end
    local got = {}
    for _ = 1, 4 do
      got[client:recv()] = true
    end
    assert.same({ ["1"] = true, ["2"] = true, ["42"] = true, [""] = true }, got)
  end)

  test("reports an error of a handler once and goes on", function(keep)
    local server, client
    local list = helper.reports(function()
      server, client = start(keep, function(data)
        if data:find("late") then
          grun.yield()
        end
        if data:find("bad") then
          error("oops " .. data)
        end
        return data == "table" and {} or data
      end)
      client:send_many({ "good", "bad", "also good", "late bad", "table", "better" })
      local got = {}
      for i = 1, 3 do
        got[i] = client:recv()
      end
      assert.same({ "good", "also good", "better" }, got)
      eventually(function() return server:stats().errors == 3 end)
    end)
    local errors = {}
    for i, report in ipairs(list) do
      errors[i] = tostring(report.err):gsub("^.*: ", "")
      assert.matches("^server udp://127%.0%.0%.1:%d+ for udp://127%.0%.0%.1:%d+$",
        report.thread.name)
    end
    table.sort(errors)
    assert.same({ "oops bad", "oops late bad",
      "the handler must return a string or nothing, got table" }, errors)
    assert.matches("datagram_server_spec", list[1].traceback)
  end)

  test("gives errors to on_error, which may fail or wait", function(keep)
    local seen = {}
    local server, client = start(keep, function(data)
      assert.is_nil(grun.current().traceback)
      error({ data })
    end, {
      on_error = function(err, traceback, peer)
        if err[1] == "slow" then
          grun.sleep(0.01)
        end
        seen[#seen + 1] = err[1]
        assert.equal("string", type(traceback))
        assert.equal("127.0.0.1", peer.host)
        if err[1] == "worse" then
          error("worse")
        end
      end,
    })
    local list = helper.reports(function()
      client:send_many({ "slow", "first", "worse", "second" })
      eventually(function() return #seen == 4 end)
      eventually(function() return server:stats().active == 0 end)
    end)
    assert.same({ "first", "worse", "second", "slow" }, seen)
    assert.equal(1, #list)
    assert.equal(4, server:stats().errors)
  end)

  test("keeps what a handler does to its thread from the next one", function(keep)
    local found = {}
    local server, client = start(keep, function(data)
      local t = grun.current()
      found[#found + 1] = tostring(t.locals.data)
      t.locals.data = data
      if data == "cancel" then
        t:cancel()
      elseif data == "wait" then
        grun.yield()
      end
      return data
    end)
    for _, data in ipairs({ "a", "cancel", "b", "wait", "c" }) do
      client:send(data)
    end
    local got = {}
    for i = 1, 5 do
      got[i] = client:recv()
    end
    table.sort(got)
    assert.same({ "a", "b", "c", "cancel", "wait" }, got)
    assert.same({ "nil", "nil", "nil", "nil", "nil" }, found)
    assert.equal(0, server:stats().errors)
  end)

  test("counts answers that cannot be sent", function(keep)
    local server, client = start(keep, function(data)
      return data == "big" and ("x"):rep(70000) or data
    end)
    client:send_many({ "a", "big", "b" })
    assert.same({ "a", "b" }, { (client:recv()), (client:recv()) })
    assert.equal(1, server:stats().unsent)
  end)

  test("heeds no timeout of its socket, and takes any max_accept", function(keep)
    for _, burst in ipairs({ 0, 1, 1000 }) do
      local server, client = start(keep, function(data, _, sock)
        sock:settimeout(0)
        return data
      end, { max_accept = burst })
      for i = 1, 50 do
        assert(client:send(tostring(i)))
      end
      for i = 1, 50 do
        assert.equal(tostring(i), (client:recv()))
      end
      assert.equal(50, server:stats().accepted)
      local before = switches(server)
      grun.sleep(0.05)
      assert.is_true(switches(server) - before <= 2)
    end
  end)

  test("survives the cancel of a thread that has not started", function(keep)
    local server, client = start(keep, function(data)
      for _, t in ipairs(grun.threads()) do
        if rawget(t, "_server") and t:status() == "new" then
          t:cancel()
        end
      end
      return data
    end)
    for i = 1, 10 do
      client:send(tostring(i))
      assert.equal(tostring(i), (client:recv()))
    end
    assert.is_true(server:stop())
  end)

  test("is not held up by unix clients without a name or who do not read", function(keep)
    local handled = {}
    local server, client = start(keep, function(data)
      handled[data] = (handled[data] or 0) + 1
      return data
    end, nil, "unixgram:" .. net.unix_path())
    local nameless, deaf = keep(grun.udp("unixgram:")), keep(grun.udp("unixgram:@" ..
      net.unix_path()))
    nameless:connect(server:address())
    deaf:connect(server:address())
    nameless:send("x")
    for _ = 1, 600 do
      deaf:send("deaf")
      grun.yield()
    end
    -- What the deaf one does not read takes up the server's send buffer, so nobody gets answers.
    client:send("hello")
    eventually(function() return handled.hello end)
    assert.equal(600, handled.deaf)
    assert.is_true(server:stats().unsent > 0)
    while deaf:recv(0) do -- luacheck: ignore
    end
    client:send("hello again")
    assert.equal("hello again", (client:recv()))
  end)

  test("reports kernel limits and bad addresses", function(keep)
    local server = start(keep, echo)
    assert.equal("EADDRINUSE", select(3, grun.server(server:address(), echo)))
    assert.equal("bad_address", select(3, grun.server("udp://127.0.0.1", echo)))
    helper.misuse(function() grun.server("udp://:0", echo, { backlog = 1 }) end,
      "server: unknown option 'backlog'")
    helper.misuse(function() grun.server("udp://:0", echo, { on_error = 1 }) end,
      "server: option 'on_error': function expected, got number")
    helper.misuse(function() grun.server("udp://:0", 1) end,
      "server: handler must be a function, got number")
  end)
end)

describe("stopping a datagram server", function()
  test("waits for handlers, which still answer, and frees the port", function(keep)
    local event = grun.event()
    local server, client = start(keep, waiting_for(event, {}))
    client:send("wait")
    eventually(function() return server:stats().active == 1 end)
    local stopping = net.parked(server.stop, server)
    client:send("too late")
    event:set()
    assert.is_true(stopping:get(5))
    assert.equal("wait", (client:recv()))
    client:send("to nobody")
    assert.equal("ECONNREFUSED", select(3, client:recv()))
    keep(assert(grun.udp(server:address())))
  end)

  test("cancels handlers after the grace period", function(keep)
    local reasons = {}
    local server, client = start(keep, function()
      local ok, err = pcall(grun.sleep, 100)
      reasons[#reasons + 1] = { ok, grun.is_cancel(err) }
      error(err, 0)
    end)
    client:send_many({ "1", "2" })
    eventually(function() return server:stats().active == 2 end)
    assert.same({ nil, "timeout", "timeout" }, { server:wait(0.01) })
    assert.is_true(server:stop(0.01))
    assert.same({ { false, "server stopped" }, { false, "server stopped" } }, reasons)
    assert.equal(0, server:stats().errors)
  end)

  test("gives up on handlers that refuse to end", function(keep)
    local release = false
    local server, client = start(keep, function()
      while not release do
        pcall(grun.sleep, 0.01)
      end
    end)
    client:send("x")
    eventually(function() return server:stats().active == 1 end)
    assert.same({ nil, "timeout", "timeout" }, { server:stop(0) })
    release = true
    assert.is_true(server:wait(5))
  end)

  test("handles what has been received, unless grace is 0", function(keep)
    for grace, expected in pairs({ [5] = 10, [0] = 1 }) do
      local handled = 0
      local server, client = start(keep, function()
        handled = handled + 1
        pcall(grun.sleep, 0.002)
      end, { max_connections = 1 })
      for _ = 1, 10 do
        client:send("x")
      end
      eventually(function() return server:stats().accepted == 10 end)
      assert.is_true(server:stop(grace))
      assert.equal(expected, handled)
    end
  end)

  test("works from a handler, which still answers", function(keep)
    local server, client, result
    server, client = start(keep, function()
      result = server:stop(1)
      return "stopped"
    end)
    client:send("x")
    assert.equal("stopped", (client:recv()))
    assert.is_true(result)
    assert.is_true(server:wait(5))
  end)

  test("happens when its idle threads are cancelled, or its socket is closed", function(keep)
    local server = start(keep, echo)
    grun.yield()
    for _, t in ipairs(grun.threads()) do
      if rawget(t, "_server") == server then
        t:cancel()
      end
    end
    assert.is_true(server:wait(5))
    local other, client = start(keep, function(_, _, sock) sock:close() end)
    client:send("x")
    assert.is_true(other:wait(5))
  end)

  test("removes its unix path", function(keep)
    local path = net.unix_path()
    local server = start(keep, echo, { mode = "0600" }, "unixgram:" .. path)
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    server:stop()
    assert.is_nil(lfs.attributes(path))
  end)

  it("happens in order when the process is told to end", function()
    local out, err, status = helper.run_script([[
      local server = grun.server("udp://127.0.0.1:0", function(data)
        if data == "slow" then
          grun.sleep(0.05)
        end
        return data
      end)
      local client = grun.udp()
      client:connect(server:address())
      client:send("slow")
      grun.sleep(0.01)
      require("ffi").cdef("int kill(int, int); int getpid(void);")
      local C = require("ffi").C
      grun.spawn(function()
        C.kill(C.getpid(), 15)
      end)
      print(grun.shield(client.recv, client, 5))
    ]])
    assert.matches("^slow\t", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)
end)
