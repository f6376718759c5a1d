-- SPDX-License-Identifier: MIT
-- Hooks belong to the whole VM and stay off while one runs: a thread that waited in its hook
-- switched everybody's off.

local child = require("spec.parking.child")

-- Compiled code calls no hooks.
local function run(source)
  return child.run_text("jit.off()\n" .. source, { "-joff" })
end

describe("a debug hook", function()
  for event, sethook in pairs({
    count = 'debug.sethook(hook, "", 7)',
    line = 'debug.sethook(hook, "l")',
    call = 'debug.sethook(hook, "c")',
    ["return"] = 'debug.sethook(hook, "r")',
    ["count, from C"] = "require('parkmod').sethook(hook, 7)",
  }) do
    it("cannot wait, and the next ones are called all the same: " .. event, function()
      local out, err, status = run([[
        local conn = grun.pair()
        local other = grun.spawn(grun.sleep, 60)
        local waits = {
          grun.yield, grun.idle, function() grun.sleep(0.001) end, function() other:join() end,
          function() conn:read() end, function() grun.event():wait() end, function() grun.queue():get() end,
        }
        local calls, messages = 0, {}
        local function hook()
          calls = calls + 1
          local ok, message = pcall(waits[calls % #waits + 1])
          message = ok and "waited" or message:gsub("^.*: ", "")
          messages[message] = (messages[message] or 0) + 1
        end
        local function work()
          local sum = 0
          for i = 1, 200 do
            sum = sum +
              i
          end
          for i = 1, 20 do
            sum = sum + math.abs(i)
          end
          return sum
        end
        local list = {}
        ]] .. sethook .. [[

        for i = 1, 4 do
          list[i] = grun.spawn(function()
            for _ = 1, 5 do
              work()
              grun.yield()
            end
          end)
        end
        grun.joinall(list)
        debug.sethook()
        print(calls > 50, messages["cannot wait in a debug hook"] == calls, next(messages))
        other:cancel()
        print(pcall(grun.sleep, 0))]])
      assert.equal("", err)
      assert.is_truthy(out:find("^true\ttrue\tcannot wait in a debug hook\t%d+\ntrue\n$"), out)
      assert.equal(0, status)
    end)
  end

  it("that does not catch the error fails the hooked code", function()
    local out, err, status = run([[
      local function hook()
        debug.sethook()
        grun.sleep(0.001)
      end
      local t = grun.spawn(function()
        debug.sethook(hook, "", 3)
        for i = 1, 100 do
          local _ = i
        end
      end)
      t:join()
      print(t:status())
      print(pcall(grun.sleep, 0))]])
    assert.same({ "failed\ntrue\n", 0 }, { out, status })
    assert.is_truthy(err:find("cannot wait in a debug hook", 1, true))
  end)

  it("is what debug.gethook returns", function()
    local out, err, status = run([[
      local function hook() end
      debug.sethook(hook, "cr", 5)
      local found, mask, count = debug.gethook()
      debug.sethook()
      print(found == hook, mask, count)
      print(debug.gethook())
      require("parkmod").sethook(hook, 1000)
      print((debug.gethook()))]])
    assert.same({ "true\tcr\t5\nnil\t\t0\nexternal hook\n", "", 0 }, { out, err, status })
  end)

  it("sees the hooked function at level 2", function()
    local out, err, status = run([[
      local seen
      local function target()
        local a = 1
        a = a + 1
        return a
      end
      local function hook(event, line)
        local info = debug.getinfo(2, "nSlf")
        if info.func == target then
          seen = (seen or "") .. event .. (line and " " .. line - info.linedefined or "") .. " "
          local name, value = debug.getlocal(2, 1)
          seen = seen .. (name == "a" and name .. "=" .. tostring(value) .. " " or "")
        end
      end
      debug.sethook(hook, "crl")
      target()
      debug.sethook()
      print(seen)]])
    assert.same({ "call line 1 line 2 a=1 line 3 a=2 return a=2 \n", "", 0 }, { out, err, status })
  end)

  it("works in every thread, whoever set it", function()
    local out, err, status = run([[
      local threads = {}
      debug.sethook(function() threads[grun.current().id] = true end, "", 5)
      local function work()
        for i = 1, 50 do
          local _ = i
        end
        grun.yield()
      end
      local a, b = grun.spawn(work), grun.spawn(work)
      grun.joinall({ a, b })
      debug.sethook()
      print(threads[a.id], threads[b.id], threads[1])]])
    assert.same({ "true\ttrue\ttrue\n", "", 0 }, { out, err, status })
  end)

  -- A limit on instructions, as sandboxes have it: it may strike while others are told of a
  -- thread's end.
  it("that raises does not keep from others that a thread has ended", function()
    local out, err, status = run([[
      local ended = 0
      for count = 1, 60 do
        local t
        t = grun.spawn(function()
          debug.sethook(function()
            if grun.current() == t then
              error("limit")
            end
          end, "", count)
          return 1
        end)
        local link
        t:link(function() link = true end)
        local waiter = grun.spawn(function()
          t:join()
          ended = ended + 1
        end)
        repeat
          grun.yield()
        until t:status() == "done" or t:status() == "failed"
        debug.sethook()
        waiter:join(1)
        grun.yield()
        assert(link, count)
      end
      print(ended)]])
    assert.same({ "60\n", 0 }, { out, status })
    assert.is_nil(err:find("could not end in order", 1, true))
  end)
end)
