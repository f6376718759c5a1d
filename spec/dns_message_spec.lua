-- SPDX-License-Identifier: MIT
-- grun.dns.message: what is parsed can be packed again, whatever it holds.

local grun = require("grun")
local helper = require("spec.helper")

local parse, pack = grun.dns.message.parse, grun.dns.message.pack

local RECORDS = {
  { type = "A", address = "192.0.2.1" },
  { type = "AAAA", address = "2001:db8::1" },
  { type = "NS", target = "ns.example.org" },
  { type = "CNAME", target = "a\\.b.example.org" },
  { type = "PTR", target = "." },
  { type = "MX", preference = 10, exchange = "mail.example.org" },
  { type = "SRV", priority = 1, weight = 2, port = 65535, target = "srv.example.org" },
  { type = "SOA", mname = "ns.example.org", rname = "root.example.org", serial = 4294967295, refresh = 1,
    retry = 2, expire = 3, minimum = 4 },
  { type = "TXT", strings = { "one", "", ("x"):rep(255) }, text = "one" .. ("x"):rep(255) },
  { type = "CAA", flags = 128, tag = "issue", value = "ca.example.org; x=y" },
  { type = "NAPTR", order = 1, preference = 2, flags = "u", services = "E2U+sip", regexp = "!^.*$!sip:a@b!",
    replacement = "." },
  { type = "HINFO", cpu = "Z80", os = "CP/M" },
  { type = "DNSKEY", data = "\1\0\3\8key" },
  { type = "TYPE65", data = "\0\1\0\0\1\0\3\2h2" },
  { type = "TYPE65280", data = "" },
  { type = "A", class = "CH", data = "raw" },
  { type = "A", class = "ANY", data = "" },
  { type = "TXT", class = "CH", strings = { "version" }, text = "version" },
  { type = "A", class = 4097, data = "\1" },
}

-- The list of records with all that parse adds.
local function records(ttl)
  local list = {}
  for i, record in ipairs(RECORDS) do
    list[i] = { name = i % 2 == 0 and "www.example.org" or "EXAMPLE.org", ttl = ttl, class = "IN" }
    for key, value in pairs(record) do
      list[i][key] = value
    end
  end
  return list
end

local function message(ttl)
  return {
    id = 4711, qr = true, aa = true, tc = false, rd = true, ra = false, z = false, ad = true, cd = false,
    opcode = 4, rcode = 2313,
    questions = { { name = "www.example.org", type = "A", class = "IN" },
      { name = ".", type = "ANY", class = "ANY" } },
    answers = records(ttl), authorities = records(0), additionals = records(4294967295),
    edns = { udp_size = 1232, version = 0, dnssec_ok = true, flags = 5,
      options = { { code = 10, data = "cookie\0" }, { code = 65535, data = "" } } },
  }
end

describe("a message", function()
  it("comes back as it was packed", function()
    assert.same(message(60), parse(pack(message(60))))
  end)

  it("can have its times to live changed and be packed again", function()
    local m = parse(pack(message(60)))
    for _, record in ipairs(m.answers) do
      record.ttl = 7
    end
    assert.same(message(7), parse(pack(m)))
  end)

  it("may be almost empty", function()
    assert.equal(("\0"):rep(12), pack({}))
    local m = parse(pack({ id = 1 }))
    assert.same({ {}, {}, {}, {} }, { m.questions, m.answers, m.authorities, m.additionals })
    assert.is_nil(m.edns)
    assert.equal(23, #pack({ edns = {} }))
  end)

  it("has text in pieces of 255 bytes where there is no list of strings", function()
    local m = parse(pack({ answers = { { name = "a", type = "TXT", ttl = 1, text = ("x"):rep(256) } } }))
    assert.same({ ("x"):rep(255), "x" }, m.answers[1].strings)
    m = parse(pack({ answers = { { name = "a", type = 16, ttl = 1, text = "" } } }))
    assert.same({ "" }, m.answers[1].strings)
  end)

  it("has names inside its data without pointers", function()
    local bytes = pack({ questions = { { name = "example.org", type = "MX" } },
      answers = { { name = "example.org", type = "MX", ttl = 1, preference = 1, exchange = "mx.example.org" } } })
    assert.equal(12 + 17 + 2 + 10 + 2 + 5, #bytes)
    assert.equal("mx.example.org", parse(bytes).answers[1].exchange)
    assert.is_truthy(bytes:find("\2mx\192\12", 1, true))
  end)

  it("loses whole records to a maximum size, and says so", function()
    local m = { qr = true, questions = { { name = "a.test", type = "A" } }, answers = {}, edns = { udp_size = 512 } }
    for i = 1, 100 do
      m.answers[i] = { name = "a.test", type = "A", ttl = 60, address = "10.0.0." .. i }
    end
    local bytes = pack(m, { max = 512 })
    local got = parse(bytes)
    assert.is_true(#bytes <= 512 and #bytes > 490)
    assert.is_true(got.tc)
    assert.equal("10.0.0." .. #got.answers, got.answers[#got.answers].address)
    assert.equal(512, got.edns.udp_size)
    assert.is_false(parse(pack(m)).tc)
    m.additionals, m.answers = m.answers, {}
    got = parse(pack(m, { max = 512 }))
    assert.is_false(got.tc)
    assert.is_true(#got.additionals > 20)
    assert.same({ nil, "too large", "too_large" }, { pack(m, { max = 20 }) })
  end)

  it("that is malformed is told apart", function()
    local bytes = pack(message(60))
    for n = 0, #bytes - 1, 7 do
      assert.same({ nil, "malformed message", "protocol" }, { parse(bytes:sub(1, n)) })
    end
    assert.same({ nil, "malformed message", "protocol" }, { parse(bytes .. "x") })
    local opt = "\0\0\41\4\208\0\0\0\0\0\0"
    local two = ("\0"):rep(11) .. "\2" .. opt .. opt
    assert.same({ nil, "malformed message", "protocol" }, { parse(two) })
  end)

  it("is checked when it is packed", function()
    local function answer(fields)
      return { answers = { { name = "a", type = "A", ttl = 1, address = "1.2.3.4" }, fields } }
    end
    local cases = {
      [{ id = 65536 }] = "id: integer from 0 to 65535 expected, got number",
      [{ id = 1.5 }] = "id: integer from 0 to 65535 expected, got number",
      [{ qr = 1 }] = "qr: boolean expected, got number",
      [{ opcode = 16 }] = "opcode: integer from 0 to 15 expected, got number",
      [{ rcode = 16 }] = "rcode: above 15 needs edns, above 4095 there is none",
      [{ questions = 1 }] = "questions: table expected, got number",
      [{ questions = { 1 } }] = "questions[1]: table expected, got number",
      [{ questions = { { name = "a" } } }] = "questions[1].type: record type expected, got nil",
      [{ questions = { { name = "a", type = "A", class = "X" } } }] = "questions[1].class: class expected, got string",
      [answer({ type = "A", name = "a", ttl = 1 })] = "answers[2].address: string expected, got nil",
      [answer({ type = "A", name = "a", ttl = 1, address = "1.2.3" })] =
        "answers[2].address: IPv4 address expected, got string",
      [answer({ type = "A", name = "a..b", ttl = 1 })] = "answers[2].name: domain name expected, got string",
      [answer({ type = "A", name = "a", ttl = -1 })] =
        "answers[2].ttl: integer from 0 to 4294967295 expected, got number",
      [answer({ type = "A", name = "a" })] = "answers[2].ttl: integer from 0 to 4294967295 expected, got nil",
      [answer({ type = "TYPE65", name = "a", ttl = 1 })] = "answers[2].data: string expected, got nil",
      [answer({ type = "TXT", name = "a", ttl = 1, strings = { ("x"):rep(256) } })] =
        "answers[2].strings: list of strings of at most 255 bytes expected, got string",
      [answer({ type = "CAA", name = "a", ttl = 1, flags = 256, tag = "", value = "" })] =
        "answers[2].flags: integer from 0 to 255 expected, got number",
      [{ edns = { options = { { code = 1 } } } }] = "edns.options[1].data: string expected, got nil",
      [{ edns = { udp_size = "x" } }] = "edns.udp_size: integer from 0 to 65535 expected, got string",
    }
    for bad, expected in pairs(cases) do
      local ok, err = pcall(function() local _ = pack(bad) end)
      assert.is_false(ok)
      assert.equal("bad argument #1 to 'pack' (" .. expected .. ")", (err:gsub("^[^ ]+: ", "", 1)))
    end
    helper.misuse(function() pack() end, "bad argument #1 to 'pack' (table expected, got no value)")
    helper.misuse(function() pack({}, { max = 5 }) end,
      "bad argument #2 to 'pack' (max must be a number from 12 to 65535)")
    helper.misuse(function() parse() end, "bad argument #1 to 'parse' (string expected, got no value)")
  end)

  it("of random bytes never does harm", function()
    math.randomseed(7)
    local bytes = pack(message(60))
    for _ = 1, 3000 do
      local at = math.random(#bytes)
      local changed = bytes:sub(1, at - 1) .. string.char(math.random(0, 255)) .. bytes:sub(at + 1)
      local m = parse(changed)
      if m then
        assert.same(m, parse(assert(pack(m))))
      end
    end
  end)
end)
