-- SPDX-License-Identifier: MIT
-- What the specs about the HTTP client share: servers that do as they are told.

local grun = require("grun")
local helper = require("spec.helper")
local http = require("spec.http_helper")

local M = {}

M.OK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

local servers = {}

--- Closes this at the end of the test.
function M.keep(server)
  servers[#servers + 1] = server
  return server
end

--- Starts a server of ours. Returns its URL and itself.
function M.serve(handler, opts)
  local port, server = http.serve(servers, handler, opts)
  return "http://127.0.0.1:" .. port, server
end

--- A server that does with its nth connection what script(conn, n) does. Returns its URL and a table
--- with the number of connections.
function M.scripted(script)
  local listener = M.keep(assert(grun.listen("tcp://127.0.0.1:0")))
  local count = { n = 0 }
  helper.spawn(function()
    while true do
      local conn = listener:accept()
      if not conn then
        return
      end
      count.n = count.n + 1
      local n = count.n
      local t = helper.spawn(function()
        local ok, problem = pcall(script, conn, n)
        conn:close()
        if not ok and not grun.is_cancel(problem) then
          error(problem, 0)
        end
      end)
      t:link(function() conn:close() end) -- of a thread that was killed before it began, too
    end
  end)
  return "http://127.0.0.1:" .. listener:address():match("%d+$"), count
end

--- Posts the numbers from 1 to 21, each but the first after the one before it came back. Returns what
--- came, a piece a word.
function M.in_step(url)
  local lines, came = grun.queue(), {}
  lines:put("1")
  local res = assert(grun.http.post(url, { stream = true, timeout = 10,
    body = function() return (lines:get()) end }))
  for i = 1, 20 do
    came[i] = res:read()
    lines:put(tostring(i + 1))
  end
  lines:close()
  came[21] = res:read("a")
  return table.concat(came, " ")
end

M.IN_STEP = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21"

--- The head of a request as text, its end included.
function M.read_head(conn)
  local head = conn:read_until("\r\n\r\n", { include = true })
  return head and head ~= "" and head or nil
end

--- Connects to a server and passes on what comes on either connection, until `conn` ends; `head` is
--- what that has sent already.
function M.tunnel(conn, target, head)
  local out = M.keep(assert(grun.connect("tcp://" .. target)))
  local function pump(from, to)
    local data = from:recv()
    while data and to:write(data) do
      data = from:recv()
    end
    to:shutdown("w")
  end
  out:write(head or "")
  local back = helper.spawn(pump, out, conn)
  pump(conn, out)
  back:join(5)
  out:close()
end

--- A scripted server that answers each request with the same bytes, and closes unless `keep`.
function M.answering(bytes, keep)
  return M.scripted(function(conn)
    while M.read_head(conn) do
      conn:write(bytes)
      if not keep then
        return
      end
    end
  end)
end

--- `it` for such tests; the second one calls finally.
function M.wrap(it, finally)
  return function(name, body)
    it(name, function()
      finally(function()
        grun.http.close_idle()
        for _, server in ipairs(servers) do
          if server.stop then
            server:stop(0)
          else
            server:close()
          end
        end
        servers = {}
        collectgarbage()
        collectgarbage()
      end)
      body()
    end)
  end
end

return M
