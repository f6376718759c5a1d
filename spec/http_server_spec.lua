-- SPDX-License-Identifier: MIT
local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local raw, request, response = http.raw, http.request, http.response

describe("an HTTP server", function()
  local servers = {}
  local it, serve = http.test(it, function(fn) finally(fn) end, servers)

  local function connect(port)
    return assert(grun.connect("tcp://127.0.0.1:" .. port))
  end

  describe("answers with what the handler returns:", function()
    local function answer(...)
      local values = { n = select("#", ...), ... }
      return request(serve(function() return unpack(values, 1, values.n) end), "GET", "/")
    end

    it("a body", function()
      local res = answer("hello")
      assert.equal(200, res.status)
      assert.equal("hello", res.body)
      assert.equal("text/plain; charset=utf-8", res.headers["content-type"])
      assert.equal("5", res.headers["content-length"])
      assert.matches("^%a%a%a, %d%d %a%a%a %d%d%d%d %d%d:%d%d:%d%d GMT$", res.headers.date)
      assert.equal("42", answer(200, 42).body)
    end)

    it("a status, with its phrase as the body of an error", function()
      local res = answer(404)
      assert.equal(404, res.status)
      assert.equal("404 Not Found\n", res.body)
      assert.equal("", answer(200).body)
      assert.equal(204, answer().status)
      assert.equal(204, answer(nil).status)
    end)

    it("status and body; status, headers and body", function()
      local res = answer(201, { "a", 1, "b" })
      assert.equal(201, res.status)
      assert.equal("a1b", res.body)
      res = answer(200, { ["X-One"] = 1, ["Content-Type"] = "text/html" }, "<p>")
      assert.equal("1", res.headers["x-one"])
      assert.equal("text/html", res.headers["content-type"])
    end)

    it("fields that are strings, numbers or lists, behind those that were set before", function()
      local many = {}
      local port = serve(function(req, res)
        if req.path == "/many" then
          return 200, many, ""
        elseif req.path == "/set" then
          res:header("X-Set", "0")
        end
        return 200, req.path == "/plain" and { ["X-B"] = "1" } or { ["X-A"] = { "a", 2 }, ["X-B"] = 1 }, ""
      end)
      local function fields(path)
        local found = {}
        for field in raw(port, "GET " .. path .. " HTTP/1.0\r\n\r\n"):gmatch("X%-([^\r]*)") do
          found[#found + 1] = field
        end
        table.sort(found)
        return table.concat(found, " ")
      end
      assert.equal("B: 1", fields("/plain"))
      assert.equal("A: 2 A: a B: 1", fields("/lists"))
      assert.equal("A: 2 A: a B: 1 Set: 0", fields("/set"))
      for i = 1, 124 do
        many["X-" .. i] = "v"
      end
      assert.equal(123, select(2, fields("/many"):gsub(" %d+:", "")))
      many["X-125"] = "v"
      local list = helper.reports(function()
        assert.equal("", fields("/many"))
      end)
      assert.matches("more than 124 header fields in a response", list[1].err)
    end)

    it("whatever arguments it takes", function()
      local function count(...)
        return tostring(select("#", ...))
      end
      local callable = setmetatable({}, { __call = function(_, ...) return count(...) end })
      local handlers = {
        [function() return "none" end] = "none",
        [function(req) return req.path end] = "/",
        [function(req, res) return 200, type(req) .. type(res) end] = "userdatauserdata",
        [count] = "2",
        [callable] = "2",
        [type] = "userdata",
      }
      for handler, body in pairs(handlers) do
        assert.equal(body, request(serve(handler), "GET", "/").body)
      end
    end)

    it("a body of any size, alone and pipelined", function()
      local sizes = { 0, 1, 2047, 2048, 2049, 4096, 16384, 16385, 70000 }
      local body = ("0123456789abcdef"):rep(5000)
      local port = serve(function(req, res)
        local kind, size = req.path:match("^/(%a+)/(%d+)$")
        local text = body:sub(1, size)
        if kind == "string" then
          return text
        elseif kind == "table" then
          return { "", text:sub(1, 10), text:sub(11) }
        end
        res:header("Content-Length", size)
        res:write(text:sub(1, -3000))
        res:finish(text:sub(-2999))
      end)
      for _, kind in ipairs({ "string", "table", "pieces" }) do
        local all = {}
        for i, size in ipairs(sizes) do
          all[i] = ("GET /%s/%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(kind, size)
          assert.equal(body:sub(1, size), request(port, "GET", "/" .. kind .. "/" .. size).body)
        end
        local conn = connect(port)
        conn:write(all)
        for _, size in ipairs(sizes) do
          assert.equal(body:sub(1, size), response(conn).body)
        end
        conn:close()
      end
    end)

    it("an iterator, in chunks", function()
      local i = 0
      local res = answer(function()
        i = i + 1
        return i <= 3 and ("x"):rep(i * 20000) or nil
      end)
      assert.equal("chunked", res.headers["transfer-encoding"])
      assert.equal(120000, #res.body)
    end)

    it("whatever the response before it was", function()
      local USUAL = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
      local body = ("text "):rep(100)
      local function answers(what, opts)
        local port = serve(function(req, res)
          if req.path == "/field" then
            res:header("X-Field", "1")
          end
          return body
        end, opts)
        local text = raw(port, USUAL .. USUAL .. what .. "GET / HTTP/1.0\r\n\r\n")
        local list = {}
        for head in text:gmatch("HTTP/1.1 .-\r\n\r\n") do
          list[#list + 1] = head
        end
        assert.equal(4, #list)
        return list[3], text, list[2]
      end
      local head, text, before = answers(USUAL)
      assert.equal(before, head)
      assert.equal(4, select(2, text:gsub(body, "")))
      head, text = answers("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.matches("Content%-Length: 500\r\n", head)
      assert.equal(3, select(2, text:gsub(body, "")))
      head = answers("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
      assert.matches("Connection: keep%-alive\r\n", head)
      assert.matches("X%-Field: 1\r\n", (answers("GET /field HTTP/1.1\r\nHost: a\r\n\r\n")))
      assert.matches("Server: me\r\n", (answers(USUAL, { server_header = "me" })))
      head = answers("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n", { gzip = { min = 100 } })
      assert.matches("Content%-Encoding: gzip\r\n", head)
      grun.sleep(1.1)
      assert.not_equal(before:match("Date: .-\r\n"), answers(USUAL):match("Date: .-\r\n"))
    end)

    it("or else with 500 and a report, once", function()
      local list = helper.reports(function()
        local bad = {
          { 200, "x", "y" }, { true }, { { {} } }, { 700 }, { 99 }, { "a", "b" },
          { 200, { ["a b"] = "c" }, "" }, { 200, { a = "b\r\nc: d" }, "" },
          { 200, { a = {} , b = print }, "" }, { 200, { ["Content-Length"] = 7 }, "short" },
          { 200, { ["Transfer-Encoding"] = "chunked" }, "x" },
        }
        for i, values in ipairs(bad) do
          local res = answer(unpack(values))
          assert.equal(500, res.status, i)
          assert.equal("500 Internal Server Error\n", res.body)
          assert.is_nil(res.headers.c)
        end
      end)
      assert.equal(11, #list)
      assert.matches("bad response: ", list[1].err)
    end)
  end)

  describe("gives the handler a response object that", function()
    it("sets status and headers and sends pieces at once", function()
      local port = serve(function(_, res)
        res:status(202):header("X-A", "1"):header("X-A", "2")
        res:write("one")
        grun.sleep(0.05)
        assert.is_true(res:begun())
        res:write("two")
        res:finish("three")
      end)
      local conn = connect(port)
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local head = conn:read_until("\r\n\r\n")
      assert.matches("^HTTP/1.1 202 Accepted\r\nX%-A: 1\r\nX%-A: 2\r\n", head)
      assert.equal("3\r\none\r\n", conn:read(8))
      conn:close()
      assert.equal("onetwothree", request(port, "GET", "/").body)
    end)

    it("keeps to the Content-Length it was given", function()
      local port = serve(function(_, res)
        res:header("Content-Length", 6)
        res:write("abc")
        res:write("def")
      end)
      local res = request(port, "GET", "/")
      assert.equal("6", res.headers["content-length"])
      assert.is_nil(res.headers["transfer-encoding"])
      assert.equal("abcdef", res.body)
    end)

    it("raises for more, and closes after less", function()
      local list = helper.reports(function()
        local port = serve(function(req, res)
          res:header("Content-Length", 3)
          res:write("ab")
          if req.path == "/more" then
            res:write("cd")
          end
        end)
        local text, code = raw(port, "GET /less HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.matches("\r\n\r\nab$", text)
        assert.equal("closed", code)
        text, code = raw(port, "GET /more HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.matches("\r\n\r\nab$", text)
        assert.equal("closed", code)
      end)
      assert.equal(1, #list)
      assert.matches("body is longer than its Content-Length", list[1].err, 1, true)
    end)

    it("sees the fields of each request, however like the one before it is", function()
      local kept = {}
      local port = serve(function(req)
        kept[#kept + 1] = req
        return req.path .. " " .. req:header("x-changes") .. req:header("x-last")
      end)
      local fields = "Host: a\r\nX-Changes: %s\r\nX-Last: %s\r\nX-Long: %s\r\n\r\n"
      local conn = connect(port)
      local sent = {
        { "/a", 1, 2, 500 }, { "/a", 1, 2, 500 }, { "/bc", 1, 2, 500 }, { "/bc", 3, 2, 500 }, { "/", 3, 45, 500 },
        { "/", 3, 4, 0 }, { "/x", 3, 4, 0 }, { "/", 3, 4, 3000 }, { "/", 3, 4, 3000 }, { "/", 3, 4, 0 },
        { "/", 3, 4, 1 }, { "/", 3, 5, 1 }, { "/", 3, 5, 1 },
      }
      for _, one in ipairs(sent) do
        conn:write("GET " .. one[1] .. " HTTP/1.1\r\n" .. fields:format(one[2], one[3], ("x"):rep(one[4])))
        assert.equal(("%s %s%s"):format(unpack(one)), response(conn).body)
        collectgarbage()
      end
      conn:close()
      for i, req in ipairs(kept) do
        assert.equal(tostring(sent[i][2]), req.headers["x-changes"])
        assert.equal(sent[i][4], #req:header("x-long"))
      end
    end)

    it("is not kept while its connection is idle", function()
      local seen = setmetatable({}, { __mode = "k" })
      local port = serve(function(req)
        req.mine = {}
        seen[req], seen[req.mine] = true, true
        return "done"
      end)
      local conn = connect(port)
      for _ = 1, 2 do
        conn:write("GET / HTTP/1.1\r\nHost: a\r\nX-Long: " .. ("x"):rep(500) .. "\r\n\r\n")
        assert.equal("done", response(conn).body)
      end
      grun.sleep(0.01)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(seen))
      conn:close()
    end)

    it("is over when the response is, and refuses a second one", function()
      local kept_req, kept_res, first, second
      local port = serve(function(req, res)
        kept_req, kept_res = req, res
        res:finish("done")
        first = { pcall(res.write, res, "x") }
        second = { pcall(res.status, res, 200) }
      end)
      assert.equal("done", request(port, "GET", "/").body)
      assert.matches("has been finished", first[2])
      assert.matches("head of the response has been sent", second[2])
      local conn = connect(port)
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      response(conn)
      local old_req, old_res = kept_req, kept_res
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      response(conn)
      assert.matches("the response is over", select(2, pcall(old_res.write, old_res, "x")))
      assert.matches("the request is over", select(2, pcall(old_req.body, old_req)))
      assert.equal("/", old_req.path)
      conn:close()
    end)
  end)

  describe("lets threads share a response:", function()
    local PIECE = 2000000

    -- Serves with that handler, to a client that takes nothing for a while; returns what comes.
    local function slowly(handler)
      local conn = connect(serve(handler))
      conn:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      grun.sleep(0.1)
      local res = response(conn)
      conn:close()
      return res
    end

    it("each writes its pieces in its turn", function()
      local function writer(res, letter)
        return grun.spawn(function()
          for _ = 1, 3 do
            assert(res:write(letter:rep(PIECE)))
          end
        end)
      end
      local res = slowly(function(_, res)
        grun.joinall({ writer(res, "a"), writer(res, "b") })
      end)
      assert.equal(6 * PIECE, #res.body)
      local n = 0
      for run in res.body:gmatch("a+") do
        n = n + #run
        assert.equal(0, #run % PIECE)
      end
      assert.equal(3 * PIECE, n)
    end)

    it("the handler's end waits for who is writing", function()
      local res = slowly(function(_, res)
        res:write("first,")
        grun.spawn(res.write, res, ("x"):rep(PIECE))
        grun.yield()
      end)
      assert.equal(6 + PIECE, #res.body)
    end)

    it("who comes too late is told", function()
      local told
      local res = slowly(function(_, res)
        grun.spawn(res.write, res, ("x"):rep(PIECE))
        grun.yield()
        local finisher = grun.spawn(res.finish, res)
        local late = grun.spawn(function()
          told = { pcall(res.write, res, "late") }
        end)
        grun.joinall({ finisher, late })
      end)
      assert.equal(PIECE, #res.body)
      for _ = 1, 500 do
        if told then
          break
        end
        grun.sleep(0.01)
      end
      assert.is_false(told[1])
      assert.matches("has been finished", told[2])
    end)
  end)

  it("gives the handler the parts of the request", function()
    local seen
    local port = serve(function(req)
      seen = {
        method = req.method, path = req.path, raw_path = req.raw_path, target = req.target,
        query = req.query, query_string = req.query_string, version = req.version,
        host = req.host, scheme = req.scheme, peer = req.peer, a = req:header("x-A"),
        headers = req.headers, same = req.headers == req.headers, text = tostring(req),
        nothing = req.nothing, none = req:header("none"),
      }
      req.user = "ann"
      seen.user = req.user
      req.headers = { mine = "1" }
      seen.replaced = req.headers.mine
      req.headers = nil
      seen.again = req.headers.host
      seen.conn = req.conn == req.conn and tostring(req.conn):match("^%a+")
    end)
    raw(port, "GET /a%20b/c?x=1&y=%41+b&x=2&z HTTP/1.1\r\nHost: h:1\r\nX-a: 1\r\nx-A: 2\r\n" ..
      "Cookie: a=1\r\nCookie: b=2\r\nConnection: close\r\n\r\n")
    assert.same({
      method = "GET", path = "/a b/c", raw_path = "/a%20b/c",
      target = "/a%20b/c?x=1&y=%41+b&x=2&z", query = { x = "1", y = "A b", z = "" },
      query_string = "x=1&y=%41+b&x=2&z", version = "1.1", host = "h:1", scheme = "http",
      peer = seen.peer, a = "1, 2", same = true, user = "ann", replaced = "1", again = "h:1",
      conn = "conn",
      headers = { host = "h:1", ["x-a"] = "1, 2", cookie = "a=1; b=2", connection = "close" },
      text = "request GET /a%20b/c?x=1&y=%41+b&x=2&z",
    }, seen)
    assert.matches("^tcp://127%.0%.0%.1:%d+$", seen.peer)
    assert.equal("h:1", seen.headers.HOST)
  end)

  describe("reads bodies", function()
    local function echo(opts)
      return serve(function(req)
        local body, message, code = req:body()
        return body or { message, code }
      end, opts)
    end

    it("with a length and in chunks, however they are split", function()
      local port = echo()
      assert.equal("hello", request(port, "POST", "/", nil, "hello").body)
      local bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" ..
        "3;x=y\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: x\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"
      for _, step in ipairs({ 1, 7, 1000 }) do
        local conn = connect(port)
        for i = 1, #bytes, step do
          conn:write(bytes:sub(i, i + step - 1))
          grun.yield()
        end
        assert.equal("abcd", response(conn).body)
        assert.equal("", response(conn).body)
        conn:close()
      end
    end)

    it("in pieces and by counts", function()
      local port = serve(function(req)
        local got = {}
        got[1] = req:read(3)
        got[2] = req:read(4)
        for piece in function() return req:read() end do
          got[#got + 1] = piece
        end
        got[#got + 1] = tostring((req:read())) .. tostring((req:read(5))) .. req:read("a")
        return table.concat(got, "|")
      end)
      assert.equal("abc|defg|hij|nilnil", request(port, "POST", "/", nil, "abcdefghij").body)
    end)

    it("up to a limit, answered with 413 if the handler says nothing else", function()
      local port = serve(function(req)
        local body, message, code = req:body(tonumber(req.query.max))
        if req.query.say then
          return { message, " ", code }
        end
        return body
      end, { max_body = 10 })
      assert.equal("0123456789", request(port, "POST", "/", nil, "0123456789").body)
      assert.equal(413, request(port, "POST", "/", nil, "0123456789a").status)
      assert.equal("body too large too_large", request(port, "POST", "/?say=1", nil, "0123456789a").body)
      assert.equal(200, request(port, "POST", "/?max=20", nil, "0123456789a").status)
      local text = raw(port, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" ..
        "b\r\n0123456789a\r\n0\r\n\r\n")
      assert.matches("^HTTP/1.1 413 ", text)
    end)

    it("and asks for them when the client waits for that", function()
      local port = serve(function(req)
        return req.path == "/no" and 403 or req:body()
      end)
      local conn = connect(port)
      local head = "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"
      conn:write(head:format("/yes"))
      assert.equal("HTTP/1.1 100 Continue\r\n\r\n", conn:read(25))
      conn:write("hello")
      assert.equal("hello", response(conn).body)
      conn:write(head:format("/no"))
      local res = response(conn)
      assert.equal(403, res.status)
      assert.equal("closed", select(3, conn:read("l")))
      conn:close()
    end)

    it("and does not ask in the middle of a response", function()
      local port = serve(function(req, res)
        res:write("begun ")
        res:write(req:body())
      end)
      local conn = connect(port)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
      assert.equal("begun body", response(conn).body)
      conn:close()
    end)

    it("that nobody read, to go on behind them; long ones end the connection", function()
      local port = serve(function() return "ok" end)
      local conn = connect(port)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n", ("x"):rep(60000),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal("ok", response(conn).body)
      assert.equal("ok", response(conn).body)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n")
      assert.equal("ok", response(conn).body)
      assert.equal("closed", select(3, conn:read("l")))
      conn:close()
    end)

    it("and says why one could not be read", function()
      local seen
      local port, server = serve(function(req)
        seen = { req:body() }
      end, { body_timeout = 0.05 })
      local conn = connect(port)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
      assert.equal(408, response(conn).status)
      assert.same({ nil, "timeout", "timeout" }, seen)
      conn:close()
      conn = connect(port)
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
      conn:shutdown("w")
      assert.equal(400, response(conn).status)
      assert.same({ nil, "closed", "closed" }, seen)
      conn:close()
      local text = raw(port, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n")
      assert.matches("^HTTP/1.1 400 ", text)
      assert.equal("protocol", seen[3])
      assert.equal(0, server:stats().errors)
    end)
  end)

  describe("keeps connections", function()
    local function path_of(req)
      return req.path
    end

    local function heads(bytes)
      return select(2, raw(serve(path_of), bytes, 0.1))
    end

    it("of HTTP/1.1, not of HTTP/1.0, as the client asks", function()
      assert.equal("timeout", heads("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
      assert.equal("closed", heads("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
      assert.equal("closed", heads("GET / HTTP/1.0\r\n\r\n"))
      assert.equal("timeout", heads("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))
    end)

    it("and answers pipelined requests in order, in few pieces", function()
      local bytes = {}
      for i = 1, 100 do
        bytes[i] = "GET /" .. i .. " HTTP/1.1\r\nHost: a\r\n\r\n"
      end
      local conn = connect(serve(path_of))
      conn:write(bytes)
      for i = 1, 100 do
        assert.equal("/" .. i, response(conn).body)
      end
      conn:close()
    end)

    it("for so many requests as max_requests says", function()
      local port = serve(function() return "ok" end, { max_requests = 2 })
      local conn = connect(port)
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.is_nil(response(conn).headers.connection)
      assert.equal("close", response(conn).headers.connection)
      assert.equal("closed", select(3, conn:read("l")))
      conn:close()
    end)

    it("until they are silent for too long", function()
      local port = serve(function() return "ok" end, { idle_timeout = 0.05, header_timeout = 0.1 })
      local text, code = raw(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 2)
      assert.matches("ok$", text)
      assert.equal("closed", code)
      assert.same({ "", "closed" }, { raw(port, "", 2) })
      text = raw(port, "GET / HT", 2)
      assert.matches("^HTTP/1.1 408 Request Timeout\r\n.*Connection: close", text)
    end)
  end)

  it("sends no body where none belongs", function()
    local port = serve(function(req)
      local status = tonumber(req.query.status)
      if status then
        return status
      end
      return "hello"
    end)
    local res = request(port, "HEAD", "/")
    assert.equal("5", res.headers["content-length"])
    local text = raw(port, "HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.matches("\r\n\r\n$", text)
    text = raw(port, "GET /?status=204 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.is_nil(text:find("Content-Length", 1, true))
    assert.matches("\r\n\r\n$", text)
    text = raw(port, "GET /?status=304 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.matches("^HTTP/1.1 304 Not Modified\r\n", text)
    local pieces
    local other = serve(function(req, reply)
      reply:status(tonumber(req.query.status))
      if req.path == "/write" then
        reply:write("text")
        return reply:finish()
      elseif req.path == "/iterator" then
        return reply:finish(function() return table.remove(pieces) end)
      end
      return reply:finish("text")
    end)
    for _, case in ipairs({ { "GET", 204 }, { "GET", 304 }, { "HEAD", 200 }, { "HEAD", 404 } }) do
      for _, path in ipairs({ "/write", "/finish", "/iterator" }) do
        pieces = { "more", "text" }
        local method, status = unpack(case)
        text = raw(other, ("%s %s?status=%d HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"):format(method, path,
          status))
        assert.matches("^HTTP/1.1 " .. status, text)
        assert.equal(method == "HEAD", text:find("Content-Type", 1, true) ~= nil)
        assert.matches("^[^\r]+\r\n.*\r\n\r\n$", text)
        assert.is_nil(text:find("\r\n\r\n.")) -- nothing follows
      end
    end
  end)

  it("answers what is no request with its status and closes, once", function()
    local calls = 0
    local port = serve(function()
      calls = calls + 1
      return "ok"
    end, { max_line = 100, max_header = 300, max_headers = 5 })
    local bad = {
      { "GET / HTTP/1.1\r\n\r\n", 400 },
      { "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400 },
      { "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400 },
      { "GET / HTTP/1.1\nHost: a\n\n", 400 },
      { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400 },
      { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400 },
      { "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400 },
      { "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501 },
      { "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505 },
      { "GET /" .. ("x"):rep(100) .. " HTTP/1.1\r\nHost: a\r\n\r\n", 414 },
      { "GET / HTTP/1.1\r\nHost: a\r\nX: " .. ("x"):rep(300) .. "\r\n\r\n", 431 },
      { "GET / HTTP/1.1\r\nHost: a\r\n" .. ("A: b\r\n"):rep(5) .. "\r\n", 431 },
      { "\22\3\1\2\0\1\0\1\252\3\3", 400 },
    }
    for _, case in ipairs(bad) do
      local text, code = raw(port, case[1] .. "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      local status = tonumber(text:match("^HTTP/1.1 (%d+) "))
      assert.is_true(status == case[2] or status == 400 and case[2] == 501, case[1] .. text)
      assert.matches("Connection: close", text)
      assert.equal(1, select(2, text:gsub("HTTP/1.1", "")))
      assert.equal("closed", code)
    end
    assert.equal(0, calls)
  end)

  it("reports an error of the handler once, and goes on", function()
    local port, server
    local list = helper.reports(function()
      port, server = serve(function(req, res)
        if req.path == "/late" then
          res:write("some")
        end
        error(req.path == "/object" and { code = 1 } or "oops " .. req.path)
      end)
      local conn = connect(port)
      for _, path in ipairs({ "/a", "/object" }) do
        conn:write("GET ", path, " HTTP/1.1\r\nHost: a\r\n\r\n")
        assert.equal(500, response(conn).status)
      end
      conn:write("GET /late HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.matches("\r\n4\r\nsome\r\n$", (conn:read("a")))
      conn:close()
    end)
    assert.equal(3, #list)
    assert.matches("oops /a$", list[1].err)
    assert.matches("stack traceback", list[1].traceback)
    assert.same({ code = 1 }, list[2].err)
    assert.equal(3, server:stats().errors)
  end)

  it("tells on_error of it instead, if there is one", function()
    local seen
    local port = serve(function() error("oops", 0) end, {
      on_error = function(err, traceback, req)
        seen = { err, type(traceback), req.path }
      end,
    })
    assert.equal(500, request(port, "GET", "/x").status)
    assert.same({ "oops", "string", "/x" }, seen)
  end)

  it("notices a client that has gone when it writes", function()
    local result
    local port = serve(function(_, res)
      for _ = 1, 1000 do
        local ok, _, code = res:write(("x"):rep(100000))
        if not ok then
          result = code
          return
        end
      end
    end)
    local conn = connect(port)
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read(1000)
    conn:setoption("linger", 0)
    conn:close()
    local limit = grun.now() + 5
    while not result and grun.now() < limit do
      grun.sleep(0.005)
    end
    assert.is_true(result == "ECONNRESET" or result == "EPIPE", tostring(result))
  end)

  it("gives the connection away", function()
    local port = serve(function(req, res)
      assert.equal("chat", req:header("upgrade"))
      local conn = res:header("Upgrade", "chat"):header("Connection", "Upgrade"):upgrade()
      for line in conn:lines() do
        conn:write("you said ", line, "\n")
      end
    end)
    local conn = connect(port)
    conn:write("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\nearly\n")
    assert.matches("^HTTP/1.1 101 Switching Protocols\r\n", conn:read_until("\r\n\r\n"))
    assert.equal("you said early", conn:read("l"))
    conn:write("late\n")
    assert.equal("you said late", conn:read("l"))
    conn:close()
  end)

  describe("switches to a protocol only if the client offers it:", function()
    local OFFER = { Connection = "keep-alive, Upgrade", Upgrade = "Chat/2, other" }

    -- Offers of a client -> what the handler sets as Upgrade -> the status, and what upgrade returned.
    local function ask(upgrade, head)
      local got
      local port, server = serve(function(req, res)
        if req.path == "/next" then
          return "next"
        end
        if upgrade then
          res:header("Upgrade", upgrade):header("Connection", "Upgrade")
        end
        got = { res:upgrade() }
      end)
      local conn = connect(port)
      conn:write(head, "\r\n")
      conn:settimeout(5)
      local res = response(conn)
      if res.status ~= 101 then
        conn:write("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        res.after = (response(conn) or {}).body
      end
      conn:close()
      assert.equal(0, server:stats().errors)
      return res, got
    end

    local function head(fields, version)
      local lines = { "GET / HTTP/" .. (version or "1.1") .. "\r\nHost: a\r\n" }
      for name, value in pairs(fields) do
        lines[#lines + 1] = name .. ": " .. value .. "\r\n"
      end
      return table.concat(lines)
    end

    it("by its name", function()
      for _, upgrade in ipairs({ "chat", "CHAT", "chat/1", "other", "Other, chat", false }) do
        local res, got = ask(upgrade, head(OFFER))
        assert.same({ 101, upgrade or nil }, { res.status, res.headers.upgrade })
        assert.matches("^conn ", tostring(got[1]))
      end
    end)

    it("or else says which one", function()
      for _, fields in ipairs({ {}, { Upgrade = "chat" }, { Connection = "upgrade" },
        { Upgrade = "chats", Connection = "upgrade" }, { Upgrade = "", Connection = "upgrade" },
        { Upgrade = "2/chat", Connection = "upgrade" } }) do
        local res, got = ask("chat", head(fields))
        assert.same({ 426, "chat", "Upgrade", "426 Upgrade Required\n", "next" },
          { res.status, res.headers.upgrade, res.headers.connection, res.body, res.after })
        assert.same({ nil, "the client does not offer this protocol", "protocol" }, got)
      end
      local res = ask("chat, more", head(OFFER))
      assert.equal(426, res.status)
      res = ask(false, head({}))
      assert.same({ 400, nil, "next" }, { res.status, res.headers.upgrade, res.after })
    end)

    it("not on HTTP/1.0", function()
      local res, got = ask("chat", head(OFFER, "1.0"))
      assert.same({ 426, "protocol" }, { res.status, got[3] })
    end)

    it("not once the response is over", function()
      local old
      local port, server = serve(function(_, res)
        old = res
        return "ok"
      end)
      local conn = connect(port)
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      assert.equal(200, response(conn).status)
      conn:write("GET / HT")
      grun.sleep(0.02)
      conn:setoption("linger", 0)
      conn:close()
      while server:stats().active > 0 do
        grun.sleep(0.001)
      end
      assert.has_error(function() old:upgrade() end)
    end)

    it("but tunnels", function()
      local port = serve(function(_, res)
        local conn = assert(res:upgrade())
        conn:write("there")
      end)
      local conn = connect(port)
      conn:write("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")
      assert.matches("^HTTP/1.1 200 [^\n]*\r\n.*\r\n\r\nthere$", (conn:read("a")))
      conn:close()
    end)
  end)

  it("stops: lets requests end, closes connections between two", function()
    local port, server = serve(function(req)
      if req.path == "/slow" then
        grun.sleep(0.1)
      end
      return req.path
    end)
    local idle, busy, fresh = connect(port), connect(port), connect(port)
    idle:write("GET /idle HTTP/1.1\r\nHost: a\r\n\r\n")
    assert.equal("/idle", response(idle).body)
    busy:write("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
    grun.sleep(0.02)
    local started = grun.now()
    assert.is_true(server:stop(5))
    assert.is_true(grun.now() - started < 3)
    local res = response(busy)
    assert.equal("/slow", res.body)
    assert.equal("close", res.headers.connection)
    assert.equal("closed", select(3, idle:read("l")))
    assert.equal("closed", select(3, fresh:read("l")))
    idle:close()
    busy:close()
    fresh:close()
  end)

  it("believes proxies only as far as it is told to", function()
    local function peer(opts, headers)
      return request(serve(function(req)
        return table.concat({ req.peer:gsub(":%d+$", ""), "", req.scheme, req.host }, " ")
      end, opts), "GET", "/", headers).body
    end
    local headers = {
      ["X-Forwarded-For"] = "6.6.6.6, 1.2.3.4, 5.6.7.8", ["X-Forwarded-Proto"] = "https",
      ["X-Forwarded-Host"] = "example.org",
    }
    assert.matches("^tcp://127.0.0.1 .*http test$", peer(nil, headers))
    assert.matches("^tcp://5.6.7.8 .*https example.org$", peer({ trust_proxy = true }, headers))
    assert.matches("^tcp://1.2.3.4 .*http test$", peer({ trust_proxy = 2 }, headers))
    assert.matches("^tcp://127.0.0.1 ", peer({ trust_proxy = 4 }, headers))
  end)

  it("reads the PROXY protocol's header, and nothing without it", function()
    local port = serve(function(req) return req.peer end, { proxy_protocol = true })
    local text = raw(port, "PROXY TCP4 1.2.3.4 127.0.0.1 1000 80\r\n" ..
      "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert.matches("tcp://1.2.3.4:1000$", text)
    assert.same({ "", "closed" }, { raw(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n") })
  end)

  it("writes an access log", function()
    local lines = {}
    local port = serve(function(req)
      return req.path == "/bad" and 404 or "hello"
    end, { access_log = function(line) lines[#lines + 1] = line end })
    request(port, "GET", "/a?b", { Referer = "http://x/", ["User-Agent"] = 'a"b' })
    request(port, "GET", "/bad")
    assert.matches('^127%.0%.0%.1 %- %- %[%d%d/%a%a%a/%d%d%d%d:%d%d:%d%d:%d%d [+-]%d%d%d%d%] ' ..
      '"GET /a%?b HTTP/1%.1" 200 5 "http://x/" "a\\x22b"$', lines[1])
    assert.matches('"GET /bad HTTP/1%.1" 404 14 "%-" "%-"$', lines[2])
  end)

  it("writes what a format of gunicorn's atoms says", function()
    local out, err = helper.run_script([[
      local grun = require("grun")
      local format = "%(m)s|%(U)s|%(q)s|%(H)s|%(B)s|%({X-In}i)s|%({x-kind}o)s|%({gone}o)s|"
        .. "%({REQUEST_METHOD}e)s|%({PATH_INFO}e)s|%({HTTP_X_IN}e)s|%({GRUN_BLOCK_WARN_MS}e)s|%({NO}e)s"
      local server = grun.server("http://127.0.0.1:0", function(_, res)
        res:header("X-Kind", "b\"ig")
        return "hello"
      end, { access_log = format })
      grun.http.get(server:address() .. "/a%20b?c", { headers = { ["X-In"] = "1" } })
      local conn = grun.connect((server:address():gsub("http", "tcp")))
      conn:write("\22\3\1")
      conn:read("a")
      os.exit(0)
    ]])
    assert.equal('GET|/a%20b|c|HTTP/1.1|5|1|b\\x22ig|-|GET|/a b|1|0|-\n-|-||HTTP/-|29|-|-|-|-|-|-|0|-\n', out, err)
  end)

  it("writes into it also what it refuses, and answers that nobody takes", function()
    local lines = {}
    local port, server = serve(function() return ("x"):rep(1e7) end, {
      access_log = function(line) lines[#lines + 1] = line end, header_timeout = 0.1,
    })
    raw(port, "GET /a HTTP/1.1\r\nHo st: a\r\n\r\n")
    raw(port, "\22\3\1\"\200")
    raw(port, "GET /b HTTP/1.1\r\nHost:")
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write("GET /c HTTP/1.1\r\nHost: a\r\n\r\n")
    conn:read(1)
    conn:close()
    while server:stats().active > 0 do
      grun.sleep(0.01)
    end
    assert.equal(4, #lines)
    assert.matches('^127%.0%.0%.1 .* "GET /a HTTP/1%.1" 400 38 "%-" "%-"$', lines[1])
    assert.matches('^127%.0%.0%.1 .* "\\x16\\x03\\x01\\x22\\xc8" 400 29 "%-" "%-"$', lines[2])
    assert.matches('^127%.0%.0%.1 .* "GET /b HTTP/1%.1" 408 20 "%-" "%-"$', lines[3])
    local sent = tonumber(lines[4]:match('"GET /c HTTP/1%.1" 200 (%d+) "%-" "%-"$'))
    assert.is_true(sent > 0 and sent < 1e7, sent)
  end)

  it("writes no password of a URL into it", function()
    local lines = {}
    local port = serve(function() return "x" end, { access_log = function(line) lines[#lines + 1] = line end })
    for _, line in ipairs({ "GET http://me:pw@h/x HTTP/1.1", "CONNECT me:pw@h:1 HTTP/1.1", "GET /a:b@c HTTP/9" }) do
      raw(port, line .. "\r\nHost: h\r\n\r\n")
    end
    assert.matches('"GET http://me:%*%*%*@h/x HTTP/1%.1" 400 ', lines[1])
    assert.matches('"CONNECT me:%*%*%*@h:1 HTTP/1%.1" 400 ', lines[2])
    assert.matches('"GET /a:b@c HTTP/9" 400 ', lines[3])
  end)

  it("works over unix sockets", function()
    local path = require("spec.net_helper").unix_path()
    local server = assert(grun.server("http://unix:" .. path, function(req) return req.path end))
    servers[#servers + 1] = server
    assert.equal("http://unix:" .. path, server:address())
    local conn = assert(grun.connect("unix:" .. path))
    conn:write("GET /u HTTP/1.0\r\n\r\n")
    assert.matches("\r\n\r\n/u$", (conn:read("a")))
    conn:close()
  end)

  it("speaks TLS", function()
    local tls = require("spec.tls_helper")
    local server = assert(grun.server("https://127.0.0.1:0", function(req)
      return req.scheme .. " " .. req.conn:tls().alpn
    end, tls.server("good")))
    servers[#servers + 1] = server
    assert.matches("^https://127%.0%.0%.1:%d+$", server:address())
    local conn = assert(grun.connect("tls://localhost:" .. server:address():match("%d+$"),
      { ca = tls.path("root.pem"), alpn = { "h2", "http/1.1" } }))
    conn:write("GET / HTTP/1.0\r\n\r\n")
    assert.matches("\r\n\r\nhttps http/1.1$", (conn:read("a")))
    conn:close()
  end)

  it("refuses bad options", function()
    local function try(opts)
      return select(2, pcall(grun.server, "http://127.0.0.1:0", print, opts))
    end
    assert.matches("unknown option 'nonsense'", try({ nonsense = 1 }))
    assert.matches("option 'max_body': number expected, got string", try({ max_body = "1" }))
    assert.matches("option 'max_headers' must be 1 or more", try({ max_headers = 0 }))
    assert.matches("option 'max_headers' must be at most 1024", try({ max_headers = 2000 }))
    assert.matches("option 'header_timeout' must be 0 or more", try({ header_timeout = -1 }))
    assert.matches("option 'max_requests' must be at most", try({ max_requests = math.huge }))
    assert.matches("option 'trust_proxy' must be 0 or more", try({ trust_proxy = -1 }))
    assert.matches("option 'server_header' is longer", try({ server_header = ("x"):rep(64) }))
    assert.matches("unknown atom %%%(y%)s", try({ access_log = "%(y)s" }))
    assert.matches("unknown atom %%%({a}x%)s", try({ access_log = "%({a}x)s" }))
    assert.matches('bad port "80x"', select(2, grun.server("http://127.0.0.1:80x", print)), 1, true)
    assert.matches('bad port "80/x"', select(2, grun.server("http://127.0.0.1:80/x", print)), 1, true)
    assert.matches("unknown option 'max_body'",
      select(2, pcall(grun.server, "tcp://127.0.0.1:0", print, { max_body = 1 })))
  end)
end)
