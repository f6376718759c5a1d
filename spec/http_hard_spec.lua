-- SPDX-License-Identifier: MIT
-- HTTP servers under clients that behave badly, and at their own end.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local request, response = http.request, http.response

local is_asan = helper.grun:find("asan") ~= nil -- which keeps freed memory for a while

local function memory()
  return tonumber(helper.contents("/proc/self/status"):match("VmRSS:%s+(%d+)"))
end

describe("an HTTP server", function()
  local it, serve = http.test(it, function(fn) finally(fn) end)

  local function connect(port)
    return assert(grun.connect("tcp://127.0.0.1:" .. port))
  end

  local GET = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

  it("lets a client that is still sending read the answer", function()
    local port = serve(function() return 403, "no" end)
    for _, head in ipairs({
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n", -- too long to be skipped
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\n", -- refused
    }) do
      local conn = connect(port)
      conn:write(head)
      for _ = 1, 50 do
        if not conn:write(("x"):rep(100000)) then
          break
        end
      end
      local res = response(conn)
      assert.is_truthy(res and (res.status == 403 or res.status == 400))
      conn:close()
    end
  end)

  it("does so for two seconds at most", function()
    local port, server = serve(function() return 403, "no" end)
    local conn = connect(port)
    conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n")
    assert.equal(403, response(conn).status)
    local started = grun.now()
    while server:stats().active > 0 and grun.now() - started < 10 do
      conn:write("x")
      grun.sleep(0.05)
    end
    local took = grun.now() - started
    assert.is_true(took > 1 and took < 5, took)
    conn:close()
  end)

  it("times out bodies that come too slowly, however regularly", function()
    local seen
    local port = serve(function(req)
      seen = { req:body() }
    end, { body_timeout = 5, min_rate = 1e6 })
    local conn = connect(port)
    conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
    local started = grun.now()
    while grun.now() - started < 20 and not seen do
      conn:write("x")
      grun.sleep(0.1)
    end
    local took = grun.now() - started
    assert.is_true(took > 9.5 and took < 14, took)
    assert.same({ nil, "timeout", "timeout" }, seen)
    assert.equal(408, response(conn).status)
    conn:close()
  end)

  it("waits for slow readers as long as they read enough", function()
    local body = ("x"):rep(30000000)
    local port, server = serve(function(req)
      return req.path == "/pieces" and { body } or body
    end, { write_timeout = 0.3, min_rate = 1000 })
    local conn = connect(port)
    conn:write(GET)
    local got = #conn:read_until("\r\n\r\n") * 0
    while got < #body do
      local data = assert(conn:read(math.min(3000000, #body - got)))
      got = got + #data
      grun.sleep(0.1)
    end
    assert.equal(#body, got)
    conn:write(GET)
    assert.equal("HTTP", conn:read(4))
    local started = grun.now()
    while server:stats().active > 0 and grun.now() - started < 10 do
      grun.sleep(0.05)
    end
    assert.is_true(grun.now() - started < 3)
    conn:close()
  end)

  it("outlives its access log", function()
    local port = serve(function() return "ok" end, {
      access_log = function() error("log is full") end,
    })
    local conn = connect(port)
    local list = helper.reports(function()
      for _ = 1, 3 do
        conn:write(GET)
        assert.equal("ok", response(conn).body)
      end
    end)
    conn:close()
    grun.yield()
    assert.equal(3, #list)
    assert.matches("log is full", list[1].err)
  end)

  it("writes the user's name into the log", function()
    local lines = {}
    local port = serve(function() return "ok" end, {
      access_log = function(line) lines[#lines + 1] = line end,
    })
    request(port, "GET", "/", { Authorization = "Basic YW5uOnBhc3M=" })
    request(port, "GET", "/", { Authorization = "Basic ====" })
    assert.matches("^127.0.0.1 %- ann %[", lines[1])
    assert.matches("^127.0.0.1 %- %- %[", lines[2])
  end)

  it("leaks nothing by requests that are abandoned", function()
    local port, server = serve(function(req)
      local body = req:body()
      return body or 400
    end, { gzip = { min = 1 } })
    local heads = {
      "", "G", "GET / HTTP/1.1\r\nHo", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
      "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
      "POST / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n", "\22\3\1",
    }
    local function round(n)
      for i = 1, n do
        local conn = connect(port)
        conn:write(heads[i % #heads + 1])
        if i % 3 == 0 then
          grun.yield()
        end
        conn:close()
      end
      while server:stats().active > 0 do
        grun.sleep(0.01)
      end
      collectgarbage()
      collectgarbage()
    end
    round(2000)
    local before, lua = memory(), collectgarbage("count")
    round(8000)
    local more = memory() - before
    assert.is_true(more < 2048 or is_asan, ("%d KiB more"):format(more))
    assert.is_true(collectgarbage("count") - lua < 300)
    assert.equal(0, server:stats().errors)
    assert.equal(10000, server:stats().accepted)
  end)

  it("ends a response whose handler is cancelled, visibly cut", function()
    local thread
    local port = serve(function(req, res)
      thread = grun.current()
      if req.path == "/iterator" then
        return function()
          grun.sleep(0.01)
          return "piece"
        end
      end
      while true do
        res:write("piece")
        grun.sleep(0.01)
      end
    end)
    for _, path in ipairs({ "/iterator", "/pieces" }) do
      local conn = connect(port)
      conn:write("GET " .. path .. " HTTP/1.1\r\nHost: a\r\n\r\n")
      conn:read(200)
      thread:cancel("enough")
      local rest = conn:read("a")
      assert.not_matches("\r\n0\r\n\r\n$", rest)
      assert.is_nil(conn:read(1))
      conn:close()
    end
  end)

  it("stops under load and answers what it has begun", function()
    local port, server = serve(function(req)
      grun.sleep(0.02)
      return req.path
    end)
    local sent, answered, stop = 0, 0, false
    local group = grun.group()
    for i = 1, 20 do
      group:spawn(function()
        local conn = grun.connect("tcp://127.0.0.1:" .. port)
        while conn and not stop do
          if not conn:write(("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"):format(i)) then
            break
          end
          sent = sent + 1
          local res = response(conn)
          if not res then
            sent = sent - 1 -- the server closed it between two requests
            break
          end
          assert(res.body == "/" .. i)
          answered = answered + 1
          if res.headers.connection == "close" then
            break
          end
        end
        if conn then
          conn:close()
        end
      end)
    end
    grun.sleep(0.2)
    server:stop(5)
    stop = true
    group:join()
    assert.is_true(answered > 100)
    assert.equal(sent, answered)
    assert.is_nil((grun.connect("tcp://127.0.0.1:" .. port)))
  end)

  it("takes and sends a gigabyte in little memory", function()
    local out, err = helper.run_script([[
      local grun = require("grun")
      local function memory()
        local file = io.open("/proc/self/status")
        local text = file:read("*a")
        file:close()
        return tonumber(text:match("VmRSS:%s+(%d+)"))
      end
      local server = assert(grun.server("http://127.0.0.1:0", function(req)
        if req.method == "GET" then
          local piece, n = ("x"):rep(1048576), 0
          return function()
            n = n + 1
            return n <= 1024 and piece or nil
          end
        end
        local n = 0
        for piece in function() return req:read() end do
          n = n + #piece
        end
        return ("%d"):format(n)
      end))
      local before, url = memory(), server:address() .. "/"
      local pipe = io.popen("curl -s -m 100 " .. url .. " | wc -c")
      print(pipe:read("*l"))
      pipe:close()
      pipe = io.popen("head -c 1G /dev/zero | curl -s -m 100 -T - -X POST " .. url)
      print(pipe:read("*l"))
      pipe:close()
      print(memory() - before)
      server:stop(0)
    ]], { timeout = 120 })
    assert.equal("", err)
    local down, up, more = out:match("^(%d+)\n(%d+)\n(%d+)\n$")
    assert.equal("1073741824", down)
    assert.equal("1073741824", up)
    assert.is_true(tonumber(more) < 8192 or is_asan, more .. " KiB more")
  end)

  it("serves others while clients are slow, and cuts those off", function()
    local port, server = serve(function(req) return req:body() or "x" end, { header_timeout = 1.5 })
    local slow = {}
    for i = 1, 500 do
      slow[i] = connect(port)
      slow[i]:write(i % 2 == 0 and "GET / HTTP/1.1\r\n" or "G")
    end
    local started, worst = grun.now(), 0
    while grun.now() - started < 1 do
      for i = 1, #slow, 10 do
        slow[i]:write("E")
      end
      local at = grun.now()
      assert.equal(200, request(port, "GET", "/").status)
      worst = math.max(worst, grun.now() - at)
    end
    assert.is_true(worst < 0.5, worst)
    while server:stats().active > 0 and grun.now() - started < 10 do
      grun.sleep(0.05)
    end
    assert.is_true(grun.now() - started < 6)
    for _, conn in ipairs(slow) do
      conn:close()
    end
  end)
end)
