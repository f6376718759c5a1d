-- SPDX-License-Identifier: MIT
-- Finds the open TCP ports of a machine, many at a time. Shows a pool, connect with a time limit,
-- and results that are used as they come. Only scan machines that are yours.
-- Run:  ./grun scripts/examples/port_scan.lua [127.0.0.1 [1-1024 [200]]]
-- The arguments: host, port or range of ports, connections tried at once.

local host = arg[1] or "127.0.0.1"
local first, last = (arg[2] or "1-1024"):match("^(%d+)%-?(%d*)$")
local at_once = tonumber(arg[3] or 200)
first = tonumber(first)
last = tonumber(last) or first
if not first or first < 1 or last > 65535 or first > last or not at_once or at_once < 1 then
  io.stderr:write("usage: port_scan.lua [HOST [FIRST[-LAST] [AT_ONCE]]]\n")
  os.exit(2)
end

local LIMIT = 1 -- seconds for one port
local GREETING = 0.2 -- seconds that a service has to say something by itself

local address = host:find(":", 1, true) and "tcp://[%s]:%d" or "tcp://%s:%d"

-- "open" and what the service says first, or why there is none.
local function probe(port)
  local conn, _, code = grun.connect(address:format(host, port), { timeout = LIMIT })
  if not conn then
    return port, code
  end
  if conn:sockname() == conn:peername() then -- by chance it was given this very port to call from
    conn:close()
    return port, "ECONNREFUSED"
  end
  local greeting = conn:recv(200, GREETING) or ""
  conn:close()
  return port, "open", (greeting:match("^[^\r\n]*"):gsub("[^\32-\126]", "."))
end

local function ports()
  local port = first - 1
  return function()
    port = port + 1
    return port <= last and port or nil
  end
end

io.stdout:setvbuf("line")
local counts, started = {}, grun.now()
local results = grun.pool(at_once):imap_unordered(function(port)
  return { probe(port) }
end, ports())
for result in results do
  local port, state, greeting = unpack(result)
  counts[state] = (counts[state] or 0) + 1
  if state == "open" then
    print(("%-5d open  %s"):format(port, greeting))
  end
end
local summary = {}
for state, count in pairs(counts) do
  summary[#summary + 1] = ("%d %s"):format(count, state == "ECONNREFUSED" and "closed" or state)
end
table.sort(summary)
print(("%s; %.2f s"):format(table.concat(summary, ", "), grun.now() - started))
