-- SPDX-License-Identifier: MIT
local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

-- A request and a response that hold what a router looks at.
local function fake(method, target)
  local path, query = target:match("^([^?]*)%??(.*)$")
  local req = { method = method, raw_path = path, target = target, query_string = query }
  local res = { fields = {} }
  function res.header(self, name, value)
    self.fields[name] = value
    return self
  end
  return req, res
end

local function ask(router, method, target)
  local req, res = fake(method, target)
  local answer = router(req, res)
  return answer, req, res.fields.Allow
end

local function named(name)
  return function(req)
    local params = {}
    for key, value in pairs(req.params or {}) do
      params[#params + 1] = key .. "=" .. value
    end
    table.sort(params)
    return name .. (#params > 0 and "(" .. table.concat(params, ",") .. ")" or "")
  end
end

describe("a router", function()
  it("finds each of 200 routes by its path", function()
    local router = grun.http.router()
    for i = 1, 100 do
      router:get(("/section%d/page"):format(i), named("page" .. i))
      router:get(("/section%d/:id/edit"):format(i), named("edit" .. i))
    end
    for i = 1, 100 do
      assert.equal("page" .. i, (ask(router, "GET", ("/section%d/page"):format(i))))
      assert.equal(("edit%d(id=x%d)"):format(i, i),
        (ask(router, "GET", ("/section%d/x%d/edit"):format(i, i))))
    end
    assert.equal(404, (ask(router, "GET", "/section101/page")))
  end)

  it("prefers plain segments to parameters, those to the rest, and goes back", function()
    local router = grun.http.router()
    router:get("/a/b", named("plain")):get("/a/:x", named("param")):get("/a/*rest", named("rest"))
    router:get("/a/b/c/d", named("deep")):get("/:x/b/c/e", named("back"))
    local cases = {
      { "/a/b", "plain" }, { "/a/c", "param(x=c)" }, { "/a/", "rest(rest=)" },
      { "/a", "rest(rest=)" }, { "/a/c/d", "rest(rest=c/d)" }, { "/a/b/c/d", "deep" },
      { "/a/b/c/e", "rest(rest=b/c/e)" }, { "/z/b/c/e", "back(x=z)" },
    }
    for _, case in ipairs(cases) do
      assert.equal(case[2], (ask(router, "GET", case[1])), case[1])
    end
    assert.equal(404, (ask(router, "GET", "/z/b/c")))
  end)

  it("gives parameters without escapes, and the rest as it is", function()
    local router = grun.http.router()
    router:get("/user/:name/*path", named("r")):get("/caf%C3%A9", named("raw"))
    router:get("/thé", named("tea"))
    local answer, req = ask(router, "GET", "/user/a%2Fb%20c/x%2f/y%zz?q=1")
    assert.equal("r(name=a/b c,path=x%2f/y%zz)", answer)
    assert.equal("/x%2f/y%zz", req.rest_path)
    answer, req = ask(router, "GET", "/user/a%20b/x%2fy/z")
    assert.equal("r(name=a b,path=x/y/z)", answer)
    assert.equal("/x%2fy/z", req.rest_path)
    assert.equal("tea", (ask(router, "GET", "/th%c3%A9")))
    assert.equal("tea", (ask(router, "GET", "/thé")))
    assert.equal("raw", (ask(router, "GET", "/caf%C3%A9")))
    assert.equal(404, (ask(router, "GET", "/user//x")))
  end)

  it("answers 405 with the methods there are, and OPTIONS", function()
    local router = grun.http.router()
    router:get("/x", named("get")):post("/x", named("post")):put("/:y", named("put"))
    local answer, _, allow = ask(router, "DELETE", "/x")
    assert.equal(405, answer)
    assert.equal("GET, HEAD, OPTIONS, POST, PUT", allow)
    assert.equal(405, (ask(router, "get", "/x"))) -- another method than GET
    answer, _, allow = ask(router, "OPTIONS", "/z")
    assert.equal(204, answer)
    assert.equal("OPTIONS, PUT", allow)
    assert.equal(204, (ask(router, "OPTIONS", "*")))
    router:options("/z", named("own"))
    assert.equal("own", (ask(router, "OPTIONS", "/z")))
    assert.equal(404, (ask(router, "OPTIONS", "/nothing/there")))
  end)

  it("forgets what it found for the request before", function()
    local inner, router = grun.http.router(), grun.http.router()
    inner:get("/:a/:b/*c", named("inner"))
    router:get("/x/*rest", function(req, res)
      local answer = inner(ask(router, "PUT", "/y") and req, res)
      return ("%s rest=%s%s"):format(answer, req.params.rest or "", req.rest_path)
    end)
    router:post("/y", named("post"))
    assert.equal(405, (ask(router, "GET", "/y")))
    assert.equal(404, (ask(router, "GET", "/z")))
    assert.equal("inner(a=x,b=1,c=2/3) rest=/2/3", (ask(router, "GET", "/x/1/2/3")))
    assert.equal(404, (ask(router, "GET", "/z")))
  end)

  it("looks for the method where a plain segment has none", function()
    local router = grun.http.router()
    router:get("/users/me", named("me")):post("/users/:id", named("post")):any("/*all", named("any"))
    assert.equal("me", (ask(router, "GET", "/users/me")))
    assert.equal("post(id=me)", (ask(router, "POST", "/users/me")))
    assert.equal("any(all=users/me)", (ask(router, "PUT", "/users/me")))
  end)

  it("serves HEAD by the route for GET, unless it has one, and other methods by name", function()
    local router = grun.http.router()
    router:get("/a", named("get")):head("/b", named("head")):get("/b", named("get"))
    router:route("PURGE", "/a", named("purge")):any("/a", named("any"))
    assert.equal("get", (ask(router, "HEAD", "/a")))
    assert.equal("head", (ask(router, "HEAD", "/b")))
    assert.equal("purge", (ask(router, "PURGE", "/a")))
    assert.equal("any", (ask(router, "BREW", "/a")))
    assert.equal(405, (ask(router, "TRACE", "/b")))
  end)

  it("runs middleware from the outside in, for the routes added after it", function()
    local router, trace = grun.http.router(), {}
    local function middleware(name)
      return function(req, res, next)
        trace[#trace + 1] = name .. "<"
        local answer = next(req, res)
        trace[#trace + 1] = ">" .. name
        return answer
      end
    end
    router:get("/before", named("before")):use(middleware("1")):get("/one", named("one"))
    local api = router:group("/api/"):use(middleware("2"))
    api:get("/two", named("two")):get("/", named("root"))
    api:group("/:v"):use(function() return 403 end):get("/three", named("three"))
    router:get("/after", named("after"))
    local function traced(path)
      trace = {}
      local answer = ask(router, "GET", path)
      return table.concat(trace, " ") .. " " .. tostring(answer)
    end
    assert.equal(" before", traced("/before"))
    assert.equal("1< >1 one", traced("/one"))
    assert.equal("1< 2< >2 >1 two", traced("/api/two"))
    assert.equal("1< 2< >2 >1 root", traced("/api"))
    assert.equal("1< 2< >2 >1 403", traced("/api/9/three"))
    assert.equal("1< >1 after", traced("/after"))
    router:not_found(function() return 410 end)
    assert.equal("1< >1 410", traced("/nowhere"))
  end)

  it("refuses bad routes where they are written", function()
    local router = grun.http.router()
    router:get("/a/:x", named("a"))
    helper.misuse(function() router:get("a", named("a")) end,
      'route: path beginning with "/" expected, got a')
    helper.misuse(function() router:get("/:x/:x", named("a")) end,
      'route: parameter "x" stands there twice')
    helper.misuse(function() router:get("/*x/y", named("a")) end,
      'route: "*" must be the last segment of "/*x/y"')
    helper.misuse(function() router:get("/:1", named("a")) end,
      'route: bad name of a parameter in ":1"')
    helper.misuse(function() router:get("/a/:y", named("a")) end, "route: GET /a/:y is there already")
    helper.misuse(function() router:get("/b") end, "route: handler must be a function, got nil")
    helper.misuse(function() router:route("a b", "/", named("a")) end,
      "route: method expected, got a b")
    helper.misuse(function() router:use(1) end, "use: function expected, got number")
    helper.misuse(function() router:group("x") end, 'group: path beginning with "/" expected, got x')
  end)

  it("is a handler of servers", function()
    local servers = {}
    finally(function()
      servers[1]:stop(0)
    end)
    local router = grun.http.router()
    router:get("/hello/:name", function(req) return "hello " .. req.params.name end)
    router:get("/plain", function(req)
      req.params.own = "kept"
      return 200, { ["X-Own"] = req.params.own }, "plain"
    end)
    local port = http.serve(servers, router)
    assert.equal("hello wörld", http.request(port, "GET", "/hello/w%C3%B6rld").body)
    assert.equal("kept", http.request(port, "GET", "/plain").headers["x-own"])
    assert.equal(404, http.request(port, "GET", "/").status)
    local res = http.request(port, "POST", "/hello/x")
    assert.equal(405, res.status)
    assert.equal("GET, HEAD, OPTIONS", res.headers.allow)
    assert.is_nil(http.request(port, "HEAD", "/hello/x", nil).body)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write("GET http://h HTTP/1.1\r\nHost: h\r\n\r\nOPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
    assert.equal(404, http.response(conn).status)
    assert.equal(204, http.response(conn).status)
    conn:close()
  end)

  it("gives handlers of servers a response, whoever calls it", function()
    local servers, router = {}, grun.http.router()
    finally(function()
      servers[1]:stop(0)
      servers[2]:stop(0)
    end)
    local function answer(req, res)
      return res:header("X-Id", req.params.id or "none"):finish("done")
    end
    router:get("/a/:id", answer):get("/a", answer)
    router:get("/all", function(...) return tostring(select(2, ...)):match("^%a+") or "none" end)
    router:get("/ws/:id", function(req, res)
      res:header("X-Id", req.params.id)
      req:websocket()
    end)
    router:use(function(req, res, following)
      res:header("X-Seen", "yes")
      return following(req, res)
    end)
    router:get("/seen/:id", function(req) return req.params.id end)
    router:not_found(function(_, res) return res:status(410):finish("gone") end)
    for _, handler in ipairs({ router, function(req) return router(req) end }) do
      local port = http.serve(servers, handler)
      assert.equal("17", http.request(port, "GET", "/a/17").headers["x-id"])
      assert.equal("none", http.request(port, "GET", "/a").headers["x-id"])
      assert.matches("^userdata", http.request(port, "GET", "/all").body)
      local res = http.request(port, "GET", "/seen/5")
      assert.same({ "yes", "5" }, { res.headers["x-seen"], res.body })
      res = http.request(port, "GET", "/nowhere")
      assert.same({ 410, "gone", "yes" }, { res.status, res.body, res.headers["x-seen"] })
      assert.equal("GET, HEAD, OPTIONS", http.request(port, "PUT", "/a").headers.allow)
      local upgraded = http.raw(port, "GET /ws/8 HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n" ..
        "Connection: upgrade\r\nSec-WebSocket-Version: 13\r\n" ..
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", 0.2)
      assert.matches("^HTTP/1.1 101 .*\r\nX%-Id: 8\r\n", upgraded)
    end
  end)
end)
