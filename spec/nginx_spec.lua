-- SPDX-License-Identifier: MIT
-- nginx as the front end of HTTP servers: over TCP and unix sockets, with and without keep-alive.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local CONFIG = [[
daemon off; master_process off; pid DIR/pid; error_log DIR/error.log;
events {}
http {
  access_log off;
  client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c;
  uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  upstream kept { server TCP; keepalive 4; }
  proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto https;
  proxy_set_header X-Forwarded-Host $http_host;
  client_max_body_size 100m;
  server {
    listen unix:DIR/front;
    location /old/ { proxy_pass http://TCP/; }
    location /kept/ {
      proxy_http_version 1.1; proxy_set_header Connection $connection_upgrade;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto https; proxy_set_header X-Forwarded-Host $http_host;
      proxy_pass http://kept/;
    }
    location /unix/ { proxy_pass http://unix:DIR/back:/; }
    location /stream/ {
      proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1;
      proxy_pass http://TCP/;
    }
    location /app { proxy_pass http://TCP; }
  }
}
]]

describe("behind nginx", function()
  local dir, nginx, servers

  local function app(req, res)
    if req.path == "/echo" then
      -- All of it first: nginx sends no more of a request once its response has begun.
      return req:body(1e8)
    elseif req.path == "/chat" then
      local conn = res:header("Upgrade", "chat"):header("Connection", "Upgrade"):upgrade()
      conn:write("got " .. conn:read(5))
      return
    elseif req.path == "/big" then
      return ("0123456789"):rep(100000)
    end
    return table.concat({ req.method, req.target, req.version, req.scheme, req.host, req.peer }, " ")
  end

  local function wait_for(path)
    local limit = grun.now() + 10
    local conn
    repeat
      conn = grun.connect("unix:" .. path)
      grun.sleep(0.01)
    until conn or grun.now() > limit
    assert(conn, "nginx does not start"):close()
  end

  local function start(handler)
    dir = helper.tmpname()
    os.remove(dir)
    assert(os.execute("mkdir " .. dir) == 0)
    local opts = { trust_proxy = true }
    servers = {
      assert(grun.server("http://127.0.0.1:0", handler, opts)),
      assert(grun.server("http://unix:" .. dir .. "/back", handler, opts)),
    }
    local file = assert(io.open(dir .. "/conf", "w"))
    file:write((CONFIG:gsub("DIR", dir):gsub("TCP", (servers[1]:address():gsub("http://", "")))))
    file:close()
    nginx = assert(grun.process.spawn({ "nginx", "-p", dir, "-e", dir .. "/error.log", "-c", dir .. "/conf" }))
    wait_for(dir .. "/front")
  end

  local function stop()
    nginx:kill("TERM")
    nginx:wait(10)
    for _, server in ipairs(servers) do
      server:stop(0)
    end
    os.execute("rm -r " .. dir)
  end

  local function connect()
    return assert(grun.connect("unix:" .. dir .. "/front"))
  end

  local function get(target, more)
    local conn = connect()
    conn:write(("GET %s HTTP/1.1\r\nHost: a.example\r\nX-Forwarded-For: 9.9.9.9\r\n%s\r\n"):format(target, more or ""))
    local res = http.response(conn)
    conn:close()
    return res
  end

  local plain_it = it
  local function it(name, handler, body)
    plain_it(name, function()
      finally(stop)
      start(handler)
      body()
    end)
  end

  it("requests come over TCP and unix sockets, as 1.0 and 1.1", app, function()
    -- The client is on a unix socket: what it says of itself is all there is, and nginx adds "unix:".
    assert.matches("^GET /x%?y 1.0 https a.example ", get("/old/x?y").body)
    assert.matches("^GET /x 1.0 https a.example ", get("/unix/x").body)
    for _ = 1, 10 do
      assert.matches("^GET /x 1.1 https a.example ", get("/kept/x").body)
    end
    assert.is_true(servers[1]:stats().accepted <= 3)
    for _, way in ipairs({ "old", "kept", "unix", "stream" }) do
      assert.equal(1000000, #get("/" .. way .. "/big").body)
    end
  end)

  it("bodies are passed on, buffered or as they come", app, function()
    local text = ("0123456789"):rep(200000)
    for _, way in ipairs({ "old", "kept", "unix", "stream" }) do
      local conn = connect()
      conn:settimeout(20)
      local writer = helper.spawn(conn.write, conn, "POST /" .. way .. "/echo HTTP/1.1\r\nHost: a\r\n" ..
        "Content-Length: " .. #text .. "\r\n\r\n" .. text)
      local res = http.response(conn)
      assert.equal(200, res.status)
      assert.is_true(text == res.body)
      assert.is_true(writer:get())
      conn:close()
    end
  end)

  it("an upgraded connection is passed on", app, function()
    local conn = connect()
    conn:write("GET /kept/chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n")
    assert.matches("^HTTP/1.1 101 ", conn:read_until("\r\n\r\n"))
    conn:write("hello")
    assert.equal("got hello", conn:read("a"))
    conn:close()
  end)

  it("a WSAPI application knows its prefix and what nginx says", grun.http.wsapi(function(env)
    local text = table.concat({ env.SCRIPT_NAME, env.PATH_INFO, env.SERVER_NAME, env.SERVER_PORT, env.HTTPS }, " ")
    return 200, { ["Content-Length"] = #text }, coroutine.wrap(function() coroutine.yield(text) end)
  end, { prefix = "/app" }), function()
    assert.equal("/app /x a.example 443 on", get("/app/x").body)
    assert.equal("/app / a.example 443 on", get("/app").body)
  end)
end)
