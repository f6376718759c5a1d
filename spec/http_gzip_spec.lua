-- SPDX-License-Identifier: MIT
-- Compressed responses of HTTP servers.

local grun = require("grun")
local http = require("spec.http_helper")
local net_helper = require("spec.net_helper")

local request = http.request

local function inflate(data)
  return require("grun.core.zlib").inflate():push(data, "finish")
end

describe("option gzip of HTTP servers", function()
  local it, start = http.test(it, function(fn) finally(fn) end)
  local text = net_helper.noise(5000)
  local GZIP = { ["Accept-Encoding"] = "gzip" }

  local function serve(handler, gzip)
    return start(handler, { gzip = gzip == nil and true or gzip })
  end

  it("compresses strings, tables, iterators and pieces", function()
    local handlers = {
      function() return text end,
      function() return 200, { text:sub(1, 100), text:sub(101) } end,
      function()
        local at = 1
        return function()
          local piece = text:sub(at, at + 999)
          at = at + 1000
          return piece ~= "" and piece or nil
        end
      end,
      function(_, res)
        res:header("Content-Length", #text)
        res:write(text:sub(1, 2000))
        return res:finish(text:sub(2001))
      end,
    }
    for i, handler in ipairs(handlers) do
      local port = serve(handler)
      local res = request(port, "GET", "/", GZIP)
      assert.equal("gzip", res.headers["content-encoding"], i)
      assert.equal("Accept-Encoding", res.headers.vary)
      assert.is_nil(res.headers["content-length"])
      assert.is_true(#res.body < #text)
      assert.equal(text, inflate(res.body), i)
      res = request(port, "GET", "/")
      assert.is_nil(res.headers["content-encoding"])
      assert.equal("Accept-Encoding", res.headers.vary)
      assert.equal(text, res.body)
      res = request(port, "HEAD", "/", GZIP)
      assert.equal("gzip", res.headers["content-encoding"])
      assert.is_nil(res.body)
    end
  end)

  it("keeps the connection in order, also for large and random data", function()
    local data = {}
    for i = 1, 60000 do
      data[i] = string.char(math.random(0, 255), math.random(0, 255), math.random(0, 255))
    end
    data = table.concat(data) .. ("x"):rep(5000000)
    local port = serve(function(req)
      return req.path == "/big" and data or text
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    for _ = 1, 3 do
      conn:write("GET /big HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
      assert.is_true(net_helper.same(data, inflate(http.response(conn).body)))
      assert.equal(text, inflate(http.response(conn).body))
    end
    conn:close()
  end)

  it("lets clients read each piece at once", function()
    local go = grun.event()
    local port = serve(function(_, res)
      res:header("Content-Type", "text/event-stream")
      res:write("data: one\n\n")
      go:wait()
      res:write("data: two\n\n")
    end)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
    assert.matches("Content-Encoding: gzip", conn:read_until("\r\n\r\n"), 1, true)
    local stream = require("grun.core.zlib").inflate()
    local function chunk()
      local data = conn:read(tonumber(conn:read("l"):gsub("\r$", ""), 16))
      conn:read(2)
      return stream:push(data)
    end
    assert.equal("data: one\n\n", chunk())
    go:set()
    assert.equal("data: two\n\n", chunk())
    conn:close()
  end)

  it("leaves alone what would not gain, or must not change", function()
    local cases = {
      { "short" },
      { 200, { ["Content-Type"] = "image/png" }, text },
      { 200, { ["Content-Encoding"] = "br" }, text },
      { 200, { ["Cache-Control"] = "public, no-transform" }, text },
      { 206, { ["Content-Range"] = "bytes 0-4999/6000" }, text },
      { 204 },
      { 304, { ETag = '"a"' }, "" },
    }
    for i, values in ipairs(cases) do
      local res = request(serve(function() return unpack(values) end), "GET", "/", GZIP)
      assert.not_equal("gzip", res.headers["content-encoding"], i)
      assert.is_true(values[1] ~= 304 or res.headers.etag == '"a"')
    end
    local port = serve(function() return text end)
    for _, accept in ipairs({ "br", "gzip;q=0", "identity", "" }) do
      assert.equal(text, request(port, "GET", "/", { ["Accept-Encoding"] = accept }).body, accept)
    end
    local old = http.raw(port, "GET / HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n")
    assert.not_matches("Content-Encoding", old)
  end)

  it("weakens entity tags and keeps Vary", function()
    local port = serve(function()
      return 200, { ETag = '"abc"', Vary = "Cookie, Accept-Encoding", ["Accept-Ranges"] = "bytes" }, text
    end)
    local res = request(port, "GET", "/", GZIP)
    assert.equal('W/"abc"', res.headers.etag)
    assert.equal("Cookie, Accept-Encoding", res.headers.vary)
    assert.is_nil(res.headers["accept-ranges"])
    assert.equal('"abc"', request(port, "GET", "/").headers.etag)
  end)

  it("takes a minimum, a level and types", function()
    local function answer(kind)
      return function() return 200, { ["Content-Type"] = kind }, ("x"):rep(50) end
    end
    local function is_coded(kind, gzip)
      return request(serve(answer(kind), gzip), "GET", "/", GZIP).headers["content-encoding"] == "gzip"
    end
    assert.is_true(is_coded("text/x; charset=utf-8", { min = 50 }))
    assert.is_false(is_coded("text/x", { min = 51 }))
    assert.is_true(is_coded("application/problem+json", { min = 0, level = 9 }))
    assert.is_true(is_coded("a/b", { min = 0, types = { "a/" } }))
    assert.is_true(is_coded("a/B", { min = 0, types = { "c/d", "A/b" } }))
    assert.is_false(is_coded("a/bc", { min = 0, types = { "a/b" } }))
    for _, bad in ipairs({ { level = 10 }, { min = -1 }, { types = 1 }, { other = 1 } }) do
      assert.is_false((pcall(grun.server, "http://127.0.0.1:0", answer("x/y"), { gzip = bad })))
    end
  end)

  it("is read by curl", function()
    local port = serve(function() return text end)
    local pipe = io.popen(("curl -s -m 10 --compressed http://127.0.0.1:%d/"):format(port))
    assert.equal(text, pipe:read("*a"))
    pipe:close()
  end)
end)
