-- SPDX-License-Identifier: MIT
-- What peers of a WebSocket may send, and what has to come back from an echo whose messages have at
-- most 100000 bytes. Among them is what the Autobahn test suite tries.

local websocket = require("spec.websocket_helper")

local long = ("x"):rep(70000)

-- Masked or not: a list of a name; bytes; what comes back, a list of { opcode, payload }; the close
-- code that comes last, if any.
return function(mask)
  local function frame(opcode, data, opts)
    opts = opts or {}
    if opts.mask == nil then
      opts.mask = mask
    end
    return websocket.frame(opcode, data, opts)
  end

  local function text(data, opts)
    return frame(1, data, opts)
  end

  local function close(code, reason)
    return frame(8, string.char(math.floor(code / 256), code % 256) .. (reason or ""))
  end

  local cases = {
    -- messages
    { "an empty text", text(""), { { 1, "" } } },
    { "125 bytes", text(("a"):rep(125)), { { 1, ("a"):rep(125) } } },
    { "126 bytes", text(("a"):rep(126)), { { 1, ("a"):rep(126) } } },
    { "65535 bytes", frame(2, long:sub(1, 65535)), { { 2, long:sub(1, 65535) } } },
    { "65536 bytes", frame(2, long:sub(1, 65536)), { { 2, long:sub(1, 65536) } } },
    { "any byte in binary", frame(2, "\0\255\128"), { { 2, "\0\255\128" } } },
    { "two messages in one piece", text("a") .. text("b"), { { 1, "a" }, { 1, "b" } } },
    -- pings
    { "a ping", frame(9, "hi"), { { 10, "hi" } } },
    { "an empty ping", frame(9), { { 10, "" } } },
    { "a ping of 125 bytes", frame(9, ("p"):rep(125)), { { 10, ("p"):rep(125) } } },
    { "a pong nobody asked for", frame(10, "x") .. text("a"), { { 1, "a" } } },
    -- fragments
    { "fragments", text("a", { fin = false }) .. frame(0, "b", { fin = false }) .. frame(0, "c"),
      { { 1, "abc" } } },
    { "empty fragments", text("", { fin = false }) .. frame(0, "", { fin = false }) .. frame(0, ""),
      { { 1, "" } } },
    { "a ping between fragments", text("a", { fin = false }) .. frame(9, "p") .. frame(0, "b"),
      { { 10, "p" }, { 1, "ab" } } },
    { "a pong between fragments", text("a", { fin = false }) .. frame(10, "p") .. frame(0, "b"),
      { { 1, "ab" } } },
    { "a character in four fragments with pings", text("\240", { fin = false }) .. frame(9, "1") ..
      frame(0, "\159", { fin = false }) .. frame(0, "\152", { fin = false }) .. frame(9, "2") ..
      frame(0, "\128"), { { 10, "1" }, { 10, "2" }, { 1, "😀" } } },
    { "a thousand fragments", text("a", { fin = false }) .. frame(0, "a", { fin = false }):rep(998) ..
      frame(0, "a"), { { 1, ("a"):rep(1000) } } },
    { "the last characters of each length", text("\127\223\191\239\191\191\244\143\191\191"),
      { { 1, "\127\223\191\239\191\191\244\143\191\191" } } },
    { "characters around the surrogates", text("\237\159\191\238\128\128"),
      { { 1, "\237\159\191\238\128\128" } } },
    { "a character in two fragments", text("\195", { fin = false }) .. frame(0, "\188"),
      { { 1, "ü" } } },
    -- closing
    { "a close without code", frame(8), {}, nil },
    { "a close while a message is unfinished", text("a", { fin = false }) .. close(1000), {}, 1000 },
    { "nothing after a close", close(1000) .. text("late"), {}, 1000 },
    { "a ping after a close", close(1000) .. frame(9, "late"), {}, 1000 },
    { "a reason of 123 bytes", close(1000, ("r"):rep(123)), {}, 1000 },
    -- violations
    { "a frame masked the wrong way", frame(1, "a", { mask = not mask }), {}, 1002 },
    { "a close masked the wrong way", frame(8, "", { mask = not mask }), {}, 1002 },
    { "a fragment masked the wrong way",
      text("a", { fin = false }) .. frame(0, "b", { mask = not mask }), {}, 1002 },
    { "reserved bit 1", text("a", { rsv = 4 }), {}, 1002 },
    { "reserved bit 2", text("a", { rsv = 2 }), {}, 1002 },
    { "reserved bit 3 of a ping", frame(9, "a", { rsv = 1 }), {}, 1002 },
    { "a fragmented ping", frame(9, "a", { fin = false }), {}, 1002 },
    { "a fragmented close", frame(8, "", { fin = false }), {}, 1002 },
    { "a ping of 126 bytes", frame(9, ("p"):rep(126)), {}, 1002 },
    { "a close of 126 bytes", frame(8, "\3\232" .. ("p"):rep(124)), {}, 1002 },
    { "a length in two bytes that fits one", text("a", { long = "\0\1" }), {}, 1002 },
    { "a length in eight bytes that fits two", text("a", { long = "\0\0\0\0\0\0\0\1" }), {}, 1002 },
    { "125 bytes with a length in two", frame(2, ("x"):rep(125), { long = "\0\125" }), {}, 1002 },
    { "65535 bytes with a length in eight",
      frame(2, long:sub(1, 65535), { long = "\0\0\0\0\0\0\255\255" }), {}, 1002 },
    { "a ping with a length in two bytes", frame(9, "p", { long = "\0\1" }), {}, 1002 },
    { "a ping that says 2^63", frame(9, "p", { long = "\128\0\0\0\0\0\0\0" }), {}, 1002 },
    { "a length of 2^64 - 1", text("a", { long = ("\255"):rep(8) }), {}, 1002 },
    { "a length of 2^63", text("a", { long = "\128\0\0\0\0\0\0\0" }), {}, 1002 },
    { "a continuation of nothing", frame(0, "a"), {}, 1002 },
    { "a message inside a message", text("a", { fin = false }) .. text("b"), {}, 1002 },
    { "what was complete before a violation", text("a") .. frame(0, "b"), { { 1, "a" } }, 1002 },
    { "a close of one byte", frame(8, "\3"), {}, 1002 },
    { "a reason that is not UTF-8", close(1000, "\255"), {}, 1007 },
    { "half a character as reason", close(1000, "\195"), {}, 1007 },
    { "text that is not UTF-8", text("a\255b"), {}, 1007 },
    { "half a character at the end", text("a\195"), {}, 1007 },
    { "an overlong form", text("\192\175"), {}, 1007 },
    { "a surrogate", text("\237\160\128"), {}, 1007 },
    { "too large a character", text("\244\144\128\128"), {}, 1007 },
    { "bad text in a second fragment", text("a", { fin = false }) .. frame(0, "\128"), {}, 1007 },
    { "bad text before its end", text("\255", { fin = false }), {}, 1007 },
    { "bad text before the end of its frame", text("ab\255", { len = 100 }), {}, 1007 },
    { "a character that cannot be, before it is complete", text("a\244\144", { len = 100 }), {}, 1007 },
    { "a surrogate before it is complete", text("a", { fin = false }) .. frame(0, "\237\160", { len = 100 }), {},
      1007 },
    { "an overlong form before it is complete", text("a\240\128", { len = 100 }), {}, 1007 },
    { "half a character before a ping", text("\195", { fin = false }) .. frame(9, "p") .. frame(0, "a"),
      { { 10, "p" } }, 1007 },
    { "half a character before an empty end", text("\195", { fin = false }) .. frame(0, ""), {}, 1007 },
    -- limits
    { "a message of the limit", frame(2, ("m"):rep(100000)), { { 2, ("m"):rep(100000) } } },
    { "a message over the limit", frame(2, ("m"):rep(100001)), {}, 1009 },
    { "the head of a message over the limit", frame(2, "m", { len = 100001 }), {}, 1009 },
    { "the head of a fragment over the limit",
      frame(2, ("m"):rep(99999), { fin = false }) .. frame(0, "m", { len = 2 }), {}, 1009 },
    { "fragments of the limit", frame(2, ("m"):rep(60000), { fin = false }) .. frame(0, ("m"):rep(40000)),
      { { 2, ("m"):rep(100000) } } },
    { "a huge length", frame(2, "m", { long = "\127\255\255\255\255\255\255\255" }), {}, 1009 },
    { "fragments over the limit",
      frame(2, ("m"):rep(60000), { fin = false }) .. frame(0, ("m"):rep(40001)), {}, 1009 },
  }
  for opcode = 3, 15 do
    if opcode < 8 or opcode > 10 then
      cases[#cases + 1] = { "opcode " .. opcode, frame(opcode, "a"), {}, 1002 }
    end
  end
  for _, code in ipairs({ 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000,
    3999, 4000, 4999 }) do
    cases[#cases + 1] = { "close code " .. code, close(code, "why"), {}, code }
  end
  for _, code in ipairs({ 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 }) do
    cases[#cases + 1] = { "close code " .. code, close(code), {}, 1002 }
  end
  return cases
end
