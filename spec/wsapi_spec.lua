-- SPDX-License-Identifier: MIT
-- WSAPI applications, among them such that use Debian's lua-wsapi and lua-orbit.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local wsapi = grun.http.wsapi
local request = http.request

describe("a WSAPI application", function()
  local servers, cleanups = {}, {}

  local it = http.test(it, function(fn) finally(fn) end, servers, function()
    for _, cleanup in ipairs(cleanups) do
      cleanup()
    end
    cleanups = {}
  end)

  local function later(fn)
    cleanups[#cleanups + 1] = fn
  end

  local function serve(app, opts, server_opts)
    return http.serve(servers, wsapi(app, opts), server_opts)
  end

  -- A function that returns one piece once, as an iterator.
  local function once(text)
    return function()
      local piece = text
      text = nil
      return piece
    end
  end

  -- The port of an application that answers with the variables named in its query.
  local function variables(opts, server_opts)
    return serve(function(env)
      local lines = {}
      for name in env.QUERY_STRING:gmatch("[%w_]+") do
        lines[#lines + 1] = tostring(env[name])
      end
      return 200, {}, once(table.concat(lines, "|"))
    end, opts, server_opts)
  end

  local function ask(port, names, headers, path)
    return request(port, "GET", (path or "/") .. "?" .. names, headers).body
  end

  describe("sees in its environment", function()
    it("the request", function()
      local port = variables()
      assert.equal("GET||/a b/é|REQUEST_METHOD+SCRIPT_NAME+PATH_INFO+QUERY_STRING",
        ask(port, "REQUEST_METHOD+SCRIPT_NAME+PATH_INFO+QUERY_STRING", nil, "/a%20b/%C3%A9"))
      assert.equal("HTTP/1.1|CGI/1.1|http||/?SERVER_PROTOCOL+GATEWAY_INTERFACE+REQUEST_SCHEME+HTTPS+REQUEST_URI",
        ask(port, "SERVER_PROTOCOL+GATEWAY_INTERFACE+REQUEST_SCHEME+HTTPS+REQUEST_URI"))
    end)

    it("both ends of the connection", function()
      local port = variables()
      local names = "SERVER_NAME+SERVER_PORT+REMOTE_ADDR"
      assert.equal("test|80|127.0.0.1", ask(port, names))
      local function by_host(host)
        return http.raw(port, ("GET /?%s HTTP/1.1\r\nConnection: close\r\nHost: %s\r\n\r\n"):format(names, host))
      end
      assert.matches("example.org|8080|127.0.0.1", by_host("example.org:8080"), 1, true)
      assert.matches("[::1]|8080|127.0.0.1", by_host("[::1]:8080"), 1, true)
      local old = http.raw(port, "GET /?" .. names .. " HTTP/1.0\r\n\r\n")
      assert.matches("\r\n\r\n127.0.0.1|" .. port .. "|127.0.0.1$", old)
      assert.matches("^%d+$", ask(port, "REMOTE_PORT"))
    end)

    it("what a trusted proxy says", function()
      local port = variables(nil, { trust_proxy = true })
      assert.equal("https|on|a.example|443|10.1.2.3", ask(port,
        "REQUEST_SCHEME+HTTPS+SERVER_NAME+SERVER_PORT+REMOTE_ADDR", { ["X-Forwarded-For"] = "10.1.2.3",
          ["X-Forwarded-Proto"] = "https", ["X-Forwarded-Host"] = "a.example" }))
    end)

    it("header fields, joined when there are several", function()
      local port = variables()
      assert.equal("b, c|x=1; y=2|test", ask(port, "HTTP_X_A+HTTP_COOKIE+HTTP_HOST",
        { ["X-A"] = "b", ["x-a"] = "c", Cookie = "x=1", cookie = "y=2" }):gsub("c, b", "b, c")
        :gsub("y=2; x=1", "x=1; y=2"))
    end)

    it("an empty string where there is nothing", function()
      local port = variables()
      assert.equal("|||", ask(port, "CONTENT_TYPE+CONTENT_LENGTH+HTTP_NOPE+ANYTHING"))
      assert.equal("", ask(port, "HTTP_PROXY", { Proxy = "http://evil.example" }))
    end)

    it("the options: where it is mounted and where its files are", function()
      local port = variables({ prefix = "/app/", app_path = "/srv/a", doc_root = "/srv", filename = "/srv/a/a.lua" })
      local names = "SCRIPT_NAME+PATH_INFO+APP_PATH+DOCUMENT_ROOT+SCRIPT_FILENAME+PATH_TRANSLATED"
      assert.equal("/app|/|/srv/a|/srv|/srv/a/a.lua|/srv/a/a.lua", ask(port, names, nil, "/app"))
      assert.matches("^/app|/x/y|", ask(port, names, nil, "/app/x/y"))
      assert.equal(404, request(port, "GET", "/apple").status)
      assert.equal(404, request(port, "GET", "/").status)
    end)
  end)

  describe("reads the body", function()
    local function reader(opts)
      return serve(function(env)
        local pieces = {}
        for piece in function() return env.input:read(4) end do
          pieces[#pieces + 1] = piece
        end
        return 200, {}, once(env.CONTENT_LENGTH .. ":" .. table.concat(pieces, "|") .. ":" ..
          tostring(env.input:read(1)) .. ":" .. env.input.length)
      end, opts)
    end

    it("in pieces", function()
      assert.equal("10:0123|4567|89:nil:10", request(reader(), "POST", "/", nil, "0123456789").body)
      assert.equal("::nil:0", request(reader(), "GET", "/").body)
    end)

    it("also when it comes in chunks, with its length", function()
      local text = http.raw(reader(), "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n" ..
        "Transfer-Encoding: chunked\r\n\r\n6\r\n012345\r\n4\r\n6789\r\n0\r\n\r\n")
      assert.matches("10:0123|4567|89:nil:10", text, 1, true)
    end)

    it("of max_body bytes at most", function()
      local port = reader({ max_body = 10 })
      assert.equal(200, request(port, "POST", "/", nil, "0123456789").status)
      assert.equal(413, request(port, "POST", "/", nil, "0123456789a").status)
      local text = http.raw(port, "POST / HTTP/1.1\r\nHost: a\r\n" ..
        "Transfer-Encoding: chunked\r\n\r\nb\r\n0123456789a\r\n0\r\n\r\n")
      assert.matches("^HTTP/1.1 413 ", text)
    end)

    it("until the client goes", function()
      local got
      local port, server = serve(function(env)
        got = { env.input:read(10) }
        return 200, {}, once("x")
      end)
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012")
      conn:shutdown("w")
      conn:read("a")
      conn:close()
      server:stop(1)
      assert.same({ nil, "closed", "closed" }, got)
    end)
  end)

  describe("answers with", function()
    local function answer(...)
      local values = { n = select("#", ...), ... }
      return request(serve(function() return unpack(values, 1, values.n) end), "GET", "/")
    end

    it("a status as a number, as text with a phrase or without", function()
      for _, status in ipairs({ 202, "202", "202 Fine" }) do
        assert.equal(202, answer(status, {}, once("x")).status)
      end
    end)

    it("headers that are strings, numbers, lists in their order", function()
      local port = serve(function()
        return 200, { ["X-A"] = "1", ["X-B"] = 2, ["X-C"] = { "3", 4, "5" }, ["Keep-Alive"] = "x" }, once("x")
      end)
      local head = http.raw(port, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      assert.matches("\r\nX-A: 1\r\n", head, 1, true)
      assert.matches("\r\nX-B: 2\r\n", head, 1, true)
      assert.matches("\r\nX-C: 3\r\nX-C: 4\r\nX-C: 5\r\n", head, 1, true)
      assert.is_nil(head:find("Keep-Alive: x", 1, true))
    end)

    it("a body of no pieces, and of none at all", function()
      local res = answer(200, {}, function() end)
      assert.same({ 200, "" }, { res.status, res.body })
      assert.equal("0", res.headers["content-length"])
      res = answer(304, { ETag = '"x"' })
      assert.same({ 304, '"x"' }, { res.status, res.headers.etag })
      assert.is_nil(res.headers["content-type"])
      assert.equal("x", answer(200, nil, once("x")).body)
    end)

    it("pieces that go out as they come", function()
      local go = grun.event()
      local port = serve(function()
        return 200, {}, coroutine.wrap(function()
          coroutine.yield("one")
          coroutine.yield("")
          go:wait(5)
          coroutine.yield("two")
        end)
      end)
      local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
      conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read_until("\r\n\r\n")
      assert.equal("3\r\none\r\n", conn:read(8))
      go:set()
      assert.equal("3\r\ntwo\r\n0\r\n\r\n", conn:read(13))
      conn:close()
    end)

    it("a body of known length in few writes", function()
      local pieces = 0
      local port = serve(function()
        return 200, { ["Content-Length"] = 100000 }, function()
          pieces = pieces + 1
          return pieces <= 1000 and ("x"):rep(100) or nil
        end
      end)
      local res = request(port, "GET", "/")
      assert.same({ "100000", 100000, 1001 }, { res.headers["content-length"], #res.body, pieces })
    end)

    it("its head alone to HEAD, without running the iterator", function()
      local ran = false
      local port = serve(function()
        return 200, { ["Content-Length"] = 5 }, function() ran = true return "hello" end
      end)
      local res = request(port, "HEAD", "/")
      assert.same({ 200, "5", false }, { res.status, res.headers["content-length"], ran })
    end)
  end)

  describe("that fails", function()
    local function failing(fn)
      local res
      local list = helper.reports(function()
        res = request(serve(fn), "GET", "/")
      end)
      return res.status, list[1] and tostring(list[1].err), #list
    end

    it("is reported and answered with 500", function()
      local status, err, n = failing(function() error("boom") end)
      assert.same({ 500, 1 }, { status, n })
      assert.matches("wsapi_spec.lua:%d+: boom$", err)
      assert.equal(500, (failing(function() return 200, {}, function() error("early") end end)))
      assert.equal(500, (failing(function() return 200, {}, function() return {} end end)))
    end)

    it("or answers nonsense, too", function()
      for _, values in ipairs({ {}, { "OK", {} }, { 99, {} }, { 200, "x" }, { 200, {}, "text" },
        { 200, {}, { "text" } }, { 200, { ["a\n"] = "b" }, once("x") }, { 200, { a = "b\r\nc: d" }, once("x") } }) do
        local status, err = failing(function() return unpack(values) end)
        assert.equal(500, status)
        assert.matches("bad response", err)
      end
    end)

    it("is cut off when its response has begun", function()
      local port = serve(function()
        local n = 0
        return 200, {}, function()
          n = n + 1
          return n == 1 and "first" or error("late")
        end
      end)
      local text
      local list = helper.reports(function()
        text = http.raw(port, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
      end)
      assert.matches("5\r\nfirst\r\n$", text)
      assert.matches("late", list[1].err)
    end)

    it("with a table of 404 and a text has not found something", function()
      local res
      local port = serve(function() error({ 404, "no <such> song" }) end)
      local list = helper.reports(function() res = request(port, "GET", "/") end)
      assert.same({ 404, "404 Not Found\nno <such> song\n", 0 }, { res.status, res.body, #list })
    end)
  end)

  it("runs in a thread for each request", function()
    local inside, most = 0, 0
    local both = grun.event()
    local port = serve(function()
      inside = inside + 1
      most = math.max(most, inside)
      if inside == 2 then
        both:set()
      end
      both:wait(5)
      inside = inside - 1
      return 200, {}, once("x")
    end)
    grun.joinall({ helper.spawn(request, port, "GET", "/"), helper.spawn(request, port, "GET", "/") })
    assert.equal(2, most)
  end)

  it("is a function, a callable, a table with run or a module's name", function()
    local function run() return 200, {}, once("ran") end
    package.loaded["spec.some_wsapi_app"] = { run = run }
    later(function() package.loaded["spec.some_wsapi_app"] = nil end)
    for _, app in ipairs({ run, { run = run }, "spec.some_wsapi_app", setmetatable({}, { __call = run }) }) do
      assert.equal("ran", request(http.serve(servers, wsapi(app)), "GET", "/").body)
    end
    local wanted = "wsapi: function, table with 'run' or name of a module expected, got "
    helper.misuse(function() return (wsapi({})) end, wanted .. "table")
    helper.misuse(function() return (wsapi(nil)) end, wanted .. "nil")
    helper.misuse(function() return (wsapi(run, 1)) end, "wsapi: table of options expected, got number")
    helper.misuse(function() return (wsapi(run, { x = 1 })) end, "wsapi: unknown option 'x'")
    helper.misuse(function() return (wsapi(run, { prefix = 1 })) end,
      "wsapi: option 'prefix': string expected, got number")
    helper.misuse(function() return (wsapi(run, { prefix = "x" })) end,
      "wsapi: option 'prefix' must begin with \"/\"")
    helper.misuse(function() return (wsapi(run, { max_body = -1 })) end,
      "wsapi: option 'max_body' must be 0 or more")
  end)

  describe("with Kepler's library", function()
    local wsapi_request, wsapi_response = require("wsapi.request"), require("wsapi.response")

    it("parses queries, forms and cookies", function()
      local port = serve(function(env)
        local req, res = wsapi_request.new(env), wsapi_response.new()
        res:write(req.method, " ", req.path_info, " ", req.GET.a, " ", req.POST.b, " ", req.params.c[2], " ",
          req.cookies.d)
        return res:finish()
      end)
      local res = request(port, "POST", "/p?a=1%202", { Cookie = "x=y; d=5",
        ["Content-Type"] = "application/x-www-form-urlencoded" }, "b=%C3%A9&c=3&c=4")
      assert.equal("POST /p 1 2 é 4 5", res.body)
      assert.equal("text/html", res.headers["content-type"])
      assert.equal(tostring(#res.body), res.headers["content-length"])
    end)

    it("takes uploaded files", function()
      serve(function(env)
        local req, res = wsapi_request.new(env), wsapi_response.new()
        local file = req.POST.file
        res:write(req.POST.title, " ", file.name, " ", file["content-type"], " ", #file.contents, " ",
          file.contents:sub(-3))
        return res:finish()
      end)
      local name = helper.tmpname(("x"):rep(100000) .. "end")
      local pipe = io.popen(("curl -s -F title=T -F 'file=@%s;filename=a.txt;type=text/x' %s"):format(name,
        servers[1]:address()))
      assert.equal("T a.txt text/x 100003 end", (pipe:read("*a")))
      pipe:close()
    end)

    it("sets cookies and redirects", function()
      local port = serve(function()
        local res = wsapi_response.new()
        res:set_cookie("a", "1")
        res:set_cookie("b", { value = "2", path = "/" })
        return res:redirect("/elsewhere")
      end)
      local head = http.raw(port, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
      assert.matches("^HTTP/1.1 302 Found\r\n", head)
      assert.matches("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2; path=/\r\n", head, 1, true)
      assert.matches("\r\nLocation: /elsewhere\r\n", head, 1, true)
    end)

    it("rewinds its input", function()
      local util = require("wsapi.util")
      local port = serve(function(env)
        local again = util.make_rewindable(env)
        local first = again.input:read(5)
        again.input:rewind()
        return 200, {}, once(first .. "|" .. again.input:read(3) .. again.REQUEST_METHOD)
      end)
      assert.equal("hello|hellPOST", request(port, "POST", "/", nil, "hello").body)
    end)

    it("waits inside coxpcall and wrapped iterators", function()
      local coxpcall = require("coxpcall")
      local port = serve(function()
        return 200, {}, coroutine.wrap(function()
          for i = 1, 3 do
            coxpcall.pcall(function()
              grun.sleep(0.001)
              coroutine.yield(tostring(i))
            end)
          end
        end)
      end)
      assert.equal("123", request(port, "GET", "/").body)
    end)
  end)

  describe("of Orbit", function()
    local orbit = require("orbit")

    local function new_app()
      local app = orbit.new()
      local songs = {}
      app:dispatch_get(function(web)
        return app.layout(web, songs)
      end, "/", "/index")
      app:dispatch_get(function(web, n)
        return songs[tonumber(n)] or app.not_found(web)
      end, "/songs/(%d+)")
      app:dispatch_post(function(web)
        songs[#songs + 1] = web.input.title
        web:set_cookie("last", tostring(#songs))
        return web:redirect(web:link("/songs/" .. #songs))
      end, "/songs")
      app:dispatch_get(function() error("boom") end, "/boom")
      app:dispatch_get(function()
        grun.sleep(0.05)
        return "slept"
      end, "/sleep")
      app:dispatch_wsapi(function(env)
        return 200, {}, once("plain " .. env.PATH_INFO)
      end, "/wsapi")
      function app.layout(_, list)
        -- luacheck: globals html body h1 li
        return html({ body({ h1("Songs"), li(table.concat(list, ", ")) }) })
      end
      orbit.htmlify(app, "layout")
      return app
    end

    it("serves its routes, pages and errors", function()
      local port = serve(new_app())
      local res = request(port, "POST", "/songs", { ["Content-Type"] = "application/x-www-form-urlencoded" },
        "title=Song+%231")
      assert.same({ 302, "/songs/1", "last=1" }, { res.status, res.headers.location, res.headers["set-cookie"] })
      assert.equal("Song #1", request(port, "GET", "/songs/1").body)
      assert.equal("<html ><body ><h1>Songs</h1><li>Song #1</li></body></html>", request(port, "GET", "/").body)
      assert.equal(404, request(port, "GET", "/songs/2").status)
      assert.equal(404, request(port, "GET", "/nothing").status)
      res = request(port, "GET", "/boom")
      assert.equal(500, res.status)
      assert.matches("boom\nstack traceback:", res.body)
      assert.equal("plain /wsapi", request(port, "GET", "/wsapi").body)
    end)

    it("knows its prefix", function()
      local port = serve(new_app(), { prefix = "/music" })
      local res = request(port, "POST", "/music/songs",
        { ["Content-Type"] = "application/x-www-form-urlencoded" }, "title=x")
      assert.equal("/music/songs/1", res.headers.location)
    end)

    it("serves many requests at once", function()
      local port = serve(new_app())
      local threads, t0 = {}, grun.now()
      for i = 1, 100 do
        threads[i] = helper.spawn(request, port, "GET", "/sleep")
      end
      for i = 1, 100 do
        assert.equal("slept", threads[i]:get().body)
      end
      assert.is_true(grun.now() - t0 < 2.5) -- one after the other: 5 s
    end)

    it("serves static files and templates of its directory", function()
      local dir = helper.tmpname()
      os.remove(dir)
      assert(os.execute("mkdir " .. dir) == 0)
      later(function() os.execute("rm -r " .. dir) end)
      local file = assert(io.open(dir .. "/a.css", "w"))
      file:write("p {}")
      file:close()
      local app = orbit.new()
      app:dispatch_static("/.+%.css")
      local port = serve(app, { app_path = dir })
      local res = request(port, "GET", "/a.css")
      assert.same({ "p {}", "text/css" }, { res.body, res.headers["content-type"] })
      assert.equal(404, request(port, "GET", "/b.css").status)
    end)
  end)
end)
