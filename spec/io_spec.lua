-- SPDX-License-Identifier: MIT
-- Lua's own io library parks only the thread that waits. What it does otherwise is compared with
-- LuaJIT's in io_compare_spec.lua.

local grun = require("grun")
local helper = require("spec.helper")
local net_helper = require("spec.net_helper")
local terminal = require("spec.cli.terminal")

local parked = net_helper.parked

-- Counts until stop() is called, which returns the longest pause in seconds.
local function ticker()
  local worst, last, stopped = 0, grun.now(), false
  helper.spawn(function()
    while not stopped do
      grun.sleep(0.001)
      worst = math.max(worst, grun.now() - last)
      last = grun.now()
    end
  end)
  return function()
    stopped = true
    return math.max(worst, grun.now() - last)
  end
end

local function contents(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

-- A pipe that a program writes to later: a fifo, both ends of it. The writing end never blocks
-- because of a missing reader.
local function fifo()
  local name = helper.tmpname()
  os.remove(name)
  assert(os.execute("mkfifo " .. name) == 0)
  return name
end

-- Our own children that have ended and were not waited for.
local function zombies()
  local pipe = io.popen("ps -o stat= --ppid $PPID | grep -c ^Z")
  local n = tonumber(pipe:read("*l"))
  pipe:close()
  return n
end

describe("reading", function()
  it("lets the other threads go on", function()
    local pipe = io.popen("sleep 0.3; echo done")
    local stop = ticker()
    assert.equal("done", pipe:read())
    assert.is_true(stop() < 0.2)
    pipe:close()
  end)

  it("keeps a partial line while others use LuaJIT's buffers", function()
    local pipe = io.popen("for i in 1 2 3 4; do printf part; sleep 0.05; printf 'ial\\n'; done")
    local stopped = false
    for i = 1, 3 do
      helper.spawn(function()
        while not stopped do
          assert(#string.format("%s%d", ("Q"):rep(5000), i) == 5001)
          grun.yield()
        end
      end)
    end
    local lines = {}
    for line in pipe:lines() do
      lines[#lines + 1] = line
    end
    stopped = true
    pipe:close()
    assert.same({ "partial", "partial", "partial", "partial" }, lines)
  end)

  it("takes 10 MiB from a program", function()
    local pipe = io.popen("head -c 10485760 /dev/zero")
    local stop = ticker()
    local text = pipe:read("*a")
    assert.is_true(stop() < 0.2)
    assert.equal(10485760, #text)
    assert.is_nil(text:find("[^%z]"))
    assert.is_true(pipe:close())
  end)

  it("lets others run even when there is always more", function()
    local pipe = io.popen("exec cat /dev/zero")
    local ticks = 0
    local t = helper.spawn(function()
      while true do
        assert(pipe:read(100000))
      end
    end)
    for _ = 1, 20 do
      grun.sleep(0.001)
      ticks = ticks + 1
    end
    t:kill()
    assert.equal(20, ticks)
    pipe:close()
  end)

  it("keeps a line with zero bytes whole", function()
    local name = helper.tmpname("a\0b\nc\0\nd")
    for _, file in ipairs({ io.open(name), io.popen("cat " .. name) }) do
      assert.same({ "a\0b", "c\0", "d" }, { file:read("*l", "*l", "*l") })
      file:close()
    end
  end)

  it("gives each of several threads whole lines", function()
    local pipe = io.popen("for i in $(seq 50); do printf 'line '; sleep 0.002; echo $i; done")
    local seen, threads = {}, {}
    for i = 1, 5 do
      threads[i] = helper.spawn(function()
        for line in pipe:lines() do
          seen[#seen + 1] = line
        end
      end)
    end
    grun.joinall(threads)
    pipe:close()
    table.sort(seen)
    assert.equal(50, #seen)
    for _, line in ipairs(seen) do
      assert.matches("^line %d+$", line)
    end
  end)

  local broken_off = {
    { "a partial line", "abc", "def\n", "*l", "abcdef" },
    { "lines before it in the same call", "one\ntw", "o\n", { "*l", "*l" }, { "one", "two" } },
    { "everything", "some", "thing\n", "*a", "something\n" },
    { "a length", "1234", "5678\n", 6, "123456" },
    { "a number", "12", "34 x\n", "*n", 1234 },
  }
  for _, case in ipairs(broken_off) do
    it("that is cancelled loses nothing: " .. case[1], function()
      local name = fifo()
      local writer = io.open(name, "r+")
      local pipe = io.open(name)
      local formats = type(case[4]) == "table" and case[4] or { case[4] }
      local function read()
        return pipe:read(unpack(formats))
      end
      writer:write(case[2])
      writer:flush()
      local t = parked(read)
      t:kill()
      assert.equal("cancelled", t:status())
      assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.02, read) })
      writer:write(case[3])
      writer:close()
      local expected = type(case[5]) == "table" and case[5] or { case[5] }
      assert.same(expected, { read() })
      pipe:close()
      os.remove(name)
    end)
  end

  it("ends with \"closed\" when another thread closes the file", function()
    local name = fifo()
    local writer = io.open(name, "r+")
    local pipe = io.open(name)
    local first = parked(pipe.read, pipe)
    local second = parked(pipe.read, pipe)
    local third = parked(function()
      for _ in pipe:lines() do
        error("there is none")
      end
    end)
    local reports = helper.reports(function()
      assert.is_true(pipe:close())
      grun.joinall({ first, second, third })
    end)
    assert.same({ nil, "closed", "closed" }, { first:get() })
    assert.same({ nil, "closed", "closed" }, { second:get() })
    assert.matches("attempt to use a closed file", reports[1].err)
    assert.has_error(function() pipe:read() end, "attempt to use a closed file")
    writer:close()
    os.remove(name)
  end)

  it("waits where the descriptor says EAGAIN", function()
    local out, err, status = helper.run_script([[
      local p = io.popen("{ sleep 0.1; echo late; } | perl -e 'use Fcntl; " ..
        "fcntl(STDIN, F_SETFL, O_NONBLOCK); exec @ARGV' " .. arg[-1] ..
        " -e 'print(io.read(\"*l\"), io.read(\"*l\"))'")
      io.write(p:read("*a"))]])
    assert.same({ "late\tnil\n", "", 0 }, { out, err, status })
  end)

  it("works in hooks and finalizers, where it blocks", function()
    local out, err, status = helper.run_script([[
      local ticks, in_gc = 0
      grun.spawn(function() while in_gc ~= "x\n" do ticks = ticks + 1 grun.sleep(0.005) end end)
      grun.sleep(0.02)
      local p, line = io.popen("sleep 0.1; echo hooked")
      debug.sethook(function() debug.sethook() line = p:read() end, "", 1)
      local before = ticks
      local x = 1
      assert(ticks == before and line == "hooked", line)
      p = io.popen("sleep 0.1; echo x")
      local proxy = newproxy(true)
      getmetatable(proxy).__gc = function() in_gc = p:read("*a") p:close() end
      proxy = nil
      collectgarbage() collectgarbage()
      print(in_gc, ticks == before)]])
    assert.same({ "x\n\ttrue\n", "", 0 }, { out, err, status })
  end)
end)

describe("standard input", function()
  it("is read by one thread while others run", function()
    local script = helper.script([[
      local ticks = 0
      local t = grun.spawn(function() while true do grun.sleep(0.005) ticks = ticks + 1 end end)
      for line in io.lines() do print(line, ticks > 5) end
      t:cancel()]])
    local pipe = io.popen(("{ sleep 0.2; echo a; sleep 0.1; echo b; } | %s %s")
      :format(helper.grun, script))
    assert.equal("a\ttrue\nb\ttrue\n", pipe:read("*a"))
    pipe:close()
  end)

  it("may be a terminal: the prompt is there before the wait, and others run", function()
    local t = terminal.open({ helper.script([[
      local ticks = 0
      local t = grun.spawn(function() while true do grun.sleep(0.005) ticks = ticks + 1 end end)
      io.write("name? ")
      local name = io.read()
      print(("hello %s, %s"):format(name, tostring(ticks > 5)))
      t:cancel()]]) })
    finally(function()
      t:destroy()
    end)
    t:expect("name%? ")
    grun.sleep(0.1)
    t:type("ann\r", "hello ann, true")
    assert.equal(0, t:finish())
  end)

  it("is shared with the prompt", function()
    local pipe = io.popen(("printf 'x = io.read()\\na line\\nprint(x)\\n' | %s -i -q 2>&1")
      :format(helper.grun))
    assert.matches("a line\n", pipe:read("*a"))
    pipe:close()
  end)
end)

describe("writing", function()
  it("to a slow reader lets the others go on", function()
    local name = helper.tmpname()
    local pipe = io.popen("sleep 0.3; cat >" .. name, "w")
    local text = net_helper.noise(200000)
    local stop = ticker()
    assert.is_true(pipe:write(text))
    assert.is_true(stop() < 0.2)
    assert.is_true(pipe:close())
    assert.is_true(net_helper.same(text, contents(name)))
  end)

  it("by four threads to a full pipe loses and mixes no line", function()
    local name = helper.tmpname()
    local pipe = io.popen("sleep 0.1; cat >" .. name, "w")
    local threads = {}
    for i = 1, 4 do
      threads[i] = helper.spawn(function()
        for j = 1, 2000 do
          assert(pipe:write(i, " ", j, " ", ("x"):rep(60 + j % 7), "\n"))
          if j % 500 == 0 then
            grun.yield()
          end
        end
      end)
    end
    local stop = ticker()
    grun.joinall(threads, { raise = true })
    assert.is_true(stop() < 0.2)
    pipe:close()
    local seen, n = {}, 0
    for line in io.lines(name) do
      local i, j, rest = line:match("^(%d) (%d+) (x+)$")
      assert(i and #rest == 60 + j % 7 and not seen[i .. " " .. j], line)
      seen[i .. " " .. j] = true
      n = n + 1
    end
    assert.equal(8000, n)
  end)

  it("big texts by several threads does not mix them", function()
    local name = helper.tmpname()
    local pipe = io.popen("sleep 0.1; cat >" .. name, "w")
    local threads = {}
    for i = 1, 4 do
      threads[i] = helper.spawn(function()
        return assert(pipe:write(i, (tostring(i)):rep(150000), "\n"))
      end)
    end
    grun.joinall(threads, { raise = true })
    pipe:close()
    local lines = {}
    for line in io.lines(name) do
      lines[#lines + 1] = line
    end
    table.sort(lines)
    for i = 1, 4 do
      assert.is_true(net_helper.same((tostring(i)):rep(150001), lines[i]))
    end
  end)

  it("buffers as before", function()
    local name = fifo()
    local reader, pipe = io.open(name, "r+"), io.open(name, "w")
    local t = parked(reader.read, reader)
    pipe:write("line\n")
    grun.sleep(0.02)
    assert.equal("waiting", t:status())
    pipe:flush()
    assert.equal("line", t:get())
    pipe:setvbuf("line")
    pipe:write("a\nb")
    assert.equal("a", reader:read())
    t = parked(reader.read, reader)
    pipe:write("\n")
    assert.equal("b", t:get())
    pipe:setvbuf("no")
    t = parked(reader.read, reader, 1)
    pipe:write("c")
    assert.equal("c", t:get())
    pipe:setvbuf("full", 100)
    pipe:write(("y"):rep(250))
    pipe:flush()
    assert.equal(("y"):rep(250), reader:read(250))
    pipe:close()
    reader:close()
    os.remove(name)
  end)

  it("that is cancelled or past a deadline raises, and the file can be used on", function()
    local pipe = io.popen("sleep 0.3; cat >/dev/null", "w")
    local t = parked(pipe.write, pipe, ("x"):rep(200000))
    t:kill()
    assert.equal("cancelled", t:status())
    assert.same({ nil, "timeout", "timeout" },
      { grun.timeout(0.02, pipe.write, pipe, ("x"):rep(200000)) })
    io.popen("exit 0"):close()
    pipe:setvbuf("full", 1024)
    pipe:close()
  end)

  it("keeps what is buffered when a flush is cancelled", function()
    local name = helper.tmpname()
    local pipe = io.popen("sleep 0.3; cat >" .. name, "w")
    pipe:write(("x"):rep(65536))
    pipe:flush()
    pipe:write("the end")
    local t = parked(pipe.flush, pipe)
    t:kill()
    pipe:close()
    assert.equal(("x"):rep(65536) .. "the end", contents(name))
  end)

  it("ends with \"closed\" when another thread closes the file", function()
    local pipe = io.popen("exec sleep 0.3", "w")
    local first = parked(pipe.write, pipe, ("x"):rep(200000))
    local second = parked(pipe.write, pipe, "y")
    local third = parked(pipe.flush, pipe)
    pipe:close()
    assert.same({ nil, "closed", "closed" }, { first:get() })
    assert.same({ nil, "closed", "closed" }, { second:get() })
    assert.same({ nil, "closed", "closed" }, { third:get() })
  end)

  it("to a terminal that nobody reads lets the others go on", function()
    local result = helper.tmpname()
    local t = terminal.open({ helper.script(([[
      local worst, last = 0, grun.now()
      local t = grun.spawn(function()
        for _ = 1, 1000 do
          grun.sleep(0.001)
          worst, last = math.max(worst, grun.now() - last), grun.now()
        end
        local f = io.open(%q, "w")
        f:write(worst < 0.2 and "went on" or worst)
        f:close()
      end)
      for i = 1, 20000 do print(i, ("x"):rep(60)) end
      print("the end")]]):format(result)) })
    finally(function()
      t:destroy()
    end)
    local limit = grun.now() + 10
    while contents(result) == "" and grun.now() < limit do
      grun.sleep(0.05)
    end
    assert.equal("went on", contents(result))
    local text = t:expect("the end")
    local n = 0
    for i, rest in text:gmatch("(%d+)%s(x+)\r\n") do
      n = n + 1
      assert(tonumber(i) == n and #rest == 60, i)
    end
    assert.equal(20000, n)
    assert.equal(0, t:finish())
  end)

  it("waits where the descriptor says EAGAIN", function()
    local script = helper.script([[
      for i = 1, 20000 do print(i, ("x"):rep(60)) end
      io.write(("y"):rep(200000), "\n")
      io.flush()
      io.stderr:write("ended\n")]])
    local result = helper.tmpname()
    local pipe = io.popen(("perl -e 'use Fcntl; fcntl(STDOUT, F_SETFL, O_WRONLY|O_NONBLOCK); " ..
      "exec @ARGV' %s %s 2>%s | { sleep 0.2; cat; }"):format(helper.grun, script, result))
    for i = 1, 20000 do
      assert.equal(i .. "\t" .. ("x"):rep(60), pipe:read())
    end
    assert.is_true(net_helper.same(("y"):rep(200000) .. "\n", pipe:read("*a")))
    pipe:close()
    assert.equal("ended\n", contents(result))
  end)

  it("by print puts whole lines into a full pipe", function()
    local script = helper.script([[
      for i = 1, 4 do
        grun.spawn(function()
          for j = 1, 1000 do print(i, j, ("x"):rep(50 + j % 7)) end
        end)
      end
      local slow = setmetatable({}, { __tostring = function() grun.sleep(0.02) return "slow" end })
      grun.spawn(print, "before", slow, "after")]])
    local pipe = io.popen(("%s %s | { sleep 0.2; cat; }"):format(helper.grun, script))
    local seen, n = {}, 0
    for line in pipe:lines() do
      if line ~= "before\tslow\tafter" then
        local i, j, rest = line:match("^(%d)\t(%d+)\t(x+)$")
        assert(i and #rest == 50 + j % 7 and not seen[i .. " " .. j], line)
        seen[i .. " " .. j] = true
      end
      n = n + 1
    end
    pipe:close()
    assert.equal(4001, n)
  end)
end)

describe("io.popen", function()
  it("runs many programs at once", function()
    local threads, start = {}, grun.now()
    for i = 1, 20 do
      threads[i] = helper.spawn(function()
        local pipe = io.popen("sleep 0.2; echo " .. i)
        local text = pipe:read("*a")
        return text, pipe:close()
      end)
    end
    for i, t in ipairs(threads) do
      assert.same({ i .. "\n", true }, { t:get() })
    end
    assert.is_true(grun.now() - start < 1.5)
  end)

  it("feeds programs that wait for each other", function()
    local name = helper.tmpname()
    local full = io.popen(("while [ ! -s %s ]; do sleep 0.01; done; cat >/dev/null"):format(name), "w")
    local t = parked(full.write, full, ("x"):rep(100000))
    io.popen("echo go >" .. name):close()
    assert.is_true(t:get())
    full:close()
  end)

  it("writes out other files before, waiting where it has to", function()
    local name = helper.tmpname()
    local full = io.popen(("while [ ! -s %s ]; do sleep 0.01; done; cat >/dev/null"):format(name), "w")
    full:write(("x"):rep(65536))
    full:flush()
    full:write("buffered")
    local t = parked(io.popen, "exit 0")
    local file = io.open(name, "w")
    file:write("go")
    file:close()
    assert.is_true(t:get():close())
    full:close()
  end)

  it("leaves no zombie and no descriptor when a close is cancelled", function()
    local pipe = io.popen("exec sleep 0.2")
    local t = parked(pipe.close, pipe)
    t:kill()
    assert.equal("closed file", io.type(pipe))
    grun.sleep(0.4)
    assert.equal(0, zombies())
  end)

  it("leaves none and does not block when a file is collected", function()
    local function leave()
      io.popen("exec sleep 1")
      local pipe = io.popen("exec sleep 1", "w")
      pipe:write(("x"):rep(65536))
      pipe:flush()
      pipe:write("never read")
      return setmetatable({ pipe }, { __mode = "v" })
    end
    local left = leave()
    local start = grun.now()
    collectgarbage()
    collectgarbage()
    assert.is_nil(left[1])
    assert.is_true(grun.now() - start < 0.8)
    grun.sleep(1.2)
    assert.equal(0, zombies())
  end)

  it("fails when there are no descriptors left", function()
    local out, err, status = helper.run_script([[
      local list, n = {}, 0
      repeat
        n = n + 1
        list[n] = io.open("/dev/null")
      until not list[n]
      for _ = 1, 3 do
        print(io.popen("true"))
        n = n - 1
        list[n]:close()
      end
      for i = 1, n - 1 do
        list[i]:close()
      end
      print(io.popen("true"))
      print(os.execute("exit 1"))]], { prefix = "prlimit --nofile=60" })
    local failure = "nil\ttrue: Too many open files\t24\n"
    assert.equal(failure:rep(3), out:sub(1, 3 * #failure))
    assert.matches("file %(0x%x+%)\n256\n$", out)
    assert.same({ "", 0 }, { err, status })
  end)
end)

describe("os.execute", function()
  it("runs many programs at once and tells their status", function()
    local threads, start = {}, grun.now()
    for i = 1, 20 do
      threads[i] = helper.spawn(os.execute, "sleep 0.2; exit " .. i)
    end
    local stop = ticker()
    for i, t in ipairs(threads) do
      assert.equal(i * 256, t:get())
    end
    assert.is_true(stop() < 0.2)
    assert.is_true(grun.now() - start < 1.5)
    assert.equal(9, os.execute("kill -9 $$"))
  end)

  it("raises when its thread is cancelled, and leaves no zombie", function()
    local t = parked(os.execute, "exec sleep 10")
    t:kill()
    assert.equal("cancelled", t:status())
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.05, os.execute, "exec sleep 10") })
    grun.sleep(0.1)
    assert.equal(0, zombies())
  end)
end)

describe("all of it", function()
  -- Many threads read, write, are cancelled and time out, in loops that are compiled.
  local STRESS = [[
    local checks = 0
    local function worker(i)
      local p = io.popen("exec sleep 1")
      for j = 1, 5 do
        local q = io.popen("for i in 1 2 3 4 5 6 7 8 9 10; do echo $i 0x$i; done")
        local sum = 0
        for k = 1, 10 do
          local a, b = q:read("*n", "*n", 1)
          sum = sum + a + b
          for l = 1, 100 do sum = sum + l - l end
        end
        assert(sum == 116, sum)
        assert(q:read() == nil and q:close())
        local ok, message = grun.timeout(0.001, p.read, p)
        assert(message == "timeout")
        for l = 1, 100 do checks = checks + (ok and 1 or 0) end
        checks = checks + 1
        assert(select("#", pcall(string.rep, "x", 10)) == 2)
      end
      p = nil
    end
    local threads = {}
    for i = 1, 8 do threads[i] = grun.spawn(worker, i) end
    local w = io.popen("cat >/dev/null", "w")
    for i = 1, 3 do
      threads[#threads + 1] = grun.spawn(function()
        for j = 1, 20000 do assert(w:write(i, " ", j, "\n")) end
      end)
    end
    grun.joinall(threads, { raise = true })
    w:close()
    print(checks)]]

  for _, options in ipairs({ "", "-joff", "-Ohotloop=1,hotexit=1" }) do
    it("holds in compiled loops: options " .. options, function()
      local args = { helper.script(STRESS) }
      if options ~= "" then
        table.insert(args, 1, options)
      end
      assert.same({ "40\n", "", 0 }, { helper.run_child(args, { stdin = "" }) })
    end)
  end

  it("follows when standard output becomes another file", function()
    local name = helper.tmpname()
    local script = helper.script([[
      local ffi = require("ffi")
      ffi.cdef("int dup2(int, int); int open(const char *, int, ...);")
      print(("x"):rep(100000))
      io.flush()
      ffi.C.dup2(ffi.C.open(arg[1], 1), 1)
      print(("y"):rep(100000))
      io.write("end\n")]])
    local pipe = io.popen(("timeout 10 %s %s %s"):format(helper.grun, script, name))
    assert.equal(100001, #pipe:read("*a"))
    pipe:close()
    assert.equal(("y"):rep(100000) .. "\nend\n", contents(name))
  end)
end)

describe("a closed pipe", function()
  local endless = {
    'while true do print("x") end',
    'while true do io.write("x\\n") end',
    'while true do io.stdout:write("x\\n") io.flush() end',
    'for i = 1, 4 do spawn(function() while true do print("x") sleep(0) end end) end',
  }
  for _, source in ipairs(endless) do
    it("on standard output ends the process as others: " .. source, function()
      local pipe = io.popen(("{ timeout 20 %s -e %s 2>&1; echo $? >&2; } 2>&1 >&3 3>&- | cat")
        :format(helper.grun, helper.quote(source)):gsub("^", "{ ") .. "; } 3>&1 | head -n 1")
      pipe:close()
      local result = helper.tmpname()
      pipe = io.popen(("{ timeout 20 %s -e %s; echo $? >%s; } | head -n 1"):format(helper.grun,
        helper.quote(source), result))
      assert.equal("x\n", pipe:read("*a"))
      pipe:close()
      assert.equal("141\n", contents(result))
    end)
  end

  it("is an error where SIGPIPE was ignored from the start, and print goes on", function()
    local result = helper.tmpname()
    local script = helper.script([[
      for i = 1, 1e5 do print(i) end
      local ok, message, code = io.write(("x"):rep(1e5))
      io.stderr:write(tostring(ok), " ", message, " ", code, "\n")]])
    local pipe = io.popen(("{ trap '' PIPE; timeout 20 %s %s 2>%s; echo $? >>%s; } | head -n 1")
      :format(helper.grun, script, result, result))
    assert.equal("1\n", pipe:read("*a"))
    pipe:close()
    assert.equal("nil Broken pipe 32\n0\n", contents(result))
  end)

  it("of a program is an error", function()
    local pipe = io.popen("exec true <&-", "w")
    local ok, message, code
    repeat
      ok, message, code = pipe:write(("x"):rep(10000))
    until not ok
    assert.same({ "Broken pipe", 32 }, { message, code })
    pipe:close()
  end)
end)
