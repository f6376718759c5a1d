-- SPDX-License-Identifier: MIT
-- Host names asked for by C modules, answered by our resolver.

local coop = require("spec.coop.helper")
local dns = require("spec.dns_helper")
local grun = require("grun")
local helper = require("spec.helper")
local socket = require("socket")
local unix = require("posix.sys.socket")

setup(dns.start)
teardown(dns.stop)
before_each(function()
  dns.configure()
end)

local function addresses(list)
  local found = {}
  for i, one in ipairs(list) do
    found[i] = one.addr
  end
  table.sort(found)
  return table.concat(found, " ")
end

describe("getaddrinfo", function()
  it("asks DNS while others run", function()
    local ticks, list = coop.ticks(function()
      return assert(unix.getaddrinfo("late30.test", "http", { family = unix.AF_INET, socktype = unix.SOCK_STREAM }))
    end)
    assert.is_true(ticks >= 2, ticks)
    assert.equal(1, #list)
    assert.equal(80, list[1].port)
    assert.equal(unix.SOCK_STREAM, list[1].socktype)
  end)

  it("gives every address with every kind of socket", function()
    local list = assert(unix.getaddrinfo("ok.test", "80", { family = unix.AF_INET }))
    assert.equal("192.0.2.1 192.0.2.1 192.0.2.1", addresses(list))
  end)

  it("takes the hosts file, numbers and services without DNS", function()
    dns.asked()
    dns.configure({ hosts = helper.tmpname("10.9.8.7 db db.lan\n") })
    assert.equal("10.9.8.7", (socket.dns.toip("db")))
    assert.equal("10.9.8.7", addresses(assert(unix.getaddrinfo("db", "80", { socktype = unix.SOCK_STREAM }))))
    assert.equal("::1", addresses(assert(unix.getaddrinfo("::1", "80", { socktype = unix.SOCK_STREAM }))))
    assert.equal("", dns.asked())
  end)

  it("has libc's errors", function()
    local _, message = unix.getaddrinfo("nx.test", "80", {})
    assert.equal("Name or service not known", message)
    assert.equal("host not found", select(2, socket.dns.toip("nx.test")))
    _, message = unix.getaddrinfo("localhost", "nosuchservice", {})
    assert.equal("Servname not supported for ai_socktype", message)
  end)

  it("is asked by many threads at once", function()
    local seconds, results = coop.parallel(20, function()
      return (socket.dns.toip("late30.test"))
    end)
    assert.is_true(seconds < 2, seconds)
    for i = 1, 20 do
      assert.same(results[1], results[i])
      assert.truthy(results[i][1])
    end
  end)

  it("ends when its thread is cancelled", function()
    local t = helper.spawn(function()
      return socket.dns.toip("late30.test")
    end)
    grun.sleep(0.005)
    local start = grun.now()
    t:cancel()
    t:join()
    assert.equal("cancelled", t:status())
    assert.is_true(grun.now() - start < 0.1)
  end)
end)

describe("names of addresses", function()
  it("come from the hosts file", function()
    dns.configure({ hosts = helper.tmpname("10.9.8.7 db.lan db\n") })
    assert.equal("db.lan", (socket.dns.tohostname("10.9.8.7")))
  end)

  it("or from DNS", function()
    assert.equal("one.test", (socket.dns.tohostname("192.0.2.10")))
  end)
end)
