-- SPDX-License-Identifier: MIT
-- HTTP servers whose handlers fail, in every way and at every moment, and what their clients and logs see of it.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local response = http.response

local function get(path, version)
  return ("GET %s HTTP/%s\r\nHost: a\r\n\r\n"):format(path, version or "1.1")
end

describe("an HTTP server", function()
  local servers = {}
  local test, serve = http.test(it, function(fn) finally(fn) end, servers)

  local function connect(port)
    return assert(grun.connect("tcp://127.0.0.1:" .. port))
  end

  -- Path -> handler that fails before anything of its response is sent.
  local unsent = {
    ["/nil"] = function() error() end,
    ["/false"] = function() error(false) end,
    ["/object"] = function() error(setmetatable({}, { __tostring = error })) end,
    ["/recursion"] = function()
      local function f() return 1 + f() end
      return f()
    end,
    ["/iterator"] = function() return function() error("oops") end end,
    ["/pieces"] = function() return function() return {} end end,
    ["/headers"] = function() return 302, { Location = "/elsewhere" } end,
    ["/userdata"] = function() return io.stdout end,
    ["/file"] = function(_, res) return res:sendfile("/nonexistent") end,
    ["/message"] = function() return nil, "no luck", "code" end,
    ["/split"] = function(_, res) res:header("A", "b\r\nC: d"):finish("x") end,
    ["/nul"] = function(_, res) res:header("A", "b\0"):finish("x") end,
    ["/name"] = function(_, res) res:header("A ", "b"):finish("x") end,
    ["/lengths"] = function(_, res) res:header("Content-Length", 1):header("Content-Length", 1):finish("x") end,
    ["/coding"] = function(_, res) res:header("Transfer-Encoding", "chunked"):finish("x") end,
    ["/bodiless"] = function(_, res) res:status(204):header("Content-Length", 1):finish() end,
    ["/many"] = function(_, res)
      for i = 1, 200 do
        res:header("A" .. i, i)
      end
      return "x"
    end,
    ["/interim"] = function() return 100 end,
    ["/write"] = function(_, res) res:write({ "a" }) end,
  }

  local function app(req, res)
    local handler = unsent[req.path]
    if handler then
      return handler(req, res)
    end
    return req.path
  end

  test("answers 500 once for a handler that failed, reports it, and goes on", function()
    local n, port, server = 0, nil, nil
    local list = helper.reports(function()
      port, server = serve(app)
      for path in pairs(unsent) do
        local conn = connect(port)
        conn:write(get("/before"), get(path), get("/after"))
        assert.equal("/before", response(conn).body)
        local res = response(conn)
        assert.equal(500, res.status, path)
        assert.equal("500 Internal Server Error\n", res.body)
        assert.is_nil(res.headers.c)
        assert.equal("/after", response(conn).body)
        conn:close()
        n = n + 1
      end
    end)
    assert.equal(n, #list)
    assert.equal(n, server:stats().errors)
  end)

  test("says why a handler failed that returns nil and a message", function()
    local list = helper.reports(function()
      http.request(serve(app), "GET", "/message")
    end)
    assert.matches("no luck", list[1].err)
    local port = serve(function(req) return req:body() end, { max_body = 1 })
    assert.equal(413, http.request(port, "POST", "/", nil, "ab").status)
  end)

  test("keeps a response that was complete when its handler failed", function()
    local list = helper.reports(function()
      local conn = connect(serve(function(req, res)
        res:finish(req.path)
        res:finish("again")
      end))
      conn:write(get("/1"), get("/2"))
      assert.equal("/1", response(conn).body)
      assert.equal("/2", response(conn).body)
      conn:close()
    end)
    assert.equal(2, #list)
  end)

  describe("resets the connection when a body that ends with it is not complete,", function()
    local thread

    local function handler(req)
      local n = 0
      thread = grun.current()
      return function()
        n = n + 1
        if n > 1 then
          grun.sleep(req.path == "/cancelled" and 10 or 0.05)
          error("oops")
        end
        return "piece"
      end
    end

    -- Returns the server, its port and the certificate to trust.
    local function serve_tls(fn, opts)
      local tls = require("spec.tls_helper")
      local server = assert(grun.server("https://127.0.0.1:0", fn, tls.server("good", opts)))
      servers[#servers + 1] = server
      return server, server:address():match("%d+$"), tls.path("root.pem")
    end

    -- What comes behind the first piece: nothing, and how it ends.
    local function check(conn, request, path)
      conn:write(request)
      conn:read_until("\r\n\r\n")
      assert.equal("piece", conn:read(5))
      if path == "/cancelled" then
        thread:cancel()
      end
      assert.equal("ECONNRESET", select(3, conn:read(1)), path)
      conn:close()
    end

    local function check_all(open)
      helper.reports(function()
        for _, path in ipairs({ "/fails", "/cancelled" }) do
          check(open(), get(path, "1.0"), path)
          check(open(), ("POST %s HTTP/1.0\r\nContent-Length: 10\r\n\r\nunread"):format(path), path)
        end
      end)
    end

    test("a plain one", function()
      local port = serve(handler)
      check_all(function() return connect(port) end)
    end)

    test("and one with TLS without a goodbye", function()
      local _, port, ca = serve_tls(handler)
      check_all(function()
        return assert(grun.connect("tls://localhost:" .. port, { ca = ca }))
      end)
    end)

    test("also for openssl", function()
      local _, port, ca = serve_tls(handler)
      local command = "(printf 'GET / HTTP/1.0\\r\\n\\r\\n'; sleep 1) | " ..
        "openssl s_client -quiet -msg -connect 127.0.0.1:%s -CAfile %s"
      helper.reports(function()
        local out = require("spec.tls_helper").start(command:format(port, ca)).finish()
        assert.matches("piece", out)
        assert.matches("errno=104", out)
        assert.not_matches("<<<[^\n]*close_notify", out)
      end)
    end)

    test("also when the client has taken nothing for too long", function()
      local server, port, ca = serve_tls(function()
        return function() return ("x"):rep(16384) end
      end, { write_timeout = 0.3 })
      local conn = assert(grun.connect("tls://localhost:" .. port, { ca = ca }))
      conn:write(get("/", "1.0"))
      while server:stats().active > 0 or server:stats().accepted == 0 do
        grun.sleep(0.01)
      end
      local limit = grun.now() + 5
      while conn:write("x") do -- until the reset has come: nothing more is to be read first
        assert.is_true(grun.now() < limit)
        grun.sleep(0.01)
      end
      local data, message, code
      repeat
        data, message, code = conn:recv()
      until not data
      assert.is_true(code == "ECONNRESET" or code == "truncated", message)
      conn:close()
    end)
  end)

  test("sends an answer at once also when more requests have come", function()
    local port = serve(function(req)
      if req.path == "/slow" then
        grun.sleep(1)
      end
      return req.path
    end)
    for _, more in ipairs({ get("/slow"), "GET /half HTTP/1.1\r\nHo" }) do
      local conn, started = connect(port), grun.now()
      conn:write(get("/1"), get("/2"), more)
      assert.equal("/1", response(conn).body)
      assert.equal("/2", response(conn).body)
      assert.is_true(grun.now() - started < 0.8)
      conn:close()
    end
  end)

  test("sends it in TLS, too", function()
    local tls = require("spec.tls_helper")
    local server = assert(grun.server("https://127.0.0.1:0", function(req)
      if req.path == "/slow" then
        grun.sleep(1)
      end
      return req.conn:tls().alpn
    end, tls.server("good")))
    servers[1] = server
    local conn = assert(grun.connect("tls://localhost:" .. server:address():match("%d+$"),
      { ca = tls.path("root.pem"), alpn = { "http/1.0" } })) -- as curl --http1.0 does
    local started = grun.now()
    conn:write(get("/1"), get("/slow"), get("/3"))
    assert.equal("http/1.0", response(conn).body)
    assert.is_true(grun.now() - started < 0.8)
    assert.equal("http/1.0", response(conn).body)
    assert.equal("http/1.0", response(conn).body)
    conn:close()
  end)

  test("knows who the client was that has gone", function()
    local peer, line
    local port, server = serve(function(req)
      grun.sleep(0.1)
      peer = req.peer
      return ("x"):rep(1e7)
    end, { access_log = function(text) line = text end })
    local conn = connect(port)
    conn:write(get("/"))
    conn:setoption("linger", 0)
    grun.sleep(0.02)
    conn:close()
    while server:stats().active > 0 do
      grun.sleep(0.01)
    end
    assert.matches("^tcp://127.0.0.1:%d+$", peer)
    assert.matches("^127.0.0.1 ", line)
  end)

  test("survives handlers that close the connection, or go on when the response is over", function()
    local late, body
    local port = serve(function(req, res)
      if req.path == "/close" then
        req.conn:close()
        return "x"
      end
      grun.spawn(function()
        body = { pcall(req.body, req) }
        grun.sleep(0.05)
        late = { pcall(res.write, res, "late") }
      end)
      grun.yield()
      return "now"
    end)
    assert.equal("", (http.raw(port, get("/close"))))
    local conn = connect(port)
    conn:write(get("/"))
    assert.equal("now", response(conn).body)
    grun.sleep(0.2)
    assert.is_true(body[1])
    assert.is_false(late[1])
    conn:settimeout(0.05)
    assert.equal("timeout", select(3, conn:read(1)))
    conn:close()
  end)
end)

describe("an access log on stdout", function()
  -- A server in a process of its own; returns it and its port.
  local function start(stdout)
    local name = helper.script([[
      local grun = require("grun")
      io.stderr:setvbuf("no")
      io.stderr:write(grun.server("http://127.0.0.1:0", function() return "ok" end,
        { access_log = true }):address(), "\n")]])
    local process = assert(grun.process.spawn({ "sh", "-c", "exec \"$@\"" .. stdout, "sh", helper.grun, name,
      stdout = "pipe", stderr = "pipe" }))
    finally(function()
      process:kill("TERM")
      process:wait()
      process.stdout:close()
      process.stderr:close()
    end)
    return process, tonumber(process.stderr:read("l"):match("%d+$"))
  end

  it("has each line at once", function()
    local process, port = start("")
    process.stdout:settimeout(5)
    for i = 1, 2 do
      http.request(port, "GET", "/" .. i)
      assert.matches('"GET /' .. i .. ' HTTP/1.1" 200 2 ', process.stdout:read("l"))
    end
  end)

  it("holds up nobody when it is not read, and tells how much was lost", function()
    local process, port = start("")
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    local path, n = "/" .. ("x"):rep(4000), 600
    for _ = 1, n do
      conn:settimeout(5)
      conn:write(get(path))
      assert.equal("ok", response(conn).body)
    end
    conn:close()
    local lines, dropped = 0, nil
    process.stderr:settimeout(5)
    while not dropped do
      if process.stdout:read("l") then
        lines = lines + 1
      end
      process.stderr:settimeout(0.001)
      dropped = tonumber((process.stderr:read("l") or ""):match("(%d+) lines were dropped"))
    end
    assert.is_true(dropped > 100)
    process.stdout:settimeout(0.2)
    while process.stdout:read("l") do
      lines = lines + 1
    end
    assert.equal(n, lines + dropped)
  end)

  it("may be closed", function()
    local _, port = start(" >&-")
    for _ = 1, 3 do
      assert.equal("ok", http.request(port, "GET", "/").body)
    end
  end)
end)
