-- SPDX-License-Identifier: MIT
-- A chat in the browser: the page at /, its WebSocket at /chat. Each member has a queue of its own
-- and a thread that sends from it, so that a slow browser holds nobody up.
-- Run:  ./grun scripts/examples/websocket_chat.lua [http://127.0.0.1:7002]
-- Then: open http://127.0.0.1:7002/ in several windows

local BACKLOG = 100 -- messages that a member may be behind
local members = {} -- name -> queue of messages to send

local page = [[
<!doctype html><meta charset="utf-8"><title>grun chat</title>
<style>
  body { font: 16px sans-serif; max-width: 40em; margin: 2em auto; padding: 0 1em }
  #log { height: 20em; overflow-y: auto; border: 1px solid #bbb; padding: .5em; margin-bottom: 1em }
  input { font: inherit; width: 100%; box-sizing: border-box; padding: .4em }
</style>
<h1>Chat</h1><div id="log"></div>
<form><input id="line" placeholder="Your name" autofocus autocomplete="off" maxlength="500"></form>
<script>
  const log = document.getElementById("log"), line = document.getElementById("line")
  const ws = new WebSocket(location.href.replace(/^http/, "ws").replace(/[?#].*/, "") + "chat")
  function show(text) {
    const p = document.createElement("div")
    p.textContent = text
    log.append(p)
    log.scrollTop = log.scrollHeight
  }
  function send(text) { ws.send(text); line.value = ""; line.placeholder = "Say something" }
  ws.onmessage = e => show(e.data)
  ws.onclose = e => show("— the end (" + e.code + (e.reason ? ": " + e.reason : "") + ")")
  ws.onopen = () => {
    const name = new URLSearchParams(location.search).get("name")
    if (name) send(name)
  }
  document.querySelector("form").onsubmit = e => { e.preventDefault(); send(line.value) }
</script>
]]

local function tell_all(text)
  for name, out in pairs(members) do
    if not out:try_put(text) then
      members[name] = nil -- too far behind
      out:close()
    end
  end
end

local function send_from(out, ws)
  for text in out:items() do
    ws:send(text)
  end
  ws:close(1008, "too slow")
end

local function chat(req)
  local ws = req:websocket({ max_message = 2000, ping_interval = 20 })
  local name, kind
  if ws then
    name, kind = ws:recv(60)
  end
  if not name then
    return
  elseif kind ~= "text" or name == "" or #name > 30 or members[name] then
    return ws:close(4000, "no such name, please")
  end
  local out = grun.queue(BACKLOG)
  members[name] = out
  local sender = grun.spawn(send_from, out, ws)
  tell_all(name .. " joined")
  local ok, err = pcall(function()
    for text, what in ws do
      if what ~= "text" then
        return ws:close(1003, "only text, please")
      end
      tell_all(name .. ": " .. text)
    end
  end)
  if members[name] == out then
    members[name] = nil
  end
  sender:cancel()
  tell_all(name .. " left")
  if not ok then
    error(err, 0)
  end
end

local routes = grun.http.router()
routes:get("/", function()
  return 200, { ["Content-Type"] = "text/html; charset=utf-8" }, page
end)
routes:get("/chat", chat)

local server = assert(grun.server(arg[1] or "http://127.0.0.1:7002", routes))
io.stdout:setvbuf("line")
print("listening on " .. server:address())
