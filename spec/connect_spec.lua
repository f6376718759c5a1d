-- SPDX-License-Identifier: MIT
-- Connecting to names with several addresses (RFC 8305), and taking over descriptors.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")

local test = net.test(it, function(fn) finally(fn) end)
local parked = net.parked

local DELAY, SLACK = 0.25, 0.75

-- A listener that drops the SYNs of further clients, since its backlog is full.
local function black_hole(keep, address)
  local listener = keep(assert(grun.listen(address, { backlog = 0, v6only = true })))
  local stop = grun.now() + 10
  repeat
    local client = grun.connect(listener:address(), { timeout = 0.05 })
    if client then
      keep(client)
    end
  until not client or grun.now() > stop
  return listener
end

local function port_of(listener)
  return listener:address():match("%d+$")
end

-- The two addresses of "localhost", in the order in which they are tried.
local first, second = "tcp://127.0.0.1:", "tcp://[::1]:"

local function find_order()
  local a = assert(grun.listen(first .. "0"))
  local b = assert(grun.listen(second .. port_of(a), { v6only = true }))
  local client = assert(grun.connect("localhost:" .. port_of(a)))
  if client:peername() == b:address() then
    first, second = second, first
  end
  client:close()
  a:close()
  b:close()
end

local function timed_connect(address, opts)
  local start = grun.now()
  local client, message, code = grun.connect(address, opts)
  return grun.now() - start, client, message, code
end

describe("connect to a name with several addresses", function()
  if net.no_ipv6 then
    it("tries one after the other", function() pending(net.no_ipv6) end)
    return
  end
  setup(find_order)

  test("goes on to the second when the first does not answer", function(keep)
    local port = port_of(black_hole(keep, first .. 0))
    local listener = keep(assert(grun.listen(second .. port, { v6only = true })))
    local took, client = timed_connect("localhost:" .. port)
    keep(assert(client))
    assert.equal(listener:address(), client:peername())
    assert.is_true(took >= DELAY and took < DELAY + SLACK, took)
    keep(assert(listener:accept(1)))
  end)

  test("does not wait when the first refuses", function(keep)
    local listener = keep(assert(grun.listen(second .. 0, { v6only = true })))
    local took, client = timed_connect("localhost:" .. port_of(listener))
    keep(assert(client))
    assert.is_true(took < DELAY, took)
  end)

  test("keeps to the first when that answers", function(keep)
    local listener = keep(assert(grun.listen(first .. 0, { v6only = true })))
    local other = keep(assert(grun.listen(second .. port_of(listener), { v6only = true })))
    local _, client = timed_connect("localhost:" .. port_of(listener))
    assert.equal(listener:address(), keep(assert(client)):peername())
    assert.same({ nil, "timeout", "timeout" }, { other:accept(0.01) })
  end)

  test("does not give up the first while others are tried", function(keep)
    local slow = black_hole(keep, first .. 0)
    local t = parked(grun.connect, "localhost:" .. port_of(slow), { timeout = 10 })
    grun.sleep(2 * DELAY) -- the second has been refused meanwhile
    assert.equal("waiting", t:status())
    for conn in function() return slow:accept(0) end do
      keep(conn)
    end -- room; the kernel repeats its SYN after a second
    local client = keep(assert(t:get()))
    assert.equal(slow:address(), client:peername())
  end)

  test("has one deadline for all", function(keep)
    local hole = black_hole(keep, first .. 0)
    black_hole(keep, second .. port_of(hole))
    for _, timeout in ipairs({ 0.05, 0.4 }) do
      local took, client, message, code =
        timed_connect("localhost:" .. port_of(hole), { timeout = timeout })
      assert.same({ nil, "timeout", "timeout" }, { client, message, code })
      assert.is_true(took >= timeout and took < timeout + SLACK, took)
    end
  end)

  test("can be cancelled between attempts and during them", function(keep)
    local hole = black_hole(keep, first .. 0)
    black_hole(keep, second .. port_of(hole))
    for _, seconds in ipairs({ 0.05, 1.5 * DELAY }) do
      local t = parked(grun.connect, "localhost:" .. port_of(hole))
      grun.sleep(seconds)
      t:kill()
      assert.equal("cancelled", t:status())
    end
    assert.same({ nil, "timeout", "timeout" },
      { grun.timeout(0.4, grun.connect, "localhost:" .. port_of(hole)) })
  end)

  test("tells the first address's error when all fail", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local address = "localhost:" .. port_of(listener)
    listener:close()
    assert.same({ nil, "cannot connect to " .. address .. ": Connection refused", "ECONNREFUSED" },
      { grun.connect(address) })
  end)

  test("leaves out those of another family than the local address", function(keep)
    local hole = black_hole(keep, first .. 0)
    local address = "localhost:" .. port_of(hole)
    local opts = { bind = second .. 0 }
    assert.equal("ECONNREFUSED", select(3, grun.connect(address, opts)))
    local listener = keep(assert(grun.listen(second .. port_of(hole), { v6only = true })))
    local took, client = timed_connect(address, opts)
    assert.equal(listener:address(), keep(assert(client)):peername())
    assert.is_true(took < DELAY, took)
  end)

  it("alternates between the families", function()
    -- Where the hosts file can be another one and nothing leaves the machine.
    local hosts = helper.tmpname([[
      127.0.0.2 many
      127.0.0.3 many
      ::1 many
      fd00::2 many
      fd00::3 many
    ]])
    local trace = helper.tmpname()
    local wrapper = helper.tmpname(([[
      mount --bind %s /etc/hosts && exec strace -o %s -e trace=connect "$@"
    ]]):format(hosts, trace))
    if os.execute(("unshare -rmn sh %s true >/dev/null 2>&1"):format(wrapper)) ~= 0 then
      return pending("namespaces or strace do not work here")
    end
    local out = helper.run_script([[print(select(3, grun.connect("many:1")))]],
      { prefix = ("unshare -rmn sh %s"):format(wrapper) })
    assert.not_equal("nil\n", out)
    local families = {}
    for family in helper.contents(trace):gmatch("connect%(%d+, {sa_family=AF_INET(6?), ") do
      families[#families + 1] = family == "6" and "6" or "4"
    end
    assert.is_true(families[1] == "6" and table.concat(families) == "64646" or
      table.concat(families) == "46466", table.concat(families))
  end)
end)

-- A descriptor of the same socket that belongs to nobody.
local function dup(keep, object)
  local a, b = keep(assert(grun.pair()))
  assert(a:send_fd(object:fd()))
  return (assert(b:recv_fd()))
end

describe("an address fd:n", function()
  test("is a connected socket for connect", function(keep)
    local a, b = net.connected(keep, "tcp://127.0.0.1:0")
    local fd = dup(keep, a)
    local c = keep(assert(grun.connect("fd:" .. fd, { nodelay = false, keepalive = true })))
    assert.equal(fd, c:fd())
    assert.is_true(c:getoption("keepalive"))
    a:close()
    b:write("still there\n")
    assert.equal("still there", c:read())
    c:close()
    assert.same({ nil, "closed", "closed" }, { b:read() })
  end)

  test("is a unix socket as well", function(keep)
    local a, b = keep(assert(grun.pair()))
    local c = keep(assert(grun.connect("fd:" .. dup(keep, a))))
    c:write("x\n")
    assert.equal("x", b:read())
  end)

  test("is a listening socket for listen, whose path stays", function(keep)
    local path = net.unix_path()
    local original = keep(assert(grun.listen("unix:" .. path)))
    local taken = keep(assert(grun.listen("fd:" .. dup(keep, original))))
    assert.equal("unix:" .. path, taken:address())
    local client = keep(assert(grun.connect(taken:address())))
    client:write("x\n")
    assert.equal("x", keep(assert(taken:accept())):read())
    taken:close()
    keep(assert(grun.connect("unix:" .. path)))
  end)

  test("serves", function(keep)
    local original = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local server = assert(grun.server("fd:" .. dup(keep, original), function(conn)
      conn:write(conn:read("L"))
    end))
    assert.equal(original:address(), server:address())
    original:close()
    local client = keep(assert(grun.connect(server:address())))
    client:write("x\n")
    assert.equal("x", client:read())
    server:stop()
  end)

  test("of another kind is not taken", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local conn = keep(assert(grun.pair()))
    local of_listener, of_conn = dup(keep, listener), dup(keep, conn)
    assert.same({ nil, ("cannot connect to fd:%d: it is not a connected stream socket")
      :format(of_listener), "EINVAL" }, { grun.connect("fd:" .. of_listener) })
    assert.same({ nil, ("cannot listen on fd:%d: it is not a listening stream socket")
      :format(of_conn), "EINVAL" }, { grun.listen("fd:" .. of_conn) })
    assert.same({ nil, "cannot connect to fd:99999: Bad file descriptor", "EBADF" },
      { grun.connect("fd:99999") })
    -- Not taken means that it is still open and ours.
    keep(assert(grun.listen("fd:" .. of_listener)))
    keep(assert(grun.connect("fd:" .. of_conn)))
  end)

  it("is not a file", function()
    local out = helper.run_script([[print(grun.connect("fd:0")) print(grun.listen("fd:0"))]])
    assert.equal("nil\tcannot connect to fd:0: it is not a connected stream socket\tENOTSOCK\n" ..
      "nil\tcannot listen on fd:0: it is not a listening stream socket\tENOTSOCK\n", out)
  end)

  it("was passed by the parent process, blocking and inherited by children", function()
    local out = helper.run_script([[
      local conn = assert(grun.connect("fd:9"))
      print(conn:recv(nil, 0.01))
      print(os.execute("[ -S /proc/self/fd/9 ]") ~= 0)
    ]], { prefix = [[python3 -c '
import os, socket, sys
a, b = socket.socketpair()
os.dup2(a.fileno(), 9)
os.set_inheritable(b.fileno(), True)
os.execvp(sys.argv[1], sys.argv[1:])']] })
    assert.equal("nil\ttimeout\ttimeout\ntrue\n", out)
  end)
end)

describe("fast open", function()
  test("connects and carries data, whether the system has it on or off", function(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0", { fastopen = 16 })))
    for _ = 1, 3 do
      local client = keep(assert(grun.connect(listener:address(), { fastopen = true })))
      assert.is_true(client:getoption("fastopen"))
      assert(client:write("hello\n"))
      assert.equal("hello", keep(assert(listener:accept())):read())
    end
    assert.has_error(function() grun.listen("tcp://127.0.0.1:0", { fastopen = true }) end)
    assert.has_error(function() grun.connect(listener:address(), { fastopen = 1 }) end)
  end)
end)
