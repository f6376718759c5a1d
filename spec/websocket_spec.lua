-- SPDX-License-Identifier: MIT
-- WebSockets: the server against our client, against raw frames and against foreign peers.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")
local net = require("spec.net_helper")
local tls = require("spec.tls_helper")
local cases_of = require("spec.websocket_cases")
local websocket = require("spec.websocket_helper")

local test = net.test(it, function(fn) finally(fn) end)
local KEY, masked, request = websocket.KEY, websocket.masked, websocket.request
local frame, text, close = websocket.frame, websocket.text, websocket.close
local read_frame, code_of = websocket.read_frame, websocket.code_of
local raw, serve, echo, pair = websocket.raw, websocket.serve, websocket.echo, websocket.pair
local url, dial, eventually = websocket.url, websocket.dial, websocket.eventually

describe("the handshake of a server", function()
  test("answers as RFC 6455 says", function(keep)
    local conn, res = raw(keep, (echo(keep)))
    assert.equal("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", res.headers["sec-websocket-accept"])
    assert.equal("websocket", res.headers.upgrade)
    assert.equal("Upgrade", res.headers.connection)
    assert.is_nil(res.headers["sec-websocket-protocol"])
    conn:write(text("x"))
    assert.same({ 1, "x" }, { read_frame(conn) })
  end)

  test("takes frames that came with the request", function(keep)
    local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. (echo(keep)))))
    conn:write(request() .. text("early"))
    assert.equal(101, http.response(conn).status)
    assert.same({ 1, "early" }, { read_frame(conn) })
  end)

  test("chooses the server's favourite among the client's subprotocols", function(keep)
    local port = echo(keep, { protocols = { "v2", "v1" } })
    local _, res = raw(keep, port, { ["Sec-WebSocket-Protocol"] = "v0, v1,v2" })
    assert.equal("v2", res.headers["sec-websocket-protocol"])
    _, res = raw(keep, port, { ["Sec-WebSocket-Protocol"] = "v0" })
    assert.is_nil(res.headers["sec-websocket-protocol"])
    _, res = raw(keep, port, { ["Sec-WebSocket-Protocol"] = "v1 v2,\tv1\t," })
    assert.equal("v1", res.headers["sec-websocket-protocol"])
  end)

  -- Fields of a request for a WebSocket, each in its usual form; false leaves one out.
  local function ask(changes)
    local fields = { { "Host", "x" }, { "Connection", "Upgrade" }, { "Upgrade", "websocket" },
      { "Sec-WebSocket-Version", "13" }, { "Sec-WebSocket-Key", KEY } }
    local lines = { (changes[1] or "GET / HTTP/1.1") .. "\r\n" }
    for _, field in ipairs(fields) do
      local value = changes[field[1]]
      if value ~= false then
        lines[#lines + 1] = field[1] .. ": " .. (value or field[2]) .. "\r\n"
      end
    end
    return table.concat(lines) .. (changes.more or "")
  end

  local accepted = {
    { "lower case", { Connection = "upgrade" } },
    { "upper case", { Connection = "UPGRADE", Upgrade = "WEBSOCKET" } },
    { "a browser's spelling", { Connection = "keep-alive, Upgrade", Upgrade = "WebSocket" } },
    { "several options", { Connection = "x,,upgrade ,y" } },
    { "several Connection fields", { Connection = "keep-alive", more = "connection: Upgrade\r\n" } },
    { "an empty list of extensions", { more = "Sec-WebSocket-Extensions:\r\n" } },
    { "another protocol besides", { Upgrade = "h2c, websocket" } },
    { "blanks around values", { ["Sec-WebSocket-Version"] = "  13\t", ["Sec-WebSocket-Key"] = " " .. KEY .. " " } },
    { "extensions that nobody knows", { more = "Sec-WebSocket-Extensions: x-a; b=\"c-d\"; e = f , y\r\n" } },
    { "HTTP/1.2", { "GET / HTTP/1.2" } },
  }
  for _, case in ipairs(accepted) do
    test("takes " .. case[1], function(keep)
      local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. echo(keep))))
      conn:write(ask(case[2]) .. "\r\n" .. text("x"))
      local res = http.response(conn)
      assert.equal(101, res.status)
      assert.is_nil(res.headers["sec-websocket-extensions"])
      assert.same({ 1, "x" }, { read_frame(conn) })
    end)
  end

  local refused = {
    { "no upgrade", "GET / HTTP/1.1\r\nHost: x\r\n", 426 },
    { "an upgrade to something else",
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n", 426 },
    { "no Connection", ask({ Connection = false }), 426 },
    { "another connection option", ask({ Connection = "keep-alive, upgrades" }), 426 },
    { "no Upgrade", ask({ Upgrade = false }), 426 },
    { "something like websocket", ask({ Upgrade = "websocket2" }), 426 },
    { "version 8", ask({ ["Sec-WebSocket-Version"] = "8" }), 426 },
    { "no version", ask({ ["Sec-WebSocket-Version"] = false }), 426 },
    { "several versions", ask({ ["Sec-WebSocket-Version"] = "8, 13" }), 426 },
    { "version 013", ask({ ["Sec-WebSocket-Version"] = "013" }), 426 },
    { "two versions", ask({ more = "Sec-WebSocket-Version: 8\r\n" }), 400 },
    { "no key", ask({ ["Sec-WebSocket-Key"] = false }), 400 },
    { "a short key", ask({ ["Sec-WebSocket-Key"] = "abc" }), 400 },
    { "a key of 15 bytes", ask({ ["Sec-WebSocket-Key"] = "c2FtcGxlIG5vbmNlIGJ5" }), 400 },
    { "a key of 17 bytes", ask({ ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZSE=" }), 400 },
    { "a key that is no base64", ask({ ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZ$==" }), 400 },
    { "a key with superfluous bits", ask({ ["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZR==" }), 400 },
    { "two keys", ask({ more = "Sec-WebSocket-Key: " .. KEY .. "\r\n" }), 400 },
    { "a malformed list of extensions", ask({ more = "Sec-WebSocket-Extensions: a; =\r\n" }), 400 },
    { "another method", ask({ "PUT / HTTP/1.1" }), 400 },
    { "a body", ask({ more = "Content-Length: 1\r\n" }), 400, "x" },
  }
  for _, case in ipairs(refused) do
    test(("answers %s with %d"):format(case[1], case[3]), function(keep)
      local results
      local port = serve(keep, function(req)
        results = { req:websocket() }
      end)
      local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. port)))
      conn:write(case[2] .. "\r\n" .. (case[4] or ""))
      local res = http.response(conn)
      assert.equal(case[3], res.status)
      assert.equal(case[3] == 426 and "13" or nil, res.headers["sec-websocket-version"])
      eventually(function() return results end)
      assert.is_nil(results[1])
      assert.equal("protocol", results[3])
      conn:write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
      assert.equal(426, http.response(conn).status, "the connection goes on")
    end)
  end

  test("refuses HTTP/1.0", function(keep)
    local port = echo(keep)
    local answer = http.raw(port, ask({ "GET / HTTP/1.0" }) .. "\r\n")
    assert.matches("^HTTP/1.1 426 ", answer)
  end)

  local origins = {
    { nil, nil, 101 },
    { nil, "http://there.test", 101 },
    { nil, "http://There.Test:80", 101 },
    { nil, "https://there.test:443", 101 },
    { nil, "http://there.test:8080", 403 },
    { nil, "http://evil.test", 403 },
    { nil, "http://there.test.evil.test", 403 },
    { nil, "http://there.test@evil.test", 403 },
    { nil, "http://there.test/", 403 },
    { nil, "", 403 },
    { nil, "http://evil.test/there.test", 403 },
    { nil, "null", 403 },
    { nil, "file://", 403 },
    { { "https://a.test", "https://b.test" }, "https://b.test", 101 },
    { { "https://a.test" }, "https://there.test", 403 },
    { { "https://a.test" }, "https://a.test:81", 403 },
    { { "*" }, "null", 101 },
    { {}, "http://there.test", 403 },
    { function(origin, req) return origin == "x:" .. req.path end, "x:/chat", 101 },
    { function() return false end, "http://there.test", 403 },
  }
  for i, case in ipairs(origins) do
    test(("case %d of origins: %s gets %d"):format(i, tostring(case[2]), case[3]), function(keep)
      local port = serve(keep, function(req)
        req:websocket({ origins = case[1] })
      end)
      local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. port)))
      conn:write(request({ Origin = case[2] }))
      assert.equal(case[3], http.response(conn).status)
    end)
  end

  test("raises for bad options", function(keep)
    local cases = {
      { 5, "websocket: options must be a table, got number" },
      { { max_mesage = 1 }, "websocket: unknown option 'max_mesage'" },
      { { max_message = "1" }, "websocket: option 'max_message': number expected, got string" },
      { { ping_interval = 0 }, "websocket: option 'ping_interval' must be greater than 0" },
      { { protocols = "x" }, "websocket: option 'protocols': table expected, got string" },
      { { protocols = { "a b" } }, "websocket: option 'protocols': a b is no name of a protocol" },
      { { origins = "x" }, "websocket: option 'origins': table or function expected, got string" },
      { { origins = { 1 } }, "websocket: option 'origins': a number is no origin" },
    }
    local got = {}
    local port = serve(keep, function(req)
      for i, case in ipairs(cases) do
        local _, err = pcall(function() local _ = req:websocket(case[1]) end)
        got[i] = err
      end
    end)
    http.request(port, "GET", "/")
    for i, case in ipairs(cases) do
      assert.equal(case[2], (got[i]:gsub("^[^:]*websocket_spec.lua:%d+: ", "")))
      assert.matches("websocket_spec.lua:%d+: ", got[i])
    end
  end)

  test("raises when the request was answered", function(keep)
    local ok, err
    local port = serve(keep, function(req, res)
      res:finish("x")
      ok, err = pcall(req.websocket, req)
    end)
    http.request(port, "GET", "/")
    assert.is_false(ok)
    assert.matches("the request has been answered", err)
  end)
end)

-- ---- What peers may send ----

local cases = cases_of(true)

-- Sends the bytes in those pieces and compares what comes back with the case.
local function try(keep, port, case, pieces)
  local conn = raw(keep, port)
  websocket.write_pieces(conn, pieces)
  for _, expected in ipairs(case[3]) do
    local opcode, payload = read_frame(conn)
    assert.equal(expected[1], opcode)
    assert.is_true(net.same(expected[2], payload))
  end
  if case[4] or case[1]:find("without code") then
    local opcode, payload = read_frame(conn)
    assert.equal(8, opcode)
    assert.equal(case[4], code_of(payload))
    conn:shutdown("w")
    assert.is_nil(conn:read(1))
  else
    conn:write(close(1000))
    assert.same({ 8, "\3\232" }, { read_frame(conn) })
    assert.is_nil(conn:read(1))
  end
  conn:close()
end

describe("a server answers", function()
  for _, case in ipairs(cases) do
    test(case[1] .. (case[4] and " with " .. case[4] or ""), function(keep)
      local port, ends = echo(keep, { max_message = 100000, close_timeout = 5 })
      try(keep, port, case, { case[2] })
      eventually(function() return #ends == 1 end)
      local valid = case[1] == "close code " .. tostring(case[4])
      assert.equal(not valid and websocket.BLAME[case[4]] or "closed", ends[1][2])
    end)
  end

  test("short ones the same when they come byte by byte", function(keep)
    local port = echo(keep, { max_message = 100000, close_timeout = 5 })
    for _, case in ipairs(cases) do
      if #case[2] < 50 then
        try(keep, port, case, websocket.bytes_of(case[2]))
      end
    end
  end)

  test("a long one the same when it is split anywhere", function(keep)
    local bytes = text(("ü"):rep(100), { fin = false }) .. frame(9, "p") .. frame(0, "end")
    local port = echo(keep)
    for i = 1, #bytes - 1 do
      try(keep, port, { "", bytes, { { 10, "p" }, { 1, ("ü"):rep(100) .. "end" } } },
        { bytes:sub(1, i), bytes:sub(i + 1) })
    end
  end)
end)

describe("a client answers", function()
  for _, case in ipairs(cases_of(false)) do
    test(case[1] .. (case[4] and " with " .. case[4] or ""), function(keep)
      local answers = {}
      local port = websocket.raw_server(keep, function(conn)
        conn:write(case[2])
        for i = 1, #case[3] do
          answers[i] = { read_frame(conn, true) }
        end
        if not (case[4] or case[1]:find("without code")) then
          conn:write(websocket.frame(8, "\3\232", { mask = false }))
        end
        answers.last = { read_frame(conn, true) }
        conn:shutdown("w")
        answers.rest = conn:read("a")
      end)
      local ws = dial(keep, port, { max_message = 100000, close_timeout = 5 })
      for message, kind in ws do
        ws:send(message, kind)
      end
      eventually(function() return answers.rest end)
      for i, expected in ipairs(case[3]) do
        assert.equal(expected[1], answers[i][1])
        assert.is_true(net.same(expected[2], answers[i][2]))
      end
      assert.equal(8, answers.last[1])
      assert.equal("", answers.rest)
      local code = case[4] or not case[1]:find("without code") and 1000 or nil
      assert.equal(code, code_of(answers.last[2]))
      assert.equal(code or 1005, ws.close_code)
    end)
  end
end)

describe("a client refuses", function()
  -- A server that answers the request with `answer(key)` and then sends bytes.
  local function fake(keep, answer, bytes)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local seen = {}
    helper.spawn(function()
      local conn = keep(assert(listener:accept()))
      local key
      for line in conn:lines() do
        line = line:gsub("\r", "")
        seen[#seen + 1] = line
        key = key or line:match("^Sec%-WebSocket%-Key: (.*)$")
        if line == "" then
          break
        end
      end
      conn:write(answer(key), bytes or "")
      conn:settimeout(5)
      seen.rest = conn:read("a")
      conn:close()
    end)
    return tonumber(listener:address():match("%d+$")), seen
  end

  local function accept_of(key)
    local out = helper.tmpname()
    os.execute(("printf %%s %s258EAFA5-E914-47DA-95CA-C5AB0DC85B11 | openssl sha1 -binary | " ..
      "openssl base64 >%s"):format(key, out))
    return (helper.contents(out):gsub("\n", ""))
  end

  local function good(more)
    return function(key)
      return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" ..
        "Sec-WebSocket-Accept: " .. accept_of(key) .. "\r\n" .. (more or "") .. "\r\n"
    end
  end

  local answers = {
    { "another status", function() return "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n" end,
      "the server answered 403", 403 },
    { "success without an upgrade", function()
      return "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    end, "the server answered 200", 200 },
    { "a redirect", function()
      return "HTTP/1.1 301 X\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    end, "the server answered 301", 301 },
    { "a demand for credentials", function()
      return "HTTP/1.1 401 X\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n"
    end, "the server answered 401", 401 },
    { "another version", function()
      return "HTTP/1.1 426 X\r\nSec-WebSocket-Version: 8\r\nConnection: close\r\n\r\nbody"
    end, "the server answered 426", 426 },
    { "no accepted key", function()
      return "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
    end, "the server's handshake is wrong" },
    { "an accepted key in another case", function(key)
      return (good()(key):gsub("(Accept: )(%S+)", function(name, value)
        return name .. (value:lower() ~= value and value:lower() or value:upper())
      end))
    end, "the server's handshake is wrong" },
    { "two accepted keys", function(key)
      return good("Sec-WebSocket-Accept: " .. accept_of(key) .. "\r\n")(key)
    end, "the server's handshake is wrong" },
    { "an upgrade to something else", function(key)
      return (good()(key):gsub("Upgrade: websocket", "Upgrade: h2c"))
    end, "the server's handshake is wrong" },
    { "an upgrade that Connection does not name", function(key)
      return (good()(key):gsub("Connection: Upgrade", "Connection: keep-alive"))
    end, "the server's handshake is wrong" },
    { "HTTP/1.0", function(key)
      return (good()(key):gsub("HTTP/1.1", "HTTP/1.0"))
    end, "the server's handshake is wrong" },
    { "a subprotocol in another case", good("Sec-WebSocket-Protocol: A\r\n"),
      "the server uses a protocol that was not asked for" },
    { "two subprotocols", good("Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n"),
      "the server uses a protocol that was not asked for" },
    { "a wrong key", function() return (good()("x")) end, "the server's handshake is wrong" },
    { "no upgrade", function(key)
      return "HTTP/1.1 101 X\r\nSec-WebSocket-Accept: " .. accept_of(key) .. "\r\n\r\n"
    end, "the server's handshake is wrong" },
    { "an extension", good("Sec-WebSocket-Extensions: permessage-deflate\r\n"),
      "the server uses an extension that was not asked for" },
    { "a strange subprotocol", good("Sec-WebSocket-Protocol: z\r\n"),
      "the server uses a protocol that was not asked for" },
    { "what is not HTTP", function() return "\1\2\3" end, "not HTTP" },
  }
  for _, case in ipairs(answers) do
    test(case[1], function(keep)
      local port = fake(keep, case[2])
      local ws, message, code, status = grun.http.websocket(url(port), { protocols = { "a" } })
      assert.same({ nil, case[3], "protocol", case[4] }, { ws, message, code, status })
    end)
  end

  test("responses without end before the one that counts", function(keep)
    local port = fake(keep, function(key)
      return ("HTTP/1.1 103 Early Hints\r\n\r\n"):rep(8) .. good()(key)
    end)
    local ws, _, code = grun.http.websocket(url(port))
    assert.same({ nil, "protocol" }, { ws, code })
  end)

  test("a head without end", function(keep)
    local port = fake(keep, function()
      return "HTTP/1.1 101 X\r\n" .. ("X: " .. ("y"):rep(1000) .. "\r\n"):rep(100)
    end)
    local ws, message, code = grun.http.websocket(url(port))
    assert.same({ nil, "protocol" }, { ws, code })
    assert.is_string(message)
  end)

  test("neither case nor blanks of what the server answers", function(keep)
    local port = fake(keep, function(key)
      return "HTTP/1.1 101\r\nupgrade: \tWebSocket \r\nCONNECTION: x, upgrade\r\nSec-WebSocket-Accept:" ..
        accept_of(key) .. "\r\n\r\n"
    end, frame(8, "", { mask = false }))
    local ws = keep(assert(grun.http.websocket(url(port))))
    assert.same({ nil, "closed", "closed" }, { ws:recv() })
    assert.equal(1005, ws.close_code)
  end)

  test("a connection that ends in the handshake", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    helper.spawn(function() listener:accept():close() end)
    local ws, message = grun.http.websocket("ws" .. listener:address():sub(4))
    assert.is_nil(ws)
    assert.is_string(message)
  end)

  test("to wait longer than its timeout", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = "ws" .. listener:address():sub(4)
    assert.same({ nil, "timeout", "timeout" },
      { grun.http.websocket(address, { timeout = 0.05 }) })
  end)

  local frames = {
    { "masked frames", frame(1, "a"), 1002 },
    { "reserved bits", frame(1, "a", { mask = false, rsv = 4 }), 1002 },
    { "text that is not UTF-8", frame(1, "\255", { mask = false }), 1007 },
    { "too large a message", frame(2, ("x"):rep(1001), { mask = false }), 1009 },
  }
  for _, case in ipairs(frames) do
    test(case[1], function(keep)
      local port, seen = fake(keep, good(), case[2])
      local ws = keep(assert(grun.http.websocket(url(port), { max_message = 1000 })))
      local message, problem, code = ws:recv()
      assert.is_nil(message)
      assert.equal(case[3] == 1009 and "too_large" or "protocol", code)
      assert.equal(case[3], ws.close_code)
      assert.equal(problem, ws.close_reason)
      eventually(function() return seen.rest end)
      local mask = seen.rest:sub(3, 6)
      assert.equal(0x88, seen.rest:byte(1))
      assert.equal(case[3], code_of(masked(seen.rest:sub(7, 8), mask)))
    end)
  end

  test("nothing that is right, and says what it was told to", function(keep)
    local port, seen = fake(keep, function(key)
      return "HTTP/1.1 103 Early Hints\r\n\r\n" .. good("Sec-WebSocket-Protocol: b\r\n")(key)
    end, frame(1, "hi", { mask = false }))
    local ws = keep(assert(grun.http.websocket(url(port, "/a?b=c#d"), { protocols = { "a", "b" },
      headers = { ["X-Name"] = "value" }, origin = "https://me.test", close_timeout = 0.05 })))
    assert.equal("b", ws.protocol)
    assert.same({ "hi", "text" }, { ws:recv() })
    local head = table.concat(seen, "\n")
    assert.matches("^GET /a%?b=c HTTP/1.1\nHost: 127%.0%.0%.1:" .. port .. "\n", head)
    assert.matches("\nX%-Name: value\n", head)
    assert.matches("\nOrigin: https://me.test\n", head)
    assert.matches("\nSec%-WebSocket%-Protocol: a, b\n", head)
    assert.matches("\nSec%-WebSocket%-Version: 13\n", head)
  end)

  it("bad arguments", function()
    local bad = {
      { 5, nil, "websocket: URL expected, got number" },
      { "http://x", nil, 'websocket: URL beginning with ws:// or wss:// expected, got "http://x"' },
      { "http://u:pw@x", nil, 'websocket: URL beginning with ws:// or wss:// expected, got "http://u:***@x"' },
      { "ws:x", nil, 'websocket: URL beginning with ws:// or wss:// expected, got "ws:x"' },
      { "ws://x", { timeout = "1" }, "websocket: option 'timeout': number expected, got string" },
      { "ws://x", { headers = 1 }, "websocket: option 'headers': table expected, got number" },
      { "ws://x", { headers = { "A: b" } }, "websocket: option 'headers': names expected, got a number" },
      { "ws://x", { headers = { A = {} } }, "websocket: option 'headers': 'A' is a table" },
      { "ws://x", { origin = {} }, "websocket: option 'origin': string expected, got table" },
    }
    for _, case in ipairs(bad) do
      helper.misuse(function() local _ = grun.http.websocket(case[1], case[2]) end, case[3])
    end
    assert.has_error(function() return grun.http.websocket("ws://x", { nonsense = 1 }) end)
  end)

  it("bad URLs", function()
    local bad = {
      { "ws:///x", "no host" }, { "ws://:80/", "no host" }, { "ws://u@h/", "a user has no place in it" },
      { "ws://a b/", "bad host" }, { "ws://[::1/", "bad host" }, { "wss://h:65536", "bad port" },
      { "ws://h:x", "bad port" }, { "ws://h/\r\nX: y", "control character" },
    }
    for _, case in ipairs(bad) do
      local message = ('bad URL "%s": %s'):format(case[1]:gsub("%c", "?"), case[2])
      assert.same({ nil, message, "bad_address" }, { grun.http.websocket(case[1]) })
    end
  end)

  test("to send broken headers", function(keep)
    local port = echo(keep)
    local ws, _, code = grun.http.websocket(url(port), { headers = { X = "a\r\nB: c" } })
    assert.is_nil(ws)
    assert.equal("protocol", code)
  end)
end)

-- ---- Both ends ours ----

describe("a websocket", function()
  test("carries messages of all sizes both ways", function(keep)
    local ws = dial(keep, (echo(keep, { max_message = 10 ^ 8 })), { max_message = 10 ^ 8 })
    for _, n in ipairs({ 0, 1, 125, 126, 4095, 4096, 65535, 65536, 1000003, 20000000 }) do
      local data = net.noise(n)
      local sender = helper.spawn(function() assert(ws:send(data, "binary")) end)
      local back, kind = ws:recv(60)
      assert.is_true(net.same(data, back))
      assert.equal("binary", kind)
      sender:join()
    end
    assert.is_true(ws:send("grüße"))
    assert.same({ "grüße", "text" }, { ws:recv() })
    assert.is_true(ws:close())
  end)

  test("is an iterator that ends with it", function(keep)
    local here, there = pair(keep)
    local got = {}
    local reader = helper.spawn(function()
      for message, kind in there do
        got[#got + 1] = message .. kind
      end
    end)
    here:send("a")
    here:send("b", "binary")
    assert.is_true(here:close())
    reader:join()
    assert.same({ "atext", "bbinary" }, got)
  end)

  test("never mixes messages of several threads", function(keep)
    local here, there = pair(keep)
    websocket.check_order(function(...) return here:send(...) end, function(...) return there:recv(...) end)
  end)

  test("has one receiver at a time", function(keep)
    local here, there = pair(keep)
    local first = net.parked(function() return here:recv() end)
    local message, _, code = here:recv()
    assert.same({ nil, "busy" }, { message, code })
    there:send("x")
    assert.equal("x", (first:get()))
  end)

  test("goes on after a timeout and a cancel of its receiver", function(keep)
    local here, there = pair(keep)
    assert.same({ nil, "timeout", "timeout" }, { here:recv(0) })
    assert.same({ nil, "timeout", "timeout" }, { here:recv(0.01) })
    local t = net.parked(function() return here:recv() end)
    t:cancel()
    t:join()
    there:send("still")
    assert.equal("still", (here:recv()))
    assert.is_nil((grun.timeout(0.01, function() return here:recv() end)))
    there:send("there")
    assert.equal("there", (here:recv()))
  end)

  test("keeps half a message over a timeout", function(keep)
    local port, next_one = websocket.waiting(keep)
    local conn = raw(keep, port)
    local there = next_one()
    local bytes = text("ab", { fin = false }) .. frame(0, "cd")
    for i = 1, #bytes - 1 do
      conn:write(bytes:sub(i, i))
      assert.equal("timeout", select(3, there:recv(0.001)))
    end
    conn:write(bytes:sub(-1))
    assert.equal("abcd", (there:recv()))
  end)

  test("waits with sending while the peer does not read, and ends when that takes too long",
    function(keep)
      local here, there = pair(keep, nil, { write_timeout = 0.2, max_message = 2 ^ 30 })
      local results
      for _ = 1, 100 do
        results = { here:send(("x"):rep(500000), "binary") }
        if not results[1] then
          break
        end
      end
      assert.same({ nil, "timeout", "timeout" }, results)
      assert.is_true(here:closed())
      assert.equal(1006, here.close_code)
      assert.same({ nil, "closed", "closed" }, { here:send("x") })
      assert.same({ nil, "closed", "closed" }, { here:recv() })
      repeat
        results = { there:recv(5) }
      until not results[1]
      assert.same({ nil, "closed", "closed" }, results)
      assert.equal(1006, there.close_code)
    end)

  test("ends when a sender is cancelled in the middle of a message", function(keep)
    local here = pair(keep)
    local t = net.parked(function() return here:send(("x"):rep(50000000), "binary") end)
    t:cancel()
    t:join()
    assert.is_true(here:closed())
    assert.equal(1006, here.close_code)
  end)

  test("stays whole when a sender is cancelled while another one sends", function(keep)
    local here, there = pair(keep, { max_message = 10 ^ 8 })
    local first = net.parked(function() return here:send(("x"):rep(20000000), "binary") end)
    local second = net.parked(function() return here:send("never") end)
    second:cancel()
    second:join()
    assert.equal(20000000, #there:recv(30))
    assert.is_true((first:get()))
    here:send("after")
    assert.equal("after", (there:recv()))
  end)

  test("answers pings and takes pongs while it receives", function(keep)
    local here, there = pair(keep)
    assert.is_true(here:ping("one"))
    assert.is_true(here:ping())
    assert.equal("timeout", select(3, there:recv(0.05)))
    assert.equal("timeout", select(3, here:recv(0.05)))
    here:send("x")
    assert.equal("x", (there:recv()))
  end)

  test("raises for wrong arguments", function(keep)
    local here = pair(keep)
    helper.misuse(function() here:send("\255") end,
      "bad argument #1 to 'send' (text must be UTF-8; other data is \"binary\")")
    helper.misuse(function() here:send("x", "blob") end,
      "bad argument #2 to 'send' (invalid option 'blob')")
    helper.misuse(function() here:ping(("x"):rep(126)) end,
      "bad argument #1 to 'ping' (at most 125 bytes)")
    for _, code in ipairs({ 0, 999, 1005, 1006, 1015, 2999, 5000, 1000.5, 70000 }) do
      helper.misuse(function() here:close(code) end,
        "bad argument #1 to 'close' (no code for a close frame)")
    end
    helper.misuse(function() here:close(1000, ("x"):rep(124)) end,
      "bad argument #2 to 'close' (at most 123 bytes)")
    helper.misuse(function() here:close(1000, "\255") end,
      "bad argument #2 to 'close' (must be UTF-8)")
    helper.misuse(function() here:recv(-1) end,
      "bad argument #1 to 'recv' (timeout must be a number of seconds, 0 or more)")
    helper.misuse(function() here.send("x", "y") end,
      "bad argument #1 to 'send' (websocket expected, got string)")
    assert.is_nil(here.nothing)
    assert.is_nil(here.close_code)
    assert.matches("^websocket client %(fd %d+%)$", tostring(here))
    assert.is_false(here:closed())
  end)

  test("shows a silent peer by pings", function(keep)
    local port, ends = echo(keep, { ping_interval = 0.05, ping_timeout = 0.1 })
    local conn = raw(keep, port)
    assert.same({ 9, "" }, { read_frame(conn) })
    eventually(function() return #ends == 1 end)
    assert.same({ "closed", "closed", 1006, "" }, ends[1])
    assert.is_nil(conn:read(1))
  end)

  test("keeps a peer that answers pings", function(keep)
    local port, ends = echo(keep, { ping_interval = 0.02, ping_timeout = 0.5 })
    local ws = dial(keep, port)
    assert.equal("timeout", select(3, ws:recv(0.3)))
    assert.equal(0, #ends)
    ws:send("x")
    assert.equal("x", (ws:recv()))
  end)

  test("has no pings when they are switched off", function(keep)
    local conn = raw(keep, (echo(keep, { ping_interval = false })))
    conn:settimeout(0.1)
    assert.equal("timeout", select(3, conn:read(1)))
  end)
end)

describe("closing", function()
  test("by the client tells the server code and reason", function(keep)
    local here, there = pair(keep)
    local reader = helper.spawn(function() return there:recv() end)
    assert.is_true(here:close(4001, "grüße"))
    assert.same({ nil, "closed", "closed" }, { reader:get() })
    assert.same({ 4001, "grüße" }, { there.close_code, there.close_reason })
    assert.equal(4001, here.close_code)
    assert.is_true(here:closed() and there:closed())
    assert.is_true(here:close())
    assert.is_true(there:close())
    assert.equal("websocket closed (4001)", tostring(there))
    for _, ws in ipairs({ here, there }) do
      assert.same({ nil, "closed", "closed" }, { ws:send("x") })
      assert.same({ nil, "closed", "closed" }, { ws:ping("x") })
      assert.same({ nil, "closed", "closed" }, { ws:recv() })
    end
  end)

  test("by the server drops what still comes", function(keep)
    local here, there = pair(keep)
    here:send("unread")
    local closer = net.parked(function() return there:close(1001) end)
    here:send("late")
    assert.same({ nil, "closed", "closed" }, { here:recv() })
    assert.is_true((closer:get()))
    assert.equal(1001, here.close_code)
  end)

  test("is the last that is sent", function(keep)
    local there
    local port = serve(keep, function(req)
      there = assert(req:websocket())
      there:close(4000)
    end)
    local conn = raw(keep, port)
    eventually(function() return there end)
    assert.same({ nil, "closed", "closed" }, { there:send("late") })
    assert.same({ nil, "closed", "closed" }, { there:ping() })
    conn:write(frame(9, "no answer"), close(4000))
    assert.same({ 8, "\15\160" }, { read_frame(conn) })
    assert.is_nil(conn:read(1))
  end)

  test("by both at once works", function(keep)
    local here, there = pair(keep)
    local closer = helper.spawn(function() return there:close(4001) end)
    assert.is_true(here:close(4002))
    assert.is_true((closer:get()))
  end)

  test("while another thread receives ends that one", function(keep)
    local here, there = pair(keep)
    local reader = net.parked(function() return here:recv() end)
    local echoer = helper.spawn(function() return there:recv() end)
    assert.is_true(here:close())
    assert.same({ nil, "closed", "closed" }, { reader:get() })
    echoer:join()
  end)

  test("goes on when the thread that receives leaves", function(keep)
    local here, there = pair(keep)
    local reader = net.parked(function() return here:recv() end)
    local closer = net.parked(function() return here:close() end)
    reader:cancel()
    reader:join()
    there:recv()
    assert.is_true((closer:get()))
  end)

  test("takes no longer than close_timeout", function(keep)
    local here = pair(keep, nil, { close_timeout = 0.05 })
    assert.same({ nil, "timeout", "timeout" }, { here:close() })
    assert.is_true(here:closed())
    assert.equal(1006, here.close_code)
    assert.same({ nil, "closed", "closed" }, { here:close() })
  end)

  test("happens also in a cancelled thread", function(keep)
    local here = pair(keep)
    local t = net.parked(function() return here:close() end)
    t:cancel()
    t:join()
    assert.is_true(here:closed())
  end)

  test("reports a peer that vanished as 1006", function(keep)
    local port, ends = echo(keep)
    local conn = raw(keep, port)
    conn:write(text("half", { len = 10 }))
    conn:close()
    eventually(function() return #ends == 1 end)
    assert.same({ "closed", "closed", 1006, "" }, ends[1])
  end)

  test("reports a reset as 1006", function(keep)
    local port, ends = echo(keep)
    local conn = raw(keep, port)
    conn:setoption("linger", 0)
    conn:close()
    eventually(function() return #ends == 1 end)
    assert.same({ "closed", "closed", 1006, "" }, ends[1])
  end)

  test("comes with code 1000 when the handler returns, 1011 when it fails", function(keep)
    local port = serve(keep, function(req)
      local ws = assert(req:websocket())
      assert(ws:recv() ~= "fail", "as wished")
    end)
    local ws = dial(keep, port)
    ws:send("return")
    ws:recv()
    assert.equal(1000, ws.close_code)
    local ws2 = dial(keep, port)
    local io_stderr = helper.reports(function()
      ws2:send("fail")
      ws2:recv()
    end)
    assert.equal(1011, ws2.close_code)
    assert.is_table(io_stderr)
  end)

  test("may be the last thing a handler does", function(keep)
    local port, server = serve(keep, function(req)
      return assert(req:websocket()):close(4000)
    end)
    local ws = dial(keep, port)
    ws:recv()
    assert.equal(4000, ws.close_code)
    eventually(function() return server:stats().active == 0 end)
    assert.equal(0, server:stats().errors)
  end)

  test("comes with code 1001 when the server stops", function(keep)
    local port, ends, server = echo(keep)
    local ws = dial(keep, port)
    ws:send("x")
    ws:recv()
    local stopper = helper.spawn(function() return server:stop(5) end)
    assert.same({ nil, "closed", "closed" }, { ws:recv() })
    assert.equal(1001, ws.close_code)
    stopper:join()
    assert.equal(1001, ends[1][3])
  end)

  test("comes with code 1001 also when the handler only sends", function(keep)
    local there
    local port, server = serve(keep, function(req)
      there = assert(req:websocket())
      while there:send("tick") do
        grun.sleep(0.005)
      end
    end)
    local conn = raw(keep, port)
    conn:write(text("nobody reads this"))
    local stopper = helper.spawn(function() return server:stop(5) end)
    local opcode, payload
    repeat
      opcode, payload = read_frame(conn)
    until payload ~= "tick"
    assert.same({ 8, 1001 }, { opcode, code_of(payload) })
    conn:settimeout(0.05)
    assert.same({ nil, "timeout", "timeout" }, { conn:read(1) })
    conn:write(close(1001))
    stopper:join()
    assert.equal(1001, there.close_code)
  end)

  test("reads what a peer that broke the rules still sends", function(keep)
    local port = echo(keep, { close_timeout = 5 })
    local conn = raw(keep, port)
    conn:write(frame(3, "a"))
    grun.sleep(0.05)
    conn:write(("z"):rep(1000))
    grun.sleep(0.05)
    local opcode, payload = read_frame(conn)
    assert.same({ 8, 1002 }, { opcode, code_of(payload) })
  end)
end)

describe("many websockets", function()
  test("hear a broadcast", function(keep)
    local members, n = {}, 100
    local port = serve(keep, function(req)
      local ws = assert(req:websocket())
      members[#members + 1] = ws
      while ws:recv() do
        ws:ping()
      end
    end)
    local clients = {}
    for i = 1, n do
      clients[i] = dial(keep, port)
    end
    eventually(function() return #members == n end)
    for _, ws in ipairs(members) do
      assert(ws:send("to all"))
    end
    for _, ws in ipairs(clients) do
      assert.equal("to all", (ws:recv(10)))
    end
    for _, ws in ipairs(clients) do
      assert.is_true(ws:close())
    end
  end)

  test("leave nothing behind", function(keep)
    local port = echo(keep)
    local function round()
      local ws = dial(keep, port)
      ws:send(("x"):rep(10000))
      ws:recv()
      ws:close()
    end
    local function count()
      collectgarbage()
      collectgarbage()
      return collectgarbage("count")
    end
    keep = function(ws) return ws end
    for _ = 1, 50 do round() end
    local before = count()
    for _ = 1, 300 do round() end
    assert.is_true(count() < before + 100, ("%d KiB more"):format(count() - before))
  end)

  test("that are collected close their connections", function(keep)
    local port, ends = echo(keep)
    assert(grun.http.websocket(url(port)))
    eventually(function()
      collectgarbage()
      return #ends == 1
    end)
    assert.equal(1006, ends[1][3])
  end)
end)

describe("over TLS", function()
  test("it is the same", function(keep)
    local server = assert(grun.server("https://127.0.0.1:0", function(req)
      local ws = assert(req:websocket())
      for message, kind in ws do
        ws:send(message, kind)
      end
    end, { tls = tls.server("good") }))
    keep({ close = function() server:stop(0) end })
    local address = "wss" .. server:address():sub(6) .. "/x"
    local ws = keep(assert(grun.http.websocket(address, tls.client())))
    for _, n in ipairs({ 0, 10, 100000 }) do
      ws:send(net.noise(n), "binary")
      assert.is_true(net.same(net.noise(n), (ws:recv(10))))
    end
    assert.is_true(ws:close(1000, "bye"))
    local refused, _, code = grun.http.websocket(address)
    assert.same({ nil, "tls_verify" }, { refused, code })
  end)
end)

-- ---- Foreign peers ----

local foreign = websocket.foreign(it, test)

describe("with python3-websockets", function()
  foreign("our server gets on with its client", function(keep)
    websocket.visit_by_python(keep)
  end)

  foreign("our client gets on with its server", function(keep)
    websocket.with_python_server(nil, function(port)
      local ws = dial(keep, port, { protocols = { "echo" }, ping_interval = 0.05 })
      assert.equal("echo", ws.protocol)
      for _, data in ipairs({ "", "grüße", ("x"):rep(300000) }) do
        assert(ws:send(data))
        assert.is_true(net.same(data, (assert(ws:recv(10)))))
      end
      assert.equal("timeout", select(3, ws:recv(0.2)))
      assert(ws:send("\0\255", "binary"))
      assert.same({ "\0\255", "binary" }, { ws:recv(10) })
      assert.is_true(ws:close(4000, "done"))
      assert.equal(4000, ws.close_code)
    end)
  end)
end)
