-- SPDX-License-Identifier: MIT
-- What the specs about HTTP share.

local grun = require("grun")

local M = {}

--- Starts a server and adds it to a list. Returns its port and itself.
function M.serve(servers, handler, opts)
  local server = assert(grun.server("http://127.0.0.1:0", handler, opts))
  servers[#servers + 1] = server
  return tonumber(server:address():match("%d+$")), server
end

local function stop_all(servers)
  for _, server in ipairs(servers) do
    local stop = server.stop or server.close
    stop(server, 0)
  end
  for i = #servers, 1, -1 do
    servers[i] = nil
  end
end

--- Makes an it() after whose body the servers of a list are stopped, also listeners, then clean_up()
--- is called. Called with the spec file's own it and a function that calls its finally. Returns also
--- serve(handler [, opts]): M.serve with that list.
function M.test(it, finally, servers, clean_up)
  servers = servers or {}
  local function test(name, body)
    it(name, function()
      finally(function()
        stop_all(servers)
        if clean_up then
          clean_up()
        end
      end)
      body()
    end)
  end
  return test, function(handler, opts)
    return M.serve(servers, handler, opts)
  end
end

--- Sends bytes and returns all that comes back until the server closes, or for `seconds`.
function M.raw(port, bytes, seconds)
  local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
  conn:write(bytes)
  conn:settimeout(seconds or 5)
  local pieces = {}
  while true do
    local data, _, code = conn:recv()
    if not data then
      conn:close()
      return table.concat(pieces), code
    end
    pieces[#pieces + 1] = data
  end
end

local function read_chunked(conn)
  local pieces = {}
  while true do
    local size = tonumber(conn:read("l"):gsub("\r$", ""), 16)
    if size == 0 then
      conn:read("l")
      return table.concat(pieces)
    end
    pieces[#pieces + 1] = conn:read(size)
    conn:read(2)
  end
end

--- Reads one response from a connection: a table with status, headers (lower-case names), body.
function M.response(conn, method)
  local line = conn:read("l")
  if not line then
    return nil
  end
  local res = { status = tonumber(line:match("^HTTP/1%.1 (%d+) ")), headers = {} }
  for field in conn:lines() do
    field = field:gsub("\r$", "")
    if field == "" then
      break
    end
    local name, value = field:match("^([^:]+): (.*)$")
    res.headers[name:lower()] = value
  end
  if method == "HEAD" or res.status == 204 or res.status == 304 or res.status < 200 then
    return res
  elseif res.headers["transfer-encoding"] == "chunked" then
    res.body = read_chunked(conn)
  elseif res.headers["content-length"] then
    local n = tonumber(res.headers["content-length"])
    res.body = n > 0 and conn:read(n) or ""
  else
    res.body = conn:read("a")
  end
  return res
end

--- One request on a connection of its own; returns the response.
function M.request(port, method, target, headers, body)
  local conn = assert(grun.connect("tcp://127.0.0.1:" .. port))
  local lines = { ("%s %s HTTP/1.1\r\nHost: test\r\nConnection: close\r\n"):format(method, target) }
  for name, value in pairs(headers or {}) do
    lines[#lines + 1] = name .. ": " .. value .. "\r\n"
  end
  if body then
    lines[#lines + 1] = "Content-Length: " .. #body .. "\r\n"
  end
  conn:write(lines, "\r\n", body or "")
  local res = M.response(conn, method)
  conn:close()
  return res
end

return M
