-- SPDX-License-Identifier: MIT
-- TLS: verification, contexts and their options, data, starttls.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")
local tls = require("spec.tls_helper")

local test = net.test(it, function(fn) finally(fn) end)
local noise, same, parked = net.noise, net.same, net.parked
local path, connected = tls.path, tls.connected

local MIB = 1024 * 1024

-- Accepts one connection and reads what comes; get() gives what the read returned.
local function reader(keep, listener)
  return grun.spawn(function()
    local conn = keep(assert(listener:accept()))
    return conn:read("a")
  end)
end

local function copy(from, to)
  for piece in function() return from:recv() end do
    to:write(piece)
  end
end

-- What connecting to a server with these options gives: true, or nil, message, code. A client that
-- succeeds closes at once.
local function attempt(keep, server, client)
  local listener, address = tls.listen(keep, server)
  local accepting = reader(keep, listener)
  local conn, message, code = grun.connect(address, client)
  if conn then
    conn:close()
  end
  local got = { accepting:get() }
  message = message and message:gsub("^cannot connect to tls://127%.0%.0%.1:%d+: ", "")
  return conn and true, message, code, got
end

describe("a TLS client by default", function()
  local refused = {
    { "expired", "certificate has expired" },
    { "future", "certificate is not yet valid" },
    { "other", "certificate is for other.example, second.example, not localhost" },
    { "partial", "certificate is for loc*, l*.example.org, not localhost" },
    { "cn_only", "certificate is for no host name, not localhost" },
    { "nul", "certificate is for localhost" },
    { "self_signed", "self-signed certificate" },
    { "unknown_ca", "unable to get local issuer certificate" },
    { "bad_issuer", "" },
    { "purpose", "unsuitable certificate purpose" },
  }
  for _, case in ipairs(refused) do
    test("refuses a certificate that is " .. case[1], function(keep)
      local file = case[1] == "self_signed" and path("self_signed.pem") or path(case[1] .. ".chain")
      local ok, message, code, server = attempt(keep, { cert = file, key = path("key.pem") },
        tls.client())
      assert.is_nil(ok)
      assert.equal("tls_verify", code)
      assert.is_truthy(message:find(case[2], 1, true), message)
      assert.is_nil(server[1])
      assert.equal("tls", server[3])
      assert.matches("^the peer refused: ", server[2])
    end)
  end

  local accepted = {
    { "good", "localhost" }, { "good", "127.0.0.1" }, { "good", "::1" }, { "good", "one.example.org" },
    { "good", "LOCALHOST" }, { "good", "localhost." },
    { "wildcard", "a.example.org" },
  }
  for _, case in ipairs(accepted) do
    test(("takes the %s certificate for %s"):format(case[1], case[2]), function(keep)
      assert.is_true(attempt(keep, tls.server(case[1]), tls.client({ hostname = case[2] })))
    end)
  end

  local other_names = {
    { "good", "example.org" }, { "good", "127.0.0.2" }, { "wildcard", "a.b.example.org" },
    { "wildcard", "example.org" }, { "partial", "lx.example.org" }, { "nul", "evil.example" },
    { "good", "localhost.evil.example" },   }
  for _, case in ipairs(other_names) do
    test(("refuses the %s certificate for %s"):format(case[1], case[2]), function(keep)
      local ok, message, code = attempt(keep, tls.server(case[1]), tls.client({ hostname = case[2] }))
      assert.is_nil(ok)
      assert.equal("tls_verify", code, message)
    end)
  end

  test("refuses names that would stand for several", function(keep)
    for _, name in ipairs({ ".example.org", "." }) do
      local _, message, code = attempt(keep, tls.server("wildcard"), tls.client({ hostname = name }))
      assert.matches("^bad host name ", message)
      assert.equal("tls", code)
    end
  end)

  test("refuses a chain without the intermediate certificate", function(keep)
    local ok, message, code = attempt(keep, { cert = path("good.pem"), key = path("key.pem") },
      tls.client())
    assert.same({ nil, "unable to get local issuer certificate", "tls_verify" }, { ok, message, code })
  end)

  test("trusts only the system's authorities", function(keep)
    local ok, message, code = attempt(keep, tls.server(), { hostname = "localhost" })
    assert.is_nil(ok)
    assert.equal("tls_verify", code)
    assert.matches("certificate", message)
  end)

  test("takes the host of the address as the name", function(keep)
    local listener, address = tls.listen(keep, tls.server("good"))
    local conns = {}
    grun.spawn(function()
      for i = 1, 2 do
        conns[i] = keep(listener:accept())
        conns[i]:read()
      end
    end)
    local client = keep(assert(grun.connect(address, { ca = path("root.pem") })))
    assert.is_nil(client:tls().sni)
    client:write("\n")
    local port = address:match("%d+$")
    client = keep(assert(grun.connect("tls://localhost:" .. port, { ca = path("root.pem") })))
    assert.equal("localhost", client:tls().sni)
    client:write("\n")
  end)

  test("says with verify = false that nothing was verified", function(keep)
    local client = connected(keep, { cert = path("expired.chain") }, { verify = false })
    assert.is_false(client:tls().verified)
    assert.equal("CN=expired", client:tls().peer.subject)
  end)
end)

describe("a TLS connection", function()
  test("carries data and tells what was agreed on", function(keep)
    local client, server = connected(keep, { alpn = { "b", "a" } }, { alpn = { "a", "b" } })
    client:write("ping\n")
    assert.equal("ping", server:read())
    server:write({ "po", "ng", 1 }, "\n")
    assert.equal("pong1", client:read())
    local info = client:tls()
    local peer = info.peer
    info.peer = nil
    assert.same({ version = "TLSv1.3", cipher = "TLS_AES_256_GCM_SHA384", alpn = "b", sni = "localhost",
      verified = true, reused = false }, info)
    assert.equal("CN=good", peer.subject)
    assert.equal("CN=intermediate", peer.issuer)
    assert.same({ "localhost", "one.example.org", "127.0.0.1", "::1" }, peer.names)
    assert.equal(1704067200, peer.not_before)
    assert.matches("^%x+$", peer.serial)
    assert.matches("^%x+$", peer.fingerprint)
    assert.equal(64, #peer.fingerprint)
    assert.matches("^%-%-%-%-%-BEGIN CERTIFICATE", peer.pem)
    assert.same({ version = "TLSv1.3", cipher = "TLS_AES_256_GCM_SHA384", alpn = "b", sni = "localhost",
      verified = false, reused = false }, server:tls())
    assert.matches("^conn tls 127%.0%.0%.1:%d+ %-> ", tostring(client))
  end)

  test("tells the length of alternative names with NUL", function(keep)
    local client = connected(keep, { cert = path("nul.chain") }, { verify = false })
    assert.same({ "localhost\0.evil.example" }, client:tls().peer.names)
  end)

  for _, version in ipairs({ "1.2", "1.3" }) do
    test("carries MiBs both ways at once, TLS " .. version, function(keep)
      local client, server = connected(keep, { min_version = version, max_version = version })
      assert.equal("TLSv" .. version, client:tls().version)
      local data = noise(5 * MIB + 3)
      local function both(conn)
        local writing = grun.spawn(function()
          assert(conn:write(data))
          assert(conn:shutdown("w"))
        end)
        local got = assert(conn:read("a"))
        writing:get()
        return same(data, got)
      end
      local there = grun.spawn(both, server)
      assert.is_true(both(client))
      assert.is_true(there:get())
    end)

    test("resumes sessions, TLS " .. version, function(keep)
      local listener, address = tls.listen(keep, tls.server(nil, { max_version = version }))
      local context = assert(grun.tls.context({ ca = path("root.pem") }))
      local reused = {}
      for i = 1, 3 do
        local accepting = grun.spawn(function()
          local conn = keep(listener:accept())
          conn:write(conn:read("L"))
        end)
        local client = keep(assert(grun.connect(address, { tls = context })))
        client:write("x\n")
        assert.equal("x", client:read())
        accepting:get()
        reused[i] = client:tls().reused
        assert.is_true(client:tls().verified)
        client:close()
      end
      assert.same({ false, true, true }, reused)
      local accepting = reader(keep, listener)
      local client = keep(assert(grun.connect(address, { tls = context, hostname = "one.example.org" })))
      assert.is_false(client:tls().reused)
      client:close()
      accepting:get()
    end)
  end

  test("resumes no session with tickets = false", function(keep)
    for _, where in ipairs({ "server", "client" }) do
      local off = { tickets = false }
      local listener, address = tls.listen(keep, tls.server(nil, where == "server" and off))
      for _ = 1, 2 do
        local accepting = grun.spawn(function()
          local conn = keep(listener:accept())
          conn:write(conn:read("L"))
        end)
        local client = keep(assert(grun.connect(address, tls.client(where == "client" and off))))
        client:write("x\n")
        client:read()
        accepting:get()
        assert.is_false(client:tls().reused)
        client:close()
      end
    end
  end)

  test("is readable when there are decrypted bytes and not for records without", function(keep)
    local client, server = connected(keep)
    -- The server's tickets have arrived and are no data.
    assert.same({ nil, "timeout", "timeout" }, { grun.select({ client:op_readable() }, 0.05) })
    local selecting = parked(grun.select, { client:op_readable() }, 5)
    server:write("12345678")
    assert.same({ 1, true }, { selecting:get() })
    assert.equal("123", client:read(3))
    assert.same({ 1, true }, { grun.select({ client:op_readable() }, 0) })
    assert.equal("45678", client:recv())
    assert.is_nil((grun.select({ client:op_readable() }, 0)))
    server:write(noise(100000))
    assert.equal(90000, #client:read(90000))
    assert.same({ 1, true }, { grun.select({ client:op_readable() }, 0) })
    assert.equal(10000, #client:read(10000))
    server:close()
    assert.same({ 1, true }, { grun.select({ client:op_readable() }, 1) })
    assert.same({ nil, "closed", "closed" }, { client:read() })
  end)

  test("ends one direction with shutdown", function(keep)
    local client, server = connected(keep)
    client:write("request")
    assert.is_true(client:shutdown("w"))
    assert.same({ nil, "Broken pipe", "EPIPE", 0 }, { client:write("more") })
    assert.equal("request", server:read("a"))
    assert.same({ nil, "closed", "closed" }, { server:read() })
    server:write("answer")
    server:close()
    assert.equal("answer", client:read("a"))
  end)

  test("tells a closed connection from a truncated one", function(keep)
    for _, fmt in ipairs({ "a", "l", 100 }) do
      local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
      local accepting = grun.spawn(function() return keep(listener:accept()) end)
      local raw = keep(assert(grun.connect(listener:address())))
      local server = accepting:get()
      -- A pipe in the middle that cuts.
      local front = keep(assert(grun.listen("tls://127.0.0.1:0", tls.server())))
      local up = keep(assert(grun.connect("tcp" .. front:address():sub(4))))
      helper.spawn(copy, raw, up)
      helper.spawn(copy, up, raw)
      local writing = grun.spawn(function()
        local conn = keep(front:accept())
        conn:write("some bytes")
        return conn
      end)
      assert.is_true(server:starttls(tls.client({ server = false })))
      writing:get()
      assert.equal("some", server:read(4))
      raw:shutdown("w")
      assert.same({ nil, "connection truncated: the peer ended it without a TLS close", "truncated" },
        { server:read(fmt) })
      assert.equal(" bytes", server:recv())
      assert.equal("truncated", select(3, server:recv()))
      assert.equal("truncated", select(3, server:read("a")))
    end
  end)

  test("delivers everything that was written before close, and the close", function(keep)
    for _, size in ipairs({ 100, 300000, 5 * MIB }) do
      local client, server = connected(keep)
      local data = noise(size)
      local writing = grun.spawn(function()
        assert(server:write(data))
        server:close()
      end)
      grun.sleep(0.05)
      assert.is_true(same(data, assert(client:read("a"))))
      writing:get()
    end
  end)

  test("says goodbye later when the socket is full", function(keep)
    for _, how in ipairs({ "close", "shutdown" }) do
      local client, server = connected(keep)
      server:setoption("sndbuf", 4096)
      server:settimeout(0.05)
      local data = noise(MIB)
      local ok, message, code, sent = server:write(data)
      assert.same({ nil, "timeout", "timeout" }, { ok, message, code })
      if how == "close" then
        server:close()
      else
        server:shutdown("w")
      end
      assert.is_true(same(data:sub(1, sent), assert(client:read("a"))))
    end
  end)

  test("stays in order when a write timed out", function(keep)
    local client, server = connected(keep)
    local data = noise(20 * MIB)
    client:settimeout(0.05)
    local ok, _, code, sent = client:write(data)
    assert.is_nil(ok)
    assert.equal("timeout", code)
    assert.is_true(sent > 0 and sent < #data)
    client:settimeout()
    local writing = grun.spawn(function()
      assert(client:write(data:sub(sent + 1)))
      client:close()
    end)
    assert.is_true(same(data, server:read("a")))
    writing:get()
  end)

  test("stays usable when a write was cancelled", function(keep)
    local client, server = connected(keep)
    local data = noise(20 * MIB)
    local writing = parked(client.write, client, data)
    writing:kill()
    local second = grun.spawn(function()
      assert(client:write("END"))
      client:close()
    end)
    local got = assert(server:read("a"))
    second:get()
    assert.is_true(same(data:sub(1, #got - 3) .. "END", got))
  end)

  test("stays usable when a read was cancelled or timed out", function(keep)
    local client, server = connected(keep)
    local reading = parked(client.read, client)
    assert.same({ nil, "busy: another thread is already waiting here", "busy" }, { client:read() })
    reading:kill()
    client:settimeout(0.01)
    assert.same({ nil, "timeout", "timeout" }, { client:read() })
    server:write("half")
    assert.same({ nil, "timeout", "timeout" }, { client:read() })
    server:write(" line\n")
    client:settimeout(5)
    assert.equal("half line", client:read())
  end)

  test("wakes readers and writers when another thread closes it", function(keep)
    local client = connected(keep)
    local reading = parked(client.read, client)
    local writing = parked(client.write, client, noise(20 * MIB))
    client:close()
    assert.same({ nil, "closed", "closed" }, { reading:get() })
    local ok, message, code = writing:get()
    assert.same({ nil, "closed", "closed" }, { ok, message, code })
    assert.is_nil(client:tls())
    assert.same({ nil, "closed", "closed" }, { client:read() })
  end)

  test("closed at once takes nothing of what was written back", function(keep)
    local listener, address = tls.listen(keep)
    for _ = 1, 5 do
      local accepting = grun.spawn(function()
        local conn = keep(listener:accept())
        conn:write("")
        grun.sleep(0.02)
        return conn:read("a")
      end)
      local data = noise(MIB)
      local client = keep(assert(grun.connect(address, tls.client())))
      assert(client:write(data))
      client:close()
      assert.is_true(same(data, assert(accepting:get())))
    end
  end)

  test("writes small pieces of one call in one record", function(keep)
    local client, server = connected(keep)
    client:write("x")
    server:read(1)
    local before = server:stats().received
    client:write("a", { "b", { "c", 1 } }, "d")
    assert.equal("abc1d", server:recv())
    assert.equal(5, server:stats().received - before)
  end)
end)

describe("the TLS handshake", function()
  test("of an accepted connection happens in its first call, whichever it is", function(keep)
    local listener, address = tls.listen(keep)
    for _, call in ipairs({ "read", "write", "both" }) do
      local accepting = grun.spawn(function()
        local conn = keep(listener:accept())
        assert.is_nil(conn:tls())
        local reading = call ~= "write" and grun.spawn(conn.read, conn)
        local writing = call ~= "read" and grun.spawn(conn.write, conn, "hello\n")
        if writing then
          assert.is_true(writing:get())
        end
        return reading and reading:get()
      end)
      local client = keep(assert(grun.connect(address, tls.client())))
      client:write("line\n")
      if call ~= "read" then
        assert.equal("hello", client:read())
      end
      assert.equal(call ~= "write" and "line" or nil, accepting:get() or nil)
    end
  end)

  test("has one deadline with connecting, and ends by cancel", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = "tls" .. listener:address():sub(4)
    local start = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { grun.connect(address, tls.client({ timeout = 0.05 })) })
    assert.is_true(grun.now() - start < 5)
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.05, grun.connect, address, tls.client()) })
    local connecting = parked(grun.connect, address, tls.client())
    connecting:kill()
    assert.equal("cancelled", connecting:status())
  end)

  test("ended by a timeout goes on with the next call", function(keep)
    local listener, address = tls.listen(keep)
    local raw = keep(assert(grun.connect("tcp" .. address:sub(4))))
    local server = keep(listener:accept())
    server:settimeout(0.02)
    assert.same({ nil, "timeout", "timeout" }, { server:read() })
    assert.same({ nil, "timeout", "timeout", 0 }, { server:write("x") })
    local other = parked(function() return server:read() end)
    other:kill()
    server:settimeout(5)
    local reading = grun.spawn(server.read, server)
    assert.is_true(raw:starttls(tls.client()))
    raw:write("line\n")
    assert.equal("line", reading:get())
  end)

  test("is taken over by the second thread when the first gives up", function(keep)
    local listener, address = tls.listen(keep)
    local raw = keep(assert(grun.connect("tcp" .. address:sub(4))))
    local server = keep(listener:accept())
    local reading = parked(server.read, server)
    local writing = parked(server.write, server, "hello\n")
    reading:kill()
    assert.is_true(raw:starttls(tls.client()))
    assert.equal("hello", raw:read())
    assert.is_true(writing:get())
  end)

  test("ends for both threads when the connection is closed", function(keep)
    local listener, address = tls.listen(keep)
    keep(assert(grun.connect("tcp" .. address:sub(4))))
    local server = keep(listener:accept())
    local reading = parked(server.read, server)
    local writing = parked(server.write, server, "hello\n")
    server:close()
    assert.same({ nil, "closed", "closed" }, { reading:get() })
    assert.same({ nil, "closed", "closed", 0 }, { writing:get() })
  end)

  test("fails without a protocol in common, and needs none", function(keep)
    local ok, message, code = attempt(keep, tls.server(nil, { alpn = { "a" } }), tls.client({ alpn = { "b" } }))
    assert.same({ nil, "the peer refused: no application protocol", "tls" }, { ok, message, code })
    assert.is_true(attempt(keep, tls.server(nil, { alpn = { "a" } }), tls.client()))
    assert.is_true(attempt(keep, tls.server(), tls.client({ alpn = { "b" } })))
  end)

  test("keeps to versions and ciphers", function(keep)
    local ok, message, code = attempt(keep, tls.server(nil, { max_version = "1.2" }),
      tls.client({ min_version = "1.3" }))
    assert.same({ nil, "the peer refused: protocol version", "tls" }, { ok, message, code })
    local client = connected(keep, { max_version = 1.2, ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256" })
    assert.equal("ECDHE-ECDSA-AES128-GCM-SHA256", client:tls().cipher)
    client = connected(keep, { ciphers = "TLS_CHACHA20_POLY1305_SHA256:ECDHE-ECDSA-AES128-GCM-SHA256" })
    assert.equal("TLS_CHACHA20_POLY1305_SHA256", client:tls().cipher)
  end)
end)

describe("a client's certificate", function()
  local client_cert = function()
    return { cert = path("client.chain"), key = path("key.pem") }
  end

  for _, version in ipairs({ "1.2", "1.3" }) do
    test("is required with a client_ca, TLS " .. version, function(keep)
      local opts = { client_ca = path("root.pem"), max_version = version }
      local client, server = connected(keep, opts, client_cert())
      assert.equal("CN=a client", server:tls().peer.subject)
      assert.is_true(server:tls().verified)
      client:write("x\n")
      assert.equal("x", server:read())
      local _, message, code, got = attempt(keep, tls.server(nil, opts), tls.client())
      assert.same({ nil, "the client sent no certificate", "tls" }, got)
      if version == "1.2" then
        assert.same({ "the peer refused: handshake failure", "tls" }, { message, code })
      end
      _, _, _, got = attempt(keep, tls.server(nil, opts),
        tls.client({ cert = path("unknown_ca.chain"), key = path("key.pem") }))
      assert.equal("tls_verify", got[3])
    end)
  end

  test("may be missing but not bad with verify = optional", function(keep)
    local opts = { client_ca = path("root.pem"), verify = "optional" }
    local _, server = connected(keep, opts)
    assert.is_false(server:tls().verified)
    assert.is_nil(server:tls().peer)
    _, server = connected(keep, opts, client_cert())
    assert.is_true(server:tls().verified)
    local _, _, _, got = attempt(keep, tls.server(nil, opts),
      tls.client({ cert = path("expired.chain"), key = path("key.pem") }))
    assert.same({ nil, "certificate has expired", "tls_verify" }, got)
  end)
end)

describe("a name that a client asks for", function()
  local function subject(keep, sni, name, more)
    local opts = more or tls.server()
    opts.sni = sni
    local listener, address = tls.listen(keep, opts)
    local accepting = reader(keep, listener)
    local conn, message, code = grun.connect(address, tls.client({ hostname = name }))
    local found = conn and conn:tls().peer.subject
    if conn then
      conn:close()
    end
    accepting:get()
    return found, message and message:gsub("^.*%d: ", ""), code
  end

  test("chooses from a table", function(keep)
    local sni = {
      ["one.example.org"] = tls.server("one"), ["*.Example.org"] = tls.server("wildcard"),
      ["two.example.org"] = grun.tls.context(tls.server("two")),
    }
    assert.equal("CN=one", subject(keep, sni, "one.example.org"))
    assert.equal("CN=two", subject(keep, sni, "two.example.org"))
    assert.equal("CN=wildcard", subject(keep, sni, "three.example.org"))
    assert.equal("CN=good", subject(keep, sni, "localhost"))
    assert.equal("CN=good", subject(keep, sni, "127.0.0.1"))
    assert.same({ nil, "the peer refused: unrecognized name", "tls" }, { subject(keep, sni, "localhost", {}) })
  end)

  test("chooses by a function, which may wait", function(keep)
    local asked = {}
    local function sni(name)
      asked[#asked + 1] = name
      grun.sleep(0.01)
      if name == "no.example.org" then
        return false
      end
      return name == "one.example.org" and tls.server("one") or nil
    end
    assert.equal("CN=one", subject(keep, sni, "One.example.org"))
    assert.equal("CN=good", subject(keep, sni, "localhost"))
    assert.same({ nil, "the peer refused: unrecognized name", "tls" }, { subject(keep, sni, "no.example.org") })
    assert.same({ "one.example.org", "localhost", "no.example.org" }, asked)
  end)

  test("takes the rules of the chosen context too", function(keep)
    local one = tls.server("one", { alpn = { "x" }, max_version = "1.2", client_ca = path("root.pem") })
    local listener, address = tls.listen(keep, tls.server(nil, { sni = { ["one.example.org"] = one } }))
    local accepting = grun.spawn(function()
      local conn = keep(listener:accept())
      conn:read("a")
      return conn:tls()
    end)
    local client = keep(assert(grun.connect(address, tls.client({ hostname = "one.example.org",
      alpn = { "x" }, cert = path("client.chain"), key = path("key.pem") }))))
    assert.equal("TLSv1.2", client:tls().version)
    client:close()
    local info = accepting:get()
    assert.equal("x", info.alpn)
    assert.is_true(info.verified)
  end)

  test("fails the handshake when the function fails", function(keep)
    local answers = {
      [function() error("no certificate today", 0) end] = "sni failed: no certificate today",
      [function() return 5 end] = "sni returned a number",
      [function() return { cert = "/nowhere" } end] =
        "sni failed: cannot load certificate /nowhere: No such file or directory",
    }
    for fn, expected in pairs(answers) do
      local listener, address = tls.listen(keep, tls.server(nil, { sni = fn }))
      local accepting = reader(keep, listener)
      local _, message, code = grun.connect(address, tls.client())
      assert.matches("the peer refused: internal error$", message)
      assert.equal("tls", code)
      assert.same({ nil, expected, "tls" }, { accepting:get() })
    end
  end)

  test("lets the handshake be cancelled and closed while the function waits", function(keep)
    local waiting = grun.event()
    local listener, address = tls.listen(keep, tls.server(nil, { sni = function() waiting:set() grun.sleep(60) end }))
    for _, how in ipairs({ "kill", "close" }) do
      waiting:clear()
      helper.spawn(grun.connect, address, tls.client({ timeout = 5 }))
      local conn = keep(listener:accept())
      local reading = grun.spawn(conn.read, conn)
      waiting:wait()
      if how == "close" then
        conn:close()
      end
      reading:kill()
      assert.equal(how == "kill" and "cancelled" or "done", reading:status())
      conn:close()
    end
  end)
end)

describe("starttls", function()
  local function plain(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local client = keep(assert(grun.connect(listener:address())))
    return client, keep(assert(listener:accept()))
  end

  test("turns a connection into TLS in the middle", function(keep)
    local client, server = plain(keep)
    local serving = grun.spawn(function()
      assert.equal("STARTTLS", server:read())
      server:write("OK\n")
      assert(server:starttls(tls.server()))
      server:write(server:read("L"))
    end)
    assert.is_nil(client:tls())
    client:write("STARTTLS\n")
    assert.equal("OK", client:read())
    assert.is_true(client:starttls(tls.client()))
    client:write("secret\n")
    assert.equal("secret", client:read())
    serving:get()
    assert.equal("TLSv1.3", server:tls().version)
  end)

  test("gives bytes that were received already to the handshake", function(keep)
    local client, server = plain(keep)
    local starting = grun.spawn(client.starttls, client, tls.client())
    assert.equal("\22", server:peek(1))
    assert.is_true(server:starttls(tls.server()))
    assert.is_true(starting:get())
    client:write("x\n")
    assert.equal("x", server:read())
  end)

  test("never takes plain bytes for what came through TLS", function(keep)
    local client, server = plain(keep)
    server:write("OK\nevil plain text\n")
    assert.equal("OK", client:read())
    local ok, message, code = client:starttls(tls.client())
    assert.same({ nil, "the peer does not speak TLS", "tls" }, { ok, message, code })
    assert.same({ nil, message, "tls" }, { client:read() })
    assert.same({ nil, message, "tls", 0 }, { client:write("x") })
    server:close()
  end)

  test("works over unix sockets and between two ends of a pair", function(keep)
    local a, b = keep(assert(grun.pair()))
    local starting = grun.spawn(b.starttls, b, tls.server(nil, { server = true }))
    assert.is_true(a:starttls(tls.client()))
    assert.is_true(starting:get())
    a:write("x\n")
    assert.equal("x", b:read())
  end)

  test("fails a second time, on a closed connection and while somebody reads", function(keep)
    local client = connected(keep)
    assert.same({ nil, "TLS has been started already", "tls" }, { client:starttls(tls.client()) })
    client:close()
    assert.same({ nil, "closed", "closed" }, { client:starttls(tls.client()) })
    local other = plain(keep)
    parked(other.read, other)
    assert.equal("busy", select(3, other:starttls(tls.client())))
    other:close()
  end)
end)

describe("a TLS context", function()
  local bad_files = {
    { { cert = "/nowhere" }, "cannot load certificate /nowhere: No such file or directory" },
    { { cert = "good.pem", key = "/nowhere" }, "cannot load key /nowhere: No such file or directory" },
    { { cert = "good.pem", key = "other.key" }, "cannot load key DIR/other.key: key does not match the certificate" },
    { { cert = "good.pem", key = "locked.key" },
      "cannot load key DIR/locked.key: it is encrypted, and there is no password" },
    { { cert = "good.pem", key = "locked.key", password = "wrong" }, "cannot load key DIR/locked.key: wrong password" },
    { { cert = "good.pem" }, "cannot load key DIR/good.pem: there is no PEM key in it" },
    { { cert = "key.pem" }, "cannot load certificate DIR/key.pem: there is no PEM certificate in it" },
    { { ca = "key.pem" }, "cannot load CA DIR/key.pem: there is no PEM certificate in it" },
    { { client_ca = "/nowhere" }, "cannot load CA /nowhere: No such file or directory" },
    { { ciphers = "NONSENSE" }, "bad list of ciphers \"NONSENSE\": no cipher match" },
    { { cert = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" },
      "cannot load certificate (PEM text): " },
  }
  for _, case in ipairs(bad_files) do
    it("says " .. case[2], function()
      local opts = {}
      for name, value in pairs(case[1]) do
        opts[name] = value:find("^[%w_]+%.%w+$") and path(value) or value
      end
      local context, message, code = grun.tls.context(opts)
      assert.is_nil(context)
      assert.is_truthy(message:find((case[2]:gsub("DIR/", path(""))), 1, true), message)
      assert.equal("tls", code)
    end)
  end

  it("takes PEM text, passwords, and a key in the file of the certificate", function()
    local read = tls.read_file
    local pem, key = read(path("good.chain")), read(path("key.pem"))
    assert.is_truthy(grun.tls.context({ cert = pem, key = key, ca = read(path("root.pem")) }))
    assert.is_truthy(grun.tls.context({ cert = pem .. key }))
    assert.is_truthy(grun.tls.context({ cert = pem, key = path("locked.key"), password = "secret" }))
    assert.is_truthy(grun.tls.context({ ca = "/etc/ssl/certs" }))
    assert.equal("TLS context (with certificate)", tostring(grun.tls.context({ cert = pem .. key })))
  end)

  it("refuses wrong options at the caller's level", function()
    helper.misuse(function() local c = grun.tls.context({ crt = "x" }) return c end,
      "context: unknown option 'crt'")
    helper.misuse(function() local c = grun.tls.context(1) return c end,
      "context: table of options expected, got number")
    helper.misuse(function() local c = grun.tls.context({ cert = 1 }) return c end,
      "context: option 'cert': string expected, got number")
    helper.misuse(function() local c = grun.tls.context({ verify = "none" }) return c end,
      "context: option 'verify': true, false, \"required\" or \"optional\" expected")
    helper.misuse(function() local c = grun.tls.context({ min_version = "1.1" }) return c end,
      "context: option 'min_version': \"1.2\" or \"1.3\" expected, got 1.1")
    helper.misuse(function() local c = grun.tls.context({ alpn = { "" } }) return c end,
      "context: option 'alpn': list of protocol names expected")
    helper.misuse(function() local c = grun.tls.context({ key = "x" }) return c end,
      "context: option 'key' without 'cert'")
    helper.misuse(function() local c = grun.tls.context({ sni = { 1 } }) return c end,
      "context: option 'sni': names with contexts or their options expected")
    helper.misuse(function() local c = grun.connect("tls://localhost:1", { alpn = {} }) return c end,
      "connect: option 'alpn': list of protocol names expected")
    helper.misuse(function() local c = grun.connect("tls://localhost:1", { hostname = 1 }) return c end,
      "connect: option 'hostname': name or address expected")
    helper.misuse(function() local c = grun.connect("tls://localhost:1", { tls = 1 }) return c end,
      "connect: option 'tls': context or its options expected, got number")
    helper.misuse(function() local c = grun.connect("tls://localhost:1", { tls = {}, ca = "x" }) return c end,
      "connect: option 'ca' has to be in the context")
    helper.misuse(function() local c = grun.connect("tls://localhost:1", { foo = 1 }) return c end,
      "bad argument #2 to 'connect' (unknown option 'foo')")
    helper.misuse(function() local c = grun.connect("tcp://localhost:1", { ca = "x" }) return c end,
      "bad argument #2 to 'connect' (unknown option 'ca')")
    helper.misuse(function() local c = grun.listen("tls://localhost:0") return c end,
      "listen: option 'cert' is missing")
    local asks, unknown = tls.server(nil, { verify = true }), { foo = 1, tls = tls.server() }
    helper.misuse(function() local c = grun.listen("tls://localhost:0", asks) return c end,
      "listen: option 'client_ca' is missing")
    helper.misuse(function() local c = grun.listen("tls://localhost:0", unknown) return c end,
      "bad argument #2 to 'listen' (unknown option 'foo')")
    local a, b = grun.pair()
    helper.misuse(function() local c = a:starttls({ foo = 1 }) return c end, "starttls: unknown option 'foo'")
    helper.misuse(function() local c = a:starttls({ server = 1 }) return c end,
      "starttls: option 'server': boolean expected, got number")
    helper.misuse(function() local c = a:starttls() return c end,
      "starttls: option 'hostname' is missing: whom the certificate must be for")
    helper.misuse(function() local c = a:starttls({ server = true }) return c end, "starttls: option 'cert' is missing")
    a:close()
    b:close()
  end)

  test("is made once for the same options", function(keep)
    local listener, address = tls.listen(keep)
    local reused
    for _ = 1, 2 do
      local accepting = grun.spawn(function()
        local conn = keep(listener:accept())
        conn:write(conn:read("L"))
      end)
      local client = keep(assert(grun.connect(address, { ca = path("root.pem"), alpn = { "x" } })))
      client:write("x\n")
      client:read()
      accepting:get()
      reused = client:tls().reused
      client:close()
    end
    assert.is_true(reused)
  end)

  test("reads its files again, and keeps the old ones when the new are bad", function(keep)
    local cert, key = helper.tmpname(tls.read_file(path("one.chain"))), path("key.pem")
    local inner = helper.tmpname(tls.read_file(path("one.chain")))
    local context = assert(grun.tls.context({ cert = cert, key = key,
      sni = { ["two.example.org"] = { cert = inner, key = key } } }))
    local listener, address = tls.listen(keep, { tls = context })
    local function look(name)
      local accepting = grun.spawn(function()
        local conn = keep(listener:accept())
        conn:write("x")
        return conn
      end)
      local conn = keep(assert(grun.connect(address, { verify = false, hostname = name })))
      return conn:tls().peer.subject, conn, accepting:get()
    end
    local function put(name, from)
      local file = assert(io.open(name, "w"))
      file:write(from)
      file:close()
    end
    local subject, client = look("localhost")
    assert.equal("CN=one", subject)
    put(cert, tls.read_file(path("two.chain")))
    put(inner, "nonsense")
    assert.same({ nil, ("cannot load certificate %s: there is no PEM certificate in it"):format(inner), "tls" },
      { context:reload() })
    assert.equal("CN=one", (look("localhost")))
    put(inner, tls.read_file(path("two.chain")))
    assert.is_true(context:reload())
    assert.equal("CN=two", (look("localhost")))
    assert.equal("CN=two", (look("two.example.org")))
    put(cert, tls.read_file(path("good.pem")):sub(1, 200))
    assert.is_nil((context:reload()))
    assert.equal("CN=two", (look("localhost")))
    assert.is_true(client:write("still there"))
  end)
end)
