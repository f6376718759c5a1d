-- SPDX-License-Identifier: MIT
-- make install, uninstall and deb, by the scripts behind them; the manual page, completions and the
-- examples of deployment.

local grun = require("grun")
local helper = require("spec.helper")
local lfs = require("lfs")

local quote = helper.quote

local function capture(command)
  local pipe = io.popen(command .. " 2>&1; echo \"status $?\"")
  local text = pipe:read("*a")
  pipe:close()
  local out, status = text:match("^(.*)status (%d+)\n$")
  return out, tonumber(status)
end

local function succeed(command)
  local out, status = capture(command)
  assert.equal(0, status, command .. ": " .. out)
  return out
end

local function has(program)
  return os.execute("command -v " .. program .. " >/dev/null") == 0
end

-- Names of the files below a directory, sorted.
local function files(dir)
  local list = {}
  for name in capture("cd " .. dir .. " && find . -type f | sort"):gmatch("%./([^\n]+)") do
    list[#list + 1] = name
  end
  return list
end

describe("installing", function()
  local dir, completions

  setup(function()
    dir = os.tmpname()
    os.remove(dir)
    completions = dir .. "/completions"
    succeed("mkdir -p " .. completions)
    succeed(("luajit scripts/completions.lua %s %s"):format(completions, quote(helper.grun)))
  end)

  teardown(function()
    os.execute("rm -rf " .. dir)
  end)

  local function install(prefix)
    local root = dir .. "/root"
    succeed(("rm -rf %s && scripts/install/install %s %s %s %s"):format(root, quote(helper.grun), completions,
      root, prefix))
    return root
  end

  it("puts everything below DESTDIR and PREFIX, from where it runs without the source tree", function()
    local root = install("/opt/grun")
    local there = {}
    for _, name in ipairs(files(root)) do
      assert.equal("opt/grun/", name:sub(1, 9))
      there[name:sub(10)] = true
    end
    for _, name in ipairs({ "bin/grun", "share/man/man1/grun.1", "share/bash-completion/completions/grun",
      "share/zsh/site-functions/_grun", "share/fish/vendor_completions.d/grun.fish", "share/doc/grun/LICENSE",
      "share/doc/grun/examples/echo.lua", "share/doc/grun/examples/deploy/hello.service",
      "share/grun/lualib/meta/grun.lua", "share/grun/lualib/grun/queue.lua", "share/grun/luarc.json" }) do
      assert.is_true(there[name], name)
    end
    local bin = root .. "/opt/grun/bin/grun"
    local run = "cd / && env -i PATH=/usr/bin:/bin ASAN_OPTIONS=\"$ASAN_OPTIONS\" " .. bin .. " "
    assert.equal("2\n", succeed(run .. "-e 'print(1 + 1)'"))
    assert.matches("^grun%.spawn%(fn, %.%.%.%)\n", succeed(run .. "doc spawn"))
    assert.equal(helper.run_child({ "scripts/examples/turns.lua" }),
      succeed(run .. root .. "/opt/grun/share/doc/grun/examples/turns.lua"))
    local luarc = helper.contents(root .. "/opt/grun/share/grun/luarc.json")
    assert.matches('"/opt/grun/share/grun/lualib"', luarc, 1, true)
    assert.is_nil(helper.contents(root .. "/opt/grun/share/man/man1/grun.1"):find("@PREFIX@", 1, true))
  end)

  it("leaves nothing when it is undone, but what is not its own", function()
    local root = install("/usr/local")
    assert.is_true(#files(root) > 100)
    succeed("touch " .. root .. "/usr/local/share/grun/mine " .. root .. "/usr/local/bin/other")
    succeed(("scripts/install/install --remove %s /usr/local"):format(root))
    assert.same({ "usr/local/bin/other", "usr/local/share/grun/mine" }, files(root))
    assert.is_nil(lfs.attributes(root .. "/usr/local/share/doc/grun"))
    succeed("rm " .. root .. "/usr/local/share/grun/mine")
    succeed(("scripts/install/install --remove %s /usr/local"):format(root))
    assert.is_nil(lfs.attributes(root .. "/usr/local/share/grun"))
  end)

  it("brings completions that their shells understand", function()
    for shell, name in pairs({ bash = "grun.bash", zsh = "_grun", fish = "grun.fish" }) do
      if has(shell) then
        assert.equal("", succeed(shell .. " -n " .. completions .. "/" .. name))
      end
    end
  end)

  -- What bash offers after these words.
  local function offered(...)
    local words = { ... }
    for i, word in ipairs(words) do
      words[i] = quote(word)
    end
    local script = ("source %s; COMP_WORDS=(grun %s); COMP_CWORD=%d; compopt() { :; }; _grun; " ..
      "printf '%%s\\n' \"${COMPREPLY[@]}\""):format(completions .. "/grun.bash", table.concat(words, " "), #words)
    return " " .. succeed("bash -c " .. quote(script)):gsub("\n", " ")
  end

  it("bash completes options, commands, scripts and names", function()
    assert.matches(" --stack-size ", offered("--st"), 1, true)
    assert.matches(" serve ", offered("se"), 1, true)
    assert.matches(" scripts/examples/echo.lua ", offered("scripts/examples/ec"), 1, true)
    assert.equal(" none ", offered("--log", "no"))
    assert.matches(" --certfile ", offered("serve", "--cert"), 1, true)
    assert.matches(" spawn_later ", offered("doc", "spawn_l"), 1, true)
    assert.matches(" LICENSE ", offered("x.lua", "LIC"), 1, true)
    assert.is_nil(offered("-e", "se"):find("serve"))
  end)
end)

describe("the manual page", function()
  local page = helper.contents("scripts/install/grun.1")

  -- "-x" and "--xyz" as written in mdoc.
  local function is_there(option)
    local name = option:gsub("^%-", ""):gsub("%-", "%%-")
    return page:find("\n%.It [^\n]*Fl " .. name .. "%f[^%w-]") ~= nil or
      page:find("\n%.It Fl [^\n]*, " .. name .. "%f[^%w-]") ~= nil
  end

  it("has every option that the program tells of", function()
    local n = 0
    for _, words in ipairs({ { "--help" }, { "serve", "--help" } }) do
      for line in helper.run_child(words):gmatch("[^\n]+") do
        local head = line:match("^ +(%-.-)  ") or line:match("^ +(%-.*)$") or ""
        for option in (" " .. head):gmatch(" (%-%-?%w[%w-]*)") do
          assert.is_true(is_there(option), option .. " is missing")
          n = n + 1
        end
      end
    end
    assert.is_true(n > 40)
  end)

  it("has every command", function()
    local body = helper.contents("lualib/grun/main.lua"):match("\nlocal commands = {\n(.-)\n}")
    for name in body:gmatch("\n?%s+([%w_]+) = ") do
      assert.is_truthy(page:find("%f[%w]" .. name .. "%f[%W]"), name)
    end
  end)

  it("is well-formed", function()
    if not has("mandoc") then
      return pending("mandoc is not installed")
    end
    local findings = capture("mandoc -T lint -W warning scripts/install/grun.1")
    assert.equal("", findings)
  end)
end)

describe("the Debian package", function()
  it("holds what is installed, says what it needs, and its program runs", function()
    if not has("dpkg-deb") or not has("dpkg-shlibdeps") then
      return pending("dpkg-deb or dpkg-shlibdeps is not installed")
    elseif lfs.attributes(helper.grun, "size") > 8 * 2 ^ 20 then
      return pending("takes too long with a sanitizer in the program")
    end
    local dir = helper.tmpname()
    os.remove(dir)
    finally(function()
      os.execute("rm -rf " .. dir)
    end)
    succeed("mkdir " .. dir)
    succeed(("luajit scripts/completions.lua %s %s"):format(dir, quote(helper.grun)))
    local package = succeed(("scripts/install/deb %s %s %s"):format(quote(helper.grun), dir, dir)):match("(%S+)\n$")
    local version = helper.run_child({ "--version" }):match("^grun (%S+)")
    assert.matches("/grun%-lua_" .. version:gsub("%p", "%%%0") .. "_%w+%.deb$", package)
    local content = succeed("dpkg-deb -c " .. package)
    for _, name in ipairs({ "usr/bin/grun", "usr/share/man/man1/grun.1.gz", "usr/share/doc/grun-lua/copyright",
      "usr/share/doc/grun-lua/changelog.gz", "usr/share/zsh/vendor-completions/_grun",
      "usr/share/grun/lualib/meta/net.lua", "usr/share/doc/grun-lua/examples/deploy/nginx.conf" }) do
      assert.matches(" ./" .. name .. "\n", content, 1, true)
    end
    for line in content:gmatch("[^\n]+") do
      assert.matches("^[%-d]rw[x%-]r%-[x%-]r%-[x%-] root/root ", line)
    end
    local control = succeed("dpkg-deb -f " .. package)
    assert.matches("\nDepends: [^\n]*libc6[^\n]*libluajit%-5%.1%-2[^\n]*libluajit%-5%.1%-common\n", control)
    assert.matches("\nRecommends: libssl3", control)
    assert.matches("\nConflicts: grun\n", control)
    assert.matches("\nInstalled%-Size: %d%d%d%d\n", control)
    succeed(("dpkg-deb -x %s %s/x"):format(package, dir))
    assert.equal("42\n", succeed("cd / && " .. dir .. "/x/usr/bin/grun -e 'print(6 * 7)'"))
    succeed(("dpkg-deb -e %s %s/x/DEBIAN && cd %s/x && md5sum --quiet -c DEBIAN/md5sums"):format(package, dir, dir))
  end)
end)

describe("the examples of deployment", function()
  local DIR = "scripts/examples/deploy/"

  it("are units that systemd understands", function()
    if not has("systemd-analyze") then
      return pending("systemd-analyze is not installed")
    end
    local dir = helper.tmpname()
    os.remove(dir)
    finally(function()
      os.execute("rm -r " .. dir)
    end)
    succeed("mkdir " .. dir)
    local service = helper.contents(DIR .. "hello.service")
    local file = assert(io.open(dir .. "/hello.service", "w"))
    file:write((service:gsub("\nExecStart=/usr/bin/grun", "\nExecStart=" .. helper.grun)))
    file:close()
    succeed(("cp %shello.socket %s"):format(DIR, dir))
    assert.equal("", succeed(("cd %s && systemd-analyze --man=no verify ./hello.service ./hello.socket"):format(dir)))
    assert.matches("\nType=notify\n", service)
    assert.matches("\nWatchdogSec=%d+\n", service)
  end)

  it("make nginx a front that passes on who asks, and WebSockets", function()
    local dir = helper.tmpname()
    os.remove(dir)
    local nginx, server
    finally(function()
      grun.http.close_idle()
      if nginx then
        nginx:kill("TERM")
        nginx:wait(5)
      end
      if server then
        server:stop(0)
      end
      os.execute("rm -r " .. dir)
    end)
    succeed("mkdir " .. dir)
    server = assert(grun.server("http://unix:" .. dir .. "/http.sock", function(req)
      if req.path == "/chat" then
        local ws = req:websocket()
        ws:send("got " .. ws:recv())
        return ws:close()
      end
      return table.concat({ req.scheme, req.host, req.peer or "-", req.path }, " ")
    end, { trust_proxy = true }))
    local conf = helper.contents(DIR .. "nginx.conf"):gsub("unix:/run/hello/", "unix:" .. dir .. "/")
      :gsub("listen 80;", "listen 127.0.0.1:PORT;")
    local probe = assert(grun.listen("tcp://127.0.0.1:0"))
    local port = probe:address():match("%d+$")
    probe:close()
    local file = assert(io.open(dir .. "/conf", "w"))
    file:write(("daemon off; master_process off; pid %s/pid; error_log %s/error.log;\nevents {}\nhttp { " ..
      "access_log off; client_body_temp_path DIR/a; proxy_temp_path DIR/b; fastcgi_temp_path DIR/c; " ..
      "uwsgi_temp_path DIR/d; scgi_temp_path DIR/e;\n"):gsub("DIR", dir):format(dir, dir),
      (conf:gsub("PORT", port)), "}\n")
    file:close()
    local command = ("nginx -p %s -e %s/error.log -c %s/conf"):format(dir, dir, dir)
    assert.matches("test is successful", succeed(command .. " -t"))
    nginx = assert(grun.process.spawn({ "nginx", "-p", dir, "-e", dir .. "/error.log", "-c", dir .. "/conf" }))
    local limit = grun.now() + 10
    local res
    repeat
      grun.sleep(0.02)
      res = grun.http.get("http://127.0.0.1:" .. port .. "/who", { headers = { Host = "hello.example.org" } })
    until res or grun.now() > limit
    assert.equal("http hello.example.org tcp://127.0.0.1 /who", (res.body:gsub("%.1:%d+", ".1")))
    for _ = 1, 5 do
      assert.equal(200, grun.http.get("http://127.0.0.1:" .. port .. "/").status)
    end
    assert.is_true(server:stats().accepted <= 3) -- connections stay open
    local ws = assert(grun.http.websocket("ws://127.0.0.1:" .. port .. "/chat"))
    ws:send("hello")
    assert.equal("got hello", ws:recv(5))
    ws:close()
  end)
end)
