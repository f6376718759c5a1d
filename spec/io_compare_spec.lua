-- SPDX-License-Identifier: MIT
-- Lua's own io library says and does what LuaJIT's does: the same scripts under both, with files and
-- with pipes, byte for byte.

local helper = require("spec.helper")

-- In front of every script: show(...) prints values, addresses left out.
local PRELUDE = [[
local tostring = tostring
local function show(...)
  local list = {}
  for i = 1, select("#", ...) do
    local v = (select(i, ...))
    local text = type(v) == "string" and ("%q"):format(v) or tostring(v)
    list[i] = text:gsub("0x%x+", "0x"):gsub("builtin#%d+", "0x")
  end
  io.stdout:write(table.concat(list, " "), "\n")
end
local function try(f, ...) show(pcall(f, ...)) end
local NAME = os.tmpname()
local function put(text)
  local f = assert(io.open(NAME, "w"))
  f:write(text)
  f:close()
  return NAME
end
]]

-- Standard input of all scripts.
local INPUT = "first line\n\n42 -1.5e3 0x10 nan inf x12 1e+ 7\nlast" .. ("y"):rep(9000) ..
  "\n" .. ("z"):rep(70000) .. "\n  8\n9 no end"

local CASES = {
  ["reads lines"] = [[
    show(io.read()) show(io.read("*l")) show(io.read("*L")) show(io.read("l", "L"))
    for line in io.lines() do show(#line, line:sub(1, 20)) end
    show(io.read()) show(io.read("*a")) show(io.read(0))]],
  ["reads all"] = [[
    local text = io.read("*a") show(#text, text:sub(1, 30), text:sub(-30))
    show(io.read("*a")) show(io.read("*l")) show(io.read(1)) show(io.read(0)) show(io.read("*n"))
    show(io.read("*a", "*a", "*l", "*a"))]],
  ["reads lengths"] = [[
    show(io.read(0)) show(io.read(5)) show(io.read(1, 2, 3)) show(io.read(3.7))
    show(#io.read(4096), #io.read(5000)) show(#io.read(65536)) show(#io.read(1e6))
    show(io.read(1)) show(io.read(0)) show(io.read(5, 5))]],
  ["reads numbers"] = [[
    show(io.read("*l", "*l")) show(io.read("*n")) show(io.read("*n", "*n", "*n", "*n"))
    show(io.read("*n")) show(io.read("*n", "*l")) show(io.read("*n", "*l"))
    show(#io.read("*l")) show(#io.read("*l")) show(io.read("n", "n")) show(io.read("*n"))
    show(io.read("*a"))]],
  ["reads numbers of all kinds"] = [[
    local texts = {"12", " 12 ", "\n\t12\n", "+5", "-", "- 5", ".5", "5.", ".", "1e5", "1e", "1e+", "1ex",
      "0x", "0x1p4", "0xg", "infinity", "infinit", "inf", "in", "nan", "nanx", "na", "NaN(1)", "1,2",
      "--1", "1e5000", "-0", "00012", "1_000", "", " ", "\0001"}
    for _, text in ipairs(texts) do
      local f = io.open(put(text)) show(text, f:read("*n", "*a")) f:close()
      f = io.popen("cat " .. NAME) show(text, f:read("*n", "*a")) f:close()
    end]],
  ["reads a mixture"] = [[
    show(io.read("*l", "*L", "*n", 1, "*n", "*n", "*l")) show(io.read("*l", 0, 3, "*l"))
    try(io.read, "*x")]],
  ["refuses wrong formats"] = [[
    try(io.read, "*x") try(io.read, {}) try(io.read, true) try(io.read, "") try(io.read, "*")
    try(io.read, -1) try(io.stdin.read, io.stdin, "x")
    show(pcall(function() return io.read("x") end))
    show(pcall(function() return io.stdin:read("x") end))
    show(pcall(function() return io.stdin:read("*l", {}) end)) show(io.read("lx", "ax"))]],
  ["iterates with formats"] = [[
    put("1 2\n3 4 5\nx")
    for a, b in io.lines(NAME, "*n", "*l") do show(a, b) end
    for c in io.lines(NAME, 1) do io.write(c, ".") end
    local f = io.open(NAME) for l in f:lines() do show(l) end show(f:read()) show(io.type(f)) f:close()
    try(io.lines, NAME, unpack({}, 1, 70)) try(io.lines, "/nonexistent/x") try(io.lines, {})
    show(pcall(function() for _ in io.lines("/nonexistent/x") do end end))
    local it = io.lines(NAME) for _ = 1, 3 do show(it()) end show(it()) try(it)
    f = io.open(NAME) it = f:lines() f:close() try(it) try(f.lines, f)
    it = io.lines(NAME, "x") try(it)]],
  ["reports errors"] = [[
    show(io.open("/nonexistent/x")) try(io.open) try(io.open, NAME, {})
    local f = io.open(put("abc"), "w") show(f:read()) show(f:read("*a")) show(f:read("*n")) f:close()
    f = io.open(NAME) show(f:write("x")) show(f:flush()) show(f:close()) try(f.close, f) try(f.read, f)
    try(f.write, f, "x") try(f.seek, f) try(f.flush, f) try(f.setvbuf, f, "no") show(f) show(io.type(f))
    try(f.read) try(f.read, 5) try(f.close, {}) try(io.input, f) try(io.output, f) try(io.close, f)
    f = io.open("/") show(f:read()) show(f:read("*a")) show(f:read(1)) show(f:read("*n")) f:close()
    try(function() for l in io.lines("/") do end end)
    f = io.open("/dev/full", "w") show(f:write("x")) show(f:flush()) show(f:write(("x"):rep(10000)))
    show(f:close())
    for _, name in ipairs{"stdin", "stdout", "stderr"} do show(io[name]:close()) end
    show(io.stdin:write("x"))
    try(io.type) show(io.type(5), io.type(io.stdin), io.type(nil))]],
  ["writes"] = [[
    show(io.write()) show(io.write("a", 1, 2.5, -0, 1e100, 1/0, "\0", "\n")) try(io.write, nil)
    try(io.write, "x", {}) try(io.stdout.write, io.stdout, true)
    show(pcall(function() return io.stdout:write("y", true) end))
    show(pcall(function() return io.write({}) end))
    for e = 0, 16 do io.write(10^e, " ", -10^e, " ", 10^e - 1, " ", 1 - 10^e, " ", 10^e / 3, "\n") end
    io.write(("long "):rep(20000), "\n") for i = 1, 3000 do io.write(i, " ") end io.write("\n")
    show(io.stdout:flush()) show(io.flush())]],
  ["prints"] = [[
    print() print(1, "a", nil, true, 0.1, 1e15, 2^53, -0, 1/0) print(("x"):rep(3000), ("y"):rep(600))
    print(setmetatable({}, {__tostring = function() return "object" end}))
    try(print, setmetatable({}, {__tostring = function() return 5 end}))
    try(print, setmetatable({}, {__tostring = function() error("oops") end}))
    local old = tostring
    _G.tostring = function(v) return "<" .. old(v) .. ">" end print(1, "a", nil) _G.tostring = nil
    try(print, 1) _G.tostring = function() return {} end
    local ok, message = pcall(print, 1) _G.tostring = old show(ok, message)
    _G.tostring = function() return 12 end print("x") _G.tostring = old
    debug.setmetatable(1, {__tostring = function() return "number" end}) print(5, "6")
    debug.setmetatable(1, nil)
    setfenv(1, {print = print, tostring = function() return "other" end, show = show, os = os}) print(1)]],
  ["has default files"] = [[
    show(io.input() == io.stdin, io.output() == io.stdout) put("in\nput\n")
    show(io.input(NAME) == io.input()) show(io.read()) for l in io.lines() do show(l) end
    show(io.close(io.input())) try(io.read) try(function() io.lines()() end) show(io.type(io.input()))
    io.input(io.stdin) show(io.read())
    local out = os.tmpname() io.output(out) io.write("to a file") show(io.close()) try(io.write, "x")
    try(io.close) try(io.flush) io.output(io.stdout) show(io.open(out):read("*a")) os.remove(out)
    try(io.input, "/nonexistent/x") try(io.output, "/nonexistent/x") try(io.input, {}) try(io.output, 1, 2)
    show(pcall(function() io.input("/nonexistent/x") end)) os.remove("1") show(io.output(nil))]],
  ["seeks and sets buffers"] = [[
    local f = io.open(put("0123456789\nabc"), "r+") show(f:seek()) show(f:seek("end")) show(f:seek("set", 5))
    show(f:read(2)) show(f:seek("cur", -1)) f:write("XY") show(f:seek("cur", 0)) show(f:read("*a"))
    show(f:seek("set", -1)) try(f.seek, f, "bad") try(f.seek, f, "set", "5") try(f.seek, f, "set", {})
    try(f.seek, f, "set", nil) show(f:setvbuf("no")) show(f:setvbuf("full", 10)) show(f:setvbuf("line"))
    try(f.setvbuf, f) try(f.setvbuf, f, "bad") try(f.setvbuf, f, "full", {}) f:seek("set", 0)
    show(f:read("*a")) f:close() f = io.tmpfile() f:write("x") f:seek("set") show(f:read("*a")) f:close()
    f = io.open(NAME, "a+") f:write("tail") f:seek("set", 8) show(f:read("*a")) f:close()
    show(io.stdout:seek("cur", 0) == nil or true)]],
  ["runs programs"] = [[
    show(os.execute()) show(os.execute("exit 3")) show(os.execute("kill -9 $$")) show(os.execute(""))
    show(os.execute("nonexistent-program 2>/dev/null")) try(os.execute, {}) show(os.execute(nil))
    local p = io.popen("echo a; echo b; exit 3") show(p:read()) show(p:read("*a")) show(p:read()) show(p:close())
    try(p.close, p) show(tostring(p)) show(io.type(p)) p = io.popen("cat", "w") show(p:write("to cat\n"))
    show(p:read()) show(p:close()) p = io.popen("exit 1", "w") show(p:close()) p = io.popen("echo x")
    show(p:write("x")) show(p:close()) show(io.popen("true", "q")) show(io.popen("true", "rw")) try(io.popen)
    show(io.popen("true", "")) try(io.popen, "true", {}) p = io.popen("true", "re") show(p:close())
    p = io.popen("echo x") show(p:seek("set", 0)) show(p:seek()) show(p:setvbuf("no")) show(p:read("*a")) p:close()
    for l in io.popen("seq 5"):lines() do io.write(l, " ") end
    io.write("before ") io.popen("printf during"):close() p = io.popen("cat", "w") p:write(" after\n") p:close()
    io.write("not flushed ") io.flush() os.execute("printf 'by the shell\n'")
    p = io.popen("cat >/dev/null", "w") show(p:write(("x"):rep(300000))) show(p:flush()) show(p:close())
    p = io.popen("head -c 300000 /dev/zero") show(#p:read("*a")) show(p:close()) p = io.popen("exit 0 <&-", "w")]],
  ["closes what is left at the end"] = [[
    local f = io.open(NAME, "w") f:write("not closed") LEFT = f
    local p = io.popen("sleep 0.1; cat", "w") p:write("to a program\n") LEFT2 = p
    show("end")]],
  ["collects what is not closed"] = [[
    local f = io.open(NAME, "w") f:write("collected") f = nil collectgarbage() collectgarbage()
    show(io.open(NAME):read("*a"))
    for i = 1, 3000 do io.open(NAME) if i % 500 == 0 then collectgarbage() end end
    show(io.open(NAME) ~= nil)]],
}

local function output(command)
  local pipe = assert(io.popen(command))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

-- How the scripts get their input and where their output goes. Programs, script, input, output.
local WAYS = {
  ["files"] = "%s %s <%s >%s 2>&1; s=$?; cat %s; echo status $s",
  ["pipes"] = "cat %3$s | { %1$s %2$s 2>&1; echo status $?; } | cat; : %s",
  ["slow pipes"] = "{ head -c 15 %3$s; sleep 0.05; tail -c +16 %3$s | head -c 20; sleep 0.05; " ..
    "tail -c +36 %3$s; } 2>/dev/null | { %1$s %2$s 2>&1; echo status $?; } | cat; : %s",
}

local function command(way, program, script)
  local values = { program, script, helper.tmpname(INPUT), helper.tmpname() }
  local next_value = 0
  local text = WAYS[way]:gsub("%%(%d?)%$?s", function(number)
    next_value = next_value + 1
    return values[tonumber(number) or math.min(next_value, 4)]
  end)
  return text
end

for way in pairs(WAYS) do
  describe("with " .. way .. " Lua's io library", function()
    for name, source in pairs(CASES) do
      it(name .. " as LuaJIT's", function()
        local script = helper.tmpname(PRELUDE .. source .. "\nos.remove(NAME)")
        local expected = output(command(way, "luajit", script))
        assert.equal(expected, output(command(way, helper.grun, script)))
        assert.equal(way == "files" or #expected > 10, true)
      end)
    end
  end)
end
