-- SPDX-License-Identifier: MIT
-- WebSockets used by several threads at once, and what they wait for: turns, pings, the end.

local grun = require("grun")
local helper = require("spec.helper")
local net = require("spec.net_helper")
local websocket = require("spec.websocket_helper")

local test = net.test(it, function(fn) finally(fn) end)
local frame, text, close, read_frame = websocket.frame, websocket.text, websocket.close, websocket.read_frame
local pair, raw, echo, dial = websocket.pair, websocket.raw, websocket.echo, websocket.dial
local eventually = websocket.eventually

local HUGE = 2 ^ 30
local large = ("x"):rep(20000000) -- more than sockets buffer

local function sender(ws, data)
  return helper.spawn(function() return ws:send(data or large, "binary") end)
end

describe("a websocket that several threads use", function()
  test("answers pings while both sides send much", function(keep)
    local opts = { max_message = HUGE, write_timeout = 10 }
    local here, there = pair(keep, opts, opts)
    local threads = {}
    for _, ws in ipairs({ here, there }) do
      assert(ws:ping("anybody there?"))
      threads[#threads + 1] = sender(ws)
      threads[#threads + 1] = helper.spawn(function() return #assert(ws:recv(20)) end)
    end
    for i, expected in ipairs({ true, #large, true, #large }) do
      assert.equal(expected, (threads[i]:get()))
    end
  end)

  test("receives while it sends, and answers a ping behind its message", function(keep)
    local port, next_one = websocket.waiting(keep)
    local conn = raw(keep, port)
    local there = next_one()
    local sending = sender(there)
    conn:write(frame(9, "one"), text("early"), frame(9, "two"))
    assert.equal("early", (there:recv(10)))
    assert.equal("timeout", select(3, there:recv(0.05)))
    assert.equal("waiting", sending:status())
    local opcode, payload = read_frame(conn)
    assert.same({ 2, #large }, { opcode, #payload })
    assert.same({ 10, "two" }, { read_frame(conn) })
    assert.is_true((sending:get()))
  end)

  test("is closed by two of them", function(keep)
    local here, there = pair(keep, { max_message = HUGE })
    local sending = sender(here)
    local first = net.parked(function() return here:close(4001) end)
    local second = net.parked(function() return here:close(4002) end)
    assert.equal(#large, #assert(there:recv(10)))
    assert.same({ nil, "closed", "closed" }, { there:recv(10) })
    assert.equal(4001, there.close_code)
    assert.is_true((sending:get()))
    assert.is_true((first:get()))
    assert.is_true((second:get()))
    assert.equal(4001, here.close_code)
  end)

  test("is closed by one while another one answers the peer's close frame", function(keep)
    local port, next_one = websocket.waiting(keep, { max_message = HUGE })
    local conn = raw(keep, port)
    local there = next_one()
    local sending = sender(there)
    conn:write(close(4003))
    local reading = net.parked(function() return there:recv() end)
    grun.sleep(0.02)
    local closing = net.parked(function() return there:close(4004) end)
    assert.equal(#large, #select(2, read_frame(conn)))
    assert.same({ 8, "\15\163" }, { read_frame(conn) })
    assert.is_nil(conn:read(1))
    assert.is_true((sending:get()))
    assert.same({ nil, "closed", "closed" }, { reading:get() })
    assert.is_true((closing:get()))
    assert.equal(4003, there.close_code)
  end)

  test("is closed by one while another one tells the peer what was wrong", function(keep)
    local port, next_one = websocket.waiting(keep)
    local conn = raw(keep, port)
    local there = next_one()
    conn:write(frame(3, "x"))
    local reading = net.parked(function() return there:recv() end)
    local opcode, payload = read_frame(conn)
    assert.same({ 8, 1002 }, { opcode, websocket.code_of(payload) })
    local closing = net.parked(function() return there:close() end)
    conn:close()
    assert.same({ nil, "unknown opcode", "protocol" }, { reading:get() })
    assert.same({ nil, "closed", "closed" }, { closing:get() })
    assert.equal(1002, there.close_code)
  end)

  test("gives the code of the end to who receives while it is closed", function(keep)
    local here, there = pair(keep)
    local closing = net.parked(function() return here:close(4001) end)
    assert.same({ nil, "timeout", "timeout" }, { here:recv(0.01) })
    local canceled = net.parked(function() return here:recv() end)
    canceled:cancel()
    canceled:join()
    local reading = net.parked(function() return here:recv() end)
    there:recv()
    assert.same({ nil, "closed", "closed" }, { reading:get() })
    assert.equal(4001, here.close_code)
    assert.is_true((closing:get()))
  end)

  test("ends for all when the thread that closes is cancelled", function(keep)
    local here = pair(keep)
    local closing = net.parked(function() return here:close() end)
    local second = net.parked(function() return here:close() end)
    local reading = net.parked(function() return here:recv() end)
    closing:cancel()
    closing:join()
    assert.same({ nil, "closed", "closed" }, { second:get() })
    assert.same({ nil, "closed", "closed" }, { reading:get() })
    assert.equal(1006, here.close_code)
  end)

  test("is closed in time while another one's message is stuck", function(keep)
    for _, canceled in ipairs({ false, true }) do
      local port, next_one = websocket.waiting(keep, { close_timeout = canceled and 60 or 0.1 })
      raw(keep, port)
      local there = next_one()
      local sending = sender(there)
      grun.sleep(0.02)
      local closing = net.parked(function() return there:close() end)
      if canceled then
        closing:cancel()
        closing:join()
      else
        assert.same({ nil, "timeout", "timeout" }, { closing:get() })
      end
      assert.same({ nil, "closed", "closed" }, { sending:get() })
      assert.equal(1006, there.close_code)
    end
  end)

  test("sends, receives and is closed at once without a mix-up", function(keep)
    for round = 1, 20 do
      local port, ends = echo(keep, { max_message = HUGE })
      local ws = dial(keep, port, { max_message = HUGE })
      local sent, got = 0, 0
      for _ = 1, 3 do
        helper.spawn(function()
          while ws:send(("y"):rep(1000 * round), "binary") do
            sent = sent + 1
            grun.yield()
          end
        end)
      end
      local reading = helper.spawn(function()
        for data in ws do
          assert.equal(1000 * round, #data)
          got = got + 1
        end
      end)
      eventually(function() return got >= 5 end)
      assert.is_true((ws:close(4000)))
      reading:join()
      assert.equal(4000, ws.close_code)
      eventually(function() return ends[1] end)
      assert.same({ "closed", "closed", 4000, "" }, ends[1])
      assert.is_true(got <= sent)
    end
  end)

  test("tells a peer of its end also in a thread that is cancelled already", function(keep)
    local here, there = pair(keep)
    local t = net.parked(function()
      pcall(grun.sleep, 60)
      here:close(4005)
    end)
    t:cancel()
    t:join()
    assert.same({ nil, "closed", "closed" }, { there:recv(10) })
    assert.equal(4005, there.close_code)
  end)
end)

describe("a silent peer", function()
  test("has the whole ping_timeout, however late recv is called", function(keep)
    local here, there = pair(keep, { ping_interval = 0.02, ping_timeout = 1 })
    local answering = helper.spawn(function() return here:recv() end)
    assert.equal("timeout", select(3, there:recv(0.05))) -- asked, and answered
    grun.sleep(1.2)
    assert.equal("timeout", select(3, there:recv(0.3)))
    assert.is_true(there:close())
    answering:join()
  end)

  test("that answered before recv was called again is alive", function(keep)
    local port, next_one = websocket.waiting(keep, { ping_interval = 0.02, ping_timeout = 0.05 })
    local conn = raw(keep, port)
    local there = next_one()
    assert.equal("timeout", select(3, there:recv(0.03)))
    assert.same({ 9, "" }, { read_frame(conn) })
    conn:write(frame(10))
    grun.sleep(0.2)
    assert.equal("timeout", select(3, there:recv(0)))
    assert.is_false(there:closed())
  end)

  test("that takes a long message slowly is alive", function(keep)
    local port, next_one = websocket.waiting(keep, { ping_interval = 0.1, ping_timeout = 0.3 })
    local conn = raw(keep, port)
    local there = next_one()
    local sending = sender(there)
    local reading = net.parked(function() return there:recv() end)
    conn:read(10)
    local left = #large
    while left > 0 do
      left = left - #assert(conn:read(math.min(left, 200000)))
      grun.sleep(0.01)
    end
    assert.is_true((sending:get()))
    assert.same({ 9, "" }, { read_frame(conn) })
    conn:write(text("here I am"))
    assert.equal("here I am", (reading:get()))
  end)

  test("that takes nothing of a long message is gone", function(keep)
    local port, next_one = websocket.waiting(keep,
      { ping_interval = 0.05, ping_timeout = 0.2, write_timeout = false })
    raw(keep, port)
    local there = next_one()
    local sending = sender(there)
    assert.same({ nil, "closed", "closed" }, { there:recv(10) })
    assert.equal(1006, there.close_code)
    assert.same({ nil, "closed", "closed" }, { sending:get() })
  end)

  test("that takes no pong is gone after write_timeout", function(keep)
    local path = net.unix_path()
    local there
    local server = assert(grun.server("http://unix:" .. path, function(req)
      there = assert(req:websocket({ write_timeout = 0.1, ping_interval = false }))
      there:recv()
    end))
    keep({ close = function() server:stop(0) end })
    local conn = keep(assert(grun.connect("unix:" .. path)))
    conn:write(websocket.request())
    conn:settimeout(0.05)
    local pings = frame(9, ("p"):rep(125)):rep(100)
    eventually(function()
      conn:write(pings)
      return there and there:closed()
    end)
    assert.equal(1006, there.close_code)
  end)
end)

describe("a peer that broke the rules", function()
  test("is listened to for close_timeout", function(keep)
    local port, ends = echo(keep, { close_timeout = 0.2 })
    local conn = raw(keep, port)
    conn:write(frame(3, "x"))
    eventually(function()
      conn:write("still here")
      return #ends == 1
    end)
    assert.same({ "unknown opcode", "protocol", 1002, "unknown opcode" }, ends[1])
  end)

  test("is not listened to for more than some megabytes", function(keep)
    local port, ends = echo(keep, { close_timeout = 60 })
    local conn = raw(keep, port)
    conn:write(frame(3, "x"))
    while conn:write(("z"):rep(100000)) do end
    eventually(function() return #ends == 1 end)
    assert.equal(1002, ends[1][3])
  end)
end)

describe("a client's handshake", function()
  -- A server that takes a connection and says nothing.
  local function silent(keep)
    local listener = keep(assert(grun.listen("tcp://127.0.0.1:0")))
    local accepted = helper.spawn(function() return keep(assert(listener:accept())) end)
    return "ws" .. listener:address():sub(4), accepted
  end

  test("ends with its thread", function(keep)
    local url, accepted = silent(keep)
    local t = net.parked(function() return grun.http.websocket(url) end)
    local conn = accepted:get()
    conn:read_until("\r\n\r\n")
    t:cancel()
    t:join()
    assert.is_nil(conn:read(1))
  end)

  test("ends at a deadline", function(keep)
    local url, accepted = silent(keep)
    local done, message = grun.timeout(0.05, function() return grun.http.websocket(url) end)
    assert.same({ nil, "timeout" }, { done, message })
    accepted:get():read("a")
  end)
end)

describe("a broadcast", function()
  test("reaches all but the one that reads nothing", function(keep)
    local n, members = 100, {}
    local port = websocket.serve(keep, function(req)
      local ws = assert(req:websocket({ write_timeout = 0.5 }))
      members[ws] = true
      while ws:recv() do end
      members[ws] = nil
    end)
    local stuck = raw(keep, port)
    local clients, texts = {}, 0
    for i = 1, n do
      clients[i] = dial(keep, port)
      helper.spawn(function()
        for _ in clients[i] do
          texts = texts + 1
        end
      end)
    end
    local function count()
      local k = 0
      for _ in pairs(members) do
        k = k + 1
      end
      return k
    end
    eventually(function() return count() == n + 1 end)
    local piece, rounds = ("z"):rep(200000), 0
    repeat
      rounds = rounds + 1
      local group = {}
      for ws in pairs(members) do
        group[#group + 1] = grun.spawn(function() return ws:send(piece) end)
      end
      for _, t in ipairs(group) do
        t:join()
      end
    until count() == n or rounds == 100
    assert.equal(n, count())
    eventually(function() return texts == n * rounds end)
    stuck:close()
  end)
end)
