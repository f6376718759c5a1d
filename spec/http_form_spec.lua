-- SPDX-License-Identifier: MIT
-- What requests and responses can do besides: forms, JSON, cookies, redirects.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local request = http.request

describe("of an HTTP server", function()
  local it, serve = http.test(it, function(fn) finally(fn) end)

  local function multipart(parts, boundary)
    local out = {}
    boundary = boundary or "XX"
    for _, part in ipairs(parts) do
      out[#out + 1] = ("--%s\r\nContent-Disposition: form-data; %s\r\n%s\r\n%s\r\n"):format(boundary,
        part[1], part[3] or "", part[2])
    end
    out[#out + 1] = "--" .. boundary .. "--\r\n"
    return table.concat(out)
  end

  local MULTIPART = { ["Content-Type"] = "multipart/form-data; boundary=XX" }
  local URLENCODED = { ["Content-Type"] = "application/x-www-form-urlencoded" }

  describe("req:form()", function()
    local seen

    local function form_server(opts)
      return serve(function(req)
        seen = { req:form(opts) }
        if seen[1] then
          return "ok"
        end
      end)
    end

    it("reads urlencoded ones", function()
      local port = form_server()
      assert.equal(200, request(port, "POST", "/", URLENCODED, "a=1&b=x+y%21&a=2&c").status)
      assert.same({ { a = "1", b = "x y!", c = "" } }, seen)
    end)

    it("reads multipart ones, however they are split", function()
      local port = form_server()
      local body = multipart({
        { 'name="text"', "two\r\nlines" },
        { 'name="up"; filename="a \\"b\\".txt"', ("\r\n--X"):rep(100),
          "Content-Type: text/x\r\nX-Other: 1\r\n" },
        { 'name="text"', "second" }, { 'name="empty"', "" },
      })
      for _, step in ipairs({ 1, 13, 100000 }) do
        local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
        conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; " ..
          "boundary=\"XX\"\r\nContent-Length: " .. #body .. "\r\n\r\n")
        for i = 1, #body, step do
          conn:write(body:sub(i, i + step - 1))
          grun.yield()
        end
        assert.equal(200, http.response(conn).status)
        conn:close()
        assert.equal("two\r\nlines", seen[1].text)
        assert.equal("", seen[1].empty)
        assert.same({
          name = "up", filename = 'a "b".txt', content_type = "text/x", data = ("\r\n--X"):rep(100),
          headers = {
            ["content-type"] = "text/x", ["x-other"] = "1",
            ["content-disposition"] = 'form-data; name="up"; filename="a \\"b\\".txt"',
          },
        }, seen[1].up)
      end
    end)

    it("answers 413, 400 and 415 unless the handler says something else", function()
      local port = form_server({ max = 10, max_fields = 2, max_files = 1, max_file = 20 })
      local file = { 'name="f"; filename="f"', ("x"):rep(21) }
      local cases = {
        { 413, "too_large", URLENCODED, "a=3456789ab" },
        { 413, "too_large", URLENCODED, "a&b&c" },
        { 413, "too_large", MULTIPART, multipart({ { 'name="a"', "0123456789a" } }) },
        { 413, "too_large", MULTIPART, multipart({ { 'name="a"', "012345" }, { 'name="b"', "6789ab" } }) },
        { 413, "too_large", MULTIPART, multipart({ file }) },
        { 413, "too_large", MULTIPART, multipart({
          { 'name="f"; filename="f"', "" }, { 'name="f"; filename="f"', "" } }) },
        { 413, "too_large", MULTIPART, multipart({
          { 'name="a"', "" }, { 'name="b"', "" }, { 'name="c"', "" } }) },
        { 413, "too_large", MULTIPART, multipart({
          { 'name="a"', "" }, { 'name="b"', "" }, { 'name="c"', "" }, { 'name="d"', "" } }) },
        { 400, "protocol", MULTIPART, "--XX\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\ncut" },
        { 400, "protocol", MULTIPART, multipart({ { "x=y", "no name" } }) },
        { 400, "protocol", MULTIPART, "" },
        { 400, "protocol", { ["Content-Type"] = "multipart/form-data" }, "--XX--\r\n" },
        { 415, "type", { ["Content-Type"] = "text/plain" }, "a=1" },
        { 415, "type", {}, "a=1" },
      }
      for i, case in ipairs(cases) do
        assert.equal(case[1], request(port, "POST", "/", case[3], case[4]).status, i)
        assert.equal(case[2], seen[3], i)
      end
      assert.equal(200, request(port, "POST", "/", MULTIPART, multipart({
        { 'name="a"', "01234" }, { 'name="b"', "56789" }, { 'name="f"; filename="f"', ("x"):rep(20) },
      })).status)
    end)

    it("knows how clients write the names of files", function()
      local port = serve(function(req)
        return req:form().f.filename
      end)
      for written, name in pairs({
        ['"a.txt"'] = "a.txt", ["a.txt"] = "a.txt", ['""'] = "", ['"a;b"'] = "a;b",
        ['"a\\"b\\\\c"'] = 'a"b\\c', -- curl --form-escape
        ['"C:\\temp\\x.txt"'] = "C:\\temp\\x.txt", ['"a%22b"'] = "a%22b", -- browsers
        ['"\195\169\226\130\172"'] = "\195\169\226\130\172",
      }) do
        local body = multipart({ { 'name="f"; filename=' .. written, "" } })
        assert.equal(name, request(port, "POST", "/", MULTIPART, body).body or "")
      end
    end)

    it("hands files on while they arrive", function()
      local most, total = 0, 0
      local port = serve(function(req)
        local form = assert(req:form({ file = function(part)
          if part.filename == "skip" then
            return false
          end
          for piece in function() return part:read() end do
            total = total + #piece
            most = math.max(most, #piece)
          end
          return part.filename
        end }))
        return form.big .. tostring(form.other) .. form.after
      end)
      local body = multipart({
        { 'name="big"; filename="big.bin"', ("x"):rep(3000000) },
        { 'name="other"; filename="skip"', ("y"):rep(100000) }, { 'name="after"', "!" },
      })
      assert.equal("big.binfalse!", request(port, "POST", "/", MULTIPART, body).body)
      assert.equal(3000000, total)
      assert.is_true(most <= 65536)
    end)

    it("goes through parts one by one", function()
      local port = serve(function(req)
        local names = {}
        for part in assert(req:multipart()) do
          names[#names + 1] = part.name .. "=" .. (part.name == "b" and "-" or part:body())
        end
        return table.concat(names, " ")
      end)
      local body = multipart({ { 'name="a"', "1" }, { 'name="b"', "2" }, { 'name="c"', "3" } })
      assert.equal("a=1 b=- c=3", request(port, "POST", "/", MULTIPART, body).body)
    end)

    it("has the client's faults answered as such when the handler raises them", function()
      local port = serve(function(req)
        for part in assert(req:multipart()) do
          part:body()
        end
        return "x"
      end)
      local reports = helper.reports(function()
        assert.equal(415, request(port, "POST", "/", URLENCODED, "a=1").status)
        assert.equal(400, request(port, "POST", "/", MULTIPART, "--XX\r\ncut").status)
        assert.equal(200, request(port, "POST", "/", MULTIPART, "--XX--\r\n").status)
      end)
      assert.equal(2, #reports)
    end)

    it("refuses bad options", function()
      local wrong
      local port = serve(function(req)
        local _
        _, wrong = pcall(function()
          helper.misuse(function() _ = req:form(1) end, "form: table of options expected, got number")
          helper.misuse(function() _ = req:form({ maximum = 1 }) end, "form: unknown option 'maximum'")
          helper.misuse(function() _ = req:multipart({ max = "1" }) end,
            "multipart: option 'max': number expected, got string")
        end)
        return "x"
      end)
      request(port, "POST", "/", URLENCODED, "a")
      assert.is_nil(wrong)
    end)

    it("takes curl's", function()
      local port = form_server()
      local name = helper.tmpname(("curl"):rep(50000))
      local command = "curl -s -m 10 --form-string 'a=b;c' -F 'file=@%s;type=text/x' http://127.0.0.1:%d/"
      local pipe = io.popen(command:format(name, port))
      assert.equal("ok", pipe:read("*a"))
      pipe:close()
      assert.equal("b;c", seen[1].a)
      assert.equal(200000, #seen[1].file.data)
      assert.equal("text/x", seen[1].file.content_type)
    end)
  end)

  it("req:json() and res:json() speak JSON", function()
    local seen
    local port = serve(function(req, res)
      seen = { req:json(100) }
      if seen[1] then
        return res:json({ got = seen[1] }, 201)
      end
    end)
    local kind = { ["Content-Type"] = "application/json; charset=utf-8" }
    local res = request(port, "POST", "/", kind, '{"a":[1,"\\u00e4"]}')
    assert.equal(201, res.status)
    assert.equal("application/json", res.headers["content-type"])
    assert.equal('{"got":{"a":[1,"ä"]}}', res.body)
    assert.equal(400, request(port, "POST", "/", kind, '{"a":[1').status)
    assert.equal("protocol", seen[3])
    assert.equal(415, request(port, "POST", "/", { ["Content-Type"] = "text/plain" }, "{}").status)
    assert.equal("type", seen[3])
    assert.equal(413, request(port, "POST", "/", kind, ("1"):rep(101)).status)
    assert.equal(400, request(port, "POST", "/", kind, ("["):rep(90)).status)
    assert.equal(201, request(port, "POST", "/", { ["Content-Type"] = "application/x+json" }, "1").status)
  end)

  it("res:json() says what JSON cannot", function()
    local problem
    local port = serve(function(_, res)
      problem = select(2, pcall(res.json, res, { print }))
      return 418
    end)
    assert.equal(418, request(port, "GET", "/").status)
    assert.matches("json: Cannot serialise function", problem)
  end)

  it("cookies are read and set", function()
    local problems = {}
    local port = serve(function(req, res)
      local cookies = req:cookies()
      assert(cookies == req:cookies())
      res:cookie("a", cookies.x .. cookies.y)
      res:cookie("b", "1", { max_age = 60, path = "/p", domain = "d.org", secure = true,
        http_only = false, same_site = "none" })
      for i, bad in ipairs({
        { "a b", "c" }, { "a", "c;d" }, { "a", "c\r\nd" }, { "a", "b", { path = "/;x" } },
        { "a", "b", { same_site = "none" } }, { "a", "b", { max = 1 } },
        { "a", "b", { same_site = "some" } },
      }) do
        local ok, problem = pcall(res.cookie, res, unpack(bad))
        assert(not ok, i)
        problems[i] = problem
      end
      return "ok"
    end)
    local text = http.raw(port,
      "GET / HTTP/1.1\r\nHost: a\r\nCookie: x=1; y=\"2\"; x=3\r\nConnection: close\r\n\r\n")
    assert.matches("\r\nSet-Cookie: a=12; Path=/; HttpOnly; SameSite=Lax\r\n", text, 1, true)
    assert.matches("\r\nSet-Cookie: b=1; Domain=d.org; Path=/p; Max-Age=60; Secure; SameSite=None\r\n",
      text, 1, true)
    assert.equal(7, #problems)
    assert.matches("cookie: unknown option 'max'", problems[6])
  end)

  it("res:cookie() says what is wrong, where it was called", function()
    local wrong
    local port = serve(function(_, res)
      local function bad(name, value, opts, message)
        helper.misuse(function() res:cookie(name, value, opts) end, "cookie: " .. message)
      end
      _, wrong = pcall(function()
        bad(nil, nil, nil, "name and value expected, got nil and nil")
        bad("a", nil, nil, "name and value expected, got string and nil")
        bad("a", "b", 1, "table of options expected, got number")
        bad("a", "b", { path = 1 }, "option 'path': string expected, got number")
        bad("a b", "c", nil, 'bad name "a b"')
        bad("a", "b;c", nil, 'the value of "a" has a character that may not stand there, or is too long')
        bad("a", "b", { path = ";" },
          "'domain' or 'path' has a character that may not stand there, or is too long")
        bad("a", "b", { same_site = "none" }, "option 'same_site': \"none\" needs 'secure'")
        bad("a", "b", { same_site = "x" }, "option 'same_site' must be \"lax\", \"strict\" or \"none\"")
        helper.misuse(function() res:json({}, "200") end, "json: status expected, got string")
      end)
      return "ok"
    end)
    request(port, "GET", "/")
    assert.is_nil(wrong)
  end)

  it("res:redirect() sends elsewhere, and nothing else", function()
    local problems = {}
    local port = serve(function(req, res)
      if req.path == "/bad" then
        for i, bad in ipairs({ { "/a\r\nX: y" }, { "" }, { 7 }, { "/", 200 }, { "/", 304 } }) do
          problems[i] = select(2, pcall(res.redirect, res, unpack(bad)))
        end
        return 200
      end
      return res:redirect(req.query.to, tonumber(req.query.status))
    end)
    local res = request(port, "GET", "/?to=/a%20b%C3%A4%3Fq=%22")
    assert.equal(302, res.status)
    assert.equal("/a%20b%C3%A4?q=%22", res.headers.location)
    assert.equal("", res.body)
    assert.equal(308, request(port, "GET", "/?to=http://x/&status=308").status)
    assert.equal(200, request(port, "GET", "/bad").status)
    assert.equal(5, #problems)
    assert.matches("control character", problems[1])
    assert.matches("status must be", problems[4])
  end)

  it("TRACE and CONNECT get 501 from handlers that do not look at the method", function()
    local port = serve(function(req)
      if req.path == "/status" then
        return 405
      end
      return "hello"
    end)
    assert.equal(501, request(port, "TRACE", "/").status)
    assert.equal(405, request(port, "TRACE", "/status").status)
    assert.matches("^HTTP/1.1 501 ", http.raw(port, "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n"))
    assert.equal(200, request(port, "BREW", "/").status)
  end)
end)

describe("grun.core.httptext", function()
  local text = require("grun.core.httptext")

  it("encodes and decodes", function()
    assert.equal("a%20b%2Fc", text.percent_encode("a b/c"))
    assert.equal("a%20b/c", text.percent_encode("a b/c", "path"))
    assert.equal("a+b", text.percent_encode("a b", "form"))
    assert.equal("a b", text.percent_decode("a+b", true))
    assert.equal("a+b", text.percent_decode("a+b"))
    assert.is_nil((text.percent_decode("%g0")))
    for plain, encoded in pairs({ [""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
      ["\0\255\16\131"] = "AP8Qgw==" }) do
      assert.equal(encoded, text.base64_encode(plain))
      assert.equal(plain, text.base64_decode(encoded))
    end
    for _, bad in ipairs({ "Z", "Zg", "Zg=", "Z===", "====", "Zg==Zg==", "Zm9v\n", "Zm*v", "=" }) do
      assert.is_nil(text.base64_decode(bad), bad)
    end
    for n = 0, 100 do
      local data = ("\1\250x"):rep(50):sub(1, n)
      assert.equal(data, text.base64_decode(text.base64_encode(data)))
    end
  end)

  it("knows fields", function()
    assert.same({ "text/html", { charset = "a b" } }, { text.media_type('Text/HTML; Charset="a b"') })
    assert.is_nil(text.media_type("junk/"))
    assert.equal(0.5, text.accept_quality("gzip;q=0.5, br", "gzip"))
    assert.is_nil(text.accept_quality("br", "gzip"))
    assert.equal("Sun, 06 Nov 1994 08:49:37 GMT", text.date(784111777))
    assert.equal(784111777, text.parse_date("Sun, 06 Nov 1994 08:49:37 GMT"))
    assert.is_nil(text.parse_date("yesterday"))
    assert.is_true(text.etag_match('"a", W/"b"', '"b"', true))
    assert.is_false(text.etag_match('"a", W/"b"', '"b"'))
    assert.same({ 0, 4, 8, 9 }, text.ranges("bytes=0-4,-2", 10, 5))
    assert.is_false(text.ranges("bytes=10-", 10, 5))
    assert.is_nil(text.ranges("bytes=0-0,1-1", 10, 1))
    assert.equal("a/c", text.resolve_path("/a/./b/../c"))
    assert.is_nil((text.resolve_path("/../x")))
  end)
end)
