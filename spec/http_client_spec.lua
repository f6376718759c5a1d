-- SPDX-License-Identifier: MIT
local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")
local net = require("spec.net_helper")
local zlib = require("grun.core.zlib")

describe("the HTTP client", function()
  local servers = {}

  local function serve(handler, opts)
    local port, server = http.serve(servers, handler, opts)
    return "http://127.0.0.1:" .. port, server
  end

  local plain_it = it

  local function it(name, body)
    plain_it(name, function()
      finally(function()
        grun.http.close_idle()
        for _, server in ipairs(servers) do
          if server.stop then
            server:stop(0)
          else
            server:close()
          end
        end
        servers = {}
        collectgarbage()
        collectgarbage()
      end)
      body()
    end)
  end

  -- A server that does with its nth connection what script(conn, n) does. Returns its URL and a
  -- table with the number of connections.
  local function scripted(script)
    local listener = assert(grun.listen("tcp://127.0.0.1:0"))
    local count = { n = 0 }
    servers[#servers + 1] = listener
    helper.spawn(function()
      while true do
        local conn = listener:accept()
        if not conn then
          return
        end
        count.n = count.n + 1
        local n = count.n
        helper.spawn(function()
          local ok, problem = pcall(script, conn, n)
          conn:close()
          if not ok and not grun.is_cancel(problem) then
            error(problem, 0)
          end
        end)
      end
    end)
    return "http://127.0.0.1:" .. listener:address():match("%d+$"), count
  end

  -- The head of a request as text, its end included.
  local function read_head(conn)
    local head = conn:read_until("\r\n\r\n", { include = true })
    return head and head ~= "" and head or nil
  end

  -- A scripted server that answers each request with the same bytes, and closes unless `keep`.
  local function answering(bytes, keep)
    return scripted(function(conn)
      while read_head(conn) do
        conn:write(bytes)
        if not keep then
          return
        end
      end
    end)
  end

  local OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

  describe("sends", function()
    it("a request with what it needs, and nothing else", function()
      local url = scripted(function(conn)
        local head = read_head(conn)
        conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(#head), head)
      end)
      assert.equal("GET /a%20b?c HTTP/1.1\r\nHost: " .. url:sub(8) .. "\r\nUser-Agent: grun\r\nAccept: */*\r\n" ..
        "Accept-Encoding: gzip\r\n\r\n", grun.http.get(url .. "/a b?c#d").body)
      local res = grun.http.request({
        url = url, method = "PURGE", query = { q = { "1", "2" }, p = "a b&" }, gzip = false, keep_alive = false,
        headers = { ["User-Agent"] = false, ["x-list"] = { "a", 2 }, Accept = "text/plain", Host = "other" },
      })
      assert.equal("PURGE /?p=a+b%26&q=1&q=2 HTTP/1.1\r\naccept: text/plain\r\nhost: other\r\nx-list: a\r\n" ..
        "x-list: 2\r\nConnection: close\r\n\r\n", res.body)
    end)

    it("all methods", function()
      local url = serve(function(req)
        return 200, { ["X-Method"] = req.method }, req:body()
      end)
      for _, name in ipairs({ "get", "post", "put", "patch", "delete", "head" }) do
        local body = name ~= "get" and name ~= "head" and name ~= "delete" and "data" or nil
        local res = assert(grun.http[name](url, { body = body }))
        assert.equal(name:upper(), res.headers["X-Method"])
        assert.equal(body or "", res.body)
      end
    end)

    it("strings, iterators, files, pipes, forms, JSON", function()
      local url = serve(function(req)
        local length, kind = req:header("content-length"), req:header("content-type")
        return 200, { ["X-Length"] = length or "-", ["X-Type"] = kind or "-" }, req:body(2 ^ 24)
      end, { max_body = 2 ^ 24 })
      local big = net.noise(3000000)
      local name = helper.tmpname(big)
      local function check(opts, body, length, kind)
        local res = assert(grun.http.post(url, opts))
        assert.is_true(net.same(body, res.body))
        assert.same({ length, kind or "-" }, { res.headers["x-length"], res.headers["x-type"] })
      end
      check({ body = "" }, "", "0")
      check({ body = big }, big, "3000000")
      check({ file = name }, big, "3000000")
      local file = assert(io.open(name))
      file:seek("set", 10)
      check({ body = file }, big:sub(11), "2999990")
      file:close()
      local at = 0
      local function pieces()
        at = at + 1
        return at < 4 and ("%d"):format(at):rep(at == 2 and 0 or 100000) or nil
      end
      check({ body = pieces }, ("1"):rep(100000) .. ("3"):rep(100000), "-")
      at = 0
      check({ body = pieces, headers = { ["Content-Length"] = 200000 } }, ("1"):rep(100000) .. ("3"):rep(100000),
        "200000")
      local pipe = assert(io.popen("echo piped"))
      check({ body = pipe }, "piped\n", "-")
      pipe:close()
      check({ form = { b = "ä &", a = 1, c = { "x", "y" } } }, "a=1&b=%C3%A4+%26&c=x&c=y", "24",
        "application/x-www-form-urlencoded")
      check({ json = { a = { 1, 2 } } }, '{"a":[1,2]}', "11", "application/json")
      assert.same({ a = 1 }, grun.http.post(url, { body = '{"a":1}' }):json())
      assert.is_nil((grun.http.post(url, { body = "{" }):json()))
    end)

    it("multipart forms that python understands", function()
      local url = serve(function(req)
        return req:header("content-type") .. "\n" .. req:body()
      end)
      local name = helper.tmpname("of a file")
      local res = assert(grun.http.post(url, { multipart = {
        { name = "plain", value = "text\r\n--x" },
        { name = "quo\"te\r\n", value = 5, type = "text/x" },
        { name = "up", file = name, filename = "ü.txt" },
      } }))
      local input = helper.tmpname(res.body)
      local script = helper.tmpname([[
import email, email.policy, sys
kind, body = open(sys.argv[1], "rb").read().split(b"\n", 1)
m = email.message_from_bytes(b"Content-Type: " + kind + b"\n\n" + body, policy=email.policy.HTTP)
for part in m.iter_parts():
    print(part.get_param("name", header="content-disposition"), part.get_content_type(), part.get_payload(decode=True))
]])
      local pipe = io.popen("python3 " .. script .. " " .. input)
      assert.equal("plain text/plain b'text\\r\\n--x'\nquo%22te%0D%0A text/x b'5'\n" ..
        "up application/octet-stream b'of a file'\n", pipe:read("*a"))
      pipe:close()
    end)

    it("credentials when asked to", function()
      local url = serve(function(req) return req:header("authorization") or "none" end)
      local with_user = url:gsub("://", "://us%%40er:p%%3Aw@")
      assert.equal("none", grun.http.get(with_user).body)
      assert.equal("Basic dXNAZXI6cDp3", grun.http.get(with_user, { auth = true }).body)
      assert.equal("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
        grun.http.get(url, { auth = { "Aladdin", "open sesame" } }).body)
      assert.equal("Basic YWI6", grun.http.get(url, { auth = { user = "ab" } }).body)
    end)

    it("nothing that could be taken for something else", function()
      local url, count = answering(OK)
      for _, opts in ipairs({
        { headers = { ["a b"] = "x" } }, { headers = { a = "x\r\nb: c" } }, { headers = { a = "x\0" } },
        { headers = { ["a:"] = "x" } }, { headers = { [""] = "x" } }, { headers = { a = true } },
        { headers = { "x" } }, { headers = { ["Transfer-Encoding"] = "chunked" } }, { method = "A B" },
        { method = "" }, { method = "GET\r\nX: y" }, { method = "CONNECT" }, { body = "x", form = {} }, { body = 5 },
        { nonsense = 1 }, { timeout = -1 }, { timeout = "1" }, { body = io.stdout, json = 1 },
        { headers = { ["Content-Length"] = "5" }, body = "x" }, { multipart = { { value = "x" } } },
        { multipart = { { name = "x", value = "y", type = "a\r\nb" } } },
      }) do
        opts.url = url
        local ok, message = pcall(grun.http.request, opts)
        assert.is_false(ok)
        assert.matches("request: ", message)
      end
      helper.misuse(function() local _ = grun.http.get(url, { headers = { a = "\n" } }) end,
        "get: control character in a field")
      helper.misuse(function() local _ = grun.http.request(5) end,
        "request: table of options expected, got number")
      assert.has_error(function() grun.http.get() end)
      for _, text in ipairs({ "nonsense", "ftp://x/", url .. "/\r\nX: y" }) do
        local res, message, code = grun.http.get(text)
        assert.is_nil(res)
        assert.matches("^bad URL ", message)
        assert.equal("bad_address", code)
      end
      assert.equal(0, count.n)
      assert.same("ENOENT", (select(3, grun.http.put(url, { file = "/nonexistent/file" }))))
    end)
  end)

  describe("asks before it sends a body", function()
    local function expecting(script)
      local heads, bodies = {}, {}
      local url = scripted(function(conn)
        heads[#heads + 1] = read_head(conn)
        conn:settimeout(0.2)
        local n = #heads
        local early = conn:read(1)
        conn:settimeout(5)
        bodies[n] = early and "early" or script(conn, n)
      end)
      return url, heads, bodies
    end

    it("and waits for 100 Continue", function()
      local url, heads, bodies = expecting(function(conn)
        conn:write("HTTP/1.1 100 Continue\r\n\r\n")
        local body = conn:read(4)
        conn:write(OK)
        return body
      end)
      for _, body in ipairs({ "text", function() end }) do
        local length = type(body) ~= "string" and { ["Content-Length"] = 4 } or nil
        local sent = false
        local res = assert(grun.http.post(url, { expect = true, headers = length, body = length and function()
          local piece = not sent and "text" or nil
          sent = true
          return piece
        end or body }))
        assert.equal("ok", res.body)
      end
      assert.matches("\r\nExpect: 100%-continue\r\n", heads[1])
      assert.same({ "text", "text" }, bodies)
      local plain = serve(function(req) return req:header("expect") or "none" end)
      assert.equal("none", grun.http.get(plain, { expect = true }).body)
      plain = serve(function(req) return req:body() .. req:header("expect") end)
      assert.equal("ab100-continue", grun.http.post(plain, { expect = true, body = "ab" }).body)
    end)

    it("for a second, and not for ever", function()
      local url, _, bodies = expecting(function(conn)
        local body = conn:read(4)
        conn:write(OK)
        return body
      end)
      local started = grun.now()
      assert.equal("ok", assert(grun.http.post(url, { expect = true, body = "text" })).body)
      assert.is_true(grun.now() - started > 0.9)
      assert.same({ "text" }, bodies)
    end)

    it("and sends none that is refused", function()
      local url, _, bodies = expecting(function(conn)
        conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        return conn:read(1) or "none"
      end)
      local res = assert(grun.http.post(url, { expect = true, body = "text" }))
      assert.same({ 413, "no!" }, { res.status, res.body })
      grun.sleep(0.05)
      assert.same({ "none" }, bodies)
    end)

    it("but not servers who do not like it", function()
      local heads = {}
      local url = scripted(function(conn, n)
        heads[n] = read_head(conn)
        if heads[n]:find("Expect") then
          conn:write("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n")
        else
          conn:read(4)
          conn:write(OK)
        end
      end)
      assert.equal("ok", assert(grun.http.post(url, { expect = true, body = "text" })).body)
      assert.equal(2, #heads)
    end)

    it("and goes on sending when 100 Continue comes unasked", function()
      local large = ("x"):rep(2 ^ 22)
      local url = scripted(function(conn)
        read_head(conn)
        for _ = 1, 3 do
          conn:write("HTTP/1.1 100 Continue\r\nA: b\r\n\r\n")
          assert(conn:read(2 ^ 20))
        end
        conn:write("HTTP/1.1 100")
        assert(conn:read(2 ^ 20))
        conn:write(" Continue\r\n\r\n" .. OK)
      end)
      assert.equal("ok", assert(grun.http.post(url, { body = large, timeout = 20 })).body)
    end)
  end)

  describe("takes responses", function()
    local function get(bytes, opts)
      return grun.http.get((answering(bytes)), opts)
    end

    it("with all framings", function()
      for _, bytes in ipairs({
        "HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a: 2\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a: 2\r\nTransfer-Encoding: chunked\r\n\r\n" ..
          "2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: v\r\n\r\n",
        "HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello",
        "HTTP/1.0 200 Fine\r\nX-A: 1\r\nx-a: 2\r\n\r\nhello",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" ..
          "HTTP/1.1 200 Fine\r\nX-A: 1, 2\r\n\r\nhello",
      }) do
        local res = assert(get(bytes))
        assert.same({ 200, "Fine", "1, 2", "hello" }, { res.status, res.reason, res.headers["X-a"], res.body })
      end
      assert.equal("", get("HTTP/1.1 204 No Content\r\n\r\n").body)
      assert.equal("", get("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").body)
      local res = get("HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2, c\r\n\r\n")
      assert.equal("a=1\nb=2, c", res.headers["set-cookie"])
    end)

    it("byte by byte", function()
      local url = scripted(function(conn)
        read_head(conn)
        for c in ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"):gmatch(".") do
          conn:write(c)
          grun.sleep(0)
        end
      end)
      assert.equal("hello", grun.http.get(url).body)
    end)

    it("that are none, or end too early, or are too large, as failures; and closes", function()
      local chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
      for bytes, code in pairs({
        [""] = "closed", ["HTTP/1.1 200 OK\r\n"] = "closed", ["HTTP/1.1 200 OK\r\nA: b\r\n"] = "closed",
        ["nonsense\r\n\r\n"] = "protocol", ["HTTP/2.0 200 OK\r\n\r\n"] = "protocol", ["\22\3\1\2\0\1"] = "protocol",
        ["HTTP/1.1 2x0 OK\r\n\r\n"] = "protocol", ["HTTP/1.1 200 OK\nA: b\n\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nA : b\r\n\r\n"] = "protocol", ["HTTP/1.1 200 OK\r\n A: b\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nab"] = "protocol",
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"] = "closed",
        [chunked .. "5\r\nab"] = "closed", [chunked .. "2\r\nab"] = "closed", [chunked .. "2\r\nab\r\n"] = "closed",
        [chunked .. "2\r\nab\r\n0\r\n"] = "closed", [chunked .. "x\r\nab\r\n0\r\n\r\n"] = "protocol",
        [chunked .. "0x2\r\nab\r\n0\r\n\r\n"] = "protocol", [chunked .. "2\nab\n0\n\n"] = "protocol",
        [chunked .. "2\r\nabc\r\n0\r\n\r\n"] = "protocol", [chunked .. "0\r\nbad trailer\r\n\r\n"] = "protocol",
        [chunked .. "ffffffffffffffffff\r\nab"] = "protocol",
        [("HTTP/1.1 100 Continue\r\n\r\n"):rep(30) .. OK] = "protocol",
        ["HTTP/1.1 200 OK\r\nA: " .. ("b"):rep(70000) .. "\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\n" .. ("A: b\r\n"):rep(101) .. "\r\n"] = "protocol",
        ["HTTP/1.1 200 " .. ("b"):rep(9000) .. "\r\n\r\n"] = "protocol",
      }) do
        for _, stream in ipairs({ false, true }) do
          local url = answering(bytes, true)
          -- The server's end of the stream comes with the end of what it has to say.
          local closing = code == "closed" and answering(bytes)
          local res, message, got = grun.http.get(closing or url, { stream = stream, read_timeout = 5 })
          if res then
            res, message, got = res:read("a")
          end
          assert.same({ nil, code }, { res, got }, bytes:sub(1, 100))
          assert.equal("string", type(message))
        end
      end
    end)

    it("up to max_body", function()
      local body = ("x"):rep(1000)
      for _, framing in ipairs({ "Content-Length: 1000\r\n\r\n" .. body, "\r\n" .. body,
        "Transfer-Encoding: chunked\r\n\r\n3e8\r\n" .. body .. "\r\n0\r\n\r\n" }) do
        local url, count = answering("HTTP/1.1 200 OK\r\n" .. framing)
        local res, message, code = grun.http.get(url, { max_body = 999 })
        assert.same({ nil, "body too large", "too_large" }, { res, message, code })
        res = assert(grun.http.get(url, { max_body = 999, stream = true }))
        assert.same({ nil, "body too large", "too_large" }, { res:read("a") })
        assert.equal(body, grun.http.get(url, { max_body = 1000 }).body)
        assert.equal(body, grun.http.get(url, { max_body = 1000, stream = true }):read("a"))
        assert.equal(4, count.n)
      end
    end)

    it("compressed ones, whole or streamed, within max_body", function()
      local text = ("to be compressed "):rep(10000)
      local url = serve(function(req)
        local coding = req:header("accept-encoding")
        if req.path == "/twice" then
          return 200, { ["Content-Encoding"] = "br" }, "unknown"
        elseif coding ~= "gzip" and req.path ~= "/unasked" then
          return text
        end
        local packed = zlib.deflate(6):push(text, "finish")
        if req.path == "/broken" then
          packed = packed:sub(1, -5)
        elseif req.path == "/empty" then
          packed = ""
        end
        return 200, { ["Content-Encoding"] = "gzip" }, packed
      end)
      local res = assert(grun.http.get(url))
      assert.is_true(net.same(text, res.body))
      assert.is_true(res.uncompressed)
      assert.same({}, { res.headers["content-encoding"], res.headers["content-length"] })
      assert.is_true(net.same(text, grun.http.get(url, { stream = true }):read("a")))
      assert.is_true(net.same(text, grun.http.get(url, { gzip = false }).body))
      assert.equal("gzip", grun.http.get(url .. "/unasked", { gzip = false }).headers["content-encoding"])
      assert.equal("unknown", grun.http.get(url .. "/twice").body)
      assert.equal("", grun.http.get(url .. "/empty").body)
      assert.equal(#text, #grun.http.get(url, { max_body = #text }).body)
      assert.equal("too_large", (select(3, grun.http.get(url, { max_body = #text - 1 }))))
      assert.equal("too_large", (select(3, grun.http.get(url, { max_body = #text - 1, stream = true }):read("a"))))
      assert.equal("protocol", (select(3, grun.http.get(url .. "/broken"))))
      assert.equal("", grun.http.head(url).body)
    end)

    it("as a stream: pieces, counts, lines", function()
      local url = serve(function()
        local list = { "one\ntw", "o\n\nthree", nil }
        return (function() return table.remove(list, 1) end)
      end)
      local function stream()
        return assert(grun.http.get(url, { stream = true }))
      end
      local res = stream()
      assert.is_nil(res.body)
      assert.same({ "one\nt", "w", "o\n\nt", "hree" }, { res:read(5), res:read(1), res:read(4), res:read(100) })
      assert.same({}, { res:read(), res:read(1), res:read() })
      assert.equal("", res:read("a"))
      local lines = {}
      for line in stream():lines() do
        lines[#lines + 1] = line
      end
      assert.same({ "one", "two", "", "three" }, lines)
      res = stream()
      local got = {}
      for piece in function() return res:read() end do
        got[#got + 1] = piece
      end
      assert.equal("one\ntwo\n\nthree", table.concat(got))
      res = stream()
      res:close()
      res:close()
      assert.is_nil((res:read()))
      assert.has_error(function() stream():read("l") end)
      assert.has_error(function() grun.http.get(url):read() end)
      assert.has_error(function() stream():upgrade() end)
    end)

    it("that switch protocols", function()
      local url = scripted(function(conn)
        assert.matches("\r\nconnection: upgrade\r\n", read_head(conn))
        conn:write("HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi\n")
        conn:write(conn:read("L"))
      end)
      local res = assert(grun.http.get(url, { stream = true, headers = { Connection = "upgrade", Upgrade = "echo" } }))
      local conn = res:upgrade()
      assert.equal("hi", conn:read("l"))
      conn:write("echo\n")
      assert.equal("echo", conn:read("l"))
      conn:close()
    end)
  end)

  describe("keeps connections", function()
    it("and uses them again, the latest first", function()
      local url, server = serve(function(req) return req:body() end)
      for i = 1, 20 do
        assert.equal(tostring(i), grun.http.post(url, { body = tostring(i) }).body)
      end
      assert.equal("x", grun.http.post(url, { body = "x", stream = true }):read("a"))
      grun.http.head(url)
      assert.equal(1, server:stats().accepted)
    end)

    it("not after anything odd", function()
      for name, bytes in pairs({
        extra = OK .. "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      }) do
        local url, count = answering(bytes, true)
        for _ = 1, 3 do
          assert.equal("ok", grun.http.get(url).body, name)
        end
        assert.equal(3, count.n, name)
      end
      local url, count = answering(OK, true)
      grun.http.get(url, { keep_alive = false })
      grun.http.get(url, { stream = true }):close()
      grun.http.get(url, { max_body = 1 })
      grun.http.get(url)
      assert.equal(4, count.n)
      grun.http.get(url)
      assert.equal(4, count.n)
    end)

    it("not after extra bytes that come later", function()
      local url, count = scripted(function(conn, n)
        while read_head(conn) do
          conn:write(OK)
          grun.sleep(0.01)
          conn:write(n == 1 and "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil" or "")
        end
      end)
      assert.equal("ok", grun.http.get(url).body)
      grun.sleep(0.1)
      assert.equal("ok", grun.http.get(url).body)
      assert.equal(2, count.n)
    end)

    it("not after a timeout: no response is taken for another request's", function()
      local url, count = scripted(function(conn)
        while true do
          local head = read_head(conn)
          if not head then
            return
          end
          local path = head:match("/(%S*)")
          if path == "slow" then
            grun.sleep(0.2)
          end
          conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#path, path))
        end
      end)
      for i = 1, 5 do
        assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url .. "/slow", { timeout = 0.02 }) })
        assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.02, grun.http.get, url .. "/slow") })
        assert.equal("fast" .. i, grun.http.get(url .. "/fast" .. i).body)
      end
      assert.is_true(count.n >= 11)
    end)

    it("and tries an idempotent request once more when the server closed one", function()
      local function closing()
        return scripted(function(conn, n)
          read_head(conn)
          conn:write(OK)
          if n == 1 and read_head(conn) then -- closes when the next request is there
            return
          end
          while read_head(conn) do
            conn:write(OK)
          end
        end)
      end
      local url, count = closing()
      assert.equal("ok", grun.http.get(url).body)
      assert.equal("ok", grun.http.get(url).body)
      assert.equal(2, count.n)
      url, count = closing()
      grun.http.get(url)
      assert.same({ nil, "closed", "closed" }, { grun.http.post(url) })
      assert.equal(1, count.n)
      url, count = closing()
      grun.http.get(url)
      assert.same({ nil, "closed", "closed" }, { grun.http.put(url, { body = function() return nil end }) })
      assert.equal(1, count.n)
      url, count = answering("")
      assert.same({ nil, "closed", "closed" }, { grun.http.get(url) })
      assert.equal(1, count.n)
    end)

    it("and takes a new one then, not another that was used before", function()
      local url, count = scripted(function(conn, n)
        repeat
          local head = read_head(conn)
          grun.sleep(0.05) -- so that both are needed at once
          conn:write(head and OK or "")
        until not head or n < 3 and read_head(conn)
      end)
      local one = helper.spawn(grun.http.get, url)
      assert.equal("ok", grun.http.get(url).body)
      assert.equal("ok", one:get().body)
      assert.equal(2, count.n)
      assert.equal("ok", grun.http.get(url).body)
      assert.equal(3, count.n)
    end)

    it("free for others however a request ends", function()
      local url = scripted(function(conn)
        while true do
          local path = (read_head(conn) or ""):match("/(%S*)")
          if path == "good" then
            conn:write(OK)
          elseif path == "silent" then
            grun.sleep(30)
          elseif path == "junk" then
            conn:write("junk\r\n\r\n")
          else
            return
          end
        end
      end)
      local session = grun.http.session({ max_per_host = 1, timeout = 5 })
      local function fail()
        error("mine", 0)
      end
      for _, fn in ipairs({
        function() return session:get(url .. "/silent", { timeout = 0.02 }) end,
        function() return session:get(url .. "/silent", { read_timeout = 0.02 }) end,
        function() return grun.timeout(0.02, session.get, session, url .. "/silent") end,
        function()
          local t = net.parked(session.get, session, url .. "/silent")
          grun.sleep(0.02)
          t:kill()
        end,
        function() return session:get(url .. "/junk") end,
        function() return session:get(url .. "/closed") end,
        function() return session:get(url .. "/good", { max_body = 1 }) end,
        function() return session:get(url .. "/good", { max_body = 1, stream = true }):read("a") end,
        function() return session:get(url .. "/good", { stream = true }):close() end,
        function() pcall(session.post, session, url .. "/good", { body = fail }) end,
      }) do
        assert.is_nil((fn()))
        assert.equal("ok", assert(session:get(url .. "/good")).body)
      end
      session:close()
    end)

    it("not when a byte of the response had come", function()
      local url, count = scripted(function(conn, n)
        read_head(conn)
        conn:write(OK)
        if n == 1 and read_head(conn) then
          conn:write("HTTP/1.1 2")
        end
      end)
      grun.http.get(url)
      assert.same({ nil, "closed", "closed" }, { grun.http.get(url) })
      assert.equal(1, count.n)
    end)

    it("at most so many to one host; others wait for them in turn", function()
      local active, most, order = 0, 0, {}
      local url, server = serve(function()
        active = active + 1
        most = math.max(most, active)
        grun.sleep(0.01)
        active = active - 1
        return "x"
      end)
      local session = grun.http.session({ max_per_host = 3, max_idle = 3 })
      local list = {}
      for i = 1, 12 do
        list[i] = helper.spawn(function()
          assert.equal("x", session:get(url).body)
          order[#order + 1] = i
        end)
      end
      grun.joinall(list, { raise = true })
      assert.equal(3, most)
      assert.equal(12, #order)
      for i, n in ipairs(order) do
        assert.is_true(math.abs(i - n) <= 3)
      end
      assert.equal(3, server:stats().accepted)
      assert.equal(3, session._pool:idle())
      local res = {}
      for i = 1, 3 do
        res[i] = session:get(url, { stream = true })
      end
      assert.same({ nil, "timeout", "timeout" }, { session:get(url, { timeout = 0.02 }) })
      local waiting = net.parked(session.get, session, url)
      waiting:kill()
      res[1]:close()
      assert.equal("x", session:get(url).body)
      res[2]:close()
      res[3]:close()
      session:close()
      assert.equal(0, session._pool:idle())
    end)

    it("for a while", function()
      local url, server = serve(function() return "x" end)
      local session = grun.http.session({ idle_timeout = 0.05 })
      session:get(url)
      assert.equal(1, session._pool:idle())
      local limit = grun.now() + 5
      while session._pool:idle() > 0 and grun.now() < limit do
        grun.sleep(0.02)
      end
      assert.equal(0, session._pool:idle())
      session:get(url)
      assert.equal(2, server:stats().accepted)
      session:close()
    end)

    it("and does not keep the program running for them", function()
      local out, err, status = helper.run_script([[
        local server = grun.server("http://127.0.0.1:0", function() return "x" end)
        print(grun.http.get(server:address()).body)
        server:stop(0)
      ]], { timeout = 10 })
      assert.same({ "x\n", "", 0 }, { out, err, status })
    end)

    it("and does not hide a deadlock by them", function()
      local port = http.serve(servers, function() return "ok" end)
      local started = grun.now()
      local _, err, status = helper.run_script(([[
        local grun = require("grun")
        assert(grun.http.get("http://127.0.0.1:%d/").body == "ok")
        grun.queue():get()
      ]]):format(port))
      assert.equal(2, status)
      assert.matches("deadlock", err)
      assert.is_true(grun.now() - started < 5)
    end)

    it("and frees those of responses that nobody holds any more", function()
      local url = serve(function() return ("x"):rep(2 ^ 20) end)
      local session = grun.http.session({ max_per_host = 1 })
      session:get(url, { stream = true })
      local res
      for _ = 1, 20 do
        collectgarbage()
        res = session:get(url, { timeout = 0.2 })
        if res then
          break
        end
      end
      assert.equal(2 ^ 20, #res.body)
      session:close()
    end)
  end)

  describe("ends in time", function()
    local function silent()
      return scripted(function(conn)
        read_head(conn)
        grun.sleep(30)
      end)
    end

    it("when the server says nothing, or stops in the middle", function()
      assert.same({ nil, "timeout", "timeout" }, { grun.http.get(silent(), { timeout = 0.05 }) })
      assert.same({ nil, "timeout", "timeout" }, { grun.http.get(silent(), { read_timeout = 0.05 }) })
      for _, bytes in ipairs({ "HTTP/1.1 200", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab" }) do
        local url = scripted(function(conn)
          read_head(conn)
          conn:write(bytes)
          grun.sleep(30)
        end)
        assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, { timeout = 0.05 }) })
        assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, { read_timeout = 0.05 }) })
      end
    end)

    it("when the server drips: the total counts", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\n\r\n")
        while conn:write("x") do
          grun.sleep(0.01)
        end
      end)
      assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, { timeout = 0.1 }) })
      local res = assert(grun.http.get(url, { timeout = 0.1, stream = true }))
      assert.same({ nil, "timeout", "timeout" }, { res:read("a") })
    end)

    it("when the server takes nothing", function()
      local url = scripted(function() grun.sleep(30) end)
      local big = ("x"):rep(2 ^ 24)
      assert.same({ nil, "timeout", "timeout" }, { grun.http.post(url, { body = big, read_timeout = 0.05 }) })
      assert.same({ nil, "timeout", "timeout" }, { grun.http.post(url, { body = big, timeout = 0.05 }) })
      local file = helper.tmpname(big)
      assert.same({ nil, "timeout", "timeout" }, { grun.http.post(url, { file = file, timeout = 0.05 }) })
    end)

    it("by a cancel, wherever it waits", function()
      local dead = assert(grun.listen("tcp://127.0.0.1:0", { backlog = 1 }))
      servers[#servers + 1] = dead
      local url = silent()
      local stream = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\n\r\nx")
        grun.sleep(30)
      end)
      local taking = scripted(function() grun.sleep(30) end)
      for _, fn in ipairs({
        function() grun.http.get(url) end,
        function() grun.http.get(stream) end,
        function() grun.http.get(stream, { stream = true }):read("a") end,
        function() grun.http.post(taking, { body = ("x"):rep(2 ^ 24) }) end,
        function() grun.http.post(taking, { body = function() grun.sleep(30) end }) end,
        function() grun.http.post(taking, { file = helper.tmpname(("x"):rep(2 ^ 24)) }) end,
      }) do
        local t = net.parked(fn)
        grun.sleep(0.02)
        t:kill()
        assert.equal("cancelled", t:status())
      end
    end)

    it("by an error of an iterator", function()
      local url = serve(function(req) return req:body() end)
      assert.has_error(function() grun.http.post(url, { body = function() error("mine", 0) end }) end, "mine")
      assert.has_error(function() grun.http.post(url, { body = function() return 5 end }) end,
        "request: the iterator of the body gave a number")
      local done
      local function once()
        done = not done
        return done and "abc" or nil
      end
      assert.equal("ENODATA", (select(3, grun.http.post(url, { body = once, headers = { ["Content-Length"] = 4 } }))))
      done = false
      assert.equal("too_large", (select(3, grun.http.post(url, { body = once, headers = { ["Content-Length"] = 2 } }))))
    end)

    it("when the server refuses a body before it has come", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        conn:shutdown("w")
        conn:recv(2 ^ 16, 0.2)
        grun.sleep(0.05)
      end)
      local res = assert(grun.http.post(url, { body = ("x"):rep(2 ^ 23), timeout = 10 }))
      assert.same({ 413, "no!" }, { res.status, res.body })
      local n = 0
      res = assert(grun.http.post(url, { timeout = 10, body = function()
        n = n + 1
        return n < 1000 and ("x"):rep(10000) or nil
      end }))
      assert.same({ 413, "no!" }, { res.status, res.body })
    end)

    it("when the server answers early and reads no further", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        grun.sleep(30)
      end)
      local res = assert(grun.http.post(url, { timeout = 10, body = function()
        grun.sleep(0)
        return ("x"):rep(10000)
      end }))
      assert.same({ 413, "no!" }, { res.status, res.body })
    end)

    it("when the server answers while we wait for it to read on", function()
      local tls = require("spec.tls_helper")
      local over, open = grun.event(), 0
      local function refuse(conn)
        open = open + 1
        read_head(conn)
        grun.sleep(0.2)
        conn:write("HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno!")
        over:wait(30)
        conn:close()
        open = open - 1
      end
      local large = ("x"):rep(2 ^ 25)
      local name = helper.tmpname(large)
      local secure = assert(grun.server("tls://127.0.0.1:0", refuse, tls.server()))
      local urls = { scripted(refuse), (secure:address():gsub("tls", "https")) }
      local function descriptors() -- without the control socket, which comes when it likes
        return #grun.fs.list("/proc/self/fd") - (require("grun.control").fd() and 1 or 0)
      end
      local before = descriptors()
      for _, url in ipairs(urls) do
        for _, body in ipairs({ { body = large }, { file = name }, { body = function() return large end } }) do
          body.timeout, body.tls = 10, { verify = false }
          local res = assert(grun.http.post(url, body))
          assert.same({ 413, "no!" }, { res.status, res.body })
        end
      end
      over:set()
      while open > 0 do
        grun.yield()
      end
      secure:stop(1)
      local limit = grun.now() + 10 -- closing TLS takes a moment
      while descriptors() >= before and grun.now() < limit do -- one less: the listener's
        grun.sleep(0.01)
      end
    end)

    it("when there is no server", function()
      local listener = assert(grun.listen("tcp://127.0.0.1:0"))
      local url = listener:address():gsub("^tcp", "http")
      listener:close()
      local res, message, code = grun.http.get(url)
      assert.same({ nil, "ECONNREFUSED" }, { res, code })
      assert.matches("^cannot connect to ", message)
    end)
  end)

  describe("follows redirects", function()
    -- /STATUS/n…: so many redirects with that status; then what came.
    local function redirecting(status, location)
      return serve(function(req)
        local n = tonumber(req.path:match("^/(%d+)$"))
        if n and n > 0 then
          return status, { Location = location or tostring(n - 1) }, "moved"
        end
        return table.concat({ req.method, req:body(), req:header("content-type") or "-",
          req:header("authorization") or "-", req:header("cookie") or "-" }, " ")
      end)
    end

    it("with the method that belongs to the status", function()
      for _, case in ipairs({
        { 301, "POST", "GET  -" }, { 302, "POST", "GET  -" }, { 303, "POST", "GET  -" }, { 303, "PUT", "GET  -" },
        { 301, "PUT", "PUT data x/y" }, { 302, "PUT", "PUT data x/y" }, { 307, "POST", "POST data x/y" },
        { 308, "POST", "POST data x/y" }, { 307, "PUT", "PUT data x/y" },
      }) do
        local url, server = redirecting(case[1])
        local res = assert(grun.http.request({ url = url .. "/2", method = case[2], body = "data",
          headers = { ["Content-Type"] = "x/y", Authorization = "A", Cookie = "c=d" } }))
        assert.equal(case[3] .. " A c=d", res.body, case[1] .. case[2])
        assert.equal(url .. "/0", res.url)
        assert.equal(1, server:stats().accepted)
      end
      local url = redirecting(303)
      assert.equal("", grun.http.head(url .. "/1").body)
    end)

    it("so many, or none", function()
      local url = redirecting(302)
      assert.equal(200, grun.http.get(url .. "/10").status)
      assert.same({ nil, "too many redirects", "redirect" }, { grun.http.get(url .. "/11") })
      assert.equal(200, grun.http.get(url .. "/12", { redirects = 12 }).status)
      assert.same({ 302, "moved" }, { grun.http.get(url .. "/1", { redirects = false }).status,
        grun.http.get(url .. "/1", { redirects = 0 }).body })
      assert.same({ nil, "too many redirects", "redirect" }, { grun.http.get((redirecting(302, "/1")) .. "/1") })
      assert.equal(302, grun.http.get((answering("HTTP/1.1 302 Found\r\n\r\n"))).status)
    end)

    it("without credentials to another origin", function()
      local other = redirecting(302)
      local url = redirecting(302, other .. "/0")
      local opts = { headers = { Authorization = "A", Cookie = "c=d", Host = "own" }, auth = { "a", "b" } }
      assert.equal("GET  - - -", grun.http.get(url .. "/1", opts).body)
      assert.equal("GET  - - -", grun.http.get(url .. "/1", { auth = { "a", "b" } }).body)
      assert.equal("GET  - A c=d", grun.http.get(other .. "/0", opts).body)
    end)

    it("not where they must not lead", function()
      for location, code in pairs({ ["ftp://h/"] = "bad_address", ["http://"] = "bad_address",
        ["http://a b/"] = "bad_address", ["//:1/"] = "bad_address" }) do
        local url = redirecting(302, location)
        assert.equal(code, (select(3, grun.http.get(url .. "/1"))), location)
      end
      local url = redirecting(307)
      local sent
      local function once()
        sent = not sent
        return sent and "x" or nil
      end
      assert.same({ nil, "the body cannot be sent again after a redirect", "redirect" },
        { grun.http.post(url .. "/1", { body = once }) })
    end)

    it("also as a stream, and past large bodies", function()
      local url = serve(function(req)
        if req.path == "/" then
          return 302, { Location = "/x" }, ("y"):rep(2 ^ 20)
        end
        return "there"
      end)
      assert.equal("there", grun.http.get(url, { stream = true }):read("a"))
    end)
  end)

  describe("has sessions", function()
    it("with cookies, defaults and connections of their own", function()
      local url, server = serve(function(req, res)
        if req.path == "/set" then
          res:header("Set-Cookie", "a=1; Path=/")
          res:header("Set-Cookie", "b=2; Path=/; Max-Age=100")
          return 302, { Location = "/get" }, ""
        end
        local one, two = req:header("x-one"), req:header("x-two")
        return table.concat({ req:header("cookie") or "-", one or "-", two or "-" }, " ")
      end)
      local session = grun.http.session({ headers = { ["X-One"] = "1", ["X-Two"] = "2" }, timeout = 5 })
      assert.equal("a=1; b=2 1 2", session:get(url .. "/set").body)
      assert.equal("a=1; b=2 1 3", session:get(url, { headers = { ["x-two"] = "3" } }).body)
      assert.equal("own 1 2", session:request({ url = url, headers = { Cookie = "own" } }).body)
      assert.equal(2, #session.cookies:list())
      assert.equal("- - -", grun.http.get(url).body)
      assert.equal(2, server:stats().accepted)
      session:close()
      session = grun.http.session({ cookies = false })
      assert.equal("- - -", session:get(url .. "/set").body)
      session:close()
      helper.misuse(function() grun.http.session({ url = "x" }) end, "session: unknown option 'url'")
      helper.misuse(function() grun.http.session({ max_per_host = 0 }) end,
        "session: option 'max_per_host' must be 1 or more")
    end)
  end)

  describe("uses proxies:", function()
    -- A proxy that tunnels, and answers plain requests itself with their head.
    local function proxy(status)
      return scripted(function(conn)
        local head = read_head(conn)
        local target = head:match("^CONNECT (%S+) ")
        if not target then
          conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"):format(#head), head)
          return
        elseif status then
          conn:write("HTTP/1.1 " .. status .. "\r\n\r\n")
          return
        end
        local out = assert(grun.connect("tcp://" .. target))
        servers[#servers + 1] = out
        conn:write("HTTP/1.1 200 Connected\r\n\r\n")
        local function pump(from, to)
          local data = from:recv()
          while data and to:write(data) do
            data = from:recv()
          end
          to:shutdown("w")
        end
        local back = helper.spawn(pump, out, conn)
        pump(conn, out)
        back:join(5)
        out:close()
      end)
    end

    it("plain requests in absolute form", function()
      local url = proxy():gsub("://", "://me:pw@")
      local head = grun.http.get("http://example.test:81/x?y", { proxy = url }).body
      assert.matches("^GET http://example.test:81/x%?y HTTP/1.1\r\nHost: example.test:81\r\n", head)
      assert.matches("\r\nProxy%-Authorization: Basic bWU6cHc=\r\n", head)
    end)

    it("https through a tunnel, with the server's certificate checked", function()
      local tls = require("spec.tls_helper")
      local server = assert(grun.server("https://127.0.0.1:0", function(req) return req.target end, tls.server()))
      servers[#servers + 1] = server
      local session = grun.http.session({ proxy = (proxy()), tls = { ca = tls.path("root.pem") } })
      local url = server:address()
      assert.equal("/x", assert(session:get(url .. "/x")).body)
      assert.equal("/y", session:get(url .. "/y").body)
      assert.equal(1, server:stats().accepted)
      assert.equal("tls_verify", (select(3, session:get(url, { tls = {} }))))
      local res, message, code = session:get(url, { proxy = (proxy("407 Say who")) })
      assert.same({ nil, "the proxy refuses: 407 Say who", "proxy" }, { res, message, code })
      session:close()
    end)

    it("from the environment, when asked to", function()
      local url = proxy()
      local script = [[
        for _, url in ipairs(arg) do
          local res, _, code = grun.http.get(url, { proxy = "env" })
          print(res and res.body:match("^[^\r]*") or code)
        end
        print((select(3, grun.http.get("http://127.0.0.1:1/"))))
      ]]
      local out = helper.run_child({ helper.script(script), "http://x.test/", "http://a.local.test/",
        "http://127.0.0.1:1/", "https://127.0.0.1:1/" },
        { env = { http_proxy = url, HTTP_PROXY = "x", no_proxy = "other, 127.0.0.1:1", https_proxy = url } })
      assert.equal("GET http://x.test/ HTTP/1.1\nGET http://a.local.test/ HTTP/1.1\n" ..
        ("ECONNREFUSED\n"):rep(3), out)
    end)

    it("only http ones", function()
      assert.equal("bad_address", (select(3, grun.http.get("http://h/", { proxy = "socks5://h:1" }))))
      assert.equal("bad_address", (select(3, grun.http.get("http://h/", { proxy = "https://h:1" }))))
    end)
  end)

  describe("speaks TLS", function()
    it("with the certificate checked, and keeps the connections", function()
      local tls = require("spec.tls_helper")
      local server = assert(grun.server("https://127.0.0.1:0", function(req) return req.scheme end, tls.server()))
      servers[#servers + 1] = server
      local url = server:address():gsub("127.0.0.1", "localhost")
      assert.equal("tls_verify", (select(3, grun.http.get(url))))
      local opts = { tls = { ca = tls.path("root.pem") } }
      for _ = 1, 5 do
        assert.equal("https", assert(grun.http.get(url, opts)).body)
        assert.equal("https", grun.http.get(url, { tls = { ca = tls.path("root.pem") } }).body)
      end
      assert.equal(2, server:stats().accepted + server:stats().errors)
      assert.equal("https", grun.http.get(url, { tls = { verify = false } }).body)
      assert.equal(3, server:stats().accepted + server:stats().errors)
      local context = grun.tls.context({ ca = tls.path("root.pem") })
      assert.equal("https", grun.http.get(url, { tls = context }).body)
      local plain = serve(function() return 302, { Location = url }, "" end)
      assert.equal("https", grun.http.get(plain, opts).body)
    end)

    it("and refuses a redirect back to http", function()
      local tls = require("spec.tls_helper")
      local plain = serve(function() return "plain" end)
      local server = assert(grun.server("https://127.0.0.1:0", function()
        return 302, { Location = plain }, ""
      end, tls.server()))
      servers[#servers + 1] = server
      local opts = { tls = { ca = tls.path("root.pem") } }
      assert.same({ nil, "redirect from https to http refused", "redirect" }, { grun.http.get(server:address(), opts) })
      opts.insecure_redirects = true
      assert.equal("plain", grun.http.get(server:address(), opts).body)
    end)
  end)

  -- In a process of its own: the more others have in the heap, the later garbage is collected.
  it("moves 100 MiB up and down as streams, in little memory", function()
    local out, err = helper.run_script([[
      local grun = require("grun")
      local size, piece = 100 * 2 ^ 20, ("x"):rep(65536)
      local function many()
        local left = size / #piece
        return function()
          left = left - 1
          return left >= 0 and piece or nil
        end
      end
      local function count(body)
        local n = 0
        for data in function() return body:read() end do
          n = n + #data
        end
        return n
      end
      local function peak() -- KiB
        return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)"))
      end
      local url = grun.server("http://127.0.0.1:0", function(req)
        return req.method == "GET" and many() or tostring(count(req))
      end):address()
      grun.http.post(url, { body = piece })
      local before = peak()
      print(grun.http.post(url, { body = many() }).body)
      local res = assert(grun.http.get(url, { stream = true }))
      print(count(res))
      local name = os.tmpname()
      os.execute("truncate -s " .. size .. " " .. name)
      print(grun.http.post(url, { file = name }).body)
      os.remove(name)
      print(peak() - before)
      os.exit(0)
    ]], { timeout = 60 })
    local moved, grown = out:match("^(.*\n)(%d+)\n$")
    assert.equal(("104857600\n"):rep(3), moved, out .. err)
    local sanitizer = helper.grun:find("asan") and 400000 or 0 -- keeps what was freed for a while
    assert.is_true(tonumber(grown) < 20000 + sanitizer, grown)
  end)

  describe("understands", function()
    local function start(command)
      local tls = require("spec.tls_helper")
      local port = tls.free_port()
      local process = tls.start("exec " .. command:format(port))
      finally(function()
        process.kill()
        process.finish()
      end)
      local limit = grun.now() + 15
      local conn
      repeat
        grun.sleep(0.02)
        conn = grun.connect("tcp://127.0.0.1:" .. port)
      until conn or grun.now() > limit
      assert(conn):close()
      return "http://127.0.0.1:" .. port
    end

    plain_it("python's http.server", function()
      local url = start("python3 -m http.server --bind 127.0.0.1 --directory scripts/examples %d")
      assert.equal(helper.contents("scripts/examples/echo.lua"), assert(grun.http.get(url .. "/echo.lua")).body)
      assert.equal(404, grun.http.get(url .. "/none").status)
      assert.equal(501, grun.http.post(url .. "/", { body = "x" }).status)
      local res = grun.http.get(url .. "/echo.lua", { stream = true })
      assert.matches("SPDX", res:lines()())
      res:close()
      grun.http.close_idle()
    end)
  end)
end)
