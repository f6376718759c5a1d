-- SPDX-License-Identifier: MIT
-- Every script in scripts/examples does what it says.

local grun = require("grun")
local http_client = require("spec.http_client_helper")
local helper = require("spec.helper")
local lfs = require("lfs")

local DIR = "scripts/examples/"
local LINES = 100
-- Whole programs, for daily use, with a spec of their own, may be as long as a file of grun's.
local PROGRAMS = { ["dns_cache.lua"] = "spec/dns_cache_spec.lua" }
local PROGRAM_LINES = 480
local tested = {}

-- The example's path; marks it as tested.
local function example(name)
  tested[name .. ".lua"] = true
  return DIR .. name .. ".lua"
end

local function read(name)
  local file = assert(io.open(name))
  local text = file:read("*a")
  file:close()
  return text
end

-- The lines of the comment after "-- Prints:", or nil.
local function promised(path)
  local block = read(path):match("\n%-%- Prints:\n(.-)\n\n")
  return block and block:gsub("%-%-   ", ""):gsub("%-%-   ", "") .. "\n"
end

local function run(path, ...)
  local out, err, status = helper.run_child({ path, ... })
  assert.equal("", err)
  assert.equal(0, status)
  return out
end

describe("the example", function()
  local scripts = {
    "alternate", "bounded_map", "cancel_scope", "greenlets", "luasocket_clients", "pool_inside",
    "producer_consumer", "shell_jobs", "task_class", "turns",
  }
  for _, name in ipairs(scripts) do
    it(name .. " prints what it promises", function()
      local path = example(name)
      assert.equal(assert(promised(path), "it promises nothing"), run(path))
    end)
  end

  it("turns takes the number of rounds", function()
    local out = run(example("turns"), "50")
    assert.equal(150, select(2, out:gsub("\n", "")))
    assert.matches("round 50: thread 3\n$", out)
  end)

  it("tasks shows the order of threads", function()
    local out = run(example("tasks"))
    assert.matches("spawned, not yet run:\tnew\tnew\na\t1\na\t2\na\t3\nb\t1\nb\t2\nb\t3\n", out, 1,
      true)
    assert.matches("alternate:\na\t1\nb\t1\na\t2\nb\t2\na\t3\nb\t3\na is done\tb is done\n", out, 1,
      true)
    assert.matches("slow\t1\nfast\t1\n.*fast is done\n.*slow is done\n", out)
    assert.matches("limited\t1\n.*nil\ttimeout\ttimeout\n$", out)
  end)

  it("ring passes its token round", function()
    local path = example("ring")
    local out, err, status = helper.run_child({ path, "20", "5" })
    assert.equal("100 hops through 20 threads\n", out)
    assert.matches("^%d+%.%d µs a hop\n$", err)
    assert.equal(0, status)
  end)
end)

-- A server example, and nc as its client. Both write into files, since nobody may wait for them
-- with a blocking read.
local Process = {}
Process.__index = Process

-- Starts a command. write() goes to its standard input.
local function start(command)
  local self = setmetatable({ out = helper.tmpname(), pid_file = helper.tmpname() }, Process)
  self.stdin = assert(io.popen(("echo $$ >%s; exec %s >%s 2>&1"):format(self.pid_file, command,
    self.out), "w"))
  return self
end

function Process:write(text)
  self.stdin:write(text)
  self.stdin:flush()
end

-- Waits until the output contains what the pattern says; returns its captures.
function Process:expect(pattern)
  local limit = grun.now() + 10
  while not read(self.out):find(pattern) do
    assert(grun.now() < limit, ("no %q in the output:\n%s"):format(pattern, read(self.out)))
    grun.sleep(0.005)
  end
  return read(self.out):match(pattern)
end

-- Ends it by the end of its input, or a signal.
function Process:stop(signal)
  if signal then
    os.execute(("kill -%s %s"):format(signal, read(self.pid_file):match("%d+")))
  end
  self.stdin:close()
  return read(self.out)
end

local function start_server(path, ...)
  local words = table.concat({ helper.grun, path, "tcp://127.0.0.1:0", ... }, " ")
  local server = start("timeout 30 " .. words)
  return server, (server:expect("^listening on tcp://127%.0%.0%.1:(%d+)\n"))
end

local function nc(port)
  return start("timeout 30 nc -N 127.0.0.1 " .. port)
end

describe("the server example", function()
  it("echo echoes to several clients of nc at once", function()
    local server, port = start_server(example("echo"))
    local clients = {}
    for i = 1, 3 do
      clients[i] = nc(port)
      clients[i]:write("hello " .. i .. "\n")
    end
    for i = 1, 3 do
      clients[i]:expect("^hello " .. i .. "\n")
    end
    for i = 1, 3 do
      clients[i]:write("no end of line")
      assert.equal("hello " .. i .. "\nno end of line", clients[i]:stop())
    end
    local log = server:stop("TERM")
    assert.equal(3, select(2, log:gsub("open\ttcp://127%.0%.0%.1:%d+\n", "")))
    assert.equal(3, select(2, log:gsub("closed\n", "")))
  end)

  it("chat carries lines between clients of nc", function()
    local server, port = start_server(example("chat"))
    local ann, bob = nc(port), nc(port)
    ann:expect("^Your name%? ")
    ann:write("ann\n")
    ann:expect("Welcome, ann")
    bob:write("bob\n")
    bob:expect("Welcome, bob")
    ann:expect("bob joined\n")
    ann:write("hi\n")
    bob:expect("ann: hi\n")
    bob:write("hello\n")
    ann:expect("bob: hello\n")
    bob:write("/quit\n")
    ann:expect("bob left\n")
    bob:stop()
    assert.equal("Your name? Welcome, ann. Quit with /quit.\nbob joined\nbob: hello\nbob left\n",
      ann:stop())
    assert.matches("^listening on [^\n]*\n$", server:stop("TERM"))
  end)

  it("tcp_proxy passes bytes on in both directions, and each direction's end", function()
    local upstream = assert(grun.server("tcp://127.0.0.1:0", function(conn)
      local all = conn:read("a")
      conn:write("got " .. #all .. "\n", all)
    end))
    local proxy, port = start_server(example("tcp_proxy"), upstream:address())
    local text = ("0123456789"):rep(20000)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write(text)
    conn:shutdown("w")
    assert.equal("got 200000", conn:read("l"))
    assert.is_true(text == conn:read("a"))
    conn:close()
    proxy:expect("tcp://127.0.0.1:%d+: 200000 bytes to the upstream, 200011 bytes back\n")
    upstream:stop(1)
    local client = nc(port)
    proxy:expect("cannot connect to tcp://127%.0%.0%.1:%d+: Connection refused\n")
    client:stop()
    proxy:stop("TERM")
  end)

  it("tcp_proxy closes a connection on which both sides are silent", function()
    local upstream = assert(grun.server("tcp://127.0.0.1:0", function(conn)
      conn:write("hello\n")
      conn:read("a")
    end))
    local proxy, port = start_server(example("tcp_proxy"), upstream:address(), 0.2)
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    assert.equal("hello", conn:read("l"))
    assert.same({ nil, "closed", "closed" }, { conn:read("l") })
    conn:close()
    upstream:stop(1)
    proxy:stop("TERM")
  end)

  it("port_scan finds the open ports among closed ones", function()
    local server = assert(grun.server("tcp://127.0.0.1:0", function(conn)
      conn:write("220 ready\r\n")
    end))
    local port = tonumber(server:address():match("%d+$"))
    local from, to = math.max(1, port - 20), math.min(65535, port + 20)
    local scan = start(("timeout 30 %s %s 127.0.0.1 %d-%d"):format(helper.grun,
      example("port_scan"), from, to))
    scan:expect(port .. " *open  220 ready\n")
    scan:expect("%d+ closed[^\n]*; %d+%.%d%d s\n$")
    scan:stop()
    server:stop(1)
    local _, err, status = helper.run_child({ example("port_scan"), "127.0.0.1", "9-1" })
    assert.matches("^usage: ", err)
    assert.equal(2, status)
  end)
end)

describe("the example syslog_sink", function()
  -- Starts it, with a file to append to; returns the process, its port and the file's name.
  local function start_sink()
    local file = helper.tmpname("before\n")
    local sink = start(("timeout 30 %s %s udp://127.0.0.1:0 %s"):format(helper.grun,
      example("syslog_sink"), file))
    return sink, sink:expect("^listening on udp://127%.0%.0%.1:(%d+)\n"), file
  end

  it("prints what logger and nc send, and appends it to a file", function()
    local sink, port, file = start_sink()
    local logger = "logger -n 127.0.0.1 -d -P " .. port
    assert.equal(0, os.execute(logger .. " -p daemon.err -t new 'of RFC 5424'"))
    local new = sink:expect("daemon%.err %d%d%d%d%-[^ ]+ [^ ]+ new: of RFC 5424\n")
    assert.equal(0, os.execute(logger .. " --rfc3164 -p local3.debug -t old 'of RFC 3164'"))
    assert.is_truthy(new)
    sink:expect("local3%.debug %a%a%a [ %d]%d [%d:]+ [^ ]+ old: of RFC 3164\n")
    assert.equal(0, os.execute("printf '<13>from nc' | nc -u -w 1 127.0.0.1 " .. port))
    sink:expect("user%.notice [^\n]* 127%.0%.0%.1 %-: from nc\n")
    local out = sink:stop("INT")
    assert.equal("before\n" .. out:gsub("^[^\n]*\n", ""), read(file))
  end)

  it("parses what it should and keeps the rest", function()
    local sink, port = start_sink()
    local sock = grun.udp()
    sock:connect("udp://127.0.0.1:" .. port)
    local cases = {
      { "<165>1 2003-10-11T22:14:15.003Z host app 1 ID47 [a@1 b=\"x] \\\" y\"][c] \239\187\191hi",
        "local4.notice 2003-10-11T22:14:15.003Z host app: hi" },
      { "<0>1 - - - - - -", "kern.emerg - - -: " },
      { "<34>Oct 11 22:14:15 mymachine su[12]: failed",
        "auth.crit Oct 11 22:14:15 mymachine su: failed" },
      { "<191>Oct  1 22:14:15 m no tag here", "local7.debug Oct  1 22:14:15 m -: no tag here" },
      { "<192>too high", "raw from 127.0.0.1: <192>too high" },
      { "nothing", "raw from 127.0.0.1: nothing" },
      { "", "raw from 127.0.0.1: " },
      { "\27[2J\nfake line\r\n", "raw from 127.0.0.1: \\x1b[2J\\x0afake line" },
      { "<13>1 - - - - - [open \"", nil },
      { ("x"):rep(20000), "raw from 127.0.0.1: " .. ("x"):rep(8192) },
    }
    for _, case in ipairs(cases) do
      assert(sock:send(case[1]))
    end
    sock:close()
    sink:expect(("x"):rep(8192) .. "\n")
    local lines = {}
    for line in sink:stop("INT"):gmatch("[^\n]*") do
      lines[line] = true
    end
    for _, case in ipairs(cases) do
      assert.is_true(case[2] == nil or lines[case[2]] == true, case[2])
    end
  end)
end)

describe("the tail example", function()
  it("follows files that grow, are rotated, truncated or come later", function()
    local a, b = helper.tmpname(), helper.tmpname()
    os.remove(b)
    local function write(name, text, mode)
      local file = assert(io.open(name, mode or "a"))
      file:write(text)
      file:close()
    end
    write(a, "one\ntwo\nthree\nfour\n")
    local tail = start(("timeout 30 %s %s -n 2 %s %s"):format(helper.grun, example("tail"), a, b))
    local text = "==> " .. a .. " <==\nthree\nfour\n"
    local function expect(more)
      text = text .. more
      tail:expect((text:gsub("%p", "%%%0")))
    end
    expect("")
    write(a, "five\n")
    expect("five\n")
    write(b, "of b\n")
    expect("\n==> " .. b .. " <==\nof b\n")
    os.rename(a, a .. ".old")
    finally(function() os.remove(a .. ".old") end)
    -- What a writer still adds to the old file is shown with the first of the new one at the latest.
    write(a .. ".old", "late\n")
    write(a, "fresh, and quite long\n")
    expect("\n==> " .. a .. " <==\nlate\nfresh, and quite long\n")
    write(a, "short\n", "w")
    expect("short\n")
    assert.equal(text, tail:stop("TERM"))
    assert.matches("usage", select(2, helper.run_child({ example("tail") })))
  end)
end)

describe("the WebSocket example", function()
  local has_chromium = os.execute("command -v chromium >/dev/null") == 0
  local path = example("websocket_chat")

  local function chat_server()
    local server = start(("timeout 60 %s %s http://127.0.0.1:0"):format(helper.grun, path))
    return server, (server:expect("^listening on http://127%.0%.0%.1:(%d+)\n"))
  end

  local function join(port, name)
    local ws = assert(grun.http.websocket("ws://127.0.0.1:" .. port .. "/chat"))
    ws:send(name)
    return ws
  end

  it("websocket_chat passes on what members say", function()
    local server, port = chat_server()
    local ann = join(port, "Ann")
    assert.equal("Ann joined", (ann:recv(10)))
    local bob = join(port, "Bob")
    assert.equal("Bob joined", (bob:recv(10)))
    assert.equal("Bob joined", (ann:recv(10)))
    local other = join(port, "Bob")
    assert.is_nil((other:recv(10)))
    assert.same({ 4000, "no such name, please" }, { other.close_code, other.close_reason })
    ann:send("hello")
    assert.equal("Ann: hello", (bob:recv(10)))
    assert.equal("Ann: hello", (ann:recv(10)))
    bob:send("\255\254", "binary")
    assert.is_nil((bob:recv(10)))
    assert.equal(1003, bob.close_code)
    assert.equal("Bob left", (ann:recv(10)))
    ann:send("still here")
    assert.equal("Ann: still here", (ann:recv(10)))
    ann:send(("x"):rep(2001))
    assert.is_nil((ann:recv(10)))
    assert.equal(1009, ann.close_code)
    assert.matches("^listening on [^\n]+\n$", server:stop("TERM"))
  end)

  it("websocket_chat has a page for browsers", function()
    if not has_chromium then
      return pending("chromium is not installed")
    end
    local server, port = chat_server()
    local bob, profile = join(port, "Bob"), helper.tmpname()
    os.remove(profile)
    local browser = start(("timeout 50 chromium --headless --no-sandbox --disable-gpu " ..
      "--user-data-dir=%s --virtual-time-budget=2000 --dump-dom " ..
      "'http://127.0.0.1:%s/?name=Ann'"):format(profile, port))
    assert.equal("Bob joined", (bob:recv(10)))
    assert.equal("Ann joined", (bob:recv(40)))
    browser:stop()
    assert.equal("Ann left", (bob:recv(20)))
    bob:close()
    assert.matches("^listening on [^\n]+\n$", server:stop("TERM"))
    os.execute("rm -rf " .. profile)
  end)
end)

describe("the TLS example", function()
  it("tls_echo echoes to openssl s_client", function()
    local path = example("tls_echo")
    local server = start(("timeout 30 %s %s tls://127.0.0.1:0"):format(helper.grun, path))
    local port, cert = server:expect("^listening on tls://127%.0%.0%.1:(%d+) with (%S+)\n")
    local client = start(("timeout 30 openssl s_client -connect 127.0.0.1:%s -CAfile %s " ..
      "-verify_return_error -verify_hostname localhost -quiet"):format(port, cert))
    client:write("hello\n")
    client:expect("\nhello\n")
    client:stop("TERM")
    assert.matches("open\ttcp://127%.0%.0%.1:%d+\tTLSv1.3\t", server:stop("TERM"))
    os.remove(cert)
  end)
end)

describe("the HTTP client's example", function()
  it("fetch_many prints what it fetched, as it comes, and fails when one failed", function()
    local server = assert(grun.server("http://127.0.0.1:0", function(req)
      grun.sleep(req.path == "/slow" and 0.3 or 0)
      return req.path == "/none" and 404 or ("x"):rep(1000)
    end))
    finally(function() server:stop(0) end)
    local url, path = server:address(), example("fetch_many")
    local out = run(path, "-n", "4", url .. "/slow", url .. "/fast", url .. "/none")
    local lines = {}
    for line in out:gmatch("[^\n]+") do
      lines[#lines + 1] = line
    end
    assert.equal(3, #lines)
    assert.matches("^200 +1000 bytes +%d+%.%d+ s  " .. url .. "/slow$", lines[3])
    assert.matches("\n404 +14 bytes", "\n" .. out)
    local err, status
    server:stop(0)
    out, err, status = helper.run_child({ path, url .. "/gone" })
    assert.same({ "", 1 }, { err, status })
    assert.matches("^%-%-%- +0 bytes .*: cannot connect to .*refused\n$", out)
    assert.equal(2, select(3, helper.run_child({ path })))
  end)
end)

describe("the example reverse_proxy", function()
  local servers, proxy, port

  -- An upstream that says its name, what it got, or does what the path says.
  local function start_upstream(name)
    servers[#servers + 1] = assert(grun.server("http://127.0.0.1:0", function(req, res)
      if req.path == "/echo" then
        return 200, { ["X-Name"] = name }, function() return (req:read()) end
      elseif req.path == "/slow" then
        grun.sleep(30)
      elseif req.path == "/cut" then
        res:header("Content-Length", 100):write("part")
        req.conn:close()
        return
      elseif req.path == "/chat" then
        local conn = res:header("Upgrade", "websocket"):header("Connection", "Upgrade"):upgrade()
        conn:write("got " .. conn:read(5))
        return
      end
      local lines = { name, req.method, req.target }
      for key, value in pairs(req.headers) do
        lines[#lines + 1] = key .. "=" .. value
      end
      return 200, { ["Set-Cookie"] = { "a=1", "b=2" } }, table.concat(lines, "\n") .. "\n"
    end))
    return (servers[#servers]:address():gsub("^http://", ""))
  end

  local function start_proxy(...)
    local words = table.concat({ "timeout 60", helper.grun, example("reverse_proxy"), ... }, " ")
    proxy = start(words)
    port = proxy:expect("listening on http://127%.0%.0%.1:(%d+)\n")
  end

  local function curl(...)
    local pipe = io.popen(("curl -s -m 20 http://127.0.0.1:%s"):format(port) .. table.concat({ ... }, " "))
    local text = pipe:read("*a")
    pipe:close()
    return text
  end

  local plain_it = it

  local function it(name, body)
    plain_it(name, function()
      servers = {}
      finally(function()
        proxy:stop("TERM")
        for _, server in ipairs(servers) do
          server:stop(0)
        end
      end)
      local closed = assert(grun.listen("tcp://127.0.0.1:0"))
      local nobody = closed:address()
      closed:close()
      start_proxy("-t 1 http://127.0.0.1:0", start_upstream("one"), nobody, start_upstream("two"))
      body()
    end)
  end

  it("asks its upstreams in turn and tells them about the client", function()
    local one = curl("/x?y=1 -i -H 'Connection: X-Mine' -H 'X-Mine: 1' -H 'X-Forwarded-For: 9.9.9.9'")
    assert.matches("\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n", one, 1, true)
    assert.matches("\r\n\r\none\nGET\n/x?y=1\n", one, 1, true)
    assert.matches("\nx-forwarded-for=9.9.9.9, 127.0.0.1\n", one, 1, true)
    assert.matches("\nx-forwarded-proto=http\n", one, 1, true)
    assert.matches("\nx-forwarded-host=127.0.0.1:" .. port .. "\n", one, 1, true)
    assert.matches("\nhost=127.0.0.1:" .. port .. "\n", one, 1, true)
    assert.is_nil(one:find("x-mine", 1, true))
    assert.matches("^two\n", curl("/"))
    assert.matches("^one\n", curl("/"))
    proxy:expect('"GET /x%?y=1 HTTP/1.1" 200 ')
  end)

  it("passes bodies on, with and without a length", function()
    local name = helper.tmpname(("0123456789"):rep(300000))
    assert.equal("", curl("/echo -T - <" .. name .. " | cmp - " .. name))
    assert.equal("", curl("/echo -H Expect: --data-binary @" .. name .. " | cmp - " .. name))
    assert.equal("3000000", curl("/echo -o /dev/null -w '%{size_download}' -T " .. name))
    assert.matches("^HTTP/1.1 200 OK\r\n", curl("/ -I"))
  end)

  it("passes on both ways at once", function()
    assert.equal(http_client.IN_STEP, http_client.in_step("http://127.0.0.1:" .. port .. "/echo"))
    grun.http.close_idle()
  end)

  it("answers 502, 504, or breaks off as the upstream did", function()
    assert.matches("^HTTP/1.1 504 ", curl("/slow -i"))
    assert.equal("part18\n", curl("/cut; echo $?"))
    for _, server in ipairs(servers) do
      server:stop(0)
    end
    assert.matches("^HTTP/1.1 502 ", curl("/ -i"))
  end)

  it("passes on what follows an upgrade", function()
    local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
    conn:write("GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert.matches("^HTTP/1.1 101 ", conn:read_until("\r\n\r\n"))
    conn:write("hello")
    assert.equal("got hello", conn:read("a"))
    conn:close()
  end)
end)

describe("the HTTP example", function()
  -- Runs body(url, curl) while the example serves; curl(words) returns what curl prints.
  local function serving(name, args, body)
    local server = start(("timeout 30 %s %s %s"):format(helper.grun, example(name), args))
    local url = server:expect("(http://127%.0%.0%.1:%d+)\n")
    local function curl(words)
      local pipe = io.popen("curl -s -m 10 " .. words:gsub("@", url))
      local out = pipe:read("*a")
      pipe:close()
      return out
    end
    body(curl, url)
    server:stop("TERM")
  end

  it("hello_http greets", function()
    serving("hello_http", "http://127.0.0.1:0", function(curl)
      assert.equal("hello world\n", curl("@/"))
      assert.equal("hello you\n", curl("@/you"))
    end)
  end)

  it("rest_api keeps notes", function()
    serving("rest_api", "http://127.0.0.1:0", function(curl)
      local json = " -H 'Content-Type: application/json' -w ' %{http_code}' "
      assert.matches('"text":"milk".* 201$', curl(json .. [[-d '{"text":"milk"}' @/notes]]))
      assert.matches(" 400$", curl(json .. "-d '{}' @/notes"))
      assert.matches('"text":"tea".* 200$', curl(json .. [[-X PUT -d '{"text":"tea"}' @/notes/1]]))
      assert.matches('"count":1', curl("@/notes"))
      assert.equal(" 204", curl(json .. "-X DELETE @/notes/1"))
      assert.matches("no such note.* 404$", curl(json .. "@/notes/1"))
      assert.equal('{"count":0}', curl("@/notes"))
      assert.matches(" 405$", curl(json .. "-X PATCH @/notes/1"))
    end)
  end)

  it("static_site serves a directory", function()
    serving("static_site", "lualib http://127.0.0.1:0", function(curl)
      assert.matches("grun/", curl("@/"), 1, true)
      assert.equal(read("lualib/grun/init.lua"), curl("--compressed @/grun/init.lua"))
    end)
  end)

  it("sse_clock sends the time every second", function()
    serving("sse_clock", "http://127.0.0.1:0", function(curl)
      assert.matches("EventSource", curl("@/"))
      local out = curl("-N --max-time 1.6 @/events")
      assert.matches("^data: %d%d:%d%d:%d%d\n\ndata: %d%d:%d%d:%d%d\n\n$", out)
    end)
  end)

  it("sse_clock ends soon after ^C, also when somebody looks at it", function()
    local server = start(("timeout 30 %s %s http://127.0.0.1:0"):format(helper.grun, example("sse_clock")))
    local conn = assert(grun.connect("tcp://" .. server:expect("http://(127%.0%.0%.1:%d+)\n")))
    conn:write("GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
    assert(conn:read_until("data: "))
    local started = grun.now()
    server:stop("INT")
    assert.is_true(grun.now() - started < 6)
    conn:close()
  end)
end)

describe("the database example", function()
  -- The server of that kind and the example's path; nothing when it cannot be started.
  local function with(kind, name, fn)
    it(name .. " works with a real server", function()
      local path = example(name)
      local server, why = require("spec.coop.servers")[kind]()
      if not server then
        return pending(why)
      end
      finally(function()
        server:stop()
      end)
      fn(path, server)
    end)
  end

  with("postgres", "pg_parallel", function(path, server)
    local conninfo = ("host=%s port=%d user=postgres dbname=postgres"):format(server.socket, server.port)
    local out = run(path, conninfo)
    assert.matches("^50 queries, sum 1275\nseconds=[%d.]+ gap_ms=[%d.]+\n$", out)
    assert.is_true(tonumber(out:match("seconds=([%d.]+)")) < 3, out)
  end)

  with("redis", "redis_pipeline", function(path, server)
    local out, err, status = helper.run_child({ path, "127.0.0.1", server.port })
    assert.equal("writers that are done: 1 2 3 4 5 6 7 8\n8000 keys written, the last is 1000\n", out)
    assert.matches("^[%d.]+ s\n$", err)
    assert.equal(0, status)
  end)
end)

describe("the examples", function()
  it("are all tested, short, and begin by saying what they show and how to run them", function()
    for name in lfs.dir(DIR) do
      if name:find("^[^.]") and name ~= "deploy" then -- see spec/install_spec.lua
        local own = PROGRAMS[name]
        local is_tested = tested[name] or own and read(own):find(DIR .. name, 1, true)
        assert.is_truthy(is_tested, name .. " is not tested here")
        local text = read(DIR .. name)
        local limit = own and PROGRAM_LINES or LINES
        assert.is_true(select(2, text:gsub("\n", "")) <= limit, name .. " is too long")
        assert.matches("^%-%- SPDX[^\n]*\n%-%- %u", text)
        assert.matches("\n%-%- Run: +./grun scripts/examples/" .. name, text, 1, false)
      end
    end
  end)
end)
