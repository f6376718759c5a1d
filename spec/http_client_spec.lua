-- SPDX-License-Identifier: MIT
local grun = require("grun")
local client = require("spec.http_client_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")
local zlib = require("grun.core.zlib")

local serve, scripted, answering, read_head, OK =
  client.serve, client.scripted, client.answering, client.read_head, client.OK

describe("the HTTP client", function()
  local plain_it = it
  local it = client.wrap(it, function(fn) finally(fn) end)

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

    it("to hosts by IPv6 address, and to none that it cannot find", function()
      if not grun.listen("tcp://[::1]:0") then
        return
      end
      local server = client.keep(assert(grun.server("http://[::1]:0", function(req) return req.host end)))
      assert.equal(server:address():match("%[.*"), grun.http.get(server:address()).body)
      assert.equal("ENOTFOUND", (select(3, grun.http.get("http://nowhere.invalid/", { timeout = 10 }))))
    end)

    it("queries behind what the URL has", function()
      local url = serve(function(req) return req.target end)
      for target, expected in pairs({ [""] = "/?a=1", ["/?"] = "/?a=1", ["/x?b"] = "/x?b&a=1", ["?#c"] = "/?a=1" }) do
        assert.equal(expected, grun.http.get(url .. target, { query = { a = 1 } }).body)
      end
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
        { headers = { a = { "x", true } } }, { headers = { a = { "x\n" } } }, { auth = {} }, { auth = { "a:b", "c" } },
        { auth = { "a", {} } }, { headers = { ["Content-Length"] = "5" }, body = "x" },
        { multipart = { { value = "x" } } },
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
        assert.same({}, { res.headers.t, res.headers.link }) -- trailers, and fields of other heads
      end
      assert.equal("", get("HTTP/1.1 204 No Content\r\n\r\n").body)
      assert.equal("", get("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n").body)
      assert.same({ 200, "", "1.1" }, { (function(res) return res.status, res.reason, res.version end)(
        get("HTTP/1.2 200\r\nContent-Length: 0\r\n\r\n")) })
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
        ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab"] = "protocol",
        ["HTTP/1.1 200 OK\r\nContent-Length: 0x2\r\n\r\nab"] = "protocol",
        ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] =
          "protocol",
        ["HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nA: b\rc\r\n\r\n"] = "protocol", ["HTTP/1.1 200 OK\r\nA: b\0c\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"] = "protocol", ["HTTP/1.1 200 OK\r\n: b\r\n\r\n"] = "protocol",
        ["HTTP/1.1 200 OK\r\nA\r\n\r\n"] = "protocol", ["HTTP/1.1 099 OK\r\n\r\n"] = "protocol",
        ["HTTP/1.1 2000 OK\r\n\r\n"] = "protocol", ["HTTP/1.1  200 OK\r\n\r\n"] = "protocol",
        ["ICY 200 OK\r\n\r\n"] = "protocol", ["\r\nHTTP/1.1 200 OK\r\n\r\n"] = "protocol",
        [chunked .. "2;" .. ("x"):rep(300) .. "\r\nab\r\n0\r\n\r\n"] = "protocol",
        [chunked .. ("1;" .. ("x"):rep(250) .. "\r\na\r\n"):rep(70) .. "0\r\n\r\n"] = "protocol",
        [chunked .. "0\r\n" .. ("A: b\r\n"):rep(40) .. "\r\n"] = "protocol",
        [chunked .. "0\r\nA: " .. ("b"):rep(9000) .. "\r\n\r\n"] = "protocol",
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

    it("of more bytes than 32 bits can tell", function()
      local bytes = "HTTP/1.1 200 OK\r\nContent-Length: 4294967297\r\n\r\na" -- and not 1
      assert.equal("closed", (select(3, get(bytes, { max_body = 1e12 }))))
      assert.equal("too_large", (select(3, get(bytes))))
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

    it("that are compressed in an odd way", function()
      local text = ("to be compressed "):rep(1000)
      local packed = zlib.deflate(6):push(text, "finish")
      local function answer(body, status)
        return ("HTTP/1.1 %s\r\nContent-Encoding: x-GZIP\r\nContent-Length: %d\r\n\r\n%s"):format(
          status or "200 OK", #body, body)
      end
      for _, opts in ipairs({ {}, { stream = true } }) do
        local function body(bytes)
          local res, message, code = get(bytes, opts)
          if res and opts.stream then
            res.body, message, code = res:read("a")
          end
          return res and res.body, message, code
        end
        assert.equal(text .. text, body(answer(packed .. packed)))
        assert.equal("", body("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" ..
          "0\r\n\r\n"))
        assert.equal("", body("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n"))
        for _, broken in ipairs({ packed .. "more", packed:sub(1, 20), packed:sub(1, -2), "plain",
          packed:sub(1, -9) .. "12345678" }) do
          assert.equal("protocol", (select(3, body(answer(broken)))), #broken)
        end
        -- A part of what is compressed is no compressed part.
        assert.equal("par", body(answer("par", "206 Partial Content")))
      end
    end)

    it("without keeping others waiting, however much comes of little", function()
      local packed = zlib.deflate(9):push(("\0"):rep(2 ^ 25), "finish")
      local url = answering(("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s"):format(
        #packed, packed))
      local turns = 0
      helper.spawn(function()
        while true do
          turns = turns + 1
          grun.yield()
        end
      end)
      for _, stream in ipairs({ true, false }) do
        local res = assert(grun.http.get(url, { stream = true }))
        turns = 0
        res = assert(stream and res:read("a") or grun.http.get(url).body)
        assert.equal(2 ^ 25, #res)
        assert.is_true(turns >= 3, turns .. " turns")
      end
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
