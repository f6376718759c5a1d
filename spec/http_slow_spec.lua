-- SPDX-License-Identifier: MIT
-- HTTP servers under slow clients: scripts/bench/slow.lua in small, and what keeps them harmless.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local SLOW = 40 -- clients

-- How a client is slow: what it sends first, then every 50 ms; whether it reads the answer.
local attacks = {
  heads = { first = "GET / HTTP/1.1\r\nHost: a\r\n", then_ = "X: y\r\n", limit = "header_timeout" },
  bodies = { first = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\nx", limit = "body_timeout" },
  reads = { first = "GET /large HTTP/1.1\r\nHost: a\r\n\r\n", deaf = true, limit = "write_timeout" },
}

describe("slow clients", function()
  local servers = {}
  local test, serve = http.test(it, function(fn) finally(fn) end, servers)

  local large = ("x"):rep(2 ^ 22)

  local function app(req)
    if req.path == "/large" then
      return large
    end
    return req:body() and 204 or nil
  end

  local function wait_until(done, seconds)
    local limit = grun.now() + seconds
    repeat
      grun.sleep(0.01)
    until done() or grun.now() > limit
  end

  -- Is slow until the server ends the connection.
  local function be_slow(port, attack)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:setoption("rcvbuf", 4096)
    conn:write(attack.first)
    local ended = false
    while not ended do
      conn:settimeout(0.05)
      if attack.deaf then
        grun.sleep(0.05)
        ended = not conn:write("G") -- the reset tells
      else
        local data, _, code = conn:read(1)
        ended = data ~= nil or code ~= "timeout"
        ended = ended or not conn:write(attack.then_ or "")
      end
    end
    conn:close()
  end

  for name, attack in pairs(attacks) do
    test("that are slow with their " .. name .. " are cut off on time, and others do not notice", function()
      local port, server = serve(app, { [attack.limit] = 1 })
      local group, started, first, last = grun.group(), grun.now(), math.huge, 0
      for _ = 1, SLOW do
        group:spawn(function()
          be_slow(port, attack)
          local took = grun.now() - started
          first, last = math.min(first, took), math.max(last, took)
        end)
      end
      local worst = 0
      while grun.now() - started < 0.9 do
        local at = grun.now()
        assert.equal(204, http.request(port, "GET", "/").status)
        worst = math.max(worst, grun.now() - at)
      end
      assert.equal(SLOW, server:stats().active)
      group:join()
      assert.is_true(first > 0.9 and last < 5, ("%g to %g s"):format(first, last))
      assert.is_true(worst < 0.5, worst)
      wait_until(function() return server:stats().active == 0 end, 5)
      assert.equal(0, server:stats().active)
      assert.equal(0, server:stats().errors)
    end)
  end

  test("that take nothing get no more than the kernel may keep for each", function()
    local line
    local port = serve(app, { write_timeout = 0.3, access_log = function(text) line = text end })
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:setoption("rcvbuf", 4096)
    conn:write(attacks.reads.first)
    wait_until(function() return line end, 5)
    local sent = tonumber(line:match('" 200 (%d+) "'))
    assert.is_true(sent < 400000, sent)
    local _, _, code = conn:read("a") -- what the kernel kept for it is gone, too
    assert.equal("ECONNRESET", code)
    conn:close()
  end)

  test("can have another limit for that", function()
    local listener = assert(grun.listen("tcp://127.0.0.1:0", { max_unsent = 5000 }))
    local client = assert(grun.connect(listener:address()))
    local conn = assert(listener:accept())
    assert.equal(5000, conn:getoption("max_unsent"))
    assert.is_true(conn:setoption("max_unsent", 6000))
    assert.equal(6000, conn:getoption("max_unsent"))
    for _, one in ipairs({ client, conn, listener }) do
      one:close()
    end
    local limit
    local port = serve(function(req) limit = req.conn:getoption("max_unsent") end)
    http.request(port, "GET", "/")
    assert.equal(65536, limit)
    port = serve(function(req) limit = req.conn:getoption("max_unsent") end, { max_unsent = 7000 })
    http.request(port, "GET", "/")
    assert.equal(7000, limit)
  end)

  -- A connection, and the answer that it has had. Nothing when the server resets it at once.
  local function used(port)
    local conn = grun.connect("tcp://127.0.0.1:" .. port)
    if not conn then
      return nil
    end
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:settimeout(10)
    return conn, http.response(conn)
  end

  local function is_open(conn)
    conn:settimeout(0.05)
    return select(3, conn:read(1)) == "timeout"
  end

  test("that only keep their connections make room for others, the longest idle first", function()
    local port, server = serve(app, { max_connections = 9 })
    local conns = {}
    for i = 1, 9 do
      conns[i] = used(port)
      grun.sleep(0.01)
    end
    conns[1]:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal(204, http.response(conns[1]).status)
    local started = grun.now()
    local other, res = used(port)
    assert.equal(204, res.status)
    local waited = grun.now() - started
    assert.is_true(waited > 3 and waited < 9, waited)
    assert.is_false(is_open(conns[2]))
    assert.is_true(is_open(conns[1]))
    assert.is_true(is_open(conns[9]))
    assert.is_true(server:stats().active <= 9)
    other:close()
    for _, conn in ipairs(conns) do
      conn:close()
    end
  end)

  test("do so too when the server is out of descriptors", function()
    local name = helper.script([[
      local grun = require("grun")
      io.stdout:setvbuf("no")
      print(grun.server("http://127.0.0.1:0", function() return 204 end):address())]])
    local server = assert(grun.process.spawn({ "sh", "-c", "ulimit -n 40; exec \"$@\"", "sh", helper.grun, name,
      stdout = "pipe", stderr = "null" }))
    servers[1] = { stop = function()
      server:kill("TERM")
      server:wait()
      server.stdout:close()
    end }
    local port = server.stdout:read("l"):match("%d+$")
    local conns, refused = {}, 0
    local res
    repeat
      conns[#conns + 1], res = used(port)
    until not res
    local started = grun.now()
    repeat
      conns[#conns + 1], res = used(port)
      refused = refused + (res and 0 or 1)
      grun.sleep(0.1)
    until res or grun.now() - started > 20
    assert.equal(204, res and res.status)
    assert.is_true(refused > 3)
    assert.is_true(grun.now() - started < 15)
    for _, conn in ipairs(conns) do
      conn:close()
    end
  end)
end)
