-- SPDX-License-Identifier: MIT
-- lua-http as the other side of the specs: luajit spec/lua_http_peer.lua client URL | server
--
-- The client prints what it gets for a list of requests; the server prints its port and ends with
-- its stdin.

local cqueues = require("cqueues")

local function ask(url, method, path, body, fields)
  local request = require("http.request").new_from_uri(url .. path)
  request.headers:upsert(":method", method)
  for name, value in pairs(fields or {}) do
    request.headers:append(name, value)
  end
  if body then
    request:set_body(body)
  end
  request.expect_100_timeout = 5
  local headers, stream = assert(request:go(10))
  local text = method ~= "HEAD" and assert(stream:get_body_as_string(10)) or ""
  stream:shutdown()
  return headers, text
end

local function pieces(n)
  local left = n
  return function()
    left = left - 1
    return left >= 0 and ("%05d"):format(left) or nil
  end
end

local function body_of(...)
  return (select(2, ask(...)))
end

local function client(url)
  local headers, text = ask(url, "GET", "/hello")
  print("get", headers:get(":status"), text)
  headers, text = ask(url, "HEAD", "/hello")
  print("head", headers:get(":status"), headers:get("content-length"), #text)
  headers, text = ask(url, "GET", "/none")
  print("none", headers:get(":status"), #text)
  text = body_of(url, "GET", "/chunks")
  print("chunks", #text, text:sub(1, 10))
  text = body_of(url, "POST", "/echo", ("x"):rep(100))
  print("post", text == ("x"):rep(100))
  text = body_of(url, "POST", "/echo", ("0123456789"):rep(50000)) -- with "Expect: 100-continue"
  print("large", text == ("0123456789"):rep(50000))
  text = body_of(url, "PUT", "/echo", pieces(1000))
  print("chunked", #text, text:sub(1, 10))
  headers = ask(url, "POST", "/refuse", ("x"):rep(5000))
  print("refused", headers:get(":status"))
  local ws = assert(require("http.websocket").new_from_uri(url:gsub("^http", "ws") .. "/ws"))
  assert(ws:connect(10))
  assert(ws:send("grüße"))
  print("websocket", ws:receive(10))
  assert(ws:close(1000, "done", 10))
end

local function answer(stream, status, body, head_only, fields)
  local headers = require("http.headers").new()
  headers:append(":status", status)
  for name, value in pairs(fields or {}) do
    headers:append(name, value)
  end
  if type(body) == "string" then
    headers:append("content-length", tostring(#body))
  end
  assert(stream:write_headers(headers, head_only or body == nil))
  if head_only or body == nil then
    return
  elseif type(body) == "string" then
    return stream:write_chunk(body, true)
  end
  for piece in body do
    stream:write_chunk(piece, false)
  end
  stream:write_chunk("", true)
end

local function serve_one(stream)
  local headers = assert(stream:get_headers())
  local path, method = headers:get(":path"), headers:get(":method")
  local ws = require("http.websocket").new_from_stream(stream, headers)
  if ws then
    assert(ws:accept())
    for message, kind in ws:each() do
      ws:send(message, kind)
    end
    return ws:close()
  elseif path == "/hello" then
    return answer(stream, "200", "hello", method == "HEAD")
  elseif path == "/none" then
    return answer(stream, "204", nil)
  elseif path == "/chunks" then
    return answer(stream, "200", pieces(1000))
  elseif path == "/moved" then
    return answer(stream, "302", "", false, { location = "/hello" })
  elseif path == "/refuse" then
    return answer(stream, "413", "too much", false)
  end
  return answer(stream, "200", assert(stream:get_body_as_string()), false,
    { ["x-method"] = method, ["x-expect"] = headers:get("expect") })
end

local function server()
  local listener = assert(require("http.server").listen({
    host = "127.0.0.1", port = 0, tls = false,
    onstream = function(_, stream)
      serve_one(stream)
    end,
    onerror = function(_, _, op, err)
      io.stderr:write("lua-http: ", op, ": ", tostring(err), "\n")
    end,
  }))
  assert(listener:listen())
  print((select(3, listener:localname())))
  io.stdout:flush()
  local loop = cqueues.new()
  loop:wrap(function()
    listener:loop()
  end)
  loop:wrap(function()
    cqueues.poll({ pollfd = 0, events = "r" })
    listener:close()
    os.exit(0, true)
  end)
  assert(loop:loop())
end

if arg[1] == "client" then
  client(arg[2])
else
  server()
end
