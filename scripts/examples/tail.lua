-- SPDX-License-Identifier: MIT
-- Follows files as they grow, like tail -F: also when they are rotated, truncated or not there yet.
-- One thread for each file, woken by grun.watch; nothing is polled.
-- Run: ./grun scripts/examples/tail.lua [-n LINES] FILE...        ^C ends it

local BLOCK = 8192

-- The position where the last n lines of a file begin.
local function find_tail(file, n)
  local at, found = file:seek("end"), -1 -- the newline at the very end begins no line
  while at > 0 do
    local size = math.min(BLOCK, at)
    at = at - size
    file:seek("set", at)
    local block = file:read(size) or ""
    for i = #block, 1, -1 do
      if block:byte(i) == 10 or (found == -1 and i == #block) then
        found = found + 1
        if found == n then
          return at + i
        end
      end
    end
  end
  return 0
end

local last -- the file printed last, to head each change with its name

local function show(name, text, many)
  if #text == 0 then
    return
  elseif many and last ~= name then
    io.write(last and "\n" or "", "==> ", name, " <==\n")
    last = name
  end
  io.write(text)
  io.flush()
end

-- Opens the file if it is there. Returns it and what tells it from another one of that name.
local function open(name)
  local info = grun.fs.stat(name)
  local file = info and io.open(name, "rb")
  return file or nil, info and info.dev .. ":" .. info.ino
end

local function follow(name, lines, many)
  local watcher = assert(grun.watch(name))
  local file, id = open(name)
  if file then
    file:seek("set", lines > 0 and find_tail(file, lines) or file:seek("end"))
  end
  repeat
    local position = file and file:seek() -- also makes stdio forget the end that it saw
    if file and position > file:seek("end") then
      position = 0 -- truncated
    end
    if file then
      file:seek("set", position)
      show(name, file:read("*a"), many)
    end
    local info = grun.fs.stat(name)
    if info and info.dev .. ":" .. info.ino ~= id then
      if file then
        show(name, file:read("*a"), many)
        file:close()
      end
      file, id = open(name)
      show(name, file and file:read("*a") or "", many)
    end
  until not watcher:next()
end

local names, lines = {}, 10
for i, word in ipairs(arg) do
  if arg[i - 1] == "-n" then
    lines = assert(tonumber(word), "-n: number expected")
  elseif word ~= "-n" then
    names[#names + 1] = word
  end
end
if #names == 0 then
  io.stderr:write("usage: grun tail.lua [-n LINES] FILE...\n")
  os.exit(1)
end
for _, name in ipairs(names) do
  grun.spawn(follow, name, lines, #names > 1)
end
