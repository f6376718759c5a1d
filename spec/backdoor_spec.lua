-- SPDX-License-Identifier: MIT
-- The backdoor, with nc, socat and connections of our own as clients.

local grun = require("grun")
local helper = require("spec.helper")

local LIMIT = 10

describe("grun.backdoor", function()
  local server, path

  -- Starts a backdoor, by default on a unix socket, until the test ends.
  local function open(opts, address, cleanup)
    path = helper.tmpname()
    os.remove(path)
    server = assert(grun.backdoor(address or "unix:" .. path, opts))
    local mine = server
    finally(function()
      mine:stop(0)
      if cleanup then
        cleanup()
      end
    end)
    return server
  end

  -- A client; conn:expect(text) reads up to a text, conn:type(line, text) sends before.
  local function client(address)
    local conn = assert(grun.connect(address or server:address()))
    conn:settimeout(LIMIT)
    local self = { conn = conn }
    function self.expect(text)
      local got, message = conn:read_until(text, { include = true })
      assert(got and got:sub(-#text) == text, message or got)
      return got:sub(1, -#text - 1)
    end
    function self.type(line, text)
      assert(conn:write(line))
      return self.expect(text or "> ")
    end
    self.banner = self.expect("> ")
    return self
  end

  local function nc(text)
    local pipe = io.popen(("printf %s | timeout 10 nc -N -U %s"):format(helper.quote(text), path))
    local got = pipe:read("*a")
    pipe:close()
    return got
  end

  it("gives nc a prompt, and ends it at the end of input", function()
    open()
    local got = nc("1 + 1\\nx = 5\\nx, nil\\nfor i = 1, 2 do\\nprint(i)\\nend\\n")
    assert.matches("^grun: process %d+; quit%(%) ends this session\n", got)
    assert.equal("> 2\n> > 5\tnil\n> >> >> 1\n2\n> ", (got:gsub("^[^\n]*\n", "")))
    assert.is_true(server:stop(5))
    assert.is_nil(io.open(path))
  end)

  it("is for its user alone", function()
    open()
    assert.equal("rw-------", require("lfs").attributes(path, "permissions"))
    server:stop(0)
    open({ mode = "0666" })
    if require("lfs").attributes(path, "uid") ~= 0 then
      return pending("only root can become somebody else")
    end
    local pipe = io.popen("setpriv --reuid 65534 --clear-groups socat -t 5 - UNIX-CONNECT:" .. path ..
      " </dev/null 2>&1")
    assert.equal("grun: not for this user\n", pipe:read("*a"))
    pipe:close()
  end)

  it("takes telnet's lines and commands", function()
    open()
    local c = client()
    assert.equal("5\n", c.type("2 +\255\253\1 3\r\n"))
    assert.equal("'\255'\n", (c.type("string.format('%q', 'a')\255\250\31\0\80\0\24\255\240\r\n")
      :gsub('"a"', "'\255'")))
    c.conn:write("\255")
    assert.equal("7\n", c.type("\2417\n"))
    c.conn:close()
  end)

  it("has globals of its own for each connection, over the program's", function()
    open({ locals = { answer = 42 } })
    local a, b = client(), client()
    assert.equal("", a.type("only_here = 1\n"))
    assert.equal("1\tnil\t42\n", a.type("only_here, _G.only_here, answer\n"))
    assert.equal("nil\t42\n", b.type("only_here, answer\n"))
    b.type("_G.backdoor_was_here = true\n")
    assert.is_true(rawget(_G, "backdoor_was_here"))
    _G.backdoor_was_here = nil
    assert.equal("true\n", a.type("spawn == grun.spawn\n"))
    a.conn:close()
    b.conn:close()
  end)

  it("sends there what is printed there, and nothing else", function()
    local lines, real_print, real_write = {}, print, io.write
    _G.print = function(...)
      lines[#lines + 1] = table.concat({ ... }, " ")
    end
    local mine = print
    _G.backdoor_say = function()
      print("called")
      io.write("written\n")
    end
    open(nil, nil, function()
      _G.print, _G.backdoor_say = real_print, nil
    end)
    local c = client()
    assert.equal("a\t1\nb\nc\n", c.type("print('a', 1) io.write('b\\n') io.stdout:write('c', '\\n')\n"))
    assert.equal("called\nwritten\n", c.type("backdoor_say()\n"))
    c.conn:write("print('go') sleep(0.2) backdoor_say()\n")
    c.expect("go\n")
    print("the program's")
    assert.equal("called\nwritten\n", c.expect("> "))
    assert.same({ "the program's" }, lines)
    assert.equal("later\n", c.type("spawn(print, 'later') sleep(0.05)\n"))
    assert.equal(mine, print)
    assert.equal(real_write, io.write)
    c.conn:close()
  end)

  it("shows tables as the prompt does, and errors with their traceback", function()
    open()
    local c = client()
    assert.equal('{ 1, a = "x" }\n', c.type("{ 1, a = 'x' }\n"))
    assert.matches("^stdin:1: boo\nstack traceback:\n", c.type("error('boo')\n"))
    assert.matches("^stdin:1: unexpected symbol", c.type("x = = 1\n"))
    assert.equal("2\n", c.type("1 + 1\n"))
    c.conn:close()
  end)

  it("completes a line that ends in a tab", function()
    open()
    local c = client()
    assert.equal("sin  sinh  sqrt\n", c.type("math.s\t\n"))
    assert.equal("spawn_later\n", c.type("spawn_l\t\n"))
    c.conn:close()
  end)

  it("lets a chunk read lines", function()
    open()
    local c = client()
    c.conn:write("print('go') x = io.read()\n")
    c.expect("go\n")
    grun.sleep(0.05)
    c.conn:write("some words\n")
    c.expect("> ")
    assert.equal("some words\n", c.type("x\n"))
    c.conn:close()
  end)

  it("cancels a running chunk at ^C, and telnet's", function()
    open()
    local c = client()
    for _, interrupt in ipairs({ "\3", "\255\244\255\253\6" }) do
      c.conn:write("print('go') sleep(100)\n")
      c.expect("go\n")
      assert.matches("cancelled: interrupted\n", c.type(interrupt))
    end
    c.conn:write("print('go') repeat pcall(sleep, 100) until done\n")
    c.expect("go\n")
    c.conn:write("\3")
    grun.sleep(0.1)
    assert.matches("goes on in the background\n", c.type("\3"))
    c.type("done = true\n")
    c.conn:close()
  end)

  it("ends a session at quit()", function()
    open()
    local c = client()
    c.conn:write("quit()\n")
    assert.is_nil(c.conn:read("l"))
    c.conn:close()
  end)

  it("refuses more than so many sessions, and lines that are too long", function()
    open({ max_connections = 1, max_line = 100 })
    local c = client()
    assert.equal("grun: there are 1 sessions already\n", nc(""))
    c.conn:write(("x"):rep(200))
    assert.equal("line longer than 100 bytes", c.conn:read("l"))
    assert.is_nil(c.conn:read("l"))
    c.conn:close()
    assert.is_truthy(client().conn:close())
  end)

  it("stops with its sessions and their chunks", function()
    open()
    local c = client()
    c.conn:write("print('go') sleep(100)\n")
    c.expect("go\n")
    assert.is_true(server:stop(0))
    assert.is_nil(c.conn:read("l"))
    c.conn:close()
  end)

  it("survives clients that vanish", function()
    open()
    for _, text in ipairs({ "sleep(0.05) print('x')\n", "1\n2\n", "for i = 1, 2 do\n", "" }) do
      local c = client()
      c.conn:write(text)
      c.conn:close()
    end
    local c = client()
    assert.equal("2\n", c.type("1 + 1\n"))
    c.conn:close()
  end)

  it("listens on loopback addresses, and on others only when told to", function()
    open({ banner = "hello\n" }, "tcp://127.0.0.1:0")
    local c = client()
    assert.equal("hello\n", c.banner)
    c.conn:close()
    server:stop(0)
    for _, address in ipairs({ "tcp://0.0.0.0:0", "tcp://:0", "tcp://[::]:0", "fd:7",
      "tcp://128.0.0.1:0", "tcp://127.0.0.1.example:0" }) do
      local ok, message = pcall(grun.backdoor, address)
      assert.is_false(ok)
      assert.matches("could run any code; with public = true", message)
    end
    open({ public = true }, "tcp://0.0.0.0:0")
  end)

  it("refuses wrong arguments at the caller's level", function()
    helper.misuse(function() local _ = grun.backdoor(5) end, "backdoor: address expected, got number")
    helper.misuse(function() local _ = grun.backdoor(nil, 5) end,
      "backdoor: table of options expected, got number")
    helper.misuse(function() local _ = grun.backdoor(nil, { x = 1 }) end, "backdoor: unknown option 'x'")
    helper.misuse(function() local _ = grun.backdoor(nil, { locals = 1 }) end,
      "backdoor: option 'locals': table expected, got 1")
    helper.misuse(function() local _ = grun.backdoor("http://127.0.0.1:0") end,
      "backdoor: unix:, tcp: or fd: address expected, got 'http://127.0.0.1:0'")
    local file = helper.tmpname()
    assert.equal("ENOTDIR", (select(3, grun.backdoor("unix:" .. file .. "/x"))))
  end)

  it("has a path by default, in a directory of the user's, and goes with the process", function()
    local dir = helper.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    local heir
    finally(function()
      if heir then
        heir:close()
      end
      os.execute("rm -r " .. dir)
    end)
    local out, err, status = helper.run_script("print(assert(grun.backdoor()):address()) " ..
      "local c = assert(grun.connect(grun.servers()[1]:address())) c:read('l') print('end')",
      { env = { XDG_RUNTIME_DIR = dir } })
    assert.same({ "", 0 }, { err, status })
    assert.matches("^unix:" .. dir:gsub("%p", "%%%0") .. "/grun/%d+%.backdoor\nend\n$", out)
    -- What a killed one leaves goes at the next start; what others still listen on does not.
    status = select(3, helper.run_script("grun.backdoor() grun.process.spawn({ 'kill', '-9', " ..
      "tostring(require('grun.core.control').pid()) }) grun.sleep(20)", { env = { XDG_RUNTIME_DIR = dir } }))
    assert.equal(137, status)
    local left = grun.fs.list(dir .. "/grun")[1]
    assert.matches("^%d+%.backdoor$", left.name)
    heir = assert(grun.listen(("unix:%s/grun/4194302.backdoor"):format(dir)))
    out = helper.run_script("print(assert(grun.backdoor()):address())", { env = { XDG_RUNTIME_DIR = dir } })
    assert.matches("%.backdoor\n$", out)
    assert.is_true(grun.fs.exists(dir .. "/grun/4194302.backdoor"))
    assert.is_false(grun.fs.exists(dir .. "/grun/" .. left.name))
    os.execute("chmod 755 " .. dir .. "/grun")
    -- Others can enter it: the next of the control socket's directories.
    out = helper.run_script("print(grun.backdoor():address())", { env = { XDG_RUNTIME_DIR = dir } })
    assert.is_nil(out:find(dir, 1, true), out)
    assert.matches("^unix:/%S+/%d+%.backdoor\n$", out)
  end)
end)
