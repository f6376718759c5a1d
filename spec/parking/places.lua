-- SPDX-License-Identifier: MIT
-- Programs that wait in every place where Lua code can run. Each is a function(w, n): w(v) waits
-- and returns v, or raises; what the program returns or raises must not depend on whether w really
-- waited. An error of w leaves the program unless it says otherwise.
--
-- Returned is a list of { name = , run = , needs = "ffi" | "parkmod" | nil }.

local places = {}

local function place(name, run, needs)
  places[#places + 1] = { name = name, run = run, needs = needs }
end

local function rethrow(ok, ...)
  if not ok then
    error((...), 0)
  end
  return ...
end

-- ---- Protected calls ----

place("pcall", function(w, n)
  return rethrow(pcall(w, n))
end)

place("pcall of a Lua function that goes on afterwards", function(w, n)
  local sum = 0
  local ok, err = pcall(function()
    sum = sum + w(n)
    sum = sum + w(n + 1)
  end)
  return rethrow(ok, ok and sum or err)
end)

place("nested pcalls, each of which catches and throws again", function(w, n)
  local function level(depth)
    if depth == 0 then
      return w(n)
    end
    return rethrow(pcall(level, depth - 1)) + 1
  end
  return level(12)
end)

place("pcall that swallows what the wait raised", function(w, n)
  local caught = 0
  for i = 1, 4 do
    if not pcall(w, i) then
      caught = caught + 1
    end
  end
  return n + caught * 1000
end)

place("xpcall body", function(w, n)
  return rethrow(xpcall(function(a, b)
    return w(a) + w(b)
  end, function(err)
    return err
  end, n, 2))
end)

-- An error in a handler calls the handler again or becomes "error in error handling", whichever the
-- compiler's luck has it; so all of these only say that it failed.
local function with_handler(body, handler)
  local calls, result = 0, nil
  local ok = xpcall(body, function(err)
    calls = calls + 1
    local first = calls == 1
    local v = handler(err)
    if first then
      result = v
    end
    return v
  end)
  assert(not ok)
  return result or "the handler failed"
end

place("xpcall handler", function(w, n)
  return with_handler(function()
    error("first", 0)
  end, function(err)
    return err .. w(n) .. w(n)
  end)
end)

place("xpcall body and handler", function(w, n)
  return with_handler(function()
    w(n)
    error({})
  end, function()
    return w(n) + w(1)
  end)
end)

place("handler of an error that C raised", function(w, n)
  return with_handler(function()
    return ("x"):rep({})
  end, function(err)
    return w(n) .. (type(err) == "string" and err or "an object")
  end)
end)

-- ---- Metamethods of tables and userdata ----

local binary = {
  __add = function(a, b) return a + b end,
  __sub = function(a, b) return a - b end,
  __mul = function(a, b) return a * b end,
  __div = function(a, b) return a / b end,
  __mod = function(a, b) return a % b end,
  __pow = function(a, b) return a ^ b end,
  __concat = function(a, b) return a .. b end,
  __eq = function(a, b) return a == b end,
  __lt = function(a, b) return a < b end,
  __le = function(a, b) return a <= b end,
}

local function make_table(mt)
  return setmetatable({}, mt)
end

local function make_userdata(mt)
  local proxy = newproxy(true)
  local own = getmetatable(proxy)
  for event, handler in pairs(mt) do
    own[event] = handler
  end
  return proxy
end

-- Two objects that share the handlers, as __eq asks for.
local function make_two(make, mt)
  local first = make(mt)
  if type(first) == "userdata" then
    return first, newproxy(first)
  end
  return first, make(mt)
end

local function metamethods(kind, make)
  for event, apply in pairs(binary) do
    place(event .. " of a " .. kind, function(w, n)
      local a, b = make_two(make, {
        [event] = function()
          local v = w(n)
          w(v)
          return v
        end,
      })
      return tostring(apply(a, b))
    end)
  end

  place("__unm of a " .. kind, function(w, n)
    return -make({ __unm = function() return w(n) end })
  end)

  place("__index of a " .. kind, function(w, n)
    local object = make({ __index = function(_, key) return w(n) .. key end })
    return object.first .. object[2]
  end)

  place("__index found through two tables of a " .. kind, function(w, n)
    local last = make({ __index = function(_, key) return w(n) .. key end })
    return make({ __index = setmetatable({}, { __index = last }) }).first
  end)

  place("__newindex of a " .. kind, function(w, n)
    local seen
    local object = make({ __newindex = function(_, key, value) seen = key .. w(value) end })
    object.field = n
    object[3] = n
    return seen
  end)

  place("__call of a " .. kind, function(w, n)
    local object = make({ __call = function(_, ...) return select("#", ...) + w(n) end })
    return object(1, nil, nil) + rethrow(pcall(object, 1))
  end)

  place("__tostring of a " .. kind, function(w, n)
    return tostring(make({ __tostring = function() return "<" .. w(n) .. ">" end }))
  end)

  place("__tostring of a " .. kind .. " below string.format", function(w, n)
    local object = make({ __tostring = function() return "<" .. w(n) .. ">" end })
    return ("%5d|%s|%-8s|%s"):format(n, object, "text", object)
  end)
end

metamethods("table", make_table)
metamethods("userdata", make_userdata)

place("__len of a userdata", function(w, n)
  return #make_userdata({ __len = function() return w(n) end })
end)

place("__concat in a long chain", function(w, n)
  local object = setmetatable({}, { __concat = function(a, b)
    local v = w(n)
    return (type(a) == "table" and "T" or a) .. v .. (type(b) == "table" and "T" or b)
  end })
  return "a" .. n .. object .. "b" .. n
end)

place("__index and __newindex of the globals", function(w, n)
  local env = setmetatable({}, {
    __index = function(_, key) return w(n) .. key end,
    __newindex = function(t, key, value) rawset(t, key, w(value)) end,
  })
  return setfenv(function()
    stored = 1 -- luacheck: ignore
    return missing .. stored -- luacheck: ignore
  end, env)()
end)

-- ---- Functions that C calls back ----

place("gsub callback", function(w, n)
  return (("a1b22c333"):gsub("%d+", function(digits)
    return "<" .. w(n + tonumber(digits)) .. ">"
  end))
end)

place("nested gsub callbacks", function(w, n)
  local function nest(depth)
    return (("xy"):gsub(".", function(c)
      return c .. (depth > 1 and nest(depth - 1) or w(n))
    end))
  end
  return nest(4)
end)

place("gsub with a table that has __index", function(w, n)
  return (("k1 k2"):gsub("%w+", setmetatable({}, { __index = function(_, key) return key .. w(n) end })))
end)

place("sort comparator", function(w, n)
  local list = {}
  for i = 1, 9 do
    list[i] = (i * 7 + n) % 10
  end
  table.sort(list, function(a, b)
    return w(a) < b
  end)
  return table.concat(list, ",")
end)

place("__lt below sort", function(w)
  local mt = {}
  function mt.__lt(a, b)
    return w(a.key) < b.key
  end
  local list = {}
  for i = 1, 6 do
    list[i] = setmetatable({ key = (i * 5) % 7 }, mt)
  end
  table.sort(list)
  local keys = {}
  for i, object in ipairs(list) do
    keys[i] = object.key
  end
  return table.concat(keys, ",")
end)

place("table.foreach and table.foreachi callbacks", function(w, n)
  local seen = 0
  table.foreach({ a = 1 }, function(_, v)
    seen = seen + w(n) + v
  end)
  return seen + table.foreachi({ 1, 2, 3 }, function(i, v)
    if i == 3 then
      return w(n) + v
    end
  end)
end)

place("for-iterators", function(w, n)
  local sum = 0
  for i, v in function(limit, i)
    if i < limit then
      return i + 1, w(n + i)
    end
  end, 5, 0 do
    sum = sum + i * v
  end
  for object in setmetatable({ left = 3 }, { __call = function(self)
    self.left = self.left - 1
    return self.left > 0 and w(self.left) or nil
  end }) do
    sum = sum + object
  end
  return sum
end)

place("bodies of for-loops over pairs, ipairs and numbers", function(w, n)
  local t, sum = { 10, 20, 30, x = 1, y = 2 }, 0
  for _, v in pairs(t) do
    sum = sum + w(v)
  end
  for i, v in ipairs(t) do
    sum = sum + w(i) * v
  end
  for i = n, n + 12, 3 do
    sum = sum + w(i)
  end
  return sum
end)

-- ---- Loading code ----

place("load reader", function(w, n)
  local pieces, at = { "local a = ", tostring(n), " return a + ", "1" }, 0
  local chunk, message = load(function()
    at = at + 1
    w(at)
    return pieces[at]
  end, "=piece")
  if not chunk then
    error(message, 0)
  end
  return chunk()
end)

local function chunk_dir()
  return arg[0]:match("^(.*)/") or "."
end

local module_count = 0

local function require_once(name)
  package.loaded[name] = nil
  local ok, result = pcall(require, name)
  package.loaded[name] = nil
  CHUNKS[name] = nil
  return rethrow(ok, result)
end

local function new_module(run)
  module_count = module_count + 1
  local name = "waiting_module_" .. module_count
  CHUNKS[name] = run
  return name
end

place("body of a required module", function(w, n)
  return require_once(new_module(function()
    local value = w(n)
    return { value = w(value) }
  end)).value
end)

place("body of a module required by a required module", function(w, n)
  local inner = new_module(function() return w(n) end)
  local outer = new_module(function() return w(1) + require_once(inner) end)
  return require_once(outer)
end)

place("package.preload function", function(w, n)
  local name = new_module()
  package.preload[name] = function() return w(n) end
  local ok, result = pcall(require_once, name)
  package.preload[name] = nil
  return rethrow(ok, result)
end)

place("option function of module()", function(w, n)
  local name, seen = new_module()
  local ok, err = pcall(setfenv(function()
    module(name, function(m) seen = w(n) .. type(m) end)
  end, setmetatable({}, { __index = _G })))
  package.loaded[name], _G[name] = nil, nil
  return rethrow(ok, ok and seen or err)
end)

place("dofile", function(w, n)
  local self = grun.current()
  CHUNKS[self] = function() return w(n) end
  local ok, result = pcall(dofile, chunk_dir() .. "/chunk.lua")
  CHUNKS[self] = nil
  return rethrow(ok, result)
end)

place("a function with another environment", function(w, n)
  return setfenv(function()
    return wait(number) -- luacheck: ignore
  end, { wait = w, number = n })()
end)

-- ---- Coroutines ----

place("coroutine.wrap", function(w, n)
  return coroutine.wrap(function(a) return w(a) end)(n)
end)

place("coroutine.resume", function(w, n)
  local co = coroutine.create(function(a)
    local b = coroutine.yield(w(a))
    return w(b) + 1
  end)
  local first = rethrow(coroutine.resume(co, n))
  w(first)
  return rethrow(coroutine.resume(co, first)) and coroutine.status(co)
end)

place("a generator: waits inside and between its steps", function(w, n)
  local sum = 0
  for v in coroutine.wrap(function()
    for i = 1, 5 do
      coroutine.yield(w(n + i))
    end
  end) do
    sum = sum + w(v)
  end
  return sum
end)

place("nested coroutines", function(w, n)
  local function nest(depth)
    return coroutine.wrap(function()
      local v = depth == 0 and w(n) or nest(depth - 1)()
      coroutine.yield(w(v))
      return "never"
    end)
  end
  return nest(5)()
end)

place("pcall in a coroutine that yields across it", function(w, n)
  local co = coroutine.wrap(function()
    local ok, v = pcall(function()
      local got = coroutine.yield(w(n))
      return w(got) + 1
    end)
    return rethrow(ok, v)
  end)
  return co(co())
end)

place("a coroutine that dies of the wait's error", function(w, n)
  local co = coroutine.create(function() return w(n) end)
  local ok, v = coroutine.resume(co)
  local again, message = coroutine.resume(co)
  assert(coroutine.status(co) == "dead" and not again and message == "cannot resume dead coroutine")
  return rethrow(ok, v)
end)

place("a coroutine resumed by several threads in turn", function(w, n)
  local co = coroutine.wrap(function()
    local sum = 0
    for i = 1, 4 do
      sum = sum + w(i)
      coroutine.yield(sum)
    end
  end)
  local sum = co()
  for _ = 2, 4 do
    local helper = grun.spawn(pcall, co)
    local ok, v = pcall(function() return rethrow(helper:get()) end)
    helper:cancel()
    sum = sum + rethrow(ok, v)
  end
  return sum + n
end)

place("a coroutine below a gsub callback below a coroutine", function(w, n)
  return coroutine.wrap(function()
    return (("ab"):gsub(".", function(c)
      return coroutine.wrap(function() return c .. w(n) end)()
    end))
  end)()
end)

-- ---- Calls ----

place("a tail call", function(w, n)
  local function down(depth, v)
    if depth == 0 then
      return w(v)
    end
    return down(depth - 1, w(v))
  end
  return down(20, n)
end)

place("varargs", function(w, n)
  local function count(...)
    w(n)
    local a = select("#", ...)
    w(a)
    local last = select(a, ...)
    return a + last
  end
  local many = {}
  for i = 1, 120 do
    many[i] = i
  end
  return count(1, nil, unpack(many))
end)

place("open upvalues that another thread changes meanwhile", function(w, n)
  local x, list = n, {}
  local function add()
    x = x + 1
    return x
  end
  for i = 1, 4 do
    local own = i
    list[i] = function()
      own = own + 1
      return own
    end
    local helper = grun.spawn(add)
    w(i)
    helper:join(5)
    own = own + list[i]()
    list[i] = own
  end
  return x .. ":" .. table.concat(list, ",")
end)

place("deep recursion", function(w, n)
  local function down(depth, a, b)
    if depth == 0 then
      return w(n)
    end
    local v = down(depth - 1, b, a)
    return v + 1, a, b
  end
  return (down(2000, {}, {}))
end)

place("a compiled loop with a call in it", function(w, n)
  local sum = 0
  for i = 1, 70 do
    sum = sum + w(i) % 7
  end
  return sum + n
end)

place("values that live only on the stack", function(w, n)
  local t, s, f = { n }, "s" .. n, function() return n end
  w(n)
  local u = { w(n), t, s, f }
  return u[2][1] .. u[3] .. u[4]() .. u[1]
end)

-- ---- Below the FFI ----

local ffi, point

local function use_ffi()
  if ffi then
    return
  end
  ffi = require("ffi")
  ffi.cdef([[
    void qsort(void *base, size_t n, size_t size, int (*compare)(const void *, const void *));
    typedef struct { int x; } parking_point;
  ]])
end

local function sort_with(compare, n)
  use_ffi()
  local function sort(array, size, callback)
    ffi.C.qsort(array, size, 4, callback)
  end
  jit.off(sort) -- LuaJIT's rule for C functions that call back
  local array = ffi.new("int[8]", 5, 3, 8, 1, 7, 2, 6, 4)
  local callback = ffi.cast("int (*)(const void *, const void *)", function(a, b)
    return compare(ffi.cast("const int *", a)[0], ffi.cast("const int *", b)[0])
  end)
  local ok, err = pcall(sort, array, 8, callback)
  callback:free()
  rethrow(ok, err)
  local out = { n }
  for i = 0, 7 do
    out[#out + 1] = array[i]
  end
  return table.concat(out, ",")
end

place("FFI callback", function(w, n)
  return sort_with(function(a, b) return w(a) - b end, n)
end, "ffi")

place("pcall in an FFI callback", function(w, n)
  return sort_with(function(a, b)
    return (rethrow(pcall(w, a))) - b
  end, n)
end, "ffi")

place("FFI callback below a coroutine below a gsub callback", function(w, n)
  return (("x"):gsub("x", function()
    return coroutine.wrap(function()
      return sort_with(function(a, b) return w(a) - b end, n)
    end)()
  end))
end, "ffi")

-- One C type for all: its handlers get what to do through `current`, read before they wait.
local current_wait, current_n = {}, {}

local function point_type()
  use_ffi()
  if point then
    return point
  end
  local function waits(result)
    return function(...)
      local self = grun.current()
      return result(current_wait[self](current_n[self]), ...)
    end
  end
  local function plain(v) return v end
  point = ffi.metatype("parking_point", {
    __add = waits(plain), __sub = waits(plain), __mul = waits(plain), __div = waits(plain),
    __mod = waits(plain), __pow = waits(plain), __unm = waits(plain), __len = waits(plain),
    __concat = waits(plain), __call = waits(plain), __eq = waits(plain), __lt = waits(plain),
    __le = waits(plain), __tostring = waits(tostring),
    __index = waits(function(v, _, key) return v .. key end),
    __newindex = waits(plain),
  })
  return point
end

place("metamethods of C data", function(w, n)
  local self, T = grun.current(), point_type()
  current_wait[self], current_n[self] = w, n
  local ok, result = pcall(function()
    local a, b = T(1), T(2)
    a.missing = 1
    return table.concat({
      a + b, a - b, a * b, a / b, a % b, a ^ b, -a, #a, a .. b, a(1), tostring(a == b), tostring(a < b),
      tostring(a <= b), tostring(a), a.missing,
    }, " ")
  end)
  current_wait[self], current_n[self] = nil, nil
  return rethrow(ok, result)
end, "ffi")

-- ---- Below a C module ----

local function parkmod(name, run)
  place(name, function(w, n)
    return run(require("parkmod"), w, n)
  end, "parkmod")
end

parkmod("lua_call from a C module", function(pm, w, n)
  return (select(2, pm.call(function(a, b) return a, w(b) end, 1, n)))
end)

parkmod("lua_pcall from a C module", function(pm, w, n)
  return (select(2, pm.pcall(function(a, b) return a, w(b) end, 1, n)))
end)

parkmod("lua_cpcall from a C module", function(pm, w, n)
  local v
  pm.cpcall(function() v = w(n) end)
  return v
end)

parkmod("lua_gettable, lua_getfield and lua_settable from a C module", function(pm, w, n)
  local object = setmetatable({}, {
    __index = function(_, key) return key .. w(n) end,
    __newindex = function(t, key, value) rawset(t, key, w(value)) end,
  })
  pm.set(object, "stored", n)
  return pm.get(object, "a") .. pm.getfield(object, "b") .. object.stored
end)

parkmod("lua_lessthan and lua_equal from a C module", function(pm, w, n)
  local mt = { __lt = function() return w(n) > 0 end, __eq = function() return w(n) > 0 end }
  local a, b = setmetatable({}, mt), setmetatable({}, mt)
  return tostring(pm.less(a, b)) .. tostring(pm.equal(a, b))
end)

parkmod("luaL_callmeta from a C module", function(pm, w, n)
  return pm.callmeta(setmetatable({}, { __custom = function() return w(n) end }), "__custom")
end)

parkmod("lua_resume from a C module", function(pm, w, n)
  local co = coroutine.create(function(a)
    local b = coroutine.yield(w(a))
    return w(b)
  end)
  return pm.resume(co, pm.resume(co, n))
end)

parkmod("lua_load reader from a C module", function(pm, w, n)
  local pieces, at = { "return ", tostring(n) }, 0
  return pm.load(function()
    at = at + 1
    w(at)
    return pieces[at]
  end)()
end)

parkmod("a C function that raises after Lua below it waited", function(pm, w, n)
  local ok, err = pcall(pm.raise_after, function() w(n) end, "of C")
  assert(not ok)
  if err ~= "of C" then
    error(err, 0)
  end
  return err
end)

parkmod("a C function with a bad argument after Lua below it waited", function(pm, w, n)
  local ok, err = pcall(pm.argument_error_after, function() w(n) end)
  assert(not ok)
  if not tostring(err):find("too late", 1, true) then
    error(err, 0)
  end
  return "too late"
end)

parkmod("the handler of an error that a C module raised", function(pm, w, n)
  return with_handler(function()
    pm.raise_after(function() end, "of C")
  end, function(err)
    return err .. w(n)
  end)
end)

parkmod("a C function that resumes a coroutine which waits, then raises", function(pm, w, n)
  local co = coroutine.create(function()
    pcall(w, n)
    coroutine.yield()
  end)
  return (select(2, pcall(pm.resume_and_raise, co, "of C")))
end)

parkmod("a C function that yields after Lua below it waited", function(pm, w, n)
  local co = coroutine.wrap(function()
    return w(pm.yield_after(function() w(n) end, n, 1) or 0)
  end)
  return co() + co(n)
end)

parkmod("16 KiB down the C stack", function(pm, w, n)
  local ok, v
  pm.deep(function() ok, v = pcall(w, n) end, 16)
  return rethrow(ok, v)
end)

return places
