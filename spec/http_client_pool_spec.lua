-- SPDX-License-Identifier: MIT
local grun = require("grun")
local client = require("spec.http_client_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local serve, scripted, answering, read_head, OK =
  client.serve, client.scripted, client.answering, client.read_head, client.OK

describe("the HTTP client", function()
  local it = client.wrap(it, function(fn) finally(fn) end)

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
        body_of_head = "HTTP/1.1 204 OK\r\nContent-Length: 2\r\n\r\nok",
        chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n\r\n",
        close = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
        old = "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      }) do
        local url, count = answering(bytes, true)
        for _ = 1, 3 do
          assert.equal(name == "body_of_head" and "" or "ok", grun.http.get(url).body, name)
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
      local url = serve(function() return "ok" end)
      local started = grun.now()
      local _, err, status = helper.run_script(([[
        local grun = require("grun")
        assert(grun.http.get("%s").body == "ok")
        grun.queue():get()
      ]]):format(url))
      assert.equal(2, status)
      assert.matches("deadlock", err)
      assert.is_true(grun.now() - started < 5)
    end)

    it("once all bytes that were told have been read, whoever reads on", function()
      local url, count = answering(OK, true)
      local session = grun.http.session({ max_per_host = 1 })
      for _ = 1, 3 do
        local res = session:get(url, { stream = true, timeout = 5 })
        assert.equal("ok", assert(res):read(2))
        assert.equal("ok", assert(session:get(url, { timeout = 5 })).body)
        assert.is_nil((res:read()))
      end
      assert.equal(1, count.n)
      session:close()
    end)

    it("not when a thread is killed in the middle of a body", function()
      local url, count = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        assert.equal("", (conn:recv(1, 10)) or "") -- the end: it was closed
      end)
      local session = grun.http.session({ max_per_host = 1 })
      for i, stream in ipairs({ false, true, false, true }) do
        local t = net.parked(function()
          local res = session:get(url, { stream = stream })
          return res:read("a")
        end)
        while count.n < i do
          grun.yield()
        end
        grun.sleep(0.01)
        t:kill()
        assert.equal(0, session._pool:idle())
        assert.is_nil(next(session._pool._hosts))
      end
      assert.equal(4, count.n)
      session:close()
    end)

    it("to a server that was started anew meanwhile", function()
      local url, server = serve(function() return "old" end)
      assert.equal("old", grun.http.get(url).body)
      server:stop(0)
      client.keep(assert(grun.server(url, function() return "new" end)))
      assert.equal("new", grun.http.post(url, { body = "x" }).body)
    end)

    it("in order in a storm of time-outs, kills and broken reads", function()
      local url = serve(function(req)
        if req.path == "/slow" then
          grun.sleep(0.01)
        elseif req.path == "/big" then
          local left = 20
          return function()
            left = left - 1
            grun.yield()
            return left > 0 and ("x"):rep(5000) or nil
          end
        end
        return req.query.n
      end)
      local session = grun.http.session({ max_per_host = 8, max_idle = 8, timeout = 30 })
      local function check(path, i, timeout)
        local res = session:get(url .. path .. "?n=" .. i, { timeout = timeout })
        assert(not res or res.body == tostring(i))
        assert(res or timeout)
      end
      local kinds = {
        function(i) check("/slow", i, i % 7 * 0.02) end,
        function(i) check("/", i) end,
        function() session:get(url .. "/big", { max_body = 10000 }) end,
        function(i)
          local res = assert(session:get(url .. "/big", { stream = true }))
          res:read(100)
          if i % 8 < 4 then
            res:close()
          else
            res:read("a")
          end
        end,
      }
      local list = {}
      for i = 1, 1000 do
        list[i] = helper.spawn(kinds[i % 4 + 1], i)
      end
      for i = 1, 1000, 7 do
        grun.yield()
        list[i]:kill()
      end
      grun.joinall(list)
      for _, t in ipairs(list) do
        assert.is_true(t:successful() or t:status() == "cancelled", tostring(t:status()))
      end
      collectgarbage()
      collectgarbage()
      local open = {}
      for i = 1, 8 do
        open[i] = assert(session:get(url .. "/big", { stream = true, timeout = 5 }))
      end
      for i = 1, 8 do
        open[i]:close()
      end
      session:close()
      assert.is_nil(next(session._pool._hosts))
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

    it("while it connects: to who does not accept, through TLS, through a proxy", function()
      local function check(url, opts)
        opts.connect_timeout = 0.1
        assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, opts) })
        opts.connect_timeout, opts.timeout = nil, 0.1
        assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, opts) })
      end
      local mute = scripted(function() grun.sleep(30) end)
      check((mute:gsub("http", "https")), {})
      check("https://h.test/", { proxy = mute })
      local tunnel = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\n\r\n")
        grun.sleep(30)
      end)
      check("https://h.test/", { proxy = tunnel })
    end)

    it("when the server drips a head", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\n")
        while conn:write("A: b\r\n") do
          grun.sleep(0.02)
        end
      end)
      assert.same({ nil, "timeout", "timeout" }, { grun.http.get(url, { read_timeout = 0.1 }) })
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
      client.keep(dead)
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
      local name, plain = helper.tmpname(large), scripted(refuse)
      local secure = assert(grun.server("tls://127.0.0.1:0", refuse, tls.server()))
      local urls = { plain, (secure:address():gsub("tls", "https")) }
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
      grun.sleep(1) -- closing TLS takes a moment
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
end)
