-- SPDX-License-Identifier: MIT
-- The declarations for editors in lualib/meta against what is there.

local grun = require("grun")
local core = require("grun.core")

local function read(name)
  local file = assert(io.open(name))
  local text = file:read("*a")
  file:close()
  return text
end

-- Declarations in a text: name -> { args =, doc = list of comment lines above }, or { taken = true
-- } when they are another module's. `owner` as written there, such as "grun." or "thread:".
local function declarations(text, owner)
  local found, doc = {}, {}
  for line in text:gmatch("([^\n]*)\n") do
    local at, after = line:find("function " .. owner, 1, true)
    local name, args = line:sub((after or 0) + 1):match("^([%w_]+)%((.-)%) end$")
    local taken = line:sub(1, #owner) == owner and line:match("^[%w.]+%.([%w_]+) = %S")
    if at == 1 then
      assert(name, "cannot read: " .. line)
      found[name] = { args = args, doc = doc }
    elseif taken then
      found[taken] = { taken = true }
    end
    if line:find("^%-%-%-") then
      doc[#doc + 1] = line
    else
      doc = {}
    end
  end
  return found
end

local function names(t)
  local list = {}
  for name in pairs(t) do
    if type(name) == "string" and name:sub(1, 1) ~= "_" then
      list[#list + 1] = name
    end
  end
  table.sort(list)
  return list
end

local function functions(t)
  local found = {}
  for name, value in pairs(t) do
    found[name] = type(value) == "function" or nil
  end
  return found
end

local function upvalue(fn, wanted)
  for i = 1, 100 do
    local name, value = debug.getupvalue(fn, i)
    if name == wanted or not name then
      return assert(value, "no upvalue " .. wanted)
    end
  end
end

-- What is wrong with the documentation of one function, or nil.
local function flaw(declared)
  local doc = table.concat(declared.doc, "\n")
  local parks, async = doc:find("Parks", 1, true), doc:find("---@async", 1, true)
  for arg in declared.args:gmatch("[%w_.]+") do
    if not doc:find("---@param " .. arg:gsub("%.", "%%.") .. "%??[ \n]") and
       not doc:find("---@param " .. arg:gsub("%.", "%%.") .. "%??$") then
      return "parameter " .. arg .. " is not described"
    end
  end
  for param in doc:gmatch("%-%-%-@param ([%w_.]+)") do
    if not (declared.args .. ","):find(param .. ",", 1, true) then
      return "there is no parameter " .. param
    end
  end
  if not doc:find("^%-%-%- %u") and not doc:find("@return [^\n]+ %a+ [%a ]+$") then
    return "it says not what it does"
  elseif (parks ~= nil) ~= (async ~= nil) then
    return "the text and @async do not agree about parking"
  end
end

local function check_documentation(declared)
  for name, declaration in pairs(declared) do
    if not declaration.taken then
      assert.is_nil(flaw(declaration), name)
    end
  end
end

describe("lualib/meta/grun.lua", function()
  local text = read("lualib/meta/grun.lua")
  local of_grun = declarations(text, "grun.")
  local of_thread = declarations(text, "thread:")
  local of_core = declarations(text, "core.")

  it("declares every function of the grun table and no other", function()
    local there = {}
    for name in pairs(upvalue(getmetatable(grun).__index, "later")) do
      there[name] = true
    end
    for name in pairs(grun) do
      there[name] = true
    end
    assert.same(names(there), names(of_grun))
    for name, declared in pairs(of_grun) do
      local is_module = declared.taken and type(grun[name]) == "table"
      assert.is_true(is_module or type(grun[name]) == "function", name)
    end
  end)

  it("declares every method of thread handles and no other", function()
    local methods = upvalue(getmetatable(grun.current()).__index, "methods")
    assert.same(names(methods), names(of_thread))
    for name in pairs(of_thread) do
      assert.equal("function", type(grun.current()[name]), name)
    end
  end)

  it("declares every field of thread handles and no other", function()
    local fields = { traceback = true } -- set where the error is thrown
    for name in pairs(upvalue(getmetatable(grun.current()).__index, "getters")) do
      fields[name] = true
    end
    local declared = {}
    local class = text:match("%-%-%-@class grun%.thread\n(.-)\nlocal thread = {}")
    for name in class:gmatch("%-%-%-@field ([%w_]+)") do
      declared[name] = true
    end
    assert.same(names(fields), names(declared))
  end)

  it("declares every function of grun.core and no other", function()
    local there = functions(core)
    there.traceback = nil -- declared as a field
    assert.same(names(there), names(of_core))
  end)

  it("says of each what it does, what its parameters are and whether it parks", function()
    check_documentation(of_grun)
    check_documentation(of_thread)
    check_documentation(of_core)
  end)

  it("takes declarations only from functions that are there", function()
    for name, module, field in text:gmatch('\ngrun%.([%w_]+) = require%("([%w_.]+)"%)%.([%w_]+)') do
      assert.equal(require(module)[field], grun[name], name)
    end
  end)
end)

describe("lualib/meta/dgram.lua", function()
  it("declares every method of datagram sockets and no other", function()
    require("grun.datagram")
    local declared = declarations(read("lualib/meta/dgram.lua"), "sock:")
    assert.same(names(require("grun.core.dgram").methods), names(declared))
    check_documentation(declared)
  end)
end)

describe("lualib/meta/process.lua, worker.lua and fs.lua", function()
  local function compare(file, owner, there)
    local declared = declarations(read("lualib/meta/" .. file), owner)
    assert.same(names(functions(there)), names(declared))
    check_documentation(declared)
  end

  it("declare every function of grun.core.process and its processes, and no other", function()
    local native = require("grun.core.process")
    local methods = {}
    for name, method in pairs(native.methods) do
      methods[name] = name ~= "op_wait" and method or nil -- lualib/grun/process.lua's
    end
    compare("process.lua", "M.", native)
    compare("process.lua", "process:", methods)
  end)

  it("declare every function of grun.core.worker and no other", function()
    compare("worker.lua", "M.", require("grun.core.worker"))
  end)

  it("declare every function of grun.core.fs and no other", function()
    compare("fs.lua", "M.", require("grun.core.fs"))
  end)

  it("declare every function of grun.core.offload, signal and watch and no other", function()
    for _, name in ipairs({ "offload", "signal", "watch" }) do
      compare("offload.lua", name .. ".", require("grun.core." .. name))
    end
  end)
end)

describe("lualib/meta/loop.lua", function()
  it("declares every function of grun.core.log, loop and profile and no other", function()
    for _, name in ipairs({ "log", "loop", "profile" }) do
      local declared = declarations(read("lualib/meta/loop.lua"), name .. ".")
      assert.same(names(functions(require("grun.core." .. name))), names(declared))
      check_documentation(declared)
    end
  end)
end)

describe("lualib/meta/dns.lua", function()
  local declared = declarations(read("lualib/meta/dns.lua"), "M.")

  it("declares every function of grun.core.dns and no other", function()
    assert.same(names(functions(require("grun.core.dns"))), names(declared))
    check_documentation(declared)
  end)

  it("declares all that grun.dns has", function()
    local dns = require("grun.dns")
    for name, value in pairs(dns) do
      if name ~= "message" then
        assert.equal(require("grun.core.dns")[name], value, name)
      end
    end
    assert.same({ "pack", "parse" }, names(dns.message))
  end)
end)

describe("lualib/meta/zlib.lua", function()
  it("declares every function and method of grun.core.zlib and no other", function()
    local native = require("grun.core.zlib")
    local there = { M = native, deflate = native.deflate(), inflate = native.inflate() }
    for owner, object in pairs(there) do
      local dot = object == native and "." or ":"
      local declared = declarations(read("lualib/meta/zlib.lua"), owner .. dot)
      assert.same(names(functions(getmetatable(object) or object)), names(declared))
      check_documentation(declared)
    end
  end)
end)

describe("lualib/meta/http.lua and http_client.lua", function()
  local text = read("lualib/meta/http_client.lua")

  it("declares all of grun.http that is the client's, and no other", function()
    local there = {}
    for name, module in pairs(upvalue(getmetatable(grun.http).__index, "later")) do
      there[name] = module == "grun.http.client" or nil
    end
    local declared = declarations(text, "M.")
    assert.same(names(there), names(declared))
    check_documentation(declared)
    for name in pairs(there) do
      assert.equal("function", type(grun.http[name]), name)
    end
  end)

  it("declares every method of sessions and no other", function()
    local session = getmetatable(grun.http.session()).__index
    local declared = declarations(text, "session:")
    assert.same(names(functions(session)), names(declared))
    check_documentation(declared)
  end)

  it("declares every function of grun.core.httpc and no other", function()
    local declared = declarations(text, "httpc.")
    assert.same(names(functions(require("grun.core.httpc"))), names(declared))
    check_documentation(declared)
  end)

  it("declares every method of requests and responses and no other", function()
    require("grun.http.server")
    local httpd = require("grun.core.httpd")
    local of_server = read("lualib/meta/http.lua")
    for owner, methods in pairs({ req = httpd.request_methods, res = httpd.response_methods }) do
      local declared = declarations(of_server, owner .. ":")
      assert.same(names(methods), names(declared))
      check_documentation(declared)
    end
  end)
end)

describe("lualib/meta/websocket.lua", function()
  it("declares every function of grun.core.websocket and its objects, and no other", function()
    local native = require("grun.core.websocket")
    for owner, there in pairs({ ["M."] = functions(native), ["ws:"] = native.methods }) do
      local declared = declarations(read("lualib/meta/websocket.lua"), owner)
      assert.same(names(there), names(declared))
      check_documentation(declared)
    end
  end)
end)

describe("lualib/meta/control.lua", function()
  it("declares every function of grun.core.control, inspect and terminal, and no other", function()
    for _, name in ipairs({ "control", "inspect", "terminal" }) do
      local declared = declarations(read("lualib/meta/control.lua"), name .. ".")
      assert.same(names(functions(require("grun.core." .. name))), names(declared))
      check_documentation(declared)
    end
  end)
end)

describe("lualib/meta", function()
  it("holds files that compile and that editors know as declarations", function()
    local lfs = require("lfs")
    local n = 0
    for file in lfs.dir("lualib/meta") do
      if file:find("%.lua$") then
        n = n + 1
        assert(loadfile("lualib/meta/" .. file))
        assert.is_truthy(read("lualib/meta/" .. file):find("\n---@meta", 1, true), file)
      end
    end
    assert.is_true(n >= 1)
  end)
end)
