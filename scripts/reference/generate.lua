-- SPDX-License-Identifier: MIT
-- Collects the reference of all that scripts can use from the annotations of lualib.
-- Usage: luajit scripts/reference/generate.lua OUTPUT.lua FILE...    a module for `grun doc`
--        luajit scripts/reference/generate.lua OUTPUT/ FILE...       pages of HTML
-- FILEs are those of lualib/meta, lualib/grun and scripts/examples.
--
-- Public is what lualib/meta/grun.lua says of the table grun, what the modules hold that it names,
-- and every class that these mention.

package.path = arg[0]:match("^.*/") .. "?.lua;" .. package.path
local annotations = require("annotations")
local topics = require("topics")

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function module_of(path)
  local name = path:match("lualib/(grun/.*)%.lua$") or path:match("lualib/(grun)%.lua$")
  return name and name:gsub("/init$", ""):gsub("/", ".")
end

local files, by_module, examples = {}, {}, {}
for i = 2, #arg do
  local text = read(arg[i])
  if arg[i]:find("examples/", 1, true) then
    examples[#examples + 1] = { name = arg[i]:match("[^/]+$"), text = text }
  else
    local file = annotations.read(text, module_of(arg[i]))
    file.path = arg[i]
    files[#files + 1] = file
    by_module[file.module] = by_module[file.module] or {}
    table.insert(by_module[file.module], file)
  end
end

-- ---- Finding ----

local find

local function find_alias(file, name)
  local alias = file.aliases[name]
  if alias and alias.module and (alias.module ~= file.module or alias.name ~= name) then
    return find(alias.module, alias.name)
  end
end

-- The block of a module's function: documented there, or where the module has it from.
function find(module, name)
  for _, file in ipairs(by_module[module] or {}) do
    for _, block in ipairs(file.functions) do
      if block.name == name and block.sep ~= ":" then
        return block
      end
    end
  end
  for _, file in ipairs(by_module[module] or {}) do
    local found = find_alias(file, name)
    if found then
      return found
    end
  end
  for _, file in ipairs(by_module[module] or {}) do
    for _, required in ipairs(file.requires) do
      local found = required:find("^grun%.core%.") and find(required, name)
      if found then
        return found
      end
    end
  end
  local parent = module:match("^(grun%.%w+)%.")
  return parent and parent ~= "grun.core" and find(parent, name) or nil
end

-- ---- Entries ----

local entries, by_name = {}, {}

local function used_in(name)
  local list = {}
  for _, example in ipairs(examples) do
    if #list < 4 and example.text:find(name:gsub("%p", "%%%0") .. "%f[^%w_]") then
      list[#list + 1] = example.name
    end
  end
  return #list > 0 and list or nil
end

-- A class may have the name of the function that makes its objects.
local function add(entry)
  local key = entry.kind == "class" and "class " .. entry.name or entry.name
  if not by_name[key] then
    entries[#entries + 1] = entry
    by_name[key] = entry
  end
end

-- "f(a [, b [, c]])"; what may be left out before what may not is shown as that.
local function signature(name, block)
  local optional, args, last = {}, {}, 0
  for _, param in ipairs(block.params) do
    optional[param.name] = param.optional
  end
  for arg_name in block.args:gmatch("[%w_.]+") do
    if arg_name ~= "self" then
      args[#args + 1] = arg_name
      last = optional[arg_name] and last or #args
    end
  end
  local text = table.concat(args, ", ", 1, last)
  for i = last + 1, #args do
    text = text .. (i > 1 and " [, " or "[") .. args[i]
  end
  return name .. "(" .. text .. ("]"):rep(#args - last) .. ")"
end

local function or_nil(list)
  return #list > 0 and list or nil
end

local function without_self(params)
  local list = {}
  for _, param in ipairs(params) do
    if param.name ~= "self" then
      list[#list + 1] = param
    end
  end
  return or_nil(list)
end

local function add_function(name, block, short)
  add({
    name = name, kind = "function", signature = signature(short or name, block), text = block.text,
    params = without_self(block.params), returns = or_nil(block.returns), async = block.async,
    examples = used_in(short or name),
  })
end

-- ---- Classes ----

local classes = {} -- name -> { block =, methods = list, at most once each }

local function class_of(name)
  classes[name] = classes[name] or { fields = {}, field_names = {}, methods = {}, names = {} }
  return classes[name]
end

for _, file in ipairs(files) do
  for _, block in ipairs(file.classes) do
    local class = class_of(block.class)
    class.text = class.text or block.text
    class.parents = class.parents or block.parents
    class.alias = block.alias and true
    for _, field in ipairs(block.fields) do
      if not class.field_names[field.name] then
        class.field_names[field.name] = true
        table.insert(class.fields, field)
      end
    end
  end
  for _, block in ipairs(file.functions) do
    local name = block.sep == ":" and file.class_of[block.owner]
    local class = name and class_of(name)
    local public = block.name:sub(1, 1) ~= "_" and (block.text or block.returns[1])
    if class and public and not class.names[block.name] then
      class.names[block.name] = true
      table.insert(class.methods, block)
    end
  end
end

local function add_class(name)
  local class = classes[name]
  local short = name:match("[%w_]+$")
  local methods = {}
  for i, block in ipairs(class.methods) do
    methods[i] = name .. ":" .. block.name
  end
  add({
    name = name, kind = "class", text = class.text, parents = class.parents, alias = class.alias,
    fields = or_nil(class.fields), methods = or_nil(methods),
  })
  for _, block in ipairs(class.methods) do
    add_function(name .. ":" .. block.name, block, short .. ":" .. block.name)
  end
end

-- ---- The table grun ----

-- The names of the functions in the table that a module is, or that is its field `last`.
local function names_in(module, last)
  local names, list = {}, {}
  for _, file in ipairs(by_module[module] or {}) do
    for _, block in ipairs(file.functions) do
      names[block.name] = block.owner == "M" or nil
    end
    for alias in pairs(file.aliases) do
      names[alias] = true
      list[#list + 1] = alias:match("^" .. last .. "%.(.*)$")
    end
  end
  for name in pairs(#list == 0 and names or {}) do
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local function add_module(name, module)
  local file = by_module[module][#by_module[module]]
  add({ name = name, kind = "module", text = file.header })
  for _, key in ipairs(names_in(module, name:match("[%w_]+$"))) do
    local block = find(module, key) or find(module, key:match("[%w_]+$"))
    if block and block.text then
      add_function(name .. "." .. key, block)
    end
  end
  if classes[name] and #classes[name].fields > 0 and not classes[name].methods[1] then
    add_class(name) -- functions that the module makes are fields of a class of its name
  end
end

local function collect_grun()
  local text
  for _, file in ipairs(by_module.grun) do
    if file.path:find("lualib/meta/", 1, true) then
      text = read(file.path)
      for _, block in ipairs(file.functions) do
        if block.owner == "grun" then
          add_function("grun." .. block.name, block)
        end
      end
    end
  end
  for line in text:gmatch("[^\n]+") do
    local name, module, field = line:match('^grun%.([%w_]+) = require%("([%w_.]+)"%)%.?([%w_]*)$')
    local block = name and find(module, field ~= "" and field or name)
    if block then
      add_function("grun." .. name, block)
    elseif name then
      add_module("grun." .. name, module)
    end
  end
end

local function mentioned(entry, found)
  local function look(text)
    for name in (text or ""):gmatch("grun%.[%w_.]+") do
      found[#found + 1] = name:gsub("%.+$", "")
    end
  end
  for _, list in ipairs({ entry.params or {}, entry.returns or {}, entry.fields or {} }) do
    for _, item in ipairs(list) do
      look(item.type)
    end
  end
  look(entry.parents)
end

-- What the chapters name, and whatever is mentioned by what is already there, entry by entry.
local function collect_classes()
  for _, topic in ipairs(topics) do
    for _, name in ipairs(topic.classes or {}) do
      add_class(name)
    end
  end
  local i = 1
  while entries[i] do
    local found = {}
    mentioned(entries[i], found)
    for _, name in ipairs(found) do
      if classes[name] and not by_name["class " .. name] and not name:find("^grun%.core") then
        add_class(name)
      end
    end
    i = i + 1
  end
end

-- ---- Topics ----

local function topic_of(name)
  for _, topic in ipairs(topics) do
    for _, pattern in ipairs(topic) do
      if name == pattern or name:sub(1, #pattern + 1) == pattern .. "." or
         name:sub(1, #pattern + 1) == pattern .. ":" then
        return topic.name
      end
    end
  end
end

-- A class belongs where topics.lua says, else where it was first mentioned.
local function divide()
  local first = {}
  for _, entry in ipairs(entries) do
    local owner = entry.name:match("^(.*):") or entry.name
    entry.topic = topic_of(entry.name) or first[owner] or "operations"
    first[owner] = entry.topic
    local found = {}
    mentioned(entry, found)
    for _, name in ipairs(found) do
      first[name] = first[name] or entry.topic
    end
  end
end

collect_grun()
collect_classes()
divide()

-- ---- Output ----

local function literal(value)
  if type(value) ~= "table" then
    return type(value) == "string" and ("%q"):format(value):gsub("\\\n", "\\n") or tostring(value)
  end
  local parts = {}
  for _, item in ipairs(value) do
    parts[#parts + 1] = literal(item)
  end
  local names = {}
  for name in pairs(value) do
    names[#names + 1] = type(name) == "string" and name or nil
  end
  table.sort(names)
  for _, name in ipairs(names) do
    parts[#parts + 1] = name .. " = " .. literal(value[name])
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

local function summary()
  local list = {}
  for i, topic in ipairs(topics) do
    list[i] = { name = topic.name, title = topic.title }
  end
  return list
end

local output = arg[1]
if output:sub(-1) == "/" then
  require("html").write(output, summary(), entries)
else
  local file = assert(io.open(output, "wb"))
  file:write("return { topics = ", literal(summary()), ",\nentries = {\n")
  for _, entry in ipairs(entries) do
    file:write(literal(entry), ",\n")
  end
  file:write("} }\n")
  assert(file:close())
end
