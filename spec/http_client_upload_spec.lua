-- SPDX-License-Identifier: MIT
local grun = require("grun")
local client = require("spec.http_client_helper")

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
end)
