-- SPDX-License-Identifier: MIT
local grun = require("grun")
local client = require("spec.http_client_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local serve, scripted, read_head, OK = client.serve, client.scripted, client.read_head, client.OK

describe("the HTTP client", function()
  local it = client.wrap(it, function(fn) finally(fn) end)

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
          conn:write("HTTP/1.1 417 Expectation Failed\r\nSet-Cookie: a=1\r\nContent-Length: 0\r\n\r\n")
        else
          conn:read(4)
          conn:write((OK:gsub("\r\n", "\r\nSet-Cookie: b=2\r\n", 1)))
        end
      end)
      local session = grun.http.session()
      assert.equal("ok", assert(session:post(url, { expect = true, body = "text" })).body)
      assert.equal(2, #heads)
      assert.matches("\r\nCookie: a=1\r\n", heads[2])
      assert.equal(2, #session.cookies:list())
      session:close()
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

  describe("sends on when the answer comes early and is one of success:", function()
    local SIZE = 2 ^ 24
    local piece = ("0123456789abcdef"):rep(4096)

    -- The same body in all ways in which it can be sent.
    local function bodies()
      local left, whole = SIZE / #piece, piece:rep(SIZE / #piece)
      return { { body = whole }, { file = helper.tmpname(whole) }, { body = function()
        left = left - 1
        return left >= 0 and piece or nil
      end, headers = { ["Content-Length"] = SIZE } } }
    end

    it("what comes back depends on it", function()
      local function echo(conn)
        local head = read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: " .. SIZE .. "\r\n\r\n")
        local left = head and SIZE or 0
        while left > 0 do
          local data = assert(conn:recv(65536))
          assert(conn:write(data))
          left = left - #data
        end
      end
      local tls = require("spec.tls_helper")
      local secure = client.keep(assert(grun.server("tls://127.0.0.1:0", echo, tls.server())))
      for _, url in ipairs({ scripted(echo), (secure:address():gsub("tls", "https")) }) do
        for _, opts in ipairs(bodies()) do
          opts.timeout, opts.tls = 30, { verify = false }
          local res = assert(grun.http.post(url, opts))
          assert.equal(200, res.status)
          assert.is_true(net.same(piece:rep(SIZE / #piece), res.body))
        end
      end
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\n\r\n")
        for data in function() return conn:recv(65536) end do
          assert(conn:write(data))
          if data:sub(-1) == "." then
            return
          end
        end
      end)
      local res = assert(grun.http.post(url, { stream = true, body = ("x"):rep(200000) .. ".", timeout = 10 }))
      assert.equal(200001, #res:read("a"))
    end)

    it("the server may read on behind it", function()
      local got = {}
      local url, count = scripted(function(conn, n)
        while read_head(conn) do
          conn:write(OK)
          grun.sleep(0.05)
          got[n] = #conn:read(SIZE)
        end
      end)
      for _, opts in ipairs(bodies()) do
        assert.equal("ok", assert(grun.http.put(url, opts)).body)
      end
      assert.equal("ok", grun.http.put(url, { body = piece:rep(SIZE / #piece) }).body)
      assert.same({ SIZE }, got)
      assert.equal(1, count.n)
    end)

    it("but not for ever", function()
      local url, count = scripted(function(conn)
        read_head(conn)
        conn:write(OK)
        grun.sleep(30)
      end)
      for _, opts in ipairs(bodies()) do
        opts.read_timeout = 0.1
        assert.equal("ok", assert(grun.http.post(url, opts)).body)
      end
      assert.equal(3, count.n)
      url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok")
        grun.sleep(30)
      end)
      assert.same({ nil, "timeout", "timeout" },
        { grun.http.post(url, { body = piece:rep(SIZE / #piece), read_timeout = 0.1 }) })
    end)

    it("until the server is gone", function()
      local url = scripted(function(conn)
        read_head(conn)
        conn:write(OK)
        conn:shutdown("w")
        conn:read(100000)
      end)
      for _, opts in ipairs(bodies()) do
        opts.timeout = 10
        assert.equal("ok", assert(grun.http.post(url, opts)).body)
      end
    end)

    it("and to where a redirect leads, or not at all", function()
      local there = serve(function(req)
        local n = 0
        for data in function() return req:read() end do
          n = n + #data
        end
        return tostring(n)
      end)
      local url = scripted(function(conn)
        read_head(conn)
        conn:write("HTTP/1.1 307 There\r\nContent-Length: 0\r\nLocation: " .. there .. "\r\n\r\n")
        grun.sleep(30)
      end)
      local list = bodies()
      assert.equal(tostring(SIZE), assert(grun.http.post(url, list[1])).body)
      assert.equal(tostring(SIZE), assert(grun.http.post(url, list[2])).body)
      assert.equal("redirect", (select(3, grun.http.post(url, list[3]))))
    end)
  end)

  it("is not kept from sending by a flood of interim responses", function()
    local url = scripted(function(conn)
      read_head(conn)
      local flood = ("HTTP/1.1 100 Continue\r\n\r\n"):rep(100)
      helper.spawn(function()
        local data
        repeat
          data = conn:recv(65536)
        until not data
      end)
      while conn:write(flood) do
        grun.yield()
      end
    end)
    local n = 0
    assert.same({ nil, "too many interim responses", "protocol" },
      { grun.http.post(url, { timeout = 10, body = function()
        n = n + 1
        grun.yield()
        return "x"
      end }) })
    assert.is_true(n < 10000)
  end)
end)
