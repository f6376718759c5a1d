-- SPDX-License-Identifier: MIT
-- What HTTP servers refuse: one answer, the connection ends, no handler sees what follows. The parser alone, at every
-- split point, is tested in spec/c.

local grun = require("grun")
local http = require("spec.http_helper")

local GET, POST, HOST = "GET / HTTP/1.1\r\n", "POST / HTTP/1.1\r\nHost: a\r\n", "Host: a\r\n"
local CHUNKED = POST .. "Transfer-Encoding: chunked\r\n\r\n"
local SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"

local function line(bytes) -- a request whose first line has so many with its end
  return "GET /" .. ("a"):rep(bytes - 16) .. " HTTP/1.1\r\n" .. HOST .. "\r\n"
end

local function fields(n)
  return GET .. HOST .. ("A: b\r\n"):rep(n - 1) .. "\r\n"
end

local function block(bytes) -- of fields with the empty line
  return GET .. HOST .. "A: " .. ("b"):rep(bytes - #HOST - 7) .. "\r\n\r\n"
end

-- What comes -> the status.
local refused = {
  [400] = {
    -- whose end is the end?
    POST .. "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST .. "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
    POST .. "Transfer-Encoding: xchunked\r\n\r\n", POST .. "Transfer-Encoding: chunked, chunked\r\n\r\n",
    POST .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    POST .. "Transfer-Encoding: identity\r\n\r\n", POST .. "Transfer-Encoding: gzip, chunked\r\n\r\n",
    POST .. "Transfer-Encoding: chunked;q=1\r\n\r\n", POST .. "Transfer-Encoding: \vchunked\r\n\r\n",
    POST .. "Transfer-Encoding: chunked,\r\n\r\n", POST .. "Transfer-Encoding:\r\n\r\n",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    POST .. "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", POST .. "Content-Length: 1, 1\r\n\r\nx",
    POST .. "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx", POST .. "Content-Length: +1\r\n\r\nx",
    POST .. "Content-Length: -1\r\n\r\n", POST .. "Content-Length: 0x1\r\n\r\nx",
    POST .. "Content-Length:  5 6\r\n\r\nx", POST .. "Content-Length: 1_0\r\n\r\nx",
    POST .. "Content-Length:\r\n\r\n", POST .. "Content-Length: 9223372036854775808\r\n\r\n",
    -- lines and fields
    POST .. "A: b\r\n c\r\n\r\n", GET .. " Host: a\r\n\r\n", "GET / HTTP/1.1\n" .. HOST .. "\r\n",
    GET .. HOST .. "\n",
    GET .. HOST .. "A: b\nB: c\r\n\r\n", GET .. HOST .. "A: b\rc\r\n\r\n", "GET /\r HTTP/1.1\r\n" .. HOST .. "\r\n",
    GET .. HOST .. "A: b\0c\r\n\r\n", GET .. HOST .. "A: b\1c\r\n\r\n", GET .. HOST .. "A: b\127c\r\n\r\n",
    GET .. "Host : a\r\n\r\n", GET .. HOST .. ": b\r\n\r\n", GET .. HOST .. "A\r\n\r\n",
    GET .. HOST .. "a(b: c\r\n\r\n",
    "\r\n\r\n" .. GET .. HOST .. "\r\n", "\n" .. GET .. HOST .. "\r\n",
    -- whom is it for?
    GET .. "\r\n", GET .. HOST .. HOST .. "\r\n", GET .. "Host: a b\r\n\r\n", GET .. "Host: u@a\r\n\r\n",
    GET .. "Host: a/b\r\n\r\n", GET .. "Host: a:99999\r\n\r\n", GET .. "Host: a, b\r\n\r\n",
    "GET http://u@b/ HTTP/1.1\r\n" .. HOST .. "\r\n", "GET ftp://b/ HTTP/1.1\r\n" .. HOST .. "\r\n",
    "GET a:80 HTTP/1.1\r\n" .. HOST .. "\r\n", "GET * HTTP/1.1\r\n" .. HOST .. "\r\n",
    "CONNECT / HTTP/1.1\r\n" .. HOST .. "\r\n", "GET /#a HTTP/1.1\r\n" .. HOST .. "\r\n",
    -- another protocol
    "GET /\r\n", "GET / http/1.1\r\n" .. HOST .. "\r\n", "GET / HTTP/1.10\r\n" .. HOST .. "\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\22\3\1\2\0\1\0\1\252\3\3", "\128\46\1\3\1",
    -- bodies, which the handler reads
    CHUNKED .. "0x1\r\nx\r\n0\r\n\r\n", CHUNKED .. "+1\r\nx\r\n0\r\n\r\n", CHUNKED .. " 1\r\nx\r\n0\r\n\r\n",
    CHUNKED .. "1 \r\nx\r\n0\r\n\r\n", CHUNKED .. "0_1\r\nx\r\n0\r\n\r\n", CHUNKED .. "1\nx\r\n0\r\n\r\n",
    CHUNKED .. "1\r\nx\n0\r\n\r\n", CHUNKED .. "1\r\nxy\r\n0\r\n\r\n", CHUNKED .. "\r\nx\r\n0\r\n\r\n",
    CHUNKED .. "fffffffffffffffff\r\nx\r\n", CHUNKED .. "1;a\nb\r\nx\r\n0\r\n\r\n",
    CHUNKED .. "1;a" .. ("b"):rep(256) .. "\r\nx\r\n0\r\n\r\n",
    CHUNKED .. ("1;" .. ("b"):rep(250) .. "\r\nx\r\n"):rep(70) .. "0\r\n\r\n",
    CHUNKED .. "0\r\nA: b\r\n c\r\n\r\n", CHUNKED .. "0\r\n\n", CHUNKED .. "0\r\n" .. ("A: b\r\n"):rep(101) .. "\r\n",
    CHUNKED .. "0\r\nA: " .. ("b"):rep(17000) .. "\r\n\r\n",
  },
  [413] = { POST .. "Content-Length: 1048577\r\n\r\n",
    POST .. "Content-Length: 4294967297\r\n\r\nx" }, -- not 1 byte
  [414] = { line(8193), "GET /" .. ("a"):rep(9000), ("A"):rep(9000) },
  [417] = { POST .. "Expect: 200-ok\r\nContent-Length: 1\r\n\r\nx" },
  [431] = { fields(101), block(16385), GET .. HOST .. "A: " .. ("b"):rep(17000) },
  [501] = { ("A"):rep(33) .. " / HTTP/1.1\r\n" .. HOST .. "\r\n", "TRACE / HTTP/1.1\r\n" .. HOST .. "\r\n",
    "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n" },
  [505] = { "GET / HTTP/2.0\r\n" .. HOST .. "\r\n" },
}

-- Close to the limits, or odd and yet right: what comes -> the answer's body.
local taken = {
  [line(8192)] = "GET", [fields(100)] = "GET", [block(16384)] = "GET",
  [CHUNKED .. "1;" .. ("b"):rep(255) .. "\r\nx\r\n0\r\nContent-Length: 9\r\n\r\n"] = "POSTx",
  [POST .. "Transfer-Encoding: CHUNKED\r\n\r\n0001\r\nx\r\n0\r\n\r\n"] = "POSTx",
  [POST .. "Content-Length: 1\r\n\r\nx"] = "POSTx", [POST .. "Content-Length: 01 \r\n\r\nx"] = "POSTx",
  [GET .. HOST .. "Content-Length: 1\r\n\r\nx"] = "GETx", ["\r\n" .. GET .. HOST .. "\r\n"] = "GET",
  [GET .. "Host: [::1]:80\r\nA: \228\r\n\r\n"] = "GET", ["get / HTTP/1.1\r\n" .. HOST .. "\r\n"] = "get",
  ["GET / HTTP/1.2\r\n" .. HOST .. "\r\n"] = "GET", ["OPTIONS * HTTP/1.1\r\n" .. HOST .. "\r\n"] = "OPTIONS",
  ["GET http://b/x HTTP/1.1\r\n" .. HOST .. "\r\n"] = "GET",
}

describe("what comes to an HTTP server", function()
  local test, serve = http.test(it, function(fn) finally(fn) end)

  local smuggled

  local function app(req)
    smuggled = smuggled or req.path == "/smuggled"
    local body, message, code = req:body()
    if body then
      return req.method .. body
    end
    return nil, message, code
  end

  test("is refused when it can be understood in two ways or is too long, once", function()
    smuggled = false
    local port, server = serve(app)
    for status, list in pairs(refused) do
      for _, bytes in ipairs(list) do
        local text, code = http.raw(port, bytes .. SMUGGLED)
        assert.equal(status, tonumber(text:match("^HTTP/1.1 (%d+) ")), bytes:sub(1, 200))
        assert.matches("\r\nConnection: close\r\n", text)
        assert.equal(1, select(2, text:gsub("HTTP/1.1 ", "")), bytes:sub(1, 200))
        assert.equal("closed", code)
      end
    end
    assert.is_false(smuggled)
    assert.equal(0, server:stats().errors)
  end)

  test("is taken when it is right, and so is what follows", function()
    local port = serve(app)
    for bytes, body in pairs(taken) do
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write(bytes, SMUGGLED)
      assert.equal(body, http.response(conn).body, bytes:sub(1, 200))
      assert.equal("GET", http.response(conn).body)
      conn:close()
    end
  end)

  test("is answered when no more comes", function()
    local port = serve(app)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write(GET, HOST, "\r\n", GET) -- and then half a request
    conn:shutdown("w")
    assert.equal("GET", http.response(conn).body)
    assert.is_nil(http.response(conn))
    conn:close()
  end)

  test("is not asked for once the answer was begun", function()
    local seen
    local port = serve(function(req, res)
      res:write("a")
      seen = req:body()
      res:finish("b")
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write(POST, "Content-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
    local res = http.response(conn)
    assert.equal("ab", res.body)
    assert.equal("close", res.headers.connection)
    assert.equal("body", seen)
    conn:close()
  end)

  test("ends the connection when nobody read it, and the answer says so", function()
    local port = serve(function() return "ok" end)
    for head, connection in pairs({
      ["Content-Length: 5\r\nExpect: 100-continue\r\n"] = "close", ["Content-Length: 65537\r\n"] = "close",
      ["Content-Length: 65536\r\n"] = false, ["Content-Length: 5\r\n"] = false,
    }) do
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write(POST, head, "\r\n")
      assert.equal(connection or nil, http.response(conn).headers.connection)
      conn:close()
    end
  end)

  test("is never a request when it is a body that nobody reads", function()
    local paths = {}
    local port = serve(function(req)
      paths[#paths + 1] = req.path
      return "ok"
    end)
    local chunked = ("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n"):format(#SMUGGLED, SMUGGLED)
    local length = ("Content-Length: %d\r\n\r\n%s"):format(#SMUGGLED, SMUGGLED)
    for _, body in ipairs({ length, chunked }) do
      for _, expect in ipairs({ "", "Expect: 100-continue\r\n" }) do
        paths = {}
        local text = http.raw(port, POST .. expect .. body .. "GET /next HTTP/1.1\r\nConnection: close\r\n" .. HOST ..
          "\r\n")
        local last = expect == "" and "/next" or nil -- else the connection ends
        assert.same({ "/", last }, paths)
        assert.equal(#paths, select(2, text:gsub("HTTP/1.1 200 ", "")))
      end
    end
  end)

  test("has trailers that are nobody's header fields", function()
    local port = serve(function(req)
      local before = next(req.headers) and req:header("x-a")
      local body = req:body()
      return table.concat({ body, tostring(before), tostring(req:header("x-a")), tostring(req.headers["x-a"]), req.host,
        tostring(req:cookies().c) }, " ")
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write(CHUNKED, "1\r\nx\r\n0\r\nX-A: 1\r\nHost: b\r\nCookie: c=d\r\n\r\n", GET, HOST, "\r\n")
    assert.equal("x nil nil nil a nil", http.response(conn).body)
    assert.equal(" nil nil nil a nil", http.response(conn).body)
    conn:close()
  end)

  test("is handled once, however it ends", function()
    local calls, port, server
    for bytes, status in pairs({
      [GET .. HOST .. "\r\n\r\n"] = 200, [GET .. HOST .. "\r\n\r\nGE"] = 200, [GET .. "\r\n\r\n"] = 400,
      [POST .. "Content-Length: 5\r\n\r\nab"] = 400, [CHUNKED .. "5\r\nab"] = 400, [CHUNKED .. "5\r\nabcde"] = 400,
      [CHUNKED .. "5\r\nabcde\r\n0\r\n"] = 400,
    }) do
      for _, how in ipairs({ "shutdown", "close" }) do
        calls = 0
        port, server = serve(function(req)
          calls = calls + 1
          return app(req)
        end)
        local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
        conn:write(bytes)
        if how == "close" then
          conn:close()
        else
          conn:shutdown("w")
          assert.equal(status, http.response(conn).status, bytes)
          assert.equal("", conn:read("a"))
          conn:close()
        end
        local limit = grun.now() + 5
        while (server:stats().active > 0 or server:stats().accepted == 0) and grun.now() < limit do
          grun.sleep(0.001)
        end
        assert.equal(0, server:stats().active)
        assert.equal(0, server:stats().errors)
        assert.equal(bytes:find("Host") and 1 or 0, calls, bytes)
      end
    end
  end)

  test("is handled in turn when several requests come at once", function()
    local running, most = 0, 0
    local port = serve(function(req)
      running = running + 1
      most = math.max(most, running)
      grun.sleep(0.002)
      running = running - 1
      return req.path
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    for i = 1, 20 do
      conn:write("GET /", i, " HTTP/1.1\r\n", HOST, "\r\n")
    end
    for i = 1, 20 do
      assert.equal("/" .. i, http.response(conn).body)
    end
    assert.equal(1, most)
    conn:close()
  end)

  -- Nobody else runs for so long, so that a time is up before anybody could look at what came in time.
  local function hold_up(seconds)
    local limit = grun.now() + seconds
    repeat until grun.now() > limit
  end

  test("in time is taken, though it is seen too late", function()
    local port, server = serve(app, { idle_timeout = 0.2, header_timeout = 0.2, body_timeout = 0.2 })
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    for _, parts in ipairs({
      { GET .. HOST .. "\r\n" }, { GET, HOST .. "\r\n" }, { CHUNKED .. "1", "\r\nx\r\n0\r\n\r\n" },
    }) do
      for _, part in ipairs(parts) do
        grun.sleep(0.05) -- they are waited for
        conn:write(part)
        hold_up(0.3)
      end
      assert.equal(200, http.response(conn).status, parts[1])
    end
    conn:write(GET, HOST, "\r\n")
    assert.is_true(server:stop(5)) -- which closes the connections that are silent
    local res = http.response(conn)
    assert.same({ 200, "close" }, { res.status, res.headers.connection })
    conn:close()
  end)

  test("is limited by default", function()
    local httpd = require("grun.core.httpd")
    local config, seen = httpd.config, nil
    function httpd.config(options) -- luacheck: ignore 122
      seen = options
      return config(options)
    end
    local ok, problem = pcall(serve, app)
    httpd.config = config -- luacheck: ignore 122
    assert(ok, problem)
    assert.same({
      https = false, arguments = 1, header_timeout = 10, idle_timeout = 60, body_timeout = 30,
      write_timeout = 30, max_line = 8192, max_header = 16384, max_headers = 100, max_body = 1048576,
      max_requests = 0, min_rate = 240, trust_proxy = 0,
    }, seen)
  end)

  test("comes back whole whatever its size", function()
    local port = serve(function(req)
      local body = req:body(1e8)
      if req.path == "/pieces" then
        return { body:sub(1, 1), body:sub(2) }
      elseif req.path == "/chunks" then
        return function()
          local piece = body
          body = nil
          return piece
        end
      end
      return body
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    local buffer = conn:getoption("sndbuf")
    local data = ("0123456789abcdef!"):rep(math.ceil(buffer / 17) + 1)
    for _, size in ipairs({ 0, 1, 65535, 65536, 65537, buffer - 1, buffer, buffer + 1 }) do
      local body = data:sub(1, size)
      local chunked = size > 0 and ("%x\r\n%s\r\n0\r\n\r\n"):format(size, body) or "0\r\n\r\n"
      for _, path in ipairs({ "/", "/pieces", "/chunks" }) do
        local framed = { ["Content-Length: " .. size] = body, ["Transfer-Encoding: chunked"] = chunked }
        for framing, bytes in pairs(framed) do
          local sender = grun.spawn(conn.write, conn, "POST ", path, " HTTP/1.1\r\n", HOST, framing, "\r\n\r\n", bytes)
          assert.is_true(http.response(conn).body == body, ("%d bytes, %s, %s"):format(size, path, framing))
          assert.is_true(sender:get())
        end
        local res = assert(grun.http.post("http://127.0.0.1:" .. port .. path, { body = body, keep_alive = false }))
        assert.is_true(res.body == body)
      end
    end
    conn:close()
  end)

  test("can be the first of thousands", function()
    local port = serve(app)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    for _ = 1, 10000 do
      conn:write(GET, HOST, "\r\n")
      assert(http.response(conn).body == "GET")
    end
    conn:close()
  end)
end)
