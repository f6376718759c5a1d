-- SPDX-License-Identifier: MIT
-- The example dns_cache.lua with upstreams that do what their names say (spec/dns_server.py) and
-- with ones made here; asked by dig and with messages that no client would send.

local grun = require("grun")
local child = require("spec.cli.child")
local dns = require("spec.dns_helper")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local EXAMPLE = "scripts/examples/dns_cache.lua"
local parse, pack = grun.dns.message.parse, grun.dns.message.pack
local test = net.test(it, function(fn) finally(fn) end)

-- ---- The server, its clients and its upstreams ----

local Server = {}
Server.__index = Server

function Server:close()
  self.child:destroy()
end

-- Starts it with these arguments, on any free port or the one given.
local function start(args, port)
  local words = { EXAMPLE }
  for i, word in ipairs(args) do
    if (word:find("^127%.") or word:find("^%[")) and args[i - 1] ~= "--redis" then
      words.address = words.address or table.insert(words, "udp://127.0.0.1:" .. (port or 0)) or true
    end
    words[#words + 1] = word
  end
  for _ = 1, 5 do -- the port that TCP is given may be taken for UDP
    local process = child.start(words)
    while not process:out():find("\n") and not process:ended() do
      grun.sleep(0.005)
    end
    local free = tonumber(process:out():match("^listening on udp://127%.0%.0%.1:(%d+) and tcp://[^\n]*:%1\n"))
    if free then
      return setmetatable({ child = process, port = free }, Server)
    end
    assert.matches("in use", process:err())
  end
  error("the server does not start")
end

-- What SIGUSR1 prints.
function Server:counters()
  local before = #self.child:out()
  self.child:signal("USR1")
  local line
  repeat
    grun.sleep(0.005)
    line = self.child:out():sub(before + 1):match("^[^\n]*\n")
  until line
  local found = {}
  for number, what in line:gmatch("(%d+) (%a+)") do
    found[what] = tonumber(number)
  end
  return found
end

function Server:dig(words)
  local pipe = io.popen(("dig @127.0.0.1 -p %d +tries=1 +time=5 %s"):format(self.port, words))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- A question as bytes.
local function question(name, fields)
  local message = { id = 7, rd = true, questions = { { name = name, type = "A" } } }
  for key, value in pairs(fields or {}) do
    message[key] = value
  end
  message.questions[1].type = message.type or "A"
  return pack(message)
end

-- Sends the datagrams; returns up to `n` replies (default: one each) parsed, those before a silence
-- of 5 s, or of `seconds`.
function Server:exchange(list, n, seconds)
  local sock, replies = assert(grun.udp()), {}
  sock:connect("udp://127.0.0.1:" .. self.port)
  sock:setoption("rcvbuf", 2 ^ 20)
  for i, bytes in ipairs(list) do
    assert(sock:send(bytes))
    if i % 100 == 0 then
      grun.sleep(0.002) -- or else the server's buffer is full
    end
  end
  for i = 1, n or #list do
    local bytes = sock:recv(seconds or 5)
    if not bytes then
      break
    end
    replies[i] = parse(bytes) or bytes
  end
  sock:close()
  return replies
end

-- The reply to one question.
function Server:ask(name, fields)
  return assert(self:exchange({ question(name, fields) })[1], "no reply for " .. name)
end

function Server:connect(keep)
  local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. self.port)))
  conn:settimeout(10)
  return conn
end

local function framed(bytes)
  return string.char(math.floor(#bytes / 256), #bytes % 256) .. bytes
end

local function read_framed(conn)
  local size = conn:read(2)
  if size then
    return conn:read(size:byte(1) * 256 + size:byte(2))
  end
end

-- An upstream: answer(query, proto, n, send) returns the message to answer the n-th query with, in
-- which id, qr and questions are filled in, or bytes, or nothing. send(bytes) sends a datagram.
-- Returns its address and the list of queries.
local function upstream(keep, answer)
  local seen = {}
  local function handle(bytes, proto, send)
    local query = parse(bytes)
    query.proto = proto
    seen[#seen + 1] = query
    local reply = answer(query, proto, #seen, send)
    if type(reply) == "table" then
      reply.id, reply.qr, reply.questions = query.id, true, query.questions
      reply = pack(reply, { max = proto == "udp" and 1232 or 65535 })
    end
    return reply
  end
  local tcp, udp
  repeat -- until the port that TCP is given is free for UDP
    tcp = assert(grun.server("tcp://127.0.0.1:0", function(conn)
      for bytes in read_framed, conn do
        local reply = handle(bytes, "tcp")
        if reply then
          conn:write(framed(reply))
        end
      end
    end))
    local this = tcp
    keep({ close = function() this:stop(0) end })
    udp = grun.server(tcp:address():gsub("tcp", "udp"), function(bytes, peer, sock)
      return handle(bytes, "udp", function(reply) sock:send_to(reply, peer) end)
    end)
  until udp
  keep({ close = function() udp:stop(0) end })
  return udp:address():match("//(.*)"), seen
end

-- An answer with one address, made of the times that it was asked for.
local function counting(ttl)
  return function(query, _, n)
    local name = query.questions[1].name
    return { ra = true, answers = { { name = name, type = "A", ttl = ttl, address = "10.0.0." .. n } } }
  end
end

local function started(keep, ...)
  return (keep(start({ ... })))
end

local function addresses(message)
  local list = {}
  for i, record in ipairs(message.answers) do
    list[i] = record.address
  end
  return table.concat(list, " ")
end

setup(dns.start)
teardown(dns.stop)
before_each(function()
  dns.log()
end)

-- ---- Answers ----

describe("the example dns_cache answers", function()
  test("dig from upstream once and then from its cache, with lower times to live", function(keep)
    local server = started(keep, dns.server)
    local first = server:dig("ttl60.test")
    assert.matches("status: NOERROR", first)
    assert.matches("flags: qr rd ra;", first)
    assert.matches("; EDNS: version: 0, flags:; udp: 1232", first)
    local address = first:match("ttl60%.test%.%s+60%s+IN%s+A%s+(10%.0%.%d+%.%d+)")
    grun.sleep(1.1)
    for _, words in ipairs({ "", "+tcp", "+bufsize=600", "+noedns", "+norec", "TTL60.Test" }) do
      local text = server:dig("ttl60.test " .. words)
      local ttl = tonumber(text:match("%s(%d+)%s+IN%s+A%s+" .. address))
      assert.is_true(ttl and ttl < 60 and ttl > 40, text)
      assert.equal(words == "+noedns", not text:find("EDNS: "), words)
    end
    assert.equal("A ttl60.test", dns.asked())
    assert.matches(";TTL60%.Test%.", server:dig("TTL60.Test"))
  end)

  test("dig with any type", function(keep)
    local server = started(keep, dns.server)
    local cases = {
      ["types.test MX"] = "MX%s+10 mail%.test%.", ["types.test TXT"] = 'TXT%s+"hello" " world"',
      ["types.test TYPE65"] = "HTTPS%s+1 %.", ["types.test SOA"] = "SOA%s+ns%.test%. root%.test%. 1 2 3 4 5",
      ["types.test CAA"] = 'CAA%s+0 issue "ca%.test"', ["types.test ANY"] = "status: NOERROR",
      ["big.test TXT +notcp +ignore +noedns"] = "flags: qr tc rd ra;", ["big.test TXT"] = "ANSWER: 20,",
      ["big.test TXT +tcp"] = "ANSWER: 20,", ["-x 10.0.0.1"] = "PTR%s+one%.test%.",
      ["types.test AXFR"] = "[Tt]ransfer failed", ["chain5.test"] = "A%s+192%.0%.2%.1",
      ["ok.test +edns=1 +noednsneg"] = "status: BADVERS", ["loop.test"] = "CNAME%s+loop%.test",
    }
    for words, pattern in pairs(cases) do
      for _ = 1, 2 do
        assert.matches(pattern, server:dig(words), words)
      end
    end
  end)

  test("records of unknown types unchanged", function(keep)
    local data = "\0\1\255" .. ("\3xyz"):rep(20)
    local address, seen = upstream(keep, function(query)
      return { answers = { { name = query.questions[1].name, type = "TYPE65280", ttl = 9, data = data } } }
    end)
    local server = started(keep, address)
    for _ = 1, 2 do
      assert.same({ { name = "new.test", type = "TYPE65280", class = "IN", ttl = 9, data = data } },
        server:ask("new.test", { type = "TYPE65280" }).answers)
    end
    assert.equal(1, #seen)
  end)

  test("that there is none from its cache, as long as the SOA record says", function(keep)
    local server = started(keep, dns.server)
    for i = 1, 2 do
      local nx, nodata = server:ask("a.nx.test"), server:ask("nodata7.test")
      assert.same({ 3, 0, 0, 0 }, { nx.rcode, nodata.rcode, #nx.answers, #nodata.answers })
      assert.same({ "SOA", "SOA" }, { nx.authorities[1].type, nodata.authorities[1].type })
      assert.is_true(nx.authorities[1].ttl <= 30 and nx.authorities[1].ttl > 20, i)
      assert.is_true(nodata.authorities[1].ttl <= 7, i)
    end
    assert.equal("A a.nx.test, A nodata7.test", dns.asked())
    assert.equal(2, server:counters().hits)
  end)

  test("that there is none anew when no SOA record says how long, and a referral too", function(keep)
    local address, seen = upstream(keep, function(query)
      return { rcode = query.questions[1].name == "nx.test" and 3 or 0,
        authorities = { { name = "test", type = "NS", ttl = 60, target = "ns.test" } } }
    end)
    local server = started(keep, address)
    for _ = 1, 2 do
      assert.equal(3, server:ask("nx.test").rcode)
      assert.equal(0, server:ask("referral.test").rcode)
    end
    assert.equal(4, #seen)
  end)

  test("again from upstream after the time to live, or the limits set to it", function(keep)
    local address, seen = upstream(keep, function(query, proto, n)
      return counting(tonumber(query.questions[1].name:match("%d+")))(query, proto, n)
    end)
    local server = started(keep, "--min-ttl", "1", "--max-ttl", "50", address)
    assert.equal(50, server:ask("ttl4294967.test").answers[1].ttl)
    assert.equal(1, server:ask("ttl4294967295.test").answers[1].ttl) -- counts as 0
    local first = server:ask("ttl0.test")
    assert.equal(1, first.answers[1].ttl)
    assert.equal(3, #seen)
    grun.sleep(1.1)
    assert.not_equal(addresses(first), addresses(server:ask("ttl0.test")))
    assert.equal(4, #seen)
    assert.is_true(server:ask("ttl4294967.test").answers[1].ttl < 50)
    local without = started(keep, address)
    without:ask("ttl0.test")
    without:ask("ttl0.test")
    assert.equal(6, #seen)
  end)

  test("DNSSEC questions apart, and says what was validated to who wants to know", function(keep)
    local address, seen = upstream(keep, function(query, _, n)
      local reply = counting(60)(query, nil, n)
      reply.ad = true
      return reply
    end)
    local server = started(keep, address)
    local plain, ad = server:ask("s.test"), server:ask("s.test", { ad = true })
    local signed = server:ask("s.test", { edns = { dnssec_ok = true } })
    local unchecked = server:ask("s.test", { cd = true })
    assert.same({ false, true, true, false }, { plain.ad, ad.ad, signed.ad, unchecked.ad })
    assert.same({ nil, true, true }, { plain.edns, signed.edns.dnssec_ok, unchecked.cd })
    assert.same({ false, true, false }, { seen[1].edns.dnssec_ok, seen[2].edns.dnssec_ok,
      seen[3].edns.dnssec_ok })
    assert.same({ 3, true, 1232 }, { #seen, seen[3].cd, seen[1].edns.udp_size })
  end)
end)

-- ---- Sizes ----

describe("the example dns_cache cuts", function()
  test("datagrams to what the client takes, and nothing by TCP", function(keep)
    local address, seen = upstream(keep, function(query)
      local reply = { answers = {} }
      for i = 1, 1000 do
        reply.answers[i] = { name = query.questions[1].name, type = "TXT", ttl = 60,
          text = ("%050d"):format(i) }
      end
      return reply
    end)
    local server = started(keep, address)
    local sizes = { [0] = 512, [100] = 512, [512] = 512, [900] = 900, [1232] = 1232, [65535] = 1232 }
    for asked, limit in pairs(sizes) do
      local sock = keep(grun.udp())
      sock:connect("udp://127.0.0.1:" .. server.port)
      sock:send(question("huge.test", { type = "TXT", edns = asked > 0 and { udp_size = asked } or nil }))
      local bytes = assert(sock:recv(5))
      assert.is_true(#bytes <= limit and #bytes > limit - 80, asked .. ": " .. #bytes)
      assert.is_true(parse(bytes).tc)
    end
    local conn = server:connect(keep)
    conn:write(framed(question("huge.test", { type = "TXT" })))
    local whole = parse(read_framed(conn))
    assert.same({ false, 1000 }, { whole.tc, #whole.answers })
    assert.equal(("%050d"):format(1000), whole.answers[1000].text)
    assert.same({ 2, "udp", "tcp" }, { #seen, seen[1].proto, seen[2].proto })
    assert.not_equal(0, seen[2].id)
  end)
end)

-- ---- Many at once ----

describe("the example dns_cache asks", function()
  test("once for a hundred equal questions at once", function(keep)
    local server = started(keep, dns.server)
    local list, ids = {}, {}
    for i = 1, 100 do
      list[i] = question(i % 2 == 0 and "late400.test" or "Late400.TEST", { id = i })
    end
    for _, reply in ipairs(server:exchange(list)) do
      assert.equal("192.0.2.1", addresses(reply))
      assert.equal(reply.id % 2 == 0 and "late400.test" or "Late400.TEST", reply.questions[1].name)
      ids[reply.id] = true
    end
    assert.equal(100, #ids)
    assert.equal(1, #dns.log())
    local counters = server:counters()
    assert.same({ 100, 99, 1 }, { counters.queries, counters.joined, counters.sent })
  end)

  test("with ids and ports that have nothing to do with those of clients", function(keep)
    local server = started(keep, dns.server)
    local list = {}
    for i = 1, 64 do
      list[i] = question("ok" .. i .. ".test", { id = 4711 })
    end
    for _, reply in ipairs(server:exchange(list)) do
      assert.same({ 4711, "192.0.2.1" }, { reply.id, addresses(reply) })
    end
    local ids, ports, nids, nports, last, steps = {}, {}, 0, 0, 0, 0
    for _, q in ipairs(dns.log()) do
      nids, nports = nids + (ids[q.id] and 0 or 1), nports + (ports[q.port] and 0 or 1)
      ids[q.id], ports[q.port] = true, true
      steps = steps + (math.abs(q.id - last) < 256 and 1 or 0)
      last = q.id
    end
    assert.is_true(nids >= 60 and nports >= 55 and steps < 10, nids .. " " .. nports .. " " .. steps)
  end)

  test("its upstreams in turn", function(keep)
    local lists, servers = {}, {}
    for i = 1, 3 do
      servers[i], lists[i] = upstream(keep, counting(60))
    end
    local server = started(keep, unpack(servers))
    for i = 1, 9 do
      server:ask("name" .. i .. ".test")
    end
    assert.same({ 3, 3, 3 }, { #lists[1], #lists[2], #lists[3] })
  end)

  test("another upstream when one is dead, silent or fails, and then rather that one", function(keep)
    local closed = keep(grun.udp("udp://127.0.0.1:0"))
    local dead = closed:sockname():match("//(.*)")
    closed:close()
    local silent, not_answered = upstream(keep, function() end)
    local failing = upstream(keep, function() return { rcode = 2 } end)
    local good, answered = upstream(keep, counting(60))
    local server = started(keep, "--timeout", "0.3", dead, silent, failing, good)
    for i = 1, 20 do
      assert.equal(0, server:ask("name" .. i .. ".test").rcode)
    end
    assert.equal(20, #answered)
    assert.equal(1, #not_answered)
    assert.equal(0, server:counters().failed)
  end)

  test("by TCP when the answer is cut off", function(keep)
    local server = started(keep, dns.server)
    assert.equal(12, #server:ask("trunc.test").answers)
    local log = dns.log()
    assert.same({ "UDP", "TCP", 2 }, { log[1].proto, log[2].proto, #log })
    assert.equal(12, #server:ask("trunc.test").answers)
    assert.equal(0, #dns.log())
  end)

  test("hosts by name too", function(keep)
    local server = keep(start({ "--timeout", "1", "127.0.0.1:1", "localhost:" .. dns.port }))
    assert.equal("192.0.2.1", addresses(server:ask("ok.test")))
  end)

  test("[::1] too", function(keep)
    if net.no_ipv6 then
      return pending(net.no_ipv6)
    end
    local v6 = grun.server("udp://[::1]:0", function(bytes)
      local query = parse(bytes)
      query.qr = true
      return pack(query)
    end)
    keep({ close = function() v6:stop(0) end })
    assert.equal(0, started(keep, (v6:address():match("//(.*)"))):ask("a.test").rcode)
  end)

  test("no more than so many at once, and meanwhile answers what it knows", function(keep)
    local silent, asked = upstream(keep, function(query, _, n)
      return query.questions[1].name == "known.test" and counting(60)(query, nil, n) or nil
    end)
    local server = started(keep, "--timeout", "3", silent)
    server:ask("known.test")
    local list = {}
    for i = 1, 1500 do
      list[i] = question("name" .. i .. ".test", { id = i })
    end
    local replies = server:exchange(list, 1000)
    assert.equal(1000, #replies)
    for _, reply in ipairs(replies) do
      assert.equal(2, reply.rcode)
    end
    assert.equal(501, #asked)
    local before = grun.now()
    assert.equal("10.0.0.1", addresses(server:ask("known.test")))
    assert.is_true(grun.now() - before < 2)
  end)
end)

-- ---- Failures ----

describe("the example dns_cache when upstreams are silent", function()
  test("says so after its tries, and the next one at once", function(keep)
    local server = started(keep, "--timeout", "0.2", dns.server)
    local before = grun.now()
    assert.equal(2, server:ask("silent.test").rcode)
    assert.is_true(grun.now() - before >= 0.2)
    local asked = #dns.log()
    assert.equal(2, server:ask("silent.test").rcode)
    assert.equal(0, #dns.log())
    assert.is_true(asked == 1 or asked == 2)
    assert.equal("192.0.2.1", addresses(server:ask("first1.test")))
  end)

  test("answers what has expired, if told so", function(keep)
    local works = true
    local address, seen = upstream(keep, function(query, _, n)
      return works and counting(1)(query, nil, n) or nil
    end)
    local server = started(keep, "--timeout", "0.2", "--stale", "60", address)
    server:ask("a.test")
    works = false
    grun.sleep(1.1)
    local stale = server:ask("a.test")
    assert.same({ 0, "10.0.0.1", 30 }, { stale.rcode, addresses(stale), stale.answers[1].ttl })
    assert.equal(2, server:ask("b.test").rcode)
    local asked = #seen
    assert.equal("10.0.0.1", addresses(server:ask("a.test")))
    assert.equal(asked, #seen)
    assert.equal(1, server:counters().stale)
  end)

  test("forgets what is not asked for when there is more than fits", function(keep)
    local address, seen = upstream(keep, counting(600))
    local server = started(keep, "--size", "10", address)
    for i = 1, 30 do
      server:ask("name" .. i .. ".test")
      server:ask("kept.test")
    end
    assert.equal(31, #seen)
    server:ask("name30.test")
    assert.equal(31, #seen)
    server:ask("name1.test")
    assert.equal(32, #seen)
  end)
end)

-- ---- Hostile packets ----

describe("the example dns_cache is not deceived", function()
  test("by an answer of another type, or a SOA record without a minimum", function(keep)
    local address = upstream(keep, function(query, proto)
      query.qr = true
      if proto == "udp" then
        query.answers = { { name = "a.test", type = "SOA", class = 4097, ttl = 9, data = "" } }
        query.authorities = query.answers
        query.questions[1].type = query.questions[1].name == "a.test" and "AAAA" or "A"
        return pack(query)
      end
    end)
    local server = started(keep, "--timeout", "0.2", address)
    assert.equal(2, server:ask("a.test").rcode)
    assert.equal(0, server:ask("b.test").rcode)
    assert.equal("", server.child:err())
  end)

  for _, kind in ipairs({ "forged", "source", "garbage", "zero", "giant" }) do
    test("by an upstream of the kind " .. kind, function(keep)
      local server = started(keep, "--timeout", "3", dns.server)
      for i = 1, 3 do
        assert.equal("192.0.2.1", addresses(server:ask(kind .. i .. ".test")))
      end
      assert.equal("192.0.2.1", addresses(server:ask(kind .. "1.test")))
      assert.equal(kind ~= "source", server:counters().wrong > 0)
    end)
  end

  test("by somebody who guesses ids: it asks by TCP then", function(keep)
    local address, seen = upstream(keep, function(query, proto, n, send)
      for i = 1, proto == "udp" and 150 or 0 do
        send(pack({ id = (query.id + i) % 65536, qr = true, questions = query.questions,
          answers = { { name = "a.test", type = "A", ttl = 60, address = "6.6.6.6" } } }))
      end
      return proto == "tcp" and counting(60)(query, proto, n) or nil
    end)
    local server = started(keep, "--timeout", "4", address)
    assert.equal("10.0.0.2", addresses(server:ask("a.test")))
    assert.same({ 100, "tcp" }, { server:counters().wrong, seen[2].proto })
  end)

  test("by answers that come after the question's time", function(keep)
    local server = started(keep, "--timeout", "0.2", dns.server)
    assert.equal(2, server:ask("late700.test").rcode)
    grun.sleep(0.8)
    assert.equal("192.0.2.1", addresses(server:ask("ok.test")))
  end)

  test("by what is no question", function(keep)
    local server = started(keep, dns.server)
    local good = question("ok.test")
    local header = good:sub(1, 12)
    local two = pack({ id = 7, questions = { { name = "a.test", type = "A" }, { name = "b.test", type = "A" } } })
    local loop = header .. "\192\12\0\1\0\1"
    local cases = {
      { "", nil }, { "\0", nil }, { good:sub(1, 6), nil }, { good:sub(1, 11), nil },
      { header, 1 }, { good:sub(1, -2), 1 }, { good .. "x", 1 }, { two, 1 }, { loop, 1 },
      { header .. "\192\14\192\12\0\1\0\1", 1 }, { header .. "\64a\0\0\1\0\1", 1 },
      { header .. ("\63" .. ("x"):rep(63)):rep(5) .. "\0\0\1\0\1", 1 },
      { pack({ id = 7, qr = true, questions = { { name = "ok.test", type = "A" } } }), nil },
      { "\0\7\128\0" .. ("\255"):rep(8), nil }, { "\0\7\0\0" .. ("\255"):rep(8), 1 },
      { "\0\7\0\0" .. ("\0"):rep(8), 1 }, { question("ok.test", { opcode = 5 }), 4 },
      { question("ok.test", { edns = { version = 1 } }), 16 }, { question("ok.test", { type = "IXFR" }), 5 },
      { ("\255"):rep(60000), nil }, { "\0\7" .. ("\0"):rep(65000), 1 },
    }
    for i, case in ipairs(cases) do
      local reply = server:exchange({ case[1] }, 1, case[2] and 5 or 0.1)[1]
      assert.equal(case[2], reply and reply.rcode, i)
      assert.is_true(not reply or reply.qr and reply.id == 7, i)
    end
    assert.equal("", dns.asked())
    assert.equal("192.0.2.1", addresses(server:ask("ok.test")))
    assert.equal("", server.child:err())
  end)

  test("by random bytes and questions with bytes changed", function(keep)
    local server = started(keep, dns.server)
    local list, whole = {}, question("ok.test", { edns = { options = { { code = 10, data = "cookie" } } } })
    math.randomseed(4711)
    for i = 1, 3000 do
      local bytes = { (i % 3 == 0 and whole or ("x"):rep(math.random(0, 64))):byte(1, -1) }
      for _ = 1, i % 3 == 0 and math.random(3) or #bytes do
        bytes[math.random(#bytes)] = math.random(0, 255)
      end
      list[i] = string.char(unpack(bytes))
    end
    server:exchange(list, 0)
    assert.equal("192.0.2.1", addresses(server:ask("ok.test")))
    assert.is_true(server:counters().malformed > 1000)
    assert.equal("", server.child:err())
  end)
end)

-- ---- TCP ----

describe("the example dns_cache serves TCP clients", function()
  test("that send several questions at once, in any pieces, as answers come", function(keep)
    local server = started(keep, dns.server)
    local conn = server:connect(keep)
    local text = framed(question("late300.test", { id = 1 })) .. framed(question("ok.test", { id = 2 }))
      .. framed(question("a.nx.test", { id = 3 })) .. framed(question("late300.test", { id = 4 }))
    for i = 1, #text do
      conn:write(text:sub(i, i))
    end
    conn:shutdown("w")
    local order = {}
    for i = 1, 4 do
      order[i] = parse(read_framed(conn)).id
    end
    table.sort(order, function(a, b) return a < b end)
    assert.same({ 1, 2, 3, 4 }, order)
    assert.same({ nil, "closed", "closed" }, { conn:read(1) })
    conn = server:connect(keep)
    conn:write(framed(question("late500.test", { id = 1 })) .. framed(question("ok.test", { id = 2 })))
    assert.equal(2, parse(read_framed(conn)).id)
    assert.equal(1, parse(read_framed(conn)).id)
    conn:write(framed(question("ok.test")))
    assert.equal("192.0.2.1", addresses(parse(read_framed(conn))))
  end)

  test("that send hundreds of them, without waiting for answers", function(keep)
    local server = started(keep, dns.server)
    local conn, ids = server:connect(keep), {}
    helper.spawn(function()
      for i = 1, 500 do
        conn:write(framed(question("ok" .. i % 50 .. ".test", { id = i })))
      end
    end)
    for _ = 1, 500 do
      ids[parse(read_framed(conn)).id] = true
    end
    assert.equal(500, #ids)
    assert.equal(50, #dns.log())
  end)

  test("that say nonsense, or go away, or say nothing", function(keep)
    local server = started(keep, "--idle", "0.3", dns.server)
    for _, bytes in ipairs({ "\0", "\0\0", "\0\1x", "\255\255x", framed(question("silent.test")), "GET / HTTP/1.0" }) do
      local conn = server:connect(keep)
      conn:write(bytes)
      conn:close()
    end
    local conn = server:connect(keep)
    conn:write("\0\0" .. framed(("\0"):rep(12)) .. framed(question("ok.test")))
    assert.equal(1, parse(read_framed(conn)).rcode)
    assert.equal("192.0.2.1", addresses(parse(read_framed(conn))))
    assert.same({ nil, "closed", "closed" }, { conn:read(1) })
    conn = server:connect(keep)
    conn:write("\0")
    assert.same({ nil, "closed", "closed" }, { conn:read(1) })
    assert.equal("", server.child:err())
  end)
end)

-- ---- Redis ----

describe("the example dns_cache with Redis", function()
  local redis, why

  before_each(function()
    redis, why = require("spec.coop.servers").redis()
  end)
  after_each(function()
    if redis then
      redis:stop()
    end
  end)

  local function case(name, fn)
    test(name, function(keep)
      if not redis then
        return pending(why)
      end
      return fn(keep, "127.0.0.1:" .. redis.port)
    end)
  end

  case("keeps answers there, also for the next server", function(keep, address)
    local first = started(keep, "--redis", address, dns.server)
    local text = first:dig("ttl60.test"):match("ttl60%.test%.[^\n]*10%.0%.%d+%.%d+")
    for _, name in ipairs({ "types.test MX", "types.test TXT", "nx.test", "nodata.test" }) do
      first:dig(name)
    end
    dns.log()
    grun.sleep(1.1)
    local second = started(keep, "--redis", address, "127.0.0.1:1")
    local again = second:dig("ttl60.test")
    local ttl = tonumber(again:match("ttl60%.test%.%s+(%d+)"))
    assert.is_true(ttl and ttl < 60 and ttl > 50, again)
    assert.equal(text:match("%S+$"), again:match("IN%s+A%s+(%d%S+)"))
    assert.matches("MX%s+10 mail%.test", second:dig("types.test MX"))
    assert.matches('TXT%s+"hello" " world"', second:dig("types.test TXT"))
    assert.matches("status: NXDOMAIN", second:dig("nx.test"))
    assert.matches("status: NOERROR.*ANSWER: 0,", second:dig("nodata.test"))
    assert.equal("", dns.asked())
    assert.equal(5, second:counters().hits)
    assert.equal("", first.child:err() .. second.child:err())
  end)

  case("answers many at once", function(keep, address)
    local server = started(keep, "--redis", address, dns.server)
    local list = {}
    for i = 1, 200 do
      list[i] = question(("ok%d.ok.test"):format(i % 20))
    end
    local function ask()
      for i, reply in ipairs(server:exchange(list)) do
        assert.equal("192.0.2.1", addresses(reply), i)
      end
      return server:counters()
    end
    local first = ask()
    -- Two may miss the same, and the second hear of that when the first is done.
    assert.is_true(first.sent < 100, first.sent)
    local second = ask()
    assert.same({ first.sent, first.hits + 200, 0 }, { second.sent, second.hits, second.failed })
    assert.equal("", server.child:err())
  end)

  case("asks upstreams while Redis is away", function(keep, address)
    local server = started(keep, "--redis", address, dns.server)
    server:ask("ok.test")
    redis:stop()
    redis = nil
    for _ = 1, 3 do
      assert.equal("192.0.2.1", addresses(server:ask("ok.test")))
    end
    assert.equal(4, server:counters().sent)
    assert.matches("^redis: [^\n]*\n$", server.child:err())
  end)
end)

-- ---- Running it ----

describe("the example dns_cache", function()
  test("stops on ^C, and can be started again on the same port", function(keep)
    local server = started(keep, "--timeout", "20", dns.server)
    server:ask("ok.test")
    local conn = server:connect(keep)
    conn:write(framed(question("ok.test")))
    assert(read_framed(conn))
    server:exchange({ question("silent.test") }, 0)
    server.child:signal("INT")
    assert.equal(130, server.child:wait())
    assert.equal("", server.child:err())
    assert.matches("^listening on [^\n]*\n$", server.child:out())
    local again = keep(start({ dns.server }, server.port))
    assert.equal(server.port, again.port)
    assert.equal("192.0.2.1", addresses(again:ask("ok.test")))
    again.child:signal("TERM")
    assert.equal(0, again.child:wait())
  end)

  test("prints counters every so many seconds, until it is stopped", function(keep)
    local server = started(keep, "--stats", "0.1", dns.server)
    server:ask("ok.test")
    server:ask("ok.test")
    server.child:expect("\n2 queries, 0 malformed, 1 hits, 0 joined, 1 sent, 0 wrong, 0 failed, 0 stale, 0 dropped\n")
    server.child:signal("INT")
    assert.equal(130, server.child:wait())
    assert.equal("", server.child:err())
  end)

  it("says how it is used, and that its port is taken", function()
    for _, args in ipairs({ {}, { "--stats" }, { "--stats", "x", "udp://127.0.0.1:0" }, { "--no", "1" },
      { "--redis", "x", "udp://127.0.0.1:0" } }) do
      local _, err, status = helper.run_child({ EXAMPLE, unpack(args) })
      assert.matches("^usage: ", err)
      assert.equal(2, status)
    end
    local _, err, status = helper.run_child({ EXAMPLE, "udp://127.0.0.1:" .. dns.port, "127.0.0.1:1" })
    assert.matches("in use", err)
    assert.equal(1, status)
  end)
end)
