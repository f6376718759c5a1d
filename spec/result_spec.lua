-- SPDX-License-Identifier: MIT
-- Results: one outcome for many threads.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")

local misuse, waiting, outcome = helper.misuse, sync.waiting, sync.outcome

local function pack(...)
  return { n = select("#", ...), ... }
end

describe("a result", function()
  local r

  before_each(function()
    r = grun.result()
  end)

  for name, values in pairs({
    none = pack(), one = pack(1), ["several with holes"] = pack(nil, "x", nil, false, nil),
  }) do
    it("hands its values to who waits and who comes later: " .. name, function()
      local a, b = waiting(r.get, r), waiting(r.get, r, 5)
      assert.is_false(r:ready())
      r:set(unpack(values, 1, values.n))
      assert.is_true(r:ready())
      assert.same(values, pack(a:get()))
      assert.same(values, pack(b:get()))
      assert.same(values, pack(r:get()))
      assert.same(values, pack(r:get(0)))
    end)
  end

  for name, err in pairs({ string = "went wrong", table = { code = 5 }, ["false"] = false }) do
    it("raises its error unchanged in every get: a " .. name, function()
      local t = waiting(pcall, r.get, r)
      r:fail(err)
      assert.is_true(r:ready())
      for _ = 1, 2 do
        local ok, raised = pcall(r.get, r)
        assert.is_false(ok)
        assert.equal(err, raised)
      end
      assert.equal(err, select(2, t:get()))
    end)
  end

  it("can fail with nil", function()
    r:fail(nil)
    assert.same(pack(false, nil), pack(pcall(r.get, r)))
  end)

  it("wakes in the order in which the threads came", function()
    local log = sync.log()
    for i = 1, 3 do
      waiting(function()
        log(i .. r:get())
      end)
    end
    r:set("x")
    sync.settle()
    assert.equal("1x 2x 3x", log.text())
  end)

  it("says so when the time is up", function()
    assert.same(pack(nil, "timeout", "timeout"), pack(r:get(0)))
    assert.same(pack(nil, "timeout", "timeout"), pack(r:get(0.001)))
    assert.equal("result pending, 0 waiting", tostring(r))
  end)

  for way, message in pairs(sync.ways_out) do
    it("forgets a thread that left: " .. way, function()
      local t = sync.leaving(way, function(s) return r:get(s) end)
      assert.equal(message, select(2, outcome(t)))
      assert.equal("result pending, 0 waiting", tostring(r))
    end)

    it("set before the thread left is handed over: " .. way, function()
      local t = sync.late(way, function(s) return r:get(s) end, function() r:set(1, 2) end)
      assert.same({ 1, 2 }, { outcome(t) })
    end)
  end

  it("set after the time was up, before the thread ran, is handed over", function()
    local t = sync.leaving("timeout", function(s) return r:get(s) end)
    r:set("just in time")
    assert.equal("just in time", t:get())
  end)

  it("can be waited for in many places at once", function()
    local other = grun.result()
    local t = waiting(grun.wait, { r, other }, 5)
    other:fail("x")
    r:set()
    assert.same({ other, r }, t:get())
    for obj in grun.iwait({ r }) do
      assert.equal(r, obj)
    end
  end)

  it("says how it is", function()
    waiting(r.get, r)
    assert.equal("result pending, 1 waiting", tostring(r))
    r:set(1)
    assert.equal("result set, 0 waiting", tostring(r))
    local failed = grun.result()
    failed:fail("x")
    assert.equal("result failed, 0 waiting", tostring(failed))
  end)

  it("is settled once", function()
    r:set(1)
    misuse(function() r:set(2) end, "a result can be set only once")
    misuse(function() r:fail(2) end, "a result can be set only once")
    assert.equal(1, r:get())
  end)

  it("raises at the caller's line for a wrong timeout, settled or not", function()
    local expected = "get: timeout must be a number of seconds, 0 or more, got "
    for _ = 1, 2 do
      misuse(function() local _ = r:get(-1) end, expected .. "-1")
      misuse(function() local _ = r:get("1") end, expected .. "1")
      if not r:ready() then
        r:set()
      end
    end
  end)
end)
