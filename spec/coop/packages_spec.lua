-- SPDX-License-Identifier: MIT
-- Stock modules of Debian, unmodified: many threads in them at once, and threads cancelled in them.

local coop = require("spec.coop.helper")
local grun = require("grun")
local helper = require("spec.helper")
local socket = require("socket")

local cancelled = coop.cancelled

-- A server whose clients are handled by a thread each; ends with the test.
local function serve(handle)
  local server = assert(socket.bind("127.0.0.1", 0, 1024))
  local _, port = server:getsockname()
  helper.spawn(function()
    while true do
      local client = server:accept()
      if not client then
        return
      end
      helper.spawn(function()
        pcall(handle, client)
        client:close()
      end)
    end
  end)
  return port, server
end

-- An HTTP server that thinks a while.
local function serve_http(seconds)
  return serve(function(client)
    repeat
      local line = client:receive("*l")
    until not line or line == ""
    socket.sleep(seconds)
    client:send("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
  end)
end

local function closing(...)
  local list = { ... }
  return function()
    for _, one in ipairs(list) do
      one:close()
    end
  end
end

local function refused()
  local n = 0
  for _, call in pairs(grun.coop.stats().calls) do
    n = n + call.refused
  end
  return n
end

describe("LuaSocket", function()
  it("serves and asks in threads of one process", function()
    local port, server = serve(function(client)
      local line = client:receive("*l")
      socket.sleep(0.1)
      client:send("hello " .. line .. "\n")
    end)
    finally(closing(server))
    local seconds, results
    local ticks = coop.ticks(function()
      seconds, results = coop.parallel(50, function(i)
        local client = assert(socket.connect("127.0.0.1", port))
        client:send("x" .. i .. "\n")
        local answer = client:receive("*l")
        client:close()
        return answer
      end)
    end)
    for i = 1, 50 do
      assert.same({ "hello x" .. i }, results[i])
    end
    assert.is_true(seconds < 1 and ticks > 20)
  end)

  it("has its own time-outs", function()
    local port, server = serve(function()
      socket.sleep(1)
    end)
    local client = assert(socket.connect("127.0.0.1", port))
    finally(closing(server, client))
    client:settimeout(0.1)
    local ticks, _, message = coop.ticks(client.receive, client, "*l")
    assert.equal("timeout", message)
    assert.is_true(ticks >= 5)
  end)

  it("gives the kernel's errors", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    server:close()
    assert.same({ nil, "connection refused" }, { socket.connect("127.0.0.1", port) })
  end)

  it("ends when its thread is cancelled, in every wait", function()
    local server = assert(socket.bind("127.0.0.1", 0))
    local _, port = server:getsockname()
    local client = assert(socket.connect("127.0.0.1", port))
    finally(closing(server, client, assert(server:accept())))
    local before = refused()
    for _, wait in ipairs({
      function() return server:accept() end,
      function() return client:receive("*l") end,
      function() return client:send(("x"):rep(2 ^ 24)) end,
      function() return socket.sleep(10) end,
    }) do
      assert.equal("cancelled", cancelled(wait):status())
    end
    -- This one raises an error of its own.
    local message
    cancelled(function()
      message = select(2, pcall(socket.select, { client }, nil))
    end)
    assert.equal("select failed", message)
    assert.is_true(refused() - before < 50)
    client:settimeout(0.01)
    assert.equal("timeout", select(2, client:receive("*l")))
  end)

  it("selects descriptors above 1023 among 2,000 connections", function()
    if os.execute("prlimit --nofile=8192 true 2>/dev/null") ~= 0 then
      return pending("this process may not open that many")
    end
    local out, err, status = helper.run_script([[
      local socket = require("socket")
      local N, conns, threads = 2000, {}, {}
      local server = assert(socket.bind("127.0.0.1", 0, 4096))
      local _, port = server:getsockname()
      grun.spawn(function()
        while true do
          local c = assert(server:accept())
          grun.spawn(function()
            for line in function() return c:receive() end do c:send(line .. "\n") end
          end)
        end
      end)
      for i = 1, N do
        threads[i] = grun.spawn(function()
          conns[i] = assert(socket.connect("127.0.0.1", port))
          for _ = 1, 3 do
            conns[i]:send("m" .. i .. "\n")
            assert(conns[i]:receive() == "m" .. i)
          end
        end)
      end
      for i = 1, N do threads[i]:get() end
      table.sort(conns, function(a, b) return a:getfd() < b:getfd() end)
      print(conns[1]:getfd() < 1024, conns[N]:getfd() > 1023)
      local list = { conns[1], conns[2], conns[N - 1], conns[N] }
      print(select("#", socket.select(list, nil, 0.05)), select(3, socket.select(list, nil, 0.05)))
      conns[N]:send("again\nand again\n")
      grun.sleep(0.2)
      local r, w = socket.select(list, { conns[1] }, 5)
      local last = conns[N]
      print(#r, r[1] == last, r[last], #w)
      grun.sleep(0.05)
      conns[N]:receive()
      print(#socket.select(list, nil, 5), (conns[N]:receive()))
      os.exit(0)
    ]], { prefix = "prlimit --nofile=8192" })
    assert.equal("true\ttrue\n3\ttimeout\n1\ttrue\t1\t1\n1\tand again\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)
end)

describe("LuaSec", function()
  it("serves and asks in threads of one process", function()
    local ssl = require("ssl")
    local key, certificate = helper.tmpname(), helper.tmpname()
    assert.equal(0, os.execute(("openssl req -x509 -newkey rsa:2048 -nodes -keyout %s -out %s -days 2 " ..
      "-subj /CN=localhost 2>/dev/null"):format(key, certificate)))
    local body = ("x"):rep(200000)
    local port, server = serve(function(client)
      client = assert(ssl.wrap(client, { mode = "server", protocol = "any", key = key, certificate = certificate }))
      assert(client:dohandshake())
      client:receive("*l")
      socket.sleep(0.1)
      client:send(body)
      client:close()
    end)
    finally(closing(server))
    local seconds = coop.parallel(10, function()
      local client = socket.connect("127.0.0.1", port)
      client = assert(ssl.wrap(client, { mode = "client", protocol = "any", verify = "none" }))
      assert(client:dohandshake())
      client:send("x\n")
      local all, _, part = client:receive("*a")
      client:close()
      assert(#(all or part) == #body)
    end)
    assert.is_true(seconds < 0.9, seconds)
  end)
end)

describe("a cancelled thread", function()
  it("ends in LuaSec's handshake", function()
    local ssl = require("ssl")
    local port, server = serve(function()
      socket.sleep(1)
    end)
    local client = assert(socket.connect("127.0.0.1", port))
    client = assert(ssl.wrap(client, { mode = "client", protocol = "any", verify = "none" }))
    finally(closing(server, client))
    assert.equal("cancelled", cancelled(function()
      client:dohandshake()
    end):status())
  end)

  it("ends in lua-posix", function()
    local posix = require("posix")
    local rd, wr = posix.pipe()
    for _, wait in ipairs({
      function() posix.read(rd, 1) end,
      function() posix.rpoll(rd, 10000) end,
      function() posix.nanosleep(10, 0) end,
      function() posix.write(wr, ("x"):rep(200000)) end,
    }) do
      assert.equal("cancelled", cancelled(wait):status())
    end
    posix.close(rd)
    posix.close(wr)
  end)
end)

describe("lua-curl", function()
  it("asks in many threads, and ends when cancelled", function()
    local curl = require("curl")
    local port, server = serve_http(0.1)
    finally(closing(server))
    local function get()
      local easy, got = curl.easy_init(), {}
      easy:setopt(curl.OPT_URL, ("http://127.0.0.1:%d/"):format(port))
      easy:setopt(curl.OPT_WRITEFUNCTION, function(a, b)
        local chunk = type(a) == "string" and a or b
        got[#got + 1] = chunk
        return #chunk
      end)
      easy:perform()
      return table.concat(got)
    end
    local seconds, results = coop.parallel(20, get)
    for i = 1, 20 do
      assert.same({ "hello" }, results[i])
    end
    assert.is_true(seconds < 1, seconds)
    assert.equal("cancelled", cancelled(get):status())
    assert.equal("hello", get())
    collectgarbage() -- closes the connections
    collectgarbage()
  end)
end)

describe("LuaSQL with SQLite", function()
  local luasql = require("luasql.sqlite3")
  local env, name

  before_each(function()
    name = helper.tmpname()
    env = luasql.sqlite3()
    local db = env:connect(name, 5000)
    assert(db:execute("create table t(v)"))
    assert(db:execute("insert into t values(0)"))
    db:close()
  end)

  local function value(db)
    local cursor = db:execute("select v from t")
    local v = cursor:fetch()
    cursor:close()
    return tonumber(v)
  end

  it("has many writers with a connection each", function()
    coop.parallel(10, function()
      local db = env:connect(name, 10000)
      for _ = 1, 3 do
        assert(db:execute("begin immediate"))
        assert(db:execute("update t set v = v + 1"))
        socket.sleep(0.001)
        assert(db:execute("commit"))
      end
      db:close()
    end)
    local db = env:connect(name)
    finally(closing(db, env))
    assert.equal(30, value(db))
  end)

  it("does not let a second thread into a connection that waits for a lock", function()
    local shared, other = env:connect(name, 5000), env:connect(name, 5000)
    finally(closing(shared, other, env))
    assert(other:execute("begin immediate"))
    helper.spawn(function()
      grun.sleep(0.1)
      assert(other:execute("commit"))
    end)
    coop.parallel(4, function()
      assert(shared:execute("update t set v = v + 1"))
    end)
    assert.equal(4, value(shared))
  end)
end)

describe("cqueues", function()
  local cqueues = require("cqueues")

  it("runs a loop in each of several threads", function()
    local seconds = coop.parallel(5, function()
      local loop = cqueues.new()
      loop:wrap(function()
        cqueues.sleep(0.05)
      end)
      assert(loop:loop())
      loop:close()
    end)
    assert.is_true(seconds < 0.2, seconds)
  end)

  it("polls outside of a loop in several threads", function()
    local seconds = coop.parallel(5, function()
      cqueues.poll(0.05)
    end)
    assert.is_true(seconds >= 0.05 and seconds < 0.2, seconds)
  end)

  it("ends when its thread is cancelled", function()
    local t = cancelled(function()
      local loop = cqueues.new()
      loop:wrap(function()
        cqueues.sleep(5)
      end)
      loop:loop()
    end)
    assert.equal("cancelled", t:status())
    collectgarbage()
  end)
end)

-- In processes of their own: they leave descriptors open until they are collected.
describe("in a process of its own", function()
  it("lua-http asks in threads without a loop", function()
    local out, err, status = helper.run_script([[
      local socket = require("socket")
      local server = assert(socket.bind("127.0.0.1", 0))
      local _, port = server:getsockname()
      grun.spawn(function()
        while true do
          local c = assert(server:accept())
          grun.spawn(function()
            repeat local line = c:receive() until not line or line == ""
            socket.sleep(0.2)
            c:send("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            c:close()
          end)
        end
      end)
      local request = require("http.request")
      local start, threads = grun.now(), {}
      for i = 1, 5 do
        threads[i] = grun.spawn(function()
          local _, stream = assert(request.new_from_uri("http://127.0.0.1:" .. port .. "/"):go(10))
          return assert(stream:get_body_as_string())
        end)
      end
      for i = 1, 5 do print(threads[i]:get()) end
      print(grun.now() - start < 0.9)
      os.exit(0)
    ]])
    assert.equal(("hello\n"):rep(5) .. "true\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("libcurl below the FFI asks in threads, through grun.coop.wrap", function()
    local out, err, status = helper.run_script([[
      local ffi, socket = require("ffi"), require("socket")
      ffi.cdef("void *curl_easy_init(void); int curl_easy_setopt(void *, int, ...);" ..
        "int curl_easy_perform(void *); void curl_easy_cleanup(void *);")
      local curl = ffi.load("curl-gnutls.so.4")
      local URL, NOBODY = 10002, 44
      local server = assert(socket.bind("127.0.0.1", 0))
      local _, port = server:getsockname()
      grun.spawn(function()
        while true do
          local c = assert(server:accept())
          grun.spawn(function()
            repeat local line = c:receive() until not line or line == ""
            socket.sleep(0.1)
            c:send("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n")
            c:close()
          end)
        end
      end)
      local perform = grun.coop.wrap(curl.curl_easy_perform)
      local start, threads, sum = grun.now(), {}, 0
      for i = 1, 10 do
        threads[i] = grun.spawn(function()
          local easy = curl.curl_easy_init()
          curl.curl_easy_setopt(easy, URL, "http://127.0.0.1:" .. port .. "/")
          curl.curl_easy_setopt(easy, NOBODY, ffi.cast("long", 1))
          local code = perform(easy)
          curl.curl_easy_cleanup(easy)
          return code
        end)
      end
      for i = 1, 10 do sum = sum + threads[i]:get() end
      print(sum, grun.now() - start < 0.8, grun.coop.stats().calls.poll.blocked)
      os.exit(0)
    ]])
    assert.equal("0\ttrue\t0\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("luv runs one loop beside other threads, and a cancel waits for its end", function()
    local out, err, status = helper.run_script([[
      local uv, socket = require("luv"), require("socket")
      local n = 0
      local timer = uv.new_timer()
      timer:start(10, 10, function() n = n + 1 if n == 4 then timer:close() end end)
      local server = uv.new_tcp()
      server:bind("127.0.0.1", 0)
      server:listen(5, function()
        local c = uv.new_tcp()
        server:accept(c)
        c:read_start(function(_, data)
          if data then c:write(data) else c:close() server:close() end
        end)
      end)
      local port = server:getsockname().port
      local client = grun.spawn(function()
        local c = socket.connect("127.0.0.1", port)
        c:send("hi\n")
        local answer = c:receive()
        c:close()
        return answer
      end)
      uv.run()
      print(n, client:get())
      local last = uv.new_timer()
      last:start(100, 0, function() last:close() end)
      local t = grun.spawn(function() uv.run() print("raised too late") end)
      grun.sleep(0.02)
      t:cancel()
      t:join()
      print(t:status(), last:is_closing())
    ]])
    assert.equal("4\thi\ncancelled\ttrue\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("lua-event finds libevent, not our event loop", function()
    local out, err, status = helper.run_script([[
      local event = require("luaevent.core")
      local base, n, ticks = event.new(), 0, 0
      local ticker = grun.spawn(function()
        while true do grun.sleep(0.002) ticks = ticks + 1 end
      end)
      base:addevent(nil, event.EV_TIMEOUT, function()
        n = n + 1
        if n < 4 then return event.EV_TIMEOUT, 0.02 end
        return event.LEAVE
      end, 0.02)
      base:loop()
      print(n, ticks > 5)
      ticker:kill()
    ]])
    assert.equal("4\ttrue\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("copas runs its loop beside other threads", function()
    local out, err, status = helper.run_script([[
      local copas, socket = require("copas"), require("socket")
      local server = assert(socket.bind("127.0.0.1", 0))
      local _, port = server:getsockname()
      copas.addserver(server, function(c)
        local line = copas.receive(c)
        copas.send(c, "hello " .. line .. "\n")
      end)
      local client = grun.spawn(function()
        local answers = {}
        for i = 1, 3 do
          local c = socket.connect("127.0.0.1", port)
          c:send(i .. "\n")
          answers[i] = c:receive()
          c:close()
        end
        print(table.concat(answers, ", "))
        os.exit(0)
      end)
      copas.loop()
    ]])
    assert.equal("hello 1, hello 2, hello 3\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("lua-posix forks, waits and polls", function()
    local out, err, status = helper.run_script([[
      local posix = require("posix")
      local ticks = 0
      local ticker = grun.spawn(function()
        while true do grun.sleep(0.002) ticks = ticks + 1 end
      end)
      local pid = posix.fork()
      if pid == 0 then
        posix.nanosleep(0, 200000000)
        require("posix.unistd")._exit(7)
      end
      local got, how, code = posix.wait(pid)
      print(got == pid, how, code, ticks > 5)
      print(posix.wait(-1) == nil)
      local before = ticks
      print(posix.sleep(0), posix.rpoll(posix.pipe(), 100), ticks - before > 2)
      ticker:kill()
    ]])
    assert.equal("true\texited\t7\ttrue\ntrue\n0\t0\ttrue\n", out)
    assert.equal("", err)
    assert.equal(0, status)
  end)

  it("two lualdap connections are opened at once", function()
    local out, err, status = helper.run_script([[
      local ldap = require("lualdap")
      local threads = {}
      for i = 1, 2 do
        threads[i] = grun.spawn(function()
          return (select(2, ldap.open_simple("localhost:1")))
        end)
      end
      for i = 1, 2 do print(threads[i]:get()) end
    ]])
    assert.equal(("Can't contact LDAP server\n"):rep(2), out)
    assert.equal("", err)
    assert.equal(0, status)
  end)
end)
