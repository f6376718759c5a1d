-- SPDX-License-Identifier: MIT
local grun = require("grun")
local client = require("spec.http_client_helper")
local helper = require("spec.helper")

local serve, scripted, answering, read_head =
  client.serve, client.scripted, client.answering, client.read_head

describe("the HTTP client", function()
  local plain_it = it
  local it = client.wrap(it, function(fn) finally(fn) end)

  describe("follows redirects", function()
    -- /STATUS/n…: so many redirects with that status; then what came.
    local function redirecting(status, location)
      return serve(function(req)
        local n = tonumber(req.path:match("^/(%d+)$"))
        if n and n > 0 then
          return status, { Location = location or tostring(n - 1) }, "moved"
        end
        return table.concat({ req.method, req:body(), req:header("content-type") or "-",
          req:header("authorization") or req:header("proxy-authorization") or "-", req:header("cookie") or "-" }, " ")
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

    it("to references of any kind", function()
      local target = "/x"
      local url = serve(function(req)
        if req.path == "/a/b" then
          return 302, { Location = target }, ""
        end
        return req.target
      end)
      local host = url:match("//(.*)")
      for reference, expected in pairs({
        ["c#d"] = "/a/c", ["?q#d"] = false, ["#d"] = false, ["../c/./d?e"] = "/c/d?e", ["//" .. host .. "/c"] = "/c",
        ["HTTP://" .. host:upper() .. "/c"] = "/c", ["c d\195\188?\195\188=%41"] = "/a/c%20d%C3%BC?%C3%BC=%41",
        ["  /c  "] = "/c", ["/c?u=http://x/"] = "/c?u=http://x/", ["http://u:p@" .. host .. "/c"] = "/c",
      }) do
        target = reference
        local res, message, code = grun.http.get(url .. "/a/b")
        if expected then
          assert.same({ expected, url .. expected }, { res.body, res.url }, reference)
        else
          assert.same({ nil, "too many redirects", "redirect" }, { res, message, code }, reference)
        end
      end
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
      local opts = { headers = { Authorization = "A", Cookie = "c=d", Host = "own", ["Proxy-Authorization"] = "P" },
        auth = { "a", "b" } }
      assert.equal("GET  - - -", grun.http.get(url .. "/1", opts).body)
      assert.equal("GET  - - -", grun.http.get(url .. "/1", { auth = { "a", "b" } }).body)
      assert.equal("GET  - A c=d", grun.http.get(other .. "/0", opts).body)
    end)

    it("with the cookies of each host", function()
      local there = client.keep(assert(grun.server("http://127.0.0.2:0", function(req, res)
        res:header("Set-Cookie", "there=1; Path=/")
        return req:header("cookie") or "none"
      end)))
      local url = serve(function(_, res)
        res:header("Set-Cookie", "here=1; Path=/")
        return 302, { Location = there:address() }, ""
      end)
      local session = grun.http.session()
      assert.equal("none", session:get(url).body)
      assert.equal("there=1", session:get(url).body)
      assert.equal(2, #session.cookies:list())
      session:close()
    end)

    it("not where they must not lead", function()
      for location, code in pairs({ ["ftp://h/"] = "bad_address", ["http://"] = "bad_address",
        ["http://a b/"] = "bad_address", ["//:1/"] = "bad_address", ["file:///etc/passwd"] = "bad_address",
        ["https:"] = "bad_address", ["javascript:x"] = "bad_address", ["http://h\195\188/"] = "bad_address" }) do
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
        conn:write("HTTP/1.1 200 Connected\r\n\r\n")
        client.tunnel(conn, target)
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
      client.keep(server)
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

    plain_it("but not for hosts that no_proxy names", function()
      local ffi = require("ffi")
      ffi.cdef("int setenv(const char *, const char *, int); int unsetenv(const char *);")
      finally(function()
        ffi.C.unsetenv("http_proxy")
        ffi.C.unsetenv("no_proxy")
      end)
      ffi.C.setenv("http_proxy", "http://p:1", 1)
      local all = "127.0.0.1 127.0.0.1:81 web1 a.web1 10.0.0.1 10.0.0.1:81 [::1] [::1]:81 h.org a.h.org h.org:81"
      local choose, parse = require("grun.http.proxy").choose, require("grun.http.url").parse
      for item, hosts in pairs({
        ["127.0.0.1"] = "127.0.0.1 127.0.0.1:81", ["web1"] = "web1 a.web1", ["10.0.0.1:81"] = "10.0.0.1:81",
        ["::1"] = "[::1] [::1]:81", ["[::1]"] = "[::1] [::1]:81", ["[::1]:81"] = "[::1]:81",
        [".H.org"] = "h.org a.h.org h.org:81", ["*.h.org"] = "h.org a.h.org h.org:81", ["x , h.org:81"] = "h.org:81",
        ["org"] = "h.org a.h.org h.org:81", [""] = "", ["[::1"] = "", ["[::1]x"] = "", [":81"] = "", [","] = "",
        ["*"] = all,
      }) do
        ffi.C.setenv("no_proxy", item, 1)
        for host in all:gmatch("%S+") do
          local exempt = (" " .. hosts .. " "):find(" " .. host .. " ", 1, true) ~= nil
          assert.equal(exempt, choose("env", parse("http://" .. host)) == false, item .. " " .. host)
        end
      end
    end)

    it("and says what is wrong with one", function()
      for bytes, code in pairs({ [""] = "closed", ["junk\r\n\r\n"] = "protocol",
        ["HTTP/1.1 503 No\r\nContent-Length: 2\r\n\r\nno"] = "proxy",
        ["HTTP/1.1 301 X\r\nLocation: /\r\n\r\n"] = "proxy",
        ["HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] = "tls",
        [("HTTP/1.1 100 Continue\r\n\r\n"):rep(50)] = "protocol" }) do
        local url = answering(bytes)
        local res, message, got = grun.http.get("https://h.test/", { proxy = url, timeout = 10 })
        assert.same({ nil, code }, { res, got }, bytes)
        assert.equal("string", type(message))
      end
      assert.equal("ECONNREFUSED", (select(3, grun.http.get("https://h.test/", { proxy = "127.0.0.1:1" }))))
      local url = answering("HTTP/1.1 407 Who\r\nContent-Length: 0\r\n\r\n")
      assert.equal(407, grun.http.get("http://h.test/", { proxy = url }).status)
    end)

    it("keeps their connections apart from others", function()
      local url, count = scripted(function(conn)
        for head in function() return read_head(conn) end do
          local answer = head:match("^GET (%S+)") .. (head:match("Proxy%-Authorization: %S+ (%S+)") or "")
          conn:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s"):format(#answer, answer))
        end
      end)
      assert.equal("http://a.test/", grun.http.get("http://a.test/", { proxy = url }).body)
      assert.equal("http://b.test/", grun.http.get("http://b.test/", { proxy = url }).body)
      assert.equal(1, count.n)
      local other = url:gsub("//", "//u:p@")
      assert.equal("http://a.test/dTpw", grun.http.get("http://a.test/", { proxy = other }).body)
      assert.equal("/", grun.http.get(url).body)
      assert.equal(3, count.n)
    end)

    it("only http ones", function()
      assert.equal("bad_address", (select(3, grun.http.get("http://h/", { proxy = "socks5://h:1" }))))
      assert.equal("bad_address", (select(3, grun.http.get("http://h/", { proxy = "https://h:1" }))))
    end)
  end)

  describe("shows no password", function()
    -- What a request fails with, and what is written when nobody looks.
    local function check(code, ...)
      local res, message, got = ...
      assert.same({ nil, code }, { res, got }, message)
      assert.not_matches("SEC", message)
      assert.not_matches("RET", message)
      assert.matches("me:%*%*%*@", message)
    end

    it("of a URL that is wrong, or a proxy's", function()
      for _, url in ipairs({ "http://me:SECRET@h:notaport/", "ftp://me:SECRET@h/", "http://me:SEC/RET@h/",
        "http://me:SECRET@h x/", "me:SECRET@h", "http://me:SECRET@/", "http://me:SEC\nRET@h/" }) do
        check("bad_address", grun.http.get(url))
      end
      for _, url in ipairs({ "http://me:SECRET@h:notaport/", "socks5://me:SECRET@h:1", "me:SECRET@h:x",
        "https://me:SECRET@h" }) do
        check("bad_address", grun.http.get("http://127.0.0.1:1/", { proxy = url }))
      end
    end)

    it("of a proxy in the environment, also in a traceback", function()
      local script = [[assert(grun.http.get("http://127.0.0.1:1/", { proxy = "env" }))]]
      local out, err = helper.run_child({ helper.script(script) },
        { env = { http_proxy = "http://me:SECRET@h:notaport/" } })
      assert.matches("bad URL \"http://me:%*%*%*@h:notaport/\": bad port.*traceback", err)
      assert.not_matches("SECRET", out .. err)
    end)

    it("of a redirect's target", function()
      local location
      local url = serve(function() return 302, { Location = location }, "" end)
      for _, bad in ipairs({ "http://me:SECRET@h:notaport/", "//me:SECRET@h:x/", "ftp://me:SECRET@h/" }) do
        location = bad
        check("bad_address", grun.http.get(url))
      end
    end)

    it("that was right either", function()
      local url = serve(function(req) return req.target end)
      local res = assert(grun.http.get((url:gsub("//", "//me:SECRET@")) .. "/x"))
      assert.same({ "/x", url .. "/x", "response 200 " .. url .. "/x" }, { res.body, res.url, tostring(res) })
      local _, message = grun.http.get("http://me:SECRET@127.0.0.1:1/")
      assert.equal("cannot connect to tcp://127.0.0.1:1: Connection refused", message)
      _, message = grun.http.get("http://h/", { proxy = "http://me:SECRET@127.0.0.1:1/" })
      assert.equal("cannot connect to tcp://127.0.0.1:1: Connection refused", message)
    end)
  end)

  describe("speaks TLS", function()
    it("with the certificate checked, and keeps the connections", function()
      local tls = require("spec.tls_helper")
      local server = assert(grun.server("https://127.0.0.1:0", function(req) return req.scheme end, tls.server()))
      client.keep(server)
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

    it("and refuses every certificate that is not right", function()
      local tls = require("spec.tls_helper")
      local ca = { tls = { ca = tls.path("root.pem") } }
      for name, host in pairs({ good = "127.0.0.2", other = "localhost", expired = "localhost", future = "localhost",
        self_signed = "localhost", unknown_ca = "localhost", purpose = "localhost", wildcard = "127.0.0.1",
        nul = "localhost", cn_only = "localhost" }) do
        local opts = tls.server(name)
        if name == "self_signed" then
          opts.cert = tls.path("self_signed.pem")
        end
        local server = client.keep(assert(grun.server("https://0.0.0.0:0", function() return "never" end, opts)))
        local url = ("https://%s:%s/"):format(host, server:address():match("%d+$"))
        local res, message, code = grun.http.get(url, ca)
        assert.same({ nil, "tls_verify" }, { res, code }, name)
        assert.matches("^cannot connect to tls://" .. host, message)
        assert.equal("never", grun.http.get(url, { tls = { verify = false } }).body)
      end
    end)

    it("and tells the server which name it asks for", function()
      local tls = require("spec.tls_helper")
      local server = client.keep(assert(grun.server("https://127.0.0.1:0", function() return "x" end,
        tls.server("one"))))
      local seen = {}
      local raw = client.keep(assert(grun.server("tls://127.0.0.1:0", function(conn)
        seen[#seen + 1] = conn:tls().sni or "-"
        read_head(conn)
        conn:write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
      end, tls.server())))
      local ca = { tls = { ca = tls.path("root.pem") } }
      local port = raw:address():match("%d+$")
      assert(grun.http.get("https://localhost:" .. port, ca))
      assert(grun.http.get("https://127.0.0.1:" .. port, ca))
      assert.same({ "localhost", "-" }, seen)
      ca.tls.hostname = "one.example.org"
      assert.equal("x", assert(grun.http.get(server:address(), ca)).body)
    end)

    plain_it("and takes no end of a body that TLS does not confirm", function()
      local tls = require("spec.tls_helper")
      local port = tls.free_port()
      local script = helper.tmpname([[
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while True:
    raw, _ = listener.accept()
    try:
        conn = context.wrap_socket(raw, server_side=True)
        path = conn.recv(4096).split()[1]
        length = b"Content-Length: 2\r\n" if path == b"/length" else b""
        conn.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\nok")
        if path == b"/polite":
            conn.unwrap()
        conn.close()
    except (OSError, IndexError):
        raw.close()
]])
      local process = tls.start(("exec python3 %s %d %s %s"):format(script, port, tls.path("good.chain"),
        tls.path("key.pem")))
      finally(function()
        process.kill()
        process.finish()
      end)
      local ca = { tls = { ca = tls.path("root.pem") }, timeout = 10 }
      local res
      local url, limit = "https://localhost:" .. port, grun.now() + 15
      repeat
        grun.sleep(0.02)
        res = grun.http.get(url .. "/length", ca)
      until res or grun.now() > limit
      assert.equal("ok", assert(res).body)
      assert.equal("truncated", (select(3, grun.http.get(url .. "/", ca))))
      assert.equal("ok", assert(grun.http.get(url .. "/polite", ca)).body)
    end)

    it("and refuses a redirect back to http", function()
      local tls = require("spec.tls_helper")
      local plain = serve(function() return "plain" end)
      local server = assert(grun.server("https://127.0.0.1:0", function()
        return 302, { Location = plain }, ""
      end, tls.server()))
      client.keep(server)
      local opts = { tls = { ca = tls.path("root.pem") } }
      assert.same({ nil, "redirect from https to http refused", "redirect" }, { grun.http.get(server:address(), opts) })
      opts.insecure_redirects = true
      assert.equal("plain", grun.http.get(server:address(), opts).body)
    end)
  end)
end)
