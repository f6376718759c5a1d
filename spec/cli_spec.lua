-- SPDX-License-Identifier: MIT
-- The command line.

local helper = require("spec.helper")
local run, script, quote = helper.run_child, helper.script, helper.quote

-- Runs a command line of the shell; GRUN in it is the binary. Returns all output and the status.
local function shell(command)
  local pipe = io.popen(("GRUN=%s; { %s\n} 2>&1; echo \"=$?\""):format(quote(helper.grun), command))
  local text = pipe:read("*a")
  pipe:close()
  local output, status = text:match("^(.*)=(%d+)\n$")
  return output, tonumber(status)
end

-- Runs grun with the arguments; fails unless it ends with status 0 and nothing on stderr.
local function out(args, opts)
  local stdout, stderr, status = run(args, opts)
  assert.equal("", stderr)
  assert.equal(0, status)
  return stdout
end

local function contents(name)
  local file = assert(io.open(name, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function lines(text)
  local list = {}
  for line in text:gmatch("[^\n]+") do
    list[#list + 1] = line
  end
  return list
end

describe("grun -e and -l", function()
  it("run in their order and share globals", function()
    local load = "package.preload.m = function() print('loading m') return { x = 1 } end"
    assert.equal("loading m\n1\n2\n",
      out({ "-e", load, "-lm", "-e", "print(m.x) y = 2", "-l", "m", "-e", "print(y)" }))
  end)

  it("set globals that the script sees", function()
    assert.equal("5\n", out({ "-e", "x = 5", script("print(x)") }))
  end)

  it("have grun's functions as plain names, which are no globals", function()
    local source = "spawn(print, 'spawned') print(rawget(_G, 'spawn')) yield() print(type(timeout))"
    assert.equal("nil\nspawned\nfunction\n", out({ "-e", source }))
    assert.equal("nil\n", out({ script("print(spawn)") }))
  end)

  it("take the text attached to the option", function()
    assert.equal("1\n", out({ "-eprint(1)" }))
  end)

  it("wait, like every script", function()
    assert.equal("true\n", out({ "-e", "local t = now() sleep(0.01) print(now() - t >= 0.01)" }))
  end)

  it("read no script from stdin and start no prompt", function()
    assert.equal("1\n", out({ "-e", "print(1)" }, { stdin = "print(2)" }))
  end)
end)

describe("information", function()
  local version = "^grun %d+%.%d+%.%d+ %(LuaJIT 2%.1"

  it("comes from -v and --version", function()
    assert.matches(version, out({ "-v" }))
    assert.matches(version, out({ "--version" }))
  end)

  it("from -v comes before what a script prints", function()
    assert.matches(version .. ".-\nscript\n$", out({ "-v", script("print('script')") }))
  end)

  it("from --help names every option", function()
    local help = out({ "--help" })
    local options = "-e -l -i -v --version -E -j -O -- --check --stack-size --seed --log -q --quiet"
    for option in options:gmatch("%S+") do
      assert.truthy(help:find(" " .. option, 1, true), option)
    end
  end)
end)

describe("the environment", function()
  it("LUA_INIT is run first, as code", function()
    assert.equal("init\nscript\n",
      out({ "-e", "print('script')" }, { env = { LUA_INIT = "print('init')" } }))
  end)

  it("LUA_INIT=@file is run first, as a file", function()
    local file = script("print('init', ...) x = 1")
    assert.equal("init\n1\n", out({ "-e", "print(x)" }, { env = { LUA_INIT = "@" .. file } }))
  end)

  it("a bad LUA_INIT ends the run", function()
    for text, message in pairs({
      ["x ="] = "^grun: LUA_INIT:1: ",
      ["error('no', 0)"] = "^grun: no\n",
      ["@/nowhere.lua"] = "^grun: cannot open /nowhere.lua",
    }) do
      local stdout, stderr, status = run({ "-e", "print(1)" }, { env = { LUA_INIT = text } })
      assert.equal("", stdout)
      assert.matches(message, stderr)
      assert.equal(1, status)
    end
  end)

  it("LUA_PATH and LUA_CPATH are searched", function()
    local env = { LUA_PATH = "/some/where/?.lua;;", LUA_CPATH = "/else/where/?.so;;" }
    local paths = lines(out({ "-e", "print(package.path) print(package.cpath)" }, { env = env }))
    assert.equal(1, (paths[1]:find("/some/where/?.lua;", 1, true)))
    assert.equal(1, (paths[2]:find("/else/where/?.so;", 1, true)))
  end)

  it("is ignored with -E", function()
    local env = { LUA_PATH = "/some/where/?.lua", LUA_CPATH = "/else/?.so", LUA_INIT = "print(0)" }
    local text = out({ "-E", "-e", "print(package.path, package.cpath)" }, { env = env })
    assert.falsy(text:find("/some/where", 1, true))
    assert.falsy(text:find("/else/", 1, true))
    assert.falsy(text:find("^0\n"))
  end)
end)

describe("a script", function()
  it("gets its arguments as ... and arg, and what stands before it in negative indexes", function()
    local file = script("print(...) for i = -3, 3 do print(i, arg[i]) end")
    local expected = "a\tb\n-3\t%s\n-2\t-e\n-1\tx = 1\n0\t%s\n1\ta\n2\tb\n3\tnil\n"
    local text = out({ "-e", "x = 1", file, "a", "b" })
    assert.equal(expected:format(helper.grun, file), text)
  end)

  it("may have more arguments than fit on a small stack", function()
    local args = { script("print(select('#', ...), #arg, (select(5000, ...)))") }
    for i = 1, 5000 do
      args[i + 1] = tostring(i)
    end
    assert.equal("5000\t5000\t5000\n", out(args))
  end)

  it("takes words that look like options", function()
    assert.equal("-v\t--help\t--\n", out({ script("print(...)"), "-v", "--help", "--" }))
  end)

  it("comes from stdin without a name, or with the name -", function()
    assert.equal("nil\n", out({}, { stdin = "print((...))" }))
    assert.equal("a\tb\t-\n", out({ "-", "a", "b" }, { stdin = "print(..., arg[2], arg[0])" }))
  end)

  it("may read the rest of stdin", function()
    assert.equal("x\ny\n", out({ script("print(io.read('*a'))") }, { stdin = "x\ny" }))
  end)

  it("may begin with #! and may be bytecode", function()
    local file = script("#!/usr/bin/env grun\nprint('shebang', ...)")
    assert.equal("shebang\t1\n", out({ file, "1" }))
    assert.equal("shebang\n", out({ "-" }, { stdin = "#!/usr/bin/env grun\nprint('shebang')" }))
    local code = helper.tmpname(string.dump(loadstring("print('bytecode', ...)")))
    assert.equal("bytecode\t1\n", out({ code, "1" }))
  end)

  it("is one of several kinds of name after --", function()
    local file = script("print(...)")
    assert.equal(file .. "\n", out({ "--", file, file }))
    local odd = helper.tmpname("print('odd')")
    assert.equal("odd\n", out({ "--", odd }))
  end)

  it("may be executed itself", function()
    local file = script("#!" .. helper.grun .. "\nprint('executed', ...)")
    local absolute = helper.grun:sub(1, 1) == "/"
    if not absolute then
      return pending("the binary's path is not absolute")
    end
    assert.equal("executed\ta\n", (shell(("chmod +x %s; %s a"):format(file, file))))
  end)

  it("may be any Lua program", function()
    local busted, luacheck = shell("command -v busted"), shell("command -v luacheck")
    assert.matches("^%d+%.%d+", out({ (busted:gsub("\n", "")), "--version" }))
    assert.matches("Luacheck: %d", out({ (luacheck:gsub("\n", "")), "--version" }))
  end)

  it("runs in a thread and yet is the main coroutine", function()
    assert.equal("nil\ttrue\n",
      out({ script("print(coroutine.running(), grun.current() == grun.threads()[1])") }))
  end)
end)

describe("several scripts", function()
  it("run concurrently, each with its own globals over the common ones", function()
    local source = "x = '%s' shared.n = shared.n + 1 grun.yield() print(x, _G.x, shared.n)"
    local a, b = script(source:format("a")), script(source:format("b"))
    assert.equal("a\tnil\t2\nb\tnil\t2\n", out({ "-e", "shared = { n = 0 }", a, b }))
  end)

  it("have one arg each with the common arguments", function()
    local source = "grun.sleep(%g) print(arg[0], arg[1], arg[-1], rawget(_G, 'arg'), ...)"
    local a, b = script(source:format(0)), script(source:format(0.01))
    local format = "%s\tx\t%s\tnil\tx\ty\n"
    local expected = format:format(a, helper.grun) .. format:format(b, helper.grun)
    assert.equal(expected, out({ a, b, "x", "y" }))
  end)

  it("see the functions they load with their own globals", function()
    local a = script("x = 1 print(loadstring('return x')(), getfenv(0).x)")
    local b = script("x = 2 grun.yield() grun.spawn(load('print(x)'))")
    assert.equal("1\t1\n2\n", out({ a, b }))
  end)

  it("end with -- or with the first name that does not end in .lua", function()
    local a, b = script("print('a', ...)"), script("print('b', ...)")
    assert.equal("a\t" .. b .. "\nb\t" .. b .. "\n", out({ a, b, "--", b }))
    assert.equal("a\tword\nb\tword\n", (out({ a, b, "word", b }):gsub("\t/[^\n]*", "")))
  end)

  it("are named in reports of their failure; the others go on and the status is 1", function()
    local a = script("grun.sleep(0.01) print('a ends')")
    local b = script("error('b fails')")
    local stdout, stderr, status = run({ a, b })
    assert.equal("a ends\n", stdout)
    assert.equal(1, (stderr:find("grun: " .. b .. ":1: b fails\nstack traceback:\n", 1, true)))
    assert.equal(1, status)
  end)

  it("do not start when one of them cannot be loaded", function()
    local a, b = script("print('a')"), script("x =")
    local stdout, stderr, status = run({ a, b })
    assert.equal("", stdout)
    assert.matches("^grun: .-%.lua:1: unexpected symbol", stderr)
    assert.equal(1, status)
  end)

  it("end together at os.exit", function()
    assert.same({ "", "", 5 }, { run({ script("os.exit(5)"), script("grun.sleep(100)") }) })
  end)
end)

describe("LuaJIT's options", function()
  it("-joff, -jon and -jflush control the compiler", function()
    local show = "print((jit.status()))"
    assert.equal("false\ntrue\n", out({ "-joff", "-e", show, "-j", "on", "-jflush", "-e", show }))
  end)

  it("-jv shows traces, on stderr or in a file", function()
    local loop = "local n = 0 for i = 1, 1000 do n = n + i end"
    local stdout, stderr, status = run({ "-jv", "-e", loop })
    assert.same({ "", 0 }, { stdout, status })
    assert.matches("%[TRACE   1 ", stderr)
    local file = helper.tmpname()
    out({ "-jv=" .. file, "-e", loop })
    assert.matches("%[TRACE   1 ", contents(file))
  end)

  it("-O sets parameters and levels", function()
    local loop = "local n = 0 for i = 1, 20 do n = n + i end"
    local _, few = run({ "-jv", "-Ohotloop=1", "-e", loop })
    local _, none = run({ "-jv", "-e", loop })
    assert.matches("TRACE", few)
    assert.equal("", none)
    assert.falsy(out({ "-O0", "-e", "print(jit.status())" }):find("fold", 1, true))
    assert.truthy(out({ "-O", "-e", "print(jit.status())" }):find("fold", 1, true))
  end)
end)

describe("--stack-size", function()
  -- Every level is a C call on the C stack.
  local nested = [[
    local function nest(n)
      return n == 0 and "" or ("x"):gsub("x", function() return nest(n - 1) end)
    end
    grun.spawn(function() nest(60) print("deep enough") end)]]

  it("makes room for deeper C calls", function()
    assert.equal("deep enough\n", out({ "--stack-size", "2048", script(nested) }))
    assert.equal("deep enough\n", out({ "--stack-size=2048", script(nested) }))
  end)

  it("is small by default, and running over it names the thread", function()
    local stdout, stderr, status = run({ script(nested) })
    assert.equal("", stdout)
    assert.matches("^grun: C stack overflow in thread #2", stderr)
    assert.equal(134, status)
  end)
end)

describe("--seed", function()
  local source = "local s = {} for i = 1, 20 do grun.spawn(function() s[#s + 1] = i end) end " ..
    "grun.sleep(0.01) print(table.concat(s, ' '))"

  it("gives the same order for the same seed and another one for another", function()
    local file = script(source)
    local first = out({ "--seed", "7", file })
    assert.equal(first, out({ "--seed=7", file }))
    assert.not_equal(first, out({ "--seed", "8", file }))
    local numbers = {}
    for n in first:gmatch("%d+") do
      numbers[#numbers + 1] = tonumber(n)
    end
    table.sort(numbers)
    assert.equal(20, #numbers)
    assert.same({ 1, 20 }, { numbers[1], numbers[20] })
  end)

  it("is off by default: first come, first served", function()
    assert.equal("1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n", out({ script(source) }))
  end)
end)

describe("--log and -q", function()
  -- One of the runtime's own error messages.
  local source = "require('grun.core').hooks.deadlock = function() error('oops', 0) end " ..
    "require('grun.core').park('nothing')"

  it("choose which of the runtime's messages are shown", function()
    local file = script(source)
    for options in ("--log error, --log=debug, -q, --quiet"):gmatch("[^,]+") do
      local args = {}
      for word in options:gmatch("%S+") do
        args[#args + 1] = word
      end
      args[#args + 1] = file
      local _, stderr, status = run(args)
      assert.matches("^grun: deadlock: oops", stderr)
      assert.equal(2, status)
    end
    local _, stderr, status = run({ "--log", "none", file })
    assert.same({ "", 2 }, { stderr, status })
  end)
end)

describe("--check", function()
  it("compiles and runs nothing", function()
    local good = script("print('runs')")
    assert.equal("", out({ "--check", good }))
    assert.equal("", out({ "--check", good, good, "word" }))
    assert.equal("", out({ "--check", "-" }, { stdin = "print('runs')" }))
  end)

  it("names every script that does not compile, and its line", function()
    local good, bad, worse = script("print(1)"), script("\nx ="), script("end")
    local stdout, stderr, status = run({ "--check", bad, good, worse })
    assert.same({ "", 1 }, { stdout, status })
    assert.same({ "grun: " .. bad .. ":2: unexpected symbol near '<eof>'",
      "grun: " .. worse .. ":1: '<eof>' expected near 'end'" }, lines(stderr))
  end)
end)

describe("bad input", function()
  local cases = {
    { "an unknown short option", { "-z" }, "unknown option '-z'" },
    { "an unknown long option", { "--zzz" }, "unknown option '--zzz'" },
    { "a long option that is only begun", { "--see", "1" }, "unknown option '--see'" },
    { "a value of a long option without", { "--check=1" }, "unexpected value in '--check=1'" },
    { "letters behind a short option without value", { "-vx" }, "unknown option '-vx'" },
    { "-e without text", { "-e" }, "missing argument after '-e'" },
    { "-l without name", { "-l" }, "missing argument after '-l'" },
    { "-j without command", { "-j" }, "missing argument after '-j'" },
    { "--seed without number", { "--seed" }, "missing value after '--seed'" },
    { "--log without level", { "--log" }, "missing value after '--log'" },
    { "--seed with a word", { "--seed", "many" }, "--seed needs a whole number from 1 to" },
    { "--seed with nothing", { "--seed=" }, "--seed needs a whole number from 1 to" },
    { "--seed with a fraction", { "--seed", "1.5" }, "--seed needs a whole number from 1 to" },
    { "--seed with zero", { "--seed", "0" }, "--seed needs a whole number from 1 to" },
    { "--stack-size too small", { "--stack-size", "1" }, "--stack-size needs a whole number from" },
    { "--stack-size not a number", { "--stack-size=nan" }, "--stack-size needs a whole number" },
    { "--stack-size too big", { "--stack-size=1e99" }, "--stack-size needs a whole number from" },
    { "an unknown level", { "--log", "loud" }, "unknown log level 'loud'" },
    { "an unknown -j command", { "-jzzz" }, "unknown LuaJIT command 'zzz'" },
    { "an unknown -O flag", { "-Ozzz" }, "bad optimisation option '-Ozzz'" },
    { "a missing module", { "-l", "no.such.module" }, "module 'no.such.module' not found" },
    { "-e with a syntax error", { "-e", "x = = 1" }, "(command line):1: unexpected symbol near" },
    { "-e that fails", { "-e", "error('no luck')" }, "(command line):1: no luck" },
    { "a missing script", { "/no/such.lua" }, "cannot open /no/such.lua: No such file" },
    { "a directory as script", { "spec" }, "cannot read spec: Is a directory" },
    { "--check without script", { "--check" }, "--check needs a script" },
    { "--check of a missing script", { "--check", "/no/such.lua" }, "cannot open /no/such.lua" },
  }
  for _, case in ipairs(cases) do
    it(case[1] .. " is named on stderr, with status 1", function()
      local stdout, stderr, status = run(case[2])
      assert.equal("", stdout)
      assert.equal(1, (stderr:find("grun: " .. case[3], 1, true)), stderr)
      assert.equal(1, status)
    end)
  end

  it("a syntax error in the script is named with file and line", function()
    local file = script("local x = 1\nif x then\n")
    local stdout, stderr, status = run({ file })
    local message = "grun: %s:3: 'end' expected (to close 'if' at line 2) near '<eof>'\n"
    assert.equal(message:format(file), stderr)
    assert.same({ "", 1 }, { stdout, status })
  end)

  it("broken bytecode and binary rubbish are errors", function()
    for _, text in ipairs({ "\27Lua rubbish", "\27LJ\2", "\0\1\2\3" }) do
      local stdout, stderr, status = run({ helper.tmpname(text) })
      assert.same({ "", 1 }, { stdout, status })
      assert.matches("^grun: ", stderr)
    end
  end)

  it("an unreadable script is an error", function()
    local file = script("print(1)")
    local as_nobody = "setpriv --reuid=nobody --clear-groups -- \"$GRUN\" "
    if not shell(as_nobody .. "-v"):find("^grun") then
      return pending("cannot become a user who may not read it")
    end
    local text, status = shell(("chmod 0 %s; %s %s"):format(file, as_nobody, file))
    assert.matches("grun: cannot open .*: Permission denied", text)
    assert.equal(1, status)
  end)
end)

describe("the exit status", function()
  local cases = {
    { "0 when the script ends", "return 5", 0 },
    { "1 when the script fails", "error('x')", 1, "x" },
    { "1 when it fails after the other threads",
      "grun.spawn(grun.sleep, 0) grun.sleep(0.01) error('x')", 1, "x" },
    { "0 when only another thread fails", "grun.spawn(error, 'x')", 0, "thread #2 failed: x" },
    { "1 for an error that is no string", "error({})", 1, "error object is a table value" },
    { "that of os.exit", "os.exit(3)", 3 },
    { "0 for os.exit()", "os.exit()", 0 },
    { "0 for os.exit(true)", "os.exit(true)", 0 },
    { "1 for os.exit(false)", "os.exit(false)", 1 },
    { "the low byte for os.exit(256 + 7)", "os.exit(256 + 7)", 7 },
    { "that of os.exit in another thread", "grun.spawn(os.exit, 4) grun.sleep(100)", 4 },
    { "that of os.exit in a coroutine", "coroutine.wrap(function() os.exit(6) end)()", 6 },
    { "that of os.exit under pcall", "print(pcall(os.exit, 8))", 8 },
    { "that of os.exit after a failure", "grun.spawn_later(0.01, os.exit, 9) error('x')", 9, "x" },
    { "0 when the script kills itself", "grun.current():kill()", 0 },
    { "1 when it fails as it is killed",
      "pcall(grun.current().kill, grun.current()) error('x')", 1, "x" },
  }
  for _, case in ipairs(cases) do
    it("is " .. case[1], function()
      local stdout, stderr, status = run({ script(case[2]) })
      assert.equal("", stdout)
      assert.equal(case[3], status)
      if case[4] then
        assert.truthy(stderr:find(case[4], 1, true), stderr)
      else
        assert.equal("", stderr)
      end
    end)
  end

  it("is 0 once servers and threads have ended after the script", function()
    local source = "local s = assert(grun.server('tcp://127.0.0.1:0', function() end)) " ..
      "grun.spawn_later(0.02, function() s:stop() print('stopped') end)"
    assert.equal("stopped\n", out({ script(source) }))
  end)
end)

describe("os.exit", function()
  local closed = "local p = newproxy(true) getmetatable(p).__gc = function() print('closed') end "

  it("closes the state only when told so", function()
    assert.equal("", out({ script(closed .. "os.exit(0)") }))
    assert.equal("closed\n", out({ script(closed .. "os.exit(0, true)") }))
    assert.equal("closed\n", out({ script(closed) }))
  end)

  it("flushes what was written", function()
    assert.equal("text", out({ script("io.write('text') os.exit(0)") }))
  end)

  it("leaves no time to the other threads", function()
    local source = "grun.spawn(function() pcall(grun.sleep, 100) print('cleaned up') end) " ..
      "grun.yield() os.exit(0)"
    assert.equal("", out({ script(source) }))
  end)
end)

describe("a deadlock", function()
  it("is reported with every thread, what it waits on and where; the status is 2", function()
    local file = script([[
      local e = require("grun").event()
      local t = grun.spawn(function() e:wait() end)
      t.name = "waiter"
      t:join()]])
    local stdout, stderr, status = run({ file })
    assert.same({ "", 2 }, { stdout, status })
    local report = stderr:gsub(file:gsub("%p", "%%%0"), "SCRIPT")
    assert.matches("^grun: deadlock: 2 threads wait for what can never happen\n", report)
    assert.matches("\nthread #1 \"SCRIPT\" waiting on thread%.join %(SCRIPT:4%)\n", report)
    assert.matches("\n  thread #2 \"waiter\" waiting on event%.wait %(SCRIPT:2%)\n", report)
    assert.matches("\n      SCRIPT:2: in function <SCRIPT:2>\n", report)
  end)

  it("of one thread is reported in the singular", function()
    local _, stderr, status = run({ "-e", "event():wait()" })
    assert.matches("^grun: deadlock: 1 thread waits for", stderr)
    assert.equal(2, status)
  end)

  it("is not seen where something can still happen", function()
    local sources = {
      timer = "local e = event() spawn_later(0.05, e.set, e) e:wait()",
      timeout = "event():wait(0.05)",
      scope = "timeout(0.05, function() event():wait() end)",
      descriptor = "local a, b = pair() spawn(function() a:read(1) e:set() end) e = event() " ..
        "spawn_later(0.05, b.write, b, 'x') e:wait()",
      idle = "local e = event() spawn(function() idle() e:set() end) e:wait()",
    }
    for name, source in pairs(sources) do
      assert.same({ "", "", 0 }, { run({ "-e", source }) }, name)
    end
  end)

  it("is not seen when only threads are left that do not count", function()
    local source = "local core = require('grun.core') " ..
      "core.daemon(spawn(function() event():wait() end)[1]) sleep(0.01) print('end')"
    assert.equal("end\n", out({ "-e", source }))
    local _, stderr, status = run({ "-e", source .. " event():wait()" })
    assert.matches("deadlock: 1 thread waits", stderr)
    assert.equal(2, status)
  end)

  it("is not seen while a server listens", function()
    local source = "local s = grun.server('tcp://127.0.0.1:0', function() end) " ..
      "spawn_later(0.05, s.stop, s) event():wait(0.1) print('end')"
    assert.equal("end\n", out({ "-e", source }))
  end)
end)

describe("standard files", function()
  it("may be closed: nothing of ours takes their place", function()
    local source = "local a = grun.pair() print('into a socket') io.stderr:write('x') " ..
      "local f = io.open(arg[1], 'w') f:write(a:fd()) f:close()"
    local result = helper.tmpname()
    local text, status = shell(("\"$GRUN\" %s %s <&- >&- 2>&-"):format(script(source), result))
    assert.same({ "", 0 }, { text, status })
    assert.truthy(tonumber(contents(result)) > 2)
  end)

  it("may be full: the script goes on", function()
    local source = script("print('x') io.flush()")
    assert.same({ "", 0 }, { shell("\"$GRUN\" " .. source .. " >/dev/full") })
  end)
end)
