-- SPDX-License-Identifier: MIT
-- TLS with other implementations: openssl's s_client and s_server, curl, and LuaSec in this process.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")
local tls = require("spec.tls_helper")

local test = net.test(it, function(fn) finally(fn) end)
local path = tls.path

local function serve(keep, handler, opts)
  local server = assert(grun.server("tls://127.0.0.1:0", handler, opts or tls.server()))
  keep({ close = function() server:stop(0) end })
  return server, server:address():match("%d+$")
end

local function echo(conn)
  for line in conn:lines("L") do
    conn:write(line)
  end
end

-- Starts s_server with the options, connects to it as soon as it listens.
local function s_server(keep, options, client)
  local port = tls.free_port()
  local command = "openssl s_server -accept 127.0.0.1:%s -cert %s -key %s -cert_chain %s %s"
  local peer = tls.start(command:format(port, path("good.pem"), path("key.pem"),
    path("intermediate.pem"), options))
  peer.expect("ACCEPT")
  local function connect()
    local conn, message = grun.connect("tls://127.0.0.1:" .. port, client or tls.client())
    return keep(assert(conn, conn or message .. peer.output()))
  end
  return connect, peer
end

describe("a TLS server", function()
  for _, version in ipairs({ "1_2", "1_3" }) do
    test("serves openssl s_client, TLS " .. version, function(keep)
      local _, port = serve(keep, echo)
      local client = tls.start(("(echo hello; sleep 0.3) | openssl s_client -connect 127.0.0.1:%s -tls%s " ..
        "-CAfile %s -verify_return_error -verify_hostname localhost -servername localhost"):format(
        port, version, path("root.pem")))
      local out, status = client.finish()
      assert.equal(0, status, out)
      assert.matches("\nhello\n", out)
      assert.matches("Verify return code: 0", out)
      assert.matches("TLSv" .. version:gsub("_", "."), out)
    end)

    test("resumes the sessions of s_client -reconnect, TLS " .. version, function(keep)
      local reused = {}
      local _, port = serve(keep, function(conn)
        reused[#reused + 1] = conn:tls().reused
        conn:read()
      end)
      tls.start(("openssl s_client -connect 127.0.0.1:%s -tls%s -reconnect -no_ticket -CAfile %s </dev/null"):format(
        port, version, path("root.pem"))).finish()
      reused = {}
      local session = helper.tmpname()
      for _, how in ipairs({ "-sess_out", "-sess_in" }) do
        tls.start(("(echo; sleep 0.2) | openssl s_client -connect 127.0.0.1:%s -tls%s %s %s -CAfile %s"):format(
          port, version, how, session, path("root.pem"))).finish()
      end
      assert.same({ false, true }, reused)
    end)
  end

  test("agrees on a protocol with s_client, and asks it for a certificate", function(keep)
    local seen
    local _, port = serve(keep, function(conn)
      seen = conn:tls()
      conn:write("bye\n")
    end, tls.server(nil, { alpn = { "h2", "http/1.1" }, client_ca = path("root.pem") }))
    local out = tls.start(("openssl s_client -connect 127.0.0.1:%s -alpn http/1.1,h2 -CAfile %s -cert %s -key %s " ..
      "-cert_chain %s </dev/null"):format(port, path("root.pem"), path("client.pem"), path("key.pem"),
      path("intermediate.pem"))).finish()
    assert.matches("ALPN protocol: h2", out)
    assert.matches("Acceptable client certificate CA names\nCN = grun root", out)
    assert.equal("CN=a client", seen.peer.subject)
    assert.is_true(seen.verified)
  end)

  test("answers key updates and refuses renegotiation", function(keep)
    local _, port = serve(keep, echo)
    local out = tls.start(("(sleep 0.1; echo K; sleep 0.1; echo one; sleep 0.1; echo k; sleep 0.1; echo two; " ..
      "sleep 0.2) | openssl s_client -connect 127.0.0.1:%s -tls1_3 -CAfile %s"):format(port, path("root.pem"))).finish()
    assert.matches("\none\n", out)
    assert.matches("\ntwo\n", out)
    out = tls.start(("(sleep 0.1; echo R; sleep 0.2) | openssl s_client -connect 127.0.0.1:%s -tls1_2 " ..
      "-CAfile %s"):format(port, path("root.pem"))).finish()
    assert.matches("no renegotiation", out)
  end)

  test("serves curl", function(keep)
    local body = net.noise(300000)
    local _, port = serve(keep, function(conn)
      repeat until conn:read() == "\r"
      conn:write("HTTP/1.1 200 OK\r\nContent-Length: ", #body, "\r\n\r\n", body)
    end)
    local file = helper.tmpname()
    local curl = tls.start(("curl -sS --noproxy '*' --cacert %s -o %s --resolve localhost:%s:127.0.0.1 " ..
      "https://localhost:%s/"):format(path("root.pem"), file, port, port))
    local out, status = curl.finish()
    assert.equal(0, status, out)
    assert.is_true(net.same(body, tls.read_file(file)))
  end)
end)

describe("a TLS client", function()
  for _, version in ipairs({ "1_2", "1_3" }) do
    test("talks to openssl s_server, TLS " .. version, function(keep)
      local connect = s_server(keep, "-rev -tls" .. version)
      local conn = connect()
      conn:write("hello\n")
      assert.equal("olleh", conn:read())
      assert.equal("TLSv" .. version:gsub("_", "."), conn:tls().version)
      conn:close()
      conn = connect()
      assert.is_true(conn:tls().reused)
    end)
  end

  test("sends its certificate and its protocols to s_server", function(keep)
    local options = "-Verify 2 -verify_return_error -CAfile %s -alpn http/1.1"
    local connect, peer = s_server(keep, options:format(path("root.pem")), tls.client({
      cert = path("client.chain"), key = path("key.pem"), alpn = { "h2", "http/1.1" },
    }))
    local conn = connect()
    assert.equal("http/1.1", conn:tls().alpn)
    conn:write("hello\n")
    peer.expect("hello")
    assert.matches("CN = a client", peer.output())
  end)

  test("tells when s_server closed without saying so", function(keep)
    local port = tls.free_port()
    local peer = tls.start(("exec openssl s_server -accept 127.0.0.1:%s -cert %s -key %s -quiet"):format(port,
      path("good.pem"), path("key.pem")))
    local conn
    local limit = grun.now() + 10
    repeat
      grun.sleep(0.02)
      conn = grun.connect("tls://127.0.0.1:" .. port, { verify = false })
    until conn or grun.now() > limit
    keep(conn)
    conn:write("line\n")
    peer.expect("line")
    peer.kill()
    assert.equal("truncated", select(3, conn:read("a")))
  end)
end)

describe("OpenSSL's error queue", function()
  -- Leaves errors of LuaSec in it, which uses the same library.
  local function dirty()
    assert.is_nil((require("ssl").newcontext({ mode = "client", protocol = "tlsv1_2", cafile = "/nowhere" })))
    assert.is_falsy((require("ssl.x509").load("nonsense")))
  end

  test("left dirty by another library harms no reading, writing, handshake or end", function(keep)
    local client, server = tls.connected(keep)
    for i = 1, 3 do
      dirty()
      assert.is_true(client:write(i, "\n"))
      dirty()
      assert.equal(tostring(i), server:read())
      dirty()
      assert.is_nil((grun.select({ client:op_readable() }, 0)))
      local c, s = tls.connected(keep, nil, { alpn = { "n" .. i } })
      dirty()
      c:close()
      dirty()
      assert.same({ nil, "closed", "closed" }, { s:read() })
    end
  end)

  test("left dirty between two halves of a record harms no read", function(keep)
    local client, near = keep(assert(grun.pair()))
    local server, far = keep(assert(grun.pair()))
    local function pass(from, to)
      to:write(from:recv())
    end
    local starting = grun.spawn(client.starttls, client, tls.client())
    local serving = grun.spawn(server.starttls, server, tls.server(nil, { server = true, tickets = false }))
    pass(near, far)
    dirty()
    local flight = far:recv()
    near:write(flight:sub(1, 300))
    grun.sleep(0.01)
    dirty()
    near:write(flight:sub(301))
    pass(near, far)
    assert.is_true(starting:get())
    assert.is_true(serving:get())
    local reading = net.parked(client.read, client)
    server:write("hello\n")
    local record = far:recv()
    for i = 1, #record do
      dirty()
      near:write(record:sub(i, i))
      grun.sleep(0.001)
    end
    assert.equal("hello", reading:get())
  end)
end)
