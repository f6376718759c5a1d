-- SPDX-License-Identifier: MIT
-- grun.server and grun.servers.

local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)

-- A server that is stopped after the test, and its address.
local function start(keep, handler, opts, address)
  local server = assert(grun.server(address or "tcp://127.0.0.1:0", handler, opts))
  keep({
    close = function()
      server:stop(0)
    end,
  })
  return server, server:address()
end

local function connect(keep, address)
  return keep(assert(grun.connect(address)))
end

local function echo(conn)
  for line in conn:lines("L") do
    conn:write(line)
  end
end

-- Runs other threads until fn() is true.
local function eventually(fn)
  local limit = grun.now() + 5
  while not fn() do
    assert(grun.now() < limit, "did not happen within 5 s")
    grun.yield()
  end
end

-- A handler that waits for ever, and a table with the results its waits gave and how many began.
local function waiting_handler()
  local ends = { begun = 0 }
  return function(conn)
    ends.begun = ends.begun + 1
    ends[#ends + 1] = { pcall(conn.read, conn) }
    error(ends[#ends][2], 0)
  end, ends
end

describe("a server", function()
  for _, address in ipairs({ "tcp://127.0.0.1:0", "tcp://[::1]:0", "tcp://:0", "unix" }) do
    test("serves many clients at once on " .. address, function(keep)
      if net.no_ipv6 and address:find("::1", 1, true) then
        return pending(net.no_ipv6)
      end
      local path = net.unix_path()
      local server, at = start(keep, echo, nil, address == "unix" and "unix:" .. path or address)
      local clients = {}
      for i = 1, 50 do
        clients[i] = connect(keep, (at:gsub("%[::%]", "127.0.0.1")))
      end
      for round = 1, 3 do
        for i = 1, 50 do
          clients[i]:write(i * round, "\n")
        end
        for i = 50, 1, -1 do
          assert.equal(tostring(i * round), clients[i]:read())
        end
      end
      local stats = server:stats()
      assert.same({ 50, 50, 0 }, { stats.accepted, stats.active, stats.errors })
      for i = 1, 50 do
        clients[i]:close()
      end
      eventually(function() return server:stats().active == 0 end)
      assert.equal(50, server:stats().accepted)
    end)
  end

  test("tells its address and has a readable name", function(keep)
    local server, address = start(keep, echo)
    assert.matches("^tcp://127%.0%.0%.1:%d+$", address)
    assert.equal("server " .. address .. " (0 active)", tostring(server))
    local names = {}
    for _, t in ipairs(grun.threads()) do
      names[t.name or ""] = true
    end
    assert.is_true(names["server " .. address])
    server:stop()
    assert.equal(address, server:address())
    assert.equal("server " .. address .. " (stopped)", tostring(server))
  end)

  test("closes the connection when the handler returns", function(keep)
    local seen
    local _, address = start(keep, function(conn)
      seen = conn
      conn:write("bye\n")
    end)
    local client = connect(keep, address)
    assert.equal("bye\n", client:read("a"))
    assert.is_true(seen:closed())
  end)

  test("names the address when it cannot listen", function(keep)
    local _, address = start(keep, echo)
    assert.same({ nil, "cannot listen on " .. address .. ": Address already in use", "EADDRINUSE" },
      { grun.server(address, echo) })
    assert.same({ nil, "bad address \"x\": missing port", "bad_address" },
      { grun.server("x", echo) })
  end)

  it("refuses wrong arguments at the caller's level", function()
    local wrong = {
      { { nil, echo }, "server: address expected, got nil" },
      { { "127.0.0.1:0" }, "server: handler must be a function, got nil" },
      { { "127.0.0.1:0", echo, 1 }, "server: table of options expected, got number" },
      { { "127.0.0.1:0", echo, { max_conections = 1 } },
        "server: unknown option 'max_conections'" },
      { { "127.0.0.1:0", echo, { backlog = "1" } },
        "server: option 'backlog': number expected, got string" },
      { { "127.0.0.1:0", echo, { mode = true } },
        "server: option 'mode': string or number expected, got boolean" },
      { { "127.0.0.1:0", echo, { max_connections = -1 } },
        "server: option 'max_connections' must be 0 or more" },
    }
    for _, case in ipairs(wrong) do
      local ok, message = pcall(function()
        grun.server(unpack(case[1], 1, 3))
      end)
      assert.is_false(ok)
      assert.matches("^spec/server_spec.lua:%d+: ", message)
      assert.equal(case[2], message:match("^.-: (.*)$"))
    end
  end)

  test("passes options on to its listener", function(keep)
    local path = net.unix_path()
    start(keep, echo, { mode = "0600", backlog = 5 }, "unix:" .. path)
    assert.equal("rw-------", lfs.attributes(path, "permissions"))
    local _, address = start(keep, echo, { reuse_port = true })
    start(keep, echo, { reuse_port = true }, address)
  end)

  test("gives connections their default timeout", function(keep)
    local result
    local _, address = start(keep, function(conn)
      result = { conn:read() }
    end, { idle_timeout = 0.01 })
    assert.equal("", connect(keep, address):read("a"))
    assert.same({ nil, "timeout", "timeout" }, result)
  end)

  test("lets others run after max_accept clients", function(keep)
    local accepted = {}
    local server, address
    server, address = start(keep, function()
      accepted[#accepted + 1] = server:stats().accepted
    end, { max_accept = 3 })
    for _ = 1, 7 do
      connect(keep, address)
    end
    eventually(function() return #accepted == 7 end)
    assert.is_true(accepted[1] < 7)
    for _, n in ipairs(accepted) do
      assert.is_true(n == 3 or n == 6 or n == 7)
    end
  end)
end)

describe("a failing handler", function()
  test("is reported with its client's name and hurts nobody", function(keep)
    local server, address = start(keep, function(conn)
      if conn:read() == "fail" then
        error("on purpose")
      end
      conn:write("fine\n")
    end)
    local peer
    local reports = helper.reports(function()
      local good, bad = connect(keep, address), connect(keep, address)
      bad:write("fail\n")
      assert.equal("", bad:read("a"))
      good:write("work\n")
      assert.equal("fine", good:read())
      peer = bad:sockname():sub(7)
    end)
    assert.equal(1, #reports)
    assert.matches("server_spec.lua:%d+: on purpose$", reports[1].err)
    assert.matches("server_spec.lua:%d+: in function", reports[1].traceback)
    assert.equal(("conn tcp %s -> %s"):format(address:sub(7), peer),
      reports[1].thread.name:match("^(.*) %(fd %d+%)$"))
    assert.equal(1, server:stats().errors)
  end)

  test("may fail with any value", function(keep)
    local value = {}
    local _, address = start(keep, function(conn)
      error(conn:read() == "table" and value or nil)
    end)
    local reports = helper.reports(function()
      for _, text in ipairs({ "table\n", "nil\n" }) do
        local client = connect(keep, address)
        client:write(text)
        client:read("a")
      end
    end)
    assert.equal(2, #reports)
    assert.equal(value, reports[1].err)
    assert.is_nil(reports[2].err)
  end)

  test("is handed to on_error with the connection still open", function(keep)
    local got
    local server, address = start(keep, function()
      error("on purpose", 0)
    end, {
      on_error = function(err, traceback, conn)
        got = { err, traceback:match("^stack traceback:") }
        conn:write("sorry\n")
      end,
    })
    local reports = helper.reports(function()
      assert.equal("sorry\n", connect(keep, address):read("a"))
    end)
    assert.same({}, reports)
    assert.same({ "on purpose", "stack traceback:" }, got)
    assert.equal(1, server:stats().errors)
  end)

  test("whose on_error fails too is reported once", function(keep)
    local _, address = start(keep, function()
      error("first", 0)
    end, {
      on_error = function()
        error("second", 0)
      end,
    })
    local reports = helper.reports(function()
      assert.equal("", connect(keep, address):read("a"))
    end)
    assert.equal(1, #reports)
    assert.equal("second", reports[1].err)
  end)
end)

describe("max_connections", function()
  test("holds back further clients, drops none, and goes on at once", function(keep)
    local most, now = 0, 0
    local server, address = start(keep, function(conn)
      now = now + 1
      most = math.max(most, now)
      echo(conn)
      now = now - 1
    end, { max_connections = 2 })
    local clients = {}
    for i = 1, 6 do
      clients[i] = connect(keep, address)
      clients[i]:write(i, "\n")
    end
    assert.equal("1", clients[1]:read())
    assert.equal("2", clients[2]:read())
    for i = 3, 6 do
      assert.same({ nil, "timeout", "timeout" }, { clients[i]:recv(nil, 0.01) })
      assert.equal(i - 1, server:stats().accepted)
      local before = grun.now()
      clients[i - 2]:close()
      assert.equal(tostring(i), clients[i]:read())
      assert.is_true(grun.now() - before < 0.5)
    end
    assert.equal(2, most)
  end)

  -- Cancels the thread of the next connection if that has not begun yet.
  local function cancel_new()
    for _, t in ipairs(grun.threads()) do
      if t:status() == "new" and t.spawned_at:find("server.lua:", 1, true) then
        t:cancel()
        return true
      end
    end
  end

  test("counts connections whose threads were cancelled before they began", function(keep)
    local server, address = start(keep, echo, { max_connections = 1 })
    local client, cancelled
    repeat
      local before = server:stats().accepted
      client = connect(keep, address)
      eventually(function() return server:stats().accepted > before end)
      cancelled = cancel_new()
      if not cancelled then
        client:close()
      end
    until cancelled
    assert.equal("", client:read("a"))
    local other = connect(keep, address)
    other:write("hello\n")
    assert.equal("hello", other:read())
    assert.equal(0, server:stats().errors)
  end)
end)

describe("stop", function()
  test("waits for handlers and closes the listener first", function(keep)
    local server, address = start(keep, echo)
    local client = connect(keep, address)
    client:write("one\n")
    assert.equal("one", client:read())
    local stop = net.parked(server.stop, server)
    eventually(function()
      local late, _, code = grun.connect(address)
      return late and late:close() and false or code == "ECONNREFUSED"
    end)
    client:write("two\n")
    assert.equal("two", client:read())
    assert.equal("waiting", stop:status())
    client:close()
    assert.is_true(stop:get())
    assert.is_true(server:stop())
    assert.equal(0, server:stats().active)
  end)

  test("cancels handlers that go on after the grace period", function(keep)
    local handler, ends = waiting_handler()
    local server, address = start(keep, handler)
    local client = connect(keep, address)
    eventually(function() return ends.begun == 1 end)
    local reports = helper.reports(function()
      assert.is_true(server:stop(0.02))
    end)
    assert.same({}, reports)
    assert.equal(1, #ends)
    assert.equal("server stopped", grun.is_cancel(ends[1][2]))
    assert.equal("", client:read("a"))
    assert.equal(0, server:stats().errors)
  end)

  test("gives up on handlers that refuse", function(keep)
    local begun, release = false, false
    local server, address = start(keep, function()
      begun = true
      repeat
        pcall(grun.sleep, 0.01)
      until release
    end)
    connect(keep, address)
    eventually(function() return begun end)
    assert.same({ nil, "timeout", "timeout" }, { server:stop(0) })
    assert.equal(1, server:stats().active)
    release = true
    assert.is_true(server:wait(5))
  end)

  test("serves who was in the backlog", function(keep)
    local server, address = start(keep, echo)
    grun.idle() -- it waits for clients now
    local clients = {}
    for i = 1, 20 do
      clients[i] = connect(keep, address)
      clients[i]:write(i, "\n")
      clients[i]:shutdown("w")
    end
    assert.equal(0, server:stats().accepted)
    assert.is_true(server:stop(5))
    for i = 1, 20 do
      assert.equal(i .. "\n", clients[i]:read("a"))
    end
  end)

  test("with grace 0 ends at once", function(keep)
    local handler, ends = waiting_handler()
    local server, address = start(keep, handler)
    local first = connect(keep, address)
    eventually(function() return ends.begun == 1 end)
    local late = connect(keep, address)
    assert.is_true(server:stop(0))
    assert.equal(1, #ends)
    assert.equal("", first:read("a"))
    assert.equal("ECONNRESET", select(3, late:read()))
  end)

  test("may be called by a handler", function(keep)
    local server, address, result
    server, address = start(keep, function(conn)
      result = server:stop(5)
      conn:write("stopped\n")
    end)
    assert.equal("stopped", connect(keep, address):read())
    assert.is_true(result)
    assert.is_true(server:wait(5))
  end)

  test("may be called by several threads", function(keep)
    local server, address = start(keep, echo)
    local client = connect(keep, address)
    eventually(function() return server:stats().active == 1 end)
    local first, second = net.parked(server.stop, server), net.parked(server.stop, server)
    client:close()
    assert.is_true(first:get())
    assert.is_true(second:get())
  end)

  test("while accepting pauses at max_connections", function(keep)
    local server, address = start(keep, echo, { max_connections = 1 })
    local client = connect(keep, address)
    client:write("x\n")
    assert.equal("x", client:read())
    local stop = net.parked(server.stop, server)
    client:close()
    assert.is_true(stop:get())
  end)

  test("removes a unix path", function(keep)
    local path = net.unix_path()
    local server = start(keep, echo, nil, "unix:" .. path)
    assert.equal("socket", lfs.attributes(path, "mode"))
    server:stop()
    assert.is_nil(lfs.attributes(path))
  end)

  test("that is cancelled itself leaves the server stopping", function(keep)
    local server, address = start(keep, echo)
    local client = connect(keep, address)
    eventually(function() return server:stats().active == 1 end)
    local stop = net.parked(server.stop, server)
    stop:kill()
    client:close()
    assert.is_true(server:wait(5))
  end)

  test("checks its argument", function(keep)
    local server = start(keep, echo)
    assert.has_error(function() server:stop(-1) end, "stop: number of seconds expected, got -1")
    assert.has_error(function() server:wait("x") end, "wait: number of seconds expected, got x")
  end)
end)

describe("wait", function()
  test("returns when the server has ended", function(keep)
    local server = start(keep, echo)
    assert.same({ nil, "timeout", "timeout" }, { server:wait(0) })
    assert.same({ nil, "timeout", "timeout" }, { server:wait(0.01) })
    local t = net.parked(server.wait, server)
    server:stop()
    assert.is_true(t:get())
  end)
end)

describe("grun.servers", function()
  test("lists those that are not over", function(keep)
    local before = #grun.servers()
    local a, address = start(keep, echo)
    local b = start(keep, echo)
    local list = grun.servers()
    assert.same({ a, b }, { list[before + 1], list[before + 2] })
    b:stop()
    local client = connect(keep, address)
    client:write("x\n")
    client:read()
    local stop = net.parked(a.stop, a)
    assert.equal(before + 1, #grun.servers())
    client:close()
    stop:join()
    assert.equal(before, #grun.servers())
  end)
end)

describe("a server whose accepting thread is cancelled", function()
  test("stops accepting and leaves its connections alone", function(keep)
    local server, address = start(keep, echo)
    local client = connect(keep, address)
    client:write("x\n")
    client:read()
    for _, t in ipairs(grun.threads()) do
      if t.name == "server " .. address then
        t:kill()
      end
    end
    assert.equal("ECONNREFUSED", select(3, grun.connect(address)))
    client:write("y\n")
    assert.equal("y", client:read())
    client:close()
    assert.is_true(server:wait(5))
  end)
end)

describe("a process with a server", function()
  it("lives until the server is stopped", function()
    local out, _, status = helper.run_script([[
      local server = assert(grun.server("tcp://127.0.0.1:0", function(conn) conn:write("hi") end))
      grun.spawn_later(0.05, function()
        print(grun.connect(server:address()):read("a"))
        server:stop()
      end)
    ]])
    assert.equal("hi\n", out)
    assert.equal(0, status)
  end)

  it("finishes what it has begun when it is told to end", function()
    local out, err, status = helper.run_script([[
      local pid = io.open("/proc/self/stat"):read("*n")
      local server = assert(grun.server("tcp://127.0.0.1:0", function(conn)
        conn:read()
        os.execute("kill -TERM " .. pid)
        grun.sleep(0.1)
        conn:write("done\n")
        print("served")
      end))
      local child = ("printf 'go\n' | nc -N 127.0.0.1 %s >%s &"):format(
        server:address():match("%d+$"), os.getenv("RESULT"))
      os.execute(child)
    ]], { env = { RESULT = helper.tmpname() } })
    assert.equal("", err)
    assert.equal("served\n", out)
    assert.equal(0, status)
  end)
end)
