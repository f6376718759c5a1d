-- SPDX-License-Identifier: MIT
-- A caching DNS server: asks its upstreams in turn and answers repeated questions itself. Shows
-- servers of datagrams and of connections together, DNS messages, limits of time and number, and
-- one thread doing what many wait for.
-- Run:  ./grun scripts/examples/dns_cache.lua [OPTION NUMBER]... udp://127.0.0.1:5300 [UPSTREAM]...
-- Then: dig @127.0.0.1 -p 5300 example.org        (^C stops the server)
-- It listens on that port of UDP and of TCP. Upstreams are addresses such as 127.0.0.1:5301, by
-- default those in /etc/resolv.conf. `kill -USR1 PID` prints counters. `--redis 127.0.0.1:6379`
-- keeps the cache in Redis, where --size has no meaning (needs lua-redis). The other options:

local options = {
  ["--stats"] = 0, -- seconds between lines with the counters; 0: none
  ["--timeout"] = 1, -- seconds that an upstream has for a question
  ["--size"] = 10000, -- answers in the cache
  ["--min-ttl"] = 0, -- seconds that answers are kept at least, whatever they say
  ["--max-ttl"] = 86400, -- … and at most
  ["--idle"] = 10, -- seconds that a TCP client may be silent
  ["--stale"] = 0, -- seconds that expired answers still do when upstreams fail (RFC 8767)
}

local WAIT = 60 -- seconds that a question waits for the answer to an equal one
local AVOID = 10 -- seconds that a silent upstream is asked after the others
local FAILURE_TTL = 2 -- seconds until upstreams that failed are asked the same again (RFC 9520)
local NEGATIVE_TTL = 3600 -- seconds that "there is none" is kept at most (RFC 2308)
local STALE_TTL = 30 -- of expired answers
local WAITING = 500 -- questions that wait for upstreams at once
local CLIENTS, PIPELINED = 200, 32 -- TCP: clients, and questions of one, at once
local UDP_SIZE = 1232 -- bytes of a datagram that networks need not split
local GUESSES = 100 -- wrong answers after which a question is asked by TCP

local NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED, BADVERS = 0, 1, 2, 3, 4, 5, 16

local parse, pack = grun.dns.message.parse, grun.dns.message.pack
local now, floor, max, min = grun.now, math.floor, math.max, math.min

local counted = { "queries", "malformed", "hits", "joined", "sent", "wrong", "failed", "stale" }
local counters = setmetatable({}, { __index = function() return 0 end })

local function count(what)
  counters[what] = counters[what] + 1
end

-- ---- Cache ----

-- At most `size` entries, in two generations: when the young one is full, it becomes the old one,
-- and what nobody asked for meanwhile is gone.
local function new_cache(size)
  local young, old, n = {}, {}, 0
  local cache = {}

  function cache.put(key, entry)
    if not young[key] then
      if n >= size / 2 then
        young, old, n = {}, young, 0
      end
      n = n + 1
    end
    young[key] = entry
  end

  function cache.get(key)
    local entry = young[key]
    if not entry and old[key] then
      entry = old[key]
      cache.put(key, entry)
    end
    return entry
  end

  return cache
end

-- Makes an upstream's answer an entry: `records` are all it has, `at` is when their times to live
-- were right, `expires` and `usable` tell until when it is good and still better than nothing.
local function new_entry(answer, question)
  local lowest, highest = options["--min-ttl"], options["--max-ttl"]
  local records, least, exists, soa = {}, highest, false, false
  for _, section in ipairs({ "answers", "authorities", "additionals" }) do
    for _, record in ipairs(answer[section]) do
      local ttl = record.ttl < 2 ^ 31 and record.ttl or 0 -- RFC 2181 section 8
      if section == "answers" and answer.rcode == NOERROR then
        exists = exists or record.type == question.type or question.type == "ANY"
      elseif section == "authorities" and record.type == "SOA" and not exists then
        ttl, soa = min(ttl, record.minimum or 0, NEGATIVE_TTL), true -- RFC 2308 section 5
      end
      record.ttl = min(max(ttl, lowest), highest)
      least = min(least, record.ttl)
      records[#records + 1] = record
    end
  end
  answer.records, answer.at = records, now()
  answer.expires = answer.at + ((exists or soa) and least or 0)
  answer.usable = answer.expires + options["--stale"]
  return answer
end

-- What to answer when no upstream does.
local function failure(old)
  count("failed")
  if not old or now() >= old.usable then
    return { rcode = SERVFAIL, records = {}, at = now(), expires = now() + FAILURE_TTL, usable = 0 }
  end
  count("stale")
  old.at, old.expires = now(), now() + STALE_TTL
  for _, record in ipairs(old.records) do
    record.ttl = STALE_TTL
  end
  return old
end

local function lower_ttls(entry)
  local seconds = floor(now() - entry.at)
  if seconds > 0 then
    entry.at = entry.at + seconds
    for _, record in ipairs(entry.records) do
      record.ttl = max(0, record.ttl - seconds)
    end
  end
  return entry
end

local KEY = "grun:dns_cache:"

-- The same in Redis, for several of these servers and beyond their end. A value is until when the
-- answer was right, is good and is usable, as wall-clock time, and the answer as a message. While
-- Redis fails everything is asked anew.
local function new_redis_cache(address)
  local redis, clock = require("redis"), require("socket").gettime -- both as they are
  local host, port = address:match("^%[?(.-)%]?:(%d+)$")
  local idle, works, cache = {}, true, {} -- idle: connections; each is for one thread at a time

  local function call(command, ...)
    local client
    local ok, result = pcall(function(...)
      client = table.remove(idle) or redis.connect({ host = host, port = port, timeout = 1 })
      return client[command](client, ...)
    end, ...)
    if ok then
      works, idle[#idle + 1] = true, client
      return result
    elseif client then
      client.network.socket:close()
    end
    if type(result) ~= "string" then
      error(result, 0) -- a cancel
    elseif works then
      io.stderr:write("redis: ", result, "\n")
    end
    works, idle = false, {}
  end

  function cache.put(key, entry)
    local ahead, seconds = clock() - now(), math.ceil(max(entry.expires, entry.usable) - now())
    local times = ("%.3f %.3f %.3f "):format(entry.at + ahead, entry.expires + ahead,
      entry.usable + ahead)
    local bytes = pack({ qr = true, rcode = entry.rcode, ad = entry.ad, answers = entry.answers,
      authorities = entry.authorities, additionals = entry.additionals }, { max = 65535 })
    call("setex", KEY .. key, max(1, seconds), times .. bytes)
  end

  function cache.get(key)
    local value = call("get", KEY .. key) or ""
    local at, expires, usable, bytes = value:match("^(%S+) (%S+) (%S+) (.*)")
    local entry, ahead = bytes and parse(bytes), clock() - now()
    if entry then
      entry.at, entry.expires, entry.usable = at - ahead, expires - ahead, usable - ahead
      entry.records = {}
      for _, section in ipairs({ "answers", "authorities", "additionals" }) do
        for _, record in ipairs(entry[section]) do
          table.insert(entry.records, record)
        end
      end
    end
    return entry
  end

  return cache
end

-- ---- Upstreams ----

local upstreams = {}
local avoid = {} -- upstream -> until when it is asked last

local random_bytes = assert(io.open("/dev/urandom", "rb"))

-- Nobody who sees some of them can tell the next one.
local function random_id()
  local high, low = random_bytes:read(2):byte(1, 2)
  return high * 256 + low
end

-- The message in these bytes, if it can be the answer to the query.
local function believe(bytes, query)
  local answer, question = parse(bytes), query.questions[1]
  local asked = answer and answer.qr and answer.opcode == 0 and answer.id == query.id
    and #answer.questions == 1 and answer.questions[1]
  if asked and asked.name:lower() == question.name:lower() and asked.type == question.type
    and asked.class == question.class then
    return answer
  end
  count("wrong")
end

-- Each question has a socket, and so a random port, of its own; being connected, it takes datagrams
-- from the upstream only. Somebody who guesses ids nevertheless cannot do so by TCP.
local function ask_udp(sock, server, query)
  if not sock:connect("udp://" .. server) or not sock:send(pack(query)) then
    return nil
  end
  for _ = 1, GUESSES do
    local bytes = sock:recv()
    local answer = bytes and believe(bytes, query)
    if answer or not bytes then
      return answer
    end
  end
  return { tc = true }
end

local function read_message(conn)
  local size = conn:read(2)
  if size and #size == 2 then
    size = size:byte(1) * 256 + size:byte(2)
    local bytes = conn:read(size)
    return bytes and #bytes == size and bytes or nil
  end
end

local function write_message(conn, bytes)
  return conn:write(string.char(floor(#bytes / 256), #bytes % 256), bytes)
end

local function ask_tcp(conn, query)
  write_message(conn, pack(query))
  for bytes in read_message, conn do
    local answer = believe(bytes, query)
    if answer then
      return answer
    end
  end
end

-- Runs fn(socket, ...) if there is a socket, and closes it even when time is up.
local function closing(socket, fn, ...)
  if not socket then
    return nil
  end
  local ok, answer = pcall(fn, socket, ...)
  socket:close()
  if not ok then
    error(answer, 0)
  end
  return answer
end

local function ask(server, query)
  count("sent")
  local answer = closing(grun.udp(), ask_udp, server, query)
  if answer and answer.tc then
    answer = closing(grun.connect("tcp://" .. server), ask_tcp, query)
  end
  return answer
end

-- Each time another one is first, and those that were silent are last.
local function in_order()
  local list, silent = {}, {}
  table.insert(upstreams, table.remove(upstreams, 1))
  for _, server in ipairs(upstreams) do
    table.insert(now() < (avoid[server] or 0) and silent or list, server)
  end
  for _, server in ipairs(silent) do
    list[#list + 1] = server
  end
  return list
end

-- The first useful answer as an entry, or nil after two rounds.
local function resolve(client)
  local servers = in_order()
  local edns = { udp_size = UDP_SIZE, dnssec_ok = client.edns and client.edns.dnssec_ok }
  for try = 1, 2 * #servers do
    local server = servers[(try - 1) % #servers + 1]
    local answer = grun.timeout(options["--timeout"], ask, server, { id = random_id(), rd = true,
      cd = client.cd, questions = client.questions, edns = edns })
    avoid[server] = not answer and now() + AVOID or nil
    if answer and (answer.rcode == NOERROR or answer.rcode == NXDOMAIN) then
      return new_entry(answer, client.questions[1])
    end
  end
end

-- ---- Questions ----

local cache
local flights = {} -- key -> { done = event, entry = … }: what upstreams are being asked
local slots = grun.semaphore(WAITING)

-- Who asks first asks the upstreams; the others wait for that.
local function fetch(key, query, old)
  local flight = flights[key]
  if flight then
    count("joined")
    flight.done:wait(WAIT)
    return flight.entry or failure()
  end
  flight = { done = grun.event() }
  flights[key] = flight
  local ok, entry = pcall(resolve, query)
  flight.entry = ok and entry or failure(old)
  if ok and now() < flight.entry.expires then
    ok, entry = pcall(cache.put, key, flight.entry)
  end
  flights[key] = nil -- only now: who misses it in a cache that takes its time joins
  flight.done:set()
  return ok and flight.entry or error(entry, 0)
end

local function find(query)
  local question, edns = query.questions[1], query.edns
  local key = ("%s %s %s %s %s"):format(question.name:lower(), question.type, question.class,
    query.cd, edns and edns.dnssec_ok or false)
  local entry = cache.get(key)
  if entry and now() < entry.expires then
    count("hits")
    return lower_ttls(entry)
  elseif slots:count() == 0 then
    return failure(entry) -- what is in the cache is answered even then
  end
  return slots:with(fetch, key, query, entry)
end

-- ---- Clients ----

-- The code of why a query gets no answer, or nil.
local function refusal(query)
  local question = query.questions[1]
  return query.opcode ~= 0 and NOTIMP or #query.questions ~= 1 and FORMERR
    or query.edns and query.edns.version ~= 0 and BADVERS
    or (question.type == "AXFR" or question.type == "IXFR") and REFUSED or nil
end

-- For what is no query. What looks like an answer gets none, or two servers might answer each
-- other for ever.
local function malformed(bytes)
  count("malformed")
  if #bytes >= 12 and bytes:byte(3) < 128 then
    local opcode = floor(bytes:byte(3) / 8)
    return bytes:sub(1, 2) .. string.char(128 + opcode * 8, FORMERR) .. ("\0"):rep(8)
  end
end

-- The bytes to send back to a client who sent these, or nil.
local function serve(bytes, stream)
  count("queries")
  local query = parse(bytes)
  if not query or query.qr then
    return malformed(bytes)
  end
  local edns, code = query.edns, refusal(query)
  local entry = code and { rcode = code } or find(query)
  local dnssec = edns and edns.dnssec_ok or false
  return pack({
    id = query.id, qr = true, opcode = query.opcode, rd = query.rd, ra = true, cd = query.cd,
    ad = entry.ad and (query.ad or dnssec), rcode = entry.rcode, questions = query.questions,
    answers = entry.answers, authorities = entry.authorities, additionals = entry.additionals,
    edns = edns and { udp_size = UDP_SIZE, dnssec_ok = dnssec },
  }, { max = stream and 65535 or edns and max(512, min(edns.udp_size, UDP_SIZE)) or 512 })
end

-- The questions of one connection are answered in any order (RFC 7766 section 7).
local function serve_stream(conn)
  local pool = grun.pool(PIPELINED)
  for bytes in read_message, conn do
    pool:spawn(function()
      local reply = serve(bytes, true)
      if reply and not write_message(conn, reply) then
        conn:close()
      end
    end)
  end
  pool:join()
end

-- ---- Start ----

local function usage()
  io.stderr:write("usage: dns_cache.lua [OPTION NUMBER]... udp://HOST:PORT [UPSTREAM]...\n")
  os.exit(2)
end

-- Hosts without a port are such as "127.0.0.1", "::1" or "[::1]".
local function with_port(host)
  if host:find("^[^:]+:%d+$") or host:find("%]:%d+$") then
    return host
  end
  return (host:find(":") and not host:find("^%[") and "[%s]:53" or "%s:53"):format(host)
end

local redis_address

local function read_arguments()
  local address, i = nil, 1
  while arg[i] do
    if arg[i] == "--redis" then
      redis_address = (arg[i + 1] or ""):match("^.+:%d+$") or usage()
      i = i + 1
    elseif options[arg[i]] then
      options[arg[i]] = tonumber(arg[i + 1]) or usage()
      i = i + 1
    elseif address then
      upstreams[#upstreams + 1] = with_port(arg[i])
    else
      address = arg[i]:find("^udp://") and arg[i] or usage()
    end
    i = i + 1
  end
  return address or usage()
end

-- Both or none: a server that runs would keep the process alive.
local function listen(...)
  local server, message = grun.server(...)
  if not server then
    io.stderr:write("dns_cache.lua: ", message, "\n")
    os.exit(1)
  end
  return server
end

local address = read_arguments()
if #upstreams == 0 then
  for line in io.lines("/etc/resolv.conf") do
    local host = line:match("^nameserver%s+(%S+)")
    upstreams[#upstreams + 1] = host and with_port(host)
  end
end
assert(upstreams[1], "no upstreams")
cache = redis_address and new_redis_cache(redis_address) or new_cache(options["--size"])
grun.grace = 2 -- seconds for questions under way when the server is stopped
local tcp = listen(address:gsub("^udp", "tcp"), serve_stream, {
  max_connections = CLIENTS, idle_timeout = options["--idle"],
})
local udp = listen(tcp:address():gsub("^tcp", "udp"), function(bytes)
  return serve(bytes, false)
end, { max_connections = WAITING + 100, rcvbuf = 2 ^ 20 })

local function print_counters()
  local line = {}
  for i, what in ipairs(counted) do
    line[i] = counters[what] .. " " .. what
  end
  print(("%s, %d dropped"):format(table.concat(line, ", "), udp:stats().dropped))
end

io.stdout:setvbuf("line")
print(("listening on %s and %s"):format(udp:address(), tcp:address()))
grun.signal("USR1", print_counters)
while options["--stats"] > 0 do
  grun.sleep(options["--stats"])
  print_counters()
end
