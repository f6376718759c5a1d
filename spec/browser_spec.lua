-- SPDX-License-Identifier: MIT
-- A browser: headless Chromium opens the page of scripts/examples/websocket_chat.lua, and is told
-- what to do over its own WebSocket (the DevTools protocol). Chromium is not installed by
-- scripts/setup, which installs what all other specs need, but by scripts/setup --browser.

local grun = require("grun")
local helper = require("spec.helper")

local function installed()
  for _, name in ipairs({ "chromium", "chromium-browser", "google-chrome" }) do
    if os.execute("command -v " .. name .. " >/dev/null") == 0 then
      return name
    end
  end
end

local browser = installed()

describe("a browser", function()
  if not browser then
    it("chats", function() pending("chromium is not installed") end)
    return
  end
  local has_json, cjson = pcall(require, "cjson")
  if not has_json then
    it("chats", function() pending("lua-cjson is not installed") end)
    return
  end

  local children, opened, directory

  local function keep(ws)
    opened[#opened + 1] = ws
    return ws
  end

  local function clean_up()
    for _, ws in ipairs(opened) do
      ws:close()
    end
    for _, child in ipairs(children) do
      child:kill("KILL")
      child:wait()
      for _, name in ipairs({ "stdout", "stderr" }) do
        if child[name] then
          child[name]:close()
        end
      end
    end
    grun.fs.remove(directory, { recursive = true })
    grun.http.close_idle()
    grun.yield()
  end

  local function start(command)
    command.group = true
    local child = assert(grun.process.spawn(command))
    children[#children + 1] = child
    return child
  end

  -- Opens the page; returns eval(expression), which runs it there and returns its value.
  local function open_page(url)
    local child = start({ browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
      "--no-first-run", "--remote-debugging-port=0", "--user-data-dir=" .. directory, url,
      stdout = "null", stderr = "pipe" })
    child.stderr:settimeout(60)
    local port
    repeat
      local line = assert(child.stderr:read("l"))
      port = line:match("^DevTools listening on ws://127%.0%.0%.1:(%d+)/")
    until port
    grun.spawn(function()
      while child.stderr:read(4096) do end
    end)
    local limit = grun.now() + 30
    local pages
    repeat
      grun.sleep(0.05)
      pages = cjson.decode(assert(grun.http.get("http://127.0.0.1:" .. port .. "/json/list")).body)
    until pages[1] and pages[1].url == url or grun.now() > limit
    local ws = keep(assert(grun.http.websocket(pages[1].webSocketDebuggerUrl, { max_message = 2 ^ 24 })))
    local id = 0
    return function(expression)
      id = id + 1
      local params = { expression = expression, returnByValue = true, awaitPromise = true }
      assert(ws:send(cjson.encode({ id = id, method = "Runtime.evaluate", params = params })))
      while true do
        local message = cjson.decode((assert(ws:recv(30))))
        if message.id == id then
          assert(not message.result.exceptionDetails, expression)
          return message.result.result.value
        end
      end
    end
  end

  it("chats over our WebSocket", function()
    children, opened, directory = {}, {}, assert(grun.fs.tempdir())
    finally(clean_up)
    local server = start({ helper.grun, "scripts/examples/websocket_chat.lua", "http://127.0.0.1:0",
      stdout = "pipe" })
    local url = server.stdout:read("l"):match("http://%S+")
    local bob = keep(assert(grun.http.websocket(url:gsub("^http", "ws") .. "/chat")))
    assert(bob:send("bob"))
    assert.equal("bob joined", bob:recv(10))

    local eval = open_page(url .. "/?name=ann")
    assert.equal("ann joined", bob:recv(30))
    assert.equal("grun chat", eval("document.title"))
    assert(bob:send("grüße <b>"))
    assert.equal("bob: grüße <b>", bob:recv(10))
    assert.equal("ann joined\nbob: grüße <b>", eval([[new Promise(done => {
      const look = () => log.children.length == 2 ? done([...log.children].map(e => e.textContent).join("\n"))
        : setTimeout(look, 10)
      look()
    })]]))
    eval([[line.value = "hi bob ☺"; document.querySelector("form").requestSubmit()]])
    assert.equal("ann: hi bob ☺", bob:recv(10))

    eval([[ws.close(1000, "bye")]])
    assert.equal("ann left", bob:recv(10))
    assert.matches("^— the end %(1000", eval([[new Promise(done => {
      const tell = () => done(log.lastChild.textContent)
      const look = () => ws.readyState == 3 ? setTimeout(tell, 50) : setTimeout(look, 10)
      look()
    })]]))
  end)

  it("compresses messages with us", function()
    children, opened, directory = {}, {}, assert(grun.fs.tempdir())
    local deflate
    local server = assert(grun.server("http://127.0.0.1:0", function(req)
      if req.path ~= "/ws" then
        return 200, { ["Content-Type"] = "text/html" }, "<title>echo</title>"
      end
      local ws = assert(req:websocket({ deflate = { threshold = 0 } }))
      deflate = ws.deflate
      for message, kind in ws do
        ws:send(message, kind)
      end
    end))
    finally(function()
      clean_up()
      server:stop(0)
    end)
    local eval = open_page(server:address() .. "/")
    local limit = grun.now() + 30
    while eval("document.title") ~= "echo" do
      assert(grun.now() < limit, "the page does not load")
      grun.sleep(0.05)
    end
    local sizes = eval([[new Promise((done, failed) => {
      const ws = new WebSocket(location.href.replace("http", "ws") + "ws"), sizes = []
      const messages = ["", "grüße", "x", "x".repeat(100000), "x".repeat(100000), "the end"]
      ws.onopen = () => ws.send(messages[0])
      ws.onerror = ws.onclose = () => failed("closed")
      ws.onmessage = event => {
        if (event.data != messages[sizes.length]) failed("different")
        sizes.push(event.data.length)
        if (sizes.length < messages.length) ws.send(messages[sizes.length])
        else done(ws.extensions + " " + sizes.join())
      }
    })]])
    assert.equal("permessage-deflate 0,5,1,100000,100000,7", sizes)
    assert.equal(15, deflate.client_max_window_bits)
  end)
end)
