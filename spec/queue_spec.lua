-- SPDX-License-Identifier: MIT
-- Queues: every value put is got once, in order, by who waited longest.

local grun = require("grun")
local helper = require("spec.helper")
local sync = require("spec.sync_helper")

local spawn, misuse, waiting, outcome = helper.spawn, helper.misuse, sync.waiting, sync.outcome

-- Puts all values, each of which has room.
local function fill(q, ...)
  for _, value in ipairs({ ... }) do
    assert.is_true(q:put(value, 0))
  end
  return q
end

-- All that is in the queue, in one text.
local function drain(q)
  local values = {}
  while true do
    local value = q:try_get()
    if value == nil then
      return table.concat(values, " ")
    end
    values[#values + 1] = tostring(value)
  end
end

local kinds = {
  unbounded = function() return grun.queue() end,
  bounded = function() return grun.queue(3) end,
  rendezvous = function() return grun.queue(0) end,
  ["last-in first-out"] = function() return grun.queue({ order = "lifo" }) end,
  priority = function() return grun.queue({ order = "priority", capacity = 3 }) end,
  handoff = function() return grun.queue({ capacity = 3, handoff = true }) end,
}

local function each_kind(text, body)
  for name, make in pairs(kinds) do
    it(("%s: %s"):format(text, name), function() body(make()) end)
  end
end

describe("a queue", function()
  describe("of any kind", function()
    each_kind("hands a value to the thread that waits for it", function(q)
      local t = waiting(q.get, q)
      assert.is_true(q:put("x"))
      assert.equal("x", t:get())
      assert.equal(0, q:len())
    end)

    each_kind("carries every value but nil", function(q)
      for _, value in ipairs({ 5, "s", true, false, {}, print, grun.current() }) do
        local t = waiting(q.get, q)
        q:put(value)
        assert.equal(value, t:get())
        local p = spawn(q.put, q, value)
        grun.idle()
        assert.equal(value, q:peek())
        assert.equal(value, q:get())
        assert.is_true(p:get())
      end
      misuse(function() q:put(nil) end, "put: nil cannot be put into a queue")
      misuse(function() q:try_put(nil) end, "try_put: nil cannot be put into a queue")
      misuse(function() q:op_put(nil) end, "op_put: nil cannot be put into a queue")
      misuse(function() q:put() end, "put: nil cannot be put into a queue")
      assert.equal("empty", select(2, q:try_get()))
    end)

    each_kind("serves those who wait to get in the order in which they came", function(q)
      local log = sync.log()
      for i = 1, 4 do
        waiting(function()
          log(i .. q:get())
        end)
      end
      for _, value in ipairs({ "a", "b", "c", "d" }) do
        assert.is_true(q:put(value))
      end
      sync.settle()
      assert.equal("1a 2b 3c 4d", log.text())
    end)

    each_kind("lets nobody overtake a getter that was woken", function(q)
      local t = waiting(q.get, q)
      spawn(q.put, q, "x")
      local late = spawn(q.get, q)
      assert.equal("x", t:get())
      assert.equal("waiting", late:status())
    end)

    each_kind("says when the time to get is up", function(q)
      assert.same({ nil, "timeout", "timeout" }, { q:get(0) })
      assert.same({ nil, "timeout", "timeout" }, { q:get(0.001) })
      assert.same({ nil, "empty", "empty" }, { q:try_get() })
      assert.is_nil(q:peek())
      assert.matches("0 getting, 0 putting", tostring(q))
    end)

    for way, message in pairs(sync.ways_out) do
      each_kind("keeps the value of a getter that left by " .. way, function(q)
        local t = sync.leaving(way, function(s) return q:get(s) end)
        local stored = q:try_put("x")
        assert.equal(message, select(2, outcome(t)))
        assert.equal(q:full() and q:empty(), not stored)
        assert.matches("0 getting", tostring(q))
        if stored then
          assert.equal("x", q:get(0))
          q:task_done()
        end
        assert.is_true(q:join(0))
      end)

      each_kind("hands the value to the next when the first left by " .. way, function(q)
        local other
        local t = sync.leaving(way, function(s) return q:get(s) end, function()
          other = waiting(q.get, q)
        end)
        q:put("x")
        assert.equal("x", other:get())
        assert.equal(message, select(2, outcome(t)))
        assert.equal("empty", select(2, q:try_get()))
      end)

      each_kind("handed over before the getter left it is its own: " .. way, function(q)
        local t = sync.late(way, function(s) return q:get(s) end, function() q:put("x") end)
        assert.equal("x", outcome(t))
        assert.equal("empty", select(2, q:try_get()))
      end)
    end

    each_kind("once closed takes nothing, and getters are told so", function(q)
      local a, b = waiting(q.get, q), waiting(q.get, q, 5)
      q:close()
      q:close()
      assert.same({ nil, "closed", "closed" }, { a:get() })
      assert.same({ nil, "closed", "closed" }, { b:get() })
      assert.same({ nil, "closed", "closed" }, { q:get() })
      assert.same({ nil, "closed", "closed" }, { q:try_get() })
      assert.same({ nil, "closed", "closed" }, { q:put(1) })
      assert.same({ nil, "closed", "closed" }, { q:try_put(1) })
      assert.is_nil(q:peek())
      assert.matches(", closed, ", tostring(q))
    end)

    for way, message in pairs(sync.ways_out) do
      each_kind("closed while a getter is on its way out: " .. way, function(q)
        local t = sync.leaving(way, function(s) return q:get(s) end)
        q:close()
        assert.equal(message, select(2, outcome(t)))
      end)
    end

    each_kind("ends iteration when it is closed", function(q)
      local log = sync.log()
      local t = waiting(function()
        for value in q:items() do
          log(value)
        end
        log("end")
      end)
      q:put(1)
      q:put(false)
      sync.settle()
      assert.equal("1 false", log.text())
      q:close()
      t:join()
      assert.equal("1 false end", log.text())
    end)

    each_kind("can be waited for, which takes nothing", function(q)
      assert.same({}, grun.wait({ q }, 0))
      local t = waiting(grun.wait, { q }, 5)
      local p = spawn(q.put, q, "x")
      assert.same({ q }, t:get())
      assert.same({ q }, grun.wait({ q }, 0))
      assert.equal("x", q:get(0))
      p:join()
      assert.same({}, grun.wait({ q }, 0))
      t = waiting(grun.wait, { q }, 5)
      q:close()
      assert.same({ q }, t:get())
    end)

    each_kind("is not ready for grun.wait when a getter takes the value", function(q)
      local t = waiting(grun.wait, { q }, 5)
      local getter = waiting(q.get, q)
      q:put("x")
      assert.equal("x", getter:get())
      assert.equal("waiting", t:status())
    end)

    each_kind("counts what is not dealt with yet", function(q)
      misuse(function() q:task_done() end, "task_done: called more often than values were put")
      assert.is_true(q:join())
      local got = { waiting(q.get, q), waiting(q.get, q) }
      q:put(1)
      q:put(2)
      grun.joinall(got)
      assert.same({ nil, "timeout", "timeout" }, { q:join(0) })
      assert.same({ nil, "timeout", "timeout" }, { q:join(0.001) })
      local a, b = waiting(q.join, q), waiting(q.join, q, 5)
      q:task_done()
      sync.settle()
      assert.equal("waiting", a:status())
      q:task_done()
      assert.is_true(a:get())
      assert.is_true(b:get())
      assert.is_true(q:join(0))
      misuse(function() q:task_done() end, "task_done: called more often than values were put")
    end)

    each_kind("raises at the caller's line for a wrong timeout, waiting or not", function(q)
      local expected = "%s: timeout must be a number of seconds, 0 or more, got "
      for _ = 1, 2 do
        misuse(function() q:get(-1) end, expected:format("get") .. "-1")
        misuse(function() q:get("1") end, expected:format("get") .. "1")
        misuse(function() q:put(1, -1) end, expected:format("put") .. "-1")
        misuse(function() q:put(1, {} and false) end, expected:format("put") .. "false")
        misuse(function() q:join(-1) end, expected:format("join") .. "-1")
        q:try_put(1)
      end
    end)
  end)

  describe("without bounds", function()
    it("gives values in the order in which they were put", function()
      local q, wrong = grun.queue(), 0
      local put, got = 0, 0
      for step = 1, 300 do
        for _ = 1, step % 7 * 3 do
          put = put + 1
          q:put(put)
        end
        for _ = 1, step % 5 * 4 do
          local value = q:try_get()
          if value then
            got = got + 1
            wrong = wrong + (value == got and 0 or 1)
          end
        end
        assert.equal(put - got, q:len())
      end
      assert.equal(0, wrong)
    end)

    it("never makes a putter wait or lets others run", function()
      local q, other = grun.queue(), spawn(function() end)
      for i = 1, 1000 do
        q:put(i)
      end
      assert.equal("new", other:status())
      assert.equal(1000, q:len())
      assert.is_false(q:full())
      assert.is_false(q:empty())
      assert.equal(1, q:peek())
      assert.matches("^queue 1000 of inf, 0 getting, 0 putting$", tostring(q))
    end)

    it("does not switch to the getter it wakes", function()
      local q = grun.queue()
      local t = waiting(q.get, q)
      q:put(1)
      assert.equal("ready", t:status())
    end)

    it("that was done after the time to join was up, before the thread ran, is done", function()
      local q = fill(grun.queue(), 1)
      local t = sync.leaving("timeout", function(s) return q:join(s) end)
      q:task_done()
      assert.is_true(t:get())
    end)

    it("can be joined after it was closed", function()
      local q = fill(grun.queue(), 1)
      local t = waiting(q.join, q)
      q:close()
      q:get()
      sync.settle()
      assert.equal("waiting", t:status())
      q:task_done()
      assert.is_true(t:get())
    end)

    it("hands out what was there when it was closed", function()
      local q, values = fill(grun.queue(), 1, 2, 3), {}
      q:close()
      assert.equal(1, q:get())
      assert.equal(2, q:try_get())
      for value in q:items() do
        values[#values + 1] = value
      end
      assert.same({ 3 }, values)
      assert.same({ nil, "closed", "closed" }, { q:get() })
    end)
  end)

  describe("with a capacity", function()
    it("makes putters wait for room, in the order in which they came", function()
      local q, log = fill(grun.queue(2), "a", "b"), sync.log()
      assert.is_true(q:full())
      for i = 1, 3 do
        waiting(function()
          q:put(i)
          log(i)
        end)
      end
      assert.equal("queue 2 of 2, 0 getting, 3 putting", tostring(q))
      assert.equal("a", q:get())
      assert.equal(2, q:len())
      sync.settle()
      assert.equal("1", log.text())
      assert.equal("b", q:get())
      assert.equal("1", tostring(q:get()))
      sync.settle()
      assert.equal("1 2 3", log.text())
      assert.equal("2 3", drain(q))
    end)

    it("lets no late putter overtake one that waits", function()
      local q = fill(grun.queue(1), "a")
      local t = waiting(q.put, q, "b")
      q:get()
      assert.same({ nil, "full", "full" }, { q:try_put("c") })
      assert.same({ nil, "timeout", "timeout" }, { q:put("c", 0) })
      assert.is_true(t:get())
      assert.equal("b", drain(q))
    end)

    for way, message in pairs(sync.ways_out) do
      for name, opts in pairs({ bounded = 1, rendezvous = 0 }) do
        local label = (": %s, %s"):format(name, way)

        it("forgets the value of a putter that left" .. label, function()
          local q = fill(grun.queue(opts), unpack({ "a" }, 1, opts))
          local other
          local t = sync.leaving(way, function(s) return q:put("lost", s) end, function()
            other = waiting(q.put, q, "b")
          end)
          assert.equal(opts == 1 and "a b" or "b", drain(q))
          assert.equal(message, select(2, outcome(t)))
          assert.is_true(other:get())
          assert.matches("0 putting", tostring(q))
        end)

        it("has the value of a putter that was woken before it left" .. label, function()
          local q, value = fill(grun.queue(opts), unpack({ "a" }, 1, opts)), nil
          local t = sync.late(way, function(s) return q:put("kept", s) end, function()
            value = q:get(0)
          end)
          assert.is_true(outcome(t))
          assert.equal("kept", opts == 1 and q:get(0) or value)
          assert.equal("", drain(q))
        end)

        it("closed refuses the values of those who wait" .. label, function()
          local q = fill(grun.queue(opts), unpack({ "a" }, 1, opts))
          local other
          local t = sync.leaving(way, function(s) return q:put("x", s) end, function()
            other = waiting(q.put, q, "y")
          end)
          q:close()
          assert.same({ nil, "closed", "closed" }, { other:get() })
          assert.equal(message, select(2, outcome(t)))
          assert.equal(opts == 1 and "a" or "", drain(q))
        end)
      end
    end

    it("keeps a producer and a consumer in step", function()
      local q, most, wrong = grun.queue(4), 0, 0
      local consumer = spawn(function()
        for i = 1, 1000 do
          wrong = wrong + (q:get() == i and 0 or 1)
          if i % 7 == 0 then
            grun.yield()
          end
        end
      end)
      for i = 1, 1000 do
        q:put(i)
        most = math.max(most, q:len())
      end
      consumer:join()
      assert.equal(0, wrong)
      assert.equal(4, most)
    end)
  end)

  describe("of capacity 0", function()
    it("is full and empty at once and stores nothing", function()
      local q = grun.queue(0)
      assert.is_true(q:full())
      assert.is_true(q:empty())
      assert.equal(0, q:len())
      assert.same({ nil, "full", "full" }, { q:try_put(1) })
      assert.same({ nil, "timeout", "timeout" }, { q:put(1, 0) })
      assert.equal("queue 0 of 0, 0 getting, 0 putting", tostring(q))
    end)

    it("lets a putter go on once its value was taken", function()
      local q = grun.queue(0)
      local a, b = waiting(q.put, q, "a"), waiting(q.put, q, "b")
      assert.equal("a", q:peek())
      assert.equal("a", q:get())
      assert.equal("ready", a:status())
      assert.equal("waiting", b:status())
      assert.equal("b", q:try_get())
      assert.is_true(a:get())
      assert.is_true(b:get())
    end)

    it("shows nobody the value of a putter that is on its way out", function()
      local q = grun.queue(0)
      sync.leaving("cancel", function() return q:put("gone") end)
      assert.is_nil(q:peek())
      assert.same({}, grun.wait({ q }, 0))
      assert.equal("empty", select(2, q:try_get()))
    end)
  end)

  describe("in the order last-in first-out", function()
    it("gives the newest first", function()
      local q = fill(grun.queue({ order = "lifo" }), 1, 2, 3)
      assert.equal(3, q:peek())
      assert.equal(3, q:get())
      q:put(4)
      assert.equal("4 2 1", drain(q))
    end)

    it("takes in the longest waiting putter when there is room", function()
      local q = fill(grun.queue({ order = "lifo", capacity = 1 }), 1)
      waiting(q.put, q, 2)
      waiting(q.put, q, 3)
      assert.equal("1 2 3", drain(q))
    end)
  end)

  describe("by priority", function()
    it("gives the least first", function()
      local q = fill(grun.queue({ order = "priority" }), 5, 2, 8, 1, 9, 3)
      assert.equal(1, q:peek())
      assert.equal("1 2 3 5 8 9", drain(q))
      assert.equal("a b c", drain(fill(grun.queue({ order = "priority" }), "c", "a", "b")))
    end)

    it("keeps the order of equals, whatever comes between", function()
      local q = grun.queue({ order = "priority", less = function(a, b) return a[1] < b[1] end })
      local numbers, seed = {}, 1
      for round = 1, 3 do
        for i = 1, 200 do
          seed = seed * 16807 % 2147483647
          q:put({ seed % 5, round * 1000 + i })
        end
        for _ = 1, 150 do
          numbers[#numbers + 1] = q:get()
        end
        local last
        for i = #numbers - 149, #numbers do
          local value = numbers[i]
          if last then
            assert.is_true(last[1] < value[1] or last[1] == value[1] and last[2] < value[2])
          end
          last = value
        end
      end
      assert.equal(150, q:len())
    end)

    it("asks less() for the order", function()
      local q = grun.queue({ order = "priority", less = function(a, b) return a > b end })
      assert.equal("9 5 1", drain(fill(q, 5, 9, 1)))
    end)

    it("takes in the longest waiting putter when there is room", function()
      local q = fill(grun.queue({ order = "priority", capacity = 2 }), 5, 6)
      waiting(q.put, q, 9)
      waiting(q.put, q, 1)
      assert.equal("5 6 1 9", drain(q))
    end)

    it("is as it was when values cannot be compared", function()
      local q = fill(grun.queue({ order = "priority" }), 3, 1, 2)
      local ok, err = pcall(q.put, q, "x")
      assert.is_false(ok)
      assert.matches("attempt to compare", err)
      assert.equal(3, q:len())
      assert.equal("1 2 3", drain(q))
      assert.is_true(q:put("x"))
      assert.equal("x", drain(q))
      for _ = 1, 4 do
        q:task_done()
      end
      assert.is_true(q:join(0))
    end)

    it("is as it was when less() raises while a value is taken out", function()
      local strict = false
      local q = grun.queue({ order = "priority", less = function(a, b)
        if strict and (a == 3 or b == 3) then
          error("no threes", 0)
        end
        return a < b
      end })
      fill(q, 1, 4, 2, 3, 5)
      strict = true
      local ok, err = pcall(q.get, q)
      assert.same({ false, "no threes" }, { ok, err })
      assert.equal(5, q:len())
      strict = false
      assert.equal("1 2 3 4 5", drain(q))
    end)

    it("raises in the putter whose value cannot be compared, not in the getter", function()
      local q = fill(grun.queue({ order = "priority", capacity = 2 }), 1, 2)
      local bad = waiting(pcall, q.put, q, "x")
      local good = waiting(q.put, q, 3)
      local chosen = waiting(pcall, grun.select, { q:op_put({}) })
      local last = waiting(q.put, q, 4)
      assert.equal("1 2 3 4", drain(q))
      for _, t in ipairs({ bad, chosen }) do
        local ok, err = t:get()
        assert.is_false(ok)
        assert.matches("attempt to compare", err)
      end
      assert.is_true(good:get())
      assert.is_true(last:get())
      for _ = 1, 4 do
        q:task_done()
      end
      assert.is_true(q:join(0))
    end)
  end)

  describe("with handoff", function()
    it("switches to the waiting getter at once, before others that are ready", function()
      local q, log = grun.queue({ handoff = true }), sync.log()
      local t = waiting(function()
        for _ = 1, 3 do
          log("got " .. q:get())
        end
      end)
      spawn(log, "other")
      log("put 1")
      q:put(1)
      log("put 2")
      q:try_put(2)
      log("put 3")
      q:put(3)
      log("end")
      t:join()
      assert.equal("put 1 got 1 other put 2 got 2 put 3 got 3 end", log.text())
    end)

    it("without a waiting getter goes on", function()
      local q, other = grun.queue({ handoff = true }), spawn(function() end)
      q:put(1)
      assert.equal("new", other:status())
    end)

    it("lets the getter report the value done before put returns", function()
      local q = grun.queue({ handoff = true })
      waiting(function()
        q:get()
        q:task_done()
      end)
      q:put(1)
      assert.is_true(q:join(0))
    end)

    it("in order without it: the putter goes on, then the getter", function()
      local q, log = grun.queue(), sync.log()
      waiting(function()
        for _ = 1, 2 do
          log("got " .. q:get())
        end
      end)
      q:put(1)
      log("put 1")
      q:put(2)
      log("put 2")
      sync.settle()
      assert.equal("put 1 put 2 got 1 got 2", log.text())
    end)
  end)

  for name, capacity in pairs({ bounded = 128, ["of one"] = 1, rendezvous = 0 }) do
    it("is compiled: " .. name, function()
      sync.is_compiled(([[
        local q, n = grun.queue(%d), 1e5
        local t = grun.spawn(function()
          for i = 1, n do
            q:put(i)
          end
        end)
        for _ = 1, n do
          q:get()
        end
        t:join()
      ]]):format(capacity))
    end)
  end

  describe("leaves nothing in the heap", function()
    it("after a million values went through", function()
      local q = grun.queue(128)
      sync.leaves_no_garbage(1e6, function(n)
        local t = spawn(function()
          for _ = 1, n do
            q:get()
          end
        end)
        for i = 1, n do
          q:put({ i })
        end
        t:join()
      end)
    end)

    for _, order in ipairs({ "fifo", "lifo", "priority" }) do
      it("after it held a million values: " .. order, function()
        local q = grun.queue({ order = order })
        sync.leaves_no_garbage(1e6, function(n)
          for i = 1, n do
            q:put(i)
          end
          for _ = 1, n do
            q:get()
          end
        end)
      end)
    end

    it("after a million timeouts", function()
      local q = grun.queue()
      sync.leaves_no_garbage(1e6, function(n)
        local threads = {}
        for i = 1, 100 do
          threads[i] = spawn(function()
            for _ = 1, n / 100 do
              q:get(1e-6)
            end
          end)
        end
        grun.joinall(threads, { raise = true })
      end)
    end)
  end)

  it("takes no wrong options", function()
    local capacity = "queue: capacity must be a whole number, 0 or more, got "
    misuse(function() grun.queue(-1) end, capacity .. "-1")
    misuse(function() grun.queue(1.5) end, capacity .. "1.5")
    misuse(function() grun.queue("3") end, capacity .. "3")
    misuse(function() grun.queue(0 / 0) end, capacity .. tostring(0 / 0))
    misuse(function() grun.queue({ capacity = -1 }) end, capacity .. "-1")
    misuse(function() grun.queue({ order = "random" }) end,
      "queue: order must be fifo, lifo or priority, got random")
    misuse(function() grun.queue({ less = print }) end,
      "queue: less must be a function, of a priority queue, got " .. tostring(print))
    misuse(function() grun.queue({ order = "priority", less = true }) end,
      "queue: less must be a function, of a priority queue, got true")
    misuse(function() grun.queue({ size = 3 }) end, "queue: unknown option 'size'")
    misuse(function() grun.queue({ 3 }) end, "queue: unknown option '1'")
    assert.is_false(grun.queue(math.huge):full())
  end)
end)
