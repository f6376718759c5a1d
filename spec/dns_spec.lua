-- SPDX-License-Identifier: MIT
-- grun.resolve and grun.dns against a server that does what its names say (spec/dns_server.py).

local grun = require("grun")
local dns = require("spec.dns_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local BOTH = { "2001:db8::1", "192.0.2.1" }

-- The order depends on the machine's routes.
local function sorted(list)
  table.sort(list)
  return list
end
sorted(BOTH)

local function resolved(name, opts)
  return sorted(assert(grun.resolve(name, opts)))
end

local function code(name, opts)
  local list, message, why = grun.resolve(name, opts)
  assert.is_nil(list)
  assert.equal(why == "timeout" and "timeout" or "cannot resolve " .. name .. ": ",
    message:sub(1, why == "timeout" and -1 or 17 + #name))
  return why
end

local function elapsed(fn, ...)
  local start = grun.now()
  fn(...)
  return grun.now() - start
end

setup(dns.start)
teardown(dns.stop)
before_each(function()
  dns.configure()
  dns.log()
end)

describe("local names", function()
  it("are resolved without a question", function()
    local hosts = helper.tmpname("10.9.8.7 db db.lan # comment\n2001:db8::7 six\n10.9.8.6 db\n")
    dns.configure({ hosts = hosts })
    assert.same({ "127.0.0.1" }, grun.resolve("127.0.0.1"))
    assert.same({ "2001:db8::5" }, grun.resolve("2001:DB8::5"))
    assert.same({ "127.0.0.1", "::1" }, sorted(grun.resolve("localhost")))
    assert.same({ "127.0.0.1", "::1" }, sorted(grun.resolve("App.LocalHost.")))
    assert.same({ "10.9.8.7", "10.9.8.6" }, grun.resolve("DB"))
    assert.same({ "10.9.8.7" }, grun.resolve("db.lan."))
    assert.same({ "10.9.8.7", "10.9.8.6" }, grun.resolve("db", { family = 4 }))
    assert.equal("ENODATA", code("db", { family = 6 }))
    assert.equal("ENODATA", code("six", { family = "inet" }))
    assert.equal("ENOTFOUND", code("x.onion"))
    assert.equal("ENOTFOUND", code("x.invalid"))
    assert.same({ "::1" }, grun.resolve("localhost", { family = "inet6" }))
    assert.same({ "db" }, grun.dns.reverse("10.9.8.7"))
    assert.equal("", dns.asked())
  end)

  it("come from the hosts file as it is now", function()
    local hosts = helper.tmpname("10.0.0.1 moving\n")
    dns.configure({ hosts = hosts })
    assert.same({ "10.0.0.1" }, grun.resolve("moving"))
    dns.rewrite(hosts, "10.0.0.2 moving\n")
    assert.same({ "10.0.0.2" }, grun.resolve("moving"))
    os.remove(hosts)
    assert.equal("ENOTFOUND", code("moving"))
  end)

  it("that cannot be names are told apart", function()
    for _, name in ipairs({ "", "a..b", ".a", ("x"):rep(64), ("abc."):rep(70) }) do
      assert.equal("EBADNAME", code(name), name)
    end
    assert.equal("", dns.asked())
  end)
end)

describe("resolve", function()
  it("asks for both families at once", function()
    assert.same(BOTH, resolved("ok.test"))
    assert.equal("A ok.test, AAAA ok.test", dns.asked())
  end)

  it("asks for one family only", function()
    assert.same({ "192.0.2.1" }, grun.resolve("ok1.test", { family = 4 }))
    assert.same({ "2001:db8::1" }, grun.resolve("ok2.test", { family = "inet6" }))
    assert.equal("A ok1.test, AAAA ok2.test", dns.asked())
  end)

  it("takes one family when the other has none", function()
    assert.same({ "192.0.2.1" }, grun.resolve("v4.test"))
    assert.same({ "2001:db8::1" }, grun.resolve("v6.test"))
    assert.equal("ENODATA", code("v4.test", { family = 6 }))
  end)

  it("waits 50 ms for a lost family once it has the other", function()
    for name, address in pairs({ ["lost6.test"] = "192.0.2.1", ["lost4.test"] = "2001:db8::1" }) do
      local took = elapsed(function()
        assert.same({ address }, grun.resolve(name))
      end)
      assert.is_true(took >= 0.045 and took < 0.4, took)
    end
  end)

  it("takes what there is when the caller's timeout comes first", function()
    assert.same({ "192.0.2.1" }, grun.resolve("lost6.test", { timeout = 0.03 }))
  end)

  it("names its failures", function()
    dns.configure({ timeout = 0.3 })
    local codes = { nx = "ENOTFOUND", nodata = "ENODATA", servfail = "ESERVFAIL", notimp = "ENOTIMP",
      refused = "EREFUSED", formerr = "EFORMERR", odd = "EBADRESP", empty = "ENODATA", silent = "timeout" }
    for name, expected in pairs(codes) do
      assert.equal(expected, code(name .. ".test"), name)
    end
  end)

  it("takes timeout * tries for a silent server", function()
    dns.configure({ timeout = 0.3 })
    local took = elapsed(function()
      assert.equal("timeout", code("silent.test"))
    end)
    assert.is_true(took >= 0.59 and took < 0.9, took)
    assert.equal(4, #dns.log())
  end)

  it("keeps the caller's timeout", function()
    local took = elapsed(function()
      assert.equal("timeout", code("silent.test", { timeout = 0.1 }))
    end)
    assert.is_true(took >= 0.1 and took < 0.4, took)
    assert.equal("timeout", code("ok3.test", { timeout = 0 }))
  end)

  it("asks again when a question is lost, and takes late answers", function()
    dns.configure({ timeout = 0.5 })
    assert.same(BOTH, resolved("first1.test"))
    local took = elapsed(function()
      assert.same(BOTH, resolved("late600.test"))
    end)
    assert.is_true(took < 0.99, took)
  end)

  it("goes on to the next server", function()
    local dead = assert(grun.listen("tcp://127.0.0.1:0"))
    local refusing = dead:address():match("//(.*)")
    dns.configure({ servers = { refusing, dns.server } })
    assert.same(BOTH, resolved("ok4.test"))
    dns.configure({ servers = { refusing } })
    assert.equal("ECONNREFUSED", code("ok5.test"))
    dead:close()
  end)

  it("ends in time when a silent server is followed by one that cannot be asked", function()
    -- Without SO_BROADCAST nothing can be sent there, and without a network neither.
    dns.configure({ servers = { dns.server, "255.255.255.255" }, timeout = 0.3 })
    local took = elapsed(function()
      assert.matches("^E[AN]%u+$", code("silent.test", { timeout = 5 }))
    end)
    assert.is_true(took >= 0.59 and took < 0.9, took)
  end)

  it("follows up to 8 aliases", function()
    assert.same(BOTH, resolved("chain8.test"))
    assert.equal("EBADRESP", code("chain9.test"))
    assert.same(BOTH, resolved("open7.test"))
    assert.equal("EBADRESP", code("open8.test"))
    assert.equal("EBADRESP", code("loop.test"))
  end)

  it("asks by TCP when the answer is cut off", function()
    assert.equal(12, #resolved("trunc.test", { family = 4 }))
    local log = dns.log()
    assert.same({ "UDP", "TCP" }, { log[1].proto, log[2].proto })
    assert.equal(2, #log)
  end)

  it("does without EDNS where that is not understood or swallowed", function()
    dns.configure({ timeout = 0.5 })
    assert.same({ "192.0.2.1" }, grun.resolve("noedns.test", { family = 4 }))
    assert.same({ "192.0.2.1" }, grun.resolve("mute.test", { family = 4 }))
    local log = dns.log()
    assert.same({ true, false, true, false }, { log[1].edns, log[2].edns, log[3].edns, log[4].edns })
    assert.same({ "192.0.2.1" }, grun.resolve("ok6.test", { family = 4 }))
    assert.is_true(dns.log()[1].edns)
  end)

  it("looks only at packets that answer its question", function()
    local forged = grun.dns.stats().forged
    for _, name in ipairs({ "forged.test", "zero.test", "giant.test", "garbage.test", "source.test" }) do
      assert.same(BOTH, resolved(name), name)
    end
    -- 100 forged, 50 empty, 3 giant, 50 garbage; those from another port never come in.
    assert.equal(2 * 203, grun.dns.stats().forged - forged)
  end)

  it("does not take a forged answer however many come", function()
    assert.same({ "192.0.2.1" }, grun.resolve("flood5000.test", { family = 4 }))
  end)

  it("checks its arguments", function()
    helper.misuse(function() grun.resolve() end,
      "bad argument #1 to 'resolve' (string expected, got no value)")
    helper.misuse(function() grun.resolve("a\0b") end, "bad argument #1 to 'resolve' (contains a NUL byte)")
    helper.misuse(function() grun.resolve("a", { famly = 4 }) end,
      "bad argument #2 to 'resolve' (unknown option 'famly')")
    helper.misuse(function() grun.resolve("a", { family = 5 }) end,
      "bad argument #2 to 'resolve' (option 'family': 4, 6, \"inet\" or \"inet6\" expected)")
    helper.misuse(function() grun.resolve("a", { timeout = -1 }) end,
      "bad argument #2 to 'resolve' (option 'timeout': number of seconds expected, got number)")
  end)
end)

describe("a waiting thread", function()
  it("can be cancelled; its question is dropped", function()
    local t = net.parked(grun.resolve, "silent.test")
    assert.equal(2, grun.dns.stats().active)
    t:kill()
    assert.equal("cancelled", t:status())
    assert.equal(0, grun.dns.stats().active)
  end)

  it("obeys a scope's deadline", function()
    assert.same({ nil, "timeout", "timeout" },
      { grun.timeout(0.05, function() grun.resolve("silent.test") end) })
    assert.equal(0, grun.dns.stats().active)
  end)

  it("shares its question with equal ones", function()
    local threads, addresses = {}, {}
    for i = 1, 100 do
      threads[i] = grun.spawn(grun.resolve, i % 2 == 0 and "late50.test" or "LATE50.test.", { family = 4 })
    end
    threads[101] = net.parked(grun.resolve, "late50.test", { family = 4 })
    threads[101]:kill()
    for i = 1, 100 do
      addresses[i] = threads[i]:get()[1]
    end
    assert.equal(("192.0.2.1"):rep(100), table.concat(addresses))
    assert.equal(1, #dns.log())
  end)

  it("counts for deadlocks", function()
    local out, err, status = helper.run_script(([[
      grun.dns.configure({ servers = { "%s" }, search = {}, timeout = 0.1 })
      print(select(3, grun.resolve("silent.test")))
      grun.event():wait()
    ]]):format(dns.server))
    assert.equal("timeout\n", out)
    assert.matches("deadlock", err)
    assert.equal(2, status)
  end)
end)

describe("many questions", function()
  it("use few sockets at once and are all answered", function()
    local threads = {}
    for i = 1, 1000 do
      threads[i] = grun.spawn(grun.resolve, "ok" .. i + 1000 .. ".test")
    end
    for i = 1, 1000 do
      assert.same(2, #assert(threads[i]:get()))
    end
    assert.equal(0, grun.dns.stats().active)
  end)

  it("use ids and ports that cannot be guessed", function()
    local N, ids, last, near = 4096, {}, nil, 0
    for bucket = 0, 15 do
      ids[bucket] = 0
    end
    local pool = grun.pool(16)
    for i = 1, N do
      pool:spawn(function() assert(grun.resolve("ok" .. i + 5000 .. ".test", { family = 4 })) end)
    end
    pool:join()
    local distinct, nports = {}, 0
    for _, q in ipairs(dns.log()) do
      ids[math.floor(q.id / 4096)] = ids[math.floor(q.id / 4096)] + 1
      nports = nports + (distinct[q.port] and 0 or 1)
      distinct[q.port] = true
      near = near + (last and math.abs(q.port - last) <= 16 and 1 or 0)
      last = q.port
    end
    -- Chi-square with 15 degrees of freedom: above 50 once in 10^5 times.
    local chi, expected = 0, N / 16
    for bucket = 0, 15 do
      chi = chi + (ids[bucket] - expected) ^ 2 / expected
    end
    assert.is_true(chi < 50, chi)
    -- Drawn from 28,000 ephemeral ports: some 3800 different ones, neighbours seldom.
    assert.is_true(nports > 3000, nports)
    assert.is_true(near < 200, near)
  end)

  it("fail where no descriptor is left, and nothing worse", function()
    local out, err, status = helper.run_script(([[
      grun.dns.configure({ servers = { "%s" }, search = {}, timeout = 0.3 })
      local pid = io.open("/proc/self/stat"):read("*n")
      assert(os.execute("prlimit --nofile=30 --pid " .. pid) == 0)
      local files = {}
      repeat
        local file = io.open("/dev/null")
        files[#files + 1] = file
      until not file
      for _ = 1, 100 do
        local _, message, code = grun.resolve("ok.test")
        assert(code == "EMFILE", code)
      end
      for _, file in ipairs(files) do file:close() end
      print(#assert(grun.resolve("ok.test")))
    ]]):format(dns.server))
    assert.same({ "2\n", "", 0 }, { out, err, status })
  end)
end)

describe("the cache", function()
  it("keeps answers, also those that say no, as long as they say", function()
    for _, name in ipairs({ "ok.test", "nx.test", "nodata30.test" }) do
      local first = { grun.resolve(name) }
      dns.log()
      local again = { grun.resolve((name:gsub("test", "TEST"))) }
      assert.equal(first[3], again[3])
      assert.equal("", dns.asked(), name)
    end
  end)

  it("drops them then", function()
    local first = grun.resolve("ttl1.test", { family = 4 })[1]
    assert.equal(first, grun.resolve("ttl1.test", { family = 4 })[1])
    grun.sleep(1.02)
    assert.is_not.equal(first, grun.resolve("ttl1.test", { family = 4 })[1])
  end)

  it("never keeps a TTL of 0, a failure, or a negative answer with 0", function()
    for _, name in ipairs({ "ttl0.test", "servfail.test" }) do
      grun.resolve(name, { family = 4 })
      dns.log()
      grun.resolve(name, { family = 4 })
      assert.is_true(#dns.log() > 0, name)
    end
  end)

  it("counts times to live down", function()
    local first = grun.dns.query("ttl50.test", "A")[1]
    assert.equal(50, first.ttl)
    grun.sleep(1.1)
    local second = grun.dns.query("ttl50.test", "A")[1]
    assert.equal(first.address, second.address)
    assert.is_true(second.ttl == 48 or second.ttl == 49)
  end)

  it("is bounded, and can be emptied", function()
    local pool = grun.pool(50)
    for i = 1, 1100 do
      pool:spawn(grun.resolve, "ok" .. i + 20000 .. ".test", { family = 4 })
    end
    pool:join()
    assert.equal(1024, grun.dns.stats().cached)
    grun.dns.cache_flush()
    assert.equal(0, grun.dns.stats().cached)
  end)

  it("does not keep what was asked before it was emptied", function()
    local t = net.parked(grun.resolve, "late50.test")
    grun.dns.cache_flush()
    t:get()
    assert.equal(0, grun.dns.stats().cached)
  end)

  it("is forgotten when the configuration changes", function()
    local conf = helper.tmpname("options timeout:1\n")
    dns.configure({ resolv_conf = conf })
    assert.same(BOTH, resolved("ok.test"))
    dns.rewrite(conf, "options timeout:2\n")
    dns.log()
    assert.same(BOTH, resolved("ok.test"))
    assert.equal("A ok.test, AAAA ok.test", dns.asked())
  end)
end)

describe("resolv.conf", function()
  it("is read again when it changed", function()
    local conf = helper.tmpname("nameserver 127.0.0.1:1\nsearch test\n")
    -- Only the files of dns.configure, and its times.
    grun.dns.configure({ resolv_conf = conf, hosts = "/dev/null", timeout = 0.3 })
    assert.equal("ECONNREFUSED", code("ok"))
    dns.rewrite(conf, ("nameserver %s\nsearch test\n"):format(dns.server))
    assert.same(BOTH, resolved("ok"))
    dns.rewrite(conf, ("nameserver %s\nsearch nx.test\n"):format(dns.server))
    assert.equal("ENOTFOUND", code("ok"))
  end)

  it("says where to search names", function()
    dns.configure({ search = { "first.nx.test", "test" }, ndots = 2 })
    assert.same(BOTH, resolved("ok"))
    assert.equal("A ok.first.nx.test, A ok.test, AAAA ok.first.nx.test, AAAA ok.test", dns.asked())
    assert.same(BOTH, resolved("ok7.test."))
    assert.equal("A ok7.test, AAAA ok7.test", dns.asked())
  end)

  it("is followed as glibc follows it", function()
    local pipe = io.popen("unshare -mn python3 spec/dns_glibc.py " .. helper.quote(helper.grun) .. " 2>&1")
    local report = pipe:read("*a")
    pipe:close()
    local why = report:match("^skip: ([^\n]*)") or report:match("^(unshare: [^\n]*)")
    if why then
      pending("cannot compare with glibc: " .. why)
    end
    assert.matches("^%d+ names, 0 differ\n$", report)
  end)
end)

describe("query", function()
  it("gives the records of every type", function()
    local expected = {
      A = { address = "192.0.2.1" }, AAAA = { address = "::1" }, NS = { target = "ns.test" },
      PTR = { target = "host.test" }, CNAME = { target = "ok.test" },
      MX = { preference = 10, exchange = "mail.test" },
      TXT = { text = "hello world", strings = { "hello", " world" } },
      SRV = { priority = 1, weight = 2, port = 3, target = "srv.test" },
      SOA = { mname = "ns.test", rname = "root.test", serial = 1, refresh = 2, retry = 3, expire = 4, minimum = 5 },
      CAA = { flags = 0, tag = "issue", value = "ca.test" }, TYPE65 = { data = "\0\1\0" },
    }
    for kind, record in pairs(expected) do
      record.name, record.type, record.class, record.ttl = "types.test", kind, "IN", 60
      assert.same({ record }, grun.dns.query("types.test.", kind))
    end
    assert.same({ expected.TYPE65 and "TYPE65" }, { grun.dns.query("types.test", 65)[1].type })
    assert.equal("ENODATA", select(3, grun.dns.query("nodata.test", "MX")))
    assert.equal("ENOTFOUND", select(3, grun.dns.query("nx.test", "txt")))
  end)

  it("takes names as they are, whatever the search list", function()
    dns.configure({ search = { "test" } })
    assert.same({ nil, "cannot query ok: host not found", "ENOTFOUND" }, { grun.dns.query("ok", "A") })
  end)

  it("asks the servers it is told, apart from the cache", function()
    dns.configure({ servers = { "127.0.0.1:1" } })
    for _ = 1, 2 do
      assert.equal(1, #grun.dns.query("ok.test", "A", { servers = { dns.server } }))
    end
    assert.equal(2, #dns.log())
    local took = elapsed(function()
      assert.equal("timeout",
        select(3, grun.dns.query("silent.test", "A", { servers = { dns.server }, timeout = 0.2, tries = 4 })))
    end)
    assert.is_true(took < 0.5, took)
    assert.equal(4, #dns.log())
  end)

  it("takes answers of more than 512 bytes by UDP", function()
    assert.equal(20, #grun.dns.query("big.test", "TXT"))
    assert.equal(1, #dns.log())
  end)

  it("checks its arguments", function()
    helper.misuse(function() grun.dns.query("a") end,
      "bad argument #2 to 'query' (record type expected, such as \"A\", \"TYPE65\" or 65)")
    helper.misuse(function() grun.dns.query("a", "B") end,
      "bad argument #2 to 'query' (record type expected, such as \"A\", \"TYPE65\" or 65)")
    helper.misuse(function() grun.dns.query("a", "A", { servers = { "x" } }) end,
      "bad argument #3 to 'query' (option 'servers': [1] is not an address such as \"127.0.0.1\" or \"[::1]:5353\")")
    helper.misuse(function() grun.dns.query("a", "A", { tries = 0 }) end,
      "bad argument #3 to 'query' (option 'tries': number from 1 to 10 expected)")
    helper.misuse(function() grun.dns.reverse("a") end, "bad argument #1 to 'reverse' (IP address expected)")
    helper.misuse(function() grun.dns.configure({ ndots = 16 }) end,
      "bad argument #1 to 'configure' (option 'ndots': number from 0 to 15 expected)")
  end)
end)

describe("reverse", function()
  it("asks for the names of an address", function()
    assert.same({ "one.test", "two.test" }, grun.dns.reverse("192.0.2.10"))
    assert.same({ "one.test", "two.test" }, grun.dns.reverse("2001:db8::1"))
    assert.equal("PTR 1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa, " ..
      "PTR 10.2.0.192.in-addr.arpa", dns.asked())
  end)
end)

describe("sockets", function()
  it("connect to names", function()
    local listener = assert(grun.listen("tcp://127.0.0.1:0"))
    local port = listener:address():match("%d+$")
    local hosts = helper.tmpname("127.0.0.1 here\n")
    dns.configure({ hosts = hosts })
    local conn = assert(grun.connect("here:" .. port))
    conn:close()
    assert.same({ nil, "cannot connect to tcp://nx.test:1: host not found", "ENOTFOUND" },
      { grun.connect("tcp://nx.test:1") })
    assert.same({ nil, "timeout", "timeout" }, { grun.connect("tcp://silent.test:1", { timeout = 0.05 }) })
    assert.same({ "tcp://127.0.0.1:" }, { assert(grun.listen("here:0")):address():match("^(.*:)%d+$") })
    collectgarbage()
    collectgarbage()
    listener:close()
  end)

  it("listen on names only if they are local", function()
    assert.same({ nil, "cannot listen on ok.test:0: host not found (DNS is not asked here)", "ENOTFOUND" },
      { grun.listen("ok.test:0") })
    assert.equal("", dns.asked())
  end)
end)
