-- SPDX-License-Identifier: MIT
-- Compressed WebSocket messages (RFC 7692): the agreement, what peers may send, foreign peers.

local ffi = require("ffi")
local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")
local net = require("spec.net_helper")
local permessage = require("grun.http.permessage_deflate")
local websocket = require("spec.websocket_helper")
local zlib = require("grun.core.zlib")

local test = net.test(it, function(fn) finally(fn) end)
local frame, close, read_frame = websocket.frame, websocket.close, websocket.read_frame
local echo, dial, eventually = websocket.echo, websocket.dial, websocket.eventually

-- ---- Helpers ----

-- A connection that has become a WebSocket by hand, and what the server said to the offer.
local function raw(keep, port, offer)
  local conn, res = websocket.raw(keep, port, { ["Sec-WebSocket-Extensions"] = offer })
  return conn, res.headers["sec-websocket-extensions"]
end

-- What a message is on the wire.
local function squeeze(data, level)
  local bytes = zlib.deflate(level or 6, "raw"):push(data, "flush")
  assert(bytes:sub(-4) == "\0\0\255\255")
  return bytes:sub(1, -5)
end

local function unsqueeze(inflate, data)
  return inflate:push(data .. "\0\0\255\255")
end

ffi.cdef("struct memory { size_t n[10]; }; struct memory mallinfo2(void);")

-- Bytes that the C library's allocator has given out.
local function allocated()
  collectgarbage()
  collectgarbage()
  local info = ffi.C.mallinfo2()
  return tonumber(info.n[4] + info.n[7])
end

local prose = ("a message like many others, grüße; "):rep(100)

-- ---- The agreement ----

describe("a server", function()
  local P = "permessage-deflate"
  local offers = { -- the server's options, an offer, the answer
    { nil, P, nil },
    { false, P, nil },
    { true, nil, nil },
    { true, P, P },
    { true, "  " .. P .. "  ", P },
    { true, ",, " .. P .. " ,", P },
    { true, "x-other", nil },
    { true, "x-other; a=\"b\"; c=d , " .. P, P },
    { true, P .. "2", nil },
    { true, "Permessage-Deflate", nil },
    { true, P .. "; client_max_window_bits", P },
    { true, P .. "; client_max_window_bits=15", P },
    { true, P .. ";client_max_window_bits=10", P .. "; client_max_window_bits=10" },
    { true, P .. ";client_max_window_bits=8", P .. "; client_max_window_bits=8" },
    { true, P .. "; server_max_window_bits=12", P .. "; server_max_window_bits=12" },
    { true, P .. "; server_max_window_bits=\"12\"", P .. "; server_max_window_bits=12" },
    { true, P .. "; server_max_window_bits = 9", P .. "; server_max_window_bits=9" },
    { true, P .. "; server_no_context_takeover", P .. "; server_no_context_takeover" },
    { true, P .. "; client_no_context_takeover", P .. "; client_no_context_takeover" },
    { { client_no_context_takeover = true, server_no_context_takeover = true }, P,
      P .. "; server_no_context_takeover; client_no_context_takeover" },
    { { server_max_window_bits = 10 }, P .. "; server_max_window_bits=12",
      P .. "; server_max_window_bits=10" },
    { { server_max_window_bits = 12 }, P .. "; server_max_window_bits=10",
      P .. "; server_max_window_bits=10" },
    { { server_max_window_bits = 12 }, P, P .. "; server_max_window_bits=12" },
    { { client_max_window_bits = 12 }, P, P },
    { { client_max_window_bits = 12 }, P .. "; client_max_window_bits",
      P .. "; client_max_window_bits=12" },
    -- declined
    { true, P .. "; nonsense", nil },
    { true, P .. "; server_no_context_takeover=1", nil },
    { true, P .. "; client_no_context_takeover=\"\"", nil },
    { true, P .. "; server_max_window_bits", nil },
    { true, P .. "; server_max_window_bits=7", nil },
    { true, P .. "; server_max_window_bits=8", nil },
    { true, P .. "; server_max_window_bits=16", nil },
    { true, P .. "; server_max_window_bits=09", nil },
    { true, P .. "; server_max_window_bits=-9", nil },
    { true, P .. "; server_max_window_bits=1e1", nil },
    { true, P .. "; client_max_window_bits=0", nil },
    { true, P .. "; client_max_window_bits=115", nil },
    { true, P .. "; client_max_window_bits=", nil },
    { true, P .. "; client_max_window_bits=10; client_max_window_bits=10", nil },
    { true, P .. "; server_no_context_takeover; server_no_context_takeover", nil },
    { true, P .. ";", nil },
    { true, P .. "; =1", nil },
    { true, P .. " server_no_context_takeover", nil },
    { true, P .. "; a=\"", nil },
    { true, "x-other; a=\"b,c\" , " .. P, nil }, -- a value has to be a token (RFC 6455 section 9.1)
    { true, "@, " .. P, nil },
    -- the next one is taken
    { true, P .. "; server_max_window_bits=8, " .. P, P },
    { true, P .. "; nonsense, " .. P .. "; server_max_window_bits=10",
      P .. "; server_max_window_bits=10" },
  }
  for i, case in ipairs(offers) do
    it(("answers offer %d, %s, with %s"):format(i, tostring(case[2]), tostring(case[3])), function()
      local answer, deflate = permessage.accept(permessage.check(case[1]), case[2])
      assert.equal(case[3], answer)
      assert.equal(case[3] ~= nil, deflate ~= nil)
    end)
  end

  test("sends the answer, also to several fields", function(keep)
    local port, ends = echo(keep, { deflate = { server_max_window_bits = 11 } })
    local conn = keep(assert(grun.connect("tcp://127.0.0.1:" .. port)))
    conn:write((websocket.request():gsub("\r\n\r\n$", "\r\nSec-WebSocket-Extensions: x-other\r\n" ..
      "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n")))
    assert.equal("permessage-deflate; client_no_context_takeover; server_max_window_bits=11",
      (http.response(conn).headers["sec-websocket-extensions"]:gsub("(; server[^;]*)(; client.*)", "%2%1")))
    eventually(function() return ends.open[1] end)
    assert.same({ client_no_context_takeover = true, server_no_context_takeover = false,
      client_max_window_bits = 15, server_max_window_bits = 11, level = 6, threshold = 64 },
      ends.open[1].deflate)
  end)

  test("has none by default", function(keep)
    local port, ends = echo(keep)
    local conn, answer = raw(keep, port, "permessage-deflate")
    assert.is_nil(answer)
    eventually(function() return ends.open[1] end)
    assert.is_nil(ends.open[1].deflate)
    conn:write(frame(1, squeeze("x"), { rsv = 4 }))
    local opcode, payload = read_frame(conn)
    assert.same({ 8, "\3\234" }, { opcode, payload:sub(1, 2) })
  end)

  test("raises for bad options", function(keep)
    local bad = {
      { 1, "option 'deflate': boolean or table expected, got number" },
      { { lvel = 1 }, "option 'deflate': unknown option 'lvel'" },
      { { level = 10 }, "option 'deflate.level': integer from 0 to 9 expected" },
      { { server_max_window_bits = 8 },
        "option 'deflate.server_max_window_bits': integer from 9 to 15 expected" },
      { { client_max_window_bits = 9.5 },
        "option 'deflate.client_max_window_bits': integer from 9 to 15 expected" },
      { { client_no_context_takeover = 1 },
        "option 'deflate.client_no_context_takeover': boolean expected" },
    }
    for _, case in ipairs(bad) do
      helper.misuse(function() local _ = grun.http.websocket("ws://x", { deflate = case[1] }) end,
        "websocket: " .. case[2])
    end
    local err
    local server = assert(grun.server("http://127.0.0.1:0", function(req)
      err = select(2, pcall(function() local _ = req:websocket({ deflate = 1 }) end))
    end))
    keep({ close = function() server:stop(0) end })
    http.request(tonumber(server:address():match("%d+$")), "GET", "/")
    assert.matches("websocket_deflate_spec.lua:%d+: websocket: option 'deflate': boolean or", err)
  end)
end)

describe("a client", function()
  local P = "permessage-deflate"
  it("offers what it was told to", function()
    local offers = {
      { true, "; client_max_window_bits" },
      { { client_max_window_bits = 10 }, "; client_max_window_bits=10" },
      { { server_max_window_bits = 10 }, "; server_max_window_bits=10; client_max_window_bits" },
      { { server_no_context_takeover = true, client_no_context_takeover = true },
        "; server_no_context_takeover; client_no_context_takeover; client_max_window_bits" },
    }
    for _, case in ipairs(offers) do
      assert.equal(P .. case[2], permessage.offer(permessage.check(case[1])))
    end
  end)

  local answers = { -- its options, an answer, part of what it makes of that
    { true, nil, nil },
    { true, P, { server_max_window_bits = 15, client_max_window_bits = 15 } },
    { true, P .. "; server_max_window_bits=8", { server_max_window_bits = 8 } },
    { true, P .. "; client_max_window_bits=9", { client_max_window_bits = 9 } },
    { true, P .. "; server_no_context_takeover", { server_no_context_takeover = true } },
    { true, P .. "; client_no_context_takeover", { client_no_context_takeover = true } },
    { { client_no_context_takeover = true }, P, { client_no_context_takeover = true } },
    { { client_max_window_bits = 10 }, P, { client_max_window_bits = 10 } },
    { { server_max_window_bits = 10 }, P .. "; server_max_window_bits=9",
      { server_max_window_bits = 9 } },
    { { server_max_window_bits = 10 }, P .. "; server_max_window_bits=11", false },
    { { server_max_window_bits = 10 }, P, false },
    { { client_max_window_bits = 10 }, P .. "; client_max_window_bits=11", false },
    { { server_no_context_takeover = true }, P, false },
    { true, P .. "; client_max_window_bits=8", false },
    { true, P .. "; client_max_window_bits", false },
    { true, P .. "; server_max_window_bits", false },
    { true, P .. "; server_max_window_bits=16", false },
    { true, P .. "; nonsense", false },
    { true, P .. "; server_no_context_takeover; server_no_context_takeover", false },
    { true, P .. ", " .. P, false },
    { true, P .. ", x-other", false },
    { true, "x-other", false },
    { true, "", false },
    { true, ";", false },
  }
  for i, case in ipairs(answers) do
    it(("takes answer %d, %s, or fails"):format(i, tostring(case[2])), function()
      local deflate = permessage.confirm(permessage.check(case[1]), case[2])
      if not case[3] then
        return assert.equal(case[3], deflate)
      end
      for name, value in pairs(case[3]) do
        assert.equal(value, deflate[name])
      end
    end)
  end

  test("fails when the server uses it in another way", function(keep)
    local port = websocket.raw_server(keep, function(conn) conn:close() end, { P, "x-other" })
    local url = websocket.url(port)
    assert.same({ nil, "the server uses extensions in a way that was not asked for", "protocol" },
      { grun.http.websocket(url, { deflate = true }) })
    assert.same({ nil, "the server uses an extension that was not asked for", "protocol" },
      { grun.http.websocket(url) })
  end)

  test("does without when the server wants none", function(keep)
    local ws = dial(keep, (echo(keep)), { deflate = true })
    assert.is_nil(ws.deflate)
    ws:send(prose)
    assert.equal(prose, (ws:recv()))
  end)
end)

-- ---- Messages ----

describe("a server with compression answers", function()
  local full = zlib.deflate(6, "raw"):push("final", "finish")
  local packed = squeeze("grüße")
  local bomb = squeeze(("\0"):rep(5000000))
  local noise = net.noise(10000)
  local C = { rsv = 4 }
  local first, plain_first = { rsv = 4, fin = false }, { fin = false }
  local cases = { -- what is sent, messages that come back, close code
    { "a compressed text", frame(1, packed, C), { "grüße" } },
    { "an uncompressed text", frame(1, "plain"), { "plain" } },
    { "both by turns", frame(1, "a") .. frame(1, packed, C) .. frame(1, "b"), { "a", "grüße", "b" } },
    { "an empty text", frame(1, "\0", C), { "" } },
    { "an empty text without any byte", frame(1, "", C) .. frame(1, packed, C), { "", "grüße" } },
    { "stored blocks", frame(2, squeeze(noise, 0), C), { noise } },
    { "RFC 7692's Hello", frame(1, "\242\72\205\201\201\7\0", C), { "Hello" } },
    { "RFC 7692's second Hello",
      frame(1, "\242\72\205\201\201\7\0", C) .. frame(1, "\242\0\17\0\0", C), { "Hello", "Hello" } },
    { "RFC 7692's stored block", frame(1, "\0\5\0\250\255Hello\0", C), { "Hello" } },
    { "RFC 7692's two blocks", frame(1, "\242\72\5\0\0\0\255\255\202\201\201\7\0", C), { "Hello" } },
    { "a final block", frame(1, full .. "\0", C) .. frame(1, packed, C), { "final", "grüße" } },
    { "fragments", frame(1, packed:sub(1, 3), first) .. frame(0, packed:sub(4)), { "grüße" } },
    { "an empty first fragment", frame(1, "", first) .. frame(0, packed), { "grüße" } },
    { "an empty last fragment", frame(1, packed, first) .. frame(0, ""), { "grüße" } },
    { "empty fragments only", frame(1, "", first) .. frame(0, ""), { "" } },
    { "a ping between fragments",
      frame(1, packed:sub(1, 3), first) .. frame(9, "p") .. frame(0, packed:sub(4)), { "grüße" }, nil, "p" },
    { "a message at the limit", frame(2, squeeze(("m"):rep(100000)), C), { ("m"):rep(100000) } },
    { "what is longer compressed, at the limit", frame(2, squeeze(net.noise(100000), 0), C),
      { net.noise(100000) } },
    -- violations
    { "a bit in a continuation", frame(1, packed:sub(1, 3), first) .. frame(0, packed:sub(4), C), {}, 1002 },
    { "the bit only in a continuation", frame(1, "a", plain_first) .. frame(0, packed, C), {}, 1002 },
    { "a compressed ping", frame(9, packed, C), {}, 1002 },
    { "a compressed pong", frame(10, packed, C), {}, 1002 },
    { "a compressed close", frame(8, squeeze("\3\232"), C), {}, 1002 },
    { "reserved bit 2", frame(1, packed, { rsv = 6 }), {}, 1002 },
    { "reserved bit 3", frame(1, packed, { rsv = 5 }), {}, 1002 },
    { "a compressed message inside another", frame(1, packed, first) .. frame(1, packed, C), {}, 1002 },
    { "nonsense", frame(1, "\255\255\255\255", C), {}, 1007 },
    { "a reference to before the beginning", frame(1, "\242\0\17\0\0", C), {}, 1007 },
    { "half a message", frame(2, squeeze(noise, 0):sub(1, 5000), C), {}, 1007 },
    { "a message cut in a block", frame(1, squeeze(prose):sub(1, 30), C), {}, 1007 },
    { "text that is not UTF-8", frame(1, squeeze("a\255b"), C), {}, 1007 },
    { "half a character at the end", frame(1, squeeze("a\195"), C), {}, 1007 },
    { "half a character at the end of many", frame(1, squeeze(("ü"):rep(20000) .. "\195"), C), {}, 1007 },
    { "binary that is not UTF-8", frame(2, squeeze("a\255b"), C), { "a\255b" } },
    { "a message over the limit", frame(2, squeeze(("m"):rep(100001)), C), {}, 1009 },
    { "a bomb", frame(2, bomb, C), {}, 1009 },
    { "the beginning of a bomb", frame(2, bomb:sub(1, 1000), first), {}, 1009 },
    { "a bomb in fragments", frame(2, "", first) .. frame(0, bomb), {}, 1009 },
    { "an uncompressed message over the limit", frame(2, ("m"):rep(100001)), {}, 1009 },
  }

  local function try(keep, port, case, pieces)
    local conn = raw(keep, port, "permessage-deflate")
    websocket.write_pieces(conn, pieces)
    local inflate = zlib.inflate("raw")
    if case[5] then
      assert.same({ 10, case[5] }, { read_frame(conn) })
    end
    for _, expected in ipairs(case[3]) do
      local opcode, payload = read_frame(conn)
      local data = opcode >= 64 and unsqueeze(inflate, payload) or payload
      assert.equal(#expected >= 64, opcode >= 64)
      assert.is_true(net.same(expected, data))
    end
    if not case[4] then
      conn:write(close(1000))
    end
    local opcode, payload = read_frame(conn)
    assert.equal(8, opcode)
    assert.equal(case[4] or 1000, websocket.code_of(payload))
    conn:shutdown("w")
    assert.is_nil(conn:read(1))
    conn:close()
    inflate:close()
  end

  for _, case in ipairs(cases) do
    for _, takeover in ipairs({ true, false }) do
      if takeover or not case[1]:find("second Hello") then
        test(("%s%s%s"):format(case[1], case[4] and " with " .. case[4] or "",
          takeover and "" or ", without context"), function(keep)
          local port, ends = echo(keep, { max_message = 100000,
            deflate = { client_no_context_takeover = not takeover } })
          try(keep, port, case, { case[2] })
          eventually(function() return ends[1] end)
          assert.equal(websocket.BLAME[case[4]] or "closed", ends[1][2])
        end)
      end
    end
  end

  test("short ones the same when they come byte by byte", function(keep)
    local port = echo(keep, { max_message = 100000, deflate = true })
    for _, case in ipairs(cases) do
      if #case[2] < 60 then
        try(keep, port, case, websocket.bytes_of(case[2]))
      end
    end
  end)

  test("a bomb without taking its memory", function(keep)
    local port, ends = echo(keep, { max_message = 100000, deflate = true })
    local bytes = frame(2, squeeze(("\0"):rep(2 ^ 27)), { rsv = 4 })
    local function resident()
      return tonumber(helper.contents("/proc/self/status"):match("VmHWM:%s*(%d+)"))
    end
    local before = resident()
    local conn = raw(keep, port, "permessage-deflate")
    conn:write(bytes)
    local opcode = read_frame(conn)
    assert.equal(8, opcode)
    eventually(function() return ends[1] end)
    assert.equal("message too large", ends[1][1])
    assert.is_true(resident() < before + 8192, "KiB more: " .. resident() - before)
  end)
end)

describe("a websocket with compression", function()
  local settings = {
    { true, true },
    { { server_no_context_takeover = true }, true },
    { { client_no_context_takeover = true, level = 1 }, true },
    { { server_no_context_takeover = true, client_no_context_takeover = true, threshold = 0 }, true },
    { { server_max_window_bits = 9, client_max_window_bits = 9 }, { threshold = 0 } },
    { true, { server_max_window_bits = 10, client_max_window_bits = 12, level = 9 } },
    { { level = 0 }, { level = 0, threshold = 0 } },
  }
  for i, case in ipairs(settings) do
    test("carries messages of all sizes both ways, setting " .. i, function(keep)
      local port, ends = echo(keep, { deflate = case[1], max_message = 10 ^ 7 })
      local ws = dial(keep, port, { deflate = case[2], max_message = 10 ^ 7 })
      eventually(function() return ends.open[1] end)
      for name, value in pairs(ws.deflate) do
        if name ~= "level" and name ~= "threshold" then
          assert.equal(value, ends.open[1].deflate[name], name)
        end
      end
      local sizes = { 0, 1, 63, 64, 65, 1000, 4096, 16384, 32768, 65536, 300001 }
      for n = 0, 200, 7 do
        sizes[#sizes + 1] = n
      end
      for _, n in ipairs(sizes) do
        for _, data in ipairs({ net.noise(n), ("abcdefgh"):rep(math.ceil(n / 8)):sub(1, n) }) do
          local sender = helper.spawn(function() assert(ws:send(data, "binary")) end)
          assert.is_true(net.same(data, (assert(ws:recv(30)))))
          sender:join()
        end
      end
      assert.is_true(ws:close())
    end)
  end

  -- Frames of the server for each message that it echoes.
  local function frames_for(keep, opts, messages, offer)
    local conn = raw(keep, (echo(keep, { deflate = opts })), offer or "permessage-deflate")
    local frames = {}
    for i, message in ipairs(messages) do
      conn:write(frame(1, message))
      frames[i] = { read_frame(conn) }
    end
    return frames
  end

  test("compresses messages from the threshold on", function(keep)
    local short = ("x"):rep(99)
    local frames = frames_for(keep, { threshold = 100 }, { "", short, short .. "x" })
    assert.same({ { 1, "" }, { 1, short } }, { frames[1], frames[2] })
    assert.equal(65, frames[3][1])
    assert.is_true(#frames[3][2] < 20)
    frames = frames_for(keep, { threshold = 0 }, { "", "x" })
    assert.same({ 1, 65 }, { frames[1][1], frames[2][1] })
  end)

  test("refers to earlier messages, or does not", function(keep)
    local unlike = net.noise(300):gsub("[\128-\255]", "x")
    local frames = frames_for(keep, true, { unlike, unlike })
    assert.is_true(#frames[2][2] < #frames[1][2] / 4)
    frames = frames_for(keep, true, { unlike, unlike }, "permessage-deflate; server_no_context_takeover")
    assert.equal(frames[1][2], frames[2][2])
    frames = frames_for(keep, { server_no_context_takeover = true }, { unlike, unlike })
    assert.equal(frames[1][2], frames[2][2])
  end)

  test("keeps to the window that the client asks for", function(keep)
    local unlike = net.noise(2000):gsub("[\128-\255]", "x")
    local offer = "permessage-deflate; server_max_window_bits=9"
    local frames = frames_for(keep, true, { unlike .. unlike }, offer)
    local large = frames_for(keep, true, { unlike .. unlike })
    assert.is_true(#large[1][2] < #frames[1][2] * 0.7)
  end)

  test("keeps its context when a sender is cancelled before its turn or in its message", function(keep)
    local port = echo(keep, { deflate = true, max_message = 10 ^ 8 })
    local ws = dial(keep, port, { deflate = true, max_message = 10 ^ 8 })
    local big = net.noise(8000000)
    local first = net.parked(function() return ws:send(big, "binary") end)
    local second = net.parked(function() return ws:send(prose) end)
    second:cancel()
    second:join()
    assert.is_true(net.same(big, (assert(ws:recv(30)))))
    assert.is_true((first:get()))
    for _ = 1, 3 do
      assert.is_true(ws:send(prose))
      assert.equal(prose, (ws:recv(10)))
    end
  end)

  test("forgets a message of which nothing could be sent", function(keep)
    local there
    local over, path = grun.event(), net.unix_path()
    local server = assert(grun.server("http://unix:" .. path, function(req)
      there = assert(req:websocket({ deflate = { level = 1 }, write_timeout = 0.05 }))
      over:wait()
    end))
    keep({ close = function() over:set() server:stop(0) end })
    local conn = keep(assert(grun.connect("unix:" .. path)))
    conn:settimeout(10)
    conn:write(websocket.request({ ["Sec-WebSocket-Extensions"] = "permessage-deflate" }))
    assert.equal(101, http.response(conn).status)
    eventually(function() return there end)
    -- A socket of this kind takes short messages as a whole or not at all.
    local noise, sent = net.noise(1000000), 0
    local function message(i)
      return noise:sub(i * 300 % 900000 + 1, i * 300 % 900000 + 300)
    end
    while sent < 100000 and there:send(message(sent), "binary") do
      sent = sent + 1
    end
    assert.is_true(sent < 100000)
    assert.is_false(there:closed())
    local inflate = zlib.inflate("raw")
    local function expect(data)
      local opcode, payload = read_frame(conn)
      assert.equal(66, opcode)
      assert.is_true(net.same(data, (assert(unsqueeze(inflate, payload)))))
    end
    for i = 0, sent - 1 do
      expect(message(i))
    end
    assert(there:send(message(sent), "binary"))
    expect(message(sent))
    inflate:close()
  end)

  test("never mixes messages of several threads", function(keep)
    local ws = dial(keep, (echo(keep, { deflate = true })), { deflate = true })
    websocket.check_order(function(...) return ws:send(...) end, function(...) return ws:recv(...) end)
  end)

  test("holds no memory between messages without context", function(keep)
    local large = net.noise(100000)
    -- Bytes that each of 20 pairs has allocated.
    local function held(deflate)
      local port = echo(keep, { deflate = deflate })
      local list, before = {}, allocated()
      for i = 1, 20 do
        list[i] = dial(keep, port, { deflate = deflate })
        list[i]:send(large, "binary")
        assert.is_true(net.same(large, (list[i]:recv(10))))
      end
      local bytes = (allocated() - before) / #list
      for _, ws in ipairs(list) do
        ws:close()
      end
      return bytes
    end
    if allocated() == 0 then
      return pending("this allocator does not tell")
    end
    local plain = held(nil)
    local none = held({ server_no_context_takeover = true, client_no_context_takeover = true })
    local all = held(true)
    local small = held({ server_max_window_bits = 9, client_max_window_bits = 9 })
    assert.is_true(none < plain + 30000, none - plain .. " bytes more")
    assert.is_true(all > plain + 590000 and all < plain + 650000, all - plain .. " bytes more")
    assert.is_true(small > plain + 30000 and small < plain + 60000, small - plain .. " bytes more")
  end)

  test("goes on after a timeout in a message", function(keep)
    local port, next_one = websocket.waiting(keep, { deflate = { client_no_context_takeover = true } })
    local one = raw(keep, port, "permessage-deflate")
    local a = next_one()
    local two = raw(keep, port, "permessage-deflate")
    local there = next_one()
    -- The streams of two messages under way are not the same one.
    local packed = squeeze(prose)
    one:write(frame(1, packed:sub(1, 40), { rsv = 4, fin = false }))
    assert.equal("timeout", select(3, a:recv(0.05)))
    two:write(frame(1, squeeze("other"), { rsv = 4 }))
    assert.equal("other", (there:recv(10)))
    one:write(frame(0, packed:sub(41)))
    assert.equal(prose, (a:recv(10)))
    two:write(frame(1, packed, { rsv = 4 }))
    assert.equal(prose, (there:recv(10)))
  end)
end)

-- ---- Foreign peers ----

local foreign = websocket.foreign(it, test)

describe("with python3-websockets", function()
  local settings = { -- our option, its options
    { true, "{}" },
    { true, '{"server_no_context_takeover": true, "client_no_context_takeover": true}' },
    { { server_no_context_takeover = true, client_no_context_takeover = true, threshold = 0 }, "{}" },
    { { server_max_window_bits = 10, threshold = 0 },
      '{"server_max_window_bits": 12, "client_max_window_bits": 11}' },
  }
  for i, case in ipairs(settings) do
    foreign("our server gets on with its client, setting " .. i, function(keep)
      local deflate = websocket.visit_by_python(keep, case[2], case[1])
      assert.is_table(deflate)
      assert.equal(i == 2 or i == 3, deflate.server_no_context_takeover)
      assert.equal(i == 4 and 10 or 15, deflate.server_max_window_bits)
      assert.equal(i == 4 and 11 or 15, deflate.client_max_window_bits)
    end)

    foreign("our client gets on with its server, setting " .. i, function(keep)
      websocket.with_python_server(case[2], function(port)
        local ws = dial(keep, port, { protocols = { "echo" }, deflate = case[1] })
        assert.is_table(ws.deflate)
        for _, data in ipairs({ "", "grüße", "", "", prose, prose, ("x"):rep(300000), "grüße" }) do
          assert(ws:send(data))
          assert.is_true(net.same(data, (assert(ws:recv(10)))))
        end
        local noise = net.noise(100000)
        assert(ws:send(noise, "binary"))
        assert.is_true(net.same(noise, (assert(ws:recv(10)))))
        assert.is_true(ws:close(4000, "done"))
      end)
    end)
  end
end)
