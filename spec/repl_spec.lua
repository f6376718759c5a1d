-- SPDX-License-Identifier: MIT
-- The prompt: first with input from a pipe, then at a terminal.

local grun = require("grun")
local lfs = require("lfs")

local helper = require("spec.helper")
local terminal = require("spec.cli.terminal")

-- Runs the prompt over a text; returns what came on stdout without prompts, and stderr.
local function prompt(text, args)
  local stdout, stderr, status = helper.run_child(args or { "-i", "-q" }, { stdin = text })
  assert.equal(0, status)
  return stdout, stderr
end

-- The output of chunks that succeed: without the prompts at the beginnings of lines.
local function values(text)
  local stdout, stderr = prompt(text)
  assert.equal("", stderr)
  return (("\n" .. stdout):gsub("\n[> ]*", "\n"):gsub("^\n*", ""):gsub("\n*$", ""))
end

describe("the prompt", function()
  it("begins with a banner unless told not to", function()
    assert.matches("^grun %d+%.%d+%.%d+ %(LuaJIT [^\n]*%)\n> \n$", prompt("", { "-i" }))
    assert.equal("> \n", prompt("", { "-i", "-q" }))
  end)

  local cases = {
    { "prints the values of expressions", "1 + 1\n'a', nil, 3\n", "2\na\tnil\t3" },
    { "prints the values of = expressions", "= 1 + 1\n=2\n", "2\n2" },
    { "prints what a call returns, also nothing", "print(5)\nselect(2, 1, 'x')\n", "5\nx" },
    { "prints nil", "nil\n(nil)\n", "nil\nnil" },
    { "prints what a return statement returns", "return 1, 2\n", "1\t2" },
    { "prints nothing for statements", "x = 1\nlocal y = 2\ndo end\n", "" },
    { "keeps globals and forgets locals", "x = 1\nlocal y = 2\nx\ny\n_G.x\n", "1\nnil\n1" },
    { "takes comments and empty lines", "\n   \n-- no\n1 -- yes\n--[[\nlong\n]] 2\n", "1\n2" },
    { "goes on with an incomplete statement", "for i = 1, 2 do\nprint(i)\nend\n", "1\n2" },
    { "goes on with an incomplete expression", "1 +\n2\n#{\n5,\n6 }\n[[a\nb]]\n", "3\n2\na\nb" },
    { "has grun's functions as names", "type(sleep)\nrawget(_G, 'sleep')\n", "function\nnil" },
    { "calls print", "print = function(v) io.write('<', v, '>\\n') end\n1\n", "<1>" },
    { "calls __tostring, which may wait",
      "setmetatable({}, { __tostring = function() sleep(0) return 'obj' end })\n", "obj" },
    { "prints numbers as print does", "1e100\n1/0\n0x10\n", "1e+100\ninf\n16" },
    { "takes a last line without its end", "1\n2", "1\n2" },
    { "takes lines of any length", "#'" .. ("x"):rep(100000) .. "'\n", "100000" },
    { "leaves the next line to io.read", "x = io.read()\nhello\nx\nio.read('*n')\n42\n",
      "hello\n42" },
    { "ends at os.exit", "1\nos.exit(0)\n2\n", "1" },
  }
  for _, case in ipairs(cases) do
    it(case[1], function()
      assert.equal(case[3], values(case[2]))
    end)
  end

  it("shows a second prompt for what is incomplete", function()
    assert.equal("> >> 3\n> >> >> 6\n> \n", prompt("1 +\n2\n#{\n5, 6, 7, 8, 9,\n10}\n"))
  end)

  local shown = {
    { "{}", "{}" },
    { "{ 1, 'a\\n', nil, x = { y = true } }", '{ 1, "a\\n", x = { y = true } }' },
    { "{ [1.5] = 1, [-1] = 2, ['a b'] = 3, [true] = 4, b = 5 }",
      '{ ["a b"] = 3, b = 5, [-1] = 2, [1.5] = 1, [true] = 4 }' },
    { "(function() local t = { 1 } t.t = t t.u = { t } return t end)()",
      "{ 1, t = { <cycle> }, u = { { <cycle> } } }" },
    { "{ { { { { { 1 } } } } } }", "{ { { { { { ... } } } } } }" },
    { "setmetatable({ 1 }, { __name = 'point', __index = error })", "point { 1 }" },
    { "{ setmetatable({}, { __tostring = function() return 'mine' end }) }", "{ mine }" },
    { "{ setmetatable({}, { __tostring = error }) }", "{ (table whose __tostring failed) }" },
    { "{ ('x'):rep(1000) }", '"(x+)" %.%.%. %(800 bytes more%)' },
    { "(function() local t = {} for i = 1, 1e5 do t[i] = i end return t end)()",
      "\n100,\n%.%.%. %(99900 more%)\n}$" },
    { "(function() local t = {} for i = 1, 1e4 do t['k' .. i] = i end return t end)()",
      "%.%.%. %(9900 more%)\n}$" },
    { "'a', {}", "a\t{}" },
  }
  for _, case in ipairs(shown) do
    it("shows " .. case[1], function()
      local text = values(case[1] .. "\n")
      if case[2]:find("%", 1, true) then
        assert.matches(case[2], text)
      else
        assert.equal(case[2], text)
      end
    end)
  end

  it("shows no more than so much of a big tree", function()
    local text = values("function tree(n) local t = {} for i = 1, 9 do t[i] = n > 0 and tree(n - 1) " ..
      "or i end return t end\ntree(4)\n")
    assert.is_true(#text < 20000)
  end)

  it("takes its texts from _PROMPT and _PROMPT2", function()
    local text = "_PROMPT, _PROMPT2 = '? ', '! '\n1 +\n2\n_PROMPT = '7:'\n\n"
    assert.equal("> ? ! 3\n? 7:7:\n", prompt(text))
    assert.equal("> 7> \n", prompt("_PROMPT = 7\n_PROMPT = nil\n"))
  end)

  it("reports errors with their traceback and goes on", function()
    local stdout, stderr = prompt("error('boo')\nlocal x = nil + 1\n1\n")
    assert.equal("> > > 1\n> \n", stdout)
    assert.equal("stdin:1: boo\nstack traceback:\n\t[C]: in function 'error'\n" ..
      "\tstdin:1: in main chunk\n" ..
      "stdin:1: attempt to perform arithmetic on a nil value\nstack traceback:\n" ..
      "\tstdin:1: in main chunk\n", stderr)
  end)

  it("reports errors that are no strings", function()
    local _, stderr = prompt("error({})\n" ..
      "error(setmetatable({}, { __tostring = function() return 'mine' end }))\n" ..
      "error(setmetatable({}, { __tostring = error }))\nerror()\n")
    assert.matches("^%(error object is a table value%)\n", stderr)
    assert.matches("\nmine\n", stderr)
    assert.matches("\n%(error object whose __tostring failed%)\n", stderr)
    assert.matches("\n%(error object is a nil value%)\n", stderr)
  end)

  it("reports syntax errors, also in what stays incomplete", function()
    local stdout, stderr = prompt("x = = 1\n1 2\nx = {\n")
    assert.equal("> > > >> \n", stdout)
    assert.equal("stdin:1: unexpected symbol near '='\nstdin:1: unexpected symbol near '1'\n" ..
      "stdin:1: unexpected symbol near '<eof>'\n", stderr)
  end)

  it("goes on after a print that fails", function()
    local stdout, stderr = prompt("p = print\nprint = nil\n1\nprint = p\n2\n")
    assert.matches("2\n> \n$", stdout)
    assert.matches("attempt to call a nil value", stderr)
  end)

  it("runs other threads while it waits and while a chunk waits", function()
    local text = "function ticks() for i = 1, 3 do print('tick', i) sleep(0.01) end end\n" ..
      "t = spawn(ticks)\nt:join()\n"
    assert.equal("tick\t1\ntick\t2\ntick\t3\ntrue", values(text))
  end)

  it("does so also when a signal interrupts it as it begins to wait", function()
    local file = helper.script("n = 0 " ..
      "grun.spawn(function() while true do n = n + 1 grun.sleep(0.01) end end)")
    local command = "{ sleep 0.3; echo 'print(n > 5)'; } | " ..
      "strace -qq -o /dev/null -e trace=poll -e inject=poll:error=EINTR:when=1 %s -q -i %s 2>&1"
    local pipe = io.popen(command:format(helper.quote(helper.grun), file))
    local text = pipe:read("*a")
    pipe:close()
    assert.equal("> true\n> \n", text)
  end)

  it("reports errors of other threads", function()
    local _, stderr = prompt("t = spawn(error, 'late')\nt:join()\n")
    assert.matches("^grun: thread #%d+ failed: late\n", stderr)
  end)

  it("comes after the script with -i, and sees its globals", function()
    local file = helper.script("x = ... print('script')")
    assert.equal("script\n> 5\n> \n", prompt("x\n", { "-q", "-i", file, "5" }))
  end)

  it("does not come after a script that failed", function()
    local stdout, stderr, status =
      helper.run_child({ "-i", "-q", helper.script("error('no', 0)") }, { stdin = "print(1)\n" })
    assert.same({ "", 1 }, { stdout, status })
    assert.matches("^grun: no\n", stderr)
  end)

  it("stops threads and servers in order at the end of input", function()
    local text = "server = assert(grun.server('tcp://127.0.0.1:0', print))\n" ..
      "t = spawn(function() print(pcall(sleep, 100)) end)\n"
    assert.equal("> > > \nfalse\tcancelled: the prompt was closed\n", prompt(text))
  end)

  it("reports a chunk that can never go on, cancels it and goes on", function()
    local stdout, stderr = prompt("event():wait()\n1\n")
    assert.equal("> > 1\n> \n", stdout)
    assert.matches("^grun: deadlock: ", stderr)
    assert.matches("\ncancelled: interrupted\nstack traceback:\n", stderr)
  end)

  it("leaves a chunk that can never go on and is shielded to the background", function()
    local text = "grun.grace = 0\ne = event()\nshield(function() e:wait() end)\ne:set()\n1\n"
    local stdout, stderr = prompt(text)
    assert.equal("> > > > > 1\n> \n", stdout)
    local thread = "\ngrun: thread #%d+ \"chunk\" waiting on event%.wait, cancelled "
    assert.matches(thread .. "[^\n]* goes on in the background\n", stderr)
  end)
end)

describe("at a terminal", function()
  local t

  local function open(args, home, env)
    t = terminal.open(args or { "-q" }, home, env)
    finally(function()
      t:destroy()
    end)
    t:expect("> $")
    return t
  end

  -- Not at once: two equal signals that wait to be delivered are one.
  local function twice(key)
    t:send(key)
    grun.sleep(0.1)
    t:send(key)
  end

  it("the prompt comes without being asked for, with a banner", function()
    t = terminal.open({})
    finally(function()
      t:destroy()
    end)
    t:expect("grun %d[^\n]*LuaJIT[^\n]*\r\n> $")
    t:type("6 * 7\n", "42\r\n> $")
    t:type("\4", "\r\n")
    assert.equal(0, t:finish())
  end)

  it("the line can be edited, with UTF-8 and a lone escape", function()
    open(nil, nil, { LC_ALL = "C.UTF-8" })
    t:type("'ac'\27", "'ac'")
    t:type("[D\27[Db\n", "abc\r\n> $")
    t:type("'aöü'\27[D\27[D\127\n", "aü\r\n> $")
    t:type("#'ä'\n", "2\r\n> $")
  end)

  it("the arrows bring earlier lines, which are kept in a file of the user's", function()
    local home = helper.tmpname()
    os.remove(home)
    os.execute("mkdir " .. home)
    local file = home .. "/.local/state/grun/history"
    open(nil, home)
    finally(function()
      t:destroy()
      os.execute("rm -r " .. home)
    end)
    t:type("11 * 11\n", "121\r\n> $")
    t:type("\n", "> $")
    t:type("11 * 11\n", "121\r\n> $")
    t:type("12 * 12\n", "144\r\n> $")
    t:type("\27[A\27[A\n", "121\r\n> $")
    t:type("\4", "\r\n")
    assert.equal(0, t:finish())
    local lines = {}
    local f = assert(io.open(file))
    for line in f:lines() do
      lines[#lines + 1] = line
    end
    f:close()
    assert.same({ "11 * 11", "12 * 12", "11 * 11" }, lines)
    assert.equal("rw-------", lfs.attributes(file, "permissions"))
  end)

  it("the history file keeps the last thousand lines", function()
    local home = helper.tmpname()
    os.remove(home)
    os.execute("mkdir " .. home)
    os.execute("mkdir -p " .. home .. "/.local/state/grun")
    local f = assert(io.open(home .. "/.local/state/grun/history", "w"))
    for i = 1, 1500 do
      f:write("line", i, "\n")
    end
    f:close()
    open(nil, home)
    finally(function()
      t:destroy()
      os.execute("rm -r " .. home)
    end)
    t:type("\27[A", "line1500")
    t:type("\3", "\n> $")
    local kept = 0
    local first
    for line in io.lines(home .. "/.local/state/grun/history") do
      first, kept = first or line, kept + 1
    end
    assert.same({ "line501", 1000 }, { first, kept })
  end)

  it("Tab completes globals, fields and grun's functions", function()
    open()
    t:type("string.re\t", "rep  reverse\r\n> string%.re$")
    t:type("\3", "\n> $")
    t:type("string.rev\t('ab')\n", "ba\r\n> $")
    t:type("gru\t.spawn_l\t == grun.spawn_later\n", "true\r\n> $")
    t:type("spawn_l\t == grun.spawn_later\n", "true\r\n> $")
    t:type("math.s\t", "sin  sinh  sqrt\r\n> math%.s$")
    t:type("qr\t(9)\n", "3\r\n> $")
    t:type("nothing.at.all\t\3", "\n> $")
    t:type("prototype = { method = 5 } object = setmetatable({}, { __index = prototype })\n", "> $")
    t:type("object.me\t\n", "5\r\n> $")
  end)

  it("Tab completes what is not loaded yet, methods and objects of C", function()
    open()
    t:type("semaph\t == grun.semaphore\n", "true\r\n> $")
    t:type("grun.http.sess\t == grun.http.session\n", "true\r\n> $")
    t:type("me = grun.current()\n", "> $")
    t:type("me:succ\t()\n", "true\r\n> $")
    t:type("me.spawned_\t == nil\n", "false\r\n> $")
    t:type("file = io.stdout\n", "> $")
    t:type("file:setv\t('no') == true\n", "true\r\n> $")
    t:type("text = 'x'\n", "> $")
    t:type("text:upp\t()\n", "X\r\n> $")
    t:type("object = setmetatable({ field = 1 }, { __index = { method = print } })\n", "> $")
    t:type("object:\t('only methods')\n", "only methods\r\n> $")
  end)

  it("Tab completes modules and files", function()
    open()
    t:type("require('grun.http.sta\t').static == grun.http.static\n", "true\r\n> $")
    t:type("loadfile('spec/cli/term\t') ~= nil\n", "true\r\n> $")
    t:type("io.open('runt\t\tmain.c'):read()\n", "SPDX[^\n]*\r\n> $")
  end)

  it("no history is kept when it is turned off, nor a home made that is not there", function()
    local home = helper.tmpname()
    os.remove(home)
    open(nil, home)
    t:type("1\n", "1\r\n> $")
    assert.is_nil(lfs.attributes(home))
    t:destroy()
    os.execute("mkdir " .. home)
    open(nil, home, { GRUN_HISTORY = "off" })
    finally(function()
      t:destroy()
      os.execute("rm -r " .. home)
    end)
    t:type("1\n", "1\r\n> $")
    assert.is_nil(lfs.attributes(home .. "/.local"))
  end)

  it("^C drops what was typed", function()
    open()
    t:type("never finished", "never finished")
    t:type("\3", "\n> $")
    t:type("for i = 1, 2 do\n", ">> $")
    t:type("\3", "\n> $")
    t:type("1\n", "1\r\n> $")
    t:type("\3", "\n> $")
    t:type("\3", "\n> $")
    t:type("2\n", "2\r\n> $")
  end)

  it("^C is never lost", function()
    open()
    for i = 1, 50 do
      t:send(("a"):rep(i % 10))
      t:type("\3", "\n> $")
    end
  end)

  it("a chunk that can never go on is cancelled, or left if it is shielded", function()
    open()
    t:type("e = event() e:wait()\n", "grun: deadlock: .-\r\ncancelled: interrupted.-\r\n> $")
    t:type("shield(e.wait, e)\n", "grun: deadlock: .- goes on in the background\r\n> $")
    t:type("1 + 1\n", "2\r\n> $")
  end)

  it("^C cancels the running chunk, and only that", function()
    open()
    t:type("other = spawn(sleep, 100)\n", "> $")
    t:type("print('go') sleep(100)\n", "go\r\n")
    t:type("\3", "cancelled: interrupted\r\nstack traceback:.-\r\n> $")
    t:type("other:status()\n", "waiting\r\n> $")
  end)

  it("a second ^C leaves a chunk that refuses to the background", function()
    open()
    t:type("grun.grace = 0\n", "> $")
    t:type("ok = true print('go') while ok do pcall(sleep, 100) print('still') end\n", "go\r\n")
    t:type("\3", "still\r\n")
    t:type("\3", "goes on in the background\r\n")
    t:type("ok = false\n", "ok = false")
    t:type("\n", "> $")
    t:type("1\n", "\n1\r\n")
  end)

  it("a second ^C ends a loop that never waits", function()
    open()
    t:type("print('go') while true do end\n", "go\r\n")
    twice("\3")
    assert.equal(130, t:finish())
  end)

  it("a second ^C ends it also while a line is being edited", function()
    open()
    t:type("function busy() io.write('busy\\n') io.flush() while true do end end\n", "> $")
    t:type("spawn_later(0.1, busy)\n", "> $")
    t:expect("busy\r\n")
    twice("\3")
    assert.equal(130, t:finish())
  end)

  it("the line survives what other threads print and their errors", function()
    open()
    t:type("spawn_later(0.2, print, 'printed')\n", "> $")
    t:type("1 + 1", "1 %+ 1")
    t:expect("printed\r\n> 1 %+ 1$")
    t:type("\n", "2\r\n> $")
    t:type("spawn_later(0.2, error, 'failed')\n", "> $")
    t:type("2 + 2", "2 %+ 2")
    t:expect("\27%[J?grun: thread #%d+ failed: failed.-\r\n> 2 %+ 2$")
    t:type("\n", "4\r\n> $")
  end)

  it("the line survives what other threads write without an end of line", function()
    open()
    t:type("spawn_later(0.2, io.write, 'some') spawn_later(0.3, io.write, 'more\\n')\n", "> $")
    t:type("1 + 1", "1 %+ 1")
    t:expect("some\r\n> 1 %+ 1")
    t:expect("more\r\n> 1 %+ 1$")
    t:type("\n", "2\r\n> $")
    t:type("spawn_later(0.2, pcall, io.write, {})\n", "> $")
    t:type("1 + 1", "1 %+ 1")
    t:expect("\n> 1 %+ 1$")
    t:type("\n", "2\r\n> $")
    t:type("spawn_later(0.2, io.stderr.write, io.stderr, 'loud')\n", "> $")
    t:type("2 + 2", "2 %+ 2")
    t:expect("loud\r\n> 2 %+ 2$")
    t:type("\n", "4\r\n> $")
  end)

  it("the line survives SIGQUIT's report and a new size of the window", function()
    open()
    t:type("1 + 1", "1 %+ 1")
    t:type("\28", "grun: SIGQUIT: all threads\r\nthread #1 \"prompt\" waiting on the prompt")
    t:expect("\r\n> 1 %+ 1$")
    t:signal("WINCH")
    t:expect("\r\27%[J> 1 %+ 1$")
    t:type("\n", "2\r\n> $")
  end)

  it("the modes are restored however the process ends", function()
    finally(function()
      t:destroy()
    end)
    local endings = {
      { 0, "\4" },
      { 7, "os.exit(7)\n" },
      { 7, "spawn(os.exit, 7)\n" },
      { 7, "spawn_later(0.05, os.exit, 7)\n" .. "half a line" },
      { 0, "half a line", "TERM" },
      { 0, "sleep(100)\n", "TERM" },
    }
    for _, ending in ipairs(endings) do
      t = terminal.open({ "-q" })
      t:expect("> $")
      t:send(ending[2])
      if ending[3] then
        t:expect(ending[2]:sub(1, 4))
        t:signal(ending[3])
      end
      assert.equal(ending[1], t:finish(), ending[2])
      t:destroy()
    end
  end)

  it("SIGTERM stops in order from the prompt", function()
    open()
    t:type("t = spawn(function() print(pcall(sleep, 100)) end)\n", "> $")
    t:signal("TERM")
    t:expect("false\tcancelled: SIGTERM\r\n")
    assert.equal(0, t:finish())
  end)

  it("a chunk reads from the terminal", function()
    open()
    t:type("print('go') x = io.read()\n", "go\r\n")
    t:type("typed\n", "> $")
    t:type("x\n", "typed\r\n> $")
  end)

  it("lines are plain where the terminal cannot edit", function()
    open(nil, nil, { TERM = "dumb" })
    t:type("1 + 1\n", "2\r\n> $")
    t:type("never finished", "never finished")
    t:type("\3", "\n> $")
    t:type("print('go') sleep(100)\n", "go\r\n")
    t:type("\3", "cancelled: interrupted.-> $")
    t:send("\4")
    assert.equal(0, t:finish())
  end)
end)
