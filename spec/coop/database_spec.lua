-- SPDX-License-Identifier: MIT
-- Stock clients of databases, unmodified, with real servers: many threads with a connection each,
-- threads cancelled in them, servers that go away.

local coop = require("spec.coop.helper")
local grun = require("grun")
local helper = require("spec.helper")
local servers = require("spec.coop.servers")

local LIMIT = 2 -- seconds for what takes half a second; the bench holds the real goal

local server, why

-- Tests with a server of that kind and a Lua module.
local function with(kind, module, fn)
  describe(module .. " with a real server", function()
    setup(function()
      local ok, problem = pcall(require, module)
      server, why = nil, not ok and problem:match("[^\n]*") or nil
      if ok then
        server, why = servers[kind]()
      end
    end)
    teardown(function()
      if server then
        server:stop()
      end
      server = nil
    end)
    fn(function(name, test)
      it(name, function()
        if not server then
          return pending(why)
        end
        test()
        collectgarbage() -- what a cancelled thread has left open
        collectgarbage()
      end)
    end)
  end)
end

-- Runs fn(i) in n threads beside a ticker and prints what that took.
local function timed(title, n, fn)
  local gap, seconds, results = coop.gap(function()
    return coop.parallel(n, fn)
  end)
  print(("%s in %.2f s, worst gap of a 1 ms ticker %.0f ms"):format(title, seconds, gap))
  assert.is_true(seconds < LIMIT, seconds)
  assert.is_true(gap < 250, gap)
  return results
end

-- ---- SQL ----

-- An open connection of LuaSQL that is closed when fn ends.
local function connected(connect, fn, ...)
  local db = assert(connect())
  local results = { pcall(fn, db, ...) }
  db:close()
  if not results[1] then
    error(results[2], 0)
  end
  return unpack(results, 2)
end

-- The first row.
local function row(db, statement)
  local cursor = assert(db:execute(statement))
  local values = { cursor:fetch() }
  cursor:close()
  return unpack(values)
end

-- Tests for any server; sleep is a statement that waits half a second, kill one that ends the
-- session with the given number, id one that asks for that number.
local function sql(case, connect, sleep, kill, id)
  case("waits in 50 threads at once", function()
    local results = timed("50 x " .. sleep, 50, function(i)
      return connected(connect, function(db)
        row(db, sleep)
        return row(db, "select " .. i)
      end)
    end)
    for i = 1, 50 do
      assert.equal(i, tonumber(results[i][1]))
    end
  end)

  case("ends a query when its thread is cancelled", function()
    local db = assert(connect())
    local t = coop.cancelled(function()
      row(db, sleep)
      error("the query ended")
    end)
    assert.equal("cancelled", t:status())
    db:close() -- nobody can tell what its next answer would belong to
    assert.equal(2, tonumber((connected(connect, row, "select 2"))))
  end)

  case("gives the library's error of a query past a deadline", function()
    local start = grun.now()
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.05, connected, connect, row, sleep) })
    assert.is_true(grun.now() - start < 0.4)
  end)

  case("gives an error when the server ends its session", function()
    local db, other = assert(connect()), assert(connect())
    local number = row(db, id)
    local result
    local t = helper.spawn(function()
      result = { db:execute(sleep) }
    end)
    grun.sleep(0.05)
    assert(other:execute(kill:format(number)))
    t:join()
    assert.is_nil(result[1])
    assert.matches("connection", result[2])
    db:close()
    other:close()
  end)

  case("gives the server's own errors, and the other queries go on", function()
    coop.parallel(4, function(i)
      connected(connect, function(db)
        if i % 2 == 0 then
          local result, message = db:execute("select nonsense")
          assert.is_nil(result)
          assert.matches("nonsense", message)
        end
        assert.equal(i, tonumber((row(db, "select " .. i))))
      end)
    end)
  end)
end

-- Ten threads that add 1 to the same row, one after the other.
local function row_lock(connect)
  connected(connect, function(db)
    assert(db:execute("create table counters (v integer)"))
    assert(db:execute("insert into counters values (0)"))
  end)
  coop.parallel(10, function()
    connected(connect, function(db)
      assert(db:execute("begin"))
      assert(db:execute("update counters set v = v + 1"))
      grun.sleep(0.005)
      assert(db:execute("commit"))
    end)
  end)
  assert.equal(10, tonumber((connected(connect, row, "select v from counters"))))
end

with("postgres", "luasql.postgres", function(case)
  local env

  local function connect()
    env = env or require("luasql.postgres").postgres()
    return env:connect(("host=127.0.0.1 port=%d user=postgres dbname=postgres"):format(server.port))
  end

  sql(case, connect, "select pg_sleep(0.5)", "select pg_terminate_backend(%d)",
    "select pg_backend_pid()")

  case("lets threads wait for each other's lock of a row", function()
    row_lock(connect)
  end)

  case("connects by a host name and by a unix socket", function()
    for _, host in ipairs({ "localhost", server.socket }) do
      connected(function()
        return env:connect(("host=%s port=%d user=postgres dbname=postgres"):format(host, server.port))
      end, row, "select 1")
    end
  end)

  case("says why it cannot connect", function()
    local db, message = env:connect("host=127.0.0.1 port=1 user=postgres")
    assert.is_nil(db)
    assert.matches("Connection refused", message)
  end)
end)

with("mariadb", "luasql.mysql", function(case)
  local env

  local function connect()
    env = env or require("luasql.mysql").mysql()
    return env:connect("", "root", "", "127.0.0.1", server.port)
  end

  sql(case, connect, "select sleep(0.5)", "kill %d", "select connection_id()")

  case("lets threads wait for each other's lock of a row", function()
    connected(connect, function(db)
      assert(db:execute("create database spec"))
    end)
    row_lock(function()
      return env:connect("spec", "root", "", "127.0.0.1", server.port)
    end)
  end)
end)

-- ---- Redis ----

with("redis", "redis", function(case)
  local redis

  local function connect()
    redis = redis or require("redis")
    return redis.connect("127.0.0.1", server.port)
  end

  case("waits in 20 threads at once", function()
    local results = timed("20 x BLPOP of what comes after half a second", 20, function(i)
      local client = connect()
      if i == 1 then
        grun.spawn(function()
          grun.sleep(0.5)
          local other = connect()
          for k = 1, 20 do
            other:rpush("list" .. k, "item" .. k)
          end
          other:quit()
        end)
      end
      local reply = client:blpop("list" .. i, 10)
      client:quit()
      return reply[2]
    end)
    for i = 1, 20 do
      assert.same({ "item" .. i }, results[i])
    end
  end)

  case("ends a wait when its thread is cancelled", function()
    local client, message = connect(), nil
    local t = coop.cancelled(function()
      message = select(2, pcall(client.blpop, client, "nothing", 10))
      client:ping()
    end)
    assert.truthy(message)
    assert.is_true(t:status() == "cancelled" or t:status() == "failed")
    client.network.socket:close()
    local other = connect()
    assert.is_true(other:ping())
    other:quit()
  end)

  case("gives an error when the server ends its connection", function()
    local client, other = connect(), connect()
    local ok, message
    local t = helper.spawn(function()
      ok, message = pcall(client.blpop, client, "nothing", 10)
    end)
    grun.sleep(0.05)
    other.network.socket:send("CLIENT KILL TYPE normal SKIPME yes\r\n")
    assert.equal(":1", (other.network.socket:receive("*l")))
    t:join()
    assert.is_false(ok)
    assert.matches("closed", tostring(message))
    other:quit()
  end)

  case("has pipelines and transactions in several threads", function()
    coop.parallel(10, function(i)
      local client = connect()
      local replies = client:pipeline(function(p)
        for k = 1, 100 do
          p:set(("key:%d:%d"):format(i, k), k)
          p:incr("all")
        end
      end)
      assert.equal(200, #replies)
      assert.equal("100", client:get(("key:%d:100"):format(i)))
      client:quit()
    end)
    local client = connect()
    assert.equal("1000", client:get("all"))
    client:quit()
  end)
end)

-- ---- LDAP ----

with("slapd", "lualdap", function(case)
  local function connect()
    return require("lualdap").open_simple("127.0.0.1:" .. server.port, "cn=admin,dc=example", "secret")
  end

  -- A signal to stop takes effect a little later: each of the process's OS threads has to see it.
  local function is_stopped(pid)
    for _, task in ipairs(assert(grun.fs.list(("/proc/%d/task"):format(pid)))) do
      if not helper.contents(("/proc/%d/task/%s/stat"):format(pid, task.name)):find("%) T ") then
        return false
      end
    end
    return true
  end

  local function stop_server()
    server.process:kill("STOP")
    for _ = 1, 500 do
      if is_stopped(server.process.pid) then
        return
      end
      grun.sleep(0.01)
    end
    error("the server does not stop")
  end

  -- Stops the server's process meanwhile.
  local function while_silent(fn)
    stop_server()
    local ok, message = pcall(fn)
    server.process:kill("CONT")
    assert(ok, message)
  end

  case("binds and changes in several threads while the server takes its time", function()
    local ld = assert(connect())
    assert(ld:add("dc=example", { objectClass = { "organization", "dcObject" }, o = "x", dc = "example" })())
    ld:close()
    stop_server()
    helper.spawn(function()
      grun.sleep(0.1)
      server.process:kill("CONT")
    end)
    local ticks, seconds = coop.ticks(coop.parallel, 10, function(i)
      local own = assert(connect())
      local dn = ("cn=device %d,dc=example"):format(i)
      assert(own:add(dn, { objectClass = "device" })())
      own:close()
    end)
    assert.is_true(ticks > 20, ticks)
    assert.is_true(seconds > 0.09 and seconds < LIMIT, seconds)
  end)

  case("ends a wait when its thread is cancelled", function()
    while_silent(function()
      local t = coop.cancelled(connect)
      assert.equal("cancelled", t:status())
    end)
    local ld = assert(connect())
    ld:close()
  end)
end)
