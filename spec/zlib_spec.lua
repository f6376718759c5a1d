-- SPDX-License-Identifier: MIT
local helper = require("spec.helper")
local noise = require("spec.net_helper").noise
local zlib = require("grun.core.zlib")

-- Pushes a text in pieces of n bytes.
local function push(stream, text, n, finish)
  local out = {}
  for at = 1, #text, n do
    local piece, message, code = stream:push(text:sub(at, at + n - 1))
    if not piece then
      return nil, message, code
    end
    out[#out + 1] = piece
  end
  local last, message, code = stream:push("", finish)
  if not last then
    return nil, message, code
  end
  return table.concat(out) .. last
end

describe("grun.core.zlib", function()
  local text = ("a line that repeats itself\n"):rep(5000) .. noise(100000)

  it("restores what it compressed, in all formats and cut anywhere", function()
    for _, format in ipairs({ "gzip", "zlib", "raw" }) do
      for _, n in ipairs({ 7, 4096, #text }) do
        local packed = push(zlib.deflate(6, format), text, n, "finish")
        assert.is_true(#packed < #text / 2)
        assert.is_true(push(zlib.inflate(format), packed, n, "finish") == text)
      end
    end
  end)

  it("tells gzip from zlib by itself, but not raw data", function()
    for _, format in ipairs({ "gzip", "zlib" }) do
      local packed = zlib.deflate(9, format):push("hello", "finish")
      assert.equal("hello", zlib.inflate():push(packed, "finish"))
    end
    local _, message, code = zlib.inflate():push(zlib.deflate(9, "raw"):push("hello", "finish"))
    assert.same({ "malformed compressed data", "protocol" }, { message, code })
  end)

  it("gives everything so far with \"flush\"", function()
    local packer, unpacker = zlib.deflate(), zlib.inflate()
    for i = 1, 3 do
      assert.equal("part " .. i, unpacker:push(packer:push("part " .. i, "flush")))
    end
    assert.equal("", unpacker:push(packer:push("", "finish"), "finish"))
  end)

  it("understands gzip and is understood by it", function()
    local file = helper.tmpname(zlib.deflate():push(text, "finish"))
    local pipe = assert(io.popen("gzip -dc < " .. file .. "; printf 'one ' | gzip -c > " .. file ..
      "; printf two | gzip -c >> " .. file))
    assert.is_true(pipe:read("*a") == text)
    pipe:close()
    assert.equal("one two", push(zlib.inflate(), helper.contents(file), 3, "finish"))
    assert.equal("one two", push(zlib.inflate("gzip"), helper.contents(file), 1000, "finish"))
  end)

  it("stops at the limit, also of a bomb", function()
    local packer = zlib.deflate(9)
    local bomb = packer:push(("\0"):rep(2 ^ 24)) .. packer:push("", "finish")
    assert.is_true(#bomb < 20000)
    local before = collectgarbage("count")
    local stream = zlib.inflate("auto", 100000)
    local _, message, code = push(stream, bomb, 1000)
    assert.same({ "uncompressed data too large", "too_large" }, { message, code })
    assert.is_true(collectgarbage("count") - before < 2000)
    assert.is_nil((stream:push("x")))
    assert.equal(100000, #push(zlib.inflate("auto", 100000),
      zlib.deflate():push(("x"):rep(100000), "finish"), 50, "finish"))
  end)

  it("knows data that ends too early, is damaged, or goes on behind the end", function()
    local packed = zlib.deflate():push(text, "finish")
    for _, n in ipairs({ 1, 9, 15, 1000, #packed - 1 }) do
      local _, message, code = zlib.inflate():push(packed:sub(1, n), "finish")
      assert.same({ "compressed data ends too early", "protocol" }, { message, code })
    end
    assert.is_nil((zlib.inflate():push(packed:sub(1, -2) .. "\1", "finish")))
    assert.is_nil((zlib.inflate():push(packed .. "junk", "finish")))
    assert.is_nil((zlib.inflate():push("plain text")))
    assert.equal("", zlib.inflate():push("", "finish"))
  end)

  it("refuses wrong arguments and ended streams", function()
    assert.has_error(function() zlib.deflate(10) end)
    assert.has_error(function() zlib.deflate(1, "auto") end)
    assert.has_error(function() zlib.inflate("x") end)
    assert.has_error(function() zlib.inflate("auto", -1) end)
    assert.has_error(function() zlib.deflate().push(zlib.inflate(), "x") end)
    local packer = zlib.deflate()
    packer:push("x", "finish")
    assert.has_error(function() packer:push("x") end, "the stream has ended")
    local unpacker = zlib.inflate()
    unpacker:close()
    unpacker:close()
    assert.has_error(function() unpacker:push("x") end, "the stream is closed")
  end)
end)
