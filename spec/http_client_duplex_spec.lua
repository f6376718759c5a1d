-- SPDX-License-Identifier: MIT
-- Both ways at once: a response that is read while the request is still being sent.
local grun = require("grun")
local client = require("spec.http_client_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local serve, scripted, read_head, OK = client.serve, client.scripted, client.read_head, client.OK

describe("the HTTP client", function()
  local plain_it = it
  local it = client.wrap(it, function(fn) finally(fn) end)

  local noise = net.noise(2 ^ 23)

  -- A handler: sends back what comes, as it comes.
  local function echo(req, res)
    for piece in function() return req:read() end do
      res:write(piece)
    end
  end

  local function pieces(text, size)
    local at = 1
    return function()
      local piece = text:sub(at, at + (size or 65536) - 1)
      at = at + #piece
      return piece ~= "" and piece or nil
    end
  end

  local function read_all(res)
    local list = {}
    for piece in function() return res:read() end do
      list[#list + 1] = piece
    end
    return table.concat(list)
  end

  local function uploads()
    local n = 0
    for _, t in ipairs(grun.threads()) do
      n = n + (t.name == "http.upload" and 1 or 0)
    end
    return n
  end

  -- Waits until nothing is being sent.
  local function quiet()
    local limit = grun.now() + 5
    while uploads() > 0 do
      assert(grun.now() < limit, "still sending")
      grun.sleep(0.001)
    end
  end

  -- An iterator that gives "one" and then never anything. Fields: asked (how often), err (what ended it).
  local function stuck()
    local self = { asked = 0 }
    return setmetatable(self, { __index = { next = function()
      self.asked = self.asked + 1
      if self.asked > 1 then
        local _, err = pcall(grun.sleep, 60)
        self.err = err
        error(err, 0)
      end
      return "one"
    end } })
  end

  -- A scripted server that sends the head of a response, "hi", and then does what `behind` says.
  local function greeting(behind, head)
    return scripted(function(conn)
      read_head(conn)
      conn:write((head or "HTTP/1.1 200 OK\r\n\r\n") .. "hi")
      behind(conn)
    end)
  end

  local function swallow(conn)
    while conn:recv(65536) do -- luacheck: ignore 542
    end
  end

  describe("reads while it sends:", function()
    it("an echo, as a stream and whole, from any body", function()
      local url, server = serve(echo)
      local name = helper.tmpname(noise)
      for _, stream in ipairs({ true, false }) do
        for i = 1, 2 do
          local res = assert(grun.http.post(url, { stream = stream, body = pieces(noise, i * 70001), timeout = 30 }))
          assert.is_true(net.same(noise, res.body or read_all(res)))
        end
      end
      assert.equal(1, server:stats().accepted)
      for _, stream in ipairs({ true, false }) do
        for _, opts in ipairs({ { body = noise }, { file = name },
          { body = pieces(noise), headers = { ["Content-Length"] = #noise } } }) do
          opts.stream, opts.timeout = stream, 30
          local res = assert(grun.http.post(url, opts))
          assert.is_true(net.same(noise, res.body or read_all(res)))
        end
      end
    end)

    it("over TLS, through a tunnel and a proxy", function()
      local tls = require("spec.tls_helper")
      local secure = client.keep(assert(grun.server("https://localhost:0", echo, tls.server())))
      local plain, plain_server = serve(echo)
      -- What is no CONNECT is a plain request, which the server gets as it is.
      local proxy = scripted(function(conn)
        local head = read_head(conn)
        local target = head:match("^CONNECT (%S+) ")
        if target then
          conn:write("HTTP/1.1 200 OK\r\n\r\n")
          client.tunnel(conn, target)
        else
          client.tunnel(conn, plain:match("//(.*)"), head)
        end
      end)
      for _, case in ipairs({ { secure:address(), false }, { secure:address(), proxy }, { plain, proxy } }) do
        local res = assert(grun.http.post(case[1], { proxy = case[2], tls = tls.client(), timeout = 30,
          stream = true, body = pieces(noise) }))
        assert.is_true(net.same(noise, read_all(res)))
      end
      grun.http.close_idle()
      local limit = grun.now() + 5
      while secure:stats().active + plain_server:stats().active > 0 and grun.now() < limit do
        grun.sleep(0.01)
      end
    end)

    it("compressed", function()
      local url = serve(echo, { gzip = { level = 1 } })
      local res = assert(grun.http.post(url, { body = pieces(noise), stream = true, timeout = 30,
        headers = { ["Content-Type"] = "text/plain" } }))
      assert.is_true(net.same(noise, read_all(res)))
    end)

    it("line by line, each of which depends on the one before", function()
      local url, server = serve(echo)
      for _ = 1, 2 do
        local lines = grun.queue()
        lines:put("line 1\n")
        local res = assert(grun.http.post(url, { stream = true, timeout = 10,
          body = function() return (lines:get()) end }))
        for i = 1, 100 do
          assert.equal("line " .. i .. "\n", res:read())
          lines:put(("line %d\n"):format(i + 1))
        end
        lines:close()
        assert.equal("line 101\n", res:read())
        assert.is_nil((res:read()))
      end
      assert.equal(1, server:stats().accepted)
    end)

    it("by the iterator itself", function()
      local url = serve(echo)
      local res, got
      local n, ready = 0, grun.event()
      res = assert(grun.http.post(url, { stream = true, timeout = 10, body = function()
        if n > 0 then
          ready:wait()
          got = (got or "") .. res:read()
        end
        n = n + 1
        return n <= 3 and tostring(n) or nil
      end }))
      ready:set()
      quiet()
      assert.equal("123", got)
      assert.is_nil((res:read()))
    end)

    it("to the end by the iterator, which ends it", function()
      local url, count = scripted(function(conn)
        while read_head(conn) do
          conn:write(OK)
          swallow(conn)
        end
      end)
      local got, ready, res = nil, grun.event(), nil
      res = assert(grun.http.post(url, { stream = true, timeout = 10, body = function()
        if not ready:is_set() then
          ready:wait()
          got = { res:read("a"), (res:read()) }
        end
        return "more"
      end }))
      ready:set()
      quiet()
      assert.same({ "ok" }, got)
      grun.http.get(url)
      assert.equal(2, count.n)
    end)

    it("what a handler passes on from its own request", function()
      local upstream = serve(echo)
      local url = serve(function(req, res)
        local back = assert(grun.http.post(upstream, { stream = true, timeout = 10,
          body = function() return (req:read()) end }))
        for piece in function() return back:read() end do
          res:write(piece)
        end
      end)
      assert.is_true(net.same(noise, assert(grun.http.post(url, { body = pieces(noise), timeout = 30 })).body))
      assert.equal(client.IN_STEP, client.in_step(url))
    end)

    -- In a process of its own: the more others have in the heap, the later garbage is collected.
    it("in little memory", function()
      local out, err = helper.run_script([[
        local grun = require("grun")
        local piece = ("x"):rep(65536)
        local function peak() -- KiB
          return tonumber(io.open("/proc/self/status"):read("*a"):match("VmHWM:%s*(%d+)"))
        end
        local url = grun.server("http://127.0.0.1:0", function(req, res)
          for data in function() return req:read() end do
            res:write(data)
          end
        end):address()
        local function echo(left)
          local n = 0
          local res = assert(grun.http.post(url, { stream = true, body = function()
            left = left - 1
            return left >= 0 and piece or nil
          end }))
          for data in function() return res:read() end do
            n = n + #data
          end
          return n
        end
        echo(1)
        local before = peak()
        print(echo(1024))
        print(peak() - before)
        os.exit(0)
      ]], { timeout = 60 })
      local moved, grown = out:match("^(%d+)\n(%d+)\n$")
      assert.equal("67108864", moved, out .. err)
      local sanitizer = helper.grun:find("asan") and 400000 or 0 -- keeps what was freed for a while
      assert.is_true(tonumber(grown) < 12000 + sanitizer, grown)
    end)

    plain_it("what python sends back", function()
      local tls = require("spec.tls_helper")
      local port, name = tls.free_port(), helper.tmpname([[
import http.server, sys
class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        size = -1
        while size:
            size = int(self.rfile.readline(), 16)
            data = self.rfile.read(size)
            self.rfile.readline()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Echo).serve_forever()
]])
      local process = tls.start(("exec python3 %s %d"):format(name, port))
      finally(function()
        process.kill()
        process.finish()
        grun.http.close_idle()
      end)
      local limit, url = grun.now() + 15, "http://127.0.0.1:" .. port
      while not grun.http.get(url) do
        assert(grun.now() < limit)
        grun.sleep(0.02)
      end
      for _, stream in ipairs({ true, false }) do
        local res = assert(grun.http.post(url, { stream = stream, body = pieces(noise), timeout = 20 }))
        assert.is_true(net.same(noise, res.body or res:read("a")))
      end
      local n = 0
      local res = assert(grun.http.post(url, { stream = true, timeout = 10, body = function()
        n = n + 1
        return n <= 2 and "abc\n" or nil
      end }))
      assert.equal("abc\nabc\n", res:read("a"))
    end)
  end)

  describe("stops sending", function()
    it("when the response is closed, forgotten, too large or broken", function()
      local url = greeting(swallow)
      local broken = greeting(swallow, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n")
      local cut = greeting(function(conn) conn:recv() end, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")
      for what, fn in pairs({
        close = function(opts)
          local res = assert(grun.http.post(url, opts))
          assert.equal("hi", res:read())
          res:close()
          assert.is_nil((res:read()))
        end,
        close_unread = function(opts) assert(grun.http.post(url, opts)):close() end,
        forget = function(opts)
          assert(grun.http.post(url, opts))
          for _ = 1, 20 do
            collectgarbage()
            grun.yield()
          end
        end,
        too_large = function(opts)
          opts.max_body = 1
          local res = assert(grun.http.post(url, opts))
          assert.same({ nil, "body too large", "too_large" }, { res:read() })
          opts.stream = false
        end,
        too_large_whole = function(opts)
          opts.max_body, opts.stream = 1, false
          assert.same({ nil, "body too large", "too_large" }, { grun.http.post(url, opts) })
        end,
        broken = function(opts)
          local res = assert(grun.http.post(broken, opts))
          assert.equal("protocol", (select(3, res:read())))
        end,
        broken_whole = function(opts)
          opts.stream = false
          assert.equal("protocol", (select(3, grun.http.post(broken, opts))))
        end,
        cut = function(opts)
          local res = assert(grun.http.post(cut, opts))
          assert.equal("hi", res:read())
          assert.same({ nil, "closed", "closed" }, { res:read() })
          assert.same({ nil, "closed", "closed" }, { res:read() })
        end,
        cut_whole = function(opts)
          opts.stream = false
          assert.same({ nil, "closed", "closed" }, { grun.http.post(cut, opts) })
        end,
      }) do
        local body = stuck()
        fn({ stream = true, timeout = 10, body = body.next })
        quiet()
        assert.is_truthy(body.asked < 2 or grun.is_cancel(body.err), what)
      end
    end)

    it("at once when the server refuses", function()
      for _, status in ipairs({ 413, 301, 500 }) do
        local url, count = scripted(function(conn)
          read_head(conn)
          conn:read(1)
          grun.sleep(0.02) -- the iterator waits by then
          conn:write(OK:gsub("200", status))
          swallow(conn)
        end)
        for _, stream in ipairs({ true, false }) do
          local body, started = stuck(), grun.now()
          local res = assert(grun.http.post(url, { stream = stream, timeout = 10, body = body.next }))
          assert.is_truthy(grun.is_cancel(body.err))
          assert.is_true(grun.now() - started < 0.9)
          assert.same({ status, "ok" }, { res.status, res.body or res:read("a") })
          assert.equal(0, uploads())
        end
        assert.equal(2, count.n)
      end
    end)

    it("and leaves the iterator alone before the call returns", function()
      local url = greeting(swallow, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
      local silent = scripted(swallow)
      for _, case in ipairs({ { silent, "timeout", { timeout = 0.1 } }, { url, "timeout", { timeout = 0.1 } },
        { url, "too_large", { max_body = 1 } } }) do
        local body = stuck()
        case[3].body = body.next
        local res, _, code = grun.http.post(case[1], case[3])
        assert.same({ nil, case[2] }, { res, code })
        assert.is_truthy(grun.is_cancel(body.err))
        assert.equal(0, uploads())
      end
    end)

    it("when the caller is cancelled or too late, wherever it waits", function()
      local url, silent = greeting(swallow), scripted(swallow)
      for _, fn in ipairs({
        function(opts) grun.http.post(silent, opts) end,
        function(opts)
          opts.stream = false
          grun.http.post(url, opts)
        end,
        function(opts)
          local res = grun.http.post(url, opts)
          res:read()
          res:read()
        end,
      }) do
        local body = stuck()
        local t = net.parked(fn, { stream = true, body = body.next })
        grun.sleep(0.05)
        t:kill()
        quiet()
        assert.same({ "cancelled", true }, { t:status(), grun.is_cancel(body.err) ~= nil })
        body = stuck()
        assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.05, fn, { stream = true, body = body.next }) })
        quiet()
        assert.is_truthy(grun.is_cancel(body.err))
      end
    end)

    it("within the time for all of it", function()
      local url = greeting(swallow)
      local body = stuck()
      local res = assert(grun.http.post(url, { stream = true, timeout = 0.1, body = body.next }))
      assert.equal("hi", res:read())
      assert.same({ nil, "timeout", "timeout" }, { res:read() })
      quiet()
      assert.is_truthy(grun.is_cancel(body.err))
    end)

    it("when the server is gone", function()
      local url = greeting(function(conn) conn:read(1) end, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
      local res = assert(grun.http.post(url, { stream = true, timeout = 10, body = function()
        grun.sleep(0.01)
        return "x"
      end }))
      assert.equal("hi", res:read())
      local _, message, code = res:read()
      assert.is_true(code == "closed" or code == "ECONNRESET", message)
      quiet()
    end)
  end)

  it("breaks off when somebody kills what sends", function()
    for _, stream in ipairs({ true, false }) do
      local body = stuck()
      local t = helper.spawn(function()
        local res, _, code = grun.http.post(greeting(swallow), { stream = stream, timeout = 10, body = body.next })
        while res do
          local piece
          piece, _, code = res:read()
          res = piece and res
        end
        return code
      end)
      while body.asked < 2 do
        grun.yield()
      end
      for _, other in ipairs(grun.threads()) do
        if other.name == "http.upload" then
          other:kill()
        end
      end
      assert.equal("closed", t:get())
    end
  end)

  describe("tells of an error of the iterator", function()
    local err = setmetatable({}, { __tostring = function() return "mine" end })

    it("by reading the response, which ends there", function()
      local got, over = nil, grun.event()
      local url = greeting(function(conn)
        got = conn:read("a")
        over:set()
      end)
      local go, n = grun.event(), 0
      local res = assert(grun.http.post(url, { stream = true, timeout = 10, body = function()
        n = n + 1
        if n == 2 then
          go:wait()
          error(err)
        end
        return "one"
      end }))
      assert.equal("hi", res:read())
      go:set()
      local ok, problem = pcall(res.read, res)
      assert.is_false(ok)
      assert.is_true(rawequal(err, problem))
      assert.same({ nil, "closed", "closed" }, { res:read() })
      over:wait(5)
      assert.equal("3\r\none\r\n", got) -- no end
    end)

    it("by the call if that waits for it, also when the response is over", function()
      local function failing()
        local n = 0
        return function()
          n = n + 1
          grun.sleep(0.05)
          return n == 1 and "one" or error(err)
        end
      end
      local over = greeting(swallow, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
      for _, url in ipairs({ greeting(swallow), scripted(swallow), over }) do
        local ok, problem = pcall(grun.http.post, url, { timeout = 10, body = failing() })
        assert.is_false(ok)
        assert.is_true(rawequal(err, problem))
      end
      local res = assert(grun.http.post(over, { stream = true, timeout = 10, body = failing() }))
      assert.equal("hi", res:read())
      local ok, problem = pcall(res.read, res)
      assert.is_false(ok)
      assert.is_true(rawequal(err, problem))
    end)

    it("and of a wrong length", function()
      local url = greeting(swallow)
      for _, text in ipairs({ "one", "12345" }) do
        for _, stream in ipairs({ true, false }) do
          local opts = { stream = stream, timeout = 10, body = pieces(text), headers = { ["Content-Length"] = 4 } }
          local res, _, code = grun.http.post(url, opts)
          if res then
            repeat
              local piece
              piece, _, code = res:read()
            until not piece
          end
          assert.equal(#text < 4 and "ENODATA" or "too_large", code)
        end
      end
    end)
  end)

  describe("when the response is over before the request", function()
    it("sends the rest, and uses the connection again", function()
      local got = {}
      local url, count = scripted(function(conn)
        for request in function() return read_head(conn) end do
          conn:write(OK)
          if request:find("^GET") then
            return
          end
          grun.sleep(#got == 0 and 1.2 or 0.05)
          got[#got + 1] = net.same(noise, conn:read(#noise))
        end
      end)
      local name = helper.tmpname(noise)
      for _, stream in ipairs({ true, false }) do
        for _, opts in ipairs({ { body = noise }, { file = name },
          { body = pieces(noise), headers = { ["Content-Length"] = #noise } } }) do
          opts.stream, opts.timeout = stream, 20
          local res = assert(grun.http.post(url, opts))
          assert.equal("ok", res.body or res:read(2))
          assert.is_nil(stream and res:read() or nil)
        end
      end
      assert.equal(1, count.n)
      grun.http.get(url)
      assert.same({ true, true, true, true, true, true }, { unpack(got, 1, 6) })
    end)

    it("gives up a server that takes no more, whatever else it sent", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write(OK .. "junk")
        conn:shutdown("w")
        grun.sleep(30)
      end)
      for _, stream in ipairs({ true, false }) do
        local started = grun.now()
        local res = assert(grun.http.post(url, { stream = stream, timeout = 10, read_timeout = 0.1, body = noise }))
        assert.equal("ok", res.body or res:read("a"))
        assert.is_true(grun.now() - started < 5)
      end
    end)

    it("stops if the server is to close", function()
      for _, head in ipairs({ "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\n" }) do
        local url = greeting(function(conn)
          conn:shutdown("w")
          swallow(conn)
        end, head)
        local body, started = stuck(), grun.now()
        local res = assert(grun.http.post(url, { stream = true, timeout = 10, body = body.next }))
        assert.equal("hi", res:read("a"))
        assert.is_true(grun.now() - started < 0.9)
        assert.equal(0, uploads())
      end
    end)

    it("waits for an iterator, though not for ever if the caller could feed it", function()
      for _, text in ipairs({ "ok", "" }) do
        local got = grun.queue()
        local url, count = scripted(function(conn)
          while read_head(conn) do
            conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#text, text))
            got:put(conn:read_until("0\r\n\r\n") or "")
          end
        end)
        local n = 0
        assert(grun.http.post(url, { timeout = 20, body = function()
          n = n + 1
          grun.sleep(n == 2 and 1.1 or 0)
          return n <= 2 and "x" or nil
        end }))
        assert.equal("1\r\nx\r\n1\r\nx\r\n", got:get())
        local body, started = stuck(), grun.now()
        local res = assert(grun.http.post(url, { stream = true, timeout = 20, body = body.next }))
        assert.equal(text, text ~= "" and res:read() or "")
        assert.is_true(text == "" or grun.now() - started < 0.9) -- the piece does not wait, the end does
        assert.equal("", res:read("a"))
        local passed = grun.now() - started
        assert.is_true(passed > 0.9 and passed < 10, passed)
        assert.is_truthy(grun.is_cancel(body.err))
        assert.equal("3\r\none\r\n", got:get())
        assert.equal(1, count.n)
      end
    end)
  end)

  describe("gives the server time", function()
    it("to answer until it has all of a body that comes slowly", function()
      local function slow(n, seconds)
        return function()
          n = n - 1
          grun.sleep(seconds)
          return n >= 0 and "x" or nil
        end
      end
      local function interim(conn)
        read_head(conn)
        conn:write("HTTP/1.1 100 Continue\r\n\r\n")
        conn:read_until("0\r\n\r\n")
        conn:write("HTTP/1.1 102 Processing\r\n\r\n" .. OK)
      end
      local function early(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
        conn:read_until("0\r\n\r\n")
        conn:write("ok")
      end
      local function late(conn)
        read_head(conn)
        conn:read_until("0\r\n\r\n")
        conn:write(OK)
      end
      for _, script in ipairs({ interim, early, late }) do
        assert.equal("ok", assert(grun.http.post(scripted(script), { read_timeout = 0.1, body = slow(2, 0.15) })).body)
      end
      assert.same({ nil, "timeout", "timeout" },
        { grun.http.post(scripted(swallow), { read_timeout = 0.1, body = slow(3, 0.05) }) })
    end)

    it("to say more while it takes more, not while both are silent", function()
      local url = greeting(swallow)
      local n = 0
      local body = stuck()
      local res = assert(grun.http.post(url, { stream = true, read_timeout = 0.2, timeout = 20, body = function()
        n = n + 1
        if n > 10 then
          return body.next()
        end
        grun.sleep(0.05)
        return "x"
      end }))
      assert.equal("hi", res:read())
      local started = grun.now()
      assert.same({ nil, "timeout", "timeout" }, { res:read() })
      local passed = grun.now() - started
      assert.is_true(passed > 0.5 and passed < 10, passed)
      quiet()
    end)

    it("to take more while the caller lets it wait", function()
      local tls = require("spec.tls_helper")
      local url = serve(echo)
      local secure = client.keep(assert(grun.server("https://localhost:0", echo, tls.server()))):address()
      for _, opts in ipairs({ { body = pieces(noise), url = url }, { file = helper.tmpname(noise), url = url },
        { body = pieces(noise), url = secure }, { body = noise, url = secure } }) do
        opts.method, opts.stream, opts.read_timeout, opts.timeout, opts.tls = "POST", true, 0.1, 30, tls.client()
        local res = assert(grun.http.request(opts))
        local first = res:read()
        grun.sleep(0.5)
        assert.is_true(net.same(noise, first .. assert(res:read("a"))))
      end
    end)
  end)

  it("leaves nothing behind in a storm of broken requests", function()
    local url = serve(function(req, res)
      local n = 0
      for piece in function() return req:read() end do
        n = n + 1
        if req.path == "/stop" and n == 3 then
          return
        elseif req.path == "/refuse" and n == 2 then
          return 400, "no"
        elseif req.path == "/cut" and n == 4 then
          return req.conn:close()
        elseif req.path ~= "/refuse" then
          res:write(piece)
        end
      end
    end)
    local session = grun.http.session({ max_per_host = 600, timeout = 20 })
    local endings = {
      function(res) return res:read("a") end,
      function(res) return res:close() end,
      function(res) return res:read(10), res:close() end,
      function() end,
    }
    local list, late = {}, 0
    for i = 1, 600 do
      list[i] = helper.spawn(function()
        local left = i % 11
        local ok, res, _, code = pcall(session.post, session, url .. ({ "/", "/stop", "/refuse", "/cut" })[i % 4 + 1],
          { stream = i % 5 > 0, max_body = i % 7 == 0 and 100 or nil, body = function()
            left = left - 1
            if i % 3 == 0 then
              grun.yield()
            elseif left == 1 and i % 13 == 0 then
              error("mine", 0)
            end
            return left >= 0 and ("x"):rep(i * 37 % 5000 + 1) or nil
          end })
        late = late + (code == "timeout" and 1 or 0)
        if ok and res and not res.body then
          pcall(endings[i % #endings + 1], res)
        end
      end)
    end
    for i = 1, 600, 5 do
      grun.yield()
      list[i]:kill()
    end
    grun.joinall(list)
    for _ = 1, 5 do
      collectgarbage()
      grun.yield()
    end
    quiet()
    session:close()
    assert.is_nil(next(session._pool._hosts))
    assert.equal(0, late)
  end)

  it("sends a large body once more when the connection was stale", function()
    local name, got = helper.tmpname(noise), {}
    local url, count = scripted(function(conn, n)
      read_head(conn)
      if n % 2 == 0 then
        got[#got + 1] = net.same(noise, conn:read(#noise))
      end
      conn:write(OK)
      if n % 2 == 1 then -- closes in the middle of the second request
        read_head(conn)
        conn:read(1000000)
      end
    end)
    local file = assert(io.open(name))
    for _, opts in ipairs({ { body = noise }, { file = name }, { body = file } }) do
      opts.timeout = 20
      assert.equal("ok", assert(grun.http.get(url)).body)
      assert.equal("ok", assert(grun.http.put(url, opts)).body)
      grun.http.close_idle()
    end
    file:close()
    assert.same({ true, true, true }, got)
    assert.equal(6, count.n)
  end)
end)
