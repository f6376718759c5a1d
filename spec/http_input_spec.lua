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
  [413] = { POST .. "Content-Length: 1048577\r\n\r\n" },
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
      ["Content-Length: 5\r\n"] = false,
    }) do
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write(POST, head, "\r\n")
      assert.equal(connection or nil, http.response(conn).headers.connection)
      conn:close()
    end
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
