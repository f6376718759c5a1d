-- SPDX-License-Identifier: MIT
-- HTTP with programs of others: curl, ab, wrk, lua-http as client and server.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null") == 0
end

describe("with others'", function()
  local with_servers, start = http.test(it, function(fn) finally(fn) end, nil, grun.http.close_idle)

  local function test(name, body, program)
    if program and not has(program) then
      return it(name, function() pending(program .. " is not installed") end)
    end
    with_servers(name, body)
  end

  local function app(req, res)
    if req.path == "/none" then
      return 204
    elseif req.path == "/chunks" then
      local left = 1000
      return function()
        left = left - 1
        return left >= 0 and ("%05d"):format(left) or nil
      end
    elseif req.path == "/echo" then
      return req:body(1e8)
    elseif req.path == "/refuse" then
      return 413, "too much"
    elseif req.path == "/count" then
      local n = 0
      for piece in function() return req:read() end do
        n = n + #piece
      end
      return ("%d %s"):format(n, req:header("transfer-encoding") or req:header("expect") or "-")
    elseif req.path == "/ws" then
      local ws = assert(req:websocket())
      for message, kind in ws do
        ws:send(message, kind)
      end
      return
    end
    res:header("X-Path", req.path)
    return "hello"
  end

  local function serve(opts)
    return "http://127.0.0.1:" .. start(app, opts)
  end

  local function run(command)
    command.timeout = 60
    local done = assert(grun.process.run(command))
    assert.equal(0, done.code, done.stderr)
    return done.stdout, done.stderr
  end

  -- ---- curl ----

  test("curl uploads in chunks", function()
    local url = serve()
    assert.equal("3000000 chunked", run({ "curl", "-s", "-T", "-", url .. "/count", input = ("abc"):rep(1000000) }))
    assert.equal("0 chunked", run({ "curl", "-s", "-T", "-", url .. "/count", input = "" }))
    local name = helper.tmpname(("x"):rep(70000))
    assert.equal(("x"):rep(70000), run({ "curl", "-s", "-T", name, url .. "/echo" }))
  end)

  test("curl waits for 100 Continue, and sends nothing that is refused", function()
    local url, body = serve(), ("x"):rep(2 ^ 21)
    local words = { "curl", "-sv", "--expect100-timeout", "20", "--data-binary", "@-", "-H", "Expect: 100-continue" }
    local function post(path)
      local command = { input = body, unpack(words) }
      command[#command + 1] = url .. path
      return run(command)
    end
    local out, err = post("/count")
    assert.equal(#body .. " 100-continue", out)
    assert.matches("< HTTP/1.1 100 Continue", err)
    out, err = post("/refuse")
    assert.equal("too much", out)
    assert.not_matches("100 Continue", err)
    assert.matches("< HTTP/1.1 413 ", err)
  end)

  test("curl keeps connections, speaks 1.0 and WebSocket's handshake", function()
    local url = serve()
    local out, err = run({ "curl", "-sv", url .. "/a", url .. "/none", url .. "/chunks", url .. "/b" })
    assert.equal(5 + 5000 + 5, #out)
    assert.matches("Re%-using existing connection", err)
    assert.equal(5000, #run({ "curl", "-s0", url .. "/chunks" }))
    out = run({ "curl", "-sI", url .. "/a" })
    assert.matches("Content%-Length: 5\r\n", out)
  end)

  -- ---- ab and wrk ----

  for _, keep in ipairs({ "", "-k" }) do
    test("ab loses no request " .. keep, function()
      local url = serve()
      local command = { "ab", "-q", "-n", "1000", "-c", "50" }
      if keep ~= "" then
        command[#command + 1] = keep
      end
      command[#command + 1] = url .. "/"
      local out = run(command)
      assert.matches("Complete requests: +1000\n", out)
      assert.matches("Failed requests: +0\n", out)
      assert.not_matches("Non%-2xx", out)
      assert.equal(keep == "-k" and "1000" or nil, out:match("Keep%-Alive requests: +(%d+)\n"))
    end, "ab")
  end

  test("wrk sees no error", function()
    local url = serve()
    local out = run({ "wrk", "-t", "1", "-c", "50", "-d", "1", url .. "/" })
    assert.is_true(tonumber(out:match("(%d+) requests in")) > 100, out)
    assert.not_matches("Socket errors", out)
    assert.not_matches("Non%-2xx", out)
  end, "wrk")

  -- ---- lua-http ----

  local EXPECTED = [[
get	200	hello
head	200	5	0
none	204	0
chunks	5000	0099900998
post	true
large	true
chunked	5000	0099900998
refused	413
websocket	grüße	text
]]

  test("lua-http is a client", function()
    local url = serve()
    assert.equal(EXPECTED, run({ "luajit", "spec/lua_http_peer.lua", "client", url }))
  end, "luajit")

  test("lua-http is a client under grun", function()
    local url = serve()
    assert.equal(EXPECTED, run({ helper.grun, "spec/lua_http_peer.lua", "client", url }))
  end)

  -- What our client gets from their server; it is started with the command.
  local function ask_server(command)
    command.stdin, command.stdout = "pipe", "pipe"
    local server = assert(grun.process.spawn(command))
    local url = "http://127.0.0.1:" .. assert(server.stdout:read("l"))
    local session = grun.http.session({ timeout = 20 })
    for _ = 1, 2 do
      assert.equal("hello", assert(session:get(url .. "/hello")).body)
      assert.equal("", assert(session:head(url .. "/hello")).body)
      assert.equal(204, session:get(url .. "/none").status)
      assert.equal(5000, #session:get(url .. "/chunks").body)
    end
    assert.equal("hello", session:get(url .. "/moved").body)
    local body = ("0123456789"):rep(50000)
    local res = assert(session:post(url .. "/echo", { body = body }))
    assert.equal(body, res.body)
    assert.equal("POST", res.headers["x-method"])
    local n = 0
    res = assert(session:put(url .. "/echo", { body = function()
      n = n + 1
      return n <= 1000 and ("%05d"):format(n) or nil
    end }))
    assert.equal(5000, #res.body)
    session:close()
    local ws = assert(grun.http.websocket(url:gsub("^http", "ws") .. "/ws"))
    assert.is_true(ws:send("grüße"))
    assert.same({ "grüße", "text" }, { ws:recv(10) })
    assert.is_true(ws:close())
    server.stdin:close()
    server.stdout:close()
    server:wait(10)
  end

  test("lua-http is a server", function()
    ask_server({ "luajit", "spec/lua_http_peer.lua", "server" })
  end, "luajit")

  test("lua-http is a server under grun", function()
    ask_server({ helper.grun, "spec/lua_http_peer.lua", "server" })
  end)

  test("lua-http is client and server in a process of ours", function()
    local out, err = helper.run_script([[
      local grun = require("grun")
      local server = assert(grun.server("http://127.0.0.1:0", function(req) return req:body() end))
      local request = require("http.request")
      local threads = {}
      for i = 1, 5 do
        threads[i] = grun.spawn(function()
          local ask = request.new_from_uri(server:address() .. "/")
          ask:set_body(("x"):rep(i * 1000))
          local headers, stream = assert(ask:go(10))
          return headers:get(":status"), #assert(stream:get_body_as_string(10))
        end)
      end
      for _, thread in ipairs(threads) do
        print(thread:get())
      end
      local listener = assert(require("http.server").listen({
        host = "127.0.0.1", port = 0, tls = false,
        onstream = function(_, stream)
          local body = stream:get_headers() and stream:get_body_as_string()
          local headers = require("http.headers").new()
          headers:append(":status", "200")
          stream:write_headers(headers, false)
          stream:write_chunk("got " .. body, true)
        end,
      }))
      assert(listener:listen())
      local url = ("http://127.0.0.1:%d/"):format((select(3, listener:localname())))
      grun.spawn(listener.loop, listener)
      print(grun.http.post(url, { body = "a" }).body, grun.http.post(url, { body = "b" }).body)
      os.exit(0)
    ]])
    assert.equal("", err)
    assert.equal("200\t1000\n200\t2000\n200\t3000\n200\t4000\n200\t5000\ngot a\tgot b\n", out)
  end)
end)
