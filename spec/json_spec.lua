-- SPDX-License-Identifier: MIT
-- The small JSON of grun's own tools.

local json = require("grun.json")

describe("json.encode", function()
  it("writes values on one line, members by name", function()
    local value = {
      b = { 1, 2.5, -0.25 }, a = "x\n\"\\\1é", c = json.list({}), d = {}, e = true, f = 2 ^ 52,
    }
    assert.equal([[{"a":"x\n\"\\\u0001é","b":[1,2.5,-0.25],"c":[],"d":{},"e":true,]] ..
      [["f":4503599627370496}]], json.encode(value))
  end)

  it("writes null for numbers that JSON lacks", function()
    assert.equal("[null,null,null]", json.encode({ 0 / 0, math.huge, -math.huge }))
  end)

  it("repairs what is no UTF-8", function()
    for text, expected in pairs({
      ["a\255b"] = "a\239\191\189b", ["\192\128"] = ("\239\191\189"):rep(2), ["é€😀"] = "é€😀",
      ["\237\160\128"] = ("\239\191\189"):rep(3), ["\226\130"] = ("\239\191\189"):rep(2),
    }) do
      assert.equal('"' .. expected .. '"', json.encode(text))
    end
  end)

  it("refuses functions and cycles", function()
    local cycle = {}
    cycle.cycle = cycle
    assert.has_error(function() json.encode(cycle) end, "json: too deep, or a cycle")
    assert.has_error(function() json.encode({ print }) end, "json: cannot encode a function")
  end)
end)

describe("json.decode", function()
  it("reads what is valid", function()
    assert.same({ a = { 1, 2500, -3, 0.5 }, b = "é😀/\t" },
      json.decode([[ {"a":[1,2.5e3,-3,5E-1] , "b":"\u00e9\ud83d\ude00\/\t"} ]]))
    assert.same({}, json.decode("[]"))
    assert.is_true(json.decode("true"))
    assert.equal("x", json.decode('"x"'))
  end)

  it("says where the rest goes wrong", function()
    for text, message in pairs({
      [""] = "bad number at byte 1", ["01"] = "bad number at byte 1", ["1."] = "bad number at byte 1",
      ["1e"] = "bad number at byte 1", ["+1"] = "bad number at byte 1", ["[1,]"] = "bad number at byte 4",
      ["{"] = "name expected at byte 2", ['{"a"}'] = "':' expected at byte 5",
      ['{"a":1'] = "',' or '}' expected at byte 7", ["[1 2]"] = "',' or ']' expected at byte 4",
      ["1 2"] = "end expected at byte 3", ['"a'] = "string without an end at byte 3",
      ['"\n"'] = "control character in a string at byte 2", ['"\\x"'] = "bad escape at byte 2",
      ['"\\ud800"'] = "half of a surrogate pair at byte 2", ["tru"] = "bad number at byte 1",
      [("["):rep(200)] = "too deep at byte 101",
    }) do
      assert.same({ nil, "no JSON: " .. message }, { json.decode(text) })
    end
  end)

  it("reads what encode wrote", function()
    local value = { list = { "a", { b = 1 } }, text = "\0\1\127 é", number = 1 / 3, no = false }
    local again = json.decode(json.encode(value))
    assert.is_true(math.abs(again.number - value.number) < 1e-12)
    again.number = value.number
    assert.same(value, again)
  end)
end)
