-- SPDX-License-Identifier: MIT
-- The command `grun serve`.

local grun = require("grun")
local helper = require("spec.helper")
local children = require("spec.cli.child")

local script, quote = helper.script, helper.quote

local opened = {}

-- The output of a command of the shell.
local function sh(command, ...)
  local pipe = assert(io.popen(command:format(...)))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- Starts grun serve with the words; returns it and its `n` (default 1) addresses.
local function serve(words, n)
  local child = children.start({ "serve", unpack(words) })
  opened[#opened + 1] = child
  local limit = grun.now() + 10
  repeat
    local addresses = {}
    for address in child:err():gmatch("grun: serving [^\n]- on (%S+)\n") do
      addresses[#addresses + 1] = address
    end
    if #addresses == (n or 1) then
      return child, unpack(addresses)
    end
    grun.sleep(0.005)
  until grun.now() > limit or child:ended()
  error("it does not serve:\n" .. child:err(), 2)
end

local function curl(address, ...)
  local words = { "curl -s -m 10" }
  for _, word in ipairs({ address, ... }) do
    words[#words + 1] = quote(word)
  end
  return sh(table.concat(words, " "))
end

-- A directory with files, name -> text; removed by the returned function.
local function directory(files)
  local dir = helper.tmpname()
  os.remove(dir)
  assert(os.execute("mkdir -p " .. dir) == 0)
  for name, text in pairs(files) do
    local file = assert(io.open(dir .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  return dir, function()
    os.execute("rm -r " .. dir)
  end
end

describe("grun serve", function()
  local cleanup = function() end
  local plain_it = it

  -- After the body all children end.
  local function it(name, body)
    plain_it(name, function()
      finally(function()
        for _, child in ipairs(opened) do
          child:destroy()
        end
        opened = {}
        cleanup()
        cleanup = function() end
      end)
      body()
    end)
  end

  local function files(list)
    local dir
    dir, cleanup = directory(list)
    return dir
  end

  local app

  setup(function()
    app = helper.tmpname() .. ".lua"
    local file = assert(io.open(app, "w"))
    file:write("return function(req) return 'hello ' .. req.path .. ' ' .. table.concat(arg, ',') end")
    file:close()
  end)

  teardown(function()
    os.remove(app)
  end)

  it("serves a handler on several addresses and says where", function()
    local path = helper.tmpname()
    os.remove(path)
    local child, a, b, c = serve({ "-b", "127.0.0.1:0", "--bind=http://127.0.0.1:0", "-bunix:" .. path,
      "--mode=0640", app }, 3)
    assert.equal("640\n", sh("stat -c %%a %s", path))
    assert.equal("hello /x ", curl(a .. "/x"))
    assert.equal("hello /y ", curl(b .. "/y"))
    assert.equal("http://unix:" .. path, c)
    assert.equal("hello /z ", curl("http://any/z", "--unix-socket", path))
    child:signal("TERM")
    assert.equal(0, child:wait())
    assert.is_nil(io.open(path))
  end)

  it("takes a descriptor", function()
    local program = "import os, socket, sys; s = socket.socket(); s.bind(('127.0.0.1', 0)); " ..
      "s.listen(); os.dup2(s.fileno(), 3); os.set_inheritable(3, True); os.execv(sys.argv[1], sys.argv[1:])"
    local err, pid = helper.tmpname(), helper.tmpname()
    os.execute(("python3 -c %s %s serve -b fd:3 %s 2>%s >&2 & echo $! >%s"):format(quote(program), helper.grun, app,
      err, pid))
    local limit = grun.now() + 10
    while not helper.contents(err):find("\n") and grun.now() < limit do
      grun.sleep(0.005)
    end
    local address = helper.contents(err):match("^grun: serving [^\n]* on (http://127[^\n]*)\n$")
    local answer = address and curl(address .. "/x")
    os.execute("kill " .. helper.contents(pid))
    assert.equal("hello /x ", answer)
  end)

  it("serves https", function()
    local dir = files({})
    assert(os.execute(("cd %s && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 " ..
      "-subj /CN=localhost -addext subjectAltName=DNS:localhost -keyout key.pem -out cert.pem 2>&-"):format(dir)) == 0)
    local _, a, b = serve({ "--certfile", dir .. "/cert.pem", "--keyfile", dir .. "/key.pem", "-b", "127.0.0.1:0",
      "-b", "http://127.0.0.1:0", app }, 2)
    assert.matches("^https://127", a)
    assert.matches("^http://127", b)
    local port = a:match("%d+$")
    assert.equal("hello /x ", curl("https://localhost:" .. port .. "/x", "--cacert", dir .. "/cert.pem",
      "--resolve", "localhost:" .. port .. ":127.0.0.1"))
    assert.equal("hello /x ", curl(b .. "/x"))
  end)

  it("passes arguments on, and takes options on both sides of the name", function()
    local _, a = serve({ app, "-b", "127.0.0.1:0", "one", "--", "-b", "two" })
    assert.equal("hello / one,-b,two", curl(a .. "/"))
  end)

  it("writes an access log, a line for each request at once", function()
    local child, a = serve({ "-b", "127.0.0.1:0", "--access-log=%(m)s %(U)s %(s)s", app })
    curl(a .. "/x?y")
    child:expect("GET /x 200\n")
    child, a = serve({ "-b", "127.0.0.1:0", "--access-log", app })
    curl(a .. "/x?y")
    child:expect('"GET /x?y HTTP/1.1" 200 9 "-" "curl/')
  end)

  -- With these options: requests are logged in the file of that name, also after it was renamed.
  local function logs_to_a_file(...)
    local name = helper.tmpname()
    local child, a = serve({ "-b", "127.0.0.1:0", "--access-log=%(U)s", "--access-log-file", name, app, ... })
    cleanup = function()
      os.remove(name)
      os.remove(name .. ".1")
    end
    local n = 0
    local function ask()
      n = n + 1
      curl(a .. "/" .. n)
    end
    for _ = 1, 20 do
      ask()
    end
    assert(os.rename(name, name .. ".1"))
    child:signal("USR1")
    local limit = grun.now() + 10
    while not grun.fs.exists(name) or helper.contents(name) == "" do
      assert(grun.now() < limit, "it is not opened anew")
      ask()
    end
    child:signal("TERM")
    assert.equal(0, child:wait())
    local seen = {}
    for number in (helper.contents(name .. ".1") .. helper.contents(name)):gmatch("/(%d+)\n") do
      seen[tonumber(number)] = true
    end
    assert.equal(n, #seen)
    assert.equal("", child:out())
  end

  it("logs to a file, which USR1 opens anew", function()
    logs_to_a_file()
  end)

  it("logs to a file that workers share", function()
    logs_to_a_file("-w", "2")
  end)

  it("passes the servers' options on", function()
    local body = script("return function(req) return req:body() or nil end")
    local child, a = serve({ "-b", "127.0.0.1:0", "--max-body=1K", "--server-header", "it", "--trust-proxy", body })
    assert.matches("\r\nServer: it\r\n", curl(a, "-i", "-d", "x"))
    assert.matches("^HTTP/1.1 413", curl(a, "-i", "-d", ("x"):rep(1025)))
    assert.equal(1024, #curl(a, "-d", ("x"):rep(1024)))
    child:signal("TERM")
    a = select(2, serve({ "-b", "127.0.0.1:0", "--idle-timeout", "0.2", app }))
    local conn = assert(grun.connect((a:gsub("^http", "tcp"))))
    assert.same({ nil, "closed", "closed" }, { conn:read("l") })
    conn:close()
  end)

  it("compresses with --gzip", function()
    local _, a = serve({ "-b", "127.0.0.1:0", "--gzip", script("return function() return ('x'):rep(5000) end") })
    assert.matches("\r\nContent%-Encoding: gzip\r\n", curl(a, "-i", "--compressed"))
    assert.not_matches("Content%-Encoding", curl(a, "-i"))
  end)

  it("lets requests end that have begun, under load, and takes no new ones", function()
    local slow = script([[
      return function() grun.sleep(0.2) return "done" end]])
    local child, a = serve({ "-b", "127.0.0.1:0", slow })
    local threads, answers, refused = {}, 0, 0
    for i = 1, 20 do
      threads[i] = helper.spawn(function()
        while true do
          local conn = grun.connect((a:gsub("^http", "tcp")))
          if not conn then
            refused = refused + 1
            return
          end
          conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
          local text = conn:read("a") or ""
          conn:close()
          if text == "" then
            return -- closed before it was a request
          end
          assert(text:find("\r\n\r\ndone$"), text)
          answers = answers + 1
        end
      end)
    end
    -- Keep-alive connections are read to their end, which comes with the stop.
    grun.sleep(0.1)
    child:signal("TERM")
    assert.equal(0, child:wait())
    for i = 1, 20 do
      threads[i]:get()
    end
    assert.equal(20, answers)
    assert.equal(20, refused)
    assert.equal(1, select(2, child:err():gsub("\n", "")))
  end)

  it("gives them only the time of --graceful-timeout, and has status 130 after ^C", function()
    local slow = script("return function() grun.sleep(60) end")
    local child, a = serve({ "-b", "127.0.0.1:0", "--graceful-timeout", "0.1", slow })
    local conn = assert(grun.connect((a:gsub("^http", "tcp"))))
    conn:write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    grun.sleep(0.1)
    child:signal("INT")
    assert.equal(130, child:wait())
    conn:close()
  end)

  describe("takes from the file", function()
    local function answer(source, words, path)
      local child, a = serve({ "-b", "127.0.0.1:0", script(source), unpack(words or {}) })
      local text = curl(a .. (path or "/"))
      child:signal("TERM")
      child:wait()
      return text, child:err()
    end

    it("a router", function()
      assert.equal("of /x", answer([[
        local r = grun.http.router()
        r:get("/:name", function(req) return "of /" .. req.params.name end)
        return r]], nil, "/x"))
    end)

    it("a table with the handler and options; the command line's count more", function()
      local source = "return { handler = function(req) return req:header('x') or 'none' end, " ..
        "opts = { server_header = 'mine', access_log = '%(s)s' } }"
      local child, a = serve({ "-b", "127.0.0.1:0", "--server-header=theirs", script(source) })
      assert.matches("Server: theirs", curl(a, "-i"))
      child:expect("200\n")
    end)

    it("a WSAPI application", function()
      local body = "function(env) return '200 OK', {}, coroutine.wrap(function() " ..
        "coroutine.yield(env.REQUEST_METHOD .. env.PATH_INFO) end) end"
      assert.equal("GET/x", answer("return { run = " .. body .. " }", nil, "/x"))
      assert.equal("GET/x", answer("return { handler = { run = " .. body .. " } }", nil, "/x"))
      assert.equal("GET/x", answer("return " .. body, { "--wsapi" }, "/x"))
      assert.equal("GET/x", answer("return grun.http.wsapi(" .. body .. ")", nil, "/x"))
    end)

    it("a module that the file defines itself", function()
      assert.equal("old", answer([[
        module(..., package.seeall)
        function run() return 200, {}, coroutine.wrap(function() coroutine.yield("old") end) end]]))
    end)

    it("an application that has a function `handler`, too", function()
      assert.equal("app", answer([[
        module(..., package.seeall)
        function handler() return "handler" end
        function run() return 200, {}, coroutine.wrap(function() coroutine.yield("app") end) end]]))
    end)
  end)

  it("loads modules beside the file, also by name", function()
    local dir = files({
      ["songs.lua"] = [[
        local orbit = require("orbit")
        local songs = orbit.new()
        songs.list = require("songs_list")
        songs:dispatch_get(function(web) return web.real_path .. " " .. songs.list[1] end, "/")
        songs:dispatch_static("/.+%.css")
        return songs]],
      ["songs_list.lua"] = "return { 'first' }",
      ["a.css"] = "p {}",
      ["start.wsapi"] = "#!/usr/bin/env wsapi.cgi\nreturn require('songs')",
      ["fn.wsapi"] = "return require('songs').run",
      ["fn.ws"] = "return require('songs').run",
    })
    for _, name in ipairs({ "songs.lua", "start.wsapi", "fn.wsapi", "fn.ws" }) do
      local _, a = serve({ "-b", "127.0.0.1:0", dir .. "/" .. name })
      assert.equal(dir .. " first", curl(a .. "/"))
      assert.equal("p {}", curl(a .. "/a.css"))
    end
    local _, a = serve({ "-b", "127.0.0.1:0", "--chdir", dir, "songs" })
    assert.equal(". first", curl(a .. "/"))
    assert.equal("p {}", curl(a .. "/a.css"))
  end)

  it("runs WSAPI requests side by side, and reports errors once", function()
    local child, a = serve({ "-b", "127.0.0.1:0", "--wsapi", script([[
      return function(env)
        if env.PATH_INFO == "/boom" then error("boom") end
        grun.sleep(0.2)
        return 200, {}, coroutine.wrap(function() coroutine.yield("slept\n") end)
      end]]) })
    local t0 = grun.now()
    local out = sh("for i in 1 2 3 4 5 6 7 8 9 10; do curl -s -m 10 %s/ & done; wait", a)
    assert.equal(("slept\n"):rep(10), out)
    assert.is_true(grun.now() - t0 < 1.8)
    assert.matches("^HTTP/1.1 500", curl(a .. "/boom", "-i"))
    assert.equal(1, select(2, child:err():gsub("failed: [^\n]*boom", "")))
  end)

  describe("refuses with status 1 and one clear line", function()
    local function complaint(...)
      local out, err, status = helper.run_child({ "serve", ... }, { timeout = 5 })
      assert.same({ "", 1 }, { out, status })
      local line = err:match("^grun serve: ([^\n]*)\n$")
      return line or error("more than one line:\n" .. err)
    end

    it("bad options, naming them", function()
      local function at(expected, ...)
        assert.equal(expected, complaint(...))
      end
      at("the application is missing; see grun serve --help")
      at("unknown option '--nope'; see grun serve --help", "--nope", app)
      at("unknown option '-x'; see grun serve --help", app, "-x")
      at("missing value after --bind", app, "-b")
      at("--idle-timeout: number expected, got 'soon'", "--idle-timeout", "soon", app)
      at("--idle-timeout: number expected, got '-1'", "--idle-timeout=-1", app)
      at("--max-headers: number expected, got '1k'", "--max-headers=1k", app)
      at("--max-line must be at most 65535", "--max-line", "10M", app)
      at("--max-body must be 1 or more", "--max-body", "0", app)
      at("--check takes no value", "--check=1", app)
      at("--mode: octal number expected, got '9'", "--mode", "9", app)
      at("--access-log: unknown atom %(zz)s", "--access-log=%(zz)s", app)
      at("--access-log-file: /nowhere/x: No such file or directory", "--access-log-file=/nowhere/x", app)
      at("--server-header has control characters", "--server-header", "a\nb", app)
      at("--keyfile without --certfile", "--keyfile", "x", app)
      at("--chdir /nowhere: No such file or directory", "--chdir=/nowhere", app)
    end)

    it("bad addresses", function()
      for _, address in ipairs({ "8000", "localhost", "unix:", "fd:x", "a/b:80" }) do
        assert.equal(("-b %s: host:port, :port, unix:/path, fd:number or systemd:name expected"):format(address),
          complaint("-b", address, app))
      end
      assert.equal("-b https://:0: --certfile is missing", complaint("-b", "https://:0", app))
      assert.matches("^cannot listen on tcp://192%.0%.2%.1:80: ", complaint("-b", "192.0.2.1:80", app))
      assert.matches("/nowhere: No such file", complaint("-b", ":0", "--certfile", "/nowhere", app))
      local listener = assert(grun.listen("tcp://127.0.0.1:0"))
      local address = listener:address():match("//(.*)")
      assert.equal(("cannot listen on tcp://%s: Address already in use"):format(address),
        complaint("-b", "127.0.0.1:0", "-b", address, app))
      listener:close()
    end)

    it("files that are not there or do not compile", function()
      assert.matches("nowhere.lua: No such file or directory", complaint("/nowhere.lua"))
      assert.equal("there is no file 'no_such_app', and no module of this name", complaint("no_such_app"))
      assert.matches("%.lua:1: unexpected symbol", complaint(script("return )")))
    end)

    it("files that return something else", function()
      local wanted = ": a handler function, a router, a WSAPI application or a table with 'handler' expected"
      for source, got in pairs({ ["local x"] = "nothing", ["return 5"] = "a number", ["return {}"] = "a table" }) do
        local name = script(source)
        assert.equal(name .. " returned " .. got .. wanted, complaint(name))
      end
      local name = script("return 5")
      assert.equal(name .. " returned a number: a WSAPI application is a function or a table with 'run'",
        complaint("--wsapi", name))
      name = script("return { handler = print, opts = 1 }")
      assert.equal(name .. ": table of options expected in 'opts', got number", complaint(name))
      name = script("return { handler = print, opts = { colour = 1 } }")
      assert.equal(name .. ": unknown option 'colour'", complaint(name))
    end)
  end)

  it("shows the traceback of a file that fails", function()
    local out, err, status = helper.run_child({ "serve", script("local function f() error('boom') end\nf()\n") })
    assert.same({ "", 1 }, { out, status })
    assert.matches("%.lua:1: boom\nstack traceback:", err)
  end)

  it("--check loads the application and says what would run", function()
    local out, err, status = helper.run_child({ "serve", "--check", "-b", ":80", "-b", "unix:/run/x", app })
    assert.same({ "", 0 }, { err, status })
    assert.matches("%.lua: handler, to be served on http://:80 http://unix:/run/x\n$", out)
    out = helper.run_child({ "--check", "serve", script("return { run = print }") })
    assert.matches("WSAPI application, to be served on http://127.0.0.1:8000\n$", out)
  end)

  it("--help explains every option", function()
    local out, err, status = helper.run_child({ "serve", "--help" })
    assert.same({ "", 0 }, { err, status })
    for name in helper.contents("lualib/grun/serve.lua"):gmatch('%["(%-%-[%w-]+)"%] = ') do
      assert.matches(name:gsub("%-", "%%-") .. "[ =,[]", out)
    end
    assert.matches("grun serve %-%-help", (helper.run_child({ "--help" })))
  end)

  it("leaves scripts called serve alone when they are named otherwise", function()
    local dir = files({ serve = "print('a script')" })
    assert.equal("a script\n", sh("cd %s && %s ./serve; cd %s && %s -- serve", dir, helper.grun, dir, "true"))
    assert.equal("a script\n", sh("cd %s && %s -- serve", dir, helper.grun))
  end)
end)
