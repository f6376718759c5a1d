-- SPDX-License-Identifier: MIT
-- Many threads, and what happens when the machine has no more to give.

local helper = require("spec.helper")

local function run(source, prefix)
  local out, err, status = helper.run_script(source, { prefix = prefix, timeout = 50 })
  assert.same("", err)
  assert.same(0, status)
  return out
end

describe("many threads", function()
  it("sleep at once, and each wakes", function()
    assert.same("100000\n", run([[
      local woken = 0
      for _ = 1, 100000 do
        grun.spawn(function()
          grun.sleep(0.2)
          woken = woken + 1
        end)
      end
      grun.sleep(0.1)
      grun.joinall(grun.threads(), { count = 1 })
      while #grun.threads() > 1 do
        grun.sleep(0.05)
      end
      print(woken)
    ]]))
  end)

  it("cost at most 5.0 KiB of memory each while they sleep", function()
    local cost = tonumber(run([[
      local function rss()
        for line in io.lines("/proc/self/status") do
          local kib = line:match("^VmRSS:%s*(%d+)")
          if kib then
            return tonumber(kib)
          end
        end
      end
      local before, n = rss(), 200000
      for i = 1, n do
        grun.spawn(grun.sleep, 1000)
        if i % 1000 == 0 then
          grun.yield()
        end
      end
      grun.yield()
      io.write((rss() - before) / n)
      os.exit(0)
    ]]))
    -- A sanitizer's own bookkeeping would count as well.
    if helper.grun:find("asan") then
      return pending("the sanitizer's memory is not ours")
    end
    assert.is_true(cost <= 5.0, cost)
  end)

  it("give their stacks back after their ends", function()
    if helper.grun:find("asan") then
      return pending("the sanitizer keeps freed memory for a while")
    end
    run([[
      local function rss()
        for line in io.lines("/proc/self/status") do
          local kib = line:match("^VmRSS:%s*(%d+)")
          if kib then
            return tonumber(kib)
          end
        end
      end
      local list = {}
      for i = 1, 50000 do
        list[i] = grun.spawn(grun.sleep, 0.3)
      end
      grun.yield()
      local high = rss()
      grun.joinall(list)
      list = nil
      local limit = grun.now() + 10
      repeat
        grun.sleep(0.2)
      until rss() < high / 2 or grun.now() > limit
      assert(rss() < high / 2, rss() .. " KiB of " .. high)
    ]])
  end)
end)

describe("without memory for another stack", function()
  it("spawn raises, and nothing else is hurt", function()
    if helper.grun:find("asan") then
      return pending("the sanitizer reserves more than the limit")
    end
    local out = run([[
      local n, ok, err = 0, nil, nil
      repeat
        ok, err = pcall(grun.spawn, grun.sleep, 100)
        n = n + 1
        if n % 1000 == 0 then
          grun.yield()
        end
      until not ok
      assert(n > 1000, n)
      assert(tostring(err):find("cannot spawn: out of memory for another stack", 1, true), err)
      local all = grun.threads()
      grun.killall({ unpack(all, 2, 1001) })
      print(grun.spawn(function() return "and again" end):get())
      os.exit(0)
    ]], "prlimit --as=3000000000")
    assert.same("and again\n", out)
  end)
end)
