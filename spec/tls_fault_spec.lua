-- SPDX-License-Identifier: MIT
-- TLS servers, and peers that do not what they should.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")
local tls = require("spec.tls_helper")

local test = net.test(it, function(fn) finally(fn) end)
local noise, same = net.noise, net.same

local function serve(keep, handler, opts)
  local server = assert(grun.server("tls://127.0.0.1:0", handler, opts or tls.server()))
  keep({ close = function() server:stop(0) end })
  return server, server:address(), "tcp" .. server:address():sub(4)
end

local function echo(conn)
  for line in conn:lines("L") do
    conn:write(line)
  end
end

local function eventually(fn)
  local limit = grun.now() + 10
  while not fn() do
    assert(grun.now() < limit, "did not happen within 10 s")
    grun.sleep(0.005)
  end
end

local function ask(address, text)
  local conn = assert(grun.connect(address, tls.client()))
  conn:write(text, "\n")
  local answer = conn:read()
  conn:close()
  return answer
end

-- What a client says first: the bytes of a ClientHello.
local function client_hello()
  local listener = assert(grun.listen("tcp://127.0.0.1:0"))
  local asking = grun.spawn(grun.connect, "tls" .. listener:address():sub(4), tls.client())
  local conn = listener:accept()
  local hello = conn:recv()
  conn:close()
  asking:get()
  listener:close()
  return hello
end

describe("a TLS server", function()
  test("enters the handler after the handshake only, and counts", function(keep)
    local entered = 0
    local server, address = serve(keep, function(conn)
      entered = entered + 1
      assert.is_table(conn:tls())
      echo(conn)
    end)
    assert.matches("^tls://127%.0%.0%.1:%d+$", address)
    assert.equal("hello", ask(address, "hello"))
    eventually(function() return server:stats().active == 0 end)
    local stats = server:stats()
    assert.same({ 1, 0, 0, 0 },
      { stats.accepted, stats.active, stats.errors, stats.handshake_errors })
    assert.equal(1, entered)
  end)

  local bad = {
    ["nothing"] = "", ["plain HTTP"] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", ["SSH"] = "SSH-2.0-x\r\n",
    ["zeros"] = ("\0"):rep(1000), ["a huge record"] = "\22\3\1\255\255" .. ("x"):rep(70000),
    ["an empty handshake"] = "\22\3\1\0\0", ["an alert"] = "\21\3\3\0\2\2\40",
    ["application data"] = "\23\3\3\0\5hello",
  }
  for name, bytes in pairs(bad) do
    for _, how in ipairs({ "close", "shutdown", "reset" }) do
      test(("survives a client that says %s and then does %s"):format(name, how), function(keep)
        local server, address, plain = serve(keep, function() error("entered") end)
        local raw = keep(assert(grun.connect(plain)))
        raw:write(bytes)
        if how == "reset" then
          raw:setoption("linger", 0)
        end
        if how == "shutdown" then
          raw:shutdown("w")
          raw:settimeout(5)
          raw:read("a")
        end
        raw:close()
        eventually(function() return server:stats().active == 0 and server:stats().handshake_errors == 1 end)
        assert.equal(0, server:stats().errors)
        assert.is_nil((grun.connect(address, tls.client({ hostname = "x.example" }))))
      end)
    end
  end

  test("survives a ClientHello cut at any place", function(keep)
    local server, address, plain = serve(keep, echo)
    local hello, n = client_hello(), 0
    for cut = 1, #hello - 1, 17 do
      local raw = assert(grun.connect(plain))
      raw:write(hello:sub(1, cut))
      raw:close()
      n = n + 1
    end
    eventually(function() return server:stats().handshake_errors == n end)
    assert.equal("still", ask(address, "still"))
  end)

  test("limits the handshake in time, without holding up others", function(keep)
    local server, address, plain = serve(keep, echo, tls.server(nil, { handshake_timeout = 0.2 }))
    local hello, silent = client_hello(), {}
    for i = 1, 20 do
      silent[i] = keep(assert(grun.connect(plain)))
      silent[i]:write(i % 2 == 0 and hello:sub(1, 100) or "")
    end
    assert.equal("meanwhile", ask(address, "meanwhile"))
    eventually(function() return server:stats().handshake_errors == 20 end)
    for i = 1, 20 do
      assert.is_string(silent[i]:read("a"))
    end
    assert.equal(0, server:stats().errors)
  end)

  test("counts those in the handshake among its connections", function(keep)
    local server, address, plain = serve(keep, echo, tls.server(nil, { max_connections = 1, handshake_timeout = 0.2 }))
    keep(assert(grun.connect(plain)))
    eventually(function() return server:stats().active == 1 end)
    local start = grun.now()
    assert.equal("later", ask(address, "later"))
    assert.is_true(grun.now() - start > 0.05)
  end)

  test("bounds the time of its function for names", function(keep)
    local opts = tls.server(nil, { handshake_timeout = 0.1, sni = function() grun.sleep(60) end })
    local server, address = serve(keep, echo, opts)
    assert.is_nil((grun.connect(address, tls.client())))
    eventually(function() return server:stats().handshake_errors == 1 end)
  end)

  test("stops while handshakes are under way", function(keep)
    local server, _, plain = serve(keep, echo)
    for _ = 1, 5 do
      keep(assert(grun.connect(plain)))
    end
    eventually(function() return server:stats().active == 5 end)
    assert.equal(0, #helper.reports(function() assert.is_true(server:stop(0.05)) end))
  end)

  test("reports no failed handshake, and logs one a second at level info", function()
    local script = ([[
      local server = assert(grun.server("tls://127.0.0.1:0", print, { cert = %q, key = %q }))
      for _ = 1, 3 do
        local conn = assert(grun.connect("tcp" .. server:address():sub(4)))
        conn:write("GET / HTTP/1.0\r\n\r\n")
        conn:read("a")
        conn:close()
      end
      server:stop()
    ]]):format(tls.path("good.chain"), tls.path("key.pem"))
    assert.same({ "", "", 0 }, { helper.run_script(script) })
    local out, err, status = helper.run_child({ "--log", "info", helper.script(script) })
    assert.same({ "", 0 }, { out, status })
    assert.matches("^grun: TLS handshake with tcp://127%.0%.0%.1:%d+ failed: " ..
      "plain HTTP was spoken to a TLS port\n$", err)
  end)

  it("refuses wrong options at the caller's level", function()
    helper.misuse(function() local s = grun.server("tls://127.0.0.1:0", print) return s end,
      "server: option 'cert' is missing")
    helper.misuse(function() local s = grun.server("tls://127.0.0.1:0", print, { cert = 1 }) return s end,
      "server: option 'cert': string expected, got number")
    helper.misuse(function() local s = grun.server("tcp://127.0.0.1:0", print, { cert = "x" }) return s end,
      "server: unknown option 'cert'")
    helper.misuse(function() local s = grun.server("tcp://127.0.0.1:0", print, { handshake_timeout = 1 }) return s end,
      "server: unknown option 'handshake_timeout'")
    local server, message, code = grun.server("tls://127.0.0.1:0", print, { cert = "/nowhere" })
    assert.is_nil(server)
    assert.equal("cannot listen on tls://127.0.0.1:0: cannot load certificate /nowhere: " ..
      "No such file or directory", message)
    assert.equal("tls", code)
  end)

  test("makes 100 handshakes at once, some of them bad", function(keep)
    local server, address, plain = serve(keep, echo)
    local group, good, refused = grun.group(), 0, 0
    for i = 1, 100 do
      group:spawn(function()
        if i % 4 == 0 then
          local raw = assert(grun.connect(plain))
          raw:write(i % 8 == 0 and "GET / HTTP/1.0\r\n\r\n" or "\22\3\1\0\5xxxxx")
          raw:read("a")
          raw:close()
        elseif i % 4 == 1 then
          local conn, _, code = grun.connect(address, tls.client({ hostname = "wrong.example" }))
          refused = refused + (conn == nil and code == "tls_verify" and 1 or 0)
        else
          local answer = ask(address, "n" .. i)
          good = good + (answer == "n" .. i and 1 or 0)
        end
      end)
    end
    group:join()
    assert.same({ 50, 25 }, { good, refused })
    eventually(function() return server:stats().active == 0 end)
    assert.equal(100, server:stats().accepted)
    assert.equal(50, server:stats().handshake_errors + server:stats().errors)
  end)

  test("goes on under reloads", function(keep)
    local context = assert(grun.tls.context(tls.server()))
    local _, address = serve(keep, echo, { tls = context })
    local done = false
    local reloading = grun.spawn(function()
      while not done do
        assert(context:reload())
        grun.sleep(0.001)
      end
    end)
    for i = 1, 30 do
      assert.equal("r" .. i, ask(address, "r" .. i))
    end
    done = true
    reloading:get()
  end)
end)

-- A relay between a client and a server, whose pieces go through `change`.
local function relay(keep, target, change)
  local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
  helper.spawn(function()
    local down = keep(assert(listener:accept()))
    local up = keep(assert(grun.connect(target)))
    local function copy(from, to, direction)
      local total = 0
      for piece in function() return from:recv() end do
        total = total + #piece
        if change(to, piece, direction, total) == "stop" then
          break
        end
      end
      down:close()
      up:close()
    end
    helper.spawn(copy, down, up, "up")
    copy(up, down, "down")
  end)
  return "tls" .. listener:address():sub(4)
end

describe("a TLS connection", function()
  test("comes about byte by byte", function(keep)
    local _, _, plain = serve(keep, echo)
    local address = relay(keep, plain, function(to, piece)
      for i = 1, #piece do
        to:write(piece:sub(i, i))
        if i % 7 == 0 then
          grun.yield()
        end
      end
    end)
    assert.equal("hello", ask(address, "hello"))
  end)

  for _, direction in ipairs({ "up", "down" }) do
    test("survives a peer lost in the handshake, " .. direction, function(keep)
      local server, _, plain = serve(keep, echo)
      for cut = 1, 1200, 150 do
        local address = relay(keep, plain, function(to, piece, where, total)
          if where == direction and total >= cut then
            to:write(piece:sub(1, math.max(0, cut - (total - #piece))))
            return "stop"
          end
          to:write(piece)
        end)
        local conn, _, code = grun.connect(address, tls.client())
        if conn then
          conn:write("x\n")
          conn:shutdown("w")
          conn:read("a")
          conn:close()
        else
          assert.is_truthy(code == "tls" or code == "ECONNRESET", code)
        end
      end
      eventually(function() return server:stats().active == 0 end)
    end)
  end

  test("refuses a record that was changed on its way", function(keep)
    local _, _, plain = serve(keep, echo)
    local address = relay(keep, plain, function(to, piece, where)
      if where == "down" and #piece < 100 and piece:byte(1) == 23 then
        piece = piece:sub(1, -2) .. string.char((piece:byte(-1) + 1) % 256)
      end
      to:write(piece)
    end)
    local conn = keep(assert(grun.connect(address, tls.client({ max_version = "1.2" }))))
    conn:write("hello\n")
    local _, message, code = conn:read()
    assert.matches("decryption failed or bad record mac", message)
    assert.equal("tls", code)
    assert.same({ nil, message, code }, { conn:read() })
  end)

  test("cut in a record is truncated", function(keep)
    local _, _, plain = serve(keep, function(conn) conn:write(noise(50000)) end)
    local address = relay(keep, plain, function(to, piece, where, total)
      if where == "down" and total > 30000 then
        to:write(piece:sub(1, 20))
        return "stop"
      end
      to:write(piece)
    end)
    local conn = keep(assert(grun.connect(address, tls.client())))
    assert.equal("truncated", select(3, conn:read("a")))
  end)

  test("reset by the peer says so", function(keep)
    local _, address = serve(keep, function(conn)
      conn:read()
      conn:setoption("linger", 0)
    end)
    local conn = keep(assert(grun.connect(address, tls.client())))
    conn:write("x\n")
    local code = select(3, conn:read())
    assert.is_truthy(code == "ECONNRESET" or code == "closed", code)
  end)

  test("carries many streams at once", function(keep)
    local _, address = serve(keep, function(conn)
      for piece in function() return conn:recv() end do
        conn:write(piece)
      end
    end)
    local data = noise(700000)
    local group = grun.group()
    for _ = 1, 8 do
      group:spawn(function()
        local conn = keep(assert(grun.connect(address, tls.client())))
        local writing = grun.spawn(conn.write, conn, data)
        assert(same(data, conn:read(#data)) == true)
        assert(writing:get())
        conn:close()
      end)
    end
    grun.scope(function() group:join() end)
  end)

  test("leaves nothing behind when it fails 3000 times", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = "tls" .. listener:address():sub(4)
    helper.spawn(function()
      while true do
        local conn = listener:accept()
        conn:write("no TLS here\r\n")
        conn:close()
      end
    end)
    local function rss()
      collectgarbage()
      return tonumber(tls.read_file("/proc/self/statm"):match("^%d+ (%d+)")) * 4
    end
    local opts = tls.client()
    local before
    for i = 1, 3500 do
      if i == 501 then
        before = rss()
      end
      assert.is_nil((grun.connect(address, opts)))
    end
    -- An SSL object has several KiB. AddressSanitizer keeps freed memory for a while.
    assert.is_truthy(helper.grun:find("asan") or rss() - before < 3000, ("%d KiB more"):format(rss() - before))
  end)
end)
