-- SPDX-License-Identifier: MIT
-- What Tab offers at a prompt: names of globals, fields and methods; modules in require("…"); files
-- in other calls that take a file's name.
--
-- A metatable whose __index is a function may have a field __names, a list of tables whose keys are
-- names that it knows.

local KEYWORDS = {
  "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "goto", "if", "in",
  "local", "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
}
local MAX_STEPS = 10 -- from __index to __index
local MAX_WORDS = 200 -- that are shown

local M = {}

-- ---- Fields ----

-- Iterates over the tables that a value's fields come from: itself, then what its metatables name.
local function sources(value)
  local list, extra = {}, {}
  for _ = 1, MAX_STEPS do
    if type(value) == "table" then
      list[#list + 1] = value
    end
    local mt = debug.getmetatable(value)
    if type(mt) ~= "table" then
      break
    end
    for _, names in ipairs(rawget(mt, "__names") or {}) do
      extra[#extra + 1] = names
    end
    value = rawget(mt, "__index")
  end
  return list, extra
end

local function add_fields(names, value)
  local list, extra = sources(value)
  for _, t in ipairs(list) do
    for key in next, t do
      names[key] = true
    end
  end
  for _, t in ipairs(extra) do
    for key in next, t do
      names[key] = true
    end
  end
end

-- A field, without calling functions of others: __index counts only if it is a table or has
-- __names.
local function field(value, key)
  local list, extra = sources(value)
  for _, t in ipairs(list) do
    local found = rawget(t, key)
    if found ~= nil then
      return found
    end
  end
  for _, t in ipairs(extra) do
    if t[key] ~= nil then
      local ok, found = pcall(function()
        return value[key]
      end)
      return ok and found or nil
    end
  end
end

local function is_callable(value)
  local mt = debug.getmetatable(value)
  return type(value) == "function" or type(mt) == "table" and rawget(mt, "__call") ~= nil
end

local function names_for(path, scopes)
  local names, value = {}, nil
  if path == "" then
    for _, scope in ipairs(scopes) do
      add_fields(names, scope)
    end
    for _, word in ipairs(KEYWORDS) do
      names[word] = true
    end
    return names
  end
  local first = path:match("^[^.:]+")
  for _, scope in ipairs(scopes) do
    value = field(scope, first)
    if value ~= nil then
      break
    end
  end
  for name in path:sub(#first + 1):gmatch("[^.:]+") do
    value = field(value, name)
  end
  add_fields(names, value)
  if path:sub(-1) == ":" then
    for name in pairs(names) do
      names[name] = is_callable(field(value, name)) or nil
    end
  end
  return names
end

-- ---- Files and modules ----

local function directory(path)
  return require("grun.fs").list(path) or {}
end

-- Names in the directory of `start` that go on with what follows it; directories end in a slash.
local function files(start)
  local names, dir = {}, start:match("^.*/") or ""
  for _, entry in ipairs(directory(dir == "" and "." or dir)) do
    local hidden = entry.name:sub(1, 1) == "." and not start:find("/?%.[^/]*$")
    if not hidden then
      names[dir .. entry.name .. (entry.type == "directory" and "/" or "")] = true
    end
  end
  return names
end

-- The modules that a template such as "./?.lua" finds in the folder of `start`: "a.b" -> "a".
local function add_modules(names, template, folder)
  local before, after = template:match("^([^?]*)%?([^?]*)$")
  if not before then
    return
  end
  local dir = before .. folder:gsub("%.", "/")
  for _, entry in ipairs(directory(dir == "" and "." or dir)) do
    if after == "" or entry.name:sub(-#after) == after then
      local name = entry.name:sub(1, #entry.name - #after)
      if name ~= "init" then
        names[folder .. name] = true
      end
    elseif entry.type == "directory" then
      names[folder .. entry.name .. "."] = true
    end
  end
end

local function modules(start)
  local names, folder = {}, start:match("^.*%.") or ""
  for _, known in ipairs({ package.preload, package.loaded }) do
    for name in pairs(known) do
      names[name] = true
    end
  end
  for template in (package.path .. ";" .. package.cpath):gmatch("[^;]+") do
    add_modules(names, template, folder)
  end
  return names
end

-- If the text ends inside the string of such a call: what the string may become, and its start.
local function in_string(text)
  local call, start = text:match("([%w_.]+)%s*%(?%s*[\"']([^\"']*)$")
  if call == "require" then
    return modules(start), start, "^[%w_][%w_.%-]*$"
  elseif call == "dofile" or call == "loadfile" or call == "io.open" or call == "io.lines" then
    return files(start), start, "."
  end
end

-- ---- Together ----

local function common_start(words)
  local first, last = words[1], words[#words]
  local n = 0
  while n < #first and first:byte(n + 1) == last:byte(n + 1) do
    n = n + 1
  end
  return first:sub(1, n)
end

local function candidates(text, scopes)
  local names, start, shape = in_string(text)
  if not names then
    local path
    path, start = text:match("([%a_][%w_.:]*[.:])([%w_]*)$")
    if not path then
      path, start = "", text:match("[%w_]*$")
    end
    names, shape = names_for(path, scopes), "^[%a_][%w_]*$"
  end
  local words = {}
  for name in pairs(names) do
    local fits = type(name) == "string" and name:sub(1, #start) == start
    if fits and name:find(shape) and (start ~= "" or name:sub(1, 1) ~= "_") then
      words[#words + 1] = name
    end
  end
  table.sort(words)
  return words, start
end

--- Completes the end of a text; names without a dot are looked for in the tables `scopes`. Returns
--- what to insert, or nil and a text that lists the possibilities, or nothing. Parks when it reads
--- directories.
---@param text string
---@param scopes table[]
---@return string|nil, string?
---@async
function M.complete(text, scopes)
  local words, start = candidates(text, scopes)
  if #words == 0 then
    return nil
  end
  local insert = common_start(words):sub(#start + 1)
  if insert ~= "" then
    return insert
  elseif #words > MAX_WORDS then
    words = { unpack(words, 1, MAX_WORDS) }
    words[#words + 1] = "..."
  end
  return nil, #words > 1 and table.concat(words, "  ") or nil
end

return M
