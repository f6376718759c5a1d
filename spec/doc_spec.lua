-- SPDX-License-Identifier: MIT
-- grun doc, and what it reads: the reference made from the annotations.

local grun = require("grun")
local helper = require("spec.helper")

local function doc(...)
  return helper.run_child({ "doc", ... })
end

describe("the reference", function()
  local reference = require("grun.reference")
  local known = {}
  for _, entry in ipairs(reference.entries) do
    known[entry.kind .. " " .. entry.name] = entry
  end

  -- Is it described as a function, or as a field of the class that its module is?
  local function is_known(path)
    local owner, name = path:match("^(.*)%.([%w_]+)$")
    for _, field in ipairs((known["class " .. owner] or {}).fields or {}) do
      if field.name == name then
        return true
      end
    end
    return known["function " .. path] ~= nil
  end

  -- Functions and modules in the table grun, and in modules inside it.
  local function check(path, value, depth)
    if type(value) == "function" then
      assert.is_true(is_known(path), path)
    elseif type(value) == "table" and depth > 0 then
      local keys = {}
      for _, names in ipairs((getmetatable(value) or {}).__names or {}) do
        for name in pairs(names) do
          keys[name] = true
        end
      end
      for name in pairs(value) do
        keys[name] = true
      end
      local own = path:match("[%w_]+$")
      for name in pairs(keys) do
        if type(name) == "string" and value[name] ~= value and name:sub(1, 1) ~= "_" and name ~= own then
          check(path .. "." .. name, value[name], depth - 1)
        end
      end
    end
  end

  it("knows every function of the table grun and of its modules", function()
    check("grun", grun, 3)
  end)

  it("knows the methods of objects", function()
    local objects = {
      ["grun.queue"] = grun.queue(), ["grun.event"] = grun.event(), ["grun.lock"] = grun.lock(),
      ["grun.group"] = grun.group(), ["grun.semaphore"] = grun.semaphore(1), ["grun.result"] = grun.result(),
      ["grun.rwlock"] = grun.rwlock(), ["grun.barrier"] = grun.barrier(1),
      ["grun.condition"] = grun.condition(),
    }
    local n = 0
    for class, object in pairs(objects) do
      local methods = getmetatable(object).__index
      for name, value in pairs(type(methods) == "table" and methods or {}) do
        if type(value) == "function" and name:sub(1, 1) ~= "_" and name ~= "notify" then
          assert.is_truthy(known["function " .. class .. ":" .. name], class .. ":" .. name)
          n = n + 1
        end
      end
    end
    assert.is_true(n > 40)
  end)

  it("says something of each function, and names no class that is not there", function()
    for _, entry in ipairs(reference.entries) do
      assert.is_truthy(entry.kind ~= "function" or entry.text or entry.returns, entry.name)
      for _, list in ipairs({ entry.params or {}, entry.returns or {}, entry.fields or {} }) do
        for _, item in ipairs(list) do
          for name in item.type:gmatch("grun%.[%w_.]+") do
            assert.is_truthy(known["class " .. name] or name:find("^grun%.core"), entry.name .. ": " .. name)
          end
        end
      end
      for _, name in ipairs(entry.methods or {}) do
        assert.is_truthy(known["function " .. name], name)
      end
    end
  end)

  it("has each entry in a chapter, and no empty chapter", function()
    local used = {}
    for _, entry in ipairs(reference.entries) do
      used[entry.topic] = true
    end
    for _, topic in ipairs(reference.topics) do
      assert.is_true(used[topic.name], topic.name)
      used[topic.name] = nil
    end
    assert.same({}, used)
  end)

  it("does not load before it is asked for", function()
    local out = helper.run_script("print(package.loaded['grun.reference'], package.loaded['grun.doc'])")
    assert.equal("nil\tnil\n", out)
  end)
end)

describe("grun doc", function()
  it("lists the chapters", function()
    local out, err, status = doc()
    assert.same({ "", 0 }, { err, status })
    assert.matches("\nsocket +connect listen pair", out)
    assert.matches("^threads +spawn spawn_later current", out)
  end)

  it("prints a function: what it does, parameters, results, whether it parks", function()
    for _, name in ipairs({ "connect", "grun.connect", "grun.connect(address)" }) do
      local out, err, status = doc(name)
      assert.same({ "", 0 }, { err, status })
      assert.matches("^grun%.connect%(address %[, opts%]%)\n\n    Connects to \"tcp://host:port\"", out)
      assert.matches("\n    Parks: other threads run while it waits%.\n", out)
      assert.matches("\nParameters\n    address  string\n    opts  grun%.connect%.options, optional\n", out)
      assert.matches("\n        timeout  number, optional: seconds for all of it\n", out)
      assert.matches("\nReturns\n    grun%.conn|nil, string%?, string%?\n", out)
      assert.matches("\nExamples\n[^\n]*tcp_proxy%.lua", (out:gsub("\n    tcp", " tcp")))
    end
    assert.is_nil(doc("grun.now"):find("Parks", 1, true))
  end)

  it("prints methods by their object's name, and signatures with what may be left out", function()
    assert.matches("^conn:read%(%.%.%.%)\n", doc("conn:read"))
    assert.matches("^conn:read%(%.%.%.%)\n", doc("conn.read"))
    assert.matches("^conn:recv%(%[max %[, seconds%]%]%)\n", doc("grun.conn:recv"))
    assert.matches("^conn:cork%(fn%)\n", doc("conn:cork"))
    assert.matches("^server:stop%(%[grace%]%)\n", doc("server:stop"))
  end)

  it("prints objects, modules and chapters", function()
    assert.matches("^grun%.conn\n.-\nMethods\n    conn:read%(%.%.%.%) +Reads like file:read", doc("conn"))
    assert.matches("^grun%.fs\n\n    Files: .-\nFunctions\n.-\n    fs%.list%(path%) ", doc("fs"))
    assert.matches("^grun%.event%(%).-\n\ngrun%.event\n", doc("event"))
    assert.matches("^Events, locks and results\n\n    event%(%) ", doc("sync"))
    assert.matches("\nOne of\n.-\n    \"linger\": seconds, ", (doc("grun.conn.option")))
  end)

  it("asks back when a name has several meanings", function()
    local out, _, status = doc("request")
    assert.equal(0, status)
    assert.matches("^request may be\n", out)
    assert.matches("\n    grun%.http%.request +Does a request", out)
  end)

  it("suggests near names", function()
    local out, err, status = doc("spwan")
    assert.same({ "", 1 }, { out, status })
    assert.matches("^grun doc: there is no 'spwan'; perhaps grun%.spawn, ", err)
    assert.matches("perhaps grun%.conn:read", (select(2, doc("grun.conn:raed"))))
    out, err, status = doc("zzzzzz")
    assert.equal("", out)
    assert.equal(1, status)
    assert.equal("grun doc: there is no 'zzzzzz'; try grun doc -k zzzzzz\n", err)
  end)

  it("finds words", function()
    local out = doc("-k", "SENDFILE", "offset")
    assert.matches("grun%.conn:sendfile  Sends a file", out)
    local _, err, status = doc("-k", "zzzzzz")
    assert.same({ "grun doc: nothing speaks of zzzzzz\n", 1 }, { err, status })
  end)

  it("keeps to 80 columns", function()
    for _, name in ipairs({ "connect", "fs", "conn", "server", "coop", "http" }) do
      for line in doc(name):gmatch("[^\n]+") do
        assert.is_truthy(#line <= 80 or line:find("fun(", 1, true), line)
      end
    end
  end)

  it("refuses what it does not know", function()
    local _, err, status = doc("--frob")
    assert.same({ "grun doc: unknown option '--frob'; see grun doc --help\n", 1 }, { err, status })
    assert.matches("^grun doc: %-k: a word is missing; see", (select(2, doc("-k"))))
    assert.matches("^usage: grun doc ", doc("--help"))
  end)
end)

describe("make doc", function()
  local function pages()
    local dir = helper.tmpname()
    os.remove(dir)
    os.execute("mkdir " .. dir)
    finally(function()
      os.execute("rm -r " .. dir)
    end)
    local command = "luajit scripts/reference/generate.lua %s/ lualib/meta/*.lua " ..
      "$(find lualib/grun -name '*.lua') scripts/examples/*.lua"
    assert.equal(0, os.execute(command:format(dir)))
    local text = {}
    for name in require("lfs").dir(dir) do
      if name:find("^%w") then
        text[name] = helper.contents(dir .. "/" .. name)
      end
    end
    return text, dir
  end

  it("writes pages whose links lead somewhere and whose anchors are there once", function()
    local text = pages()
    local n = 0
    for name, html in pairs(text) do
      local seen = {}
      for id in html:gmatch(' id="([^"]*)"') do
        assert.is_nil(seen[id], name .. "#" .. id)
        seen[id] = true
      end
      for target in html:gmatch(' href="([^"]*)"') do
        local page, id = target:match("^([^#]*)#?(.*)$")
        assert.is_truthy(text[page], name .. " -> " .. target)
        assert.is_truthy(id == "" or text[page]:find(' id="' .. id .. '"', 1, true), name .. " -> " .. target)
        n = n + 1
      end
      assert.is_nil(html:find("<script", 1, true))
    end
    assert.is_true(n > 500)
    assert.matches('id="grun.conn:read"', text["socket.html"], 1, true)
    assert.matches("prefers%-color%-scheme: dark", text["style.css"])
  end)

  it("writes valid HTML", function()
    if os.execute("command -v tidy >/dev/null") ~= 0 then
      return pending("tidy is not installed")
    end
    local _, dir = pages()
    local pipe = io.popen("tidy -q -e -utf8 " .. dir .. "/*.html 2>&1")
    local findings = pipe:read("*a")
    pipe:close()
    assert.equal("", findings)
  end)
end)
