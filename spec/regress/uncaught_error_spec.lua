-- SPDX-License-Identifier: MIT
-- Errors that are hard to report: each gives one report, and the process goes on.

local child = require("spec.parking.child")

local ERRORS = {
  { "error(nil)", "%(error object is a nil value%)" },
  { "error({})", "%(error object is a table value%)" },
  { "error(newproxy(true))", "%(error object is a userdata value%)" },
  { "error(setmetatable({}, { __tostring = function() error('again') end }))", "its __tostring failed" },
  { "error(setmetatable({}, { __tostring = function() return {} end }))", "its __tostring failed" },
  { "error(setmetatable({}, { __index = function() error('index') end }))", "%(error object is a table value%)" },
  { "error(setmetatable({}, { __eq = function() error('eq') end }))", "%(error object is a table value%)" },
  { "error(debug.setmetatable(print, { __tostring = error }) and print)", "%(error object is a function value" },
  { "error(('big '):rep(2e6))", "big big big" },
  { "error('a zero \\0 and a newline \\n inside')", "a zero .* inside" },
  { "xpcall(error, function() error('in the handler') end) error('after it')", "after it" },
  { "local ok, e = xpcall(error, function() error('in the handler') end) error(e)", "error" },
  { "return ('x'):rep(2^20):rep(2^20)", "not enough memory" },
  { "limit_memory() local t = {} for i = 1, 2^31 do t[i] = ('x'):rep(2^20) .. i end", "not enough memory" },
  { "limit_memory() local t = {} for i = 1, 2^31 do t[i] = { i } end", "not enough memory" },
  { "limit_memory() local s = 'x' while true do s = s .. s end", "not enough memory" },
  { "local function f() return 1 + f() end f()", "overflow" },
  { "unpack({}, 1, 1e7)", "too many results" },
  { "coroutine.wrap(function() coroutine.wrap(function() error('inner') end)() end)()", "inner" },
  { "grun.spawn(error, 'of another thread'):get()", "of another thread", 2 },
  { "grun.timeout(10, error, 'in a scope')", "in a scope" },
  { "grun.sleep('x')", "bad argument" },
  { "local co = coroutine.running() coroutine.wrap(function() coroutine.resume(co) error('x') end)()", "x" },
  { "grun.current().name = ('long '):rep(1000) error('long name')", "long name" },
}

-- From then on the process gets about 64 MiB more.
local LIMIT_MEMORY = [[
local function limit_memory()
  local ffi = require("ffi")
  ffi.cdef("struct limit { unsigned long now, max; }; int setrlimit(int resource, const struct limit *limit);")
  local pages = tonumber(io.open("/proc/self/statm"):read("*n"))
  local most = pages * 4096 + 2^26
  assert(ffi.C.setrlimit(9, ffi.new("struct limit", most, most)) == 0)
end
]]

describe("an error nobody catches", function()
  for _, case in ipairs(ERRORS) do
    local source, pattern, reports = case[1], case[2], case[3] or 1
    it("is reported once, and the process goes on: " .. source, function()
      local out, err, status = child.run_text(LIMIT_MEMORY .. ([[
        local neighbour = grun.spawn(function()
          for _ = 1, 20 do
            grun.yield()
          end
          return "neighbour"
        end)
        local failing = grun.spawn(function()
          grun.yield()
          %s
        end)
        failing:join()
        print(failing:status(), neighbour:get())]]):format(source))
      assert.equal("failed\tneighbour\n", out)
      assert.equal(reports, select(2, err:gsub("grun: thread #", "")), err:sub(1, 2000))
      assert.is_truthy(err:find(pattern), err:sub(1, 2000))
      assert.is_nil(err:find("could not end in order", 1, true))
      assert.equal(0, status)
    end)
  end
end)
