-- SPDX-License-Identifier: MIT
-- HTTP servers whose clients repeat their requests: heads are shared then, and what handlers do not take is not made.

local grun = require("grun")
local http = require("spec.http_helper")

local response = http.response

describe("an HTTP server with requests that repeat", function()
  local it, serve = http.test(it, function(fn) finally(fn) end)

  local function connect(port)
    return assert(grun.connect("tcp://127.0.0.1:" .. port))
  end

  local function get(target, ...)
    return ("GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n"):format(target, table.concat({ ... }, "\r\n"))
  end

  local A, A_ELSEWHERE = get("/a?x=1", "X-Name: one"), get("/b?x=1", "X-Name: one")
  local B, LONG = get("/a?x=1", "X-Name: two"), get("/long", "X-Name: " .. ("z"):rep(3000))
  local SHORT = get("/a", "X-Name: s")
  local OLD = "GET /a?x=1 HTTP/1.0\r\nHost: a\r\nX-Name: one\r\nConnection: keep-alive\r\n\r\n"

  -- What the server is to see of such a request.
  local function seen_in(head)
    return ("%s %s %s"):format(head:match("HTTP/(1%.%d)"), head:match("^GET (%S+)"), head:match("X%-Name: (%w+)"))
  end

  local function describe_request(req)
    return ("%s %s %s"):format(req.version, req.target, req:header("x-name"))
  end

  it("sees each as it is", function()
    local port = serve(function(req)
      assert(req.path == req.target:match("^[^?]+") and req.query_string == (req.target:match("%?(.*)") or ""))
      assert(req.host == "a" and req.headers["x-name"] == req:header("X-Name"))
      return describe_request(req)
    end)
    local heads = {
      A, A, A, A_ELSEWHERE, A, A, B, A, B, B, B, LONG, LONG, LONG, SHORT, SHORT, SHORT, A, A, A, OLD, OLD, A,
    }
    local conn = connect(port)
    for round = 1, 3 do
      for i, head in ipairs(heads) do
        conn:write(head)
        assert.equal(seen_in(head), response(conn).body, round .. "/" .. i)
      end
    end
    for n = 1, 2000, 13 do
      conn:write(get("/grows", "X-Name: " .. ("g"):rep(n)))
      assert.equal("1.1 /grows " .. ("g"):rep(n), response(conn).body)
    end
    for _, head in ipairs(heads) do -- in two pieces
      conn:write(head:sub(1, -30))
      grun.sleep(0.002)
      conn:write(head:sub(-29))
      assert.equal(seen_in(head), response(conn).body)
    end
    conn:write(table.concat(heads))
    for i, head in ipairs(heads) do
      assert.equal(seen_in(head), response(conn).body, i)
    end
    conn:close()
  end)

  -- What was freed, if something was, is overwritten.
  local function take_free_memory(tag)
    local strings = {}
    for n = 1, 1000 do
      strings[n] = tag .. ("w"):rep(n)
    end
    return strings
  end

  it("keeps objects apart that share a head, and right when it is given up", function()
    local kept, conns = {}, {}
    local port = serve(function(req)
      assert(req.mine == nil and next(req.params) == nil)
      req.mine = #kept + 1
      req.params[1] = req.mine
      kept[#kept + 1] = req
      conns[#conns + 1] = req.conn
      return "x"
    end)
    local heads = {}
    local conn = connect(port)
    for _, head in ipairs({ A, B, LONG, SHORT, A, OLD }) do
      for _ = 1, 5 do
        conn:write(head)
        response(conn)
        heads[#heads + 1] = seen_in(head)
      end
      collectgarbage()
      take_free_memory(#heads)
    end
    conn:close()
    collectgarbage()
    take_free_memory("end")
    for i, req in ipairs(kept) do
      assert.equal(heads[i], describe_request(req))
      assert.equal(i, req.mine)
      assert.equal(i, req.params[1])
      assert.equal("a", req.headers.host)
      assert.equal(conns[1], req.conn)
    end
    table.remove(kept)
    for _, req in ipairs(kept) do
      assert.has_error(function() req:body() end, "the request is over")
    end
  end)

  it("keeps nothing of requests that nobody keeps", function()
    local weak = setmetatable({}, { __mode = "k" })
    local port = serve(function(req)
      weak[req] = true
      return "x"
    end)
    local conn = connect(port)
    for _, head in ipairs({ A, A, A, A, B, B, B, B }) do
      conn:write(head)
      response(conn)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
    conn:close()
  end)

  it("reads bodies behind heads that repeat", function()
    local port = serve(function(req) return req:body() end)
    local conn = connect(port)
    for i = 0, 9 do
      conn:write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", i .. "ab")
      assert.equal(i .. "ab", response(conn).body)
    end
    conn:close()
  end)

  local function none()
    return "nothing taken"
  end

  it("serves handlers that take no arguments", function()
    local port = serve(none)
    local conn = connect(port)
    for _ = 1, 5 do
      conn:write(A, B, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
        "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
      for i = 1, 4 do
        local res = response(conn, i == 4 and "HEAD" or "GET")
        assert.equal(200, res.status)
        assert.equal("13", res.headers["content-length"])
        assert.equal(i < 4 and "nothing taken" or nil, res.body)
      end
    end
    conn:close()
  end)

  it("logs their requests", function()
    local lines = {}
    local port = serve(none, { access_log = function(line) lines[#lines + 1] = line end })
    local conn = connect(port)
    for _, head in ipairs({ A, A, A, A, B, A, A, A }) do
      conn:write(head)
      response(conn)
    end
    conn:close()
    assert.equal(8, #lines)
    for _, line in ipairs(lines) do
      assert.matches('"GET /a%?x=1 HTTP/1%.1" 200 13 ', line)
    end
  end)

  it("compresses what they return, if the client likes it", function()
    local port = serve(function() return ("text "):rep(1000) end, { gzip = true })
    local conn = connect(port)
    for _, accepted in ipairs({ true, true, true, true, false, false, false, true }) do
      conn:write(get("/", "Accept-Encoding: " .. (accepted and "gzip" or "br")))
      assert.equal(accepted and "gzip" or nil, response(conn).headers["content-encoding"])
    end
    conn:close()
  end)

  it("names the request when they fail", function()
    local seen = {}
    local port = serve(function() error("no luck") end, {
      on_error = function(_, _, req) seen[#seen + 1] = describe_request(req) end,
    })
    local conn = connect(port)
    for i, head in ipairs({ A, A, A, A, B, B, B, A }) do
      conn:write(head)
      assert.equal(500, response(conn).status)
      assert.equal(seen_in(head), seen[i])
    end
    conn:close()
  end)
end)
