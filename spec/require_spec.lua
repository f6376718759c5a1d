-- SPDX-License-Identifier: MIT
local grun = require("grun")
local helper = require("spec.helper")

local names = {}

-- A module made by fn(name), forgotten after the test.
local function module(name, fn)
  package.preload[name] = fn
  names[#names + 1] = name
end

describe("require", function()
  after_each(function()
    for _, name in ipairs(names) do
      package.preload[name], package.loaded[name] = nil, nil
    end
    names = {}
  end)

  it("waits while another thread loads the module, which is loaded once", function()
    local loads = 0
    module("r_slow", function()
      loads = loads + 1
      grun.sleep(0.02)
      return { loads = loads }
    end)
    local threads = {}
    for i = 1, 5 do
      threads[i] = grun.spawn(require, "r_slow")
    end
    local first = threads[1]:get()
    for i = 2, 5 do
      assert.equal(first, threads[i]:get())
    end
    assert.equal(1, loads)
  end)

  it("gives what the module left in package.loaded, or true", function()
    module("r_sets", function(name)
      package.loaded[name] = "set"
      grun.yield()
    end)
    module("r_nothing", function() end)
    module("r_false", function() return false end)
    assert.equal("set", require("r_sets"))
    assert.is_true(require("r_nothing"))
    assert.is_false(require("r_false"))
  end)

  it("fails in a module that requires itself, also through another thread", function()
    module("r_self", function() return require("r_self") end)
    module("r_a", function()
      grun.sleep(0.01)
      return require("r_b")
    end)
    module("r_b", function()
      grun.sleep(0.01)
      return require("r_a")
    end)
    local ok, err = pcall(require, "r_self")
    assert.is_false(ok)
    assert.matches("loop or previous error loading module 'r_self'", err, 1, true)
    local a, b = grun.spawn(pcall, require, "r_a"), grun.spawn(pcall, require, "r_b")
    local ok_a, err_a = a:get()
    local ok_b, err_b = b:get()
    assert.same({ false, false }, { ok_a, ok_b })
    assert.matches("loop or previous error loading module 'r_[ab]'", err_a)
    assert.matches("loop or previous error loading module 'r_[ab]'", err_b)
  end)

  it("tells the waiting threads of a failure, and stays failed", function()
    module("r_fails", function()
      grun.sleep(0.01)
      error("cannot start", 0)
    end)
    local a, b = grun.spawn(pcall, require, "r_fails"), grun.spawn(pcall, require, "r_fails")
    assert.same({ false, "cannot start" }, { a:get() })
    assert.matches("previous error loading module 'r_fails'", select(2, b:get()), 1, true)
    assert.matches("previous error", select(2, pcall(require, "r_fails")), 1, true)
  end)

  it("can be cancelled and timed out while it waits", function()
    module("r_long", function() grun.sleep(0.1) end)
    local loader = grun.spawn(require, "r_long")
    grun.yield()
    assert.same({ nil, "timeout", "timeout" }, { grun.timeout(0.01, require, "r_long") })
    local t = grun.spawn(require, "r_long")
    grun.yield()
    t:kill()
    assert.equal("cancelled", t:status())
    assert.is_true(loader:get())
    assert.is_true(require("r_long"))
  end)

  it("goes on when the loading thread is cancelled", function()
    module("r_killed", function() grun.sleep(60) end)
    local loader, t = grun.spawn(require, "r_killed"), grun.spawn(pcall, require, "r_killed")
    grun.yield()
    loader:kill()
    assert.matches("previous error loading module", select(2, t:get()), 1, true)
  end)

  it("says the same as luajit's", function()
    local script = helper.script([[
      local function try(...) print(pcall(...)) end
      try(function() local m = require("no.such.module") return m end)
      try(require)
      try(require, {})
      print(require(5 == 5 and "string") == string)
      package.preload.x = function(...) print(select("#", ...), ...) return 7 end
      print(require("x"), require("x"), package.loaded.x)
      local old = package.loaders
      package.loaders = 5
      try(require, "y")
      package.loaders = { function() return nil end, function(n) return "\n\tno " .. n end }
      try(require, "y")
      package.loaders = old
      print(select("#", require("x")))
    ]])
    local ours = helper.run_child({ script })
    local pipe = assert(io.popen("luajit " .. helper.quote(script) .. " 2>&1"))
    local theirs = pipe:read("*a")
    pipe:close()
    assert.equal(theirs, ours)
  end)
end)
